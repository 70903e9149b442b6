"""Inverses, determinants, solutions and Cholesky factors, by NumPy's LAPACK on the host.

Each function reads its operands (and so waits for the device), forward and, for the gradient, backward. float32 and
float64, batches of matrices, second derivatives. netcl.linalg.LinAlgError for singular matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netcl.graph.primitives import broadcast_shapes
from netcl.ops.creation import eye
from netcl.ops.elementwise import check_devices
from netcl.ops.host import check_matrices, host_operation, on_host
from netcl.ops.return_types import named
from netcl.tensor import Tensor

__all__ = ["cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet", "slogdet"]
METHODS = __all__

for _name in ("linalg_inv", "linalg_solve", "linalg_cholesky", "linalg_det", "linalg_slogdet", "linalg_cofactors"):
    host_operation(_name)


# ---- inverse -----------------------------------------------------------------------------------------------------


def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices, computed on the host. LinAlgError for a singular one.

    To multiply with an inverse, use netcl.linalg.solve: it is faster and more exact.

    >>> import netcl as nc
    >>> nc.linalg.inv(nc.tensor([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    check_matrices("linalg.inv", A)
    return on_host("linalg_inv", np.linalg.inv, (A,), _inv_gradient)


def _inv_gradient(g: Tensor, y: Tensor, a: Any, arg: Any) -> tuple:
    return (-(y.mT @ g @ y.mT),)


def inverse(input: Tensor) -> Tensor:
    """The inverse of square matrices, computed on the host: netcl.linalg.inv."""
    return inv(input)


# ---- solutions ---------------------------------------------------------------------------------------------------


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (left) or X A = B, computed on the host. B is a vector, a matrix, or a batch of them.

    B is a batch of vectors where its shape is A's without the last size. LinAlgError for a singular A.

    >>> import netcl as nc
    >>> nc.linalg.solve(nc.tensor([[2.0, 0.0], [0.0, 4.0]]), nc.tensor([2.0, 2.0])).tolist()
    [1.0, 0.5]
    """
    name = "linalg.solve"
    check_matrices(name, A)
    check_devices(name, A, B)
    if A.dtype is not B.dtype:
        raise RuntimeError(f"{name}: expected one dtype, got {A.dtype} and {B.dtype}; convert one with .to()")
    if B.ndim == 1 or tuple(B.shape) == tuple(A.shape[:-1]):
        if not left:
            raise RuntimeError(f"{name}: left=False is for matrices, B of shape {list(B.shape)} is a vector")
        return solve(A, B.unsqueeze(-1)).squeeze(-1)
    check_matrices(name, B, square=False)
    if not left:
        return solve(A.mT, B.mT).mT
    if A.shape[-1] != B.shape[-2]:
        raise RuntimeError(f"{name}: A of shape {list(A.shape)} and B of shape {list(B.shape)} need equally many rows")
    batch = broadcast_shapes(name, [tuple(A.shape[:-2]), tuple(B.shape[:-2])])
    a, b = A.expand(*batch, *A.shape[-2:]), B.expand(*batch, *B.shape[-2:])
    return on_host("linalg_solve", np.linalg.solve, (a, b), _solve_gradient)


def _solve_gradient(g: Tensor, y: Tensor, a: Tensor, b: Any, arg: Any) -> tuple:
    back = solve(a.mT, g)
    return -(back @ y.mT), back


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B (left) or X A = B for a triangular A, computed on the host; what lies beyond is not looked at.

    unitriangular: the diagonal counts as ones.
    """
    check_matrices("linalg.solve_triangular", A)
    check_matrices("linalg.solve_triangular", B, square=False)
    triangle = A.triu() if upper else A.tril()
    if unitriangular:
        strict = triangle.triu(1) if upper else triangle.tril(-1)
        triangle = strict + eye(A.shape[-1], dtype=A.dtype, device=A.device)
    return solve(triangle, B, left=left)


# ---- Cholesky ----------------------------------------------------------------------------------------------------


def linalg_cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with A = L L^T (or the upper one), computed on the host.

    Only one triangle of A is read. LinAlgError for a matrix that is not positive definite.
    """
    check_matrices("linalg.cholesky", A)
    if upper:
        return linalg_cholesky(A.mT).mT
    return on_host("linalg_cholesky", np.linalg.cholesky, (A,), _cholesky_gradient)


def _cholesky_gradient(g: Tensor, y: Tensor, a: Any, arg: Any) -> tuple:
    """L^-T S L^-1, S the lower triangle of L^T g made symmetric (Murray, 2016, arXiv:1602.07527)."""
    lower = (y.mT @ g).tril()
    middle = (lower + lower.tril(-1).mT) * 0.5
    back = inv(y)
    return (back.mT @ middle @ back,)


def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """The Cholesky factor, computed on the host: netcl.linalg.cholesky."""
    return linalg_cholesky(input, upper=upper)


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B for the A whose Cholesky factor is L, computed on the host."""
    check_matrices("cholesky_solve", L)
    check_matrices("cholesky_solve", B, square=False)
    factor = L.triu().mT if upper else L.tril()
    return solve(factor.mT, solve(factor, B))


def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of the matrix whose Cholesky factor is L, computed on the host."""
    check_matrices("cholesky_inverse", L)
    back = inv(L.triu().mT if upper else L.tril())
    return back.mT @ back


# ---- determinants ------------------------------------------------------------------------------------------------


def det(input: Tensor) -> Tensor:
    """The determinant of square matrices, computed on the host. Singular ones have a gradient too."""
    check_matrices("linalg.det", input)
    return on_host("linalg_det", np.linalg.det, (input,), _det_gradient)


def _det_gradient(g: Tensor, y: Any, a: Tensor, arg: Any) -> tuple:
    return (g.unsqueeze(-1).unsqueeze(-1) * _cofactors(a),)


def _cofactors(a: Tensor) -> Tensor:
    """The derivatives of the determinant, which singular matrices have too: by singular values, without division."""
    return on_host("linalg_cofactors", _host_cofactors, (a,), _cofactors_gradient)


def _host_cofactors(a: np.ndarray) -> np.ndarray:
    u, s, v = np.linalg.svd(a)
    others = np.repeat(s[..., None, :], s.shape[-1], -2)
    others[..., range(s.shape[-1]), range(s.shape[-1])] = 1
    sign = np.linalg.det(u) * np.linalg.det(v)
    return ((u * others.prod(-1)[..., None, :]) @ v * sign[..., None, None]).astype(a.dtype)


def _cofactors_gradient(g: Tensor, y: Any, a: Tensor, arg: Any) -> tuple:
    """Of det(a) a^-T: second derivatives of determinants need regular matrices."""
    back = inv(a).mT
    size = det(a).unsqueeze(-1).unsqueeze(-1)
    along = (g * back).sum((-2, -1), keepdim=True)
    return ((back * along - back @ g.mT @ back) * size,)


def slogdet(input: Tensor) -> Any:
    """(sign, logabsdet) of square matrices, computed on the host: the determinant is sign * exp(logabsdet)."""
    return named("slogdet", *linalg_slogdet(input))


def linalg_slogdet(A: Tensor) -> Any:
    """(sign, logabsdet) of square matrices, computed on the host: the determinant is sign * exp(logabsdet)."""
    check_matrices("linalg.slogdet", A)
    found = on_host("linalg_slogdet", lambda a: tuple(np.linalg.slogdet(a)), (A,), _slogdet_gradient)
    return named("linalg_slogdet", *found)


def _slogdet_gradient(g: tuple, y: Any, a: Tensor, arg: Any) -> tuple:
    return (g[1].unsqueeze(-1).unsqueeze(-1) * inv(a).mT,)


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant, computed on the host: -inf where it is 0, NaN where it is negative."""
    sign, size = slogdet(input)
    return size.where(sign != -1, float("nan"))
