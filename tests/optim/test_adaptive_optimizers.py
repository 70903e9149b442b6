"""NAdam, RAdam, Adamax, Adagrad, Adadelta, RMSprop: PyTorch's numbers, states and errors; Lion: the paper's."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl import nn, optim
from netcl.graph import plan
from netcl.io import load, save
from netcl.optim.lr_scheduler import StepLR

NAMES = ["NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop"]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("NAdam", {}),
    ("NAdam", {"weight_decay": 0.1, "momentum_decay": 0.1, "maximize": True}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "betas": (0.4, 0.9), "eps": 1e-4}),
    ("RAdam", {}),
    ("RAdam", {"weight_decay": 0.1, "maximize": True, "betas": (0.4, 0.9), "eps": 1e-4}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "lr": 5e-3}),
    ("RAdam", {"betas": (0.9, 0.5)}),  # a mean square that is never of enough gradients
    ("Adamax", {}),
    ("Adamax", {"weight_decay": 0.1, "maximize": True, "betas": (0.4, 0.9), "eps": 1e-4}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("Adagrad", {"initial_accumulator_value": 0.5, "eps": 1e-3}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.3, "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"weight_decay": 0.1, "maximize": True, "alpha": 0.4}),
    ("RMSprop", {"momentum": 0.9, "lr": 1e-3}),
    ("RMSprop", {"centered": True, "eps": 1e-3}),
    ("RMSprop", {"centered": True, "momentum": 0.5, "weight_decay": 0.1, "alpha": 0.9, "lr": 1e-3}),
]
SHAPES = ((5, 4), (5,), ())


def arrays(seed: int, dtype: Any = np.float32) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [np.asarray(draw.standard_normal(shape), dtype) for shape in SHAPES]


def ours(name: str, start: list[np.ndarray], **options: Any) -> tuple[list[nn.Parameter], Any]:
    parameters = [nn.Parameter(nc.tensor(x)) for x in start]
    return parameters, getattr(optim, name)(parameters, **options)


def advance(optimizer: Any, parameters: list, gradients: list[np.ndarray], tensor: Any = nc.tensor) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = tensor(gradient)
    optimizer.step()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_hundred_steps_give_pytorchs_numbers(name: str, options: dict, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    mine, a = ours(name, arrays(0, dtype), **options)
    theirs = [torch.nn.Parameter(torch.tensor(x)) for x in arrays(0, dtype)]
    b = getattr(torch.optim, name)(theirs, **options)
    for step in range(100):
        for optimizer in (a, b):
            optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * (1 - step / 200)
        advance(a, mine, arrays(step + 1, dtype))
        advance(b, theirs, arrays(step + 1, dtype), torch.tensor)
    # PyTorch keeps NAdam's product of momenta in float32 whatever the parameters are.
    rtol = 1e-6 if dtype is np.float32 else 1e-7 if name == "NAdam" else 1e-11
    for p, q in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=rtol, atol=rtol)
        assert list(a.state[p]) == [key for key in a.state[p] if key in b.state[q]]
        assert set(a.state[p]) == set(b.state[q])
        for key, value in b.state[q].items():
            got = a.state[p][key]
            got = got.numpy() if isinstance(got, nc.Tensor) else got
            np.testing.assert_allclose(got, value.numpy(), rtol=2e-6, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1, "betas": (0.8, 0.95)}, {"maximize": True, "lr": 0.01}])
def test_lion_is_the_papers(options: dict) -> None:
    lr, decay, betas = options.get("lr", 1e-4), options.get("weight_decay", 0), options.get("betas", (0.9, 0.99))
    expected = arrays(0, np.float64)
    moments = [np.zeros_like(x) for x in expected]
    mine, optimizer = ours("Lion", arrays(0), **options)
    for step in range(100):
        gradients = arrays(step + 1)
        advance(optimizer, mine, gradients)
        for x, m, gradient in zip(expected, moments, gradients, strict=True):
            g = -gradient if options.get("maximize") else gradient
            x -= lr * (np.sign(betas[0] * m + (1 - betas[0]) * g) + decay * x)
            m += (1 - betas[1]) * (g - m)
    for p, x, m in zip(mine, expected, moments, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), x, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(optimizer.state[p]["exp_avg"].numpy(), m, rtol=1e-5, atol=1e-6)
        assert optimizer.state[p]["step"] == 100


def test_lion_stands_still_where_the_gradient_is_zero() -> None:
    p = nn.Parameter(nc.ones(2))
    optimizer = optim.Lion([p], lr=0.5)
    p.grad = nc.tensor([0.0, 3.0])
    optimizer.step()
    assert p.tolist() == [1.0, 0.5]


@pytest.mark.parametrize("name", NAMES)
def test_arguments_and_defaults_are_pytorchs(name: str) -> None:
    import inspect

    torch = pytest.importorskip("torch")
    mine, theirs = getattr(optim, name), getattr(torch.optim, name)
    kinds = [[(p.name, p.kind, p.default) for p in inspect.signature(c).parameters.values()] for c in (mine, theirs)]
    assert kinds[0] == kinds[1]
    a, b = mine([nn.Parameter(nc.ones(1))]).defaults, theirs([torch.nn.Parameter(torch.ones(1))]).defaults
    assert a == b


@pytest.mark.parametrize("name", [*NAMES, "Lion"])
@pytest.mark.parametrize(
    "bad",
    [
        {"lr": -1.0}, {"eps": -1.0}, {"weight_decay": -1.0}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)},
        {"momentum_decay": -1.0}, {"lr_decay": -1.0}, {"initial_accumulator_value": -1.0}, {"rho": 1.5},
        {"momentum": -1.0}, {"alpha": -1.0},
    ],
    ids=str,
)  # fmt: skip
def test_bad_numbers_raise_pytorchs_errors(name: str, bad: dict) -> None:
    p = nn.Parameter(nc.ones(1))
    option = next(iter(bad))
    if option not in getattr(optim, name)([p]).defaults:
        return
    with pytest.raises(ValueError, match="Invalid") as mine:
        getattr(optim, name)([p], **bad)
    if name == "Lion":
        return
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="Invalid") as theirs:
        getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(1))], **bad)
    assert str(mine.value) == str(theirs.value)


@pytest.mark.parametrize("name", [*NAMES, "Lion"])
def test_what_has_no_meaning_here_is_refused(name: str) -> None:
    p = nn.Parameter(nc.ones(1))
    with pytest.raises(NotImplementedError, match="differentiable"):
        getattr(optim, name)([p], differentiable=True)
    with pytest.raises(TypeError, match="number"):
        getattr(optim, name)([p], lr="1")


PLANS = [
    ("NAdam", {"weight_decay": 0.1}), ("RAdam", {}), ("Adamax", {}), ("Adagrad", {"lr_decay": 0.1}), ("Adadelta", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True}), ("Lion", {"weight_decay": 0.1}),
]  # fmt: skip


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize(("name", "options"), PLANS, ids=str)
def test_later_steps_compile_nothing_allocate_nothing_and_are_one_launch(
    name: str, options: dict, scalar: bool
) -> None:
    mine, optimizer = ours(name, arrays(0)[: 3 if scalar else 2], **options)
    settled = 6 if name == "RAdam" else 3  # RAdam's step is another kernel from its sixth on
    for step in range(settled):
        optimizer.param_groups[0]["lr"] = 0.01 / (step + 1)
        advance(optimizer, mine, arrays(step)[: len(mine)])
    nc.synchronize()
    planned, memory = plan.statistics.planned, nc.profiler.memory_in_use()
    for step in range(5):
        optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        with nc.profiler.count_launches() as launches:
            advance(optimizer, mine, arrays(step)[: len(mine)])
        assert int(launches) <= (2 if scalar else 1)  # a value of one element may get a kernel ahead of the others
    nc.synchronize()
    assert plan.statistics.planned == planned
    assert nc.profiler.memory_in_use() == memory


@pytest.mark.parametrize("name", [*NAMES, "Lion"])
def test_late_parameters_count_their_own_steps(name: str) -> None:
    together, a = ours(name, [np.ones(3, np.float32)] * 2)
    alone, b = ours(name, [np.ones(3, np.float32)])
    for step in range(9):
        gradient = np.full(3, 0.5 + step, np.float32)
        together[0].grad = nc.tensor(gradient)
        if step >= 2:
            together[1].grad = nc.tensor(gradient)
            advance(b, alone, [gradient])
        a.step()
    np.testing.assert_allclose(together[1].detach().numpy(), alone[0].detach().numpy(), rtol=1e-6)
    assert [a.state[p]["step"] for p in together] == [9, 7]


@pytest.mark.parametrize(("name", "options"), PLANS, ids=str)
def test_state_dict_through_a_file_continues_with_the_same_numbers(name: str, options: dict, tmp_path: Any) -> None:
    mine, a = ours(name, arrays(0), **options)
    for step in range(4):
        advance(a, mine, arrays(step + 1))
    save({"optimizer": a.state_dict()}, tmp_path / "c.safetensors")
    others, b = ours(name, [p.detach().numpy() for p in mine], lr=0.5)
    b.load_state_dict(load(tmp_path / "c.safetensors")["optimizer"])
    for step in range(4, 8):
        advance(a, mine, arrays(step + 1))
        advance(b, others, arrays(step + 1))
    for p, q in zip(mine, others, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_of_pytorchs_loads(name: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = [torch.nn.Parameter(torch.tensor(x)) for x in arrays(0)]
    b = getattr(torch.optim, name)(theirs)
    for step in range(4):
        advance(b, theirs, arrays(step + 1), torch.tensor)
    state = b.state_dict()
    state["state"] = {number: dict(values) for number, values in state["state"].items()}
    for values in state["state"].values():
        values.update({key: nc.tensor(value.numpy()) for key, value in values.items()})
    mine, a = ours(name, [q.detach().numpy() for q in theirs])
    a.load_state_dict(state)
    for step in range(4, 8):
        advance(a, mine, arrays(step + 1))
        advance(b, theirs, arrays(step + 1), torch.tensor)
    for p, q in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-6, atol=1e-6)


def test_adagrads_sums_are_there_before_the_first_step() -> None:
    p = nn.Parameter(nc.ones(2))
    optimizer = optim.Adagrad([p], initial_accumulator_value=0.5)
    optimizer.add_param_group({"params": [nn.Parameter(nc.ones(1))], "initial_accumulator_value": 2.0})
    state = optimizer.state_dict()["state"]
    assert [entry["sum"].tolist() for entry in state.values()] == [[0.5, 0.5], [2.0]]
    assert [entry["step"] for entry in state.values()] == [0, 0]


@pytest.mark.parametrize("name", [*NAMES, "Lion"])
def test_a_step_that_raised_is_not_counted(name: str) -> None:
    p = nn.Parameter(nc.ones(2))
    optimizer = getattr(optim, name)([p])
    p._grad = nc.ones(2, 2)
    with pytest.raises(RuntimeError, match="gradient"):
        optimizer.step()
    assert optimizer.state[p].get("step", 0) == 0


@pytest.mark.parametrize("name", [*NAMES, "Lion"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_parameters_stay_so(name: str, dtype: str) -> None:
    p = nn.Parameter(nc.zeros(4, dtype=getattr(nc, dtype)))
    optimizer = getattr(optim, name)([p], lr=0.25)
    for _ in range(2):
        p.grad = nc.ones(4, dtype=p.dtype)
        optimizer.step()
    assert p.dtype is getattr(nc, dtype)
    values = p.detach().to(nc.float32).numpy()
    assert np.isfinite(values).all() and (values < 0).all()


@pytest.mark.parametrize("name", [*NAMES, "Lion"])
def test_eager_and_lazy_agree(name: str) -> None:
    results = []
    for eager in (False, True):
        with nc.eager(eager):
            mine, optimizer = ours(name, arrays(0), weight_decay=0.1)
            for step in range(2):
                advance(optimizer, mine, arrays(step + 1))
            results.append([p.detach().numpy() for p in mine])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_a_copy_of_a_scheduled_optimizer_steps_its_own_parameters() -> None:
    p = nn.Parameter(nc.ones(1))
    optimizer = optim.SGD([p], lr=0.5)
    StepLR(optimizer, 1)
    twin = copy.deepcopy(optimizer)
    q = twin.param_groups[0]["params"][0]
    q.grad = nc.ones(1)
    twin.step()
    assert (p.item(), q.item()) == (1.0, 0.5)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_leaves_parameters_and_averages_where_they_are(compiled: bool) -> None:
    """Gradients of the same size, made in the same launch, don't take their memory."""
    weight, bias = (nc.tensor(np.ones((8, 8), np.float32), requires_grad=True) for _ in range(2))
    optimizer = nc.optim.Adam([weight, bias])

    def step() -> None:
        optimizer.zero_grad()
        (weight * 2 + bias).square().sum().backward()
        optimizer.step()

    run = nc.jit_compile(step) if compiled else step

    def places() -> list[int]:
        nc.synchronize()
        averages = [optimizer.state[p][kind] for p in (weight, bias) for kind in ("exp_avg", "exp_avg_sq")]
        return [id(t._value.buffer.mem) for t in (weight, bias, *averages)]

    for _ in range(4):
        run()
    before = places()
    run()
    assert places() == before
