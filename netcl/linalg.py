"""nc.linalg: norms of vectors and matrices."""

from __future__ import annotations

from typing import Any

from netcl.core.dtypes import DType
from netcl.ops.norms import vector_norm
from netcl.ops.reduction import axes_of
from netcl.ops.shape import axis_of
from netcl.tensor import Tensor

__all__ = ["matrix_norm", "norm", "vector_norm"]


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The vector norm of all elements (no ord and dim), or over one dim; the matrix norm over two.

    An ord without dim needs a vector or a matrix.
    """
    if ord is None or isinstance(dim, int) or (dim is None and A.ndim == 1) or (dim is not None and len(dim) == 1):
        return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)
    if dim is None and A.ndim != 2:
        raise RuntimeError(f"linalg.norm: with ord and without dim A must be 1-d or 2-d, got shape {list(A.shape)}")
    return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The norm of the matrices in two dimensions: "fro", or the largest (smallest) sum of |x| of a column for ord 1
    (-1), of a row for inf (-inf). NotImplementedError for 2, -2 and "nuc", which need singular values."""
    if len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be two dimensions, got {dim}")
    axes_of("linalg.matrix_norm", dim, A.ndim)
    if ord == "fro":
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if ord not in (1, -1, float("inf"), -float("inf")):
        raise NotImplementedError(f"linalg.matrix_norm: ord={ord!r} is not here; 'fro', 1, -1, inf and -inf are")
    rows, columns = (axis_of("linalg.matrix_norm", d, A.ndim) for d in dim)
    added, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = vector_norm(A, 1, added, True, dtype=dtype)
    found = sums.amax(kept, True) if ord > 0 else sums.amin(kept, True)
    return found if keepdim else found.squeeze((rows, columns))
