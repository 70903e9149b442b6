"""Fetcher: one batch of a dataset, read and put together; the same in this process and in a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netcl.data.collate import default_collate
from netcl.data.dataset import host_item
from netcl.data.host import batch_tensor
from netcl.data.iterable import IterableDataset


class Fetcher:
    """Batches for tasks: indices or one index of a dataset by index; of an IterableDataset how many samples, or None.

    StopIteration at the end of an IterableDataset.
    """

    def __init__(self, dataset: Any, collate: Callable, batched: bool, drop_last: bool) -> None:
        self.dataset = dataset
        self.collate = collate
        self.batched = batched
        self.drop_last = drop_last
        self.rest = iter(dataset) if isinstance(dataset, IterableDataset) else None
        self.fetch = self._next if self.rest is not None else self._batch if batched else self._sample

    def _sample(self, index: Any) -> Any:
        return self.collate(self.dataset[index])

    def _batch(self, indices: Any) -> Any:
        dataset = self.dataset
        if self.collate is not default_collate:
            return self.collate(_items(dataset, indices))
        host_batch = getattr(dataset, "host_batch", None)
        if host_batch is not None:
            return [batch_tensor(rows, device) for rows, device in host_batch(indices)]
        if hasattr(dataset, "__getitems__"):
            return default_collate(dataset.__getitems__(list(indices)))
        return default_collate([host_item(dataset, index) for index in indices])

    def _next(self, count: int | None) -> Any:
        assert self.rest is not None
        if count is None:
            return self.collate(next(self.rest))
        samples: list[Any] = []
        while len(samples) < count:
            try:
                samples.append(next(self.rest))
            except StopIteration:
                self.rest = iter(())  # a generator would do, but an iterator of the user's may start anew
                break
        if not samples or (self.drop_last and len(samples) < count):
            raise StopIteration
        return self.collate(samples)


def _items(dataset: Any, indices: Any) -> list[Any]:
    if hasattr(dataset, "__getitems__"):
        items: list[Any] = dataset.__getitems__(list(indices))
        return items
    return [dataset[index] for index in indices]
