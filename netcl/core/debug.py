"""The NETCL_DEBUG ladder: 0 says nothing, 5 says everything."""

from __future__ import annotations

import os
import sys


def _read_level() -> int:
    """The level in NETCL_DEBUG, 0 to 5; ValueError for anything else."""
    text = os.environ.get("NETCL_DEBUG", "").strip() or "0"
    if text not in {"0", "1", "2", "3", "4", "5"}:
        raise ValueError(f"NETCL_DEBUG must be a whole number from 0 to 5, not {text!r}")
    return int(text)


level: int = _read_level()


def log(at_level: int, text: str) -> None:
    """Write `text` to stderr if the debug level is at least `at_level`."""
    if level >= at_level:
        print(text, file=sys.stderr, flush=True)
