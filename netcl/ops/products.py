"""Products of vectors, matrices and batches: dot, outer, addmm and their kin."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce as fold
from math import prod
from typing import Any

from netcl.autograd.autocast import in_widest, lowered
from netcl.core.dtypes import promote
from netcl.ops.elementwise import check_devices
from netcl.ops.linalg import bmm, matmul
from netcl.ops.shape import axis_of, expand
from netcl.tensor import Tensor

__all__ = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bilinear", "chain_matmul", "cross", "dot", "ger", "inner", "kron",
    "mv", "outer", "tensordot", "vdot",
]  # fmt: skip
METHODS = [name for name in __all__ if name not in ("bilinear", "chain_matmul", "tensordot")]
IN_PLACE = ["addbmm", "addmm", "addmv", "addr", "baddbmm"]


def _check_ranks(name: str, operands: Sequence[Tensor], ranks: Sequence[int]) -> None:
    check_devices(name, *operands)
    if any(operand.ndim != rank for operand, rank in zip(operands, ranks, strict=True)):
        wanted = " and ".join(f"{rank}-d" for rank in ranks)
        found = " and ".join(str(list(operand.shape)) for operand in operands)
        raise RuntimeError(f"{name}: expected {wanted} tensors, got shapes {found}")


# ---- vectors -----------------------------------------------------------------------------------------------------


@in_widest
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors of one length and dtype."""
    _check_ranks("dot", (input, tensor), (1, 1))
    if input.shape != tensor.shape:
        raise RuntimeError(f"dot: the vectors have {input.shape[0]} and {tensor.shape[0]} elements; they must match")
    return matmul(input, tensor)


def vdot(input: Tensor, other: Tensor) -> Tensor:
    """dot (whose first operand would be conjugated, were it complex)."""
    return dot(input, other)


def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sums of products along the last dimension of both: shape input.shape[:-1] + other.shape[:-1]."""
    check_devices("inner", input, other)
    if not input.ndim or not other.ndim:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            f"inner: the last sizes of {list(input.shape)} and {list(other.shape)} differ; they must be equal"
        )
    return tensordot(input, other, ([-1], [-1]))


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of an element of one vector and one of the other: (n) and (m) give (n, m).

    >>> import netcl as nc
    >>> nc.outer(nc.tensor([1, 2]), nc.tensor([3, 4])).tolist()
    [[3, 4], [6, 8]]
    """
    _check_ranks("outer", (input, vec2), (1, 1))
    return input.unsqueeze(1) * vec2


ger = outer


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector."""
    _check_ranks("mv", (input, vec), (2, 1))
    return matmul(input, vec)


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product along a dimension of size 3: dim, or the first one of that size.

    >>> import netcl as nc
    >>> nc.cross(nc.tensor([1, 0, 0]), nc.tensor([0, 1, 0])).tolist()
    [0, 0, 1]
    """
    if dim is None:
        check_devices("cross", input, other)
        if 3 not in input.shape:
            raise RuntimeError(f"cross: no dimension of shape {list(input.shape)} has size 3")
        dim = tuple(input.shape).index(3)
    return cross_along("cross", input, other, dim)


def cross_along(name: str, input: Tensor, other: Tensor, dim: int) -> Tensor:
    check_devices(name, input, other)
    if input.ndim != other.ndim:
        raise RuntimeError(f"{name}: shapes {list(input.shape)} and {list(other.shape)} must have equal ranks")
    axis = axis_of(name, dim, input.ndim)
    if not input.ndim or input.shape[axis] != 3 or other.shape[axis] != 3:
        raise RuntimeError(
            f"{name}: dimension {dim} must have size 3 in both shapes, got {list(input.shape)} and {list(other.shape)}"
        )
    return input.roll(-1, axis) * other.roll(-2, axis) - input.roll(-2, axis) * other.roll(-1, axis)


# ---- a product added to something --------------------------------------------------------------------------------


def _added(name: str, input: Tensor, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    """beta * input + alpha * product; with beta 0 what is in input does not matter."""
    check_devices(name, input, product)
    (input,) = lowered(input)
    if input.dtype is not product.dtype:
        raise RuntimeError(f"{name}: expected one dtype, got {input.dtype} and {product.dtype}; convert one with .to()")
    if product.dtype.category < 2 and (isinstance(alpha, float) or isinstance(beta, float)):
        raise RuntimeError(f"{name}: for {product.dtype} tensors beta and alpha must be integers, got {beta}, {alpha}")
    try:
        input = expand(input, product._value.shape)
    except RuntimeError:
        raise RuntimeError(
            f"{name}: input of shape {list(input.shape)} does not broadcast to the product's {list(product.shape)}"
        ) from None
    scaled = product if alpha == 1 else product * alpha
    if beta == 0:
        return scaled
    return (input if beta == 1 else input * beta) + scaled


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2): (n, m) @ (m, p), input broadcasts to (n, p).

    With beta 0 input is not read: NaN in it does not matter.

    >>> import netcl as nc
    >>> nc.addmm(nc.ones(2), nc.ones(1, 3), nc.ones(3, 2)).tolist()
    [[4.0, 4.0]]
    """
    _check_ranks("addmm", (mat1, mat2), (2, 2))
    return _added("addmm", input, matmul(mat1, mat2), beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    _check_ranks("addmv", (mat, vec), (2, 1))
    return _added("addmv", input, matmul(mat, vec), beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2), in the dtype that the three are promoted to."""
    product = outer(*lowered(vec1, vec2))
    if input.dtype is not product.dtype:
        input = lowered(input)[0]
        dtype = promote(input.dtype, product.dtype)
        input, product = input.to(dtype), product.to(dtype)
    return _added("addr", input, product, beta, alpha)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2), matrix by matrix of two batches."""
    _check_ranks("baddbmm", (batch1, batch2), (3, 3))
    return _added("baddbmm", input, bmm(batch1, batch2), beta, alpha)


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * the sum of the products of two batches of matrices."""
    _check_ranks("addbmm", (batch1, batch2), (3, 3))
    count, rows, inner_size = batch1._value.shape
    if batch2._value.shape[:2] != (count, inner_size):
        raise RuntimeError(f"addbmm: shapes {list(batch1.shape)} and {list(batch2.shape)} can't be multiplied")
    left = batch1.transpose(0, 1).reshape(rows, count * inner_size)
    return _added("addbmm", input, matmul(left, batch2.reshape(count * inner_size, batch2.shape[2])), beta, alpha)


# ---- several dimensions, several factors -------------------------------------------------------------------------


@in_widest
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Sums of products over several dimensions at once.

    dims: a count (the last of a with the first of b), or two lists of dimensions that belong together.

    >>> import netcl as nc
    >>> nc.tensordot(nc.ones(2, 3, 4), nc.ones(4, 3, 5), dims=([1, 2], [1, 0])).shape
    netcl.Size([2, 5])
    """
    check_devices("tensordot", a, b)
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot: {dims} dims don't fit shapes {list(a.shape)} and {list(b.shape)}")
        dims = (list(range(a.ndim - dims, a.ndim)), list(range(dims)))
    chosen = [[one] if isinstance(one, int) else list(one) for one in dims]
    left, right = ([axis_of("tensordot", d, t.ndim) for d in own] for own, t in zip(chosen, (a, b), strict=True))
    if len(left) != len(right) or [a.shape[i] for i in left] != [b.shape[j] for j in right]:
        raise RuntimeError(
            f"tensordot: dims {chosen[0]} of {list(a.shape)} and {chosen[1]} of {list(b.shape)} must have equal sizes"
        )
    if len(set(left)) != len(left) or len(set(right)) != len(right):
        raise RuntimeError(f"tensordot: dims {chosen[0]} or {chosen[1]} name a dimension twice")
    rows = [i for i in range(a.ndim) if i not in left]
    columns = [j for j in range(b.ndim) if j not in right]
    m, n = [a.shape[i] for i in rows], [b.shape[j] for j in columns]
    k = prod(a.shape[i] for i in left)
    product = matmul(a.permute(rows + left).reshape(prod(m), k), b.permute(right + columns).reshape(k, prod(n)))
    return product.reshape(*m, *n)


def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: each element of input times all of other, as blocks."""
    check_devices("kron", input, other)
    rank = max(input.ndim, other.ndim)
    own = (1,) * (rank - input.ndim) + tuple(input.shape)
    blocks = (1,) * (rank - other.ndim) + tuple(other.shape)
    spread = input.reshape([size for pair in zip(own, [1] * rank, strict=True) for size in pair])
    inside = other.reshape([size for pair in zip([1] * rank, blocks, strict=True) for size in pair])
    return (spread * inside).reshape([n * size for n, size in zip(own, blocks, strict=True)])


def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of several matrices, in the order that costs least."""
    if not matrices:
        raise TypeError("chain_matmul: expected at least one matrix")
    _check_ranks("chain_matmul", matrices, [2] * len(matrices))
    return product_of(list(matrices))


def product_of(matrices: list[Tensor]) -> Tensor:
    """The product of matrices in the cheapest order, by the classic table over all parts of the chain."""
    if len(matrices) <= 2:
        return fold(matmul, matrices)
    sizes = [matrices[0].shape[0], *(matrix.shape[1] for matrix in matrices)]
    count = len(matrices)
    cost: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(count)}
    for length in range(1, count):
        for first in range(count - length):
            last = first + length
            cost[first, last] = min(
                (cost[first, cut][0] + cost[cut + 1, last][0] + sizes[first] * sizes[cut + 1] * sizes[last + 1], cut)
                for cut in range(first, last)
            )

    def product(first: int, last: int) -> Tensor:
        if first == last:
            return matrices[first]
        cut = cost[first, last][1]
        return matmul(product(first, cut), product(cut + 1, last))

    return product(0, count - 1)


@in_widest
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1 weight[k] input2 + bias[k] for each k: (.., in1), (.., in2) and weight (out, in1, in2) give (.., out)."""
    check_devices("bilinear", *([input1, input2, weight] if bias is None else [input1, input2, weight, bias]))
    if weight.ndim != 3 or input1.shape[:-1] != input2.shape[:-1] or not input1.ndim:
        raise RuntimeError(
            f"bilinear: inputs of shapes {list(input1.shape)} and {list(input2.shape)} must be equal but for the last "
            f"size, and weight be (out, in1, in2), got {list(weight.shape)}"
        )
    out, in1, in2 = weight.shape
    if (input1.shape[-1], input2.shape[-1]) != (in1, in2) or (bias is not None and tuple(bias.shape) != (out,)):
        raise RuntimeError(
            f"bilinear: weight of shape {list(weight.shape)} does not fit inputs of shapes {list(input1.shape)} and "
            f"{list(input2.shape)}, or the bias"
        )
    lead = input1.shape[:-1]
    rows = prod(lead)
    spread = matmul(input1.reshape(rows, in1), weight.permute(1, 0, 2).reshape(in1, out * in2)).reshape(rows, out, in2)
    result = matmul(spread, input2.reshape(rows, in2, 1)).reshape(*lead, out)
    return result if bias is None else result + bias
