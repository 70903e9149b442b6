"""Reductions. mse_loss, whose core is one, is found here too."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from netcl.autograd.tape import apply
from netcl.core.dtypes import DType
from netcl.ops.elementwise import cast, literal
from netcl.ops.losses.arguments import check_reduction as check_reduction
from netcl.ops.losses.arguments import legacy_reduction as legacy_reduction
from netcl.ops.losses.regression import mse_loss as mse_loss
from netcl.ops.shape import apply_view, axis_of
from netcl.tensor import Tensor

__all__ = ["amax", "amin", "argmax", "argmin", "logsumexp", "mean", "std", "sum", "var"]
METHODS = __all__

Dim = int | Sequence[int] | None


def axes_of(name: str, dim: Dim, rank: int) -> tuple[int, ...]:
    """Dimensions as sorted axes; None and () mean all."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(rank))
    chosen = [axis_of(name, d, rank) for d in ([dim] if isinstance(dim, int) else dim)]
    if len(set(chosen)) != len(chosen):
        raise RuntimeError(f"{name}: dim {dim} names a dimension twice")
    return tuple(sorted(a for a in chosen if a < rank))


def reduce(op: str, input: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    """One reduction of the table over dim; the axes are dropped unless keepdim."""
    axes = axes_of(op, dim, input.ndim)
    shape = input._value.shape
    result = apply(op, (input,), axes)
    return (
        result
        if keepdim or not shape
        else apply_view("reshape", result, tuple(s for a, s in enumerate(shape) if a not in axes))
    )


def sum(input: Tensor, dim: Dim = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The sum over dim (all dimensions by default). Integers and bools add up as int64."""
    return reduce("sum", input if dtype is None else cast(input, dtype), dim, keepdim)


def mean(input: Tensor, dim: Dim = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The mean over dim (all dimensions by default). RuntimeError for integers, as in PyTorch."""
    input = input if dtype is None else cast(input, dtype)
    if input.dtype.category != 2:
        raise RuntimeError(
            f"mean: expected a floating-point tensor, got {input.dtype}; convert it with .float(), or pass dtype="
        )
    axes = axes_of("mean", dim, input.ndim)
    count = prod(input.shape[a] for a in axes)
    total = reduce("sum", input, dim, keepdim)
    return total / literal(float(count), total)


def _extremum(op: str, input: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    axes = axes_of(op, dim, input.ndim)
    if any(input.shape[a] == 0 for a in axes):
        if dim is None or dim == ():
            raise RuntimeError(
                f"{op}: a tensor without elements (shape {list(input.shape)}) has no {op}; name a dim that "
                "is not of size 0"
            )
        raise IndexError(f"{op}: a dimension of size 0 has no {op} (shape {list(input.shape)}, dim {dim})")
    return reduce(op, input, dim, keepdim)


def amax(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The largest over dim; equal ones share the gradient."""
    return _extremum("max", input, dim, keepdim)


def amin(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The smallest over dim; equal ones share the gradient."""
    return _extremum("min", input, dim, keepdim)


def var(input: Tensor, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
    """The variance over dim, divided by count - correction."""
    axes = axes_of("var", dim, input.ndim)
    count = prod(input.shape[a] for a in axes)
    centred = input - mean(input, axes, keepdim=True) if axes else input - input
    total = reduce("sum", centred * centred, axes or None, keepdim)
    return total / literal(float(max(count - correction, 0)), total)


def std(input: Tensor, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
    """The standard deviation over dim, divided by count - correction."""
    return var(input, dim, correction, keepdim).sqrt()


def logsumexp(input: Tensor, dim: Dim, keepdim: bool = False) -> Tensor:
    """log(sum(exp(input))) over dim, exact at any magnitude: the largest is taken out first."""
    top = amax(input.detach(), dim, keepdim=True)
    top = top.where(top.abs() != float("inf"), 0.0)
    total = (input - top).exp().sum(dim, keepdim=True).log() + top
    return total if keepdim else total.reshape(reduce("sum", input.detach(), dim, False).shape)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The position of the largest (the first of equals; a NaN is the largest), over dim or in the flattened tensor."""
    return _position("max", input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The position of the smallest (the first of equals; a NaN is the smallest), over dim or in the flat tensor."""
    return _position("min", input, dim, keepdim)


def _position(op: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    from netcl.ops.creation import iota

    input = input.detach()
    if dim is None:
        flat = _position(op, input.reshape(-1), 0, False)
        return flat.reshape((1,) * input.ndim) if keepdim else flat
    axis = axis_of(f"arg{op}", dim, input.ndim)
    if not input.ndim:
        return iota((1,), 0, input.device).reshape(())
    extremum = _extremum(op, input, axis, True)
    hit = input == extremum
    if input.is_floating_point():
        hit = hit.logical_or(input != input)
    places = iota(input._value.shape, axis, input._value.device)
    return reduce("min", places.where(hit, input.shape[axis]), axis, keepdim)
