"""Reading by index: x[..] with ints, slices, None and ..., and gather."""

from __future__ import annotations

from typing import Any

import numpy as np

from netcl.autograd.tape import apply, apply_composite
from netcl.core import dtypes
from netcl.graph import flags
from netcl.graph.value import record_scalar, user_line
from netcl.ops.elementwise import check_devices
from netcl.ops.shape import apply_view, axis_of, slice_axes
from netcl.tensor import Tensor

__all__ = ["gather"]
METHODS = __all__


def is_basic(index: Any) -> bool:
    """Whether an index chooses a view: ints, slices, None and `...` only."""
    for item in index if isinstance(index, tuple) else (index,):
        if item is None or item is Ellipsis or isinstance(item, slice):
            continue
        if isinstance(item, (bool, np.bool_, list, Tensor, np.ndarray)) or not hasattr(item, "__index__"):
            return False
    return True


def setitem_value(input: Tensor, index: Any, value: Tensor) -> Tensor:
    """A tensor equal to input but for input[index], which is value."""
    raise NotImplementedError("assignment to an index with tensors, lists or bools is not here yet; use where")


def getitem(input: Tensor, index: Any) -> Tensor:
    """input[index] with ints, slices, None and `...`: a view. IndexError out of range, naming dimension and size."""
    items = list(index) if isinstance(index, tuple) else [index]
    for item in items:
        if isinstance(item, (Tensor, list)) or (hasattr(item, "dtype") and getattr(item, "ndim", 0) > 0):
            raise NotImplementedError("indexing with tensors and lists is not here yet; use gather or where")
    used = sum(item is not None and item is not Ellipsis for item in items)
    if used > input.ndim:
        raise IndexError(f"too many indices ({used}) for a tensor of {input.ndim} dimensions")
    if items.count(Ellipsis) > 1:
        raise IndexError("an index can contain only one ellipsis ('...')")
    if Ellipsis not in items:
        items.append(Ellipsis)
    at = items.index(Ellipsis)
    items[at : at + 1] = [slice(None)] * (input.ndim - used)
    parts: list[tuple[int, int, int]] = []
    shape: list[int] = []
    for item in items:
        if item is None:
            shape.append(1)
            continue
        size = input._value.shape[len(parts)]
        parts.append(_part(item, size, len(parts)))
        if isinstance(item, slice):
            shape.append(len(range(*parts[-1])))
    result = (
        input
        if all(p == (0, s, 1) for p, s in zip(parts, input._value.shape, strict=True))
        else slice_axes(input, parts)
    )
    same = result is not input and result._value.shape == tuple(shape)
    return result if same else apply_view("reshape", result, tuple(shape))


def _part(item: Any, size: int, dimension: int) -> tuple[int, int, int]:
    if isinstance(item, slice):
        if item.step is not None and item.step <= 0:
            raise ValueError(f"slice step must be positive, got {item.step}; use flip for the reverse")
        start, stop, step = item.indices(size)
        count = len(range(start, stop, step))
        return (start, start + count * step if step > 1 else start + count, step) if count else (0, 0, 1)
    if isinstance(item, (bool, np.bool_)):
        raise NotImplementedError("indexing with a bool is not here yet; use where")
    if not hasattr(item, "__index__"):
        raise IndexError(f"indices must be integers, slices, ..., None, got {type(item).__name__}")
    place = item.__index__()
    if not -size <= place < size:
        raise IndexError(f"index {place} is out of bounds for dimension {dimension} with size {size}")
    place %= size
    return (place, place + 1, 1)


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on. RuntimeError for other dtypes than int64 and int32;
    IndexError, at the next read of a value, for an index out of range."""
    check_devices("gather", input, index)
    axis = axis_of("gather", dim, input.ndim)
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"gather: expected an int64 index, got {index.dtype}")
    if index.ndim != input.ndim:
        raise RuntimeError(
            f"gather: index has shape {list(index.shape)}, input {list(input.shape)}; the ranks must be equal"
        )
    if input.ndim and not input.shape[axis] and index.numel():
        raise IndexError(
            f"gather: dimension {dim} of the input (shape {list(input.shape)}) is empty: no index is in range"
        )
    for a, (size, limit) in enumerate(zip(index.shape, input.shape, strict=True)):
        if a != axis and size > limit:
            raise RuntimeError(
                f"gather: index shape {list(index.shape)} exceeds input shape {list(input.shape)} at dimension {a}"
            )
    device = input._value.device
    size = input._value.shape[axis]
    site = Tensor._wrap(record_scalar(flags.new_site(device, f"gather ({user_line()})"), dtypes.int32, device))
    index = apply("check", (index, (index >= 0) & (index < size), site))
    return apply_composite("gather", (input, index), axis, _gather_gradient)


def _gather_gradient(g: Tensor, y: Any, x: Any, index: Tensor, axis: int) -> tuple:
    """One row of dim at a time: d x[.., c, ..] = sum of g where index == c. Dense, and without atomics."""
    from netcl.ops.creation import iota

    shape = tuple(x.shape)
    count = index.shape[axis]
    places = iota((shape[axis],), 0, index.device)
    spread = [1] * (len(shape) + 1)
    spread[axis] = shape[axis]
    hit = index.unsqueeze(axis) == places.reshape(spread)
    full = g.unsqueeze(axis).where(hit, 0.0)
    summed = full.squeeze(axis + 1) if count == 1 else full.sum(axis + 1)
    widths = [(0, 0 if a == axis else size - own) for a, (size, own) in enumerate(zip(shape, index.shape, strict=True))]
    return (summed.pad_with_zeros(widths) if any(high for _, high in widths) else summed), None

