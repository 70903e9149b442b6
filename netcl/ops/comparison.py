"""Bounds, signs, and what kind of number an element is."""

from __future__ import annotations

import math
from typing import Any

from netcl.autograd.refusal import refuse_way_back
from netcl.autograd.tape import apply
from netcl.core import dtypes
from netcl.ops.elementwise import abs as absolute
from netcl.ops.elementwise import (
    as_tensor_like,
    binary,
    check_devices,
    eq,
    gt,
    le,
    logical_and,
    logical_or,
    lt,
    ne,
    result_like,
    where,
)
from netcl.ops.types import finfo
from netcl.tensor import Tensor

__all__ = """
    allclose angle clamp clamp_max clamp_min clip copysign equal fmax fmin heaviside isclose isfinite isinf isnan
    isneginf isposinf isreal nan_to_num nextafter signbit
""".split()
METHODS = __all__
IN_PLACE = "clamp clamp_max clamp_min clip copysign heaviside nan_to_num nextafter".split()

fmax = binary("fmax", "The larger of each pair; a NaN loses against a number.")
fmin = binary("fmin", "The smaller of each pair; a NaN loses against a number.")
copysign = binary("copysign", "The magnitude of input with the sign of other (that of -0.0 too).")
nextafter = binary("nextafter", "The next floating-point number after input in the direction of other.")


# ---- bounds ------------------------------------------------------------------------------------------------------


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """input held between min and max: numbers, or tensors that broadcast; max wins where min is larger.

    At the borders the gradient passes, as in PyTorch. A NaN anywhere gives NaN. RuntimeError without any bound.

    >>> import netcl as nc
    >>> nc.tensor([-2.0, 0.5, 3.0]).clamp(0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of min and max must be given")
    result = input
    for bound, beyond in ((min, lt), (max, gt)):
        if bound is not None:
            limit = as_tensor_like(bound, input)
            outside = beyond(result, limit)
            if limit.dtype.category == 2 and (isinstance(bound, Tensor) or math.isnan(bound)):
                outside = outside | (limit != limit)
            result = where(outside, limit, result)
    return result if isinstance(min, Tensor) or isinstance(max, Tensor) else result_like(result, input, 0)


def clip(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """clamp, by NumPy's name."""
    return clamp(input, min, max)


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """input, at least min."""
    return clamp(input, min=min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """input, at most max."""
    return clamp(input, max=max)


def nan_to_num(
    input: Tensor, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """input with numbers in place of NaN, inf and -inf; without them 0, and the dtype's largest and smallest."""
    if input.dtype.category != 2:
        return apply("copy", (input,))
    limits = finfo(input.dtype)
    high = limits.max if posinf is None else posinf
    low = limits.min if neginf is None else neginf
    number = where(isnan(input), 0.0 if nan is None else nan, input)
    return where(eq(input, math.inf), high, where(eq(input, -math.inf), low, number))


# ---- signs -------------------------------------------------------------------------------------------------------


def signbit(input: Tensor) -> Tensor:
    """Whether the sign is minus; true for -0.0."""
    if input.dtype.category != 2:
        return lt(input, 0)
    return lt(copysign(as_tensor_like(1.0, input), input.detach()), 0)


def angle(input: Tensor) -> Tensor:
    """0 where input >= 0, pi where it is below, NaN for NaN; integers give floats."""
    floats = input if input.dtype.category == 2 else apply("cast", (input,), dtypes.default_float.name)
    return where(lt(floats, 0), math.pi, where(isnan(floats), floats, 0.0))


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 where input < 0, 1 where it is > 0, and values where it is 0. It has no derivative: backward raises.

    RuntimeError for different dtypes.
    """
    check_devices("heaviside", input, values)
    if input.dtype is not values.dtype:
        raise RuntimeError(f"heaviside: expected tensors of one dtype, got {input.dtype} and {values.dtype}")
    step = apply("cast", (gt(input, 0),), input.dtype.name)
    return refuse_way_back("heaviside", where(eq(input, 0), values.detach(), step), (input, values))


# ---- kinds of numbers --------------------------------------------------------------------------------------------


def isnan(input: Tensor) -> Tensor:
    """Whether elements are NaN."""
    return apply("ne", (input, input))


def isinf(input: Tensor) -> Tensor:
    """Whether elements are inf or -inf."""
    if input.dtype.category != 2:
        return isnan(input)
    return eq(absolute(input), math.inf)


def isfinite(input: Tensor) -> Tensor:
    """Whether elements are neither infinite nor NaN."""
    if input.dtype.category != 2:
        return apply("eq", (input, input))
    return lt(absolute(input), math.inf)


def isposinf(input: Tensor) -> Tensor:
    """Whether elements are inf."""
    return eq(input, math.inf) if input.dtype.category == 2 else isnan(input)


def isneginf(input: Tensor) -> Tensor:
    """Whether elements are -inf."""
    return eq(input, -math.inf) if input.dtype.category == 2 else isnan(input)


def isreal(input: Tensor) -> Tensor:
    """True everywhere: there are no complex tensors here."""
    return logical_or(eq(input, input), ne(input, input))


# ---- whether two tensors agree -----------------------------------------------------------------------------------


def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Where |input - other| <= atol + rtol * |other|, as a bool tensor; equal infinities are close.

    RuntimeError for different dtypes and for negative tolerances.
    """
    check_devices("isclose", input, other)
    if input.dtype is not other.dtype:
        raise RuntimeError(f"isclose: expected tensors of one dtype, got {input.dtype} and {other.dtype}")
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"isclose: tolerances must not be negative, got rtol={rtol} and atol={atol}")
    input, other = input.detach(), other.detach()
    close = eq(input, other)
    if equal_nan and input.dtype.category == 2:
        close = logical_or(close, logical_and(ne(input, input), ne(other, other)))
    if input.dtype is dtypes.bool_:
        input, other = input.to(dtypes.uint8), other.to(dtypes.uint8)
    distance = absolute(input - other)
    near = le(distance, absolute(other * float(rtol)) + float(atol))
    return logical_or(close, logical_and(near, isfinite(distance)))


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether every pair is close, as isclose tells. Waits for the device."""
    close = isclose(input, other, rtol, atol, equal_nan)
    return int(close.logical_not().sum()) == 0


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are equal. Waits for the device."""
    check_devices("equal", input, other)
    if input.shape != other.shape:
        return False
    return int(ne(input, other).sum()) == 0
