"""Elements picked by index along a dimension, or from the tensor as one row."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd import tape
from netcl.core import dtypes
from netcl.graph.value import record
from netcl.ops import columns
from netcl.ops.creation import iota
from netcl.ops.elementwise import check_devices
from netcl.ops.shape import axis_of
from netcl.storage import unshared_view
from netcl.tensor import Tensor

__all__ = ["gather", "index_select", "select", "take", "take_along_dim"]
METHODS = __all__


def check_index(name: str, input: Tensor, index: Any) -> None:
    check_devices(name, input, index)
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"{name}: expected an int64 index, got {index.dtype}; convert it with .long()")


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on. RuntimeError for other dtypes than int64 and int32;
    IndexError, at the next read of a value, for an index out of range. Its gradient is never sparse.

    >>> import netcl as nc
    >>> nc.tensor([[1, 2], [3, 4]]).gather(1, nc.tensor([[1], [0]]))
    tensor([[2],
            [3]])
    """
    if sparse_grad:
        raise NotImplementedError("gather: sparse_grad=True is not there: netcl has no sparse tensors; leave it out")
    check_index("gather", input, index)
    axis = axis_of("gather", dim, input.ndim)
    if not input.ndim or not index.ndim:
        return _gather_without_dimensions(input, index)
    if index.ndim != input.ndim:
        raise RuntimeError(
            f"gather: index has shape {list(index.shape)}, input {list(input.shape)}; the ranks must be equal"
        )
    if not input.shape[axis] and index.numel():
        raise IndexError(
            f"gather: dimension {dim} of the input (shape {list(input.shape)}) is empty: no index is in range"
        )
    for a, (size, limit) in enumerate(zip(index.shape, input.shape, strict=True)):
        if a != axis and size > limit:
            raise RuntimeError(
                f"gather: index shape {list(index.shape)} exceeds input shape {list(input.shape)} at dimension {a}"
            )
    places = columns.checked("gather", index, input._value.shape[axis], 0)
    result = Tensor._wrap(record("gather", [input._value, places._value], axis))
    if input._tracked and tape.is_grad_enabled():
        tape._connect("gather", gather_gradient, (input, index), axis, (result,))
    return result


def _gather_without_dimensions(input: Tensor, index: Tensor) -> Tensor:
    """0-d tensors count as having one element along one dimension."""
    if input.ndim > 1 or index.ndim > 1:
        raise RuntimeError(
            f"gather: index has shape {list(index.shape)}, input {list(input.shape)}; the ranks must be equal"
        )
    return gather(input.reshape(input.numel()), 0, index.reshape(index.numel())).reshape(index._value.shape)


def gather_gradient(g: Tensor, y: Any, x: Any, index: Tensor, axis: int) -> tuple:
    """What was gathered from one place is added up there."""
    shape = tuple(x.shape)
    own = index._value.shape
    if own[axis] == 1:
        summed = _one_of_each(g, index, axis, shape[axis])
    else:
        folded = (prod(own[:axis]), own[axis], prod(own[axis + 1 :]))
        sums = columns.scatter("sum", shape[axis], index.reshape(folded), g.reshape(folded))
        summed = sums.reshape(*own[:axis], shape[axis], *own[axis + 1 :])
    widths = [(0, 0 if a == axis else size - have) for a, (size, have) in enumerate(zip(shape, own, strict=True))]
    return (summed.pad_with_zeros(widths) if any(high for _, high in widths) else summed), None


def _one_of_each(g: Tensor, index: Tensor, axis: int, size: int) -> Tensor:
    """One index for each row: a `where`, which fuses with what comes before and after (a loss of picked classes)."""
    spread = [1] * g.ndim
    spread[axis] = size
    places = iota((size,), 0, index.device).reshape(spread)
    return g.where(index == places, 0.0)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """input with the slices along dim that index (1-d, int64 or int32) names, in its order.

    IndexError for an index with more dimensions and, at the next read of a value, for one out of range.
    """
    check_index("index_select", input, index)
    axis = axis_of("index_select", dim, input.ndim)
    if index.ndim > 1:
        raise IndexError(f"index_select: index must have one dimension, got shape {list(index.shape)}")
    if not input.ndim:
        return index_select(input.reshape(1), 0, index).reshape(())
    shape = input._value.shape
    count = index.numel()
    if count and not shape[axis]:
        raise IndexError(f"index_select: dimension {dim} of shape {list(shape)} is empty: no index is in range")
    return columns.pick_slices("index_select", input, axis, index if index.ndim else index.reshape(1), 0)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at one place of a dimension, without it: a view. IndexError out of range."""
    axis = axis_of("select", dim, input.ndim)
    if not input.ndim:
        raise IndexError("select: a 0-d tensor has no dimension to select from")
    return input[(slice(None),) * axis + (index.__index__(),)]


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of input, taken as one row, at index; negative ones count from the end.

    IndexError, at the next read of a value, for an index out of range.
    """
    check_index("take", input, index)
    size, count = input.numel(), index.numel()
    if count and not size:
        raise IndexError("take: the input is empty: no index is in range")
    row, places = (unshared_view("reshape", t, (1, n, 1)) for t, n in ((input, size), (index, count)))
    return unshared_view("reshape", columns.pick(row, places, -size, "take"), index._value.shape)


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather` with input and indices broadcast in all dimensions but dim; without dim, `take` of the flat tensor."""
    check_index("take_along_dim", input, indices)
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    if input.ndim != indices.ndim:
        raise RuntimeError(
            f"take_along_dim: input of shape {list(input.shape)} and indices of shape {list(indices.shape)} must have "
            "the same number of dimensions"
        )
    axis = axis_of("take_along_dim", dim, input.ndim)
    own, wanted = list(input._value.shape), list(indices._value.shape)
    for a, (size, other) in enumerate(zip(input._value.shape, indices._value.shape, strict=True)):
        if a != axis:
            if size != other and 1 not in (size, other):
                raise RuntimeError(
                    f"take_along_dim: input of shape {list(input.shape)} and indices of shape {list(indices.shape)} "
                    f"can't be broadcast at dimension {a}"
                )
            own[a] = wanted[a] = other if size == 1 else size
    return gather(input.expand(own), axis, indices.expand(wanted))
