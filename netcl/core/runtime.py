"""pyopencl, imported when a device is first needed: it costs 0.2 s, and the ICD folder must be ready before."""

from __future__ import annotations

import os
import threading
from types import ModuleType
from typing import Any

from netcl.core import fork, icd

_lock = threading.Lock()
_module: Any = None


def cl() -> Any:
    """The pyopencl module, imported on the first call; RuntimeError in a forked child."""
    if _module is None:
        _open()
    return _module


def _open() -> None:
    global _module
    with _lock:
        if _module is not None:
            return
        fork.check()
        icd.prepare()
        # netcl keeps its own cache of binaries; pyopencl's would be a second one, and slower.
        os.environ.setdefault("PYOPENCL_NO_CACHE", "1")
        _module = _import()
        fork.opened = True


def _import() -> ModuleType:
    try:
        import pyopencl
    except ImportError as error:
        raise RuntimeError(f"netcl needs pyopencl, which cannot be imported ({error}): pip install pyopencl") from error
    return pyopencl


def platforms() -> list[Any]:
    """Every OpenCL platform once, in the loader's order (it may find one library by two ways)."""
    module = cl()
    try:
        found = module.get_platforms()
    except module.Error as error:
        if getattr(error, "code", None) == -1001:  # CL_PLATFORM_NOT_FOUND_KHR: none installed
            return []
        raise
    unique: dict[tuple[Any, ...], Any] = {}
    for platform in found:
        names = tuple(device.name for device in devices_of(platform))
        unique.setdefault((platform.name, platform.version, names), platform)
    return list(unique.values())


def devices_of(platform: Any) -> list[Any]:
    """The OpenCL devices of a platform; empty for one without any."""
    module = cl()
    try:
        return list(platform.get_devices())
    except module.Error as error:
        if getattr(error, "code", None) == -1:  # CL_DEVICE_NOT_FOUND: the driver is there, the hardware is not
            return []
        raise
