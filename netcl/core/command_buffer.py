"""Command buffers (cl_khr_command_buffer): launches recorded once, enqueued again and again by one call.

Plans are not launched by them, docs/jit.md says why. What is here records launches and measures what that is worth on a
device. pyopencl has no binding of the extension, so its functions are asked of the loader that pyopencl uses; only of
version 1: the ABI of the provisional ones changed from one to the next.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_int, c_size_t, c_uint, c_void_p
from typing import TYPE_CHECKING, Any, Self

from netcl.core import debug, fork, program, runtime

if TYPE_CHECKING:
    from netcl.core.device import Device

_NAME = "cl_khr_command_buffer"
_LIST = POINTER(c_size_t)
_PROTOTYPES: dict[str, tuple[Any, ...]] = {  # the result's type, then the arguments'
    "clCreateCommandBufferKHR": (c_void_p, c_uint, POINTER(c_void_p), c_void_p, POINTER(c_int)),
    "clCommandNDRangeKernelKHR": (
        c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_uint, _LIST, _LIST, _LIST,
        c_uint, c_void_p, c_void_p, c_void_p,
    ),
    "clFinalizeCommandBufferKHR": (c_int, c_void_p),
    "clEnqueueCommandBufferKHR": (c_int, c_uint, c_void_p, c_void_p, c_uint, c_void_p, c_void_p),
    "clReleaseCommandBufferKHR": (c_int, c_void_p),
}  # fmt: skip


def version(device: Device) -> str | None:
    """The version of the extension that a device has, None without it."""
    if _NAME not in device.cl_device.extensions.split():
        return None
    try:
        listed = device.cl_device.extensions_with_version
    except runtime.cl().Error:  # before OpenCL 3.0
        return None
    packed = next((item.version for item in listed if item.name == _NAME), None)
    return None if packed is None else f"{packed >> 22}.{packed >> 12 & 0x3FF}.{packed & 0xFFF}"


def functions(device: Device) -> dict[str, Callable[..., Any]] | None:
    """The extension's functions by name; None where the device has another version than 1, or none."""
    if not (version(device) or "").startswith("1."):
        return None
    try:  # the loader is what pyopencl's own library is linked with
        ask = ctypes.CDLL(runtime.cl()._cl.__file__).clGetExtensionFunctionAddressForPlatform
    except (OSError, AttributeError):
        return None
    ask.restype, ask.argtypes = c_void_p, [c_void_p, ctypes.c_char_p]
    platform = device.cl_device.platform.int_ptr
    found = {name: ask(platform, name.encode()) for name in _PROTOTYPES}
    if None in found.values():
        return None
    return {name: ctypes.CFUNCTYPE(*_PROTOTYPES[name])(address) for name, address in found.items()}


class Recording:
    """Launches as they are now: (kernel with its arguments set, global size, local size). RuntimeError where the device
    cannot record them. Setting arguments of the kernels afterwards changes nothing here.

    The kernels' memory has to outlive the recording and what of it still runs: OpenCL keeps the kernels, not their
    arguments. The queue is in order, so a recording may be enqueued again while it runs.
    """

    def __init__(self, device: Device, launches: Sequence[tuple[Any, tuple[int, ...], tuple[int, ...] | None]]) -> None:
        fork.check()
        found = functions(device)
        if found is None:
            raise RuntimeError(f"{device} ({device.name}) has no {_NAME} of version 1")
        self._functions = found
        code = c_int(0)
        queue = c_void_p(device.queue.int_ptr)
        self._handle: Any = found["clCreateCommandBufferKHR"](1, byref(queue), None, byref(code))
        _check("recording", code.value)
        try:
            for kernel, size, group in launches:
                items = c_size_t * len(size)
                sizes = items(*size), None if group is None else items(*group)
                handle = self._handle, None, None, kernel.int_ptr, len(size), None
                _check("recording", found["clCommandNDRangeKernelKHR"](*handle, *sizes, 0, None, None, None))
            _check("recording", found["clFinalizeCommandBufferKHR"](self._handle))
        except RuntimeError:
            self.release()
            raise

    def enqueue(self) -> None:
        """Launch them all, in order; RuntimeError where nothing was launched."""
        _check("enqueueing", self._functions["clEnqueueCommandBufferKHR"](0, None, self._handle, 0, None, None))

    def release(self) -> None:
        """Give it back; what of it is enqueued still runs."""
        if self._handle is not None:
            self._functions["clReleaseCommandBufferKHR"](self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()


def _check(what: str, code: int) -> None:
    if code != 0:
        raise RuntimeError(f"{what} a command buffer failed with OpenCL's error {code}")


# ---- what it is worth

_LAUNCHES = 20
_ITEMS, _GROUP = 4096, 64
_ROUNDS, _IN_A_ROW = 20, 5  # a training loop does not wait at each step
_LOST = 100  # bytes for each launch: below it, a list grew somewhere
_SOURCE = """
kernel void twice(global float *x, float a) {
    int i = get_global_id(0);
    x[i] = x[i] * 2.0f + a;
}
"""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A recording beside the same launches one by one: quotients of times, below 1 where the recording is faster."""

    version: str
    host: float  # until the enqueueing returns
    total: float  # until the device is done
    lost: float | None  # bytes that each launch leaves allocated for ever; None where nothing counts them

    def __str__(self) -> str:
        text = f"command buffers {self.version}: {_LAUNCHES} launches in {self.total:.2f} of the time"
        return text if (self.lost or 0.0) < _LOST else f"{text}, {self.lost:.0f} bytes lost by each"


def compare(device: Device) -> Comparison | None:
    """Measure on an idle device, in a tenth of a second; None where there is nothing to measure, or it fails."""
    if functions(device) is None:
        return None
    cl = runtime.cl()
    try:
        with device.lock:
            memory = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, 4 * _ITEMS)
            launches = _launches(device, memory)
            with Recording(device, launches) as recording:
                found = Comparison(
                    version(device) or "", *_times(device, launches, recording), _lost(device, recording)
                )
            device.queue.finish()
            return found
    except (RuntimeError, cl.Error) as error:
        debug.log(1, f"netcl: {device} claims {_NAME} but fails at it: {error}")
        return None


def _launches(device: Device, memory: Any) -> Sequence[tuple[Any, tuple[int, ...], tuple[int, ...]]]:
    """Small launches that run one after another, with kernels of their own."""
    made = []
    for number in range(_LAUNCHES):
        kernel = program.own_kernel(device, _SOURCE, "twice")
        kernel.set_arg(0, memory)
        kernel._set_arg_buf(1, bytes(ctypes.c_float(number)))
        made.append((kernel, (_ITEMS,), (_GROUP,)))
    return made


def _times(device: Device, launches: Sequence[tuple], recording: Recording) -> tuple[float, float]:
    """The recording's least times divided by those of single launches."""
    queue, enqueue = device.queue, runtime.cl()._cl.enqueue_nd_range_kernel

    def one_by_one() -> None:
        for launch in launches:
            enqueue(queue, *launch)

    least = {one_by_one: (math.inf, math.inf), recording.enqueue: (math.inf, math.inf)}
    for _ in range(_ROUNDS):
        for way, (host, total) in least.items():
            start = time.perf_counter()
            for _ in range(_IN_A_ROW):
                way()
            enqueued = time.perf_counter() - start
            queue.finish()
            least[way] = min(host, enqueued), min(total, time.perf_counter() - start)
    (host, total), (recorded_host, recorded_total) = least.values()
    return recorded_host / host, recorded_total / total


def _lost(device: Device, recording: Recording) -> float | None:
    """Bytes that a launch leaves allocated, once all is done."""
    count = _allocated()
    if count is None:
        return None
    before = count()
    for _ in range(_ROUNDS):
        recording.enqueue()
    device.queue.finish()
    return (count() - before) / (_ROUNDS * _LAUNCHES)


class _Allocations(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [(f"field{number}", c_size_t) for number in range(10)]


def _allocated() -> Callable[[], int] | None:
    """A function that counts what malloc has given out and not got back; None where the C library has none."""
    try:
        information = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError, TypeError):  # not glibc, an old one, Windows
        return None
    information.restype = _Allocations

    def count() -> int:
        found = information()
        return int(found.field4 + found.field7)  # mapped by themselves, and in the heaps

    return count
