"""Finding places and members in sorted sequences: searchsorted, bucketize, isin; places as coordinates."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.tape import apply
from netcl.core import dtypes
from netcl.core.dtypes import promote
from netcl.ops.creation import full, tensor, zeros
from netcl.ops.division import floor_divide, remainder
from netcl.ops.elementwise import as_tensor_like, check_devices
from netcl.ops.shape import sizes
from netcl.ops.sorting import picked, sort
from netcl.tensor import Tensor

__all__ = ["bucketize", "isin", "searchsorted", "unravel_index"]
METHODS: list[str] = []


def searchsorted(
    sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where each element of input belongs in sorted_sequence, along the last dimension: before equal elements, behind
    them with right=True (side="right").

    sorted_sequence is 1-d, or has input's shape apart from the last dimension. sorter is the permutation that sorts
    it, where it is not in order. int64, or int32 with out_int32. The two are compared in the dtype that
    they are promoted to. RuntimeError for other shapes.

    >>> import netcl as nc
    >>> nc.searchsorted(nc.tensor([1, 3, 5]), nc.tensor([3, 6]))
    tensor([1, 3])
    """
    if side not in (None, "left", "right"):
        raise RuntimeError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    if side == "left" and right:
        raise RuntimeError("searchsorted: side is 'left' and right is True; give one of them")
    right = right or side == "right"
    if isinstance(input, Tensor):
        values = input
    elif isinstance(input, float):
        values = as_tensor_like(input, sorted_sequence)  # between integers, too
    else:
        values = tensor(input, sorted_sequence.dtype, sorted_sequence.device)
    check_devices("searchsorted", sorted_sequence, values)
    both = promote(sorted_sequence.dtype, values.dtype)
    sorted_sequence, values = sorted_sequence.to(both), values.to(both)
    if not sorted_sequence.ndim:
        raise RuntimeError("searchsorted: the sequence must have at least 1 dimension")
    sequence = sorted_sequence.detach()
    if sorter is not None:
        if sorter.shape != sequence.shape or sorter.dtype is not dtypes.int64:
            raise RuntimeError(
                f"searchsorted: sorter must be int64 of shape {list(sequence.shape)}, got {sorter.dtype} of shape "
                f"{list(sorter.shape)}"
            )
        sequence = sequence.gather(-1, sorter)
    found = _search(sequence, values.detach(), "right" if right else "left")
    return found.to(dtypes.int32) if out_int32 else found


def _search(sequence: Tensor, values: Tensor, how: str) -> Tensor:
    lead, length = tuple(sequence.shape[:-1]), sequence.shape[-1]
    if lead and lead != tuple(values.shape[:-1]):
        raise RuntimeError(
            f"searchsorted: a sequence of shape {list(sequence.shape)} needs values whose shape differs in the last "
            f"dimension only, or must be 1-d; got {list(values.shape)}"
        )
    if not length or not values.numel():
        return zeros(*values.shape, dtype=dtypes.int64, device=values.device)
    rows = sequence.reshape(prod(lead), length)
    wanted = values.reshape(prod(lead), values.shape[-1]) if lead else values.reshape(1, values.numel())
    return apply("search", (rows, wanted), how).reshape(values._value.shape)


def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of the bucket between boundaries (1-d, in order) that each element is in: see `searchsorted`."""
    if boundaries.ndim != 1:
        raise RuntimeError(f"bucketize: boundaries must be 1-d, got shape {list(boundaries.shape)}")
    if isinstance(input, Tensor) and input.dtype is not boundaries.dtype:
        both = promote(input.dtype, boundaries.dtype)
        input, boundaries = input.to(both), boundaries.to(both)
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Which elements are among test_elements (with invert: which are not). One of the two may be a number.

    assume_unique changes nothing: it would only save work that is not done here.

    >>> import netcl as nc
    >>> nc.isin(nc.tensor([1, 2, 3]), nc.tensor([3, 1]))
    tensor([ True, False,  True])
    """
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin: expected at least one tensor")
    if not isinstance(elements, Tensor):
        elements = as_tensor_like(elements, test_elements)
    if not isinstance(test_elements, Tensor):
        found = elements == as_tensor_like(test_elements, elements)
        return found.logical_not() if invert else found
    check_devices("isin", elements, test_elements)
    both = promote(elements.dtype, test_elements.dtype)
    wanted, known = elements.detach().to(both), test_elements.detach().to(both).reshape(-1)
    if not known.numel():
        return full(tuple(elements.shape), invert, dtypes.bool_, elements.device)
    known = sort(known, 0).values
    places = _search(known, wanted, "below").clamp(max=known.numel() - 1)
    hit = picked(known, 0, places.reshape(-1)).reshape(wanted._value.shape) == wanted
    return hit.logical_not() if invert else hit


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Places in a flattened tensor as coordinates, one tensor for each dimension of its shape.

    >>> import netcl as nc
    >>> [c.tolist() for c in nc.unravel_index(nc.tensor([0, 5]), (2, 3))]
    [[0, 1], [0, 2]]
    """
    if not isinstance(indices, Tensor) or indices.dtype.category != 1:
        raise TypeError("unravel_index: expected indices as an integer tensor")
    lengths = sizes("unravel_index", (shape,) if not isinstance(shape, int) else ((shape,),))
    if any(length < 0 for length in lengths):
        raise ValueError(f"unravel_index: sizes must not be negative, got {list(lengths)}")
    coordinates = []
    for length in reversed(lengths):
        coordinates.append(remainder(indices, length).long())
        indices = floor_divide(indices, length)
    return tuple(reversed(coordinates))
