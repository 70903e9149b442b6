"""Module: attributes, walking, hooks, state, moving, text."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import OrderedDict

import numpy as np
import pytest

import netcl as nc
from netcl import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))
        self.scale = nn.Parameter(nc.ones(1))
        self.register_buffer("count", nc.zeros(1))
        self.register_buffer("scratch", nc.zeros(2), persistent=False)

    def forward(self, x: nc.Tensor) -> nc.Tensor:
        return self.second(self.first(x)) * self.scale


NAMES = ["scale", "first.weight", "first.bias", "second.1.weight"]


def test_parameters_are_found_by_assignment_in_pytorchs_order() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert len(list(net.parameters())) == 4
    assert [name for name, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert [name for name, _ in net.named_buffers()] == ["count", "scratch"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "second", "second.0", "second.1"]
    assert [name for name, _ in net.named_children()] == ["first", "second"]


def test_a_shared_parameter_is_given_once_but_saved_under_both_names() -> None:
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    assert [name for name, _ in net.named_parameters()] == ["0.weight"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 2
    assert list(net.state_dict()) == ["0.weight", "1.weight"]


def test_attribute_rules_are_pytorchs() -> None:
    net = Net()
    with pytest.raises(TypeError, match="parameter 'scale'"):
        net.scale = 3.0
    with pytest.raises(TypeError, match="child module 'first'"):
        net.first = 3.0
    with pytest.raises(TypeError, match="buffer 'count'"):
        net.count = 3.0
    net.count = nc.ones(1)
    assert dict(net.named_buffers())["count"].item() == 1
    net.scale = None
    assert "scale" not in dict(net.named_parameters())
    assert net.scale is None
    del net.first
    assert "first.weight" not in net.state_dict()
    with pytest.raises(AttributeError):
        _ = net.first
    with pytest.raises(KeyError, match="already exists"):
        net.register_buffer("forward", nc.ones(1))
    with pytest.raises(KeyError, match=r"can't contain '\.'"):
        net.register_parameter("a.b", None)
    with pytest.raises(TypeError, match="not a Module"):
        net.add_module("other", 3)
    computed = nn.Parameter(nc.ones(1))
    computed._node = (computed * 2)._node
    with pytest.raises(ValueError, match="history"):
        net.register_parameter("computed", computed)


def test_a_name_can_change_its_kind() -> None:
    net = Net()
    net.count = nn.Parameter(nc.ones(1))
    assert "count" in dict(net.named_parameters())
    assert "count" not in dict(net.named_buffers())


def test_assigning_before_init_says_so() -> None:
    class Wrong(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)

    with pytest.raises(AttributeError, match=r"super\(\).__init__"):
        Wrong()


def test_the_pictures_of_members_cannot_be_written() -> None:
    with pytest.raises(TypeError):
        Net()._parameters["scale"] = None  # type: ignore[index]


def test_a_missing_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match="forward"):
        nn.Module()(1)


def test_train_and_eval_reach_every_part() -> None:
    net = Net()
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert all(module.training for module in net.train().modules())
    with pytest.raises(ValueError, match="boolean"):
        net.train("yes")  # type: ignore[arg-type]


def test_hooks_run_in_order_may_replace_and_can_be_removed() -> None:
    layer = nn.Identity()
    seen = []
    before = layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    after = layer.register_forward_hook(lambda module, args, result: result * 10)
    first = layer.register_forward_hook(lambda module, args, result: seen.append(result.item()), prepend=True)
    assert layer(nc.ones(())).item() == 20
    assert seen == [2.0]
    for handle in (before, after, first):
        handle.remove()
    assert layer(nc.ones(())).item() == 1
    with layer.register_forward_pre_hook(lambda module, args, kwargs: (args, kwargs), with_kwargs=True):
        assert layer(nc.ones(())).item() == 1
    with layer.register_forward_pre_hook(lambda module, args, kwargs: 3, with_kwargs=True), pytest.raises(RuntimeError):
        layer(nc.ones(()))


def test_state_dict_round_trip_restores_every_number() -> None:
    nc.manual_seed(0)
    net = Net()
    net.count = nc.ones(1) * 7
    state = net.state_dict()
    assert list(state) == ["scale", "count", "first.weight", "first.bias", "second.1.weight"]
    other = Net()
    x = nc.rand(5, 3)
    assert (other(x).detach().numpy() != net(x).detach().numpy()).any()
    report = other.load_state_dict(state)
    assert str(report) == "<All keys matched successfully>"
    np.testing.assert_array_equal(other(x).detach().numpy(), net(x).detach().numpy())
    assert other.count.item() == 7


def test_a_state_dict_follows_the_model_and_a_deep_copy_of_it_does_not() -> None:
    net = Net()
    state = net.state_dict()
    kept = copy.deepcopy(state)
    before = state["first.weight"].numpy()
    net(nc.ones(2, 3)).sum().backward()
    nc.optim.SGD(net.parameters(), lr=1.0).step()
    np.testing.assert_array_equal(state["first.weight"].numpy(), net.first.weight.detach().numpy())
    np.testing.assert_array_equal(kept["first.weight"].numpy(), before)
    assert (net.first.weight.detach().numpy() != before).any()


def test_load_state_dict_lists_all_mismatches_at_once_and_changes_nothing() -> None:
    net = Net()
    before = net.first.bias.detach().numpy()
    state = {**net.state_dict(), "extra": nc.ones(1), "first.weight": nc.ones(2, 2), "first.bias": nc.ones(4)}
    del state["scale"]
    with pytest.raises(RuntimeError) as raised:
        net.load_state_dict(state)
    text = str(raised.value)
    for part in (
        'Missing key(s) in state_dict: "scale"',
        'Unexpected key(s) in state_dict: "extra"',
        "first.weight",
        "[2, 2]",
    ):
        assert part in text
    np.testing.assert_array_equal(net.first.bias.detach().numpy(), before)


def test_mismatches_are_told_in_pytorchs_words(torch) -> None:
    texts = []
    for module in (nc, torch):
        net = module.nn.Sequential(module.nn.Linear(3, 2), module.nn.Linear(2, 2))
        state = {"0.weight": module.ones(2, 2), "0.bias": module.ones(2), "extra": module.ones(1)}
        state["1.bias"] = module.ones(3)
        with pytest.raises(RuntimeError) as raised:
            net.load_state_dict(state)
        report = net.load_state_dict({"0.bias": module.ones(2), "b": module.ones(1)}, strict=False)
        texts.append((str(raised.value).replace("netcl.", "torch."), repr(report)))
    assert texts[0] == texts[1]


def test_a_state_dict_is_ordered_in_a_file_too(tmp_path) -> None:
    state = nn.Linear(2, 1).state_dict()
    nc.save(state, tmp_path / "flat")
    nc.save({"model": state, "other": {"x": nc.ones(1)}}, tmp_path / "nested")
    nested = nc.load(tmp_path / "nested")
    for found in (state, nc.load(tmp_path / "flat"), nested["model"]):
        assert type(found) is OrderedDict and list(found) == ["weight", "bias"]
        assert found["weight"].tolist() == state["weight"].tolist()
    assert type(nested) is type(nested["other"]) is dict


def test_load_state_dict_not_strict_returns_the_differences() -> None:
    net = Net()
    missing, unexpected = net.load_state_dict({"scale": nc.ones(1) * 3, "extra": nc.ones(1)}, strict=False)
    assert missing == ["count", "first.weight", "first.bias", "second.1.weight"]
    assert unexpected == ["extra"]
    assert net.scale.item() == 3
    with pytest.raises(TypeError, match="dict-like"):
        net.load_state_dict([1])


def test_load_state_dict_casts_to_the_models_dtype() -> None:
    net = nn.Linear(2, 2, bias=False)
    net.load_state_dict({"weight": np.ones((2, 2))})
    assert net.weight.dtype is nc.float32
    assert net.weight.requires_grad


def test_to_changes_floating_tensors_and_keeps_the_parameter_objects() -> None:
    net = Net()
    net.register_buffer("steps", nc.zeros(1, dtype=nc.int64))
    parameter = net.first.weight
    assert net.half() is net
    assert net.first.weight is parameter
    assert parameter.dtype is nc.float16
    assert net.steps.dtype is nc.int64
    assert net.to("cpu", nc.float32).first.weight.dtype is nc.float32
    with pytest.raises(TypeError, match="floating-point"):
        net.to(nc.int32)
    with pytest.raises(TypeError, match="unexpected"):
        net.to(size=3)


def test_to_moves_to_another_device_and_back() -> None:
    others = [d for d in nc.devices() if d is not nc.current_device() and d.kind != "accelerator" and d.error is None]
    if not others:
        pytest.skip("there is only one device")
    net = Net()
    x = nc.rand(2, 3)
    expected = net(x).detach().numpy()
    net.to(others[0])
    assert net.first.weight.device is others[0]
    np.testing.assert_allclose(net(x.to(others[0])).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(RuntimeError, match="device"):
        net(x)


def test_zero_grad_forgets_or_zeroes() -> None:
    net = Net()
    net(nc.ones(1, 3)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert not net.first.weight.grad.numpy().any()
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_requires_grad_can_be_turned_off_for_all() -> None:
    net = Net().requires_grad_(False)
    assert not net(nc.ones(1, 3)).requires_grad


def test_apply_reaches_children_before_the_module() -> None:
    order = []
    Net().apply(lambda module: order.append(type(module).__name__))
    assert order == ["Linear", "ReLU", "Linear", "Sequential", "Net"]


def test_get_submodule_and_get_parameter_follow_dotted_names() -> None:
    net = Net()
    assert net.get_submodule("second.1") is net.second[1]
    assert net.get_parameter("first.bias") is net.first.bias
    with pytest.raises(AttributeError, match="third"):
        net.get_submodule("third.1")
    with pytest.raises(AttributeError, match="not a Parameter"):
        net.get_parameter("count")


def test_repr_is_pytorchs() -> None:
    assert repr(Net()) == (
        "Net(\n  (first): Linear(in_features=3, out_features=4, bias=True)\n  (second): Sequential(\n    (0): ReLU()\n"
        "    (1): Linear(in_features=4, out_features=2, bias=False)\n  )\n)"
    )
    assert repr(nn.Dropout(0.1)) == "Dropout(p=0.1, inplace=False)"
    assert repr(nn.LayerNorm(3)) == "LayerNorm((3,), eps=1e-05, elementwise_affine=True, bias=True)"


def test_a_copy_trains_apart() -> None:
    net = Net()
    twin = copy.deepcopy(net)
    assert twin.first.weight is not net.first.weight
    assert isinstance(twin.first.weight, nn.Parameter)
    twin(nc.ones(1, 3)).sum().backward()
    assert net.first.weight.grad is None
    assert [name for name, _ in twin.named_parameters()] == NAMES


def test_a_module_can_be_pickled() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    twin = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(twin[0].weight.detach().numpy(), net[0].weight.detach().numpy())


def test_a_module_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        net = Net()
        alive = weakref.ref(net)
        del net
        assert alive() is None
    finally:
        gc.enable()


def test_parameter_takes_tensors_only_and_may_go_without_gradient() -> None:
    with pytest.raises(TypeError, match="Tensor"):
        nn.Parameter([1.0])  # type: ignore[arg-type]
    assert not nn.Parameter(nc.zeros(1, dtype=nc.int64), requires_grad=False).requires_grad
    with pytest.raises(RuntimeError, match="floating-point"):
        nn.Parameter(nc.zeros(1, dtype=nc.int64))
    assert repr(nn.Parameter(nc.ones(1))).startswith("Parameter containing:\ntensor([1.]")
