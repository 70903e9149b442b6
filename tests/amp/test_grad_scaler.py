"""GradScaler: PyTorch's numbers and errors, and that nothing is read back."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl.core import launch
from netcl.graph.plan import plan_count

RNG = np.random.default_rng(5)
INPUTS = RNG.standard_normal((10, 4, 5)).astype(np.float32)
OPTIMIZERS = [
    ("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}), ("Adam", {}),
    ("Adam", {"betas": (0.0, 0.0)}), ("AdamW", {"amsgrad": True}), ("NAdam", {}), ("RAdam", {}),
    ("RAdam", {"betas": (0.9, 0.5)}), ("Adamax", {}), ("Adagrad", {"lr_decay": 0.1}), ("ASGD", {"lr": 0.1, "t0": 2}),
    ("RMSprop", {"momentum": 0.9, "centered": True}), ("Rprop", {}), ("Adadelta", {}), ("Adafactor", {}),
]  # fmt: skip


def steps(lib, optimizer_of, infinite=(), scaler=None, count=10, before_step=None):
    """A small regression; the loss of some steps is infinite. Returns the parameters, optimizer and scaler."""
    lib.manual_seed(0)
    model = lib.nn.Linear(5, 3)
    optimizer = optimizer_of(model.parameters())
    scaler = scaler or lib.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    for number in range(count):
        x = lib.tensor(INPUTS[number % 10])
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        if number in infinite:
            loss = loss * float("inf")
        scaler.scale(loss).backward()
        if before_step is not None:
            before_step(lib, scaler, optimizer, model)
        scaler.step(optimizer)
        scaler.update()
    return [p.detach().numpy() for p in model.parameters()], optimizer, scaler


def close(ours, theirs, tolerance=1e-6):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=[f"{n}-{o}" for n, o in OPTIMIZERS])
def test_every_optimizer_skips_as_pytorchs_does(torch, name, options):
    for infinite in ((), (0, 3, 4)):
        ours, optimizer, scaler = steps(nc, lambda p: getattr(nc.optim, name)(p, **options), infinite)
        theirs, _, their_scaler = steps(torch, lambda p: getattr(torch.optim, name)(p, **options), infinite)
        close(ours, theirs)
        assert scaler.state_dict() == their_scaler.state_dict()
        for state in optimizer.state.values():
            if "step" in state:
                assert state["step"].item() == 10 - len(infinite)


def test_a_skipped_step_changes_nothing(device):
    ours, optimizer, scaler = steps(nc, nc.optim.Adam, (0, 1, 2), count=3)
    nc.manual_seed(0)
    for a, b in zip(ours, nc.nn.Linear(5, 3).parameters(), strict=True):
        np.testing.assert_array_equal(a, b.detach().numpy())
    for state in optimizer.state.values():
        assert state["step"].item() == 0
        assert not state["exp_avg"].numpy().any()
    assert scaler.get_scale() == 128.0


def test_nan_is_found_too_and_each_element_counts(device, target):
    w = nc.zeros(1000, requires_grad=True)
    optimizer, scaler = nc.optim.SGD([w], lr=1.0), nc.amp.GradScaler(init_scale=2.0)
    for place, value in ((999, np.nan), (0, np.inf), (500, -np.inf), (3, 1.0)):
        factor = np.ones(1000, np.float32)
        factor[place] = value
        optimizer.zero_grad()
        scaler.scale((w * nc.tensor(factor)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    np.testing.assert_array_equal(w.detach().numpy(), -np.ones(1000))  # the last one only
    assert scaler.get_scale() == 0.25


def test_no_step_reads_anything(device, monkeypatch):
    reads = []
    read_into = launch.read_into
    monkeypatch.setattr(launch, "read_into", lambda *args: reads.append(args) or read_into(*args))

    def clipped(lib, scaler, optimizer, model):
        scaler.unscale_(optimizer)
        lib.nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    def unread(lib, optimizer_of, before_step):
        lib.manual_seed(0)
        model = lib.nn.Linear(5, 3)
        optimizer, scaler = optimizer_of(model.parameters()), lib.amp.GradScaler(growth_interval=2)
        for number in range(5):
            loss = model(lib.tensor(INPUTS[number])).square().mean()
            scaler.scale(loss).backward()
            if before_step is not None:
                before_step(lib, scaler, optimizer, model)
            scaler.step(optimizer)
            scaler.update()
        lib.synchronize()

    for optimizer_of in (nc.optim.Adam, nc.optim.SGD):
        for before_step in (None, clipped):
            unread(nc, optimizer_of, before_step)
    assert reads == []


def test_a_scaled_step_costs_few_launches(device):
    model = nc.nn.Sequential(nc.nn.Linear(16, 8), nc.nn.ReLU(), nc.nn.Linear(8, 1))
    optimizer, scaler = nc.optim.Adam(model.parameters()), nc.amp.GradScaler()
    x = nc.tensor(RNG.standard_normal((4, 16)).astype(np.float32))

    def step(scaled):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        (scaler.scale(loss) if scaled else loss).backward()
        if scaled:
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step()

    counts = []
    for scaled in (False, True):
        for _ in range(2):
            step(scaled)
        with nc.profiler.count_launches() as count:
            step(scaled)
        counts.append(int(count))
    assert counts[1] <= counts[0] + 6  # looking for infinities, the optimizer's numbers, the new scale


def test_plans_are_found_again(device):
    """Neither the scale nor the number of the step is part of a plan's key."""
    model = nc.nn.Linear(5, 3)
    optimizer, scaler = nc.optim.Adam(model.parameters()), nc.amp.GradScaler(growth_interval=2)
    counts = []
    for number in range(8):
        optimizer.zero_grad()
        loss = model(nc.tensor(INPUTS[number])).square().mean() * (float("inf") if number == 5 else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        nc.synchronize()
        counts.append(plan_count())
    assert counts[3:] == counts[3:4] * 5


def test_unscaled_gradients_can_be_clipped(device, torch):
    def clipped(lib, scaler, optimizer, model):
        scaler.unscale_(optimizer)
        lib.nn.utils.clip_grad_norm_(model.parameters(), 0.5)

    for infinite in ((), (2, 3)):
        ours, *_ = steps(nc, nc.optim.Adam, infinite, before_step=clipped)
        theirs, *_ = steps(torch, torch.optim.Adam, infinite, before_step=clipped)
        close(ours, theirs)


def test_gradients_are_unscaled_in_place():
    w = nc.tensor([3.0], requires_grad=True)
    optimizer, scaler = nc.optim.SGD([w], lr=0.5), nc.amp.GradScaler(init_scale=4.0)
    scaler.scale(w * w).backward()
    gradient = w.grad
    assert gradient.item() == 24.0
    scaler.unscale_(optimizer)
    assert w.grad is gradient
    assert gradient.item() == 6.0


def test_the_scale_grows_after_an_interval_and_stays_finite(torch):
    for lib in (nc, torch):
        w = lib.tensor([1.0], requires_grad=True)
        optimizer = lib.optim.SGD([w], lr=1e-30)
        scaler = lib.amp.GradScaler("cpu", init_scale=2.0**126, growth_interval=1)
        scales = []
        for _ in range(3):
            optimizer.zero_grad()
            scaler.scale(w * 1e-30).backward()
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
        assert scales == [2.0**127] * 3, lib


def test_scale_takes_tensors_and_nests_of_them():
    scaler = nc.amp.GradScaler(init_scale=8.0)
    one, (two, three) = scaler.scale([nc.tensor(1.0), (nc.tensor(2.0), nc.tensor([3.0], dtype=nc.float16))])
    assert (one.item(), two.item(), three.item()) == (8.0, 16.0, 24.0)
    with pytest.raises(ValueError, match="iterable of Tensors"):
        scaler.scale(3.0)


def test_two_losses_and_two_optimizers(torch):
    def both(lib):
        a, b = (lib.tensor([n], requires_grad=True) for n in (1.0, 2.0))
        optimizers = [lib.optim.Adam([p], lr=0.1) for p in (a, b)]
        scaler = lib.amp.GradScaler("cpu", init_scale=16.0, growth_interval=2)
        for number in range(5):
            for optimizer in optimizers:
                optimizer.zero_grad()
            first, second = (a * a).sum(), (b * (float("inf") if number == 1 else 1.0)).sum()
            for loss in scaler.scale([first, second]):
                loss.backward()
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
        return [a.item(), b.item(), scaler.get_scale()]

    assert both(nc) == pytest.approx(both(torch), rel=1e-6)


def test_parameters_without_gradients_stay_at_their_steps(torch):
    def uneven(lib):
        a, b = (lib.tensor([n], requires_grad=True) for n in (1.0, 2.0))
        optimizer, scaler = lib.optim.Adam([a, b], lr=0.1), lib.amp.GradScaler("cpu", init_scale=4.0)
        for number in range(6):
            optimizer.zero_grad()
            loss = a * a if number in (1, 2) else a * b * (float("inf") if number == 4 else 1.0)
            scaler.scale(loss.sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        return [a.item(), b.item(), *(float(optimizer.state[p]["step"]) for p in (a, b))]

    assert uneven(nc) == pytest.approx(uneven(torch), rel=1e-6)


def test_the_optimizers_state_goes_on_without_the_scaler_and_after_loading():
    ours, optimizer, _ = steps(nc, nc.optim.Adam, (1,))
    model = nc.nn.Linear(5, 3)
    with nc.no_grad():
        for p, value in zip(model.parameters(), ours, strict=True):
            p.copy_(nc.tensor(value))
    other = nc.optim.Adam(model.parameters())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert [s["step"] for s in other.state.values()] == [9, 9]
    first = optimizer.param_groups[0]["params"]
    for own, parameters in ((optimizer, first), (other, list(model.parameters()))):
        for p in parameters:
            p.grad = nc.ones(*p.shape)
        own.step()
    close([p.detach().numpy() for p in first], [p.detach().numpy() for p in model.parameters()])
    assert optimizer.state[first[0]]["step"].item() == 10.0


def test_optimizers_with_a_step_of_their_own_are_skipped_by_the_host():
    class Descent(nc.optim.Optimizer):
        calls = 0

        def __init__(self, params):
            super().__init__(params, {})

        def step(self, closure=None):
            Descent.calls += 1
            with nc.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p.sub_(p.grad * 0.1)
            return "stepped"

    assert not Descent([nc.zeros(1, requires_grad=True)]).skips_on_device
    steps(nc, Descent, (1, 2), count=5)
    assert Descent.calls == 3


def test_learning_rate_schedulers_hooks_and_steps_work_together():
    calls = []
    w = nc.tensor([1.0], requires_grad=True)
    optimizer, scaler = nc.optim.SGD([w], lr=1.0), nc.amp.GradScaler()
    scheduler = nc.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    for _ in range(2):
        optimizer.zero_grad()
        scaler.scale(w.sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
    assert w.item() == -0.5
    assert calls == [1, 1]
    assert not hasattr(optimizer, "found_inf")


# ---- state -------------------------------------------------------------------------------------------------------


def test_state_goes_to_pytorch_and_back(torch):
    _, _, ours = steps(nc, nc.optim.Adam, (1,), count=7)
    theirs = torch.amp.GradScaler("cpu")
    theirs.load_state_dict(ours.state_dict())
    assert theirs.state_dict() == ours.state_dict()
    again = nc.amp.GradScaler()
    again.load_state_dict(theirs.state_dict())
    assert again.state_dict() == ours.state_dict()
    for number in range(4):
        for scaler in (ours, again):
            w = nc.tensor([1.0], requires_grad=True)
            optimizer = nc.optim.SGD([w])
            scaler.scale(w * (float("inf") if number == 2 else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
    assert again.state_dict() == ours.state_dict()
    ours.load_state_dict(nc.amp.GradScaler(init_scale=3.0).state_dict())  # one that is in use already
    assert ours.get_scale() == 3.0
    assert pickle.loads(pickle.dumps(again)).state_dict() == again.state_dict()


def test_a_scaler_that_is_not_enabled_does_nothing():
    scaler = nc.amp.GradScaler("cuda", enabled=False)
    w = nc.tensor([1.0], requires_grad=True)
    optimizer = nc.optim.SGD([w], lr=1.0)
    loss = w * 2
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.item() == -3.0
    assert (scaler.get_scale(), scaler.state_dict(), scaler.is_enabled()) == (1.0, {}, False)
    scaler.load_state_dict({})


def test_the_scale_can_be_set():
    _, _, scaler = steps(nc, nc.optim.SGD, count=1)
    scaler.update(5.0)
    assert scaler.get_scale() == 5.0
    scaler.update(nc.tensor([7.0]))
    assert scaler.get_scale() == 7.0
    with pytest.raises(ValueError, match="one element"):
        scaler.update(nc.ones(2))
    scaler.set_growth_factor(3.0)
    scaler.set_backoff_factor(0.25)
    scaler.set_growth_interval(2)
    assert (scaler.get_growth_factor(), scaler.get_backoff_factor(), scaler.get_growth_interval()) == (3.0, 0.25, 2)
    steps(nc, nc.optim.SGD, scaler=scaler, count=1)
    assert scaler.get_scale() == 21.0
    steps(nc, nc.optim.SGD, (0,), scaler=scaler, count=1)
    assert scaler.get_scale() == 5.25


# ---- errors ------------------------------------------------------------------------------------------------------


def ready():
    w = nc.tensor([1.0], requires_grad=True)
    optimizer, scaler = nc.optim.SGD([w]), nc.amp.GradScaler()
    scaler.scale(w * 2).backward()
    return w, optimizer, scaler


def test_what_is_out_of_order_raises():
    _, optimizer, scaler = ready()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"unscale_\(\) has already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"unscale_\(\) is being called after step"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="only be pickled"):
        pickle.dumps(scaler)
    scaler.update()
    with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
        scaler.update()


def test_what_cannot_be_scaled_raises():
    w, optimizer, _ = ready()
    unused = nc.amp.GradScaler()
    for call in (lambda: unused.step(optimizer), lambda: unused.unscale_(optimizer), unused.update):
        with pytest.raises(AssertionError, match="_scale is None"):
            call()
    with pytest.raises(RuntimeError, match="state dict is empty"):
        unused.load_state_dict({})
    _, optimizer, scaler = ready()
    with pytest.raises(RuntimeError, match="Closure use"):
        scaler.step(optimizer, lambda: w.sum())
    optimizer.zero_grad()
    with pytest.raises(AssertionError, match="No inf checks were recorded for this optimizer"):
        scaler.step(optimizer)
    half = nc.ones(2, dtype=nc.float16, requires_grad=True)
    optimizer, scaler = nc.optim.SGD([half]), nc.amp.GradScaler()
    scaler.scale(half.sum()).backward()
    with pytest.raises(ValueError, match="unscale FP16 gradients"):
        scaler.unscale_(optimizer)
    with pytest.raises(ValueError, match="growth factor"):
        nc.amp.GradScaler(growth_factor=1.0)
    with pytest.raises(ValueError, match="backoff factor"):
        nc.amp.GradScaler(backoff_factor=1.0)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("steps", [0, 2])
def test_after_a_batch_that_does_not_fit_training_goes_on(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step that ran out of memory has not happened, and nothing of it is left in the scaler."""

    def training() -> tuple[Any, Any]:
        nc.manual_seed(0)
        model = nc.nn.Linear(8, 4)
        optimizer, scaler = nc.optim.Adam(model.parameters()), nc.amp.GradScaler()

        def step(x: Any, y: Any) -> list[float]:
            optimizer.zero_grad()
            with nc.autocast(dtype=nc.float16):
                loss = nc.nn.functional.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            return model.weight.tolist()

        return step, scaler

    small = nc.ones(4, 8), nc.tensor([0, 1, 2, 3])
    large = nc.ones(100_000, 8), nc.zeros(100_000, dtype=nc.int64)
    step, _ = training()
    expected = [step(*small) for _ in range(4)]
    step, scaler = training()
    for _ in range(steps):
        step(*small)
    nc.synchronize()
    pool = nc.current_device().pool
    pool.trim()
    monkeypatch.setattr(pool, "limit", pool.reserved + 1_000_000)
    for _ in range(2):
        with pytest.raises(nc.OutOfMemoryError):
            step(*large)
    assert [step(*small) for _ in range(4 - steps)] == expected[steps:]
    assert scaler.get_scale() == 65536.0
