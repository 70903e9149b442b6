"""DataLoader: batches of a dataset on the device, in PyTorch's order for the same seed."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from netcl.data.batches import WorkerBatches
from netcl.data.collate import default_collate, default_convert
from netcl.data.fetch import Fetcher
from netcl.data.iterable import IterableDataset
from netcl.data.pool import Pool
from netcl.data.prefetch import Prefetched
from netcl.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from netcl.data.worker import Job, run
from netcl.random import Generator, random_int64


class DataLoader:
    """Iterate over a dataset in batches: DataLoader(dataset, batch_size=1, shuffle=False, ..) as in PyTorch.

    With num_workers the dataset is copied to that many processes, which read batches ahead (prefetch_factor each) as
    NumPy arrays; the tensors are made here. A worker never uses a device: the tensors of its dataset are NumPy arrays.
    As a worker imports the script, that must do its work under `if __name__ == "__main__":`.

    A TensorDataset is read by whole batches: one gather on the host and one upload for each of its tensors.
    pin_memory: batches are read by a thread, two ahead, and copied beside the kernels, as by netcl.data.prefetch; to
    pin_memory_device, or where they would be without. prefetch_to=device is the same for a device. in_order is a hint
    without effect: batches come in order.
    ValueError for options that exclude each other; an error in a worker is raised here with the worker's traceback.

    >>> import netcl as nc
    >>> from netcl.data import DataLoader, TensorDataset
    >>> [len(x) for (x,) in DataLoader(TensorDataset(nc.zeros(10, 2)), batch_size=4)]
    [4, 4, 2]
    """

    def __init__(
        self, dataset: Any, batch_size: int | None = 1, shuffle: bool | None = None, sampler: Iterable | None = None,
        batch_sampler: Iterable | None = None, num_workers: int = 0, collate_fn: Callable | None = None,
        pin_memory: bool = False, drop_last: bool = False, timeout: float = 0, worker_init_fn: Callable | None = None,
        multiprocessing_context: Any = None, generator: Generator | None = None, *,
        prefetch_factor: int | None = None, persistent_workers: bool = False, pin_memory_device: str = "",
        in_order: bool = True, prefetch_to: Any = None,
    ) -> None:  # fmt: skip
        _check_worker_options(num_workers, timeout, prefetch_factor, persistent_workers)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
            )
        if batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        self.dataset = dataset
        self.generator = generator
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.in_order = in_order
        self.prefetch_to = prefetch_to
        self.iterable = isinstance(dataset, IterableDataset)
        if self.iterable:
            for name, option in (("shuffle", shuffle), ("sampler", sampler), ("batch_sampler", batch_sampler)):
                if option:
                    raise ValueError(f"DataLoader with IterableDataset: expected unspecified {name} option")
            if batch_size is not None:
                BatchSampler([], batch_size, drop_last)  # raises what is wrong with them
        elif not hasattr(dataset, "__getitem__"):
            kind = type(dataset).__name__
            raise TypeError(f"DataLoader: {kind} has no __getitem__, and it is no IterableDataset")
        else:
            if sampler is None:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
            if batch_sampler is None and batch_size is not None:
                batch_sampler = BatchSampler(sampler, batch_size, drop_last)
            elif batch_sampler is not None:
                batch_size = None
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.batched = batch_sampler is not None or batch_size is not None
        self.num_workers = num_workers
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.prefetch_factor = (prefetch_factor or 2) if num_workers else None
        self.persistent_workers = persistent_workers
        self.multiprocessing_context = _context(multiprocessing_context, num_workers)
        self.collate_fn = collate_fn or (default_collate if self.batched else default_convert)
        self._pool: Pool | None = None

    def __iter__(self) -> Iterator[Any]:
        if self.prefetch_to is not None or self.pin_memory:
            device = self.prefetch_to if self.prefetch_to is not None else self.pin_memory_device or None
            return Prefetched(self._iterated, device, 2)
        return self._iterated()

    def _iterated(self) -> Iterator[Any]:
        """One pass, read by the thread that asks."""
        if not self.num_workers:
            random_int64(self.generator)  # the seed that PyTorch draws for its workers, here too
            return self._batches()
        pool = self._pool
        if pool is None or pool.closed:
            pool = self._started(random_int64(self.generator))
            self._pool = pool if self.persistent_workers else None
        return WorkerBatches(pool, self._tasks(), self.prefetch_factor or 2, self.timeout, self.persistent_workers)

    def __len__(self) -> int:
        if not self.iterable:
            return len(self.batch_sampler if self.batch_sampler is not None else self.sampler)  # type: ignore[arg-type]
        count = len(self.dataset)
        if self.batch_size is None:
            return count
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def _tasks(self) -> Iterator[Any]:
        """What a Fetcher gets for each batch."""
        if self.iterable:
            return itertools.repeat(self.batch_size)
        if type(self.batch_sampler) is BatchSampler:
            return self.batch_sampler.arrays() if hasattr(self.dataset, "host_batch") else iter(self.batch_sampler)
        return iter(self.batch_sampler if self.batch_sampler is not None else self.sampler)  # type: ignore[arg-type]

    def _batches(self) -> Iterator[Any]:
        fetcher = Fetcher(self.dataset, self.collate_fn, self.batched, self.drop_last)
        for task in self._tasks():
            try:
                batch = fetcher.fetch(task)
            except StopIteration:
                if fetcher.rest is None:  # the dataset's own mistake, which must not pass for the end
                    raise
                return
            yield batch

    def _started(self, seed: int) -> Pool:
        jobs = [
            Job(
                self.dataset, self.collate_fn, self.batched, self.drop_last, self.worker_init_fn, seed, worker,
                self.num_workers,
            )
            for worker in range(self.num_workers)
        ]  # fmt: skip
        return Pool(self.multiprocessing_context, run, jobs)


def _check_worker_options(workers: int, timeout: float, prefetch: int | None, persistent: bool) -> None:
    if workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if not workers:
        for name, option in (("timeout", timeout), ("prefetch_factor", prefetch), ("persistent_workers", persistent)):
            if option:
                raise ValueError(f"{name} option could only be specified in multiprocessing: it needs num_workers > 0")
    elif prefetch is not None and prefetch <= 0:
        raise ValueError("prefetch_factor option should be positive")


def _context(asked: Any, workers: int) -> Any:
    """The multiprocessing context: 'spawn' unless 'forkserver' is asked for."""
    if asked is None:
        return multiprocessing.get_context("spawn") if workers else None
    if not workers:
        raise ValueError("multiprocessing_context can only be used with multi-process loading (num_workers > 0)")
    context = multiprocessing.get_context(asked) if isinstance(asked, str) else asked
    if context.get_start_method() == "fork":
        raise ValueError("multiprocessing_context='fork': OpenCL does not survive a fork; use 'spawn' or 'forkserver'")
    return context
