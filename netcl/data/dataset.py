"""Datasets: things with a length and samples by index.

Samples travel as host arrays inside a DataLoader (`host_item`, `host_batch`) and are uploaded once per batch.
"""

from __future__ import annotations

import bisect
import math
import warnings
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from netcl.graph.transfer import to_host
from netcl.random import Generator, permutation
from netcl.tensor import Tensor


class Dataset:
    """The base of datasets: write `__getitem__(index)` and `__len__()`."""

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


def host_item(dataset: Any, index: int) -> Any:
    """One sample, with NumPy arrays instead of tensors where the dataset can give them."""
    own = getattr(dataset, "_host_item", None)
    return dataset[index] if own is None else own(index)


class TensorDataset(Dataset):
    """Rows of tensors or NumPy arrays of one length: sample i is (a[i], b[i], ..).

    ValueError where the lengths differ. A tensor's elements are copied to the host once, when first read.
    """

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise ValueError("TensorDataset: expected at least one tensor")
        for tensor in tensors:
            if not isinstance(tensor, (Tensor, np.ndarray)) or not tensor.ndim:
                kind = type(tensor).__name__
                raise TypeError(f"TensorDataset: expected tensors or NumPy arrays with a first dimension, got {kind}")
        lengths = [len(tensor) for tensor in tensors]
        if len(set(lengths)) != 1:
            raise ValueError(f"Size mismatch between tensors: first sizes {lengths}")
        self.tensors = tensors
        self._copies: list[tuple[Any, np.ndarray] | None] = [None] * len(tensors)

    def __getitem__(self, index: Any) -> tuple:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_copies": [None] * len(self.tensors)}

    def _host(self, number: int) -> np.ndarray:
        """The elements of one tensor on the host; copied again if the tensor has been changed since."""
        tensor = self.tensors[number]
        if isinstance(tensor, np.ndarray):
            return tensor
        copy = self._copies[number]
        if copy is None or copy[0] is not tensor._value:
            copy = self._copies[number] = (tensor._value, to_host(tensor._value))
        return copy[1]

    def _host_item(self, index: int) -> tuple:
        return tuple(self._host(number)[index] for number in range(len(self.tensors)))

    def host_batch(self, indices: Any) -> list[tuple[np.ndarray, Any]]:
        """(rows, device) of each tensor: what a batch is uploaded from."""
        chosen = np.asarray(indices, np.intp)
        return [
            (self._host(number)[chosen], tensor.device if isinstance(tensor, Tensor) else None)
            for number, tensor in enumerate(self.tensors)
        ]


class Subset(Dataset):
    """The samples of a dataset at the given indices, in their order."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices
        if hasattr(dataset, "host_batch"):
            self.host_batch = self._host_batch

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Several samples at once, by the dataset's own way where it has one."""
        chosen = [self.indices[i] for i in indices]
        own = getattr(self.dataset, "__getitems__", None)
        return [host_item(self.dataset, i) for i in chosen] if own is None else own(chosen)

    def __len__(self) -> int:
        return len(self.indices)

    def _host_item(self, index: int) -> Any:
        return host_item(self.dataset, self.indices[index])

    def _host_batch(self, indices: Any) -> Any:
        return self.dataset.host_batch(np.asarray(self.indices)[indices])


class ConcatDataset(Dataset):
    """Several datasets, one after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("datasets should not be an empty iterable")
        self.cumulative_sizes = list(accumulate(len(dataset) for dataset in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def _place(self, index: int) -> tuple[Any, int]:
        """The dataset that holds a sample, and the sample's index there; IndexError out of range."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        index %= len(self)
        number = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[number], index - (self.cumulative_sizes[number - 1] if number else 0)

    def __getitem__(self, index: int) -> Any:
        dataset, own = self._place(index)
        return dataset[own]

    def _host_item(self, index: int) -> Any:
        return host_item(*self._place(index))


class StackDataset(Dataset):
    """Datasets of one length side by side: sample i is a tuple of their samples i, or a dict with the keywords' names.

    ValueError where the lengths differ, for none at all, and for both positional and keyword datasets.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError("StackDataset: give the datasets either by position (a tuple) or by keyword (a dict)")
        self.datasets: Any = args or kwargs
        parts = self._parts()
        if not parts:
            raise ValueError("At least one dataset should be passed")
        if len({len(part) for part in parts}) != 1:
            raise ValueError(f"Size mismatch between datasets: lengths {[len(part) for part in parts]}")

    def _parts(self) -> list[Any]:
        return list(self.datasets.values() if isinstance(self.datasets, dict) else self.datasets)

    def _sample(self, entries: list[Any]) -> Any:
        return dict(zip(self.datasets, entries, strict=True)) if isinstance(self.datasets, dict) else tuple(entries)

    def __len__(self) -> int:
        return len(self._parts()[0])

    def __getitem__(self, index: int) -> Any:
        return self._sample([part[index] for part in self._parts()])

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Several samples at once, by each dataset's own way where it has one. ValueError where it gives another
        number of them."""
        columns = []
        for part in self._parts():
            own = getattr(part, "__getitems__", None)
            column = [host_item(part, i) for i in indices] if own is None else own(indices)
            if len(column) != len(indices):
                raise ValueError(
                    f"Nested dataset's output size mismatch. Expected {len(indices)}, got {len(column)}"
                )
            columns.append(column)
        return [self._sample(list(entries)) for entries in zip(*columns, strict=True)]

    def _host_item(self, index: int) -> Any:
        return self._sample([host_item(part, index) for part in self._parts()])


def random_split(dataset: Any, lengths: Sequence[int | float], generator: Generator | None = None) -> list[Subset]:
    """Subsets of the given lengths, or of fractions that add up to 1, with samples drawn as PyTorch draws them."""
    sizes: list[Any] = list(lengths)
    if math.isclose(sum(sizes), 1) and sum(sizes) <= 1:
        for number, fraction in enumerate(sizes):
            if not 0 <= fraction <= 1:
                raise ValueError(f"Fraction at index {number} is not between 0 and 1")
        sizes = [math.floor(len(dataset) * fraction) for fraction in sizes]
        for number in range(len(dataset) - sum(sizes)):
            sizes[number % len(sizes)] += 1
        for number, size in enumerate(sizes):
            if size == 0:
                warnings.warn(
                    f"Length of split at index {number} is 0. This might result in an empty dataset.", stacklevel=2
                )
    if sum(sizes) != len(dataset):
        raise ValueError(
            f"Sum of input lengths ({sum(sizes)}) does not equal the length of the input dataset ({len(dataset)})"
        )
    order = permutation(len(dataset), generator).tolist()
    ends = list(accumulate(int(size) for size in sizes))
    return [Subset(dataset, order[end - int(size) : end]) for end, size in zip(ends, sizes, strict=True)]
