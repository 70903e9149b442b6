"""Eigenvalues, singular values, QR, and what follows from them, by NumPy's LAPACK on the host.

Each function reads its operand, and so waits for the device. Gradients are written in operations; they are those of
PyTorch, infinite or NaN where eigenvalues or singular values coincide and vectors are asked for.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from netcl.autograd.autocast import autocast
from netcl.ops.creation import eye
from netcl.ops.factorizations import inv, slogdet, solve
from netcl.ops.host import LinAlgError, check_matrices, host_operation, on_host
from netcl.ops.return_types import named
from netcl.tensor import Tensor

__all__ = ["pinverse"]
METHODS = __all__

_lapack: Any = np.linalg

for _name in ("linalg_eigh", "linalg_qr", "linalg_svd", "linalg_pinv", "linalg_matrix_rank"):
    host_operation(_name)


def _symmetric_gaps(values: Tensor) -> Tensor:
    """values[j] - values[i] at (i, j), ones on the diagonal."""
    gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
    return gaps + eye(values.shape[-1], dtype=values.dtype, device=values.device)


# ---- symmetric matrices ------------------------------------------------------------------------------------------


def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of symmetric matrices, ascending, computed on the host. One triangle is read."""
    check_matrices("linalg.eigh", A)
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"linalg.eigh: UPLO must be 'L' or 'U', got {UPLO!r}")
    found = on_host("linalg_eigh", lambda a: tuple(_lapack.eigh(a, UPLO.upper())), (A,), _eigh_gradient)
    return named("linalg_eigh", *found)


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, ascending, computed on the host."""
    return eigh(A, UPLO)[0]


def _eigh_gradient(g: tuple, y: tuple, a: Any, arg: Any) -> tuple:
    """V (diag(g_values) + (V^T g_vectors) / (l_j - l_i)) V^T, made symmetric, as the matrices are."""
    values, vectors = y
    inner = vectors.mT @ g[1] / _symmetric_gaps(values)
    whole = vectors @ (inner.triu(1) + inner.tril(-1) + g[0].diag_embed()) @ vectors.mT
    return ((whole + whole.mT) * 0.5,)


# ---- QR ----------------------------------------------------------------------------------------------------------


def qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R) with A = Q R, Q's columns orthonormal, R upper triangular, computed on the host.

    mode: "reduced", "complete" (Q is square), "r" (Q is empty). The gradient is that of the reduced form of matrices
    with at least as many rows as columns, else NotImplementedError.
    """
    check_matrices("linalg.qr", A, square=False)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"linalg.qr: mode must be 'reduced', 'complete' or 'r', got {mode!r}")

    def factors(a: np.ndarray) -> tuple:
        if mode == "r":
            return np.empty((0,), a.dtype), np.linalg.qr(a, "r")
        return tuple(_lapack.qr(a, mode))

    return named("linalg_qr", *on_host("linalg_qr", factors, (A,), _qr_gradient, mode))


def _qr_gradient(g: tuple, y: tuple, a: Any, mode: str) -> tuple:
    """(g_Q + Q S) R^-T, S the lower triangle of R g_R^T - g_Q^T Q made symmetric (Seeger et al., 2017)."""
    rows, columns = a.shape[-2:]
    if mode == "r" or rows < columns or (mode == "complete" and rows != columns):
        raise NotImplementedError(
            f"linalg.qr: there is no gradient for mode {mode!r} and shape {list(a.shape)}; use mode='reduced' with at "
            "least as many rows as columns"
        )
    q, r = y
    lower = (r @ g[1].mT - g[0].mT @ q).tril()
    return (solve(r, (g[0] + q @ (lower + lower.tril(-1).mT)).mT).mT,)


# ---- singular values ---------------------------------------------------------------------------------------------


def svd(A: Tensor, full_matrices: bool = True) -> Any:
    """(U, S, Vh) with A = U diag(S) Vh, S descending, computed on the host.

    full_matrices: U and Vh are square; the gradient then needs square matrices (NotImplementedError), as the columns
    beyond S are not determined.
    """
    check_matrices("linalg.svd", A, square=False)
    found = on_host(
        "linalg_svd", lambda a: tuple(_lapack.svd(a, full_matrices)), (A,), _svd_gradient, bool(full_matrices)
    )
    return named("linalg_svd", *found)


def svdvals(A: Tensor) -> Tensor:
    """The singular values, descending, computed on the host."""
    check_matrices("linalg.svdvals", A, square=False)
    return svd(A, full_matrices=False)[1]


def _svd_gradient(g: tuple, y: tuple, a: Any, full: bool) -> tuple:
    """U ((skew(U^T g_U) / E) S + S (skew(V^T g_V) / E) + diag(g_S)) V^T with E = s_j^2 - s_i^2, and for matrices that
    are not square what g_U and g_V have outside the span of U and V."""
    rows, columns = a.shape[-2:]
    if full and rows != columns:
        raise NotImplementedError(
            f"linalg.svd: there is no gradient for full_matrices=True and shape {list(a.shape)}; "
            "use full_matrices=False"
        )
    u, s, vh = y
    g_u, g_s, g_v = g[0], g[1], g[2].mT
    v = vh.mT
    gaps = _symmetric_gaps(s * s)
    left, right = u.mT @ g_u, v.mT @ g_v
    inner = (left - left.mT) / gaps * s.unsqueeze(-2) + s.unsqueeze(-1) * ((right - right.mT) / gaps)
    result = u @ (inner + g_s.diag_embed()) @ vh
    if rows > columns:
        result = result + (g_u - u @ left) / s.unsqueeze(-2) @ vh
    if columns > rows:
        result = result + u @ ((g_v - v @ right) / s.unsqueeze(-2)).mT
    return (result,)


# ---- pseudo-inverse, rank ----------------------------------------------------------------------------------------


def _tolerances(name: str, A: Tensor, atol: Any, rtol: Any) -> tuple[float, float]:
    for given in (atol, rtol):
        if isinstance(given, Tensor):
            raise NotImplementedError(f"{name}: atol and rtol must be numbers, tensors of them are not here")
    if rtol is None:
        epsilon = float(np.finfo(A.dtype.numpy).eps) * max(A.shape[-2:])
        rtol = epsilon if not atol else 0.0
    return float(atol or 0.0), float(rtol)


def _singular_values(a: np.ndarray, hermitian: bool) -> np.ndarray:
    return np.abs(np.linalg.eigvalsh(a)) if hermitian else np.linalg.svd(a, compute_uv=False)


def pinv(A: Tensor, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """The pseudo-inverse (Moore, Penrose), computed on the host.

    Singular values up to max(atol, rtol * the largest) count as 0; rtol is max(m, n) * epsilon by default.
    """
    check_matrices("linalg.pinv", A, square=hermitian)
    absolute, relative = _tolerances("linalg.pinv", A, atol, rtol)

    def inverse(a: np.ndarray) -> np.ndarray:
        if 0 in a.shape:
            return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
        if hermitian:
            a = np.tril(a) + np.swapaxes(np.tril(a, -1), -1, -2)
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        kept = s > np.maximum(absolute, relative * s[..., :1])
        weights = np.where(kept, 1 / np.where(kept, s, 1), 0).astype(a.dtype)
        return np.swapaxes(vh, -1, -2) * weights[..., None, :] @ np.swapaxes(u, -1, -2)

    return on_host("linalg_pinv", inverse, (A,), _pinv_gradient)


def _pinv_gradient(g: Tensor, y: Tensor, a: Tensor, arg: Any) -> tuple:
    """Golub and Pereyra's differential of the pseudo-inverse, 1973."""
    beyond = g.mT - a @ (y @ g.mT)
    within = g.mT - (g.mT @ y) @ a
    return (beyond @ (y @ y.mT) + (y.mT @ y) @ within - y.mT @ g @ y.mT,)


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudo-inverse, computed on the host; singular values up to rcond * the largest count as 0."""
    return pinv(input, rtol=rcond)


def matrix_rank(A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """The number of singular values above max(atol, rtol * the largest), as int64, computed on the host."""
    name = "linalg.matrix_rank"
    check_matrices(name, A, square=hermitian)
    if tol is not None:
        atol, rtol = tol, 0.0
    absolute, relative = _tolerances(name, A, atol, rtol)

    def rank(a: np.ndarray) -> np.ndarray:
        if 0 in a.shape[-2:]:
            return np.zeros(a.shape[:-2], np.int64)
        s = _singular_values(a, hermitian)
        return (s > np.maximum(absolute, relative * s.max(-1, keepdims=True))).sum(-1).astype(np.int64)

    return on_host("linalg_matrix_rank", rank, (A.detach(),), None)


def lstsq(A: Tensor, B: Tensor, rcond: Any = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values) of the smallest |A X - B|, computed on the host.

    The solution is pinv(A) @ B, and has its gradient. residuals: the squared norms of the columns of A X - B where
    every A has more rows than columns and full rank, else empty. driver: "gelsd" (also for None) or "gelss".
    """
    name = "linalg.lstsq"
    check_matrices(name, A, square=False)
    if driver not in (None, "gelsd", "gelss"):
        raise NotImplementedError(f"{name}: driver {driver!r} is not here; leave it out, or use 'gelsd'")
    check_matrices(name, B, square=False)
    if A.shape[-2] != B.shape[-2]:
        raise RuntimeError(f"{name}: A of shape {list(A.shape)} and B of shape {list(B.shape)} need equally many rows")
    with autocast(enabled=False):  # a solution has its operands' digits
        solution = pinv(A, rtol=rcond) @ B
        rank = matrix_rank(A, rtol=rcond)
        values = svdvals(A.detach())
        rows, columns = A.shape[-2:]
        if rows > columns and (rank == columns).tolist() in (True, [True] * rank.numel()):
            residuals = ((A @ solution - B) ** 2).sum(-2)
        else:
            residuals = A.new_zeros(0)
    return named("linalg_lstsq", solution, residuals, rank, values)


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number: the largest by the smallest singular value (p None or 2; p -2 is its inverse).

    For other norms p, the norm of A times that of its inverse, inf where it has none. Computed on the host.
    """
    from netcl.ops.matrix_norms import matrix_norm

    check_matrices("linalg.cond", A, square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        values = svdvals(A)
        top, low = values[..., 0], values[..., -1]
        return low / top if p == -2 else top / low
    try:
        return matrix_norm(A, p) * matrix_norm(inv(A), p)
    except LinAlgError:
        singular = (slogdet(A)[0] == 0).unsqueeze(-1).unsqueeze(-1)
        regular = eye(A.shape[-1], dtype=A.dtype, device=A.device).where(singular, A)
        return (matrix_norm(A, p) * matrix_norm(inv(regular), p)).where(~singular[..., 0, 0], inf)
