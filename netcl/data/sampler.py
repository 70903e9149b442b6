"""Samplers: in which order a DataLoader reads a dataset. The random ones give PyTorch's order for the same seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from netcl import draws
from netcl.random import Generator, default_generator, permutation, random_int64
from netcl.tensor import Tensor


class Sampler:
    """The base of samplers: write `__iter__()`, giving indices, and `__len__()`."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError("Subclasses of Sampler should implement __iter__.")


class SequentialSampler(Sampler):
    """0, 1, 2, .."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def order(self) -> np.ndarray:
        """One pass as an array."""
        return np.arange(len(self.data_source))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """A new random order each time; with replacement, num_samples independent draws.

    Without a generator of its own it is seeded from the default one each time.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={self.num_samples}")

    @property
    def num_samples(self) -> int:
        """How many indices one pass gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def order(self) -> np.ndarray:
        """One pass as an array."""
        count = len(self.data_source)
        generator = self.generator or Generator().manual_seed(random_int64())
        if self.replacement:
            with generator.lock:
                return draws.integers(generator.engine, self.num_samples, 0, count)
        passes, rest = divmod(self.num_samples, count)
        pieces = [permutation(count, generator) for _ in range(passes)]
        if rest:
            pieces.append(permutation(count, generator)[:rest])
        elif self.generator is not None:
            # PyTorch draws one order more and uses none of it, but the next pass depends on it.
            with generator.lock:
                generator.engine.words32(max(count - 1, 0))
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """The given indices in random order."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        return iter([self.indices[i] for i in permutation(len(self.indices), self.generator).tolist()])

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """num_samples indices, each drawn with a chance in proportion to its weight.

    weights: n numbers >= 0 (a list, an array or a tensor). ValueError unless it has one dimension; RuntimeError for
    negative or infinite weights, for none above 0, and without replacement for fewer weights above 0 than samples.
    Without replacement PyTorch's order differs on Intel CPUs, where it draws by MKL.
    """

    def __init__(
        self, weights: Any, num_samples: int, replacement: bool = True, generator: Generator | None = None
    ) -> None:
        if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={num_samples}")
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.weights = np.asarray(weights.tolist() if isinstance(weights, Tensor) else weights, np.float64)
        if self.weights.ndim != 1:
            raise ValueError(f"weights should be a 1d sequence but given weights have shape {self.weights.shape}")
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def order(self) -> np.ndarray:
        """One pass as an array: torch.multinomial's numbers for float64 weights."""
        weights, count = self.weights, self.num_samples
        if not (np.isfinite(weights) & (weights >= 0)).all():
            raise RuntimeError("WeightedRandomSampler: weights must be finite and not negative")
        if not weights.sum() > 0:
            raise RuntimeError("WeightedRandomSampler: no weight is above 0")
        if not self.replacement and count > np.count_nonzero(weights):
            raise RuntimeError(
                f"WeightedRandomSampler: cannot draw {count} samples without replacement from "
                f"{np.count_nonzero(weights)} weights above 0"
            )
        generator = self.generator or default_generator
        with generator.lock:
            return draws.choices(generator.engine, weights[None], count, self.replacement)[0]

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of batch_size indices of another sampler; the last one may be shorter, or is left out with drop_last."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def arrays(self) -> Iterator[Any]:
        """The batches as arrays of indices, where the sampler can give its order at once; else as lists."""
        make_order = getattr(self.sampler, "order", None)
        if make_order is None:
            yield from self
            return
        order = make_order()
        stop = len(order) - (len(order) % self.batch_size if self.drop_last else 0)
        for start in range(0, stop, self.batch_size):
            yield order[start : start + self.batch_size]

    def __iter__(self) -> Iterator[list[int]]:
        batch = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
