"""Matrix products: every rank is brought to (batch, m, k) @ (batch, k, n) by views."""

from __future__ import annotations

from math import prod

from netcl.autograd.tape import apply
from netcl.core import dtypes
from netcl.graph.primitives import broadcast_shapes
from netcl.ops.elementwise import check_devices
from netcl.tensor import Tensor


def contract(a: Tensor, b: Tensor) -> Tensor:
    """(batch, m, k) @ (batch, k, n), shapes already checked."""
    return apply("matmul", (a, b))


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product, with PyTorch's rules for every rank: 1-d operands are vectors, leading dimensions batches.

    RuntimeError for sizes that don't fit, 0-d operands and different dtypes.
    """
    a, b = input, other
    check_devices("matmul", a, b)
    if not a.ndim or not b.ndim:
        raise RuntimeError(
            f"matmul: both operands need at least 1 dimension, got shapes {list(a.shape)} and {list(b.shape)}"
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"matmul: expected both operands in one dtype, got {a.dtype} and {b.dtype}; convert one with .to()"
        )
    rows = a.unsqueeze(0) if a.ndim == 1 else a
    columns = b.unsqueeze(1) if b.ndim == 1 else b
    if a.dtype is dtypes.bool_:
        raise RuntimeError("matmul: not defined for bool tensors; convert them with .int() or .float()")
    m, k = rows._value.shape[-2:]
    n = columns._value.shape[-1]
    if columns._value.shape[-2] != k:
        raise RuntimeError(
            f"matmul: shapes {list(a.shape)} and {list(b.shape)} cannot be multiplied: the inner sizes {k} and "
            f"{columns._value.shape[-2]} differ"
        )
    left, right = rows._value.shape[:-2], columns._value.shape[:-2]
    if not right and left:  # one matrix for all batches: fold them into the rows
        product = contract(rows.reshape(1, prod(left) * m, k), columns.reshape(1, k, n)).reshape(*left, m, n)
        batch = left
    else:
        batch = broadcast_shapes("matmul", [left, right])
        count = prod(batch)
        left_rows = rows if left == batch else rows.expand(*batch, m, k)
        right_columns = columns if right == batch else columns.expand(*batch, k, n)
        product = contract(left_rows.reshape(count, m, k), right_columns.reshape(count, k, n)).reshape(*batch, m, n)
    if a.ndim == 1 or b.ndim == 1:
        product = product.reshape(*batch, *(() if a.ndim == 1 else (m,)), *(() if b.ndim == 1 else (n,)))
    return product


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices, (m, k) @ (k, n)."""
    check_devices("mm", input, mat2)
    if input.ndim != 2 or mat2.ndim != 2:
        raise RuntimeError(f"mm: expected two matrices, got shapes {list(input.shape)} and {list(mat2.shape)}")
    return matmul(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Products of two batches of matrices, (b, m, k) @ (b, k, n)."""
    check_devices("bmm", input, mat2)
    if input.ndim != 3 or mat2.ndim != 3 or input.shape[0] != mat2.shape[0]:
        raise RuntimeError(
            f"bmm: expected two equal batches of matrices, got shapes {list(input.shape)} and {list(mat2.shape)}"
        )
    return matmul(input, mat2)
