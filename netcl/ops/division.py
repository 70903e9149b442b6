"""Division and rounding."""

from __future__ import annotations

from typing import Any

from netcl.autograd.tape import apply
from netcl.core import dtypes
from netcl.ops.elementwise import binary, unary
from netcl.ops.return_types import named
from netcl.tensor import Tensor

__all__ = """
    ceil div divide fix floor floor_divide fmod frac frexp gcd lcm remainder round true_divide trunc
""".split()
METHODS = [*__all__, "trunc_divide"]
IN_PLACE = [name for name in __all__ if name != "frexp"]

_true_divide = binary("div", "")
_floor_divide = binary("floor_divide", "")
trunc_divide = binary("trunc_divide", "The quotient towards zero.")
_fmod = binary("fmod", "")
_remainder = binary("remainder", "")
_round = unary("round", "")
gcd = binary("gcd", "The greatest common divisor of integers; 0 for two zeros.")
lcm = binary("lcm", "The least common multiple of integers; 0 where one is 0.")

floor = unary("floor", "The largest integer not above the input.")
ceil = unary("ceil", "The smallest integer not below the input.")
trunc = unary("trunc", "The integer part: towards zero.")
fix = trunc


def true_divide(input: Any, other: Any) -> Tensor:
    """input / other, elementwise, broadcast; integers give float32."""
    if type(other) is int and isinstance(input, Tensor) and input.dtype.category < 2:
        other = float(other)  # which need not fit the dtype of the tensor
    elif type(input) is int and isinstance(other, Tensor) and other.dtype.category < 2:
        input = float(input)
    return _true_divide(input, other)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, elementwise, broadcast; integers give float32.

    rounding_mode "trunc" rounds towards zero as C does, "floor" downwards as Python's `//`; integers stay integers.

    >>> import netcl as nc
    >>> nc.div(nc.tensor([7, -7]), 2, rounding_mode="trunc")
    tensor([ 3, -3])
    """
    if rounding_mode is None:
        return true_divide(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise RuntimeError(f"div: rounding_mode must be None, 'trunc' or 'floor', got {rounding_mode!r}")
    _check_divisor("div", input, other)
    return trunc_divide(input, other)


divide = div


def floor_divide(input: Any, other: Any) -> Tensor:
    """The largest integers not above input / other (`//`).

    RuntimeError for integers divided by the number 0. Where an integer *tensor* holds a 0, the quotient is 0, as in
    NumPy; PyTorch raises there, which would mean waiting for the device.
    """
    _check_divisor("floor_divide", input, other)
    return _floor_divide(input, other)


def remainder(input: Any, other: Any) -> Tensor:
    """input - other * floor(input / other), exact: of other's sign (`%`). Integers modulo 0: as for floor_divide."""
    _check_divisor("remainder", input, other)
    return _remainder(input, other)


def fmod(input: Any, other: Any) -> Tensor:
    """input - other * trunc(input / other), exact: of input's sign. Integers modulo 0: as for floor_divide."""
    _check_divisor("fmod", input, other)
    return _fmod(input, other)


def _check_divisor(name: str, input: Any, other: Any) -> None:
    whole = isinstance(input, int) or (isinstance(input, Tensor) and input.dtype.category < 2)
    if isinstance(other, int) and other == 0 and whole:
        raise RuntimeError(f"{name}: ZeroDivisionError: integers divided by zero; convert the input with .float()")


def divide_both_ways(input: Any, other: Any) -> tuple[Tensor, Tensor]:
    """Python's divmod: the quotient rounded down, and the remainder."""
    return floor_divide(input, other), remainder(input, other)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest integer, halves to the even one; or to decimals places (negative: to tens, hundreds, ..).

    RuntimeError for integers with decimals, as in PyTorch.
    """
    if decimals == 0:
        return _round(input)
    if input.dtype.category != 2:
        raise RuntimeError(f"round: decimals is for floating-point tensors, this one is {input.dtype}")
    power = 10.0 ** (decimals if decimals > 0 else -decimals)
    scaled = _round(input * power if decimals > 0 else input / power)
    return scaled / power if decimals > 0 else scaled * power


def frac(input: Tensor) -> Tensor:
    """What follows the point: input - trunc(input). RuntimeError for integers."""
    if input.dtype.category != 2:
        raise RuntimeError(f"frac: expected a floating-point tensor, got {input.dtype}; integers have no fraction")
    return apply("sub", (input, trunc(input)))


def frexp(input: Tensor) -> Any:
    """(mantissa, exponent) with input = mantissa * 2 ** exponent and 1/2 <= |mantissa| < 1; exponents are int32.

    0 for the exponent of 0, infinities and NaN. RuntimeError for integers.
    """
    exponent = apply("logb", (input.detach(),)) + 1
    finite = (input - input == 0).logical_and(input != 0)
    exponent = exponent.where(finite, 0.0)
    half = trunc(exponent / 2)
    mantissa = input * (-half).exp2() * (half - exponent).exp2()  # in two steps: 2 ** 148 is infinite
    return named("frexp", mantissa, exponent.to(dtypes.int32))
