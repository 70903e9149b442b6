"""Compiled functions give the bits that they give uncompiled: losses, forwards, whole training steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn


def batches(count: int, inputs: int, classes: int = 0, size: int = 8) -> list[tuple]:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        x = nc.tensor(rng.standard_normal((size, inputs)).astype(np.float32))
        labels = rng.integers(0, classes, size) if classes else rng.standard_normal((size, 1)).astype(np.float32)
        found.append((x, nc.tensor(labels)))
    return found


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 4))


def with_norms() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.SiLU(), nn.LayerNorm(16), nn.Linear(16, 4))


OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": lambda p: nc.optim.SGD(p, lr=0.1),
    "momentum": lambda p: nc.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": lambda p: nc.optim.Adam(p, lr=0.01),
    "adamw": lambda p: nc.optim.AdamW(p, lr=0.01, amsgrad=True),
    "radam": lambda p: nc.optim.RAdam(p, lr=0.01),
    "nadam": lambda p: nc.optim.NAdam(p, lr=0.01),
    "adafactor": lambda p: nc.optim.Adafactor(p, lr=0.01),
    "rprop": lambda p: nc.optim.Rprop(p),
    "lion": lambda p: nc.optim.Lion(p),
}


def trained(make: Callable[[], nn.Module], optimizer: str, compiled: bool, steps: int = 8, clip: bool = False) -> Any:
    """Losses and parameters after some steps."""
    nc.manual_seed(0)
    model = make()
    made = OPTIMIZERS[optimizer](model.parameters())
    schedule = nc.optim.lr_scheduler.CosineAnnealingLR(made, T_max=5)

    def step(x: Any, y: Any) -> Any:
        made.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        made.step()
        schedule.step()
        return loss

    run = nc.jit_compile(step) if compiled else step
    losses = [run(x, y).item() for x, y in batches(steps, 6, 4)]
    if compiled:
        info = run.cache_info()
        assert info.hits >= steps - 3, info
        assert info.traced == 0, info
    return losses, {name: tensor.numpy() for name, tensor in model.state_dict().items()}, made.param_groups[0]["lr"]


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_training_steps(optimizer: str) -> None:
    plain, compiled = (trained(mlp, optimizer, how) for how in (False, True))
    assert plain[0] == compiled[0]
    assert plain[2] == compiled[2]
    for name in plain[1]:
        np.testing.assert_array_equal(plain[1][name], compiled[1][name])


@pytest.mark.parametrize("make", [with_dropout, with_norms])
def test_models_with_state(make: Callable[[], nn.Module], device: Any) -> None:
    plain, compiled = (trained(make, "adam", how, clip=True) for how in (False, True))
    assert plain[0] == compiled[0]
    for name in plain[1]:
        np.testing.assert_array_equal(plain[1][name], compiled[1][name])


def test_forward_with_graph_outside() -> None:
    """The function is only a model's forward: loss, gradients and step are outside."""

    def run(compiled: bool) -> Any:
        nc.manual_seed(0)
        model = with_norms()
        forward = nc.jit_compile(model) if compiled else model
        optimizer = nc.optim.SGD(model.parameters(), lr=0.1)
        losses = []
        for x, y in batches(6, 6, 4):
            x.requires_grad_()
            optimizer.zero_grad()
            loss = F.cross_entropy(forward(x), y)
            loss.backward()
            optimizer.step()
            losses += [loss.item(), x.grad.sum().item()]
        if compiled:
            assert forward.cache_info().hits >= 4
        return losses

    assert run(False) == run(True)


def test_loss_function_of_a_result() -> None:
    """A compiled loss in the middle of a graph: its argument has a graph of its own."""

    def focal(x: Any, y: Any, gamma: float) -> Any:
        p = F.cross_entropy(x, y, reduction="none")
        return ((1 - (-p).exp()) ** gamma * p).mean()

    def run(function: Any) -> list:
        nc.manual_seed(0)
        model = mlp()
        found = []
        for number, (x, y) in enumerate(batches(5, 6, 4)):
            model.zero_grad()
            (function(model(x), y, 1.5 + 0.25 * number) * 2).backward()
            found.append([p.grad.numpy() for p in model.parameters()])
        return found

    compiled = nc.jit_compile(focal)
    for plain, fast in zip(run(focal), run(compiled), strict=True):
        for a, b in zip(plain, fast, strict=True):
            np.testing.assert_array_equal(a, b)
    assert compiled.cache_info().hits >= 3


def test_a_parameter_is_written_to_before_a_result_with_a_graph_is_made_of_it() -> None:
    weight = nn.Parameter(nc.ones(3))
    view, x = weight.detach(), nc.tensor([1.0, 2.0, 3.0])

    @nc.jit_compile
    def function(x: Any) -> Any:
        with nc.no_grad():
            weight.mul_(2.0)
        return (weight * x * weight * view).sum()

    for scale in (2.0, 4.0, 8.0):
        weight.grad = None
        result = function(x)
        result.backward()
        assert weight.grad.tolist() == [2 * scale**2, 4 * scale**2, 6 * scale**2]
    assert function.cache_info().traced == 0
    result = function(x)
    with nc.no_grad():
        weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="changed in place after the operation"):
        result.backward()


def test_a_recording_that_turns_out_not_to_fit_draws_no_random_numbers() -> None:
    def losses(jit: Callable) -> tuple[list[float], Any]:
        nc.manual_seed(2)
        model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3))
        optimizer = nc.optim.Adam(model.parameters(), lr=0.05)
        x = nc.ones(6, 4)

        @jit
        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        found = []
        for number in range(9):
            if number in (4, 6):  # from here on, the bias has taken more steps than the weight
                model[0].weight.requires_grad_(number == 6)
            found.append(step(x).item())
        return found, step

    compiled, step = losses(nc.jit_compile)
    assert compiled == losses(lambda function: function)[0]
    assert step.cache_info().hits > 0


def test_second_derivatives_raise() -> None:
    square = nc.jit_compile(lambda x: (x**3).sum())
    x = nc.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(2):
        y = square(x)
    assert square.cache_info().hits
    with pytest.raises(RuntimeError, match="second derivatives"):
        nc.autograd.grad(y, x, create_graph=True)


def test_gradients_accumulate() -> None:
    def run(compiled: bool) -> Any:
        nc.manual_seed(0)
        model = mlp()

        def micro(x: Any, y: Any) -> Any:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        step = nc.jit_compile(micro) if compiled else micro
        for x, y in batches(4, 6, 4):
            step(x, y)
        if compiled:
            assert step.cache_info().hits >= 2
        return [p.grad.numpy() for p in model.parameters()]

    for a, b in zip(run(False), run(True), strict=True):
        np.testing.assert_array_equal(a, b)


def test_random_numbers_go_on() -> None:
    """randn, normal_ and dropout: other numbers at each call, those of the uncompiled function."""

    def noisy(x: Any) -> Any:
        return F.dropout(x + nc.randn(4) + nc.empty(4).normal_(), 0.5) + nc.randperm(4)

    compiled = nc.jit_compile(noisy)
    found = []
    for function in (noisy, compiled):
        nc.manual_seed(3)
        found.append([function(nc.ones(4)).tolist() for _ in range(5)])
    assert found[0] == found[1]
    assert compiled.cache_info().hits >= 3
    assert found[0][3] != found[0][4]


def test_module_replaced_state() -> None:
    """An attribute that gets another tensor at each call is state, not a constant."""

    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nc.zeros(3)

        def forward(self, x: Any) -> Any:
            self.hidden = (self.hidden * 0.5 + x).tanh()
            return self.hidden.sum()

    found = []
    for compile_it in (False, True):
        module = Counter()
        function = nc.jit_compile(module) if compile_it else module
        found.append([function(nc.tensor([0.1, 0.2, 0.3]) * k).item() for k in range(6)])
        found.append(module.hidden.tolist())
        if compile_it:
            assert function.cache_info().hits >= 4
    assert found[0] == found[2]
    assert found[1] == found[3]


def test_buffers_written_in_place() -> None:
    total = nc.zeros(2)

    @nc.jit_compile
    def add(x: Any) -> None:
        total.add_(x)

    for k in range(5):
        add(nc.tensor([1.0, float(k)]))
    assert total.tolist() == [5.0, 10.0]
    assert add.cache_info().hits >= 3


def test_a_result_that_two_tensors_get_reaches_both(device):
    """One of them may give its memory for it; the other's write must not be lost with that."""
    count, copied = nc.zeros(4), nc.zeros(4)

    @nc.jit_compile
    def step():
        count.add_(1)
        copied.copy_(count)

    for n in range(1, 9):
        if n > 4:
            copied.data = nc.zeros(4)  # what is counted is held by nothing else now
        step()
        assert (count.tolist(), copied.tolist()) == ([n] * 4, [n] * 4)


def test_a_view_of_what_takes_the_memory_of_the_tensor_it_is_written_to(device):
    """The tensor's memory holds the result the other way round: its value is another one then, not the one before."""
    a = nc.zeros(9)

    @nc.jit_compile
    def step():
        a.copy_((a * 2 + 1).flip(0))

    for n in range(5):
        a.copy_(nc.arange(9.0) + n)
        a.tolist()  # in memory, and held by nothing else
        step()
        assert a.tolist() == [2 * (k + n) + 1 for k in reversed(range(9))]


def test_operands_with_an_offset_beside_numbers(device):
    """Offsets are arguments of kernels behind the numbers."""
    a, expected = nc.arange(9.0), np.arange(9.0)

    @nc.jit_compile
    def step():
        a.copy_((a * 2 + 1).flip(0))  # a begins at its last element from now on

    for _ in range(5):
        step()
        expected = (expected * 2 + 1)[::-1]
        assert a.tolist() == expected.tolist()


def test_a_step_of_a_network_allocates_its_loss_only(device):
    """Weights, averages and gradients stay where they are: each weight is written after it has been read."""
    nc.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 16))
    x, y = nc.randn(16, 16), nc.randint(0, 16, (16,))
    optimizer = nc.optim.Adam(model.parameters())

    @nc.jit_compile(fullgraph=True)
    def step() -> nc.Tensor:
        optimizer.zero_grad()
        loss = nc.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(4):
        step().item()
    pool = nc.current_device().pool
    before, places = pool.allocations, [p._value.buffer.mem for p in model.parameters()]
    step()
    assert pool.allocations == before + 1
    assert [p._value.buffer.mem for p in model.parameters()] == places


def test_a_new_gradient_lies_where_the_old_one_did(device):
    """It allocates no memory; a gradient that somebody holds keeps its numbers."""
    w = nc.ones(2, 3).requires_grad_()

    @nc.jit_compile
    def step(x: Any) -> None:
        w.grad = None
        (x @ w).exp().sum().backward()

    def gradient(k: float) -> np.ndarray:
        return np.full((2, 3), k * np.exp(2 * k))

    def memory() -> Any:
        return w.grad._value.buffer.mem

    xs = [nc.full((1, 2), k).clone() for k in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)]
    for x in xs:
        x.tolist()
    for x in xs[:3]:
        step(x)
    before, pool = memory(), nc.current_device().pool
    allocations = pool.allocations
    step(xs[3])
    assert memory() is before
    assert pool.allocations == allocations
    held = w.grad
    step(xs[4])
    np.testing.assert_allclose(held.numpy(), gradient(0.4), rtol=1e-5)
    np.testing.assert_allclose(w.grad.numpy(), gradient(0.5), rtol=1e-5)
    view = w.grad[1:]
    step(xs[5])
    np.testing.assert_allclose(view.numpy(), gradient(0.5)[1:], rtol=1e-5)
    np.testing.assert_allclose(w.grad.numpy(), gradient(0.6), rtol=1e-5)


def test_a_gradient_in_the_memory_of_an_argument_is_not_written_over(device):
    w = nc.ones(3).requires_grad_()

    @nc.jit_compile
    def step(x: Any) -> None:
        w.grad = None
        (w * x).sum().backward()  # the gradient is x, expanded

    xs = [nc.full((), float(k)).clone() for k in range(8)]
    for x in xs:
        x.tolist()
        step(x)
    assert [x.item() for x in xs] == list(range(8))
    assert w.grad.tolist() == [7.0] * 3
    assert step.cache_info().hits >= 5


@pytest.mark.parametrize("clip", [False, True])
def test_another_result_in_the_memory_of_an_old_gradient(clip: bool) -> None:
    """Both are 8 bytes, but of other shapes and dtypes."""

    def totals(compiled: bool) -> list[Any]:
        nc.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
        optimizer = nc.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x: Any, y: Any, total: Any, count: Any) -> Any:
            optimizer.zero_grad()
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            if clip:
                nc.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            return total + loss.detach().double(), count + (logits.argmax(1) == y).sum()

        total, count = nc.zeros((), dtype=nc.float64), nc.zeros((), dtype=nc.int64)
        run = nc.jit_compile(step) if compiled else step
        for _ in range(5):
            total, count = run(nc.randn(16, 6), nc.randint(0, 2, (16,)), total, count)
            assert (total.shape, total.dtype, count.shape, count.dtype) == ((), nc.float64, (), nc.int64)
        return [total.item(), count.item(), *(p.grad.tolist() for p in model.parameters())]

    assert totals(compiled=False) == totals(compiled=True)
