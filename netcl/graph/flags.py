"""Checks that only the device can make: a kernel raises a flag, and the next read of a value raises the error.

A device has one flag: raised and site as 32-bit, value and position as 64-bit integers. Sites are numbered as checks
are recorded; the texts of the last ones are kept, so that the error names the operation and the user's line.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from netcl.core import launch

_KEPT_SITES = 4096
_FLAG_BYTES = 32


class Site(int):
    """The number of a check."""


class _Flags:
    """The flag of one device."""

    def __init__(self, device: Any):
        self.buffer = device.pool.allocate(_FLAG_BYTES)
        launch.fill_zero(device, self.buffer, _FLAG_BYTES)
        self.sites: OrderedDict[int, tuple[str, type[Exception], str]] = OrderedDict()
        self.kept: dict[int, tuple[str, type[Exception], str]] = {}  # those of compiled functions
        self.next_site = 0
        self.pending = False


_by_device: dict[Any, _Flags] = {}
_lock = threading.Lock()


def _flags(device: Any) -> _Flags:
    with _lock:
        found = _by_device.get(device)
        if found is None:
            found = _by_device[device] = _Flags(device)
        return found


def buffer(device: Any) -> Any:
    return _flags(device).buffer


OUT_OF_RANGE = "index {value} at position {position} is out of range"


def new_site(device: Any, text: str, says: str, error: type[Exception]) -> Site:
    """A number for a check recorded now; `text` names the operation and the user's line, `says` what is wrong."""
    flags = _flags(device)
    with _lock:
        site = flags.next_site
        flags.next_site = (site + 1) % 2**31
        flags.sites[site] = text, error, says
        if len(flags.sites) > _KEPT_SITES:
            flags.sites.popitem(last=False)
        return Site(site)


def keep_site(device: Any, site: int) -> None:
    """Remember a check's text as long as the process lives: it will be made again and again."""
    flags = _flags(device)
    with _lock:
        if site in flags.sites:
            flags.kept[site] = flags.sites[site]


def mark_pending(device: Any) -> None:
    """A plan with checks was launched: the next read has to look."""
    _flags(device).pending = True


def raise_if_set(device: Any) -> None:
    """The error of the first failed check since the last call. Reads a few bytes if a plan with checks has run."""
    flags = _by_device.get(device)
    if flags is None or not flags.pending:
        return
    flags.pending = False
    found = launch.read(device, flags.buffer, 0, _FLAG_BYTES)
    raised, site = found.view(np.int32)[:2]
    if raised:
        value, position = found.view(np.int64)[1:3]
        launch.fill_zero(device, flags.buffer, _FLAG_BYTES)
        unknown = ("an earlier operation", IndexError, OUT_OF_RANGE)
        text, error, says = flags.kept.get(int(site)) or flags.sites.get(int(site), unknown)
        raise error(f"{text}: {says.format(value=value, position=position)}")
