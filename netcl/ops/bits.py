"""Operations on the bits of integers and on bools."""

from __future__ import annotations

from typing import Any

from netcl.autograd.tape import apply
from netcl.core import dtypes
from netcl.ops.elementwise import binary
from netcl.tensor import Tensor

__all__ = """
    bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor
""".split()
METHODS = __all__
IN_PLACE = __all__

_and = binary("bitwise_and", "")
_or = binary("bitwise_or", "")
_xor = binary("bitwise_xor", "")
_left = binary("bitwise_left_shift", "")
_right = binary("bitwise_right_shift", "")


def bitwise_and(input: Any, other: Any) -> Tensor:
    """The bits that both have (`&`); for bools, both are true."""
    return _and(*_bits("bitwise_and", input, other))


def bitwise_or(input: Any, other: Any) -> Tensor:
    """The bits that one has (`|`); for bools, one is true."""
    return _or(*_bits("bitwise_or", input, other))


def bitwise_xor(input: Any, other: Any) -> Tensor:
    """The bits that exactly one has (`^`)."""
    return _xor(*_bits("bitwise_xor", input, other))


def bitwise_left_shift(input: Any, other: Any) -> Tensor:
    """input times 2 ** other by moving bits (`<<`); 0 where other is negative or as large as the dtype has bits."""
    return _left(*_bits("bitwise_left_shift", input, other))


def bitwise_right_shift(input: Any, other: Any) -> Tensor:
    """input divided by 2 ** other by moving bits (`>>`); the sign stays, also where other is out of range."""
    return _right(*_bits("bitwise_right_shift", input, other))


def bitwise_not(input: Tensor) -> Tensor:
    """The bits reversed (`~`); for bools, not."""
    _bits("bitwise_not", input)
    return apply("logical_not" if input.dtype is dtypes.bool_ else "bitwise_not", (input,))


def inverted(input: Tensor) -> Tensor:
    """`~input`: bitwise_not. TypeError for what has no bits, as for Python's numbers."""
    if input.dtype.category == 2:
        raise TypeError(f"~ is defined for integers and bools, got {input.dtype}")
    return bitwise_not(input)


def _bits(name: str, *operands: Any) -> tuple:
    for operand in operands:
        if isinstance(operand, float) or (isinstance(operand, Tensor) and operand.dtype.category == 2):
            raise NotImplementedError(f"{name}: expected integers or bools, got {getattr(operand, 'dtype', 'a float')}")
    return operands
