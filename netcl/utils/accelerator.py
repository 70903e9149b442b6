"""What scripts ask of torch.accelerator before they choose a device: here, the first GPU that works with OpenCL."""

from __future__ import annotations

from typing import Any

from netcl.core.device import Device, devices
from netcl.ops.sync import synchronize

__all__ = ["current_accelerator", "device_count", "is_available", "synchronize"]


def _gpus() -> list[Device]:
    return [device for device in devices() if device.kind == "gpu" and device.error is None]


def is_available() -> bool:
    """Whether there is a GPU that works."""
    return bool(_gpus())


def device_count() -> int:
    """How many GPUs work."""
    return len(_gpus())


def current_accelerator(check_available: bool = False) -> Any:
    """The first GPU that works, or None: `nc.accelerator.current_accelerator().type` is "gpu".

    Whether it works is found in any case, also without check_available.
    """
    found = _gpus()
    return found[0] if found else None
