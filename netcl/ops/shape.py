"""Views and shape operations. Views cost nothing where strides allow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from netcl.autograd import tape
from netcl.codegen.ir import contiguous_strides
from netcl.core.dtypes import DType
from netcl.ops.formats import channels_last, channels_last_3d, contiguous_format, memory_format
from netcl.storage import is_view, layout, recording_views, share, unshared_view
from netcl.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["flatten", "flip", "narrow", "permute", "reshape", "squeeze", "t", "transpose", "unsqueeze"]
METHODS = [
    *__all__,
    *"clone contiguous dilate is_contiguous pad_with_zeros slice_axes storage_offset stride sum_to_shape".split(),
    *"expand view".split(),
]


def apply_view(op: str, input: Tensor, arg: Any) -> Tensor:
    result = unshared_view(op, input, arg)
    if recording_views() and is_view(op, input, arg):
        share(result, input, op, arg)
    return result


def shared_view(op: str, input: Tensor, arg: Any) -> Tensor:
    """`apply_view` where the result is known to be a view: it leaves out dimensions of size 1, or adds some."""
    result = unshared_view(op, input, arg)
    return share(result, input, op, arg) if recording_views() else result


def own_copy(view: Tensor) -> Tensor:
    """The elements of a view made just now as a tensor of its own. Values never change, so nothing has to move."""
    return tape._alias(view)


def sizes(name: str, given: tuple) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence."""
    if len(given) == 1 and not isinstance(given[0], int) and isinstance(given[0], Iterable):
        one = isinstance(given[0], Tensor) and not given[0].ndim  # a size on the device
        given = given if one else tuple(given[0])
    if not all(hasattr(size, "__index__") for size in given):
        raise TypeError(f"{name}: sizes must be integers, got {given}")
    return tuple(int(size) for size in given)


def is_whole(number: Any) -> TypeIs[int]:
    """Whether something is one integer: Python's, NumPy's, or a 0-d tensor, which is read where it is used."""
    return isinstance(number, (int, np.integer)) or (isinstance(number, Tensor) and not number.ndim)


def axis_of(name: str, dim: int, rank: int) -> int:
    """A dimension counted from the front; IndexError naming the range."""
    if type(dim) is not int:
        if not is_whole(dim):
            raise TypeError(f"{name}: a dimension must be an integer, got {dim!r}")
        dim = dim.__index__()
    limit = max(rank, 1)
    if not -limit <= dim < limit:
        raise IndexError(
            f"{name}: dimension {dim} is out of range for a tensor with {rank} dimensions ({-limit} to {limit - 1})"
        )
    return dim % limit


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one size may be -1. RuntimeError where the counts differ."""
    wanted = sizes("reshape", shape)
    count = input.numel()
    if -1 in wanted:
        known = prod(size for size in wanted if size != -1)
        if wanted.count(-1) > 1:
            raise RuntimeError("reshape: only one size can be -1")
        if not known or count % known:
            raise RuntimeError(f"reshape: shape {list(wanted)} is invalid for a tensor of shape {list(input.shape)}")
        wanted = tuple(count // known if size == -1 else size for size in wanted)
    if prod(wanted) != count or any(size < 0 for size in wanted):
        raise RuntimeError(
            f"reshape: shape {list(wanted)} is invalid for a tensor of shape {list(input.shape)} with {count} elements"
        )
    return apply_view("reshape", input, wanted)


def view(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape, shared. RuntimeError where they would have to move: use reshape.

    view(dtype): the same bytes as elements of another dtype, to be read only.
    """
    if len(shape) == 1 and isinstance(shape[0], DType):
        from netcl.ops.layouts import view_dtype

        return view_dtype(input, shape[0])
    result = reshape(input, *shape)
    if result._storage is None and recording_views():
        raise RuntimeError(
            f"view: shape {list(result.shape)} does not fit the size and stride of the input of shape "
            f"{list(input.shape)} without moving elements; use .reshape(...) instead"
        )
    return result


def permute(input: Tensor, *dims: Any) -> Tensor:
    """The dimensions in another order."""
    rank = input.ndim
    named = sizes("permute", dims)
    if len(named) != rank:
        raise RuntimeError(f"permute: {len(named)} dims {list(named)} for the {rank} of shape {list(input.shape)}")
    axes = tuple(axis_of("permute", d, rank) for d in named)
    if sorted(axes) != list(range(rank)):
        raise RuntimeError(
            f"permute: dims {list(axes)} are not an order of the {rank} dimensions of shape {list(input.shape)}"
        )
    return apply_view("permute", input, axes)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged."""
    rank = input.ndim
    a, b = axis_of("transpose", dim0, rank), axis_of("transpose", dim1, rank)
    if not rank:
        return input
    axes = list(range(rank))
    axes[a], axes[b] = b, a
    return apply_view("permute", input, tuple(axes))


def t(input: Tensor) -> Tensor:
    """The transpose of a tensor with at most two dimensions."""
    if input.ndim > 2:
        raise RuntimeError(f"t: expected at most 2 dimensions, got shape {list(input.shape)}; use .mT or .transpose()")
    return transpose(input, 0, 1) if input.ndim == 2 else input


def matrix_transpose(input: Tensor) -> Tensor:
    """The last two dimensions exchanged (`.mT`); a tensor without dimensions as it is."""
    if not input.ndim:
        return apply_view("permute", input, ())
    if input.ndim < 2:
        raise RuntimeError(f"mT: expected at least 2 dimensions, got shape {list(input.shape)}")
    return transpose(input, -2, -1)


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without dimensions of size 1: all of them, or those named."""
    rank = input.ndim
    chosen = range(rank) if dim is None else [dim] if is_whole(dim) else dim
    axes = {axis_of("squeeze", d, rank) for d in chosen}
    return apply_view("reshape", input, tuple(s for a, s in enumerate(input.shape) if a not in axes or s != 1))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new dimension of size 1 at dim."""
    axis = axis_of("unsqueeze", dim, input.ndim + 1)
    shape = input._value.shape
    return apply_view("reshape", input, shape[:axis] + (1,) + shape[axis:])


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim to end_dim as one."""
    rank = input.ndim
    first, last = axis_of("flatten", start_dim, rank), axis_of("flatten", end_dim, rank)
    if not rank:
        return input.reshape(1)
    if first > last:
        raise RuntimeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    shape = input._value.shape
    return apply_view("reshape", input, shape[:first] + (prod(shape[first : last + 1]),) + shape[last + 1 :])


def expand(input: Tensor, *shape: Any) -> Tensor:
    """Dimensions of size 1 repeated to the given sizes (-1 keeps), without a copy."""
    wanted = sizes("expand", shape)
    own = input._value.shape
    lead = len(wanted) - len(own)
    if lead < 0:
        raise RuntimeError(f"expand: shape {list(wanted)} has fewer dimensions than the tensor's {list(own)}")
    full = []
    for axis, size in enumerate(wanted):
        have = own[axis - lead] if axis >= lead else 1
        size = have if size == -1 and axis >= lead else size
        if size < 0 or (have != size and have != 1):
            raise RuntimeError(
                f"expand: size {size} does not fit the tensor's shape {list(own)} at dimension {axis}; "
                "only sizes of 1 expand"
            )
        full.append(size)
    if lead:
        input = apply_view("reshape", input, (1,) * lead + own)
    return input if input._value.shape == tuple(full) else apply_view("expand", input, tuple(full))


def sum_to_shape(input: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Summed over what broadcasting to input's shape repeated: the gradient of a broadcast."""
    own = input._value.shape
    if own == tuple(shape):
        return input
    lead = len(own) - len(shape)
    axes = tuple(range(lead)) + tuple(a + lead for a, size in enumerate(shape) if size == 1 and own[a + lead] != 1)
    reduced = tape.apply("sum", (input,), (axes, len(axes) > lead)) if axes else input
    return reduced if reduced._value.shape == tuple(shape) else apply_view("reshape", reduced, tuple(shape))


def slice_axes(input: Tensor, parts: Sequence[tuple[int, int, int]]) -> Tensor:
    """start, stop, step for each dimension, all in range; a negative step runs backwards."""
    return apply_view("slice", input, tuple(parts))


def flip(input: Tensor, *dims: Any) -> Tensor:
    """The named dimensions in reverse, as a new tensor."""
    named = [axis_of("flip", d, input.ndim) for d in sizes("flip", dims)]
    axes = set(named)
    if len(axes) != len(named):
        raise RuntimeError(f"flip: dims {list(dims)} name a dimension twice")
    return slice_axes(input, [(s - 1, -1, -1) if a in axes else (0, s, 1) for a, s in enumerate(input._value.shape)])


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Elements start .. start + length of one dimension."""
    if not input.ndim:
        raise RuntimeError("narrow: a 0-d tensor has no dimension to take a part of")
    axis = axis_of("narrow", dim, input.ndim)
    size = input.shape[axis]
    if not -size <= start <= size:
        raise IndexError(f"narrow: start {start} is outside dimension {dim} of size {size}")
    start = start + size if start < 0 else start
    if length < 0 or start + length > size:
        raise RuntimeError(f"narrow: start {start} and length {length} exceed dimension {dim} of size {size}")
    return slice_axes(
        input, [(start, start + length, 1) if a == axis else (0, s, 1) for a, s in enumerate(input.shape)]
    )


def pad_with_zeros(input: Tensor, widths: Sequence[tuple[int, int]]) -> Tensor:
    """Zeros before and after each dimension."""
    return apply_view("pad", input, tuple((int(low), int(high)) for low, high in widths))


def dilate(input: Tensor, shape: tuple[int, ...], parts: Sequence[tuple[int, int, int]]) -> Tensor:
    """The gradient of a slice with steps: elements put back where they came from, zeros between them."""
    result = input
    for axis, ((start, _, step), size) in enumerate(zip(parts, shape, strict=True)):
        own = result._value.shape
        count = own[axis]
        if step < 0:
            result = flip(result, axis)
            start, step = start + (count - 1) * step, -step
        if step > 1:
            spaced = result.reshape(*own[: axis + 1], 1, *own[axis + 1 :])
            widths = [(0, 0)] * (axis + 1) + [(0, step - 1)] + [(0, 0)] * (len(own) - axis - 1)
            result = pad_with_zeros(spaced, widths).reshape(*own[:axis], count * step, *own[axis + 1 :])
        length = result._value.shape[axis]
        keep = min(length, size - start)
        if keep < length:
            result = narrow(result, axis, 0, keep)
        result = pad_with_zeros(
            result, [(start, size - start - keep) if a == axis else (0, 0) for a in range(len(shape))]
        )
    return result


def stride(input: Tensor, dim: int | None = None) -> Any:
    """How many elements of the storage lie between neighbours, along each dimension or along dim."""
    strides, _ = layout(input)
    return strides if dim is None else strides[axis_of("stride", dim, input.ndim)]


def storage_offset(input: Tensor) -> int:
    """The place of the first element in the storage."""
    return layout(input)[1]


def is_contiguous(input: Tensor, *, memory_format: memory_format = contiguous_format) -> bool:
    """Whether the elements lie in order, without gaps; with channels_last, in the order of dimensions 0, 2, 3, 1 (with
    channels_last_3d, of 0, 2, 3, 4, 1)."""
    rank = {channels_last: 4, channels_last_3d: 5}.get(memory_format)
    if rank:
        return input.ndim == rank and is_contiguous(permute(input, (0, *range(2, rank), 1)))
    strides, expected = layout(input)[0], contiguous_strides(input._value.shape)
    if 0 in input._value.shape:
        return True
    return all(size == 1 or a == b for size, a, b in zip(input._value.shape, strides, expected, strict=True))


def contiguous(input: Tensor) -> Tensor:
    """The tensor itself if its elements lie in order, else a copy where they do."""
    return input if is_contiguous(input) else tape.apply("copy", (input,))


def clone(input: Tensor) -> Tensor:
    """A copy, connected to the gradient graph."""
    return tape.apply("copy", (input,))
