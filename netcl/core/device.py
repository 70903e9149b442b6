"""The OpenCL devices of this machine: finding them, naming them, and choosing one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, Literal, Self, TypeVar, overload

from netcl.core import debug, fork, pocl, probe, runtime
from netcl.core.dtypes import DType, float64
from netcl.core.memory import BufferPool
from netcl.core.probe import Capabilities

__all__ = [
    "Capabilities", "Device", "current_device", "default_device", "default_reason", "device", "devices",
    "target_override",
]

Kind = Literal["cpu", "gpu", "accelerator"]
Target = Literal["cpu", "gpu"]
T = TypeVar("T")


class _Local(threading.local):
    """What each thread has of its own: the devices it has entered, and a forced codegen target."""

    def __init__(self) -> None:
        self.entered: list[Device] = []
        self.target: Target | None = None


_local = _Local()


class _Lazy(Generic[T]):
    """An attribute made on first use, then an ordinary one: reading it again costs no call."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self.make = make
        self.name = make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> _Lazy[T]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> T: ...
    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self
        with owner.lock:
            values = owner.__dict__
            if self.name not in values:
                values[self.name] = self.make(owner)
            return values[self.name]


class Device:
    """One OpenCL device. Compared by identity; `with device:` makes it this thread's current one."""

    def __init__(self, index: int, kind_index: int, kind: Kind, cl_device: Any) -> None:
        self.index = index  # among all devices: 'opencl:<index>'
        self.kind_index = kind_index  # among its kind: 'cpu:<kind_index>'
        self.kind: Kind = kind
        self.cl_device = cl_device
        self.name: str = cl_device.name.strip()
        self.platform_name: str = cl_device.platform.name.strip()
        self.platform_version: str = cl_device.platform.version.strip()
        self.driver: str = cl_device.driver_version.strip()
        self.lock = threading.RLock()  # held while a kernel's arguments are set and it is enqueued
        self._profiling = debug.level >= 2  # a line per launch, with its time: netcl.profiler
        self._default_target = _target_from_environment() or ("cpu" if kind == "cpu" else "gpu")

    @property
    def type(self) -> Kind:
        """The kind of device: 'cpu', 'gpu' or 'accelerator'."""
        return self.kind

    @property
    def target(self) -> Target:
        """What code is generated for: the kind of device, unless NETCL_TARGET or target_override() says else."""
        return _local.target or self._default_target

    @_Lazy
    def context(self) -> Any:
        """The pyopencl context of this device alone (others would cost their start-up time)."""
        fork.check()
        pocl.repair(self.platform_name, self.cl_device.int_ptr)
        return runtime.cl().Context([self.cl_device])

    @_Lazy
    def queue(self) -> Any:
        """The in-order queue that everything on this device goes through, but for what an Uploader copies."""
        return self._new_queue()

    @_Lazy
    def copy_queue(self) -> Any:
        """The queue of an Uploader's copies, beside the kernels."""
        return self._new_queue()

    def _new_queue(self) -> Any:
        fork.check()
        cl = runtime.cl()
        properties = cl.command_queue_properties.PROFILING_ENABLE if self._profiling else 0
        return cl.CommandQueue(self.context, self.cl_device, properties=properties)

    @_Lazy
    def pool(self) -> BufferPool:
        """This device's memory."""
        return BufferPool(self)

    @_Lazy
    def fingerprint(self) -> str:
        """Names what a compiled binary or a probe's answer depends on: driver, device, instruction set."""
        parts = [self.platform_name, self.platform_version, self.name, self.driver, self.cl_device.version.strip()]
        if self.kind != "gpu":
            # Two machines with one home may call different CPUs the same ("AMD EPYC").
            parts.append(hashlib.sha256(" ".join(sorted(pocl.cpu_flags())).encode()).hexdigest())
        return "|".join(parts)

    @_Lazy
    def _probed(self) -> Capabilities | str:
        try:
            return probe.capabilities(self)
        except RuntimeError as error:
            return str(error)
        except runtime.cl().Error as error:
            return f"{self} ({self.name}, {self.platform_name}) cannot be opened: {error}"

    @property
    def capabilities(self) -> Capabilities:
        """What the device can do, by probe; RuntimeError if it cannot run a kernel at all."""
        found = self._probed
        if isinstance(found, str):
            raise RuntimeError(found)  # the stored message of a failure
        return found

    @property
    def error(self) -> str | None:
        """Why the device cannot be used, or None where its probe ran."""
        return self._probed if isinstance(self._probed, str) else None

    @property
    def profiling(self) -> bool:
        """Whether events carry times; changing it waits for the queues and makes new ones."""
        return self._profiling

    @profiling.setter
    def profiling(self, wanted: bool) -> None:
        with self.lock:
            if wanted != self._profiling:
                for name in ("queue", "copy_queue"):
                    if name in self.__dict__:
                        self.__dict__[name].finish()
                        del self.__dict__[name]
                self._profiling = wanted

    @property
    def supports_fp16(self) -> bool:
        """Whether it computes with float16 itself, by probe; elsewhere float16 is storage, and arithmetic float32."""
        return self.capabilities.fp16

    def require(self, dtype: DType) -> None:
        """RuntimeError for a dtype that this device cannot compute with (float64 on many integrated GPUs)."""
        if dtype is float64 and not self.capabilities.fp64:
            raise RuntimeError(
                f"{self} ({self.name}) has no float64; use float32, or another device (see `netcl devices`)"
            )

    def __enter__(self) -> Self:
        _local.entered.append(self)
        return self

    def __exit__(self, *_error: object) -> None:
        _local.entered.pop()

    def __reduce__(self) -> tuple:
        return device, (f"{self.kind}:{self.kind_index}",)

    def __str__(self) -> str:
        return f"opencl:{self.index}"

    def __repr__(self) -> str:
        return f"device(type={self.kind!r}, index={self.kind_index})"


def _target_from_environment() -> Target | None:
    text = os.environ.get("NETCL_TARGET")
    if not text:
        return None
    if text == "cpu":
        return "cpu"
    if text == "gpu":
        return "gpu"
    raise ValueError(f"NETCL_TARGET must be 'cpu' or 'gpu', not {text!r}")


@contextlib.contextmanager
def target_override(target: Target) -> Iterator[None]:
    """Generate code for `target` in this thread: tests run the GPU's kernels on a CPU device with it."""
    if target not in ("cpu", "gpu"):
        raise ValueError(f"target must be 'cpu' or 'gpu', not {target!r}")
    before = _local.target
    _local.target = target
    try:
        yield
    finally:
        _local.target = before


# ---- finding them

_lock = threading.RLock()
_devices: list[Device] | None = None
_default: tuple[Device, str] | None = None

_INSTALL = (
    "no OpenCL device found. Install one of: PoCL (`pip install pocl-binary-distribution`), Intel's CPU runtime "
    "(`pip install 'netcl[intel]'`, x86-64 Linux), or your GPU vendor's OpenCL driver"
)


def devices() -> list[Device]:
    """Every OpenCL device, best first, in an order that stays the same between runs; empty where there is none."""
    global _devices
    fork.check()
    if _devices is None:
        with _lock:
            if _devices is None:
                _devices = order([found for platform in runtime.platforms() for found in runtime.devices_of(platform)])
    return list(_devices)


def order(found: list[Any]) -> list[Device]:
    """Devices from pyopencl ones: GPUs, then Intel's CPU runtime, other CPUs, accelerators, simulators."""
    counts: dict[str, int] = {}
    result: list[Device] = []
    for cl_device in sorted(found, key=_rank):  # sorted() is stable: equals stay in the loader's order
        kind = _kind(cl_device)
        result.append(Device(len(result), counts.get(kind, 0), kind, cl_device))
        counts[kind] = counts.get(kind, 0) + 1
    return result


def _is_simulator(platform_name: str) -> bool:
    return "oclgrind" in platform_name.lower()


def _kind(cl_device: Any) -> Kind:
    bits = int(cl_device.type)
    # Oclgrind says that it is a CPU, a GPU and an accelerator at once; it is chosen by name only.
    if _is_simulator(cl_device.platform.name):
        return "accelerator"
    return "gpu" if bits & 4 else "cpu" if bits & 2 else "accelerator"


def _rank(cl_device: Any) -> tuple[int, bool, str, str]:
    """What sorts better devices first. Among GPUs one with its own memory comes ahead of an integrated one."""
    kind = _kind(cl_device)
    platform = cl_device.platform.name
    if kind == "gpu":
        return 0, bool(cl_device.host_unified_memory), platform, cl_device.name
    if kind == "cpu":
        rank = 1 if platform.startswith("Intel") else 3 if platform == "Portable Computing Language" else 2
        return rank, False, platform, cl_device.name
    return (5 if _is_simulator(platform) else 4), False, platform, cl_device.name


# ---- choosing one


def default_device() -> Device:
    """The device used where none is named; RuntimeError, saying what to install, where none can be used."""
    return _choose()[0]


def get_default_device() -> Device:
    """As default_device()."""
    return _choose()[0]


def set_default_device(device: Device | str | int | None) -> None:
    """Where tensors are made from now on, in every thread, unless a device is named or entered. None: as at the start.

    >>> import netcl as nc
    >>> nc.set_default_device("cpu")
    >>> nc.set_default_device(None)
    """
    global _default
    chosen = None if device is None else find_device(device)
    if chosen is not None and chosen.error is not None:
        raise RuntimeError(f"set_default_device: {chosen} does not work: {chosen.error}")
    _default = None if chosen is None else (chosen, "set_default_device")


def default_reason() -> str:
    """Why default_device() is the one it is, in a sentence."""
    return _choose()[1]


def _choose() -> tuple[Device, str]:
    global _default
    if _default is None:
        with _lock:
            if _default is None:
                wanted = os.environ.get("NETCL_DEVICE", "").strip()
                _default = _choose_named(wanted) if wanted else choose_default(devices())
    return _default


def _choose_named(wanted: str) -> tuple[Device, str]:
    try:
        chosen = find(wanted, devices())
    except ValueError as error:
        raise ValueError(f"NETCL_DEVICE: {error}") from error
    if chosen.error is not None:
        raise RuntimeError(f"NETCL_DEVICE={wanted} names a device that does not work: {chosen.error}")
    return chosen, f"NETCL_DEVICE={wanted}"


def choose_default(candidates: list[Device]) -> tuple[Device, str]:
    """The first working device that is not an accelerator or simulator, and why; RuntimeError if there is none."""
    broken = []
    for candidate in candidates:
        if candidate.kind == "accelerator":
            continue
        if candidate.error is not None:
            broken.append(candidate)
            continue
        if candidate.kind == "gpu":
            reason = "a GPU"
        elif any(other.kind == "gpu" for other in candidates):
            reason = "the best CPU runtime; no GPU works"
        else:
            reason = "the best CPU runtime; there is no GPU"
        if broken:
            reason += (
                f" (not working: {', '.join(f'{other} {other.name} on {other.platform_name}' for other in broken)})"
            )
        return candidate, reason
    if not candidates:
        raise RuntimeError(_INSTALL)
    if broken:
        raise RuntimeError("no OpenCL device works:\n" + "\n".join(f"  {other}: {other.error}" for other in broken))
    raise RuntimeError(
        f"no CPU or GPU found; these are used only if named (NETCL_DEVICE or nc.device(...)):\n{_listing(candidates)}\n"
        f"Otherwise: {_INSTALL}"
    )


def current_device() -> Device:
    """This thread's device: the one entered last by `with device:`, else the default."""
    entered = _local.entered
    return entered[-1] if entered else _choose()[0]


def device(spec: Device | str | int | None = None) -> Device:
    """The device that `spec` names: 'cpu', 'gpu', 'cpu:1', 'opencl:1', a part of its name, a number, or None.

    'cpu' and 'gpu' are the current device where it is of that kind, else the first one of it that works.
    ValueError for an unknown name, RuntimeError where there is none of that kind; both list what there is.
    """
    if spec is None:
        return current_device()
    if isinstance(spec, Device):
        return spec
    if isinstance(spec, int) and not isinstance(spec, bool):
        spec = f"opencl:{spec}"
    if not isinstance(spec, str):
        raise TypeError(f"a device is named by a str, an int or a Device, not {type(spec).__name__}")
    found, kind = devices(), spec.strip().lower()
    if kind == "opencl" and found:
        return current_device()
    if kind in ("cpu", "gpu") and any(candidate.kind == kind for candidate in found):
        current = current_device()
        if current.kind == kind:
            return current
    return find(spec, found)


find_device = device


class UnknownDeviceError(ValueError, RuntimeError):
    """No device has this name. A RuntimeError as in PyTorch, which scripts catch where they try "cuda"."""


def find(spec: str, candidates: list[Device]) -> Device:
    """The one of `candidates` that `spec` names; ValueError or RuntimeError, listing them, where none is."""
    if not candidates:
        raise RuntimeError(_INSTALL)
    kind, colon, number = spec.strip().lower().partition(":")
    if kind in ("opencl", "cpu", "gpu", "accelerator"):
        if colon and not number.isdecimal():
            raise ValueError(
                f"device {spec!r}: what follows the colon must be a number, as in 'cpu:0'\n{_listing(candidates)}"
            )
        alike = candidates if kind == "opencl" else [c for c in candidates if c.kind == kind]
        if not alike:
            raise RuntimeError(
                f"device {spec!r}: this machine has no {kind} device. There are:\n{_listing(candidates)}"
            )
        if not colon:
            return next((c for c in alike if c.error is None), alike[0])
        if int(number) >= len(alike):
            what = "OpenCL" if kind == "opencl" else kind
            raise RuntimeError(
                f"device {spec!r}: there are only {len(alike)} {what} devices, counted from 0:\n{_listing(candidates)}"
            )
        return alike[int(number)]
    if kind == "pocl":
        kind = "portable computing language"
    named = [c for c in candidates if kind and kind in f"{c.platform_name} {c.name}".lower()]
    if colon or not named:
        hint = " A GPU is 'gpu' here, of whatever maker." if kind in ("cuda", "mps", "xpu", "hip") else ""
        raise UnknownDeviceError(
            f"unknown device {spec!r}.{hint} Use 'cpu', 'gpu', 'cpu:<n>', 'opencl:<n>' or a part of a name:\n"
            f"{_listing(candidates)}"
        )
    return named[0]


def _listing(candidates: list[Device]) -> str:
    return "\n".join(f"  {c} = {c.kind}:{c.kind_index}  {c.name} ({c.platform_name})" for c in candidates)
