"""Distinct values: unique, unique_consecutive. The host reads how many there are, a size of the result."""

from __future__ import annotations

from typing import Any

from netcl.core import dtypes
from netcl.ops import columns
from netcl.ops.creation import iota, zeros
from netcl.ops.joining import cat
from netcl.ops.scans import running
from netcl.ops.shape import axis_of
from netcl.ops.sorting import inverse_order, order, picked
from netcl.tensor import Tensor

__all__ = ["unique", "unique_consecutive"]
METHODS = __all__


def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """The distinct values (or slices along dim), in order, whether `sorted` asks for it or not.

    With return_inverse also where each element is among them, with return_counts how often each occurs. The host reads
    their count, a size of the result. NaNs are distinct from each other.

    >>> import netcl as nc
    >>> nc.tensor([3, 1, 3]).unique(return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    return _distinct("unique", input, return_inverse, return_counts, dim, True)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The values (or slices along dim) without those that equal the one before them; see `unique`."""
    return _distinct("unique_consecutive", input, return_inverse, return_counts, dim, False)


def _distinct(name: str, input: Tensor, inverse: bool, counts: bool, dim: int | None, in_order: bool) -> Any:
    input = input.detach()
    if dim is not None and not input.ndim:
        raise IndexError(f"{name}: a 0-d tensor has no dimension {dim}")
    axis = 0 if dim is None else axis_of(name, dim, input.ndim)
    items = input.reshape(-1) if dim is None or not input.ndim else input
    size = items._value.shape[axis]
    if not items.numel():
        if size:
            raise RuntimeError(f"{name}: slices along dimension {dim} of shape {list(input.shape)} have no elements")
        nothing = zeros(0, dtype=dtypes.int64, device=input.device)
        return _results(items, nothing if dim is not None else nothing.reshape(input.shape), nothing, inverse, counts)
    slices = items.transpose(0, axis).reshape(size, -1)
    positions = _slice_order(slices) if in_order else iota((size,), 0, input._value.device)
    arranged = slices.index_select(0, positions)
    new = (arranged.narrow(0, 1, size - 1) != arranged.narrow(0, 0, size - 1)).any(1)
    first = iota((1,), 0, input._value.device) == 0
    numbers = running("sum", cat([first, new]), 0) - 1
    count = int(numbers[-1].item()) + 1
    starts = _put(count, numbers.flip(0), iota((size,), 0, input._value.device).flip(0))  # the last put is the first
    values = items.index_select(axis, picked(positions, 0, starts))
    of_each = picked(numbers, 0, inverse_order(positions, 0))
    ends = cat([starts.narrow(0, 1, count - 1), iota((1,), 0, input._value.device) + size])
    return _results(
        values, of_each if dim is not None else of_each.reshape(input.shape), ends - starts, inverse, counts
    )


def _put(size: int, index: Tensor, source: Tensor) -> Tensor:
    return columns.scatter("set", size, index.reshape(1, -1, 1), source.reshape(1, -1, 1)).reshape(size)


def _slice_order(slices: Tensor) -> Tensor:
    """The permutation that sorts rows by their first element, then by the second, ..: by the last one first, stably."""
    width = slices.shape[1]
    positions = order(slices.select(1, width - 1), 0, False)
    for column in range(width - 2, -1, -1):
        positions = picked(positions, 0, order(picked(slices.select(1, column), 0, positions), 0, False))
    return positions


def _results(values: Tensor, places: Tensor, counted: Tensor, inverse: bool, counts: bool) -> Any:
    found = (values, *([places] if inverse else []), *([counted] if counts else []))
    return found if len(found) > 1 else values
