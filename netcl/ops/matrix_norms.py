"""Norms of matrices, and products of a matrix with itself."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.ops.creation import eye, iota
from netcl.ops.elementwise import cast
from netcl.ops.factorizations import inv
from netcl.ops.norms import vector_norm
from netcl.ops.products import product_of
from netcl.ops.shape import axis_of
from netcl.ops.spectra import svdvals
from netcl.tensor import Tensor

__all__ = ["matrix_power", "vander"]
METHODS = ["matrix_power"]


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The norm of vectors or matrices.

    Without ord the 2-norm of all elements (or those of dim). With it, one dimension in dim means vector_norm, two
    mean matrix_norm; without dim, vectors and matrices are told by their rank.

    >>> import netcl as nc
    >>> nc.linalg.norm(nc.tensor([[3.0, 0.0], [0.0, 4.0]]), "nuc").item()
    7.0
    """
    if dim is not None and isinstance(dim, int):
        dim = (dim,)
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None:
        if A.ndim not in (1, 2):
            raise RuntimeError(f"linalg.norm: with ord and without dim A must be 1-d or 2-d, got shape {list(A.shape)}")
        dim = tuple(range(A.ndim))
    if len(dim) == 2:
        return matrix_norm(A, ord, dim, keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: ord {ord!r} is for matrices; name two dimensions in dim")
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The norm of matrices in the plane of two dimensions.

    ord: "fro" (the root of the sum of squares), "nuc" (the sum of singular values), inf and -inf (the largest and
    smallest sum of a row's magnitudes), 1 and -1 (of a column's), 2 and -2 (singular values). "nuc", 2 and -2 are
    computed on the host.
    """
    name = "linalg.matrix_norm"
    A = A if dtype is None else cast(A, dtype)
    if A.dtype.category != 2:
        raise RuntimeError(f"{name}: expected a floating-point tensor, got {A.dtype}; convert it with .float()")
    if A.ndim < 2 or len(dim) != 2:
        raise RuntimeError(f"{name}: expected matrices and two dimensions, got shape {list(A.shape)} and dim {dim}")
    rows, columns = (axis_of(name, d, A.ndim) for d in dim)
    if rows == columns:
        raise RuntimeError(f"{name}: dim must name two different dimensions, got {dim}")
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim)
    matrices = A.movedim((rows, columns), (-2, -1))
    if ord == "nuc":
        result = svdvals(matrices).sum(-1)
    elif ord in (2, -2):
        values = svdvals(matrices)
        result = values.amax(-1) if ord == 2 else values.amin(-1)
    elif ord in (inf, -inf, 1, -1):
        sums = matrices.abs().sum(-1 if abs(ord) == inf else -2)
        result = sums.amax(-1) if ord > 0 else sums.amin(-1)
    else:
        raise RuntimeError(f"{name}: ord must be 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2, got {ord!r}")
    for axis in sorted((rows, columns)) if keepdim else ():
        result = result.unsqueeze(axis)
    return result


def matrix_power(input: Tensor, n: int) -> Tensor:
    """Square matrices to the power of an integer; a negative one inverts them, on the host."""
    if input.ndim < 2 or input.shape[-1] != input.shape[-2]:
        raise RuntimeError(f"matrix_power: expected square matrices, got shape {list(input.shape)}")
    if n < 0:
        return matrix_power(inv(input), -n)
    if n == 0:
        return eye(input.shape[-1], dtype=input.dtype, device=input.device).expand(input.shape).clone()
    result: Tensor | None = None
    square = input
    while n:
        if n & 1:
            result = square if result is None else result @ square
        n >>= 1
        square = square @ square if n else square
    assert result is not None
    return result.clone() if result is input else result


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices in the order that costs least; the first and the last may be vectors.

    >>> import netcl as nc
    >>> nc.linalg.multi_dot([nc.ones(2), nc.ones(2, 3), nc.ones(3, 4)]).tolist()
    [6.0, 6.0, 6.0, 6.0]
    """
    matrices = list(tensors)
    if len(matrices) < 2:
        raise RuntimeError(f"linalg.multi_dot: expected at least two tensors, got {len(matrices)}")
    first, last = matrices[0].ndim == 1, matrices[-1].ndim == 1
    if first:
        matrices[0] = matrices[0].unsqueeze(0)
    if last:
        matrices[-1] = matrices[-1].unsqueeze(1)
    if any(matrix.ndim != 2 for matrix in matrices):
        raise RuntimeError(f"linalg.multi_dot: expected matrices, got shapes {[list(t.shape) for t in tensors]}")
    product = product_of(matrices)
    shape = product.shape
    return product.reshape(([] if first else [shape[0]]) + ([] if last else [shape[1]]))


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of a vector's elements as columns, from the highest down to 0, or the other way round."""
    if x.ndim != 1:
        raise RuntimeError(f"vander: expected a vector, got shape {list(x.shape)}")
    powers = linalg_vander(x, N=x.numel() if N is None else N)
    return powers if increasing else powers.flip(1)


def linalg_vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0 to N - 1 of the elements along the last dimension, as a new last dimension."""
    if not x.ndim:
        raise RuntimeError("linalg.vander: expected at least 1 dimension, got a 0-d tensor")
    count = x.shape[-1] if N is None else N
    if count < 0:
        raise RuntimeError(f"vander: N must not be negative, got {N}")
    if x.dtype is dtypes.bool_:
        x = x.to(dtypes.int64)
    shape = (*x.shape, count)
    place = iota(shape, len(shape) - 1, x._value.device)
    base = x.unsqueeze(-1).expand(shape)
    return base.where(place != 0, 1).cumprod(-1)
