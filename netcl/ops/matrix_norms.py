"""Norms of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from netcl.core.dtypes import DType
from netcl.ops.elementwise import cast
from netcl.ops.norms import vector_norm
from netcl.ops.shape import axis_of, is_whole
from netcl.ops.spectra import svdvals
from netcl.tensor import Tensor


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The norm of vectors or matrices.

    Without ord the 2-norm of all elements (or those of dim). With it, one dimension in dim means vector_norm, two
    mean matrix_norm; without dim, vectors and matrices are told by their rank.

    >>> import netcl as nc
    >>> nc.linalg.norm(nc.tensor([[3.0, 0.0], [0.0, 4.0]]), "nuc").item()
    7.0
    """
    if is_whole(dim):
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
        nothing = ord > 0 and not sums.shape[-1]  # the largest of no sums is 0, the smallest an error
        result = sums.sum(-1) if nothing else sums.amax(-1) if ord > 0 else sums.amin(-1)
    else:
        raise RuntimeError(f"{name}: ord must be 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2, got {ord!r}")
    for axis in sorted((rows, columns)) if keepdim else ():
        result = result.unsqueeze(axis)
    return result
