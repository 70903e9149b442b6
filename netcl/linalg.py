"""nc.linalg: norms, products, and what LAPACK computes on the host (solve, inv, cholesky, eigh, svd, qr, ..)."""

from __future__ import annotations

from typing import Any

from netcl.autograd.autocast import lowered
from netcl.ops.factorizations import det, inv, solve, solve_triangular
from netcl.ops.factorizations import linalg_cholesky as cholesky
from netcl.ops.factorizations import linalg_slogdet as slogdet
from netcl.ops.host import LinAlgError
from netcl.ops.linalg import matmul
from netcl.ops.matrix_functions import linalg_vander as vander
from netcl.ops.matrix_functions import matrix_exp, multi_dot, tensorinv, tensorsolve
from netcl.ops.matrix_functions import matrix_power as _matrix_power
from netcl.ops.matrix_norms import matrix_norm, norm
from netcl.ops.norms import vector_norm
from netcl.ops.products import cross_along
from netcl.ops.public import publish
from netcl.ops.spectra import cond, eigh, eigvalsh, lstsq, matrix_rank, pinv, qr, svd, svdvals
from netcl.ops.triangles import diagonal as _diagonal
from netcl.tensor import Tensor

__all__ = [
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "lstsq", "matmul",
    "matrix_exp",
    "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve",
    "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product along a dimension of size 3; the others broadcast."""
    return cross_along("linalg.cross", input, other, dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, as the last dimension. A view."""
    return _diagonal(A, offset, dim1, dim2)


def matrix_power(A: Tensor, n: int) -> Tensor:
    """Square matrices to the power of an integer; a negative one inverts them, on the host."""
    return _matrix_power(A, n)


def vecdot(x: Tensor, y: Tensor, *, dim: Any = -1) -> Tensor:
    """The sums of products along dim; the two broadcast."""
    x, y = lowered(x, y)
    return lowered((x * y).sum(dim))[0]


publish(globals(), __all__)
