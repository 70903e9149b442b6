"""Steps that are counted on the device, and the numbers that follow from a step's count, wherever it is.

Where a GradScaler decides on the device whether a step happens, only the device knows how many there were. Then a
count is a tensor, and what depends on it is written down as an `OfStep`, which is computed where it is needed: in the
kernels of the update. Otherwise both are Python's numbers. The functions here take either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import log, sqrt
from typing import Any

from netcl.core import dtypes
from netcl.graph.effects import numbers_of
from netcl.graph.primitives import composite
from netcl.graph.value import record_many
from netcl.ops.creation import full
from netcl.tensor import Tensor

Number = Any  # a Python number, a 0-d tensor or an OfStep


class _Step(threading.local):
    """The step that is being recorded in a thread."""

    found_inf: Tensor | None = None
    skips = False


_step = _Step()


@contextmanager
def skipped_where(found_inf: Tensor | None) -> Iterator[None]:
    """Updates recorded inside change nothing where `found_inf` is 1 (None where they are only repeated: see
    graph.effects)."""
    outer = _step.found_inf, _step.skips
    _step.found_inf, _step.skips = found_inf, True
    try:
        yield
    finally:
        _step.found_inf, _step.skips = outer


def skipping() -> bool:
    """Whether the device decides if the step that is being recorded happens."""
    return _step.skips


def found_inf(device: Any) -> Tensor:
    """What decides that: 1.0 where the step must change nothing."""
    assert _step.found_inf is not None
    return _step.found_inf.to(device)


# ---- numbers -----------------------------------------------------------------------------------------------------


class OfStep:
    """A number that follows from tensors and Python numbers: an operation and what it is of."""

    __slots__ = ("args", "op")

    def __init__(self, op: str, *args: Number):
        self.op = op
        self.args = args

    def __add__(self, other: Number) -> OfStep:
        return OfStep("add", self, other)

    def __radd__(self, other: Number) -> OfStep:
        return OfStep("add", other, self)

    def __sub__(self, other: Number) -> OfStep:
        return OfStep("sub", self, other)

    def __rsub__(self, other: Number) -> OfStep:
        return OfStep("sub", other, self)

    def __mul__(self, other: Number) -> OfStep:
        return OfStep("mul", self, other)

    def __rmul__(self, other: Number) -> OfStep:
        return OfStep("mul", other, self)

    def __truediv__(self, other: Number) -> OfStep:
        return OfStep("div", self, other)

    def __rtruediv__(self, other: Number) -> OfStep:
        return OfStep("div", other, self)

    def __pow__(self, exponent: Number) -> OfStep:
        return OfStep("pow", self, exponent)

    def __neg__(self) -> OfStep:
        return OfStep("neg", self)

    def __gt__(self, other: Number) -> OfStep:
        return OfStep("greater", self, other)


_OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "tensor": lambda a: a, "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b, "pow": lambda a, b: a**b, "neg": lambda a: -a, "exp": lambda a: a.exp(),
    "expm1": lambda a: a.expm1(), "sqrt": lambda a: a.sqrt(), "smaller": lambda a, b: a.minimum(b),
    "larger": lambda a, b: a.maximum(b), "greater": lambda a, b: (a > b).to(dtypes.float32),
    "choose": lambda condition, a, b: a.where(condition > 0, b),
}  # fmt: skip


def counted(number: Number) -> Number:
    """A number of the state, as something to compute with."""
    return OfStep("tensor", number) if isinstance(number, Tensor) else number


def power(base: float, exponent: Number) -> Number:
    """base ** exponent, for 0 <= base."""
    if not isinstance(exponent, OfStep):
        return base**exponent
    return OfStep("exp", exponent * log(base)) if base > 0 else 1.0 - (exponent > 0)


def complement(base: float, exponent: Number) -> Number:
    """1 - base ** exponent, for 0 <= base; exact on the device too, where base ** exponent is near 1."""
    if not isinstance(exponent, OfStep):
        return 1 - base**exponent
    return -OfStep("expm1", exponent * log(base)) if base > 0 else exponent > 0


def root(number: Number) -> Number:
    """The square root."""
    return OfStep("sqrt", number) if isinstance(number, OfStep) else sqrt(number)


def smaller(a: float, b: Number) -> Number:
    """The smaller one."""
    return OfStep("smaller", b, a) if isinstance(b, OfStep) else min(a, b)


def larger(a: float, b: Number) -> Number:
    """The larger one."""
    return OfStep("larger", b, a) if isinstance(b, OfStep) else max(a, b)


def choose(condition: Number, a: Number, b: Number) -> Number:
    """a if the condition holds, else b."""
    return OfStep("choose", condition, a, b) if isinstance(condition, OfStep) else a if condition else b


_PLAIN = {float, int, bool}


# ---- as operands -------------------------------------------------------------------------------------------------


def apart(numbers: Iterable[Number]) -> tuple[list[float], tuple, list[Tensor]]:
    """Python numbers, how the numbers are made of them and of tensors, and these tensors. () for how, if just so."""
    numbers = list(numbers)
    kinds = set(map(type, numbers))
    if kinds == {float}:
        return numbers, (), []
    if kinds <= _PLAIN:
        return list(map(float, numbers)), (), []
    plain: list[float] = []
    tensors: list[Tensor] = []

    def structure(number: Number) -> Any:
        if isinstance(number, OfStep):
            return (number.op, *[structure(arg) for arg in number.args])
        if isinstance(number, Tensor):
            tensors.append(number)
            return True
        plain.append(float(number))
        return False

    found = tuple([structure(number) for number in numbers])
    return plain, found if tensors else (), tensors


def built(structure: tuple, operands: list[Tensor]) -> list[Tensor]:
    """The numbers again: operands are the tensors, then the Python numbers."""
    def count(part: Any) -> int:
        return part if isinstance(part, bool) else sum(map(count, part[1:]))

    places = sum(map(count, structure))
    tensors, plain = iter(operands[:places]), iter(operands[places:])

    def number(part: Any) -> Tensor:
        if isinstance(part, bool):
            return next(tensors if part else plain)
        return _OPERATIONS[part[0]](*[number(arg) for arg in part[1:]])

    return [number(part) for part in structure]


# ---- state that is a number --------------------------------------------------------------------------------------


def identity(number: Any) -> Any:
    """What tells counts apart: numbers by value, tensors by object."""
    return id(number) if isinstance(number, Tensor) else number


def on_device(number: Any, like: Tensor) -> Tensor:
    """A number as a float32 tensor on a parameter's device."""
    return number if isinstance(number, Tensor) else full((), float(number), dtype=dtypes.float32, device=like.device)


def renew(state: Any, members: Sequence[Tensor], name: str, new: Number) -> None:
    """Put `new` in the place of a number in the parameters' state, unless the step is skipped.

    Parameters that are at the same step share the tensor, which is written in place if all who share it move on.
    """
    if not skipping() and not isinstance(new, OfStep):
        for parameter in members:
            state[parameter][name] = new
        return
    old = state[members[0]][name]
    plain, structure, tensors = apart([new])
    arg = (skipping(), structure)
    scalars = numbers_of(("renew", arg), plain)
    if scalars is None:
        return
    operands = [on_device(old, members[0])._value]
    operands += [found_inf(members[0].device)._value] if skipping() else []
    (value,) = record_many("renew", [*operands, *(t._value for t in tensors)], arg, scalars, "float32")
    if isinstance(old, Tensor) and sum(own.get(name) is old for own in state.values()) == len(members):
        old._assign(value)
        return
    shared = Tensor._wrap(value)
    for parameter in members:
        state[parameter][name] = shared


def _renewed(*values_and_arg: Any) -> tuple:
    *values, (skips, structure) = values_and_arg
    old, *rest = [Tensor._wrap(value) for value in values]
    found = rest.pop(0) if skips else None
    (new,) = built(structure, rest) if structure else rest
    result = new if found is None else new.where(found <= 0, old)
    return (result._value,)


composite("renew", lambda operands, arg: [((), dtypes.float32)], _renewed)
