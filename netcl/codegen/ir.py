"""What the code generators read: nodes of an expanded graph, and the description of one kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from netcl.core.dtypes import DType

T = TypeVar("T")
Shape = tuple[int, ...]
COSTLY = frozenset("exp quick_exp pow tanh erf log log1p expm1 sin cos sigmoid".split())  # more than a load and a store


class Node:
    """One primitive applied to nodes. Hash-consed by the graph that made it: equal nodes are the same object."""

    __slots__ = ("arg", "dtype", "number", "op", "primitive", "shape", "src")

    def __init__(
        self, op: str, primitive: Any, src: tuple[Node, ...], arg: Any, shape: Shape, dtype: DType, number: int
    ):
        self.op = op
        self.primitive = primitive
        self.src = src
        self.arg = arg
        self.shape = shape
        self.dtype = dtype
        self.number = number

    def __repr__(self) -> str:
        sources = ", ".join(f"%{source.number}" for source in self.src)
        argument = "" if self.arg is None else f" {self.arg}"
        return f"%{self.number} = {self.op}({sources}){argument} : {self.dtype.name}{list(self.shape)}"


def reached(starts: Iterable[T], onward: Callable[[T], Iterable[T]]) -> Iterator[T]:
    """What can be reached from some things by going `onward`, each once, and they themselves."""
    seen: set[T] = set()
    stack = list(starts)
    while stack:
        item = stack.pop()
        if item not in seen:
            seen.add(item)
            yield item
            stack.extend(onward(item))


def walk(starts: Iterable[Node], ends: Callable[[Node], bool]) -> Iterator[Node]:
    """Nodes and what they are computed from, each once, and nothing that lies behind one for which `ends` is true."""
    return reached(starts, lambda node: () if ends(node) else node.src)


def is_costly(node: Node) -> bool:
    """Whether evaluating an elementwise node takes more than a load and a store."""
    return node.op in COSTLY or node.primitive.costly


@dataclass(frozen=True)
class Layout:
    """Where the elements of a materialised node lie: element (i, j, ..) at offset + i*strides[0] + j*strides[1] + .."""

    strides: tuple[int, ...]
    dynamic_offset: bool = False  # the offset is a kernel argument, so that sliding windows share a kernel


@dataclass
class KernelSource:
    """Generated text and how to launch it."""

    name: str
    source: str
    global_size: tuple[int, ...]
    local_size: tuple[int, ...] | None
    arguments: list[Any] = field(default_factory=list)  # what each kernel argument is bound to, see plan.py
    flops: int = 0
    bytes_moved: int = 0
    same_element: set[tuple[Node, Node]] = field(default_factory=set)  # results that may overwrite an operand
    alone: bool = False  # not to be put into one launch with others: it is more than independent work-items


def contiguous_strides(shape: Shape) -> tuple[int, ...]:
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def indent(lines: list[str], by: int = 1) -> list[str]:
    return ["  " * by + line for line in lines]
