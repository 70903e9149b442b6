"""The buffer pool: reuse, waste, statistics, and what happens when memory runs out."""

from __future__ import annotations

import gc
import random
import threading

import numpy as np
import pytest

from netcl.core import launch, runtime
from netcl.core.device import Device
from netcl.core.errors import OutOfMemoryError
from netcl.core.memory import BufferPool, bin_size


def test_rounding_up_wastes_at_most_an_eighth() -> None:
    rng = random.Random(0)
    for n in [*range(257, 5000), *(rng.randrange(257, 2**40) for _ in range(5000))]:
        size = bin_size(n)
        assert n <= size <= n * 1.125
        assert size % 32 == 0
    assert bin_size(0) == bin_size(1) == bin_size(256) == 256


def test_a_bin_is_its_own_bin_and_there_are_few() -> None:
    assert all(bin_size(bin_size(n)) == bin_size(n) for n in range(1, 5000))
    assert len({bin_size(n) for n in range(2**20)}) < 120


def test_a_dead_buffers_memory_is_used_again(dev: Device) -> None:
    pool = BufferPool(dev)
    first = pool.allocate(5000)
    mem = first.mem
    del first
    assert pool.allocate(5001).mem is mem


def test_what_is_allocated_is_the_bins_size(dev: Device) -> None:
    pool = BufferPool(dev)
    for n in (0, 1, 256, 257, 1000, 4096, 70_001):
        assert pool.allocate(n).capacity == bin_size(n)


def test_trimming_frees_memory_that_a_kernel_was_last_given(dev: Device) -> None:
    pool = BufferPool(dev)
    buffer = pool.allocate(5000)
    held = buffer.mem  # as a kernel's record of its arguments holds it
    del buffer
    pool.trim()
    with pytest.raises(runtime.cl().Error):  # pyopencl says so when something is released twice
        held.release()


def test_live_buffers_never_share_memory(dev: Device) -> None:
    pool = BufferPool(dev)
    live = [pool.allocate(1000) for _ in range(20)]
    assert len({id(b.mem) for b in live}) == 20


def test_statistics_count_what_is_there(dev: Device) -> None:
    pool = BufferPool(dev)
    a, b = pool.allocate(1024), pool.allocate(2048)
    assert (pool.in_use, pool.reserved, pool.peak, pool.allocations) == (3072, 3072, 3072, 2)
    del a
    assert (pool.in_use, pool.reserved, pool.peak) == (2048, 3072, 3072)
    pool.reset_peak()
    assert pool.peak == 2048
    assert pool.statistics()["cached"] == 1024
    assert pool.trim() == 1024
    assert (pool.in_use, pool.reserved) == (2048, 2048)
    del b
    assert pool.in_use == 0


def test_allocating_and_releasing_in_a_loop_reserves_once(dev: Device) -> None:
    pool = BufferPool(dev)
    for _ in range(1000):
        pool.allocate(10_000)
    assert pool.reserved == bin_size(10_000)
    assert pool.allocations == 1000


def test_a_zero_size_buffer_is_a_buffer(dev: Device) -> None:
    buffer = dev.pool.allocate(0)
    assert (buffer.nbytes, buffer.capacity) == (0, 256)
    launch.write(dev, buffer, np.empty(0, np.float32))
    launch.fill_zero(dev, buffer, 0)
    assert launch.read(dev, buffer, 0, 0).shape == (0,)


def test_a_negative_size_is_refused(dev: Device) -> None:
    with pytest.raises(ValueError, match="-1"):
        dev.pool.allocate(-1)


def test_too_large_a_piece_is_an_error_with_all_sizes(dev: Device) -> None:
    pool = BufferPool(dev)
    held = pool.allocate(4096)
    with pytest.raises(OutOfMemoryError) as caught:
        pool.allocate(pool.max_allocation + 1)
    text = str(caught.value)
    for size in (pool.max_allocation + 1, held.capacity, pool.limit, pool.max_allocation):
        assert str(size) in text
    assert isinstance(caught.value, MemoryError)
    assert isinstance(caught.value, RuntimeError)


def test_a_full_device_trims_and_retries_before_it_gives_up(dev: Device) -> None:
    pool = BufferPool(dev)
    pool.limit = 10_000
    pool.cached_limit = 10_000
    held = pool.allocate(4096)
    cached = pool.allocate(5120)
    del cached
    bigger = pool.allocate(5632)  # fits only once the cached 5120 are given back
    assert pool.reserved == 4096 + 5632
    with pytest.raises(OutOfMemoryError, match="in use 9728"):
        pool.allocate(4096)
    del held, bigger
    assert pool.in_use == 0


def test_rounding_up_does_not_make_the_largest_piece_too_large(dev: Device) -> None:
    pool = BufferPool(dev)
    pool.max_allocation = 1_000_000 // 32 * 32
    assert pool.allocate(pool.max_allocation).capacity == pool.max_allocation


def test_memory_cached_beyond_the_limit_is_given_back(dev: Device) -> None:
    pool = BufferPool(dev)
    pool.cached_limit = 8192
    live = [pool.allocate(4096) for _ in range(4)]
    live.clear()
    assert pool.reserved <= 8192


def test_buffers_may_die_in_any_thread(dev: Device) -> None:
    pool = BufferPool(dev)

    def work(seed: int) -> None:
        rng = random.Random(seed)
        live = [pool.allocate(256) for _ in range(8)]
        for _ in range(2000):
            live[rng.randrange(8)] = pool.allocate(rng.randrange(20_000))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert pool.in_use == 0
    assert pool.allocations == 6 * 2008
    assert pool.reserved == sum(size * len(free) for size, free in pool.bins.items())


def test_memory_is_aligned_for_wide_vectors(dev: Device) -> None:
    from netcl.core.program import get_kernel

    source = "kernel void where_is(global char *p, global ulong *out) { out[0] = (ulong)p; }"
    run = launch.Launch(get_kernel(dev, source, "where_is"), (1,), (1,), "where_is")
    out = dev.pool.allocate(8)
    for size in (1, 300, 5000):
        buffer = dev.pool.allocate(size)
        launch.enqueue(dev, run, (buffer, out))
        assert launch.read(dev, out, 0, 8).view(np.uint64)[0] % 64 == 0


def test_a_process_with_live_buffers_ends_cleanly(python) -> None:  # type: ignore[no-untyped-def]
    code = (
        "from netcl.core.device import devices\n"
        "keep = [d.pool.allocate(n) for d in devices() for n in (1, 300, 70000)]\n"
        "cycle = [keep]; cycle.append(cycle)\n"
    )
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "")
