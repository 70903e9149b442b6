"""Reports: what a trace would become, as data. `graph.explain` makes them, `tables` and `picture` show them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from netcl.codegen.ir import Shape
from netcl.core.dtypes import by_name
from netcl.graph.tables import text_of


@dataclass(frozen=True)
class Array:
    """Elements in memory, or a result in a list of operations."""

    name: str
    dtype: str
    shape: Shape
    made_by: str = ""  # the operation, where one made it

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * by_name(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}{list(self.shape)}"


@dataclass(frozen=True)
class Operation:
    """One recorded operation. `fate` tells what becomes of it: held (somebody has the result), computed (something held
    needs it) or dropped (nothing does)."""

    number: int
    name: str
    kind: str  # input, number, or the kind of the primitive
    argument: str
    operands: tuple[int, ...]  # numbers of the operations and inputs that made them
    read: tuple[str, ...]  # what they are called
    results: tuple[Array, ...]
    fate: str


@dataclass(frozen=True)
class KernelReport:
    """One kernel: what it computes, over which space, and what it reads and writes."""

    number: int
    launch: int
    name: str
    kind: str  # rowwise, matmul, library
    space: Shape
    reduced: tuple[int, ...]  # axes of the space that its rows run along
    operations: tuple[str, ...]  # what it evaluates, in order, without views
    reads: tuple[Array, ...]
    writes: tuple[Array, ...]
    flops: int

    @property
    def bytes_read(self) -> int:
        return sum(array.bytes for array in self.reads)

    @property
    def bytes_written(self) -> int:
        return sum(array.bytes for array in self.writes)

    def summary(self, limit: int = 12) -> str:
        """Its operations, those that occur several times counted."""
        counts: dict[str, int] = {}
        for name in self.operations:
            counts[name] = counts.get(name, 0) + 1
        listed = [name if count == 1 else f"{name} x{count}" for name, count in counts.items()]
        return ", ".join(listed[:limit] + ([f"and {len(listed) - limit} more"] if len(listed) > limit else []))


@dataclass(frozen=True)
class Edge:
    """One kernel reads from memory what another one wrote, and why they are two."""

    source: int
    target: int
    array: Array
    reason: str  # the name of a graph.reasons.Reason
    text: str


@dataclass(frozen=True)
class Memory:
    """Bytes that a plan needs beside its inputs."""

    results: int  # what outlives it, in memory of its own
    taken_over: int  # and in memory of inputs that nobody else holds
    intermediate: int  # what only the plan itself needs, after sharing


@dataclass
class Report:
    """What one trace would become."""

    device: str
    target: str
    operations: list[Operation]
    kernels: list[KernelReport]
    launches: list[tuple[int, ...]]  # the kernels of each
    edges: list[Edge]
    memory: Memory

    @property
    def recorded(self) -> int:
        """Operations other than inputs and numbers."""
        return sum(operation.kind not in ("input", "number") for operation in self.operations)

    def __str__(self) -> str:
        return text_of(self)


@dataclass
class Explanation:
    """Reports for all traces that were asked for, in the order in which they run."""

    reports: list[Report] = field(default_factory=list)

    @property
    def kernels(self) -> list[KernelReport]:
        return [kernel for report in self.reports for kernel in report.kernels]

    @property
    def launches(self) -> int:
        return sum(len(report.launches) for report in self.reports)

    @property
    def edges(self) -> list[Edge]:
        return [edge for report in self.reports for edge in report.edges]

    def __str__(self) -> str:
        if not self.reports:
            return "nothing is pending: these values are there already"
        return "\n\n".join(str(report) for report in self.reports)
