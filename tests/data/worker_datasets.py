"""Datasets for the tests of worker processes: a worker imports this file, not the tests."""

from __future__ import annotations

import os
import random
import sys
import time
from typing import Any

import numpy as np

import netcl as nc
from netcl import data


class Rows(data.Dataset):
    """n samples {"x": [i, i], "name": "i"}."""

    def __init__(self, n: int = 20) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        return {"x": np.full(2, index, np.float32), "name": str(index), "half": index / 2}


class Holder(data.Dataset):
    """Samples of a tensor that the dataset holds, with arithmetic on them."""

    def __init__(self, n: int = 12) -> None:
        self.x = nc.arange(n).to(nc.float32).reshape(n, 1)
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        return self.x[index] * 2, index


class Random(Rows):
    """What the worker's generators give."""

    def __getitem__(self, index: int) -> Any:
        info = data.get_worker_info()
        assert info is not None and info.dataset is self
        drawn = (random.random(), np.random.rand(), nc.random.permutation(1000).tolist())  # noqa: NPY002
        return (info.id, info.num_workers, info.seed, *drawn)


class Modules(Rows):
    """Whether the worker has imported pyopencl."""

    def __getitem__(self, index: int) -> Any:
        return "pyopencl" in sys.modules, os.getpid()


class UnevenPace(Rows):
    """Sample 0 comes last."""

    def __getitem__(self, index: int) -> Any:
        if index == 0:
            time.sleep(0.5)
        return index


class Failing(Rows):
    """Sample 5 raises `error`."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def __getitem__(self, index: int) -> Any:
        if index == 5:
            raise self.error
        return index


class Picky(Exception):
    """An error whose constructor wants two arguments."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)

    def __reduce__(self) -> Any:
        return Picky, self.args


class Dying(Rows):
    """Sample 5 ends the process."""

    def __getitem__(self, index: int) -> Any:
        if index == 5:
            os._exit(3)
        return index


class Sleeping(Rows):
    """Every sample takes a minute."""

    def __getitem__(self, index: int) -> Any:
        time.sleep(60)
        return index


class UsesDevice(Rows):
    """Makes a tensor in the worker."""

    def __getitem__(self, index: int) -> Any:
        return nc.ones(3) * index


class Stream(data.IterableDataset):
    """0 .. n - 1, split between the workers if asked."""

    def __init__(self, n: int, split: bool = True) -> None:
        self.n, self.split = n, split

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Any:
        info = data.get_worker_info()
        if info is None or not self.split:
            return iter(range(self.n))
        return iter(range(info.id, self.n, info.num_workers))


def as_plain_arrays(samples: list[Any]) -> Any:
    """A collate function that gives NumPy arrays and uses default_collate for a part."""
    return np.array([sample["half"] for sample in samples]), data.default_collate([sample["x"] for sample in samples])


def fail_at_start(worker: int) -> None:
    """A worker_init_fn that raises in worker 1."""
    if worker == 1:
        raise ValueError("no start for me")


def reseed(worker: int) -> None:
    """A worker_init_fn that changes the dataset's copy."""
    info = data.get_worker_info()
    assert info is not None
    info.dataset.n = 100 + worker


class Marked(Rows):
    """What worker_init_fn left in the copy."""

    def __getitem__(self, index: int) -> Any:
        return self.n
