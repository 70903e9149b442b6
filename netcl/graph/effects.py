"""What a function does on the host beside its operations: done again at each call of a compiled function.

An optimizer counts its steps and computes bias corrections, a scheduler sets a rate, a generator numbers its draws.
Those are plain Python. While a function is recorded for jit_compile they are noted, and a replay repeats them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence, Set
from typing import Any, TypeVar, cast

from netcl.graph.value import _pending

_Method = TypeVar("_Method", bound=Callable)


class _Surroundings:
    """Counts changes to what compiled functions watch, so that most calls need not compare it all."""

    changes = 0


surroundings = _Surroundings()


def effect(function: Callable, *args: Any) -> Any:
    """Call a function whose host work a replay has to repeat; its operations go through `numbers_of`."""
    recorder = _pending.recorder
    return function(*args) if recorder is None else recorder.effect(function, args)


def repeated(method: _Method) -> _Method:
    """A method that is an effect wherever it is called, except by another one."""

    @functools.wraps(method)
    def wrapper(*args: Any, **options: Any) -> Any:
        recorder = _pending.recorder
        if recorder is None or recorder.current is not None:
            return method(*args, **options)
        return recorder.effect(functools.partial(method, **options) if options else method, args)

    return cast(_Method, wrapper)


def numbers_of(key: Any, numbers: Sequence[float]) -> Sequence[Any] | None:
    """An effect's numbers as operands of the operation `key`; None where an effect is repeated: it records nothing."""
    collector = _pending.collector
    if collector is not None:
        collector.take(key, numbers)
        return None
    recorder = _pending.recorder
    return numbers if recorder is None else recorder.effect_numbers(key, numbers)


def repeating() -> bool:
    """Whether an effect is being repeated."""
    return _pending.collector is not None


def has_gradient(parameter: Any) -> bool:
    """Whether a parameter is to be updated. An effect that is repeated runs before its gradients are there."""
    collector = _pending.collector
    if collector is not None:
        return id(parameter) in collector.graded
    there = parameter.grad is not None
    if there and _pending.recorder is not None:
        _pending.recorder.graded.add(id(parameter))
    return there


def with_gradients(parameters: Sequence[Any]) -> list[Any]:
    """Those of an effect's parameters that were updated when it was recorded."""
    graded = _pending.collector.graded
    return [parameter for parameter in parameters if id(parameter) in graded]


def updates_expected() -> int:
    """How many updates the effect that is repeated recorded."""
    expected: int = _pending.collector.expected
    return expected


class Collector:
    """The numbers of an effect that is repeated, and whether it went the way it went when it was recorded."""

    __slots__ = ("expected", "graded", "keys", "numbers")

    def __init__(self, graded: Set[int], expected: int) -> None:
        self.expected = expected
        self.graded = graded
        self.keys: list[Any] = []
        self.numbers: list[float] = []

    def take(self, key: Any, numbers: Sequence[float]) -> None:
        self.keys.append(key)
        self.numbers += numbers


def repeat(function: Callable, args: tuple, graded: Set[int], expected: int) -> Collector:
    """Do an effect again, without its operations."""
    outer = _pending.collector
    _pending.collector = collector = Collector(graded, expected)
    try:
        function(*args)
    finally:
        _pending.collector = outer
    return collector
