"""Plans: what they are keyed by, what they may overwrite, how large the cache grows."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl.core import dtypes
from netcl.graph import plan, value
from netcl.graph.lower import Graph
from netcl.graph.schedule import schedule


def host(*shape: int) -> nc.Tensor:
    return nc.Tensor.from_host(np.random.default_rng(1).standard_normal(shape).astype(np.float32))


def test_equal_operands_and_different_operands_are_different_plans():
    x, y = host(50), host(50)
    y = y + 1
    assert np.allclose((x - x).numpy(), 0)
    assert np.allclose((y - x).numpy(), y.numpy() - x.numpy())


def test_an_unheld_input_is_overwritten_and_a_held_one_is_not():
    x = host(1000)
    expected = x.numpy()
    kept = x.detach()
    x = x * 2
    x._value.realise()
    np.testing.assert_array_equal(kept.numpy(), expected)
    gc.collect()  # leftovers of other tests that would be freed meanwhile
    pool = nc.current_device().pool
    in_use, calls = pool.in_use, pool.allocations
    for _ in range(10):
        x = x + 1
        x._value.realise()
    assert (pool.in_use, pool.allocations) == (in_use, calls)
    np.testing.assert_allclose(x.numpy(), expected * 2 + 10, rtol=1e-6)


def test_a_view_of_an_overwritten_input_keeps_its_numbers():
    x = host(10, 10)
    view = x.t()[2:5]
    expected = view.numpy()
    for _ in range(3):
        x = x * 3
        x._value.realise()
    np.testing.assert_array_equal(view.numpy(), expected)


def test_a_sliding_window_over_one_array_plans_once():
    data = host(100, 8)
    (data[0:10] * 2).numpy()
    (data[10:20] * 2).numpy()
    planned = plan.statistics.planned
    for start in range(20, 100, 10):
        np.testing.assert_array_equal((data[start : start + 10] * 2).numpy(), data.numpy()[start : start + 10] * 2)
    assert plan.statistics.planned == planned


def test_leftovers_of_set_up_do_not_give_a_plan_of_their_own():
    x = host(6, 7)
    (x.exp() * 3.0).numpy()
    planned = plan.statistics.planned
    for _ in range(2):
        nc.zeros(5, 5) + 1.5
        (host(3) @ host(3)).relu()
        y = x.exp() * 2.0
        nc.ones(4).sum() * 4.5
        np.testing.assert_allclose(y.numpy(), np.exp(x.numpy()) * 2, rtol=1e-6)
    assert plan.statistics.planned == planned


def test_the_plan_cache_is_bounded(monkeypatch):
    monkeypatch.setattr(plan, "MAX_PLANS", 5)
    x = host(3)
    for count in range(1, 12):
        y = x
        for _ in range(count):
            y = y + 1.0
        y.numpy()
    assert plan.plan_count() <= 5


def test_a_graph_that_grows_without_a_read_runs_by_itself(monkeypatch):
    monkeypatch.setattr(value, "MAX_PENDING", 50)
    x = host(4)
    y = x
    for _ in range(200):
        y = y + 1.0
    assert len(value.trace_for(x.device).records) < 60
    np.testing.assert_allclose(y.numpy(), x.numpy() + 200, rtol=1e-5)


def test_a_failed_plan_leaves_its_values_pending_and_is_tried_again(monkeypatch):
    x = host(4)
    y = x * 41
    real, failures = plan.Run.go_on, []

    def failing(run):
        if not failures:
            failures.append(1)
            raise RuntimeError("the device went away")
        real(run)

    monkeypatch.setattr(plan.Run, "go_on", failing)
    with pytest.raises(RuntimeError, match="went away"):
        y.numpy()
    np.testing.assert_allclose(y.numpy(), x.numpy() * 41, rtol=1e-6)


def test_each_thread_records_for_itself():
    found = []

    def work() -> None:
        x = host(3) + 1
        found.append((value.trace_for(x.device), x._value.buffer is None))

    with nc.eager():
        (host(3) + 1).numpy()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        own = value.trace_for(nc.current_device())
    assert [(trace is not own, pending) for trace, pending in found] == [(True, True)]


def test_threads_record_and_read_at_the_same_time(at_once):
    data = host(100)
    x = data * 2  # pending, in this thread: each of the others needs it
    errors = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        try:
            start.wait()
            y = x
            for step in range(30):
                y = y * 1.0 + number
                if step % 3 == 0:
                    parts = y.reshape(10, 10)[:, step // 3 :].softmax(1)  # a composite: each new plan expands it
                    np.testing.assert_allclose(parts.sum(1).numpy(), np.ones(10), rtol=1e-5)
                elif number % 2:
                    y.numpy()
            np.testing.assert_allclose(y.numpy(), data.numpy() * 2 + 30 * number, rtol=1e-4)
        except Exception as error:
            errors.append(error)

    at_once(work, 4)
    assert not errors


def test_a_value_pending_in_one_thread_can_be_read_and_used_in_another():
    x = host(100)
    made = []
    thread = threading.Thread(target=lambda: made.append(x * 3))
    thread.start()
    thread.join()
    np.testing.assert_allclose((made[0] + 1).numpy(), x.numpy() * 3 + 1, rtol=1e-6)


def test_eager_mode_gives_what_the_fused_kernels_give():
    x, w = host(33, 17), host(17, 9)

    def compute():
        h = (x @ w).relu()
        return (h - h.mean(1, keepdim=True)).exp().sum(1).log()

    fused = compute().numpy()
    with nc.eager(), nc.profiler.count_launches() as launches:
        single = compute().numpy()
    assert int(launches) == 7  # each operation is one
    np.testing.assert_allclose(fused, single, rtol=2e-5, atol=1e-6)


def test_a_mean_that_many_use_waits_for_nothing_that_comes_after_it():
    """Its terms come to be stored by a kernel that needs the mean, which then has to be computed before that one."""
    draws = np.random.default_rng(0)
    a, b = draws.uniform(0.2, 1.5, (2, 4, 3)).astype(np.float32)

    def numbers(read_first: bool) -> list[float]:
        x, y = nc.tensor(a, requires_grad=True), nc.tensor(b, requires_grad=True)
        mean = F.sigmoid_focal_loss(x, y, alpha=0.3, reduction="mean")
        if read_first:
            mean.item()
        slopes = nc.autograd.grad(mean * mean, [x, y], create_graph=True)
        second = nc.autograd.grad(sum((slope**2).sum() for slope in slopes), [x, y])
        return [mean.item(), *(part.sum().item() for part in (*slopes, *second))]

    np.testing.assert_allclose(numbers(False), numbers(True), rtol=1e-4)


# ---- without a device --------------------------------------------------------------------------------------------


def test_equal_nodes_are_shared_and_constants_folded():
    graph = Graph()
    x = graph.add("input", (), ("float32", (4, 5), (5, 1), False, 0, -1))
    assert graph.add("exp", (x,)) is graph.add("exp", (x,))
    two = graph.add("add", (graph.literal(1.0, dtypes.float32), graph.literal(1.0, dtypes.float32)))
    assert two.op == "literal" and two.arg[1] == 2.0


def test_views_collapse():
    graph = Graph()
    x = graph.add("input", (), ("float32", (4, 5), (5, 1), False, 0, -1))
    there = graph.add("permute", (x,), (1, 0))
    assert graph.add("permute", (there,), (1, 0)) is x
    assert graph.add("reshape", (graph.add("reshape", (x,), (20,)),), (4, 5)) is x


def test_softmax_is_one_kernel_with_three_sweeps():
    graph = Graph()
    x = graph.add("input", (), ("float32", (4, 5), (5, 1), False, 0, -1))
    top = graph.broadcast(graph.add("max", (x,), ((1,), True)), (4, 5))
    powers = graph.add("exp", (graph.add("sub", (x, top)),))
    result = graph.add("div", (powers, graph.broadcast(graph.add("sum", (powers,), ((1,), True)), (4, 5))))
    kernels, _ = schedule(graph.nodes, {result})
    assert len(kernels) == 1
    assert kernels[0].inner == frozenset({1})


def test_a_long_chain_is_cut_into_kernels():
    graph = Graph()
    x = y = graph.add("input", (), ("float32", (8,), (1,), False, 0, -1))
    for _ in range(900):
        y = graph.add("add", (y, x))
    kernels, _ = schedule(graph.nodes, {y})
    assert 2 <= len(kernels) <= 4


def test_every_link_of_a_long_chain_may_be_reduced_along_both_axes():
    x = nc.tensor(np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4))
    link, sums = x, []
    for _ in range(14):  # two kernels need each link: to find which are better stored takes a round for each
        link = (link * 0.9).tanh() + x.exp() * 0.01
        sums.append((link.sum(0), link.sum(1)))
    nc.synchronize()
    expected = x.numpy()
    for columns, rows in sums:
        expected = np.tanh(expected * np.float32(0.9)) + np.exp(x.numpy()) * np.float32(0.01)
        np.testing.assert_allclose(columns.numpy(), expected.sum(0), rtol=1e-5)
        np.testing.assert_allclose(rows.numpy(), expected.sum(1), rtol=1e-5)
