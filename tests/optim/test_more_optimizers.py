"""ASGD, Rprop, Adafactor, LBFGS: PyTorch's numbers; what all optimizers share: hooks, groups, saved states, errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl import nn, optim

SHAPES = ((5, 4), (5,), ())
CASES: list[tuple[str, dict[str, Any]]] = [
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.01, "alpha": 0.5, "t0": 5, "weight_decay": 0.1, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.05, "etas": (0.3, 1.5), "step_sizes": (0.01, 0.2), "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.5, "weight_decay": 0.1, "d": 2.0, "eps": (1e-6, 1e-2), "maximize": True}),
]
EVERY = [
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "NAdam", "RAdam", "RMSprop", "Rprop",
    "SGD",
]  # fmt: skip


def arrays(seed: int, dtype: Any = np.float32) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [np.asarray(draw.standard_normal(shape), dtype) for shape in SHAPES]


def advance(lib: Any, optimizer: Any, parameters: list, seed: int, dtype: Any = np.float32) -> None:
    for parameter, gradient in zip(parameters, arrays(seed, dtype), strict=True):
        parameter.grad = lib.tensor(gradient)
    optimizer.step()


def made(lib: Any, name: str, dtype: Any = np.float32, **options: Any) -> tuple[list, Any]:
    parameters = [lib.nn.Parameter(lib.tensor(x)) for x in arrays(0, dtype)]
    return parameters, getattr(lib.optim, name)(parameters, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_hundred_steps_give_pytorchs_numbers_and_states(name: str, options: dict, dtype: Any, torch: Any) -> None:
    ours, a = made(nc, name, dtype, **options)
    theirs, b = made(torch, name, dtype, **options)
    assert a.defaults == {key: b.defaults[key] for key in a.defaults}
    for seed in range(1, 51):
        advance(nc, a, ours, seed, dtype)
        advance(torch, b, theirs, seed, dtype)
    # PyTorch keeps ASGD's rates in float32.
    tolerance = 2e-5 if dtype is np.float32 else 1e-6 if name == "ASGD" else 1e-12
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance)
        for key, value in b.state[q].items():
            found = a.state[p][key]
            found = found.numpy() if isinstance(found, nc.Tensor) else found
            np.testing.assert_allclose(found, value.numpy(), rtol=tolerance, atol=tolerance, err_msg=key)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "Lion"])
def test_a_state_of_pytorchs_continues_here_and_one_of_ours_there(name: str, torch: Any) -> None:
    theirs, b = made(torch, name)
    for seed in (1, 2, 3):
        advance(torch, b, theirs, seed)
    ours = [nn.Parameter(nc.tensor(q.detach().numpy())) for q in theirs]
    a = getattr(optim, name)(ours)
    saved = b.state_dict()
    a.load_state_dict({**saved, "state": {n: numpy_state(state) for n, state in saved["state"].items()}})
    advance(nc, a, ours, 4)
    advance(torch, b, theirs, 4)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-6)
    again = [torch.nn.Parameter(torch.tensor(p.detach().numpy())) for p in ours]
    c = getattr(torch.optim, name)(again)
    back = a.state_dict()
    for state in back["state"].values():
        for key, value in state.items():
            plain = value.numpy() if isinstance(value, nc.Tensor) else float(value)
            state[key] = torch.tensor(plain, dtype=torch.float32)
    c.load_state_dict(back)
    advance(torch, c, again, 5)
    advance(torch, b, theirs, 5)
    for p, q in zip(again, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-6)


def numpy_state(state: dict) -> dict:
    return {key: value.numpy() if hasattr(value, "numpy") else value for key, value in state.items()}


@pytest.mark.parametrize("name", EVERY)
def test_a_step_that_raised_is_not_counted_and_leaves_the_numbers_alone(name: str) -> None:
    options = {"momentum": 0.9, "dampening": 0.5} if name == "SGD" else {}
    ours, a = made(nc, name, **options)
    expected, b = made(nc, name, **options)
    for _ in range(2):
        for p in ours:
            p.grad = nc.ones(p.shape)
        ours[0]._grad = nc.ones(3)
        with pytest.raises(RuntimeError, match="shape"):
            a.step()
    assert not any(state.get("step") for state in a.state.values())
    for seed in (1, 2):
        advance(nc, a, ours, seed)
        advance(nc, b, expected, seed)
    for p, q in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


@pytest.mark.parametrize("name", ["Adam", "SGD", "Rprop"])
def test_parameters_without_dimensions_share_the_launch(name: str) -> None:
    parameters = [nn.Parameter(nc.ones(shape)) for shape in ((5, 4), (5,), (), (1,))]
    optimizer = getattr(optim, name)(parameters)
    for _ in range(2):
        for p in parameters:
            p.grad = nc.ones(p.shape) * 1
        nc.synchronize()
        with nc.profiler.count_launches() as launches:
            optimizer.step()
    assert int(launches) == 1


def test_hooks_of_steps_run_around_them() -> None:
    (p, *_), optimizer = made(nc, "SGD", lr=0.1)
    order: list = []
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: order.append(("before", o is optimizer, args)))
    optimizer.register_step_post_hook(lambda o, args, kwargs: order.append(("after", p.grad.tolist())))
    p.grad = nc.ones(5, 4)
    optimizer.step()
    assert order[0] == ("before", True, ()) and order[1][0] == "after" and len(order) == 2
    before.remove()
    optimizer.step()
    assert [entry[0] for entry in order] == ["before", "after", "after"]
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((lambda: 7,), {}))
    assert optimizer.step() == 7
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 1)
    with pytest.raises(RuntimeError, match="pre-hook"):
        optimizer.step()
    assert copy.deepcopy(optimizer).step() is None  # hooks stay with the original


def test_hooks_of_saving_and_loading() -> None:
    _, optimizer = made(nc, "SGD", lr=0.1)
    seen: list = []
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("save"))
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "extra": 1})
    optimizer.register_load_state_dict_pre_hook(lambda o, state: seen.append(state.pop("extra")))
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("first"), prepend=True)
    optimizer.load_state_dict(optimizer.state_dict())
    assert seen == ["save", 1, "first", "loaded"]


def test_a_users_own_optimizer_and_groups_of_other_options() -> None:
    class Plain(optim.Optimizer):
        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        @nc.no_grad()
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(p.grad, alpha=-group["lr"])

    p, q = nn.Parameter(nc.ones(2)), nn.Parameter(nc.ones(2))
    optimizer = Plain([p], lr=1.0)
    optimizer.add_param_group({"params": q, "lr": 0.5})
    counted: list = []
    optimizer.register_step_post_hook(lambda *arguments: counted.append(1))
    (p.sum() + q.sum()).backward()
    optimizer.step()
    assert (p.tolist(), q.tolist(), counted) == ([0.0, 0.0], [0.5, 0.5], [1])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None


def rosenbrock(lib: Any, **options: Any) -> tuple[Any, Any, list]:
    x = lib.nn.Parameter(lib.tensor([-1.5, 2.0]))
    optimizer = lib.optim.LBFGS([x], **options)
    losses: list = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (1 - x[0]) ** 2 + 10 * (x[1] - x[0] ** 2) ** 2
        loss.backward()
        losses.append(loss.item())
        return loss

    return x, lambda: optimizer.step(closure), losses


def test_lbfgs_without_a_line_search_goes_pytorchs_way(torch) -> None:
    found = []
    for lib in (nc, torch):
        x, step, losses = rosenbrock(lib, lr=0.3, max_iter=5, history_size=2)
        first = [step().item() for _ in range(2)]
        found.append([*first, *losses, *x.detach().numpy()])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-2)


def test_lbfgs_with_a_line_search_finds_the_minimum() -> None:
    x, step, losses = rosenbrock(nc, line_search_fn="strong_wolfe")
    for _ in range(3):
        step()
    np.testing.assert_allclose(x.detach().numpy(), [1.0, 1.0], atol=1e-3)
    assert losses[-1] < 1e-6 and len(losses) < 120
    with pytest.raises(RuntimeError, match="strong_wolfe"):
        optim.LBFGS([x], line_search_fn="other")
    with pytest.raises(ValueError, match="groups"):
        optim.LBFGS([{"params": [x]}, {"params": [nn.Parameter(nc.ones(1))]}])
    with pytest.raises(TypeError, match="closure"):
        optim.LBFGS([x]).step()


def test_bad_options_raise_pytorchs_kind_of_error() -> None:
    p = [nn.Parameter(nc.ones(1))]
    cases: list[tuple[str, dict, type[Exception], str]] = [
        ("ASGD", {"lr": -1.0}, ValueError, "learning rate"),
        ("Rprop", {"etas": (1.5, 1.2)}, ValueError, "eta"),
        ("Rprop", {"differentiable": True}, NotImplementedError, "differentiable"),
        ("Adafactor", {"beta2_decay": 0.5}, ValueError, "beta2_decay"),
        ("Adafactor", {"d": 0.5}, ValueError, "d should be"),
        ("Adafactor", {"eps": (-1.0, 0.1)}, ValueError, "epsilon1"),
        ("SparseAdam", {}, NotImplementedError, "Adam"),
    ]
    for name, options, kind, text in cases:
        with pytest.raises(kind, match=text):
            getattr(optim, name)(p, **options)


def test_steps_taken_within_backward_free_each_gradient_at_once(torch: Any) -> None:
    found = []
    for lib in (nc, torch):
        lib.manual_seed(0)
        model = lib.nn.Sequential(lib.nn.Linear(4, 5), lib.nn.Tanh(), lib.nn.Linear(5, 1))
        optimizers = {p: lib.optim.SGD([p], lr=0.1, momentum=0.9) for p in model.parameters()}

        def step_now(p: Any, optimizers: dict = optimizers) -> None:
            optimizers[p].step()
            optimizers[p].zero_grad()

        for p in model.parameters():
            p.register_post_accumulate_grad_hook(step_now)
        for _ in range(3):
            (model(lib.ones(3, 4)) ** 2).sum().backward()
        assert all(p.grad is None for p in model.parameters())
        found.append([p.detach().numpy() for p in model.parameters()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
