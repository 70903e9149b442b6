"""DistributedSampler: each process's share of a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from math import ceil

from netcl.data.sampler import Sampler
from netcl.random import Generator, permutation


class DistributedSampler(Sampler):
    """The indices of one of num_replicas processes: every num_replicas-th, in an order drawn from seed + epoch.

    Shares are of one length: some indices come twice, or with drop_last some are left out. Call set_epoch(n) for
    another order. RuntimeError where num_replicas or rank is missing: there is no process group to ask.
    """

    def __init__(
        self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True,
        seed: int = 0, drop_last: bool = False,
    ) -> None:  # fmt: skip
        if num_replicas is None or rank is None:
            raise RuntimeError("DistributedSampler: pass num_replicas and rank, there is no process group to ask")
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        count = len(dataset)
        whole = drop_last and count % num_replicas
        self.num_samples = ceil((count - num_replicas) / num_replicas) if whole else ceil(count / num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        count = len(self.dataset)
        indices = list(range(count))
        if self.shuffle:
            indices = permutation(count, Generator().manual_seed(self.seed + self.epoch)).tolist()
        if indices and len(indices) < self.total_size:
            indices *= ceil(self.total_size / len(indices))
        return iter(indices[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Take the order of another epoch."""
        self.epoch = epoch
