"""Optimizers: PyTorch's numbers over 100 steps, few launches, nothing compiled for new numbers, state kept."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn, optim
from netcl.graph import plan
from netcl.io import load, save

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.01, "maximize": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"betas": (0.4, 0.9), "eps": 1e-4, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"amsgrad": True, "lr": 2e-3}),
]


def gradients(seed: int) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.standard_normal(shape).astype(np.float32) for shape in ((5, 4), (5,), ())]


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda x: str(x))
def test_a_hundred_steps_give_pytorchs_numbers(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    ours = [nn.Parameter(nc.tensor(x)) for x in gradients(0)]
    theirs = [torch.nn.Parameter(torch.tensor(x)) for x in gradients(0)]
    a, b = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(100):
        for p, q, g in zip(ours, theirs, gradients(step + 1), strict=True):
            p.grad, q.grad = nc.tensor(g), torch.tensor(g)
        a.param_groups[0]["lr"] = b.param_groups[0]["lr"] = options.get("lr", 1e-3) * (1 - step / 200)
        a.step()
        b.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-6, atol=1e-6)
        for key, value in b.state[q].items():
            if key != "step" and value is not None:
                np.testing.assert_allclose(a.state[p][key].numpy(), value.numpy(), rtol=2e-6, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_defaults_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours = getattr(optim, name)([nn.Parameter(nc.ones(1))]).defaults
    theirs = getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(1))]).defaults
    assert ours == {key: theirs[key] for key in ours}


def mlp_step(optimizer_name: str, **options: Any) -> tuple[Any, Any]:
    nc.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = getattr(optim, optimizer_name)(model.parameters(), **options)
    x, y = nc.rand(16, 20), nc.randint(10, (16,))

    def step() -> nc.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, optimizer


def test_a_training_step_of_a_three_layer_mlp_with_adam_takes_at_most_15_launches() -> None:
    step, _ = mlp_step("Adam")
    step()
    with nc.profiler.count_launches() as n:
        step()
    assert int(n) <= 15


@pytest.mark.parametrize(
    ("name", "options"), [("SGD", {"momentum": 0.9, "dampening": 0.1}), ("Adam", {}), ("AdamW", {"amsgrad": True})]
)
def test_the_second_step_plans_nothing_and_a_new_learning_rate_compiles_nothing(name: str, options: dict) -> None:
    step, optimizer = mlp_step(name, **options)
    step()
    nc.synchronize()
    planned = plan.statistics.planned
    for lr in (1e-2, 1e-4):
        optimizer.param_groups[0]["lr"] = lr
        step()
        nc.synchronize()
    assert plan.statistics.planned == planned


def test_training_lowers_the_loss() -> None:
    step, _ = mlp_step("Adam", lr=1e-2)
    first = step().item()
    for _ in range(50):
        last = step()
    assert last.item() < first / 4


def test_a_step_keeps_memory_steady() -> None:
    step, _ = mlp_step("Adam")
    for _ in range(3):
        step()
    before = nc.profiler.memory_in_use()
    for _ in range(5):
        step()
    assert nc.profiler.memory_in_use() == before


def test_parameters_without_gradient_stay_and_late_ones_count_their_own_steps() -> None:
    torch = pytest.importorskip("torch")
    ours = [nn.Parameter(nc.ones(3)) for _ in range(2)]
    theirs = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    a, b = optim.Adam(ours, lr=0.1), torch.optim.Adam(theirs, lr=0.1)
    for step in range(4):
        for p, q in list(zip(ours, theirs, strict=True))[: 1 if step < 2 else 2]:
            p.grad, q.grad = nc.ones(3) * (step + 1), torch.ones(3) * (step + 1)
        a.step()
        b.step()
        if step == 1:
            np.testing.assert_array_equal(ours[1].detach().numpy(), 1)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-6)
    assert [a.state[p]["step"] for p in ours] == [4, 2]


def test_groups_have_options_of_their_own() -> None:
    p, q = nn.Parameter(nc.ones(2)), nn.Parameter(nc.ones(2))
    optimizer = optim.SGD([{"params": [p]}, {"params": q, "lr": 1.0}], lr=0.5)
    p.grad, q.grad = nc.ones(2), nc.ones(2)
    optimizer.step()
    assert p.tolist() == [0.5, 0.5]
    assert q.tolist() == [0.0, 0.0]
    optimizer.add_param_group({"params": [nn.Parameter(nc.ones(1))]})
    assert len(optimizer.param_groups) == 3
    assert "Parameter Group 2" in repr(optimizer)


def test_half_precision_parameters_are_updated_in_float32_and_rounded_once() -> None:
    p = nn.Parameter(nc.ones(4, dtype=nc.float16))
    p.grad = nc.ones(4, dtype=nc.float16)
    optim.SGD([p], lr=1e-3).step()
    assert p.dtype is nc.float16
    np.testing.assert_array_equal(p.detach().numpy(), np.float16(1 - 1e-3))


def test_float64_parameters_are_updated_in_float64() -> None:
    p = nn.Parameter(nc.ones(2, dtype=nc.float64))
    p.grad = nc.ones(2, dtype=nc.float64)
    optim.Adam([p], lr=1e-9).step()
    np.testing.assert_allclose(p.detach().numpy(), 1 - 1e-9, rtol=1e-15)


def test_closure_is_called_with_gradients_on_and_its_loss_returned() -> None:
    p = nn.Parameter(nc.ones(1))
    optimizer = optim.SGD([p], lr=0.1)

    def closure() -> nc.Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with nc.no_grad():
        assert optimizer.step(closure).item() == 1
    assert p.item() == pytest.approx(0.8)


def test_state_dict_through_a_file_continues_with_the_same_numbers(tmp_path: Any) -> None:
    first, second = (nn.Parameter(nc.ones(3)) for _ in range(2))
    a, b = optim.AdamW([first], lr=0.1), optim.AdamW([second], lr=0.5)
    for step in range(3):
        first.grad = nc.ones(3) * step
        a.step()
    save({"model": {"p": first}, "optimizer": a.state_dict()}, tmp_path / "c.safetensors")
    loaded = load(tmp_path / "c.safetensors")
    second._assign(loaded["model"]["p"]._value)
    b.load_state_dict(loaded["optimizer"])
    assert b.param_groups[0]["lr"] == 0.1
    assert b.param_groups[0]["betas"] == (0.9, 0.999)
    for _ in range(2):
        first.grad, second.grad = nc.ones(3), nc.ones(3)
        a.step()
        b.step()
    np.testing.assert_array_equal(first.detach().numpy(), second.detach().numpy())


def test_a_state_dict_follows_the_optimizer_and_a_deep_copy_of_it_does_not() -> None:
    p = nn.Parameter(nc.ones(2))
    optimizer = optim.Adam([p])
    p.grad = nc.ones(2)
    optimizer.step()
    state = optimizer.state_dict()
    kept = copy.deepcopy(state)
    before = state["state"][0]["exp_avg"].numpy()
    optimizer.step()
    assert (state["state"][0]["exp_avg"].numpy() > before).all()
    np.testing.assert_array_equal(kept["state"][0]["exp_avg"].numpy(), before)


def test_a_changed_parameter_is_noticed_by_a_graph_that_saved_it() -> None:
    p = nn.Parameter(nc.ones(2))
    loss = (p * p).sum()
    p.grad = nc.ones(2)
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


@pytest.mark.parametrize("eager", [False, True])
def test_eager_and_lazy_agree(eager: bool) -> None:
    with nc.eager(eager):
        p = nn.Parameter(nc.ones(3))
        p.grad = nc.ones(3) * 0.5
        optim.Adam([p], lr=0.1, weight_decay=0.1).step()
        np.testing.assert_allclose(p.detach().numpy(), 0.9, rtol=1e-6)


def test_bad_arguments_raise_pytorchs_kind_of_error() -> None:
    p = nn.Parameter(nc.ones(1))
    for make, match in (
        (lambda: optim.SGD([p], lr=-1), "learning rate"),
        (lambda: optim.SGD([p], momentum=-1), "momentum"),
        (lambda: optim.SGD([p], nesterov=True), "Nesterov"),
        (lambda: optim.Adam([p], betas=(1.0, 0.9)), "index 0"),
        (lambda: optim.Adam([p], eps=-1), "epsilon"),
        (lambda: optim.AdamW([p], weight_decay=-1), "weight_decay"),
        (lambda: optim.SGD([]), "empty"),
        (lambda: optim.SGD([p, p]), "twice"),
        (lambda: optim.SGD([p * 2]), "non-leaf"),
        (lambda: optim.SGD([{"params": [p]}, {"params": [p]}]), "more than one"),
    ):
        with pytest.raises(ValueError, match=match):
            make()
    for make in (lambda: optim.SGD(p), lambda: optim.SGD([1]), lambda: optim.SGD([{"params": {p}}])):
        with pytest.raises(TypeError):
            make()
    for options in ({"capturable": True}, {"differentiable": True}):
        with pytest.raises(NotImplementedError, match=next(iter(options))):
            optim.Adam([p], **options)
    with pytest.raises(ValueError, match="groups"):
        optim.SGD([p]).load_state_dict(
            optim.SGD([{"params": [p]}, {"params": [nn.Parameter(nc.ones(1))]}]).state_dict()
        )
    p._grad = nc.ones(3)  # p.grad = .. would refuse it
    with pytest.raises(RuntimeError, match="gradient"):
        optim.SGD([p]).step()


@pytest.mark.parametrize(
    "name", "SGD Adam AdamW NAdam RAdam Adamax Adagrad Adadelta RMSprop Rprop ASGD Adafactor LBFGS".split()
)
def test_options_of_groups_are_pytorchs_and_print_the_same(torch, name):
    ours, theirs = [getattr(t.optim, name)([t.nn.Parameter(t.ones(2))], lr=0.5) for t in (nc, torch)]
    assert repr(ours) == repr(theirs)
    assert list(ours.param_groups[0]) == sorted(theirs.param_groups[0], key=list(ours.param_groups[0]).index)
    assert ours.state_dict()["param_groups"] == theirs.state_dict()["param_groups"]


def test_options_without_a_meaning_here_are_refused_in_groups_too():
    w = nc.tensor([1.0], requires_grad=True)
    for option in ("capturable", "differentiable"):
        with pytest.raises(NotImplementedError, match=rf"AdamW\({option}=True\) is not supported"):
            nc.optim.AdamW([w], **{option: True})
        with pytest.raises(NotImplementedError, match=rf"Adam\({option}=True\) is not supported"):
            nc.optim.Adam([{"params": [w], option: True}])
    with pytest.raises(RuntimeError, match="cannot be `True` together"):
        nc.optim.Adam([w], fused=True, foreach=True)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"lr": 0.01}), ("SGD", {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}), ("Adam", {"lr": 0.1}),
        ("AdamW", {"lr": 0.1, "amsgrad": True}), ("RMSprop", {"lr": 0.01}), ("Adafactor", {"lr": 0.1}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.filterwarnings("ignore:jit_compile. step is traced at each call")
def test_parameters_that_share_elements_are_updated_one_after_the_other(torch, name, options, compiled):
    """An autoencoder whose decoder is a transposed view of its encoder: no update is lost."""
    mine, his = [tied_training(t, name, options, compiled and t is nc) for t in (nc, torch)]
    for a, b in zip(mine, his, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)


def tied_training(t, name, options, compiled):
    """The losses of some steps, and the parameters afterwards."""
    encoder = t.nn.Parameter(t.arange(6.0).reshape(2, 3) / 3 - 1)
    decoder = t.nn.Parameter(encoder.transpose(0, 1))
    bias = t.nn.Parameter(t.ones(3))
    x = t.tensor([[0.5, -1.0, 2.0], [1.0, 0.25, -0.5]])
    optimizer = getattr(t.optim, name)([encoder, bias, decoder], **options)

    def step():
        optimizer.zero_grad()
        loss = ((x @ encoder.T @ decoder.T + bias - x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    run = nc.jit_compile(step) if compiled else step
    losses = [run().item() for _ in range(5)]
    assert (encoder == decoder.T).all()
    return losses, encoder.tolist(), bias.tolist()
