"""Notice a fork: OpenCL's threads do not survive it, so a child that uses a device would hang."""

from __future__ import annotations

import os

opened = False  # this process has loaded the OpenCL runtimes
forked = False  # this process is a fork of one that had


def _after_fork_in_child() -> None:
    global forked
    forked = forked or opened


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def check() -> None:
    """Raise RuntimeError in a process forked after OpenCL was first used."""
    if forked:
        raise RuntimeError(
            "this process was forked after its parent had used an OpenCL device; OpenCL does not survive a fork. "
            "Start it with multiprocessing's 'spawn' method, or fork before netcl is first used"
        )
