"""IterableDataset: samples that come one after the other, not by index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from netcl.data.dataset import Dataset


class IterableDataset(Dataset):
    """The base of datasets that are read in one order: write `__iter__()`, and `__len__()` where it is known.

    Each worker of a DataLoader iterates over a copy of its own, so the samples come once per worker unless
    `__iter__` takes a part by `get_worker_info()`.
    """

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")

    def __getitem__(self, index: Any) -> Any:
        raise TypeError(f"{type(self).__name__} is an IterableDataset: iterate over it, it has no samples by index")

    def __add__(self, other: Dataset) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class ChainDataset(IterableDataset):
    """IterableDatasets one after the other. TypeError, when iterated over, if one is of another kind."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)

    def _checked(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise TypeError(f"ChainDataset only supports IterableDataset, not {type(dataset).__name__}")
            yield dataset

    def __iter__(self) -> Iterator[Any]:
        for dataset in self._checked():
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self._checked())
