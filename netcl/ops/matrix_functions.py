"""Powers and exponentials of matrices, chains of them, and tensors solved as matrices."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2, prod
from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.ops.creation import eye, iota
from netcl.ops.elementwise import check_devices
from netcl.ops.factorizations import inv, solve
from netcl.ops.host import check_matrices, host_operation, on_host
from netcl.ops.joining import cat
from netcl.ops.products import product_of
from netcl.tensor import Tensor

__all__ = ["matrix_exp", "matrix_power", "vander"]
METHODS = ["matrix_exp", "matrix_power"]

host_operation("linalg_matrix_exp")


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
    check_devices("linalg.multi_dot", *matrices)
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


# ---- exponential -------------------------------------------------------------------------------------------------


def matrix_exp(input: Tensor) -> Tensor:
    """The exponential of square matrices, computed on the host: a Taylor series of a small part, squared again."""
    if input.dtype in (dtypes.float16, dtypes.bfloat16):
        return matrix_exp(input.float()).to(input.dtype)
    check_matrices("linalg.matrix_exp", input)
    return on_host("linalg_matrix_exp", _exponential, (input,), _exponential_gradient)


def _exponential(a: np.ndarray) -> np.ndarray:
    if not a.size:
        return a
    largest = np.abs(a).sum(-2).max()
    if not np.isfinite(largest):
        return np.full_like(a, np.nan)
    halvings = max(0, ceil(log2(largest * 2))) if largest else 0
    small = a.astype(np.float64) / 2.0**halvings
    result = one = np.eye(a.shape[-1])
    for place in range(18, 0, -1):
        result = one + small @ result / place
    for _ in range(halvings):
        result = result @ result
    return np.broadcast_to(result, a.shape).astype(a.dtype)


def _exponential_gradient(g: Tensor, y: Any, a: Tensor, arg: Any) -> tuple:
    """The upper right block of exp([[a^T, g], [0, a^T]]) (Al-Mohy and Higham, 2009)."""
    rows = cat((a.mT, g), -1), cat((g * 0.0, a.mT), -1)
    size = a.shape[-1]
    return (matrix_exp(cat(rows, -2))[..., :size, size:],)


# ---- tensors as matrices -----------------------------------------------------------------------------------------


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A for tensordot: A as a matrix from its dimensions from `ind` on to those before.

    Computed on the host. RuntimeError unless the two groups of dimensions have equally many elements.
    """
    if ind <= 0:
        raise RuntimeError(f"linalg.tensorinv: ind must be positive, got {ind}")
    rows, columns = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    if prod(rows) != prod(columns):
        raise RuntimeError(f"linalg.tensorinv: {list(rows)} and {list(columns)} must have equally many elements")
    return inv(A.reshape(prod(rows), prod(columns))).reshape(columns + rows)


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B, computed on the host; dims of A are moved to its end first."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    shape = tuple(A.shape[B.ndim :])
    if prod(shape) != B.numel() or A.numel() != B.numel() ** 2:
        raise RuntimeError(f"linalg.tensorsolve: A of shape {list(A.shape)} is no square matrix for {list(B.shape)}")
    return solve(A.reshape(B.numel(), B.numel()), B.reshape(B.numel())).reshape(shape)
