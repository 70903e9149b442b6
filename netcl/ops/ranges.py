"""Tensors of evenly spaced numbers."""

from __future__ import annotations

from math import ceil, isfinite
from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.ops.creation import iota, tensor
from netcl.ops.elementwise import plain_number
from netcl.tensor import Tensor

__all__ = ["arange", "linspace", "logspace"]


def _number(name: str, value: Any) -> Any:
    """A bound as a Python number."""
    if isinstance(value, Tensor):
        value = value.item()
    if isinstance(value, np.generic):
        value = plain_number(value)
    if not isinstance(value, (bool, int, float)):
        raise TypeError(f"{name}: expected numbers, got {type(value).__name__}")
    return value


def _dtype(dtype: Any) -> DType | None:
    """The dtype asked for, if one is. TypeError for anything else."""
    dtype = dtypes.of(dtype)
    if dtype is not None and not isinstance(dtype, DType):
        raise TypeError(f"dtype must be a netcl dtype such as nc.float32, got {dtype!r}")
    return dtype


def arange(
    start: Any = None,
    end: Any = None,
    step: Any = 1,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, .. below end; arange(n) counts from 0. Integers give int64, else float32.

    RuntimeError for a step of 0 or away from end, and for what is not finite.

    >>> import netcl as nc
    >>> nc.arange(1, 0, -0.25)
    tensor([1.0000, 0.7500, 0.5000, 0.2500])
    """
    if end is None:
        start, end = None, start
    start = 0 if start is None else start
    start, end, step = (_number("arange", value) for value in (start, end, step))
    floating = any(isinstance(x, float) for x in (start, end, step))
    if not all(isfinite(x) for x in (start, end, step)):
        raise RuntimeError(f"arange: unsupported range: {start} to {end} in steps of {step}")
    dtype = _dtype(dtype) or (dtypes.default_float if floating else dtypes.int64)
    target = find_device(device)
    if dtype.category < 2 and floating:  # counted with the numbers given, or, for int64, with what is left of them
        if dtype is dtypes.int64:
            start, end, step = int(start), int(end), int(step)
        count = _count(start, end, step)
        start, step = int(start), int(step)
        floating = False
    else:
        count = _count(start, end, step)
    if floating or dtype.category == 2:  # in float64 on the host, as PyTorch counts
        elements = (start + np.arange(count) * float(step)).astype(dtype.numpy)
        return tensor(elements, None, target, requires_grad)
    if dtype is dtypes.bool_:
        raise NotImplementedError("arange: not defined for bool; compare an integer range with a number")
    places = iota((count,), 0, target)
    result = (places * step + start if (start, step) != (0, 1) else places).to(dtype)
    return result.requires_grad_() if requires_grad else result


def _count(start: Any, end: Any, step: Any) -> int:
    """How many elements a range has."""
    if step == 0:
        raise RuntimeError("arange: step must not be zero")
    if (step > 0 and start > end) or (step < 0 and start < end):
        raise RuntimeError(f"arange: end {end} cannot be reached from {start} in steps of {step}")
    if all(isinstance(x, int) for x in (start, end, step)):
        return -((start - end) // step)
    return ceil((end - start) / step)


def linspace(
    start: Any, end: Any, steps: int, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """`steps` evenly spaced numbers from start to end, both included; float32 unless dtype says else.

    >>> import netcl as nc
    >>> nc.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    dtype = _dtype(dtype) or dtypes.default_float
    elements = _spaced("linspace", start, end, steps, dtype)
    return tensor(elements.astype(dtype.numpy), None, find_device(device), requires_grad)


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """base to the power of `steps` evenly spaced exponents from start to end; float32 unless dtype says else."""
    dtype = _dtype(dtype) or dtypes.default_float
    with np.errstate(over="ignore", invalid="ignore"):
        elements = np.power(float(base), _spaced("logspace", start, end, steps, dtype))
        return tensor(elements.astype(dtype.numpy), None, find_device(device), requires_grad)


def _spaced(name: str, start: Any, end: Any, steps: int, dtype: DType) -> np.ndarray:
    """Evenly spaced float64 numbers: the first half counted from start, the other from end, as PyTorch counts."""
    if not hasattr(steps, "__index__"):
        raise TypeError(f"{name}: steps must be an integer, got {steps!r}")
    start, end, steps = _number(name, start), _number(name, end), int(steps)
    if steps < 0:
        raise RuntimeError(f"{name}: number of steps must be non-negative, got {steps}")
    if steps == 1:
        return np.array([start], np.float64)
    if dtype.category < 2:
        start, end = int(start), int(end)
    step = (float(end) - float(start)) / max(steps - 1, 1)
    places = np.arange(steps)
    return np.where(places < steps // 2, start + step * places, end - step * (steps - places - 1))
