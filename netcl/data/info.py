"""get_worker_info: which of a DataLoader's workers this process is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class WorkerInfo:
    """One worker process: its number, how many there are, its seed (the epoch's base seed + id), its dataset's copy."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """This process's WorkerInfo in a DataLoader's worker, None elsewhere: how an IterableDataset gives each its part.

    >>> from netcl.data import get_worker_info
    >>> get_worker_info() is None
    True
    """
    return _info


def set_worker_info(info: WorkerInfo) -> None:
    """Called once, at a worker's start."""
    global _info
    _info = info
