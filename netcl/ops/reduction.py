"""Reductions. mse_loss, whose core is one, is found here too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from netcl.autograd.autocast import in_float32
from netcl.autograd.tape import apply, apply_composite, is_grad_enabled
from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.graph import primitives
from netcl.ops.creation import iota
from netcl.ops.elementwise import cast, literal, quick_exp
from netcl.ops.losses.regression import mse_loss as mse_loss  # the documents name it here too
from netcl.ops.scans import running_product_before
from netcl.ops.shape import axis_of, is_whole
from netcl.tensor import Tensor

__all__ = ["amax", "amin", "argmax", "argmin", "logsumexp", "mean", "nansum", "prod", "sum"]
METHODS = __all__

Dim = int | Sequence[int] | None


def axes_of(name: str, dim: Dim, rank: int) -> tuple[int, ...]:
    """Dimensions as sorted axes; None and () mean all."""
    if is_whole(dim):
        return (axis_of(name, dim, rank),)[:rank]
    if dim is None or len(dim) == 0:
        return tuple(range(rank))
    chosen = [axis_of(name, d, rank) for d in dim]
    if len(set(chosen)) != len(chosen):
        raise RuntimeError(f"{name}: dim {dim} names a dimension twice")
    return tuple(sorted(a for a in chosen if a < rank))


def drop(kept: Tensor, axes: Sequence[int], keepdim: bool) -> Tensor:
    """In a composite's body: a result whose axes were kept with size 1, without them unless keepdim."""
    return kept if keepdim else kept.reshape(primitives.reduced_shape(kept._value.shape, axes, False))


def reduce(op: str, input: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    """One reduction of the table over dim; the axes are dropped unless keepdim."""
    return apply(op, (input,), (axes_of(op, dim, len(input._value.shape)), keepdim))


def widened(input: Tensor) -> Tensor:
    """A floating-point tensor in the dtype that its sums are made in: float16 and bfloat16 as float32."""
    return cast(input, dtypes.accumulator(input.dtype))


def sum(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The sum over dim (all dimensions by default). Integers and bools add up as int64.

    >>> import netcl as nc
    >>> nc.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(0)
    tensor([4., 6.])
    """
    if dtype is None:
        return reduce("sum", input, dim, keepdim)
    return cast(reduce("sum", cast(input, dtype), dim, keepdim), dtype)


def nansum(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The sum over dim with NaNs as 0."""
    input = input if dtype is None else cast(input, dtype)
    return sum(input.where(input == input, 0) if input.is_floating_point() else input, dim, keepdim, dtype=dtype)


def mean(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The mean over dim (all dimensions by default). RuntimeError for integers, as in PyTorch."""
    input = in_float32(input) if dtype is None else cast(input, dtype)
    if input.dtype.category != 2:
        raise RuntimeError(
            f"mean: expected a floating-point tensor, got {input.dtype}; convert it with .float(), or pass dtype="
        )
    return apply_composite("mean", (input,), (axes_of("mean", dim, input.ndim), keepdim), _mean_gradient)


def _infer(operands: Any, arg: tuple[tuple[int, ...], bool]) -> tuple:
    return primitives.reduced_shape(operands[0].shape, *arg), operands[0].dtype


def _mean(x: Any, arg: tuple[tuple[int, ...], bool]) -> Any:
    total = reduce("sum", widened(Tensor._wrap(x)), *arg)
    return cast(total / literal(_count(x.shape, arg[0]), total), x.dtype)._value


def _mean_gradient(g: Tensor, y: Any, x: Any, arg: tuple[tuple[int, ...], bool]) -> tuple:
    g = widened(g)
    share = g / literal(_count(x.shape, arg[0]), g)
    return (primitives.with_axes(share, x.shape, arg).expand(x.shape),)


def _count(shape: Sequence[int], axes: Sequence[int]) -> float:
    return float(math.prod([shape[axis] for axis in axes]))


primitives.composite("mean", _infer, _mean)


# ---- products ----------------------------------------------------------------------------------------------------


def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The product over dim (all dimensions by default). Integers and bools multiply as int64.

    Its gradient is right where elements are 0, and so is the second derivative.

    >>> import netcl as nc
    >>> nc.tensor([[1.0, 2.0], [3.0, 4.0]]).prod(1)
    tensor([ 2., 12.])
    """
    if dim is not None and not is_whole(dim):
        raise TypeError(f"prod: dim must be one dimension, got {dim!r}; reduce one after the other")
    input = input if dtype is None else cast(input, dtype)
    arg = axes_of("prod", dim, input.ndim), keepdim
    result = apply_composite("prod", (input,), arg, _prod_gradient)
    return result if dtype is None else cast(result, dtype)


def _prod_gradient(g: Tensor, y: Any, x: Tensor, arg: tuple[tuple[int, ...], bool]) -> tuple:
    """The product of all others. In place of a division, which fails at 0: where one element is 0, it alone gets
    the product of the others. That form has no second derivative at 0; running products from both sides do."""
    axes = arg[0]
    if not axes:
        return (g,)
    g = primitives.with_axes(g, x.shape, arg)
    if is_grad_enabled():
        return (g * _products_of_others(x, axes),)
    wide = widened(x)
    zero = wide == 0
    zeros = zero.sum(axes, keepdim=True)
    safe = wide.where(zero.logical_not(), 1.0)
    others = reduce("prod", safe, axes, True)
    of_one_zero = others.where(zero & (zeros == 1), 0.0)
    return (g * (others / safe).where(zeros == 0, of_one_zero),)


def _products_of_others(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """For each element the product of the others over axes."""
    rest = tuple(a for a in range(x.ndim) if a not in axes)
    order = rest + axes
    rows = x.permute(order)
    flat = rows.reshape(math.prod(x.shape[a] for a in rest), -1)
    before = running_product_before(flat, 1)
    after = running_product_before(flat.flip(1), 1).flip(1)
    back = tuple(order.index(a) for a in range(x.ndim))
    return (before * after).reshape(rows.shape).permute(back)


# ---- extrema -----------------------------------------------------------------------------------------------------


def check_extremum(op: str, input: Tensor, dim: Dim) -> None:
    """Raises where there is nothing to take the largest or smallest of."""
    axes = axes_of(op, dim, input.ndim)
    if any(input.shape[a] == 0 for a in axes):
        if dim is None or dim == ():
            raise RuntimeError(
                f"{op}: a tensor without elements (shape {list(input.shape)}) has no {op}; name a dim that "
                "is not of size 0"
            )
        raise IndexError(f"{op}: a dimension of size 0 has no {op} (shape {list(input.shape)}, dim {dim})")


def _extremum(op: str, input: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    check_extremum(op, input, dim)
    return reduce(op, input, dim, keepdim)


def amax(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The largest over dim; equal ones share the gradient."""
    return _extremum("max", input, dim, keepdim)


def amin(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The smallest over dim; equal ones share the gradient."""
    return _extremum("min", input, dim, keepdim)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The position of the largest (the first of equals; a NaN is the largest), over dim or in the flattened tensor."""
    return position("max", input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The position of the smallest (the first of equals; a NaN is the smallest), over dim or in the flat tensor."""
    return position("min", input, dim, keepdim)


def position(op: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    """Where the extremum is, in the flattened tensor or along dim: the first of equals, a NaN before all others."""
    axis = None if dim is None else axis_of(f"arg{op}", dim, input.ndim)
    if axis is not None:
        check_extremum(op, input, axis)
    elif not input.numel():
        raise IndexError(
            f"arg{op}: a tensor without elements (shape {list(input.shape)}) has none; name a dim that is not of "
            "size 0"
        )
    return apply_composite("position", (input,), (op, axis if input.ndim else None, keepdim), None)


def _position_infer(operands: Any, arg: tuple[str, int | None, bool]) -> tuple:
    _, axis, keepdim = arg
    shape = operands[0].shape
    axes = range(len(shape)) if axis is None else (axis,)
    return primitives.reduced_shape(shape, axes, keepdim), dtypes.int64


def _position(x: Any, arg: tuple[str, int | None, bool]) -> Any:
    op, axis, _ = arg
    input = Tensor._wrap(x)
    if axis is None:
        input, axis = input.reshape(-1), 0
    hit = input == reduce(op, input, axis, True)
    if input.is_floating_point():
        hit = hit.logical_or(input != input)
    places = iota(input._value.shape, axis, x.device)
    first = reduce("min", places.where(hit, input.shape[axis]), axis, True)
    return first.reshape(_position_infer((x,), arg)[0])._value


primitives.composite("position", _position_infer, _position)


# ---- logsumexp ---------------------------------------------------------------------------------------------------


def logsumexp(input: Tensor, dim: Dim, keepdim: bool = False) -> Tensor:
    """log(sum(exp(input))) over dim, exact at any magnitude: the largest is taken out first. Of nothing: -inf.

    Integers become floats.
    """
    input = input if input.is_floating_point() else cast(input, dtypes.default_float)
    axes = axes_of("logsumexp", dim, input.ndim)
    if not axes:
        return cast(input, input.dtype) if not input.ndim else input.clone()
    if 0 in [input._value.shape[axis] for axis in axes]:
        return reduce("sum", input, axes, keepdim).log()
    return apply_composite("logsumexp", (input,), (axes, keepdim), _logsumexp_gradient)


def _logsumexp(x: Any, arg: tuple[tuple[int, ...], bool]) -> Any:
    axes = arg[0]
    input = Tensor._wrap(x)
    wide = widened(input)
    top = reduce("max", wide, axes, True)
    top = top.where(top.abs() != math.inf, 0.0)
    found = cast(reduce("sum", quick_exp(wide - top), axes, True).log() + top, input.dtype)
    return drop(found, *arg)._value


def _logsumexp_gradient(g: Tensor, y: Tensor, x: Tensor, arg: tuple[tuple[int, ...], bool]) -> tuple:
    """The softmax."""
    g, y = (primitives.with_axes(each, x.shape, arg) for each in (g, y))
    return (g * quick_exp(x - y),)


primitives.composite("logsumexp", _infer, _logsumexp, autocast="float32")
