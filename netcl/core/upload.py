"""Copies to a device beside its kernels: a queue of their own, and memory that no waiting kernel still uses.

Other memory may be handed out again while the kernel that used it last still waits, because one queue runs in order. A
second queue does not wait for the first, so what it writes to is kept apart: a buffer that has died is written again
only behind a marker in the kernels' queue, and the kernels' queue gets a barrier before a value is handed on.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

import numpy as np

from netcl.core import fork, launch, runtime
from netcl.core.memory import Buffer

if TYPE_CHECKING:
    from netcl.core.device import Device

_COMPLETE = 0  # an OpenCL event's status; below it failed


class _Memory:
    """The buffers of one Uploader. What Buffer asks of its pool is here: lock, in_use, reserved, bins, trim."""

    def __init__(self, device: Device, spare: int) -> None:
        self.device = device
        self.spare = spare  # dead buffers of one size that may wait for their kernels before one of them is waited for
        # The pool's own: a buffer may die, by the garbage collector, where that is held.
        self.lock = device.pool.lock
        self.in_use = self.reserved = 0
        self.cached_limit: float = float("inf")
        self.bins: defaultdict[int, list[Any]] = defaultdict(list)  # dead, with their last use enqueued
        self.behind: defaultdict[int, deque[tuple[Any, Any]]] = defaultdict(deque)  # (marker, dead buffer)

    def mark(self) -> None:
        """Put a marker behind the last uses of what has died."""
        with self.lock:
            dead = [(capacity, mem) for capacity, mems in self.bins.items() for mem in mems]
            self.bins.clear()
        if not dead:
            return
        queue = self.device.queue
        marker = runtime.cl().enqueue_marker(queue)
        queue.flush()
        with self.lock:
            for capacity, mem in dead:
                self.behind[capacity].append((marker, mem))

    def take(self, nbytes: int) -> tuple[Buffer, list[Any]]:
        """(a buffer, what has to be done before it is written)."""
        pool = self.device.pool
        capacity = pool.capacity(nbytes)
        with self.lock:
            waiting = self.behind[capacity]
            if waiting and (len(waiting) > self.spare or _done(waiting[0][0])):
                marker, mem = waiting.popleft()
                before = [] if _done(marker) else [marker]
            else:
                mem, before = pool._create(nbytes, capacity), []
                pool.in_use += capacity
                pool.peak = max(pool.peak, pool.in_use)
                self.reserved += capacity
            self.in_use += capacity
            return Buffer(mem, nbytes, capacity, self.device, self), before  # type: ignore[arg-type]

    def trim(self) -> None:
        """Give what is dead back to the device; OpenCL keeps it for the kernels that still wait."""
        with self.lock:
            dead = [(capacity, mem) for capacity, mems in self.bins.items() for mem in mems]
            dead += [(capacity, mem) for capacity, waiting in self.behind.items() for _, mem in waiting]
            self.bins.clear()
            self.behind.clear()
            freed = 0
            for capacity, mem in dead:
                mem.release()
                freed += capacity
            self.reserved -= freed
            self.device.pool.in_use -= freed
            self.device.pool.reserved -= freed

    def close(self) -> None:
        """From now on what dies goes back to the device."""
        with self.lock:
            self.cached_limit = -1
        self.trim()


class Uploader:
    """Copies arrays to one device: `write` in any thread, `hand_over` in the thread whose kernels read them."""

    def __init__(self, device: Device, spare: int) -> None:
        self.device = device
        self._memory = _Memory(device, spare)
        self._copying: list[Any] = []  # events handed over that were not done

    def write(self, array: np.ndarray[Any, Any]) -> tuple[Buffer, Any]:
        """Begin to copy a C-contiguous array, which must not change until the event is done: (buffer, event)."""
        fork.check()
        device = self.device
        buffer, before = self._memory.take(array.nbytes)
        low = runtime.cl()._cl
        with device.lock:  # so that no profiler changes the queues meanwhile
            queue = device.copy_queue
            try:
                event = low._enqueue_write_buffer(queue, buffer.mem, array, 0, before or None, False)
                queue.flush()
            except runtime.cl().Error as error:
                raise launch._translated(device, f"writing {array.nbytes} bytes", error) from error
            launch._observe_copy(device, "upload", array.nbytes, event)
        return buffer, event

    def hand_over(self, events: list[Any]) -> None:
        """Kernels that are enqueued from now on wait for these copies; nothing else does."""
        self._memory.mark()
        self._copying = [event for event in self._copying if not _done(event)]
        waiting = [event for event in events if not _done(event)]
        if waiting:
            device = self.device
            with device.lock:
                runtime.cl()._cl._enqueue_barrier_with_wait_list(device.queue, waiting)
            self._copying += waiting  # an event keeps its array, and waits when it dies

    def close(self) -> None:
        """Give the memory back that no value holds any more; the rest follows when its values die."""
        self._memory.close()


def _done(event: Any) -> bool:
    """Whether it is over; RuntimeError where it failed."""
    status = event.command_execution_status
    if status < _COMPLETE:
        raise RuntimeError(f"a copy to the device failed with OpenCL's error {status}")
    return bool(status == _COMPLETE)
