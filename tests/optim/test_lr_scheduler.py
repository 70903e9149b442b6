"""Schedulers: PyTorch's rates, momenta, warnings, errors and saved state, epoch by epoch."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl import nn, optim
from netcl.graph import plan
from netcl.optim import lr_scheduler


class Halving:
    """A schedule with state of its own."""

    def __init__(self, every: int) -> None:
        self.every = every

    def __call__(self, epoch: float) -> float:
        return 0.5 ** (epoch // self.every)


# name -> make(schedulers, optimizer); S is netcl's lr_scheduler or PyTorch's.
CASES: dict[str, Callable[[Any, Any], Any]] = {
    "lambda": lambda S, o: S.LambdaLR(o, lambda epoch: 0.97**epoch),
    "lambdas": lambda S, o: S.LambdaLR(o, [lambda epoch: epoch // 30, Halving(20)]),
    "multiplicative": lambda S, o: S.MultiplicativeLR(o, [lambda epoch: 0.95, lambda epoch: 1 - 1 / (epoch + 5)]),
    "step": lambda S, o: S.StepLR(o, 30, gamma=0.3),
    "multistep": lambda S, o: S.MultiStepLR(o, [80, 30, 30], gamma=0.5),
    "constant": lambda S, o: S.ConstantLR(o, factor=0.4, total_iters=7),
    "constant to the end": lambda S, o: S.ConstantLR(o, total_iters=1000),
    "linear": lambda S, o: S.LinearLR(o),
    "linear down": lambda S, o: S.LinearLR(o, start_factor=0.9, end_factor=0.0, total_iters=150),
    "exponential": lambda S, o: S.ExponentialLR(o, 0.98),
    "polynomial": lambda S, o: S.PolynomialLR(o, total_iters=120, power=2.5),
    "polynomial 1": lambda S, o: S.PolynomialLR(o),
    "cosine": lambda S, o: S.CosineAnnealingLR(o, 40),
    "cosine to a floor": lambda S, o: S.CosineAnnealingLR(o, T_max=33, eta_min=0.01),
    "cosine 1": lambda S, o: S.CosineAnnealingLR(o, T_max=1, eta_min=0.01),
    "warm restarts": lambda S, o: S.CosineAnnealingWarmRestarts(o, 13, eta_min=0.001),
    "growing restarts": lambda S, o: S.CosineAnnealingWarmRestarts(o, 7, T_mult=2),
    "triangular": lambda S, o: S.CyclicLR(o, 0.01, 0.1, step_size_up=9, step_size_down=21),
    "triangular2": lambda S, o: S.CyclicLR(o, [0.01, 0.02], [0.1, 0.3], 15, mode="triangular2"),
    "exp_range": lambda S, o: S.CyclicLR(o, 0.01, 0.1, 15, mode="exp_range", gamma=0.99, base_momentum=0.5),
    "cyclic by function": lambda S, o: S.CyclicLR(o, 0.01, 0.1, 15, scale_fn=Halving(2), cycle_momentum=False),
    "cyclic by step": lambda S, o: S.CyclicLR(o, 0.01, 0.1, 15, scale_fn=Halving(25), scale_mode="iterations"),
    "one cycle": lambda S, o: S.OneCycleLR(o, 0.3, total_steps=200),
    "one cycle in lines": lambda S, o: S.OneCycleLR(
        o, [0.3, 0.1], epochs=10, steps_per_epoch=21, anneal_strategy="linear", div_factor=10, final_div_factor=100
    ),
    "one cycle, three phases": lambda S, o: S.OneCycleLR(
        o, 0.3, 210, pct_start=0.4, three_phase=True, base_momentum=[0.7, 0.8], max_momentum=0.99
    ),
    "sequential": lambda S, o: S.SequentialLR(
        o,
        [S.LinearLR(o, 0.1, total_iters=10), S.CosineAnnealingLR(o, 60), S.ExponentialLR(o, 0.9), S.StepLR(o, 20)],
        milestones=[10, 70, 120],
    ),
    "sequential without closed forms": lambda S, o: S.SequentialLR(
        o,
        [S.ConstantLR(o), S.MultiplicativeLR(o, lambda e: 0.9), S.CosineAnnealingWarmRestarts(o, 10, 2)],
        milestones=[7, 30],
    ),
    "chained": lambda S, o: S.ChainedScheduler(
        [S.ConstantLR(o, 0.1, 20), S.ExponentialLR(o, 0.98), S.CosineAnnealingLR(o, 150), S.StepLR(o, 50)]
    ),
    "chained ramps": lambda S, o: S.ChainedScheduler([S.LinearLR(o, 0.2), S.PolynomialLR(o, 190, 0.5)], o),
}


def groups(library: Any, kind: str = "SGD", **options: Any) -> Any:
    """An optimizer of two groups with different rates, netcl's or PyTorch's."""
    parameters = [library.nn.Parameter(library.ones(1)) for _ in range(2)]
    options = {"momentum": 0.9, **options} if kind == "SGD" else options
    return getattr(library.optim, kind)(
        [{"params": [parameters[0]]}, {"params": [parameters[1]], "lr": 0.05}], lr=0.1, **options
    )


def momenta(optimizer: Any) -> list[float]:
    return [group["betas"][0] if "betas" in group else group.get("momentum") for group in optimizer.param_groups]


def plain(state: Any) -> Any:
    """A state_dict with what is only approximately the same rounded."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    if isinstance(state, list):
        return [plain(value) for value in state]
    return float(f"{state:.9e}") if isinstance(state, float) else state


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", CASES)
def test_two_hundred_epochs_have_pytorchs_rates(name: str, kind: str) -> None:
    torch = pytest.importorskip("torch")
    a, b = groups(nc, kind), groups(torch, kind)
    mine, theirs = CASES[name](lr_scheduler, a), CASES[name](torch.optim.lr_scheduler, b)
    a.step()
    b.step()
    for epoch in range(200):
        at = f"epoch {epoch}"
        np.testing.assert_allclose(mine.get_last_lr(), theirs.get_last_lr(), rtol=1e-9, atol=1e-15, err_msg=at)
        rates = [group["lr"] for group in a.param_groups]
        np.testing.assert_allclose(rates, [group["lr"] for group in b.param_groups], rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(momenta(a), momenta(b), rtol=1e-9, err_msg=at)
        if epoch == 150:
            # scale_fn is kept under a name that PyTorch's state_dict also has.
            assert plain(mine.state_dict()).keys() == plain(theirs.state_dict()).keys()
        mine.step()
        theirs.step()
    saved = [plain({k: v for k, v in s.state_dict().items() if not k.startswith("_")}) for s in (mine, theirs)]
    assert saved[0] == saved[1]


CLOSED = [
    "lambda", "step", "multistep", "constant", "linear down", "exponential", "polynomial", "cosine to a floor",
    "warm restarts", "growing restarts", "triangular", "one cycle",
]  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_an_epoch_given_outright_has_pytorchs_rates(name: str) -> None:
    torch = pytest.importorskip("torch")
    a, b = groups(nc), groups(torch)
    mine, theirs = CASES[name](lr_scheduler, a), CASES[name](torch.optim.lr_scheduler, b)
    a.step()
    b.step()
    for epoch in (3, 40, 10, 100, None, 0):
        mine.step(epoch)
        theirs.step(epoch)
        np.testing.assert_allclose(mine.get_last_lr(), theirs.get_last_lr(), rtol=1e-9, atol=1e-15, err_msg=str(epoch))


def test_restarts_within_an_epoch() -> None:
    torch = pytest.importorskip("torch")
    a, b = groups(nc), groups(torch)
    mine = lr_scheduler.CosineAnnealingWarmRestarts(a, 3, 2)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(b, 3, 2)
    for batch in range(200):
        mine.step(batch / 10)
        theirs.step(batch / 10)
        np.testing.assert_allclose(mine.get_last_lr(), theirs.get_last_lr(), rtol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_training_continues_from_a_state_dict(name: str) -> None:
    a = groups(nc)
    first = CASES[name](lr_scheduler, a)
    a.step()
    for _ in range(35):
        first.step()
    saved, optimizer_saved = pickle.loads(pickle.dumps((first.state_dict(), a.state_dict())))
    b = groups(nc)
    second = CASES[name](lr_scheduler, b)
    b.load_state_dict(optimizer_saved)
    second.load_state_dict(saved)
    b.step()
    for _ in range(60):
        assert first.get_last_lr() == second.get_last_lr()
        assert momenta(a) == momenta(b)
        first.step()
        second.step()


@pytest.mark.parametrize("name", [n for n in CASES if "sequential" not in n and "chained" not in n])
def test_a_scheduler_made_anew_at_a_last_epoch_is_where_pytorchs_is(name: str) -> None:
    torch = pytest.importorskip("torch")
    rates = []
    for library, S in ((nc, lr_scheduler), (torch, torch.optim.lr_scheduler)):
        optimizer = groups(library)
        scheduler = CASES[name](S, optimizer)
        optimizer.step()
        for _ in range(6):
            scheduler.step()
        # The cases have no last_epoch of their own: pass one on to the class that they name.
        kind = type(scheduler)
        resumed = type(kind.__name__, (kind,), {"__init__": _resuming(kind)})
        again = CASES[name](_Only(S, kind.__name__, resumed), optimizer)
        seen = [again.get_last_lr()]
        for _ in range(5):
            again.step()
            seen.append(again.get_last_lr())
        rates.append(seen)
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-9)


def _resuming(kind: Any) -> Callable:
    def start(self: Any, *args: Any, **kwargs: Any) -> None:
        kind.__init__(self, *args, last_epoch=5, **kwargs)

    return start


class _Only:
    def __init__(self, S: Any, name: str, kind: Any) -> None:
        setattr(self, name, kind)


def test_sequences_within_sequences_are_one_long_sequence() -> None:
    # PyTorch's inner milestones are an epoch early, and an inner sequence that is not the first one raises.
    S = lr_scheduler
    flat, first, second = (groups(nc) for _ in range(3))

    def parts(o: Any) -> list[Any]:
        return [S.LinearLR(o, total_iters=5), S.PolynomialLR(o, 40), S.ExponentialLR(o, 0.9)]

    schedulers = [S.SequentialLR(flat, parts(flat), [5, 40])]
    a, b, c = parts(first)
    schedulers.append(S.SequentialLR(first, [S.SequentialLR(first, [a, b], [5]), c], [40]))
    a, b, c = parts(second)
    schedulers.append(S.SequentialLR(second, [a, S.SequentialLR(second, [S.ChainedScheduler([b]), c], [35])], [5]))
    for optimizer in (flat, first, second):
        optimizer.step()
    for _ in range(60):
        rates = [scheduler.get_last_lr() for scheduler in schedulers]
        assert rates[0] == rates[1] == rates[2]
        for scheduler in schedulers:
            scheduler.step()


def test_plateaus_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    draw = np.random.default_rng(0)
    metrics = 1 + np.exp(-np.arange(200) / 20) + draw.standard_normal(200) / 50
    for options in (
        {},
        {"patience": 3, "factor": 0.5, "cooldown": 2, "min_lr": [1e-3, 1e-2]},
        {"mode": "max", "patience": 5, "threshold": 0.01, "threshold_mode": "abs", "min_lr": 1e-4},
        {"mode": "max", "patience": 0, "threshold": 0.02, "eps": 1e-3},
        {"patience": 2, "threshold": 0.1, "threshold_mode": "abs"},
    ):
        a, b = groups(nc), groups(torch)
        mine = lr_scheduler.ReduceLROnPlateau(a, **options)
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
        for metric in metrics:
            mine.step(nc.tensor(metric, dtype=nc.float64))
            theirs.step(torch.tensor(metric))
            np.testing.assert_allclose(mine.get_last_lr(), theirs.get_last_lr(), rtol=1e-12)
        assert mine.state_dict() == theirs.state_dict()
        again = lr_scheduler.ReduceLROnPlateau(groups(nc), **options)
        again.load_state_dict(mine.state_dict())
        assert again.state_dict() == mine.state_dict()


def test_plateaus_and_groups_that_came_later() -> None:
    optimizer = groups(nc)
    one = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=0.02)
    each = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.02, 0.02])
    optimizer.add_param_group({"params": [nn.Parameter(nc.ones(1))], "lr": 1.0})
    for metric in (1.0, 1.0):
        one.step(metric)
    assert one.get_last_lr() == [0.02, 0.02, 0.1]
    each.step(1.0)
    with pytest.raises(RuntimeError, match="min_lrs"):
        each.step(1.0)


def test_names_and_arguments_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.optim.lr_scheduler
    assert set(lr_scheduler.__all__) == set(theirs.__all__)
    assert nc.optim.lr_scheduler is lr_scheduler
    for name in theirs.__all__:
        a, b = (inspect.signature(getattr(S, name)).parameters.values() for S in (lr_scheduler, theirs))
        assert [(p.name, p.kind, p.default) for p in a] == [(p.name, p.kind, p.default) for p in b], name


def test_a_step_before_the_optimizers_warns_once() -> None:
    optimizer = groups(nc)
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match=r"before `optimizer.step\(\)`"):
        scheduler.step()
    scheduler.step()
    optimizer = groups(nc)
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()


def test_other_warnings_are_pytorchs() -> None:
    optimizer = groups(nc)
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()
    optimizer.step()
    with pytest.warns(UserWarning, match="epoch parameter"):
        scheduler.step(3)
    with pytest.warns(UserWarning, match="epoch parameter"):
        lr_scheduler.ReduceLROnPlateau(optimizer).step(1.0, epoch=3)
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    optimizer.step = lambda: None
    with pytest.warns(UserWarning, match="overridden"):
        scheduler.step()


def test_an_optimizer_class_with_a_step_of_its_own_is_noticed() -> None:
    class Own(optim.Optimizer):
        def step(self, closure: Any = None) -> str:
            return "stepped"

    optimizer = Own([nn.Parameter(nc.ones(1))], {"lr": 0.1})
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    assert optimizer.step() == "stepped"
    scheduler.step()
    assert scheduler.get_last_lr() == [0.05]


ERRORS: list[Callable[[Any, Any], Any]] = [
    lambda S, o: S.StepLR(3, 1),
    lambda S, o: S.LambdaLR(o, [lambda e: 1]),
    lambda S, o: S.MultiplicativeLR(o, [lambda e: 1]),
    lambda S, o: S.ConstantLR(o, 2),
    lambda S, o: S.LinearLR(o, 0),
    lambda S, o: S.LinearLR(o, 0.5, 3),
    lambda S, o: S.CosineAnnealingWarmRestarts(o, 0),
    lambda S, o: S.CosineAnnealingWarmRestarts(o, 1, 0),
    lambda S, o: S.CosineAnnealingWarmRestarts(o, 1.5),
    lambda S, o: S.CosineAnnealingWarmRestarts(o, 2).step(-1),
    lambda S, o: S.CyclicLR(o, [0.1], 0.2),
    lambda S, o: S.CyclicLR(o, 0.1, [0.2]),
    lambda S, o: S.CyclicLR(o, 0.1, 0.2, mode="x"),
    lambda S, o: S.OneCycleLR(o, 0.1),
    lambda S, o: S.OneCycleLR(o, 0.1, -3),
    lambda S, o: S.OneCycleLR(o, 0.1, 2.5),
    lambda S, o: S.OneCycleLR(o, 0.1, epochs=3),
    lambda S, o: S.OneCycleLR(o, 0.1, epochs=-3, steps_per_epoch=1),
    lambda S, o: S.OneCycleLR(o, 0.1, epochs=3, steps_per_epoch=-1),
    lambda S, o: S.OneCycleLR(o, 0.1, 10, pct_start=2),
    lambda S, o: S.OneCycleLR(o, 0.1, 10, anneal_strategy="x"),
    lambda S, o: S.OneCycleLR(o, [0.1], 10),
    lambda S, o: [s.step() for s in [S.OneCycleLR(o, 0.1, 2)] for _ in range(5)],
    lambda S, o: S.ReduceLROnPlateau(o, factor=1.0),
    lambda S, o: S.ReduceLROnPlateau(3),
    lambda S, o: S.ReduceLROnPlateau(o, min_lr=[1]),
    lambda S, o: S.ReduceLROnPlateau(o, "x"),
    lambda S, o: S.ReduceLROnPlateau(o, threshold_mode="x"),
    lambda S, o: S.ReduceLROnPlateau(o).step("a"),
    lambda S, o: S.SequentialLR(o, [], []),
    lambda S, o: S.SequentialLR(o, [S.ConstantLR(o)], [1]),
    lambda S, o: S.SequentialLR(o, [S.ConstantLR(o), 3], [1]),
    lambda S, o: S.SequentialLR(o, [S.ConstantLR(o), S.ReduceLROnPlateau(o)], [1]),
    lambda S, o: S.ChainedScheduler([]),
    lambda S, o: S.ChainedScheduler([S.ConstantLR(o), 3]),
    lambda S, o: S.ChainedScheduler([S.ConstantLR(o), S.ReduceLROnPlateau(o)]),
]


@pytest.mark.filterwarnings("ignore:Detected call")
@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors_are_pytorchs(number: int) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises((TypeError, ValueError)) as theirs:
        ERRORS[number](torch.optim.lr_scheduler, groups(torch))
    with pytest.raises(theirs.type) as mine:
        ERRORS[number](lr_scheduler, groups(nc))
    assert str(mine.value) == str(theirs.value)


def test_errors_of_our_own_wording() -> None:
    o, other = groups(nc), groups(nc)
    with pytest.raises(KeyError, match="initial_lr"):
        lr_scheduler.StepLR(o, 1, last_epoch=3)
    with pytest.raises(NotImplementedError, match="get_lr"):
        lr_scheduler.LRScheduler(o)
    scheduler = lr_scheduler.ConstantLR(o)
    with pytest.raises(ValueError, match="same optimizer"):
        lr_scheduler.SequentialLR(other, [scheduler], [])
    with pytest.raises(ValueError, match="same optimizer"):
        lr_scheduler.ChainedScheduler([scheduler, lr_scheduler.ConstantLR(other)])
    without = optim.Adagrad([nn.Parameter(nc.ones(1))])
    for make in (
        lambda: lr_scheduler.CyclicLR(without, 0.1, 0.2),
        lambda: lr_scheduler.OneCycleLR(without, 0.1, 10),
    ):
        with pytest.raises(ValueError, match="cycle_momentum"):
            make()
    assert lr_scheduler.OneCycleLR(without, 0.1, 10, cycle_momentum=False).get_last_lr() == [pytest.approx(0.004)]


def test_one_cycle_whose_first_phase_is_one_step_starts_at_the_top() -> None:
    scheduler = lr_scheduler.OneCycleLR(groups(nc), 0.5, 10, pct_start=0.1)  # PyTorch divides by zero here
    assert scheduler.get_last_lr() == [0.5, 0.5]


def test_a_pickled_or_copied_scheduler_goes_on_with_its_own_optimizer() -> None:
    a = groups(nc)
    scheduler = lr_scheduler.OneCycleLR(a, 0.3, 50)
    a.step()
    scheduler.step()
    twin = copy.deepcopy(scheduler)
    twin.step()
    assert twin.optimizer is not a
    assert twin.optimizer.param_groups[0]["lr"] == twin.get_last_lr()[0] != a.param_groups[0]["lr"]


def test_a_schedule_compiles_nothing_and_reaches_the_update() -> None:
    p = nn.Parameter(nc.ones(3))
    optimizer = optim.SGD([p], lr=1.0)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    planned = 0
    for epoch in range(8):
        p.grad = nc.ones(3)
        optimizer.step()
        scheduler.step()
        if epoch == 2:
            nc.synchronize()
            planned = plan.statistics.planned
    nc.synchronize()
    assert plan.statistics.planned == planned
    np.testing.assert_allclose(p.detach().numpy(), 1 - sum(math.pow(0.5, e) for e in range(8)), rtol=1e-6)
