"""What gradient rules read: found from the rules themselves, so that the table needs no second list to be wrong."""

from __future__ import annotations

import dis
import itertools
from collections.abc import Callable
from typing import Any

from netcl.core.dtypes import DType

_META = ("shape", "dtype", "device")


class Meta:
    """The shape, dtype and device of an operand whose elements the gradient rule does not read."""

    __slots__ = ("device", "dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: DType, device: Any):
        self.shape = shape
        self.dtype = dtype
        self.device = device


reads: dict[tuple[Callable, int], tuple[bool, tuple[bool, ...]]] = {}


def rule_reads(rule: Callable, count: int) -> tuple[bool, tuple[bool, ...]]:
    """For the result and each of `count` operands, whether the rule reads elements or only shape, dtype, device.

    Found from the rule's bytecode, so that the table needs no second list that could be wrong.
    """
    code = rule.__code__
    names = code.co_varnames[1 : code.co_argcount]
    read = set(code.co_cellvars)
    instructions = list(dis.get_instructions(code))
    for instruction, following in itertools.zip_longest(instructions, instructions[1:]):
        if not instruction.opname.startswith("LOAD_FAST"):
            continue
        loaded = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
        read.update(loaded[:-1])  # loaded in pairs from Python 3.13 on: what follows belongs to the last
        if following is None or following.opname != "LOAD_ATTR" or following.argval not in _META:
            read.add(loaded[-1])
    everything = "rest" in code.co_varnames[code.co_argcount : code.co_argcount + 1] and "rest" in read
    flags = [name in read for name in names[: count + 1]]
    flags += [everything] * (count + 1 - len(flags))
    found = reads[rule, count] = (flags[0], tuple(flags[1:]))
    return found


class _Probe:
    """Stands for a tensor while a rule is tried out, and collects whose elements each result is made of."""

    def __init__(self, sources: frozenset[str]):
        self.sources = sources

    def _with(self, *others: Any) -> _Probe:
        return _Probe(self.sources.union(*[other.sources for other in others if isinstance(other, _Probe)]))

    def __getattr__(self, name: str) -> Any:
        if name in _META:
            return _Probe(frozenset())
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._with(*args, *kwargs.values())

    __hash__ = object.__hash__


for _name in (
    "add sub mul truediv pow radd rsub rmul rtruediv rpow matmul eq ne lt le gt ge and or xor neg invert".split()
):
    setattr(_Probe, f"__{_name}__", _Probe._with)


def is_needed(rule: Callable, count: int, wanted: list[bool], source: str | int) -> bool:
    """Whether the gradients of the `wanted` operands need the elements of an operand (its number) or of the result
    ("y"). True where trying the rule out does not tell."""
    names: list[str | int] = ["g", "y", *range(count)]
    try:
        made = rule(*[_Probe(frozenset([str(name)])) for name in names])
        return any(str(source) in getattr(x, "sources", ()) for x, want in zip(made, wanted, strict=True) if want)
    except (TypeError, AttributeError, ValueError, RuntimeError):  # it asks for more than operations: it may need all
        return True
