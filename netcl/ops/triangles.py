"""Triangles and diagonals of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from netcl.autograd.tape import apply_composite
from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.graph import primitives
from netcl.graph.transfer import upload
from netcl.ops.columns import number_like
from netcl.ops.creation import iota
from netcl.ops.elementwise import literal
from netcl.ops.shape import apply_view, axis_of, expand, own_copy, permute
from netcl.tensor import Tensor

__all__ = [
    "diag", "diag_embed", "diagflat", "diagonal", "trace", "tril", "tril_indices", "triu", "triu_indices",
]  # fmt: skip
METHODS = ["diag", "diag_embed", "diagflat", "diagonal", "put_diagonal", "trace", "tril", "triu"]
IN_PLACE = ["fill_diagonal", "tril", "triu"]


# ---- triangles ---------------------------------------------------------------------------------------------------


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices, zeros above: kept is column <= row + diagonal.

    >>> import netcl as nc
    >>> nc.ones(2, 3).tril().tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """
    return _triangle("tril", input, diagonal)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices, zeros below: kept is column >= row + diagonal."""
    return _triangle("triu", input, diagonal)


def _triangle(name: str, input: Tensor, diagonal: int) -> Tensor:
    shape = input._value.shape
    if len(shape) < 2:
        raise RuntimeError(f"{name}: expected matrices (at least 2 dimensions), got shape {list(shape)}")
    if not hasattr(diagonal, "__index__"):
        raise TypeError(f"{name}: diagonal must be an integer, got {type(diagonal).__name__}")
    limit = max(shape[-2:])
    place = min(max(diagonal.__index__(), -limit - 1), limit + 1)
    return apply_composite(name, (input,), place, _TRIANGLE_GRADIENTS[name])


def _band(shape: tuple[int, ...], device: Any, diagonal: int) -> tuple[Tensor, Tensor]:
    """Row + diagonal and column of each place of the last two dimensions."""
    dtype = dtypes.int32 if max(shape[-2:]) < 2**29 else dtypes.int64
    rows, columns = (iota(shape[-2:], axis, device, dtype) for axis in (0, 1))
    return rows + literal(diagonal, rows), columns


def _lower(x: Any, diagonal: int) -> Any:
    x = Tensor._wrap(x)
    rows, columns = _band(x._value.shape, x._value.device, diagonal)
    return x.where(columns <= rows, literal(0, x))._value


def _upper(x: Any, diagonal: int) -> Any:
    x = Tensor._wrap(x)
    rows, columns = _band(x._value.shape, x._value.device, diagonal)
    return x.where(columns >= rows, literal(0, x))._value


def _tril_gradient(g: Tensor, y: Any, x: Any, diagonal: int) -> tuple:
    return (tril(g, diagonal),)


def _triu_gradient(g: Tensor, y: Any, x: Any, diagonal: int) -> tuple:
    return (triu(g, diagonal),)


_TRIANGLE_GRADIENTS = {"tril": _tril_gradient, "triu": _triu_gradient}
primitives.composite("tril", lambda operands, arg: (operands[0].shape, operands[0].dtype), _lower)
primitives.composite("triu", lambda operands, arg: (operands[0].shape, operands[0].dtype), _upper)


def tril_indices(row: int, col: int, offset: int = 0, dtype: DType = dtypes.int64, device: Any = None) -> Tensor:
    """Rows and columns of the lower triangle's elements, as a (2, n) tensor, row by row.

    >>> import netcl as nc
    >>> nc.tril_indices(2, 2).tolist()
    [[0, 1, 1], [0, 0, 1]]
    """
    return _indices("tril_indices", np.tril_indices, row, col, offset, dtype, device)


def triu_indices(row: int, col: int, offset: int = 0, dtype: DType = dtypes.int64, device: Any = None) -> Tensor:
    """Rows and columns of the upper triangle's elements, as a (2, n) tensor, row by row."""
    return _indices("triu_indices", np.triu_indices, row, col, offset, dtype, device)


def _indices(name: str, find: Any, row: int, col: int, offset: int, dtype: DType, device: Any) -> Tensor:
    if row < 0 or col < 0:
        raise RuntimeError(f"{name}: row and col must not be negative, got {row} and {col}")
    if dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"{name}: dtype must be int64 or int32, got {dtype}")
    return Tensor._wrap(upload(np.stack(find(row, offset, col)).astype(dtype.numpy), find_device(device)))


# ---- diagonals ---------------------------------------------------------------------------------------------------


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of the plane of dim1 and dim2, as the last dimension: elements (i, i + offset). A view."""
    arg = _plane("diagonal", input.ndim, offset, dim1, dim2)
    return apply_view("diagonal", input, arg)


def _plane(name: str, rank: int, offset: int, dim1: int, dim2: int) -> tuple[int, int, int]:
    axes = axis_of(name, dim1, rank), axis_of(name, dim2, rank)
    if axes[0] == axes[1]:
        raise RuntimeError(f"{name}: dim1 and dim2 must be different dimensions, got {dim1} and {dim2}")
    return (int(offset), *axes)


def put_diagonal(input: Tensor, shape: tuple[int, ...], arg: tuple[int, int, int]) -> Tensor:
    """Zeros of a shape with input on the diagonal that `diagonal` reads: its gradient."""
    offset, row_axis, column_axis = arg
    rows, columns = shape[row_axis], shape[column_axis]
    *rest, length = input._value.shape
    low = max(-offset, 0) if length else 0
    column = input.pad_with_zeros([(0, 0)] * len(rest) + [(low, rows - low - length)]).unsqueeze(-1)
    places, along = _band((rows, columns), input._value.device, min(max(offset, -rows), columns))
    full = expand(column, (*rest, rows, columns)).where(places == along, literal(0, input))
    others = iter(range(len(rest)))
    order = [
        len(rest) if axis == row_axis else len(rest) + 1 if axis == column_axis else next(others)
        for axis in range(len(shape))
    ]
    return permute(full, order)


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last dimension on their diagonal, zeros elsewhere.

    >>> import netcl as nc
    >>> nc.diag_embed(nc.tensor([1, 2]), offset=1).tolist()
    [[0, 1, 0], [0, 0, 2], [0, 0, 0]]
    """
    if not input.ndim:
        raise RuntimeError("diag_embed: expected at least 1 dimension, got a 0-d tensor")
    arg = _plane("diag_embed", input.ndim + 1, offset, dim1, dim2)
    size = input._value.shape[-1] + abs(arg[0])
    rest = iter(input._value.shape[:-1])
    shape = tuple(size if axis in arg[1:] else next(rest) for axis in range(input.ndim + 1))
    return own_copy(put_diagonal(input, shape, arg))


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A vector as the diagonal of a matrix; of a matrix, its diagonal."""
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(f"diag: expected a vector or a matrix, got shape {list(input.shape)}; use diagonal")
    return own_copy(apply_view("diagonal", input, (int(diagonal), 0, 1)))


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """All elements as the diagonal of a matrix."""
    return diag_embed(input.reshape(input.numel()), offset)


def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, got shape {list(input.shape)}")
    return diagonal(input).sum()


def fill_diagonal(input: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """input with one number on its main diagonal; wrap starts it again below, in tall matrices.

    For more than two dimensions all sizes have to be equal.
    """
    shape = input._value.shape
    if len(shape) < 2:
        raise RuntimeError(f"fill_diagonal_: expected at least 2 dimensions, got shape {list(shape)}")
    if len(shape) > 2 and len(set(shape)) != 1:
        raise RuntimeError(f"fill_diagonal_: all sizes of {list(shape)} must be equal for more than 2 dimensions")
    device = input._value.device
    rows = iota(shape, 0, device)
    if wrap and len(shape) == 2:
        rows = rows - _quotient(shape, device) * (shape[1] + 1)
    hit = rows == iota(shape, 1, device)
    for axis in range(2, len(shape)):
        hit = hit & (rows == iota(shape, axis, device))
    if isinstance(fill_value, Tensor):
        return fill_value.to(input.dtype).where(hit, input)
    return number_like("fill_diagonal_", fill_value, input).where(hit, input)


def _quotient(shape: tuple[int, ...], device: Any) -> Tensor:
    """Row // (columns + 1) at each place."""
    period = shape[1] + 1
    turns = -(-shape[0] // period)
    spread = iota((turns, period, shape[1]), 0, device).reshape(turns * period, shape[1])
    return spread.narrow(0, 0, shape[0])
