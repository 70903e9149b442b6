"""The hot path: set what changed among a kernel's arguments, enqueue it, move data."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netcl.core import fork, program, runtime
from netcl.core.errors import OutOfMemoryError, code_of, is_memory_error
from netcl.core.memory import Buffer

if TYPE_CHECKING:
    from netcl.core.device import Device

Array = np.ndarray[Any, Any]


class LaunchCounter:
    """How many kernels were enqueued since the process began, and how often the host waited for bytes to read."""

    __slots__ = ("count", "reads")

    def __init__(self) -> None:
        self.count = 0
        self.reads = 0


launch_counter = LaunchCounter()
observers: list[Callable[[Device, Launch, Any], None]] = []  # called after each enqueue with the pyopencl event
copy_observers: list[Callable[[Device, str, int, Any], None]] = []  # (device, "upload" or "read", bytes, event)
_nd_range: Any = None  # pyopencl's enqueue function, kept here once pyopencl is loaded


class Launch:
    """A kernel with the size it runs over; `flops` and `bytes_moved` per launch are for the profiler."""

    __slots__ = ("_bound", "bytes_moved", "flops", "global_size", "kernel", "local_size", "name", "source")

    def __init__(
        self, kernel: Any, global_size: tuple[int, ...], local_size: tuple[int, ...] | None, name: str,
        flops: int = 0, bytes_moved: int = 0, source: str = "",
    ) -> None:
        global _nd_range
        self.kernel = kernel
        self.global_size = global_size
        self.local_size = local_size
        self.name = name
        self.flops = flops
        self.bytes_moved = bytes_moved
        self.source = source
        # What is set on the kernel belongs to the kernel: launches that share one share this list as well.
        bound = kernel.__dict__.get("_netcl_bound")
        if bound is None:
            bound = kernel.__dict__.setdefault("_netcl_bound", [None] * kernel.num_args)
        self._bound: list[Any] = bound
        _nd_range = runtime.cl()._cl.enqueue_nd_range_kernel

    def __repr__(self) -> str:
        return f"Launch({self.name}, global={self.global_size}, local={self.local_size})"


def enqueue(device: Device, launch: Launch, args: Sequence[Buffer | bytes]) -> None:
    """Enqueue `launch` with `args`, one per kernel argument: Buffers, and scalars as packed bytes."""
    if fork.forked:
        fork.check()
    bound = launch._bound
    if len(args) != len(bound):
        raise TypeError(f"kernel {launch.name} takes {len(bound)} arguments, got {len(args)}")
    with device.lock:
        try:
            for i, arg in enumerate(args):
                # pyopencl's set_arg() takes 0.2 us for a buffer but 6 us for bytes, which it tries as a buffer first.
                if type(arg) is Buffer:
                    mem = arg.mem
                    if bound[i] is not mem:
                        launch.kernel.set_arg(i, mem)
                        bound[i] = mem
                elif bound[i] != arg:
                    launch.kernel._set_arg_buf(i, arg)
                    bound[i] = arg
            event = _nd_range(device.queue, launch.kernel, launch.global_size, launch.local_size)
        except runtime.cl().Error as error:
            event = _second_try(device, launch, args, error)
        launch_counter.count += 1
    if observers:
        for observe in tuple(observers):
            observe(device, launch, event)


def _second_try(device: Device, launch: Launch, args: Sequence[Buffer | bytes], error: Exception) -> Any:
    """Enqueue again with the pool's unused memory given back (drivers allocate late), or raise what went wrong."""
    if not is_memory_error(error):
        raise _translated(device, f"kernel {launch.name}", error) from error
    make_room(device)
    try:
        for i, arg in enumerate(args):
            if isinstance(arg, Buffer):
                launch.kernel.set_arg(i, arg.mem)
            else:
                launch.kernel._set_arg_buf(i, arg)
        return _nd_range(device.queue, launch.kernel, launch.global_size, launch.local_size)
    except runtime.cl().Error as again:
        raise _translated(device, f"kernel {launch.name}", again) from again


def make_room(device: Device) -> None:
    """Wait for the device, and give back the pool's unused memory."""
    try:
        device.queue.finish()
    except runtime.cl().Error as error:
        raise _translated(device, "waiting", error) from error
    device.pool.trim()


def _translated(device: Device, what: str, error: Exception) -> Exception:
    """What to raise for a pyopencl error in `what`; any other exception as it is."""
    if code_of(error) is None:
        return error
    if is_memory_error(error):
        pool = device.pool
        return OutOfMemoryError(
            f"{device} ({device.name}) is out of memory or resources in {what}: {error}; in use {pool.in_use}, "
            f"reserved {pool.reserved}, device total {pool.limit} bytes"
        )
    return RuntimeError(f"{device} ({device.name}): {what} failed: {error}")


# ---- moving data

_STAGED_LIMIT = 4 * 2**20  # bytes: up to here a second copy on the host is cheaper than waiting for the queue
_STAGED_COUNT = 32
_staged_lock = threading.Lock()
_staged: dict[Device, collections.deque[Any]] = {}


def _check_range(buffer: Buffer, offset: int, nbytes: int) -> None:
    if offset < 0 or nbytes < 0 or offset + nbytes > buffer.capacity:
        raise ValueError(f"bytes {offset} to {offset + nbytes} are outside of a buffer of {buffer.nbytes} bytes")


def read(device: Device, buffer: Buffer, offset_bytes: int, nbytes: int) -> Array:
    """Wait, and return `nbytes` bytes of `buffer` from `offset_bytes` on as a uint8 array (nbytes,)."""
    result = np.empty(nbytes, np.uint8)
    read_into(device, buffer, result, offset_bytes)
    return result


def read_into(device: Device, buffer: Buffer, array: Array, offset: int = 0) -> None:
    """Wait, and fill the C-contiguous `array` from `buffer`, beginning at byte `offset` of the buffer."""
    fork.check()
    _check_range(buffer, offset, array.nbytes)
    if array.nbytes == 0:
        return
    launch_counter.reads += 1
    try:
        event = runtime.cl()._cl._enqueue_read_buffer(device.queue, buffer.mem, array, offset, None, True)
    except runtime.cl().Error as error:
        raise _translated(device, f"reading {array.nbytes} bytes", error) from error
    _observe_copy(device, "read", array.nbytes, event)


def _observe_copy(device: Device, kind: str, nbytes: int, event: Any) -> None:
    for observe in tuple(copy_observers):
        observe(device, kind, nbytes, event)


def write(device: Device, buffer: Buffer, array: Array, offset: int = 0) -> None:
    """Copy the C-contiguous `array` to `buffer` at byte `offset`; the array may be changed when this returns."""
    fork.check()
    _check_range(buffer, offset, array.nbytes)
    nbytes = array.nbytes
    if nbytes == 0:
        return
    low = runtime.cl()._cl
    try:
        if nbytes > _STAGED_LIMIT:
            event = low._enqueue_write_buffer(device.queue, buffer.mem, array, offset, None, True)
            _observe_copy(device, "upload", nbytes, event)
            return
        # A blocking write would wait for everything enqueued before it. The copy is kept until its event is done
        # (pyopencl's event object holds it, and waits when it dies).
        event = low._enqueue_write_buffer(device.queue, buffer.mem, array.copy(), offset, None, False)
    except runtime.cl().Error as error:
        raise _translated(device, f"writing {nbytes} bytes", error) from error
    _observe_copy(device, "upload", nbytes, event)
    with _staged_lock:
        waiting = _staged.setdefault(device, collections.deque())
        waiting.append(event)
        while len(waiting) > _STAGED_COUNT or waiting[0].command_execution_status <= 0:  # 0: complete, < 0: failed
            waiting.popleft()  # waits, if it is not done
            if not waiting:
                break


def copy(device: Device, src: Buffer, src_offset: int, dst: Buffer, dst_offset: int, nbytes: int) -> None:
    """Copy bytes between two buffers; between devices they go through the host, which waits."""
    fork.check()
    _check_range(src, src_offset, nbytes)
    _check_range(dst, dst_offset, nbytes)
    if nbytes == 0:
        return
    if src.device is not dst.device:
        write(dst.device, dst, read(src.device, src, src_offset, nbytes), dst_offset)
        return
    try:
        runtime.cl()._cl._enqueue_copy_buffer(device.queue, src.mem, dst.mem, nbytes, src_offset, dst_offset)
    except runtime.cl().Error as error:
        raise _translated(device, f"copying {nbytes} bytes", error) from error


_ZERO = np.zeros(4, np.uint32)
_ZERO_SOURCE = "kernel void netcl_zero(global uint4 *x) { x[get_global_id(0)] = (uint4)(0); }"


def fill_zero(device: Device, buffer: Buffer, nbytes: int) -> None:
    """Set the first `nbytes` bytes of `buffer` to zero (rounded up to 16, within its capacity)."""
    fork.check()
    _check_range(buffer, 0, nbytes)
    if nbytes == 0:
        return
    pieces = -(-nbytes // 16)
    cl = runtime.cl()
    try:
        if device.kind == "cpu" and device.platform_name.startswith("Intel"):
            # Intel's own fill ran at 1.5 GB/s on two cores, this kernel at 45.
            kernel = program.get_kernel(device, _ZERO_SOURCE, "netcl_zero")
            with device.lock:
                kernel.set_arg(0, buffer.mem)
                cl.enqueue_nd_range_kernel(device.queue, kernel, (pieces,), None)
        else:
            cl._cl._enqueue_fill_buffer(device.queue, buffer.mem, _ZERO, 0, pieces * 16)
    except cl.Error as error:
        raise _translated(device, f"zeroing {nbytes} bytes", error) from error


def flush(device: Device) -> None:
    """See to it that the device begins what is enqueued, without waiting for it."""
    fork.check()
    try:
        device.queue.flush()
    except runtime.cl().Error as error:
        raise _translated(device, "flush", error) from error


def finish(device: Device) -> None:
    """Wait until the device has done everything enqueued so far."""
    fork.check()
    try:
        device.queue.finish()
    except runtime.cl().Error as error:
        raise _translated(device, "finish", error) from error
    with _staged_lock:
        _staged.pop(device, None)
