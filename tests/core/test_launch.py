"""Launching: arguments, counting, observers, errors, and moving data."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from netcl.core import launch, program
from netcl.core.device import Device, devices
from netcl.core.launch import Launch
from netcl.core.memory import Buffer

SOURCE = """
kernel void axpy(global const float *x, global float *y, float a, int n) {
    int i = get_global_id(0);
    if (i < n) y[i] += a * x[i];
}
kernel void slow(global float *x, int n) {
    float s = x[0];
    for (int i = 0; i < n; i++) s = sin(s + i);
    x[0] = s;
}
"""


def axpy(dev: Device) -> Launch:
    return Launch(program.get_kernel(dev, SOURCE, "axpy"), (64,), (64,), "axpy")


def upload(dev: Device, x: np.ndarray) -> Buffer:
    buffer = dev.pool.allocate(x.nbytes)
    launch.write(dev, buffer, x)
    return buffer


def download(dev: Device, buffer: Buffer) -> np.ndarray:
    return launch.read(dev, buffer, 0, buffer.nbytes).view(np.float32)


def scalars(a: float, n: int) -> tuple[bytes, bytes]:
    return np.float32(a).tobytes(), np.int32(n).tobytes()


def test_every_changed_argument_reaches_the_kernel(dev: Device) -> None:
    run = axpy(dev)
    rng = np.random.default_rng(0)
    xs = [rng.random(64, dtype=np.float32) for _ in range(3)]
    buffers = [upload(dev, x) for x in xs]
    for i, j, a, n in [(0, 1, 2, 64), (0, 1, 2, 64), (2, 1, 2, 64), (2, 0, 2, 64), (2, 0, 3, 64), (2, 0, 3, 10)]:
        launch.enqueue(dev, run, (buffers[i], buffers[j], *scalars(a, n)))
        xs[j][:n] += np.float32(a) * xs[i][:n]
        np.testing.assert_allclose(download(dev, buffers[j]), xs[j], rtol=1e-6)


def test_launches_that_share_a_kernel_do_not_mix_up_their_arguments(dev: Device) -> None:
    one, two = axpy(dev), axpy(dev)
    assert one.kernel is two.kernel
    x, y, z = (upload(dev, np.full(64, v, np.float32)) for v in (1, 0, 0))
    for _ in range(3):
        launch.enqueue(dev, one, (x, y, *scalars(1, 64)))
        launch.enqueue(dev, two, (x, z, *scalars(10, 64)))
    assert (download(dev, y) == 3).all()
    assert (download(dev, z) == 30).all()


def test_arguments_are_set_anew_after_the_pool_was_trimmed(dev: Device) -> None:
    run = axpy(dev)
    for value in range(1, 5):
        x, y = (upload(dev, np.full(64, v, np.float32)) for v in (value, 0))
        launch.enqueue(dev, run, (x, y, *scalars(1, 64)))
        assert (download(dev, y) == value).all()
        del x, y
        dev.pool.trim()


def test_a_wrong_number_of_arguments_is_refused(dev: Device) -> None:
    with pytest.raises(TypeError, match="axpy takes 4 arguments, got 1"):
        launch.enqueue(dev, axpy(dev), (b"",))


def test_a_failing_launch_names_the_kernel_and_leaves_it_usable(dev: Device) -> None:
    x, y = (upload(dev, np.ones(64, np.float32)) for _ in range(2))
    bad = Launch(axpy(dev).kernel, (64,), (2**30,), "axpy")
    with pytest.raises(RuntimeError, match="kernel axpy"):
        launch.enqueue(dev, bad, (x, y, *scalars(1, 64)))
    launch.enqueue(dev, axpy(dev), (x, y, *scalars(1, 64)))
    assert (download(dev, y) == 2).all()


def test_launches_are_counted_and_observed(dev: Device) -> None:
    run = axpy(dev)
    x, y = (upload(dev, np.ones(64, np.float32)) for _ in range(2))
    seen = []

    def observe(device: Device, which: Launch, event: object) -> None:
        seen.append((device, which, event))

    before = launch.launch_counter.count
    launch.observers.append(observe)
    try:
        launch.enqueue(dev, run, (x, y, *scalars(1, 64)))
    finally:
        launch.observers.remove(observe)
    launch.enqueue(dev, run, (x, y, *scalars(1, 64)))
    assert launch.launch_counter.count == before + 2
    assert [(d, w) for d, w, _ in seen] == [(dev, run)]
    assert seen[0][2] is not None


def test_profiled_launches_have_times(dev: Device) -> None:
    run = axpy(dev)
    x, y = (upload(dev, np.ones(64, np.float32)) for _ in range(2))
    times = []
    dev.profiling = True
    launch.observers.append(lambda _d, _w, event: times.append(event))
    try:
        launch.enqueue(dev, run, (x, y, *scalars(1, 64)))
        launch.finish(dev)
        assert times[0].profile.end >= times[0].profile.start > 0
    finally:
        launch.observers.clear()
        dev.profiling = False


def test_written_memory_may_be_changed_at_once(dev: Device) -> None:
    for size in (64, 100_000, 5_000_000):
        x = np.arange(size, dtype=np.float32)
        buffer = dev.pool.allocate(x.nbytes)
        launch.write(dev, buffer, x)
        x[:] = -1
        assert (download(dev, buffer) == np.arange(size, dtype=np.float32)).all()


def test_many_small_writes_arrive_in_order(dev: Device) -> None:
    buffer = dev.pool.allocate(4000)
    for i in range(1000):
        launch.write(dev, buffer, np.array([i], np.float32), offset=4 * i)
    launch.write(dev, buffer, np.array([7], np.float32))
    assert (download(dev, buffer)[1:] == np.arange(1, 1000)).all()
    assert download(dev, buffer)[0] == 7


def test_a_small_write_does_not_wait_for_the_queue(dev: Device) -> None:
    run = Launch(program.get_kernel(dev, SOURCE, "slow"), (1,), (1,), "slow")
    x, other = (upload(dev, np.ones(64, np.float32)) for _ in range(2))
    launch.enqueue(dev, run, (x, np.int32(1).tobytes()))
    launch.finish(dev)
    start = time.perf_counter()
    launch.enqueue(dev, run, (x, np.int32(30_000_000).tobytes()))
    launch.write(dev, other, np.zeros(64, np.float32))
    enqueued = time.perf_counter() - start
    launch.finish(dev)
    assert enqueued < (time.perf_counter() - start) / 2


def test_read_into_fills_the_array_from_an_offset(dev: Device) -> None:
    buffer = upload(dev, np.arange(100, dtype=np.float32))
    out = np.zeros(10, np.float32)
    launch.read_into(dev, buffer, out, 40)
    assert (out == np.arange(10, 20)).all()
    assert launch.read(dev, buffer, 4, 8).dtype == np.uint8


def test_copying_works_within_and_between_devices(dev: Device) -> None:
    src = upload(dev, np.arange(100, dtype=np.float32))
    for other in devices():
        dst = other.pool.allocate(400)
        launch.fill_zero(other, dst, 400)
        launch.copy(dev, src, 40, dst, 80, 120)
        expected = np.zeros(100, np.float32)
        expected[20:50] = np.arange(10, 40)
        assert (download(other, dst) == expected).all()


def test_zeroing_stops_at_the_end_asked_for(dev: Device) -> None:
    buffer = upload(dev, np.ones(1000, np.float32))
    launch.fill_zero(dev, buffer, 400)
    got = download(dev, buffer)
    assert (got[:100] == 0).all()
    assert (got[100:] == 1).all()


@pytest.mark.parametrize(("offset", "nbytes"), [(-1, 4), (0, 100_000), (100_000, 4), (0, -4)])
def test_moving_data_outside_of_a_buffer_is_refused(dev: Device, offset: int, nbytes: int) -> None:
    buffer = dev.pool.allocate(64)
    with pytest.raises(ValueError, match="outside|negative"):
        launch.read(dev, buffer, offset, nbytes)
    with pytest.raises(ValueError, match="outside"):
        launch.copy(dev, buffer, offset, buffer, 0, nbytes)


def test_threads_that_share_a_launch_do_not_mix_up_its_arguments(dev: Device, at_once: Callable) -> None:
    run = axpy(dev)
    ones = upload(dev, np.ones(64, np.float32))
    sums = [upload(dev, np.zeros(64, np.float32)) for _ in range(4)]

    def work(i: int) -> None:
        args = (ones, sums[i], *scalars(i + 1, 64))
        for _ in range(2000):
            launch.enqueue(dev, run, args)

    at_once(work, 4)
    assert [float(download(dev, s)[0]) for s in sums] == [2000, 4000, 6000, 8000]


def test_many_threads_and_all_devices_at_once_compute_what_one_would() -> None:
    failures: list[str] = []

    def work(dev: Device, seed: int) -> None:
        run = axpy(dev)
        rng = np.random.default_rng(seed)
        for _ in range(150):
            x, y = rng.random(64, dtype=np.float32), rng.random(64, dtype=np.float32)
            a = float(rng.integers(1, 9))
            bx, by = upload(dev, x), upload(dev, y)
            launch.enqueue(dev, run, (bx, by, *scalars(a, 64)))
            if not np.allclose(download(dev, by), y + np.float32(a) * x, rtol=1e-5):
                failures.append(f"{dev} seed {seed}")

    threads = [threading.Thread(target=work, args=(d, i)) for i in range(3) for d in devices()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
