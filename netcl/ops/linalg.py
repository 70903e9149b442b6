"""Matrix products: every rank is brought to (batch, m, k) @ (batch, k, n) by views."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.tape import apply, apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.graph.primitives import broadcast_shapes
from netcl.ops.elementwise import check_devices
from netcl.tensor import Tensor

__all__ = ["bmm", "matmul", "mm"]
METHODS = [*__all__, "contract"]


def contract(a: Tensor, b: Tensor) -> Tensor:
    """(batch, m, k) @ (batch, k, n), shapes already checked."""
    return apply("matmul", (a, b))


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product, with PyTorch's rules for every rank: 1-d operands are vectors, leading dimensions batches.

    RuntimeError for sizes that don't fit, 0-d operands and different dtypes.
    """
    check_devices("matmul", input, other)
    return apply_composite("product", (input, other), None, _product_gradient)


def _product_infer(operands: Any, arg: Any) -> tuple:
    a, b = operands
    own, other = a.shape, b.shape
    if not own or not other:
        raise RuntimeError(
            f"matmul: both operands need at least 1 dimension, got shapes {list(own)} and {list(other)}"
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"matmul: expected both operands in one dtype, got {a.dtype} and {b.dtype}; convert one with .to()"
        )
    if a.dtype is dtypes.bool_:
        raise NotImplementedError("matmul: not defined for bool tensors; convert them with .int() or .float()")
    inner = other[0] if len(other) == 1 else other[-2]
    if own[-1] != inner:
        raise RuntimeError(
            f"matmul: shapes {list(own)} and {list(other)} cannot be multiplied: the inner sizes {own[-1]} and "
            f"{inner} differ"
        )
    batch = broadcast_shapes("matmul", [own[:-2], other[:-2]])
    return batch + own[-2:-1] + (other[-1:] if len(other) > 1 else ()), a.dtype


def _as_matrices(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors as a row and a column."""
    return a.unsqueeze(0) if a.ndim == 1 else a, b.unsqueeze(1) if b.ndim == 1 else b


def _product(a: Any, b: Any) -> Any:
    a, b = Tensor._wrap(a), Tensor._wrap(b)
    rows, columns = _as_matrices(a, b)
    m, k = rows._value.shape[-2:]
    n = columns._value.shape[-1]
    left, right = rows._value.shape[:-2], columns._value.shape[:-2]
    if not right and left:  # one matrix for all batches: fold them into the rows
        product = contract(rows.reshape(1, prod(left) * m, k), columns.reshape(1, k, n))
        batch = left
    else:
        batch = broadcast_shapes("matmul", [left, right])
        count = prod(batch)
        rows, columns = rows.expand(*batch, m, k), columns.expand(*batch, k, n)
        product = contract(rows.reshape(count, m, k), columns.reshape(count, k, n))
    return product.reshape(*batch, *(() if a.ndim == 1 else (m,)), *(() if b.ndim == 1 else (n,)))._value


def _product_gradient(g: Tensor, y: Any, a: Tensor, b: Tensor, arg: Any) -> tuple:
    """d a = g b^T and d b = a^T g, summed over what was broadcast."""
    rows, columns = _as_matrices(a, b)
    if b.ndim == 1:
        g = g.unsqueeze(-1)
    if a.ndim == 1:
        g = g.unsqueeze(-2)
    d_rows = (g @ columns.mT).sum_to_shape(tuple(rows.shape))
    if columns.ndim == 2 and rows.ndim > 2:
        count = prod(rows.shape[:-1])
        d_columns = rows.reshape(count, rows.shape[-1]).t() @ g.reshape(count, g.shape[-1])
    else:
        d_columns = (rows.mT @ g).sum_to_shape(tuple(columns.shape))
    return d_rows.reshape(a.shape), d_columns.reshape(b.shape)


primitives.composite("product", _product_infer, _product, autocast="lower")


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
