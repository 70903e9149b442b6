"""A kernel in the making: its iteration space, what is placed in it, and where in it a node could be computed."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

from netcl.codegen import index as ix
from netcl.codegen.ir import Node, Shape
from netcl.codegen.views import Coordinates

SMALL_TOTAL = 2048  # elements: a whole reduction this small is one row, so that elementwise work can follow it


@dataclass(eq=False)
class Kernel:
    """One launch in the making. Coordinates are in variables d0, d1, .. of `shape` (which has no sizes of 1)."""

    kind: str  # rowwise, matmul, library
    shape: Shape
    inner: frozenset[int] = frozenset()
    placed: dict[Node, Coordinates] = field(default_factory=dict)  # anchors, where their values are
    sources: dict[Node, Coordinates] = field(default_factory=dict)  # reductions, where their operands are read
    levels: dict[Node, str] = field(default_factory=dict)  # full, row, total, before
    before: set[Node] = field(default_factory=set)  # small totals that it computes for itself
    needs: set[Kernel] = field(default_factory=set)
    order: int = 0
    size: int = 0  # elementwise nodes evaluated
    stage: tuple[int, int] | None = None  # kernels of different stages stay apart, see value.stage
    rank: int = 0  # what is computed again stays out of kernels of lower rank, see anchors.ranks
    united: list[Kernel] = field(default_factory=list)  # kernels that became part of it

    def depends_on(self, earlier: Kernel) -> bool:
        """Whether it is `earlier`, or needs it, directly or through others."""
        seen: set[Kernel] = set()
        stack = [self]
        while stack:
            current = stack.pop()
            if current is earlier:
                return True
            if current not in seen:
                seen.add(current)
                stack.extend(current.needs)
        return False

    def place(self, node: Node, way: Placement) -> None:
        """Compute a node here."""
        if way.inner and not self.inner:  # a map kernel becomes a row kernel: what it had is full now
            self.levels = dict.fromkeys(self.levels, "full")
        self.inner = way.inner
        self.placed[node] = way.result
        self.levels[node] = way.level
        if way.source is not None:
            self.sources[node] = way.source

    def leaves(self, stored: Container[Node]) -> dict[Node, Coordinates]:
        """Which of the stored nodes it puts into memory, and where in its space their values are."""
        return {node: at for node, at in self.placed.items() if node in stored and self.levels[node] != "before"}

    def absorb(self, other: Kernel) -> None:
        """All of another row kernel over the same space becomes part of this one."""
        self.united += [other, *other.united]
        self.placed.update(other.placed)
        self.sources.update(other.sources)
        self.levels.update(other.levels)
        self.needs |= other.needs
        self.before |= other.before
        self.size += other.size

    def variables(self) -> list[ix.Index]:
        """One for each axis of its space: d0, d1, .."""
        return [ix.variable(f"d{axis}", size) for axis, size in enumerate(self.shape)]


class Placement(NamedTuple):
    """A way to compute a node in a kernel."""

    inner: frozenset[int]  # the axes that the kernel's rows run along then
    level: str  # full, row, total
    source: Coordinates | None  # where a reduction reads its operand
    result: Coordinates


def squeeze(shape: Shape) -> Shape:
    """The sizes other than 1."""
    return tuple(size for size in shape if size != 1)


def space_of(node: Node) -> Shape:
    """What a node is computed over: its operand, for a reduction."""
    return squeeze(node.src[0].shape if node.primitive.kind == "reduce" else node.shape)


def spread(shape: Shape, variables: list[ix.Index]) -> Coordinates:
    """Coordinates of an array of `shape` whose sizes other than 1 are the variables, in order."""
    moving = iter(variables)
    return tuple(ix.ZERO if size == 1 else next(moving) for size in shape)


def placements(kernel: Kernel, node: Node) -> list[Placement]:
    """Ways to compute a node in a kernel's space, those to be tried first first."""
    if node.primitive.kind == "reduce":
        return _of_reduction(kernel, node) if kernel.kind == "rowwise" else []
    return _of_elementwise(kernel, node) if kernel.kind != "library" else []


def _of_elementwise(kernel: Kernel, node: Node) -> list[Placement]:
    variables, outer = kernel.variables(), _outer(kernel)
    shape = squeeze(node.shape)
    found = []
    if shape == kernel.shape:
        level = "full" if kernel.inner else "row"
        found.append(Placement(kernel.inner, level, None, spread(node.shape, variables)))
    elif prod(shape) == prod(kernel.shape) and not kernel.inner and shape:
        flat = ix.flatten(variables, kernel.shape)
        found.append(Placement(kernel.inner, "row", None, ix.unflatten(flat, node.shape)))
    if kernel.kind == "rowwise":
        if kernel.inner and shape == tuple(kernel.shape[axis] for axis in outer):
            rows = [variables[axis] for axis in outer]
            found.append(Placement(kernel.inner, "row", None, spread(node.shape, rows)))
        if not shape and (not kernel.inner or outer):
            found.append(Placement(kernel.inner, "total", None, (ix.ZERO,) * len(node.shape)))
    return found


def _of_reduction(kernel: Kernel, node: Node) -> list[Placement]:
    variables, outer = kernel.variables(), _outer(kernel)
    source_shape = node.src[0].shape
    space = squeeze(source_shape)
    moving = [axis for axis, size in enumerate(source_shape) if size != 1]
    axes = frozenset(position for position, axis in enumerate(moving) if axis in node.arg[0])
    whole = len(axes) == len(space)
    found = []
    if space == kernel.shape:
        source = spread(source_shape, variables)
        result = spread(node.shape, [variable for axis, variable in enumerate(variables) if axis not in axes])
        if kernel.inner == axes and kernel.inner:
            found.append(Placement(kernel.inner, "row", source, result))
        elif not kernel.inner and all(level == "row" for level in kernel.levels.values()):
            if not whole or prod(space) <= SMALL_TOTAL:
                found.append(Placement(axes, "row", source, result))
            if whole:
                found.append(Placement(frozenset(), "total", source, result))
        elif not kernel.inner and whole:
            found.append(Placement(frozenset(), "total", source, result))
    row_shape = tuple(kernel.shape[axis] for axis in outer)
    if kernel.inner and space == row_shape and whole and row_shape:
        source = spread(source_shape, [variables[axis] for axis in outer])
        found.append(Placement(kernel.inner, "total", source, (ix.ZERO,) * len(node.shape)))
    return found


def _outer(kernel: Kernel) -> list[int]:
    """The axes that count the kernel's rows."""
    return [axis for axis in range(len(kernel.shape)) if axis not in kernel.inner]


def in_order(kernels: list[Kernel]) -> list[Kernel]:
    """Kernels sorted so that each comes after what it needs, otherwise as they are."""
    done: list[Kernel] = []
    placed: set[Kernel] = set()
    for kernel in kernels:
        stack = [kernel]
        while stack:
            current = stack[-1]
            if current in placed:
                stack.pop()
                continue
            waiting = sorted((k for k in current.needs if k not in placed), key=lambda k: k.order)
            if waiting:
                stack.append(waiting[0])
                continue
            placed.add(current)
            done.append(current)
            stack.pop()
    return done
