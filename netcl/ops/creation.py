"""Tensors from nothing: constants and ranges."""

from __future__ import annotations

from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.graph.value import record_iota, record_literal, record_scalar
from netcl.graph.views import view
from netcl.ops.elementwise import number_dtype, plain_number
from netcl.ops.shape import sizes
from netcl.tensor import Tensor, from_data

__all__ = ["arange", "full", "ones", "ones_like", "tensor", "zeros", "zeros_like"]


def tensor(data: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of data: numbers, nested lists, NumPy arrays, tensors. Floats become float32.

    >>> import netcl as nc
    >>> nc.tensor([1.0, 2.5])
    tensor([1.0000, 2.5000])
    """
    result = Tensor._wrap(from_data(data, dtype, device))
    return result.requires_grad_() if requires_grad else result


def full(
    size: Any, fill_value: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of one number. Takes no memory until something needs it there."""
    shape = sizes("full", (size,))
    if any(length < 0 for length in shape):
        raise RuntimeError(f"full: sizes must not be negative, got {list(shape)}")
    if isinstance(fill_value, np.generic):
        fill_value = plain_number(fill_value)
    if dtype is None:
        dtype = number_dtype(fill_value, dtypes.bool_)
    value = _fill(fill_value, dtype)
    target = device if device is not None and hasattr(device, "pool") else find_device(device)
    if target is not None:
        target.require(dtype)
    known = value in (0, 1)  # other numbers may change from call to call: they are no part of the plan's key
    filled = (record_literal if known else record_scalar)(value, dtype, target)
    if shape:
        filled = view("expand", view("reshape", filled, (1,) * len(shape)), shape)
    result = Tensor._wrap(filled)
    return result.requires_grad_() if requires_grad else result


def _fill(number: Any, dtype: DType) -> Any:
    """A number as an element of dtype; RuntimeError where an integer dtype can't hold it."""
    if not isinstance(dtype, DType):
        raise TypeError(f"dtype must be a netcl dtype such as nc.float32, got {dtype!r}")
    if dtype.category == 2:
        return float(number)
    if dtype is dtypes.bool_:
        return bool(number)
    limits = np.iinfo(dtype.numpy)
    if number != number or not limits.min <= number <= limits.max:
        raise RuntimeError(f"full: {number} does not fit {dtype}, whose range is {limits.min} to {limits.max}")
    return int(number)


def zeros(*size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return full(sizes("zeros", size), 0.0, dtype or dtypes.float32, device, requires_grad)


def ones(*size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return full(sizes("ones", size), 1.0, dtype or dtypes.float32, device, requires_grad)


def zeros_like(input: Tensor, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros in input's shape, dtype and device."""
    return full(input.shape, 0.0, dtype or input.dtype, input.device, requires_grad)


def ones_like(input: Tensor, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Ones in input's shape, dtype and device."""
    return full(input.shape, 1.0, dtype or input.dtype, input.device, requires_grad)


def iota(shape: tuple[int, ...], axis: int, device: Any, dtype: DType = dtypes.int64) -> Tensor:
    """The coordinates along one axis of a shape."""
    return Tensor._wrap(record_iota(device, tuple(shape), axis, dtype))


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, .. below end; arange(n) counts from 0. Integers give int64, else float32."""
    from math import ceil

    if end is None:
        start, end = 0, start
    if step == 0:
        raise RuntimeError("arange: step must not be zero")
    floating = any(isinstance(x, float) for x in (start, end, step))
    dtype = dtype or (dtypes.float32 if floating else dtypes.int64)
    count = ceil((end - start) / step)
    if count < 0:
        raise RuntimeError(f"arange: end {end} cannot be reached from {start} in steps of {step}")
    target = find_device(device)
    if floating or dtype.category == 2:  # in float64 on the host, as PyTorch counts
        return tensor((start + np.arange(count) * float(step)).astype(dtype.numpy), None, target, requires_grad)
    places = iota((count,), 0, target)
    result = places * step + start if (start, step) != (0, 1) else places
    result = result.to(dtype)
    return result.requires_grad_() if requires_grad else result


def scalar(number: Any, dtype: DType, device: Any) -> Tensor:
    """A Python number as a 0-d tensor that is a kernel argument."""
    return Tensor._wrap(record_scalar(number, dtype, device))
