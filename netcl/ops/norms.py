"""Norms of vectors: vector_norm (nc.linalg.vector_norm), norm, dist, renorm."""

from __future__ import annotations

import math
from typing import Any

from netcl.autograd.autocast import in_float32
from netcl.autograd.tape import apply_composite
from netcl.core.dtypes import DType
from netcl.graph import primitives
from netcl.ops.elementwise import cast, literal
from netcl.ops.reduction import Dim, axes_of, drop, reduce, widened
from netcl.ops.shape import axis_of
from netcl.tensor import Tensor

__all__ = ["dist", "norm", "renorm"]
METHODS = __all__
IN_PLACE = ["renorm"]

Axes = tuple[int, ...]


def vector_norm(
    x: Tensor, ord: float = 2, dim: Dim = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """(sum |x|^ord)^(1/ord) over dim (all by default): inf is the largest |x|, -inf the smallest, 0 counts non-zeros.

    The gradient at 0 is 0. RuntimeError for integers, and for an ord below 0 or inf over no elements.

    >>> import netcl as nc
    >>> nc.linalg.vector_norm(nc.tensor([3.0, -4.0]))
    tensor(5.)
    """
    return _norm("linalg.vector_norm", x, ord, dim, keepdim, dtype)


def norm(input: Tensor, p: Any = "fro", dim: Dim = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The p-norm over dim (all by default), of the elements as one vector; "fro" is 2, "nuc" that of matrices."""
    if p == "nuc":
        from netcl.ops.matrix_norms import matrix_norm

        return matrix_norm(input, p, axes_of("norm", dim, input.ndim), keepdim, dtype=dtype)
    if p is None or p == "fro":
        p = 2.0
    elif isinstance(p, str):
        raise RuntimeError(f"norm: p={p!r} is not known; p can be a number, inf, -inf, 'fro' or 'nuc'")
    return _norm("norm", input, p, dim, keepdim, dtype)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other, which broadcast."""
    return _norm("dist", input - other, p, None, False, None)


def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """input with each slice along dim scaled down to a p-norm of maxnorm where its norm is larger."""
    if input.ndim < 2:
        raise RuntimeError(f"renorm: expected at least 2 dimensions, got shape {list(input.shape)}")
    if p <= 0:
        raise RuntimeError(f"renorm: p must be positive, got {p}")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: maxnorm must not be negative, got {maxnorm}")
    input = in_float32(input)
    axis = axis_of("renorm", dim, input.ndim)
    rest = [a for a in range(input.ndim) if a != axis]
    wide = widened(input)
    norms = _norm("renorm", wide, p, rest, True, None)
    factor = (maxnorm / (norms + literal(1e-7, norms))).where(norms > maxnorm, 1.0)
    return cast(wide * factor, input.dtype)


def _norm(name: str, x: Tensor, ord: Any, dim: Dim, keepdim: bool, dtype: DType | None) -> Tensor:
    if dtype is not None:
        if dtype.category != 2:
            raise RuntimeError(f"{name}: dtype must be a floating-point dtype, got {dtype}")
        x = cast(x, dtype)
    if x.dtype.category != 2:
        raise RuntimeError(
            f"{name}: expected a floating-point tensor, got {x.dtype}; convert it with .float(), or pass dtype="
        )
    order = float(ord)
    axes = axes_of(name, dim, x.ndim)
    if (order < 0 or order == math.inf) and 0 in [x._value.shape[axis] for axis in axes]:
        raise RuntimeError(
            f"{name}: there is no {order}-norm of no elements (shape {list(x.shape)}); name a dim that is not of size 0"
        )
    found = apply_composite("vector_norm", (x,), (order, axes, keepdim), _gradient)
    return found if dtype is None else cast(found, dtype)


def _infer(operands: Any, arg: tuple[float, Axes, bool]) -> tuple:
    return primitives.reduced_shape(operands[0].shape, *arg[1:]), operands[0].dtype


def _body(x: Any, arg: tuple[float, Axes, bool]) -> Any:
    order, axes, keepdim = arg
    wide = widened(Tensor._wrap(x))
    if math.isinf(order):
        found = reduce("max" if order > 0 else "min", wide.abs(), axes, True)
    elif order == 0:
        found = cast(reduce("sum", wide != 0, axes, True), wide.dtype)
    elif order == 1:
        found = reduce("sum", wide.abs(), axes, True)
    elif order == 2:
        found = reduce("sum", wide * wide, axes, True).sqrt()
    else:
        found = reduce("sum", wide.abs().pow(order), axes, True).pow(1 / order)
    return drop(cast(found, x.dtype), axes, keepdim)._value


def _gradient(g: Tensor, y: Tensor, x: Tensor, arg: tuple[float, Axes, bool]) -> tuple:
    """sign(x) (|x| / norm)^(ord - 1); 0 where the norm is 0, and where that power of 0 would be infinite."""
    order, axes, _ = arg
    if order == 0:
        return (x.new_zeros(x.shape),)
    g, y = (primitives.with_axes(each, x.shape, arg[1:]) for each in (g, y))
    if order == 1:
        return (g * x.sign(),)
    if math.isinf(order):
        hit = (x.abs() == y).to(g.dtype)
        return (x.sign() * (hit * (g / hit.sum(axes, keepdim=True))),)
    g, wide, found = widened(g), widened(x), widened(y)
    found = found.where(found != 0, 1.0)
    if order == 2:
        return (wide * (g / found),)
    zero = wide == 0
    magnitude = wide.abs().where(zero.logical_not(), 1.0)
    part = wide.sign() * (magnitude / found).pow(order - 1)
    return (g * part.where(zero.logical_not(), 0.0),)


primitives.composite("vector_norm", _infer, _body, autocast="float32")
