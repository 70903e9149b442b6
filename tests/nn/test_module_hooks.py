"""Hooks of modules on the way back, around state dicts, and the rest of PyTorch's Module."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl import nn


def make_scale(lib: Any) -> type:
    class Scale(lib.nn.Module):
        """(a, text, b) -> (a * 2 + b, b * 3)."""

        def forward(self, a: Any, text: str, b: Any) -> tuple:
            return a * 2 + b, b * 3

    return Scale


def plain(gradients: Any) -> list:
    return [None if g is None else g.tolist() for g in gradients]


def test_backward_hooks_see_and_replace_what_pytorchs_do(torch) -> None:
    found = []
    for lib in (nc, torch):
        seen: list = []
        module = make_scale(lib)()
        module.register_full_backward_pre_hook(
            lambda m, arriving, seen=seen: seen.append(plain(arriving)) or (arriving[0], arriving[1] * 10)
        )
        module.register_full_backward_hook(
            lambda m, leaving, arriving, seen=seen: (
                seen.append((plain(leaving), plain(arriving))) or (leaving[0] + 1, None, leaving[2])
            )
        )
        handle = module.register_full_backward_hook(lambda m, leaving, arriving, seen=seen: seen.append("last"))
        a = lib.tensor([1.0, 2.0], requires_grad=True)
        b = lib.tensor([3.0, 4.0], requires_grad=True)
        for _ in range(2):
            y, z = module(a, "text", b)
            (y.sum() + (z * z).sum()).backward()
            handle.remove()
        found.append((seen, a.grad.tolist(), b.grad.tolist()))
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # PyTorch's
def test_backward_hooks_fire_without_gradients_of_the_arguments(torch) -> None:
    found = []
    for lib in (nc, torch):
        seen: list = []
        layer = lib.nn.Linear(2, 1, bias=False)
        layer.register_full_backward_hook(
            lambda m, leaving, arriving, seen=seen: seen.append((plain(leaving), plain(arriving)))
        )
        layer(lib.ones(1, 2)).sum().backward()
        with lib.no_grad():
            layer(lib.ones(1, 2))
        found.append(seen)
    assert found[0] == found[1] == [([None], [[[1.0]]])]
    layer = nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda m, leaving, arriving: (nc.ones(1, 2),))
    total = layer(nc.ones(1, 2)).sum()
    with pytest.raises(RuntimeError, match="no input requires gradient"):
        total.backward()
    total = layer(nc.ones(1, 2, requires_grad=True)).sum()
    layer._backward_hooks.clear()
    layer.register_full_backward_hook(lambda m, leaving, arriving: leaving + leaving)
    total = layer(nc.ones(1, 2, requires_grad=True)).sum()
    with pytest.raises(RuntimeError, match="invalid number of grad"):
        total.backward()
    with pytest.raises(NotImplementedError, match="register_full_backward_hook"):
        layer.register_backward_hook(print)


def test_an_always_called_hook_runs_where_forward_raises() -> None:
    layer = nn.Linear(2, 1)
    seen: list = []
    layer.register_forward_hook(lambda m, args, result: seen.append("ordinary"))
    layer.register_forward_hook(lambda m, args, result: seen.append(result), always_call=True)
    with pytest.raises(RuntimeError, match="linear"):
        layer(nc.ones(1, 3))
    assert seen == [None]
    layer(nc.ones(1, 2))
    assert seen[1] == "ordinary" and seen[2].shape == (1, 1)


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(nc.ones(2))
        self.calls = 0

    def get_extra_state(self) -> int:
        return self.calls

    def set_extra_state(self, state: int) -> None:
        self.calls = state


def test_extra_state_prefix_and_destination() -> None:
    net = nn.Sequential(Counted())
    net[0].calls = 7
    state = net.state_dict()
    assert list(state) == ["0.weight", "0._extra_state"]
    twin = nn.Sequential(Counted())
    twin.load_state_dict(state)
    assert twin[0].calls == 7
    with pytest.raises(RuntimeError, match="_extra_state"):
        twin.load_state_dict({"0.weight": nc.ones(2)})
    kept: dict = {}
    assert nn.Linear(1, 1).state_dict(destination=kept, prefix="a_") is kept
    assert list(kept) == ["a_weight", "a_bias"]
    assert nn.Linear(1, 1).state_dict(keep_vars=True)["weight"].requires_grad


def test_hooks_around_state_dicts() -> None:
    layer = nn.Linear(2, 1, bias=False)
    order: list = []
    layer.register_state_dict_pre_hook(lambda m, prefix, keep_vars: order.append(("save", prefix, keep_vars)))
    layer.register_state_dict_post_hook(lambda m, state, prefix, metadata: state.update({prefix + "old": nc.ones(1)}))
    net = nn.Sequential(layer)
    state = net.state_dict()
    assert list(state) == ["0.weight", "0.old"]
    assert order == [("save", "0.", False)]

    def rename(m: Any, state: dict, prefix: str, metadata: Any, strict: bool, *lists: list) -> None:
        state.pop(prefix + "old", None)
        state[prefix + "weight"] = state.pop(prefix + "kernel")

    layer.register_load_state_dict_pre_hook(rename)
    layer.register_load_state_dict_post_hook(lambda m, keys: order.append(list(keys.missing_keys)))
    given = {"0.kernel": nc.ones(1, 2) * 5, "0.old": nc.ones(1)}
    net.load_state_dict(given)
    assert layer.weight.tolist() == [[5.0, 5.0]]
    assert order[-1] == [] and list(given) == ["0.kernel", "0.old"]


def test_old_files_without_a_count_of_batches_load() -> None:
    layer = nn.BatchNorm1d(2)
    state = layer.state_dict()
    del state["num_batches_tracked"]
    layer.load_state_dict(state)


def test_assign_takes_the_given_dtype_and_cuts_old_ties() -> None:
    layer = nn.Linear(2, 1, bias=False)
    before = layer.state_dict()
    layer.load_state_dict({"weight": nc.ones(1, 2, dtype=nc.float64)}, assign=True)
    assert (layer.weight.dtype, before["weight"].dtype) == (nc.float64, nc.float32)
    before = layer.state_dict()
    layer.half()
    assert (layer.weight.dtype, before["weight"].dtype) == (nc.float16, nc.float64)


def test_an_optimizer_sees_parameters_whose_dtype_changed() -> None:
    layer = nn.Linear(2, 1, bias=False)
    optimizer = nc.optim.SGD(layer.parameters(), lr=1.0)
    layer.double()
    layer.weight.data.fill_(1.0)
    layer(nc.ones(1, 2, dtype=nc.float64)).sum().backward()
    optimizer.step()
    assert layer.weight.tolist() == [[0.0, 0.0]] and layer.weight.dtype is nc.float64


def test_parts_can_be_found_and_replaced_by_name() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(3)))
    assert net.get_buffer("0.1.running_mean") is net[0][1].running_mean
    with pytest.raises(AttributeError, match="not a buffer"):
        net.get_buffer("0.1.weight")
    net.set_submodule("0.0", nn.ReLU())
    assert isinstance(net[0][0], nn.ReLU)
    with pytest.raises(AttributeError, match="other"):
        net.set_submodule("0.other", nn.ReLU(), strict=True)
    with pytest.raises(ValueError, match="Module"):
        net.set_submodule("0.0", 1)
    assert "running_mean" in dir(net[0][1])


def test_moving_empty_typing_and_compiling() -> None:
    layer = nn.Linear(2, 3)
    parameter = layer.weight
    assert layer.to_empty(device=nc.current_device()) is layer
    assert layer.weight is parameter and layer.weight.shape == (3, 2)
    assert layer.type(nc.float64).weight.dtype is nc.float64
    layer.compile(mode="max-autotune")
    with pytest.raises(NotImplementedError, match="state_dict"):
        layer.share_memory()


def test_parameter_list_and_dict_hold_parameters_like_pytorchs(torch) -> None:
    for lib in (nc, torch):
        values = lib.nn.ParameterList([lib.ones(2), lib.nn.Parameter(lib.zeros(1, 3))])
        values.append(lib.ones(1))
        values += [3.5]
        assert (len(values), values[3], len(values[1:3])) == (4, 3.5, 2)
        assert [name for name, _ in values.named_parameters()] == ["0", "1", "2"]
        assert isinstance(values[-2], lib.nn.Parameter)
        values[0] = lib.zeros(5)
        assert [tuple(v.shape) for v in list(values)[:3]] == [(5,), (1, 3), (1,)]
        assert list(values.state_dict()) == ["0", "1", "2"]
        for wrong in (lib.ones(2), 3):
            with pytest.raises(TypeError):
                values.extend(wrong)
        with pytest.raises(IndexError):
            values[9]
        with pytest.raises(RuntimeError):
            values()
        table = lib.nn.ParameterDict({"b": lib.ones(2), "a": lib.zeros(1)})
        table["c"] = lib.ones(3)
        assert list(table) == ["a", "b", "c"] and list(reversed(table)) == ["c", "b", "a"]
        assert ("a" in table, table.get("z"), table.get("z", 1), len(table)) == (True, None, 1, 3)
        assert table.popitem()[0] == "c" and tuple(table.setdefault("d", lib.ones(4)).shape) == (4,)
        assert tuple(table.pop("b").shape) == (2,)
        both = table | lib.nn.ParameterDict({"e": lib.ones(1)})
        assert list(both.keys()) == ["a", "d", "e"] and list(table.copy().keys()) == ["a", "d"]
        assert list(table.fromkeys(["x", "y"], 0)) == ["x", "y"]
        assert [name for name, _ in both.named_parameters()] == ["a", "d", "e"]
        table.clear()
        assert len(table) == 0 and not list(table.parameters())
        with pytest.raises((KeyError, AttributeError)):
            table["gone"]
    assert repr(nn.ParameterList([nc.ones(2, 3), 1])) == (
        "ParameterList(\n    (0): Parameter containing: [netcl.float32 of size 2x3]\n    (1): Object of type: int\n)"
    )
    texts = [repr(lib.nn.ParameterDict({"a": lib.nn.Parameter(lib.ones(2, 3)), "b": 1})) for lib in (nc, torch)]
    assert texts[0].replace("netcl", "torch") == texts[1]


def test_lists_of_modules_show_equal_ones_once_and_multiply(torch) -> None:
    for lib in (nc, torch):
        layers = lib.nn.ModuleList([lib.nn.Linear(2, 2), lib.nn.Linear(2, 2), lib.nn.ReLU()])
        layers += [lib.nn.ReLU()]
        assert repr(layers) == (
            "ModuleList(\n  (0-1): 2 x Linear(in_features=2, out_features=2, bias=True)\n  (2-3): 2 x ReLU()\n)"
        )
        net = lib.nn.Sequential(lib.nn.ReLU()) * 2
        assert len(2 * net) == 4
        net *= 2
        net += lib.nn.Sequential(lib.nn.Tanh())
        assert [type(m).__name__ for m in net] == ["ReLU"] * 4 + ["Tanh"]
        with pytest.raises(ValueError, match="Non-positive"):
            net * 0


def test_shared_parts_are_named_twice_where_duplicates_are_wanted() -> None:
    shared = nn.Linear(1, 1)
    net = nn.Sequential(shared, shared)
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    assert [name for name, _ in net.named_parameters(remove_duplicate=False)] == [
        "0.weight", "0.bias", "1.weight", "1.bias",
    ]  # fmt: skip
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    np.testing.assert_array_equal(net.state_dict()["1.weight"].numpy(), shared.weight.detach().numpy())
