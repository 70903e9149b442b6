"""Waiting for the device."""

from __future__ import annotations

from typing import Any

from netcl.core import launch
from netcl.core.device import device as find_device
from netcl.core.device import devices
from netcl.graph import flags
from netcl.graph.value import flush_all


def synchronize(device: Any = None) -> None:
    """Run whatever live tensors are waiting for, and wait until the device (by default every one in use) is done.

    Raises what the device found wrong meanwhile (IndexError for a class out of range).
    """
    flush_all()
    for target in [find_device(device)] if device is not None else [d for d in devices() if "queue" in d.__dict__]:
        launch.finish(target)
        flags.raise_if_set(target)
