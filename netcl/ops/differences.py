"""Differences of neighbours, and areas under points: diff, trapezoid, cumulative_trapezoid."""

from __future__ import annotations

from typing import Any

from netcl.core import dtypes
from netcl.ops.joining import cat
from netcl.ops.shape import axis_of
from netcl.tensor import Tensor

__all__ = ["cumulative_trapezoid", "diff", "trapezoid", "trapz"]
METHODS = ["diff"]


def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Each element minus the one before it along dim, n times; of bools, whether the two differ.

    prepend and append are put before and after the input first.

    >>> import netcl as nc
    >>> nc.tensor([1, 4, 9]).diff()
    tensor([3, 5])
    """
    if not input.ndim:
        raise RuntimeError("diff: expected at least 1 dimension, got a 0-d tensor")
    if n < 0:
        raise RuntimeError(f"diff: n must not be negative, got {n}")
    axis = axis_of("diff", dim, input.ndim)
    pieces = [t for t in (prepend, input, append) if t is not None]
    result = cat(pieces, axis) if len(pieces) > 1 else input
    if n > result.shape[axis]:
        n = result.shape[axis]
    for _ in range(n):
        size = result._value.shape[axis]
        later, earlier = result.narrow(axis, min(1, size), max(size - 1, 0)), result.narrow(axis, 0, max(size - 1, 0))
        result = later != earlier if result.dtype is dtypes.bool_ else later - earlier
    return result.clone() if result is input else result


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The area under the points y along dim: at the places x, or dx apart."""
    return _areas("trapezoid", y, x, dx, dim).sum(dim)


trapz = trapezoid


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The running area under the points y along dim, from the second point on; see `trapezoid`."""
    return _areas("cumulative_trapezoid", y, x, dx, dim).cumsum(dim)


def _areas(name: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> Tensor:
    """The area between each two neighbours."""
    axis = axis_of(name, dim, y.ndim)
    size = y._value.shape[axis]
    widths: Any = dx
    if x is not None:
        if x.ndim == 1 and x.shape[0] != size:
            raise RuntimeError(f"{name}: x has {x.shape[0]} places, y {size} along dimension {dim}; they must match")
        widths = x.diff().reshape(-1, *[1] * (y.ndim - 1 - axis)) if x.ndim == 1 else x.diff(dim=dim)
    if y.dtype.category < 2:
        y = y.to(x.dtype if x is not None and x.dtype.category == 2 else dtypes.default_float)
    return (y.narrow(axis, min(1, size), max(size - 1, 0)) + y.narrow(axis, 0, max(size - 1, 0))) * 0.5 * widths
