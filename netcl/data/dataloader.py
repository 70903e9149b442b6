"""DataLoader: batches of a dataset on the device, in PyTorch's order for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from netcl.data.collate import default_collate, default_convert
from netcl.data.dataset import host_item
from netcl.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from netcl.random import Generator, random_int64
from netcl.tensor import Tensor, upload


class DataLoader:
    """Iterate over a dataset in batches: DataLoader(dataset, batch_size=1, shuffle=False, ..) as in PyTorch.

    A TensorDataset is read by whole batches: one gather on the host and one upload for each of its tensors.
    Batches are on the device already, so `pin_memory` has nothing to do and is refused, as are workers for now.

    >>> import netcl as nc
    >>> from netcl.data import DataLoader, TensorDataset
    >>> [len(x) for (x,) in DataLoader(TensorDataset(nc.zeros(10, 2)), batch_size=4)]
    [4, 4, 2]
    """

    def __init__(
        self, dataset: Any, batch_size: int | None = 1, shuffle: bool | None = None, sampler: Iterable | None = None,
        batch_sampler: Iterable | None = None, num_workers: int = 0, collate_fn: Callable | None = None,
        pin_memory: bool = False, drop_last: bool = False, timeout: float = 0, worker_init_fn: Callable | None = None,
        *, generator: Generator | None = None, prefetch_factor: int | None = None, persistent_workers: bool = False,
    ) -> None:  # fmt: skip
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        _refuse(
            num_workers=num_workers, pin_memory=pin_memory, timeout=timeout, worker_init_fn=worker_init_fn,
            prefetch_factor=prefetch_factor, persistent_workers=persistent_workers,
        )  # fmt: skip
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
            )
        if batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if not hasattr(dataset, "__getitem__"):
            kind = type(dataset).__name__
            raise TypeError(f"DataLoader: {kind} has no __getitem__; only datasets that are read by index work")
        self.dataset = dataset
        self.generator = generator
        if sampler is None:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        self.sampler = sampler
        if batch_sampler is None and batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        elif batch_sampler is not None:
            batch_size = None
        self.batch_sampler = batch_sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)

    def __iter__(self) -> Iterator[Any]:
        random_int64(self.generator)  # the seed that PyTorch draws for its workers, here too
        return self._batches() if self.batch_sampler is not None else self._samples()

    def __len__(self) -> int:
        return len(self.batch_sampler if self.batch_sampler is not None else self.sampler)  # type: ignore[arg-type]

    def _samples(self) -> Iterator[Any]:
        for index in self.sampler:
            yield self.collate_fn(self.dataset[index])

    def _batches(self) -> Iterator[Any]:
        dataset, collate, sampler = self.dataset, self.collate_fn, self.batch_sampler
        assert sampler is not None
        host_batch = getattr(dataset, "host_batch", None)
        if collate is not default_collate:
            for indices in sampler:
                yield collate([dataset[index] for index in indices])
        elif host_batch is None:
            for indices in sampler:
                yield default_collate([host_item(dataset, index) for index in indices])
        else:
            for indices in sampler.arrays() if type(sampler) is BatchSampler else sampler:
                yield [_uploaded(rows, device) for rows, device in host_batch(indices)]


def _uploaded(rows: Any, device: Any) -> Tensor:
    """Rows of a tensor back to its device; rows of a NumPy array, which may be of any dtype, to the current one."""
    return Tensor(rows) if device is None else Tensor._wrap(upload(rows, device))


def _refuse(**asked: Any) -> None:
    """Raise for what is not here."""
    for name, value in asked.items():
        if value:
            raise NotImplementedError(
                f"DataLoader({name}={value!r}): batches are made in this process for now; leave {name} out"
            )
