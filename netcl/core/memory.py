"""Device memory from a pool: a buffer goes back to its bin when the Python object dies.

A queue is in order, so memory may be handed out again while the kernel that last used it still waits: whatever is
enqueued next runs after it. No synchronisation is needed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from netcl.core import fork, runtime
from netcl.core.errors import OutOfMemoryError, code_of, is_memory_error, readable

if TYPE_CHECKING:
    from netcl.core.device import Device

_MINIMUM = 256
_INVALID_BUFFER_SIZE = -61


@lru_cache(4096)
def bin_size(nbytes: int) -> int:
    """`nbytes` rounded up to 4 significant bits: at most 12.5 % more (or 256 bytes), a multiple of 32."""
    if nbytes <= _MINIMUM:
        if nbytes < 0:
            raise ValueError(f"cannot allocate {nbytes} bytes")
        return _MINIMUM
    shift = nbytes.bit_length() - 4
    return -(-nbytes >> shift) << shift


class Buffer:
    """A piece of device memory: `nbytes` asked for, `capacity` bytes there, `mem` the pyopencl buffer."""

    __slots__ = ("__weakref__", "capacity", "device", "mem", "nbytes", "pool")

    def __init__(self, mem: Any, nbytes: int, capacity: int, device: Device, pool: BufferPool) -> None:
        self.mem = mem
        self.nbytes = nbytes
        self.capacity = capacity
        self.device = device
        self.pool = pool

    def __repr__(self) -> str:
        return f"Buffer({self.nbytes} bytes on {self.device})"

    def __del__(self) -> None:
        pool = self.pool
        capacity = self.capacity
        with pool.lock:
            pool.in_use -= capacity
            pool.bins[capacity].append(self.mem)
            if pool.reserved - pool.in_use > pool.cached_limit:
                pool.trim()


class BufferPool:
    """The memory of one device, in bins by size. Sizes are bytes; every method may be called from any thread."""

    # The lock is reentrant because the garbage collector may run a Buffer's __del__ inside allocate().
    # Nothing may take the device's lock while holding this one.

    def __init__(self, device: Device) -> None:
        self.device = device
        self.lock = threading.RLock()
        self.bins: dict[int, list[Any]] = {}
        self.in_use = 0  # capacity of the live buffers
        self.reserved = 0  # what is allocated from OpenCL: live and cached
        self.peak = 0  # highest in_use since reset_peak()
        self.allocations = 0  # calls of allocate()
        self.limit = int(device.cl_device.global_mem_size)
        self.max_allocation = int(device.cl_device.max_mem_alloc_size)
        self.cached_limit = self.limit // 2

    def allocate(self, nbytes: int) -> Buffer:
        """A buffer of at least `nbytes` bytes with arbitrary content; OutOfMemoryError carries the sizes."""
        (buffer,) = self.allocate_all((nbytes,))
        return buffer

    def allocate_all(self, sizes: Iterable[int]) -> list[Buffer]:
        """A buffer of each size; none, if there is no memory for all of them."""
        buffers = []
        with self.lock:
            for nbytes in sizes:
                capacity = self.capacity(nbytes)
                free = self.bins.get(capacity)
                mem = free.pop() if free else self._create(nbytes, capacity)
                self.in_use += capacity
                buffers.append(Buffer(mem, nbytes, capacity, self.device, self))
            self.allocations += len(buffers)
            if self.in_use > self.peak:
                self.peak = self.in_use
        return buffers

    def capacity(self, nbytes: int) -> int:
        """The bytes that a buffer for `nbytes` takes."""
        size = bin_size(nbytes)
        if size > self.max_allocation:
            return -(-nbytes // 32) * 32  # rounding alone must not make the largest legal buffer illegal
        return size

    def _create(self, nbytes: int, capacity: int) -> Any:
        """A new OpenCL buffer; the bin for it exists afterwards, so that releasing can rely on it."""
        fork.check()
        if nbytes > self.max_allocation:
            raise self._out_of_memory(nbytes, f"the device allows {self.max_allocation} bytes in one piece")
        mem = self._try_create(capacity)
        if mem is None:
            self.device.queue.finish()  # memory of finished work can now really be freed
            self.trim()
            mem = self._try_create(capacity)
        if mem is None:
            raise self._out_of_memory(nbytes, "the device is full")
        self.bins.setdefault(capacity, [])
        self.reserved += capacity
        return mem

    def _try_create(self, size: int) -> Any:
        # CPU runtimes commit memory lazily and would accept any sum, until the system kills the process.
        if self.reserved + size > self.limit:
            return None
        cl = runtime.cl()
        try:
            return cl.Buffer(self.device.context, cl.mem_flags.READ_WRITE, size)
        except cl.Error as error:
            if is_memory_error(error) or code_of(error) == _INVALID_BUFFER_SIZE:
                return None
            raise RuntimeError(f"{self.device}: cannot allocate {size} bytes: {error}") from error

    def _out_of_memory(self, nbytes: int, why: str) -> OutOfMemoryError:
        return OutOfMemoryError(
            f"{self.device} ({self.device.name}) is out of memory: requested {nbytes} bytes ({readable(nbytes)}), "
            f"{why}; in use {self.in_use} ({readable(self.in_use)}), "
            f"reserved {self.reserved} ({readable(self.reserved)}), "
            f"device total {self.limit} ({readable(self.limit)}), largest piece {self.max_allocation} "
            f"({readable(self.max_allocation)})"
        )

    def trim(self) -> int:
        """Give the cached, unused memory back to the device; how many bytes that was."""
        freed = 0
        with self.lock:
            for capacity, free in self.bins.items():
                while free:
                    # Released by hand: a kernel's record of its last arguments may still hold the object.
                    free.pop().release()
                    freed += capacity
            self.reserved -= freed
        return freed

    def reset_peak(self) -> None:
        """Start counting the peak anew, from what is in use now."""
        with self.lock:
            self.peak = self.in_use

    def statistics(self) -> dict[str, int]:
        """in_use, reserved, peak and cached in bytes, and the number of allocations."""
        with self.lock:
            return {
                "in_use": self.in_use,
                "reserved": self.reserved,
                "cached": self.reserved - self.in_use,
                "peak": self.peak,
                "allocations": self.allocations,
            }
