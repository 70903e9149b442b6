"""The largest and the smallest, with or without their positions: max, min, aminmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netcl.autograd.tape import apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.ops import elementwise
from netcl.ops.creation import iota
from netcl.ops.reduction import amax, amin, axes_of, check_extremum, position, reduce
from netcl.ops.return_types import named
from netcl.ops.shape import axis_of, is_whole
from netcl.tensor import Tensor

__all__ = ["aminmax", "max", "min"]
METHODS = __all__


def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    """The largest element; with dim, (values, indices) along it; with another tensor, the larger of each pair.

    The index is that of the first of equals, and a NaN is the largest. RuntimeError for a tensor without elements,
    IndexError for a dim of size 0.

    >>> import netcl as nc
    >>> values, indices = nc.tensor([[1.0, 3.0], [5.0, 2.0]]).max(1)
    >>> values, indices
    (tensor([3., 5.]), tensor([1, 0]))
    """
    return _dispatch("max", elementwise.maximum, input, dim, keepdim, other)


def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    """The smallest element; with dim, (values, indices) along it; with another tensor, the smaller of each pair.

    The index is that of the first of equals, and a NaN is the smallest.
    """
    return _dispatch("min", elementwise.minimum, input, dim, keepdim, other)


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """(min, max) over dim, or of all elements."""
    return named("aminmax", amin(input, dim, keepdim), amax(input, dim, keepdim))


def _dispatch(op: str, pairwise: Callable, input: Tensor, dim: Any, keepdim: bool, other: Any) -> Any:
    if other is None and isinstance(dim, Tensor):
        dim, other = None, dim
    if other is not None:
        if dim is not None or keepdim:
            raise TypeError(f"{op}: give either dim or another tensor, not both")
        return pairwise(input, other)
    if dim is None:
        check_extremum(op, input, None)
        return apply_composite(op, (input,), (axes_of(op, None, input.ndim), False), even_gradient)
    if not is_whole(dim):
        raise TypeError(f"{op}: dim must be one dimension, got {dim!r}; a{op} takes several")
    return along(op, input, dim, keepdim)


def along(op: str, input: Tensor, dim: int, keepdim: bool) -> Any:
    """The extremum along one dimension and where it is; the gradient goes to that element alone."""
    axis = axis_of(op, dim, input.ndim)
    check_extremum(op, input, axis)
    if not input.ndim:
        return named(op, input.clone(), position(op, input, 0, False))
    return named(op, *apply_composite("extremum", (input,), (op, axis, keepdim), _along_gradient, several=True))


def even_gradient(g: Tensor, y: Tensor, x: Tensor, arg: Any) -> tuple:
    """Equal extrema share the gradient; so do NaNs, where one is the result."""
    y = primitives.with_axes(y, x.shape, arg)
    hit = ((x == y) | ((x != x) & (y != y))).to(g.dtype)
    return (primitives.with_axes(g, x.shape, arg) * hit / hit.sum(arg[0], keepdim=True),)


def _infer(operands: Any, arg: tuple[str, int, bool]) -> tuple:
    x = operands[0]
    shape = primitives.reduced_shape(x.shape, (arg[1],), arg[2])
    return (shape, x.dtype), (shape, dtypes.int64)


def _body(x: Any, arg: tuple[str, int, bool]) -> tuple:
    op, axis, keepdim = arg
    input = Tensor._wrap(x)
    return reduce(op, input, axis, keepdim)._value, position(op, input, axis, keepdim)._value


def _along_gradient(g: tuple, y: tuple, x: Any, arg: tuple[str, int, bool]) -> tuple:
    _, axis, keepdim = arg
    of_values, found = (primitives.with_axes(each, x.shape, ((axis,), keepdim)) for each in (g[0], y[1]))
    places = iota(tuple(x.shape), axis, found.device)
    return (of_values.where(places == found, 0.0),)


primitives.composite("extremum", _infer, _body)
