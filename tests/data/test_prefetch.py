"""prefetch: the loader's batches in its order, copied beside the kernels, never read before they are there."""

from __future__ import annotations

import gc
import threading
import time
import traceback
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyopencl as cl
import pytest

import netcl as nc
from netcl.data import DataLoader, Dataset, IterableDataset, TensorDataset, prefetch
from netcl.graph.value import flush_thread


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name == "netcl prefetch"]


def numbers(count: int = 10, width: int = 3) -> TensorDataset:
    return TensorDataset(np.arange(count * width, dtype=np.float32).reshape(count, width), np.arange(count))


def gate(queue: Any) -> Any:
    """Hold back whatever is enqueued from now on until the event is set."""
    event = cl.UserEvent(queue.context)
    cl.enqueue_barrier(queue, wait_for=[event])
    queue.flush()
    return event


def test_batches_their_order_and_the_random_numbers_after_it_are_the_loaders(device) -> None:
    def run(begin: Any) -> list[Any]:
        nc.manual_seed(3)
        loader = begin(DataLoader(numbers(), 4, shuffle=True))
        assert len(loader) == 3
        seen: list[Any] = []
        for _ in range(2):
            seen += [[x.tolist(), y.tolist(), nc.rand(1).item()] for x, y in loader]
        return [*seen, nc.rand(2).tolist()]

    plain = run(lambda loader: loader)
    assert run(prefetch) == plain
    assert run(lambda loader: prefetch(loader, device, depth=5)) == plain
    assert run(lambda loader: DataLoader(loader.dataset, 4, shuffle=True, pin_memory=True)) == plain
    assert run(lambda loader: prefetch(DataLoader(loader.dataset, 4, shuffle=True, pin_memory=True))) == plain


def test_a_loader_prefetches_to_the_device_that_is_named() -> None:
    for place in nc.devices():
        if place.error is None:
            for loader in (
                DataLoader(numbers(), 4, prefetch_to=str(place)),
                DataLoader(numbers(), 4, pin_memory=True, pin_memory_device=str(place)),
            ):
                assert all(x.device is place and y.device is place for x, y in loader)


def test_what_a_batch_may_be(device) -> None:
    arrays = [{"x": np.full((2, 2), k, np.float64), "names": ["a", "b"], "n": k} for k in range(3)]
    found = list(prefetch(arrays))
    assert [batch["x"].tolist() for batch in found] == [a["x"].tolist() for a in arrays]
    assert found[0]["x"].dtype is nc.float64 and found[0]["names"] == ["a", "b"] and found[2]["n"] == 2
    (batch,) = prefetch([(nc.ones(2) * 3, np.zeros((0, 2), np.float32), np.array(["text"]))])
    assert batch[0].tolist() == [3, 3] and batch[1].shape == (0, 2) and isinstance(batch[2], np.ndarray)
    with pytest.raises(ValueError, match="depth"):
        prefetch(arrays, depth=0)


def test_a_loader_may_fill_one_array_again_and_again(device) -> None:
    def same_array() -> Iterator[np.ndarray]:
        array = np.empty(100_000, np.float32)
        for number in range(12):
            array.fill(number)
            yield array

    assert [int(x.amax().item()) for x in prefetch(same_array(), depth=3)] == list(range(12))


class Failing(Dataset):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> int:
        if index == 3:
            raise KeyError("no sample 3")
        return index


def test_an_error_in_the_thread_is_raised_in_the_loop_where_it_belongs() -> None:
    iterator = iter(prefetch(DataLoader(Failing(), 1)))
    assert [next(iterator).item() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="no sample 3") as caught:
        next(iterator)
    assert "__getitem__" in "".join(traceback.format_tb(caught.value.__traceback__))


def test_leaving_the_loop_ends_the_thread_and_closes_the_loader() -> None:
    closed = threading.Event()

    def endless() -> Iterator[np.ndarray]:
        try:
            while True:
                yield np.ones(3, np.float32)
        finally:
            closed.set()

    for x in prefetch(endless()):
        assert x.sum().item() == 3
        break
    assert closed.wait(10)
    ended = iter(prefetch(endless()))
    next(ended)
    ended.close()
    with pytest.raises(StopIteration):
        next(ended)


def test_an_iterator_that_is_forgotten_is_collected() -> None:
    iterator = iter(prefetch(DataLoader(numbers(), 2)))
    next(iterator)
    alive = weakref.ref(iterator)
    del iterator
    assert alive() is None


def test_a_kernel_waits_for_the_copy_of_what_it_reads(device) -> None:
    expected = np.arange(300_000, dtype=np.float32)
    warm = nc.ones(300_000).sum() + 0
    assert warm.item() == 300_000  # the kernel is compiled
    held = gate(device.copy_queue)
    try:
        iterator = iter(prefetch([expected]))
        x = next(iterator)
        total = x.double().sum()
        flush_thread()  # enqueued, while the copy has not begun
    finally:
        held.set_status(cl.command_execution_status.COMPLETE)
    assert total.item() == expected.astype(np.float64).sum()
    np.testing.assert_array_equal(x.numpy(), expected)


def test_memory_is_not_written_again_before_the_kernels_that_read_it_have_run(device) -> None:
    batches = [np.full(50_000, number, np.float32) for number in range(20)]
    assert nc.ones(50_000).sum().item() == 50_000
    held = gate(device.queue)
    timer = threading.Timer(0.5, held.set_status, (cl.command_execution_status.COMPLETE,))
    timer.start()
    totals = []
    for x in prefetch(batches):
        totals.append(x.sum())
        del x
        flush_thread()
    timer.join()
    assert nc.stack(totals).tolist() == [50_000 * number for number in range(20)]


def test_memory_is_bounded_and_given_back(device) -> None:
    nc.synchronize()
    before = nc.profiler.memory_in_use()
    most = 0
    for x in prefetch([np.ones(1_000_000, np.float32)] * 40):
        x.sum().item()
        most = max(most, nc.profiler.memory_in_use() - before)
    assert most < 10 * 4_600_000
    assert x.sum().item() == 1_000_000  # the last one lives as long as it is held
    del x
    gc.collect()
    nc.synchronize()
    assert nc.profiler.memory_in_use() - before < 1_000_000


def test_copies_of_the_next_batch_lie_within_the_step_before_it(device) -> None:
    asked = [threading.Event() for _ in range(6)]

    def batches() -> Iterator[np.ndarray]:
        for number in range(5):
            asked[number].set()
            yield np.full(200_000, number, np.float32)
        asked[5].set()

    def step(x: nc.Tensor) -> nc.Tensor:
        return (x.exp() * 1e-3).sum()

    step(nc.zeros(200_000)).item()
    with nc.profiler.timeline(device) as line:
        results = []
        for number, x in enumerate(prefetch(batches(), depth=1)):
            held = gate(device.queue)
            results.append(step(x))
            flush_thread()  # this step is enqueued, and cannot end before the gate opens
            if number + 2 < len(asked):
                asked[number + 2].wait(2)  # the next batch's copy has begun, and the thread is on its way again
            held.set_status(cl.command_execution_status.COMPLETE)
        values = [result.item() for result in results]
    assert values == pytest.approx([200 * np.exp(number) for number in range(5)], rel=1e-4)
    copies = [span for span in line.spans if span.kind == "upload"]
    steps = [span for span in line.spans if span.kind == "kernel"]
    assert len(copies) == 5 and len(steps) == 5
    for copy, before in zip(copies[1:], steps, strict=False):
        assert copy.start < before.end
    for copy, own in zip(copies, steps, strict=True):
        assert copy.end <= own.start


def test_without_prefetching_a_copy_comes_after_the_step_before_it(device) -> None:
    loader = DataLoader(numbers(4, 50_000), 1)
    with nc.profiler.timeline(device) as line:
        for x, _ in loader:
            x.exp().sum()
            flush_thread()
    for before, after in zip(line.spans, line.spans[1:], strict=False):
        assert before.end <= after.start


class Counting(IterableDataset):
    def __iter__(self) -> Iterator[int]:
        return iter(range(6))


def test_workers_and_iterable_datasets(device) -> None:
    assert [x.tolist() for x in DataLoader(Counting(), 4, pin_memory=True)] == [[0, 1, 2, 3], [4, 5]]
    loader = DataLoader(numbers(), 4, num_workers=1, pin_memory=True)
    assert [y.tolist() for _, y in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_the_thread_works_while_the_loop_does() -> None:
    asked: list[float] = []

    def batches() -> Iterator[np.ndarray]:
        for _ in range(4):
            asked.append(time.perf_counter())
            yield np.ones(2, np.float32)

    iterator = iter(prefetch(batches(), depth=2))
    next(iterator)
    for _ in range(1000):
        if len(asked) >= 3:
            break
        time.sleep(0.01)
    assert len(asked) >= 3
    assert len(list(iterator)) == 3
