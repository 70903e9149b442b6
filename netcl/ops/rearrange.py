"""Views that only name, order or group dimensions anew, and the shapes that tensors broadcast to."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from netcl.graph import primitives
from netcl.ops.elementwise import check_devices
from netcl.ops.shape import (
    apply_view,
    axis_of,
    expand,
    is_whole,
    matrix_transpose,
    permute,
    reshape,
    sizes,
    transpose,
    view,
)
from netcl.tensor import Size, Tensor

__all__ = [
    "adjoint", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_shapes", "broadcast_tensors",
    "broadcast_to", "meshgrid", "moveaxis", "movedim", "ravel", "swapaxes", "swapdims", "unflatten",
]  # fmt: skip
METHODS = [
    "adjoint", "broadcast_to", "expand_as", "moveaxis", "movedim", "ravel", "reshape_as", "swapaxes",
    "sum_to_size", "swapdims", "unflatten", "view_as",
]  # fmt: skip


# ---- grouping ----------------------------------------------------------------------------------------------------


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """input in other's shape."""
    return reshape(input, other._value.shape)


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """input in other's shape, its elements shared. RuntimeError where they would have to move."""
    return view(input, other._value.shape)


def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension."""
    return reshape(input, -1) if input.numel() else reshape(input, 0)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Dimension dim split into several; one size may be -1.

    >>> import netcl as nc
    >>> nc.zeros(3, 8).unflatten(1, (2, -1)).shape
    netcl.Size([3, 2, 4])
    """
    axis = axis_of("unflatten", dim, input.ndim)
    shape = input._value.shape
    if not shape:
        raise IndexError("unflatten: a 0-d tensor has no dimension to split; use reshape")
    parts = [int(size) for size in sizes]
    if not parts:
        raise RuntimeError("unflatten: sizes must not be empty")
    if parts.count(-1) > 1:
        raise RuntimeError("unflatten: only one size can be -1")
    known = prod(size for size in parts if size != -1)
    if -1 in parts and known and shape[axis] % known == 0:
        parts[parts.index(-1)] = shape[axis] // known
    if prod(parts) != shape[axis] or min(parts) < 0:
        raise RuntimeError(
            f"unflatten: sizes {list(sizes)} don't multiply up to the size {shape[axis]} of dimension {dim}"
        )
    return apply_view("reshape", input, shape[:axis] + tuple(parts) + shape[axis + 1 :])


def _each(function: Any, tensors: tuple) -> Any:
    """One tensor gives one result, several (or a sequence) a tuple."""
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return function(tensors[0])
    if len(tensors) == 1:
        tensors = tuple(tensors[0])
    if tensors:
        check_devices("atleast", *tensors)
    return tuple(function(tensor) for tensor in tensors)


def atleast_1d(*tensors: Any) -> Any:
    """0-d tensors with one dimension; a tuple for several tensors."""
    return _each(lambda x: x if x.ndim else x.reshape(1), tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with at least two dimensions, new ones in front; a tuple for several tensors."""
    return _each(lambda x: x if x.ndim > 1 else x.reshape(1, x.numel()), tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with at least three dimensions: (n) becomes (1, n, 1), (m, n) becomes (m, n, 1)."""

    def raised(x: Tensor) -> Tensor:
        if x.ndim > 2:
            return x
        return x.unsqueeze(-1) if x.ndim == 2 else x.reshape(1, x.numel(), 1)

    return _each(raised, tensors)


# ---- order -------------------------------------------------------------------------------------------------------


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """The dimensions of source at the places of destination; the others keep their order.

    >>> import netcl as nc
    >>> nc.zeros(2, 3, 4).movedim(0, -1).shape
    netcl.Size([3, 4, 2])
    """
    rank = input.ndim
    given = [[dims] if is_whole(dims) else list(dims) for dims in (source, destination)]
    if len(given[0]) != len(given[1]):
        raise RuntimeError(f"movedim: source {source} and destination {destination} must have equally many dimensions")
    origins, places = ([axis_of("movedim", dim, rank) for dim in dims] for dims in given)
    if len(set(origins)) != len(origins) or len(set(places)) != len(places):
        raise RuntimeError(f"movedim: source {source} or destination {destination} names a dimension twice")
    if not rank:
        return input
    at = dict(zip(places, origins, strict=True))
    others = iter([axis for axis in range(rank) if axis not in origins])
    return apply_view("permute", input, tuple(at[place] if place in at else next(others) for place in range(rank)))


moveaxis = movedim
swapdims = transpose


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two dimensions exchanged: transpose under NumPy's name."""
    return transpose(input, axis0, axis1)


def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged (and conjugated, which leaves real numbers as they are)."""
    return matrix_transpose(input)


def hermitian(input: Tensor) -> Tensor:
    """The transpose of a matrix (`.H`). RuntimeError for other ranks than 0 and 2."""
    if input.ndim not in (0, 2):
        raise RuntimeError(f"H: expected a matrix, got shape {list(input.shape)}; use .mH for batches of matrices")
    return transpose(input, 0, 1) if input.ndim else input


# ---- broadcasting ------------------------------------------------------------------------------------------------


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Dimensions of size 1 repeated to other's sizes, without a copy."""
    return expand(input, other._value.shape)


def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """Summed down to a shape that broadcasts to input's. RuntimeError for other shapes."""
    wanted = sizes("sum_to_size", size)
    own = tuple(input.shape)
    lead = len(own) - len(wanted)
    if lead < 0 or any(w not in (1, s) for w, s in zip(wanted, own[lead:], strict=True)):
        raise RuntimeError(f"sum_to_size: shape {list(wanted)} does not broadcast to {list(own)}")
    return input.sum_to_shape(wanted)


def broadcast_to(input: Tensor, *size: Any) -> Tensor:
    """input expanded to a shape that it broadcasts to, without a copy."""
    return expand(input, *size)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that tensors of the given shapes broadcast to. RuntimeError where they don't fit.

    >>> import netcl as nc
    >>> nc.broadcast_shapes((3, 1), (4,), 1)
    netcl.Size([3, 4])
    """
    given = [(shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes]
    if any(size < 0 for shape in given for size in shape):
        raise RuntimeError(f"broadcast_shapes: sizes must not be negative, got {[list(shape) for shape in given]}")
    return Size(primitives.broadcast_shapes("broadcast_shapes", given) if given else ())


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors expanded to their common shape, without copies."""
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        tensors = tuple(tensors[0])
    if not tensors:
        return ()
    check_devices("broadcast_tensors", *tensors)
    shape = primitives.broadcast_shapes("broadcast_tensors", [tensor._value.shape for tensor in tensors])
    return tuple(expand(tensor, shape) for tensor in tensors)


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinates of a grid: for each vector a tensor of the grid's shape that varies along its own dimension.

    indexing: "ij" (the default, without PyTorch's warning) for one dimension after the other, "xy" with the first two
    exchanged, as for images.

    >>> import netcl as nc
    >>> nc.meshgrid(nc.arange(2), nc.arange(3), indexing="ij")[0].tolist()
    [[0, 0, 0], [1, 1, 1]]
    """
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        tensors = tuple(tensors[0])
    if not tensors:
        raise RuntimeError("meshgrid: expected at least one tensor")
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing must be 'ij' or 'xy', got {indexing!r}")
    check_devices("meshgrid", *tensors)
    for tensor in tensors:
        if tensor.ndim > 1:
            raise RuntimeError(f"meshgrid: expected vectors or numbers, got shape {list(tensor.shape)}")
        if tensor.dtype is not tensors[0].dtype:
            raise RuntimeError(f"meshgrid: expected one dtype, got {tensors[0].dtype} and {tensor.dtype}")
    shape = tuple(tensor.numel() for tensor in tensors)
    grids = []
    for axis, tensor in enumerate(tensors):
        grids.append(expand(reshape(tensor, *(shape[axis] if a == axis else 1 for a in range(len(shape)))), shape))
    if indexing == "xy" and len(shape) > 1:
        order = (1, 0, *range(2, len(shape)))
        return tuple(permute(grid, order) for grid in grids)
    return tuple(grids)
