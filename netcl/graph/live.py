"""Python numbers that stay arguments while a function is recorded.

A recorded function is called with a `Live` in the place of each float. Arithmetic on it makes another one, operations
on tensors record it as a scalar, and a replay computes its value anew. Whatever needs the plain number (`if lr > 0`,
`math.sin(lr)`) gets it, and the recording is then good for that number only.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any


class Live:
    """A number with the way to compute it again: evaluate(numbers) from the numbers that a replay begins with."""

    __slots__ = ("_evaluate", "_looked", "_value")

    def __init__(self, value: Any, evaluate: Callable[[Sequence[Any]], Any], looked: Callable[[Any], None]):
        self._value = value
        self._evaluate = evaluate
        self._looked = looked  # called with None when the plain number is asked for, or with what was asked of it

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # isinstance(lr, float) says what it would say of the plain number
        return type(self._value)

    def __float__(self) -> float:
        return float(plain(self))

    def __int__(self) -> int:
        return int(plain(self))

    def __bool__(self) -> bool:
        return bool(_compared(operator.ne)(self, 0))

    def __index__(self) -> int:
        return operator.index(plain(self))

    def __trunc__(self) -> int:
        return math.trunc(plain(self))

    def __floor__(self) -> int:
        return math.floor(plain(self))

    def __ceil__(self) -> int:
        return math.ceil(plain(self))

    def __round__(self, digits: int | None = None) -> Any:
        return round(plain(self), digits)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __hash__(self) -> int:
        return hash(plain(self))

    def __repr__(self) -> str:
        return repr(plain(self))

    def __str__(self) -> str:
        return str(plain(self))

    def __format__(self, spec: str) -> str:
        return format(plain(self), spec)

    def __reduce__(self) -> Any:
        return type(self._value), (plain(self),)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy as np

        return np.asarray(plain(self), dtype)

    def __getattr__(self, name: str) -> Any:  # is_integer(), real, hex()
        return getattr(plain(self), name)


def plain(number: Any) -> Any:
    """The number itself; the recording is good for this one only."""
    if type(number) is not Live:
        return number
    number._looked(None)
    return number._value


def peek(number: Any) -> Any:
    """The number itself, to compute with now; a replay will compute with its own."""
    return number._value if type(number) is Live else number


def as_float(number: Any) -> Any:
    """float(number) for what goes on as a scalar: a Live float stays one."""
    if type(number) is Live and type(number._value) is float:
        return number
    return float(number)


def evaluator(number: Live) -> Callable[[Sequence[Any]], Any]:
    return number._evaluate


def _binary(function: Callable, swapped: bool) -> Callable:
    def combine(self: Live, other: Any) -> Any:
        if type(other) is not Live and type(other) not in (int, float, bool):
            return NotImplemented
        a, b = (other, self) if swapped else (self, other)
        of_a = a._evaluate if type(a) is Live else lambda numbers: a
        of_b = b._evaluate if type(b) is Live else lambda numbers: b

        def looked(asked: Any) -> None:
            for side in (a, b):
                if type(side) is Live:
                    side._looked(asked)

        return Live(function(peek(a), peek(b)), lambda numbers: function(of_a(numbers), of_b(numbers)), looked)

    return combine


def _unary(function: Callable) -> Callable:
    def apply(self: Live) -> Live:
        evaluate = self._evaluate
        return Live(function(self._value), lambda numbers: function(evaluate(numbers)), self._looked)

    return apply


def _compared(function: Callable) -> Callable:
    """A comparison with a number: the recording is good for numbers of which the same can be said."""

    def compare(self: Live, other: Any) -> Any:
        if type(other) not in (Live, int, float, bool):
            return function(plain(self), other)
        of_self = self._evaluate
        of_other = other._evaluate if type(other) is Live else lambda numbers: other
        outcome = function(self._value, peek(other))

        def asked(numbers: Sequence[Any]) -> bool:
            return function(of_self(numbers), of_other(numbers)) == outcome

        self._looked(asked)
        if type(other) is Live:
            other._looked(asked)
        return outcome

    return compare


for _name in ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv", "and", "or", "xor", "lshift", "rshift"):
    _function = getattr(operator, f"__{_name}__")
    setattr(Live, f"__{_name}__", _binary(_function, swapped=False))
    setattr(Live, f"__r{_name}__", _binary(_function, swapped=True))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(Live, f"__{_name}__", _unary(getattr(operator, _name)))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Live, f"__{_name}__", _compared(getattr(operator, _name)))
