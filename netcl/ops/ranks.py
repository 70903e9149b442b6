"""What is in the middle, or anywhere else, of the sorted elements: median, nanmedian, quantile, nanquantile, mode."""

from __future__ import annotations

import math
from typing import Any

from netcl.autograd.tape import apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.ops.creation import iota, tensor
from netcl.ops.extrema import even_gradient
from netcl.ops.reduction import sum as total
from netcl.ops.scans import running
from netcl.ops.shape import axis_of
from netcl.ops.sorting import along, order, picked
from netcl.tensor import Tensor

__all__ = ["median", "mode", "nanmedian", "nanquantile", "quantile"]
METHODS = __all__


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element (the lower of two) of all, or (values, indices) along dim. NaN where there is a NaN.

    >>> import netcl as nc
    >>> nc.tensor([4.0, 1.0, 3.0, 2.0]).median()
    tensor(2.)
    """
    return _median("median", input, dim, keepdim)


def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element of those that are no NaN, see `median`; NaN where there is nothing else."""
    return _median("nanmedian", input, dim, keepdim)


def _median(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Any:
    if dim is None:
        if not input.numel():
            return tensor(math.nan).to(input.dtype)
        flat = input.detach().reshape(-1)
        value = picked(flat, 0, _middle(name, flat, 0)).reshape(())
        return apply_composite("every_equal", (input, value), None, _every_equal_gradient)
    axis = axis_of(name, dim, input.ndim)
    if input.ndim and not input._value.shape[axis]:
        raise IndexError(f"{name}: a dimension of size 0 has no median (shape {list(input.shape)}, dim {dim})")
    if not input.ndim:
        values, indices = along(name, input.reshape(1), 0, iota((1,), 0, input._value.device), True)
        return type(along(name, input.reshape(1), 0, indices, True))(values.reshape(()), indices.reshape(()))
    return along(name, input, axis, _middle(name, input, axis), keepdim)


def _middle(name: str, input: Tensor, axis: int) -> Tensor:
    """The position of the median along axis, of size 1 there. NaNs are the last in order."""
    size = input._value.shape[axis]
    positions = order(input, axis, False)
    if not input.is_floating_point():
        return positions.narrow(axis, (size - 1) // 2, 1)
    plain = input.detach()
    nans = total(plain != plain, axis, True)
    if name == "nanmedian":
        place = ((size - 1 - nans).clamp(min=0) * 0.5).to(dtypes.int64)
    else:
        place = (size - nans).where(nans > 0, (size - 1) // 2)
    return picked(positions, axis, place)


def _every_equal_infer(operands: Any, arg: Any) -> tuple:
    return (), operands[1].dtype


def _every_equal_gradient(g: Tensor, y: Tensor, x: Tensor, value: Any, arg: Any) -> tuple:
    """All elements that equal the result share the gradient."""
    return (*even_gradient(g, y, x, (tuple(range(x.ndim)), False)), None)


primitives.composite("every_equal", _every_equal_infer, lambda x, value: value)


def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the most frequent along dim: the smallest of equally frequent ones, its last position."""
    axis = axis_of("mode", dim, input.ndim)
    if not input.ndim:
        return along("mode", input.reshape(1), 0, iota((1,), 0, input._value.device), False)
    size = input._value.shape[axis]
    if not size:
        raise IndexError(f"mode: a dimension of size 0 has no mode (shape {list(input.shape)}, dim {dim})")
    positions = order(input, axis, False)
    values = picked(input.detach(), axis, positions)
    places = iota(input._value.shape, axis, input._value.device)
    before = values.roll(1, axis)
    begins = running("max", places.where((values != before) | (places == 0), 0), axis)
    last = (places - begins).argmax(axis, True)
    return along("mode", input, axis, picked(positions, axis, last), keepdim)


# ---- quantiles ---------------------------------------------------------------------------------------------------

_INTERPOLATIONS = ("linear", "lower", "higher", "nearest", "midpoint")


def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """What a share q (a number or a 1-d tensor, 0 to 1) of the elements over dim does not exceed.

    Between two elements by interpolation: "linear", "lower", "higher", "nearest", "midpoint". With a 1-d q the
    quantiles are a first dimension of the result. NaN where there is a NaN.

    >>> import netcl as nc
    >>> nc.tensor([0.0, 1.0, 2.0, 3.0]).quantile(0.5)
    tensor(1.5000)
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The quantile of the elements that are no NaN, see `quantile`."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


def _quantile(name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str) -> Tensor:
    shares = _shares(name, input, q, interpolation)
    axis = 0 if dim is None else axis_of(name, dim, input.ndim)
    rows = input.reshape(-1) if dim is None or not input.ndim else input
    size = rows._value.shape[axis]
    if not input.numel():
        raise RuntimeError(f"{name}: there is no quantile of no elements (shape {list(input.shape)})")
    rows = rows.transpose(axis, -1)
    positions = order(rows, rows.ndim - 1, False)
    plain = rows.detach()
    nans = total(plain != plain, -1, True)
    at = shares.reshape(-1) * (size - 1 - nans).clamp(min=0).to(input.dtype)
    if name == "quantile":
        at = at.where(nans == 0, float(size - 1))  # a NaN is the last in order
    found = _between(rows, positions, at, interpolation).movedim(-1, 0)
    found = found.unsqueeze(-1).transpose(axis + 1, -1)
    found = found if keepdim and dim is not None else found.squeeze(axis + 1)
    if dim is None and keepdim:
        found = found.reshape(-1, *[1] * input.ndim)
    elif not input.ndim:
        found = found.reshape(-1)
    return found if shares.ndim else found.squeeze(0)


def _shares(name: str, input: Tensor, q: Any, interpolation: str) -> Tensor:
    if not input.is_floating_point() or input.dtype.itemsize < 4:
        raise RuntimeError(f"{name}: expected a float32 or float64 tensor, got {input.dtype}; convert it with .float()")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(f"{name}: interpolation must be one of {', '.join(_INTERPOLATIONS)}, got {interpolation!r}")
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}: q must be between 0 and 1, got {q}")
        return tensor(float(q), input.dtype, input._value.device)
    if q.dtype is not input.dtype:
        raise RuntimeError(f"{name}: q is {q.dtype}, the input {input.dtype}; they must be the same")
    if q.ndim > 1:
        raise RuntimeError(f"{name}: q must be a number or a 1-d tensor, got shape {list(q.shape)}")
    return q


def _between(rows: Tensor, positions: Tensor, at: Tensor, interpolation: str) -> Tensor:
    """The elements of the last dimension at the ranks `at`, whole or in between."""
    last = rows.ndim - 1
    high = -(-at).floor()
    low = high if interpolation == "higher" else at.floor()
    if interpolation == "nearest":  # of two equally near the even one
        even = (low * 0.5).floor() * 2 == low
        low = high.where((at - low > 0.5) | ((at - low == 0.5) & even.logical_not()), low)
    limit = rows._value.shape[-1] - 1
    first = low.to(dtypes.int64).clamp(0, limit)
    lower = picked(rows, last, picked(positions, last, first))
    if interpolation in ("lower", "higher", "nearest"):
        return lower
    upper = picked(rows, last, picked(positions, last, high.to(dtypes.int64).clamp(0, limit)))
    weight = at - low if interpolation == "linear" else (at > low).to(at.dtype) * 0.5
    return lower + (upper - lower) * weight
