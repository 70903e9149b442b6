"""Compiled functions when things go wrong below them: no memory, a launch that fails, a fork; and long runs."""

from __future__ import annotations

import gc
import os
import re
import resource
import weakref
from typing import Any

import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.graph.plan import plan_count, statistics


def training() -> tuple[Any, Any, Any]:
    nc.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    optimizer = nc.optim.Adam(model.parameters(), lr=0.01)

    @nc.jit_compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, step


def snapshot(model: Any) -> dict[str, list]:
    return {name: tensor.tolist() for name, tensor in model.state_dict().items()}


X, Y = [[0.1 * i + j for i in range(8)] for j in range(4)], [0, 1, 2, 3]


def test_out_of_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, optimizer, step = training()
    x, y = nc.tensor(X), nc.tensor(Y)
    for _ in range(4):
        step(x, y)
    assert step.cache_info().hits >= 1
    before, count = snapshot(model), [s["step"] for s in optimizer.state.values()]
    pool = nc.current_device().pool

    def full(nbytes: int) -> Any:
        raise nc.OutOfMemoryError("full", nbytes, 0, 0, 0)

    with monkeypatch.context() as patch:
        patch.setattr(pool, "allocate_all", full)
        with pytest.raises(nc.OutOfMemoryError):
            step(x, y)
    assert snapshot(model) == before
    assert [s["step"] for s in optimizer.state.values()] == count
    losses = [step(x, y).item() for _ in range(2)]
    other, _, plain = training()
    expected = [plain(x, y).item() for _ in range(6)]
    assert losses == expected[4:]
    assert snapshot(model) == snapshot(other)


def test_a_scheduler_that_raises_leaves_everything_as_it_was() -> None:
    model, optimizer, _ = training()
    schedule = nc.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5)

    @nc.jit_compile
    def step(x: Any) -> None:
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()
        schedule.step()

    for _ in range(5):
        step(nc.tensor(X))
    assert step.cache_info().hits >= 1
    before = snapshot(model), [own["step"] for own in optimizer.state.values()], schedule.last_epoch
    for _ in range(2):
        with pytest.raises(ValueError, match="total"):
            step(nc.tensor(X))
        assert before == (snapshot(model), [own["step"] for own in optimizer.state.values()], schedule.last_epoch)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_after_use_says_so() -> None:
    function = nc.jit_compile(lambda x: x * 2)
    x = nc.ones(3)
    for _ in range(3):
        function(x).tolist()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            function(x).tolist()
            text = "no error"
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    text = os.read(reading, 10_000).decode()
    assert text.startswith("RuntimeError")
    assert "fork" in text


def test_explain_leaves_everything_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    model, optimizer, step = training()
    x, y = nc.tensor(X), nc.tensor(Y)
    step(x, y)
    step(x, y)
    before, count = snapshot(model), [s["step"] for s in optimizer.state.values()]
    nc.manual_seed(5)
    with nc.profiler.count_launches() as launches:
        report = nc.jit.explain(step, x, y)
    assert int(launches) == 0
    assert report.launches > 0
    printed = capsys.readouterr().out
    assert "cross_entropy" in printed
    assert "not replayed" not in printed
    assert snapshot(model) == before
    assert [s["step"] for s in optimizer.state.values()] == count
    first = nc.rand(1).item()
    nc.manual_seed(5)
    assert nc.rand(1).item() == first


def test_explain_says_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    nc.jit.explain(lambda x: x * x.sum().numpy(), nc.ones(2))
    assert "not replayed: it reads a tensor's value" in capsys.readouterr().out


def test_explain_says_where_a_value_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    report = nc.jit.explain(lambda x: x * x.sum().item(), nc.ones(2))
    assert report.launches == 2
    printed = capsys.readouterr().out
    assert re.search(r"split at .*test_failures\.py:\d+, where it reads a tensor's value", printed)
    assert "not replayed" not in printed


def test_a_plan_is_made_once() -> None:
    """The first step makes the optimizer's state, the second is recorded; none is planned after that."""
    _, _, step = training()
    x, y = nc.tensor(X), nc.tensor(Y)
    planned = []
    for _ in range(5):
        before = statistics.planned
        step(x, y)
        planned.append(statistics.planned - before)
    assert planned[2:] == [0, 0, 0]
    assert planned[0] <= 1
    assert planned[1] <= 1


def test_cache_info() -> None:
    function = nc.jit_compile(lambda x: x + 1)
    before = nc.jit.cache_info()
    for size in (1, 2, 2, 2):
        function(nc.ones(size))
    assert nc.jit.cache_info(function) == function.cache_info() == (2, 2, 0, 2)
    assert nc.jit.cache_info().hits - before.hits == 2
    function.cache_clear()
    assert function.cache_info().recordings == 0
    with pytest.raises(TypeError, match="compiled function"):
        nc.jit.cache_info(len)


def test_compile_is_pytorchs_name() -> None:
    function = nc.compile(lambda x: x + 1, fullgraph=True, mode="default")
    assert function(nc.ones(1)).item() == 2.0
    plain = len
    assert nc.compile(plain, disable=True) is plain
    with pytest.raises(NotImplementedError, match="dynamic"):
        nc.compile(plain, dynamic=True)


@pytest.mark.long
@pytest.mark.parametrize("compiled", [True, False])
def test_twenty_thousand_steps_in_constant_memory(compiled: bool) -> None:
    _, _, step = training()
    if not compiled:
        step = step.__wrapped_by_jit__
    x, y = nc.tensor(X), nc.tensor(Y)

    def used() -> tuple[int, int, int]:
        nc.synchronize()
        gc.collect()
        return nc.profiler.memory_in_use(), plan_count(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for _ in range(1000):
        step(x, y)
    before = used()
    for number in range(19_000):
        loss = step(x, y)
        if number % 1000 == 0:
            loss.item()
    del loss
    after = used()
    assert after[0] == before[0]
    assert after[1] == before[1]
    assert after[2] - before[2] < 4096  # KiB of the host's memory


def test_nothing_is_kept_of_a_function_that_is_gone() -> None:
    """Neither the recording nor the plans that it made hold on to the model, its state or its gradients."""
    gc.collect()
    before = nc.profiler.memory_in_use()
    model, _, step = training()
    x, y = nc.tensor(X), nc.tensor(Y)
    for _ in range(4):
        loss = step(x, y)
    gradients = sum(p.grad.nbytes for p in model.parameters())
    held = weakref.ref(model)
    model.zero_grad()
    gc.collect()
    without = nc.profiler.memory_in_use()
    step(x, y)
    assert nc.profiler.memory_in_use() - without <= 2 * gradients + 4096
    del model, step, x, y, loss, _
    gc.collect()
    nc.synchronize()
    assert held() is None
    assert nc.profiler.memory_in_use() - before <= 16_384  # what the last plan keeps for its next run


def test_a_compiled_module_can_not_be_lost_as_a_part_of_another():
    class Whole(nc.nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nc.compile(nc.nn.Linear(2, 2))

    with pytest.raises(NotImplementedError, match=r"Whole\.part: a compiled module is no part.*outermost"):
        Whole()
    with pytest.raises(TypeError, match="not a Module"):
        nc.nn.Sequential(nc.compile(nc.nn.Linear(2, 2)))
    plain = nc.nn.Linear(2, 2)
    assert nc.compile(plain)._orig_mod is plain
    assert not hasattr(nc.compile(nc.relu), "no_such_name")
    holder = nc.nn.Module()
    holder.function = nc.compile(nc.relu)  # a function has no parameters that could be lost
    assert holder.function(nc.ones(1) * -1).item() == 0


def test_explain_takes_back_what_a_function_makes() -> None:
    model = nn.Linear(4, 4)
    optimizer = nc.optim.Adam(model.parameters(), lr=0.1)
    seen, state, chosen, kept = [], {"total": nc.ones(1)}, {1}, nc.zeros(1)

    def step(x: Any) -> Any:
        nonlocal kept
        seen.append(1)
        chosen.add(2)
        kept = state["total"] = state["new"] = x.sum()
        model.bias.requires_grad_(False)
        model.eval()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    nc.jit.explain(step, nc.ones(2, 4))
    assert (seen, chosen, list(state), state["total"].item(), kept.item()) == ([], {1}, ["total"], 1.0, 0.0)
    assert not optimizer.state
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert model.training


def test_an_exception_in_the_first_step_leaves_no_moments() -> None:
    weight = nn.Parameter(nc.ones(2))
    optimizer = nc.optim.Adam([weight], lr=0.1)

    @nc.jit_compile
    def step(x: Any, fails: bool) -> Any:
        (weight * x).sum().backward()
        optimizer.step()
        if fails:
            raise ValueError("half-way")
        return weight.sum()

    with pytest.raises(ValueError, match="half-way"):
        step(nc.ones(2), True)
    assert not optimizer.state
    assert weight.tolist() == [1.0, 1.0]
    assert weight.grad is None
