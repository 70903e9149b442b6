"""A stretch of a recorded function: the records of a trace as plain data, with operands and results of their own.

A function that reads no value is one segment. Where it reads one, a segment ends, runs, and another one begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any
from weakref import ref

from netcl.core import dtypes
from netcl.graph import value as tracing
from netcl.graph.flags import Site, keep_site
from netcl.graph.live import Live, evaluator, peek
from netcl.graph.primitives import composite
from netcl.graph.value import Trace, Value
from netcl.jit.watch import Unsettled

if TYPE_CHECKING:
    from netcl.jit.recorder import Recorder


@dataclass(eq=False)
class Template:
    """Records with operands of their own: `leaves` says which record is which operand."""

    records: list[tuple]
    leaves: dict[int, int]
    outputs: list[int]
    metas: list[tuple]

    def expand(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        """Put the records into the trace of the composite that is being expanded."""
        trace = tracing._pending.expansion
        assert trace is not None, "templates are expanded where plans are made"
        places: list[int] = []
        for local, (op, arg, positions) in enumerate(self.records):
            leaf = self.leaves.get(local)
            if leaf is not None:
                places.append(trace.position(operands[leaf]))
            else:
                places.append(len(trace.records))
                trace.records.append((op, arg, tuple([places[p] for p in positions])))
        results = []
        for local, (shape, dtype) in zip(self.outputs, self.metas, strict=True):
            value = Value(shape, dtype, None)
            value.trace, value.index = trace, places[local]
            results.append(value)
        return tuple(results)


composite("recorded", lambda operands, arg: arg.metas, lambda *values: values[-1].expand(values[:-1]))


@dataclass(eq=False)
class Work:
    """What a replay does for a segment: one composite of some operands and numbers."""

    sources: list[tuple] = field(default_factory=list)  # of the operands: see Recorder's origins
    forward: Template = field(default_factory=lambda: Template([], {}, [], []))
    compute: Callable[[list[Any]], list[Any]] = lambda sources: []
    numbers: list[Any] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)  # dtypes of the numbers, by name
    dtypes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)  # the numbers that stay what they are
    device: Any = None

    @property
    def metas(self) -> list[tuple]:
        return self.forward.metas

    def like(self, other: Work) -> bool:
        """Whether two are the same work."""
        return (
            self.forward.records == other.forward.records
            and self.forward.outputs == other.forward.outputs
            and self.constants == other.constants
            and len(self.sources) == len(other.sources)
        )


@dataclass(eq=False)
class Cut:
    """Where a function reads values: the work before that, what is read, and what has to be true of it."""

    segment: Segment
    start: tuple[int, int, int]
    outputs: list[tuple[int, ref[Value]]]  # of the work: (position, value)
    reads: list[tuple[int, tuple]] = field(default_factory=list)  # (place of the number, what is read)
    asked: list[Callable[[list[Any]], bool]] = field(default_factory=list)

    @property
    def work(self) -> Work:
        return self.segment.work


class Segment:
    """Sorts the records of a trace, from `start` on."""

    def __init__(self, recorder: Recorder, trace: Trace | None, start: tuple[int, int, int], pending: dict[int, int]):
        self.recorder = recorder
        self.trace = trace if trace is not None else Trace(None)
        self.first, _, self.first_scalar = start
        self.pending = pending  # which earlier positions are tensors that wait to be computed
        self.ran: dict[int, int] = {}  # where it has run already: id of a value -> its position
        self.operands: dict[Any, int] = {}
        self.results: dict[int, int] = {}  # position -> number of the result
        self.metas: list[tuple] = []  # of the results: (shape, dtype)
        self.work = Work(device=self.trace.device)

    def where(self, value: Value) -> tuple:
        """Where a value is: ("result", k), ("operand", k) or ("number", number, dtype, device)."""
        if value.number is not None:
            return "number", value.number[1], value.dtype, value.device
        if value.trace is self.trace and value.buffer is None and value.index >= self.first:
            return "result", self.result(value.index, (value.shape, value.dtype))
        if id(value) in self.ran:
            return "result", self.result(self.ran[id(value)], (value.shape, value.dtype))
        return "operand", self.operand(value)

    def result(self, position: int, meta: tuple) -> int:
        number = self.results.get(position)
        if number is None:
            self.results[position] = number = len(self.metas)
            self.metas.append(meta)
        return number

    def operand(self, value: Value) -> int:
        key = self._key(value)
        number = self.operands.get(key)
        if number is None:
            if value.buffer is None and key == id(value) and value.number is None:
                raise Unsettled("it uses a tensor that netcl can't find the way to")
            self.operands[key] = number = len(self.work.sources)
            origin = self.recorder.origin(value)
            self.work.sources.append(origin if origin is not None else ("constant", value))
        return number

    def _key(self, value: Value) -> Any:
        origin = self.recorder.origin(value)
        return origin if origin is not None and origin[0] != "array" else id(value)

    # ---- the records ----

    def fill(self) -> None:
        """The work, when all results are known. CannotRepeat where a replay can't do it."""
        work, trace, recorder = self.work, self.trace, self.recorder
        self.add_inputs()
        work.numbers = trace.scalars[self.first_scalar :]
        work.compute = evaluate(work.numbers)
        work.compute(recorder.sources(recorder.floats))  # raises where a replay can't
        work.constants = [None if type(n) in (Live, Site) else n for n in work.numbers]
        for number in work.numbers:
            if type(number) is Site:
                keep_site(trace.device, number)
        work.kinds = [arg[0] for op, arg, _ in trace.records[self.first :] if op == "scalar"]
        work.dtypes = [dtypes.by_name(kind) for kind in work.kinds]
        work.forward = self.template(list(self.results), self.metas)

    def add_inputs(self) -> None:
        """Every tensor that the records read is an operand."""
        records, found, pending = self.trace.records, self._input_positions(), self.pending
        read = {p for record in records[self.first :] for p in record[2] if p < self.first}
        read.update(place for place in found if place >= self.first)
        values = [found[place] for place in sorted(read) if place in found]
        values += [self.recorder.before[pending[place]] for place in sorted(read) if place in pending]
        if any(place not in found and place not in pending for place in read):
            raise Unsettled("it uses a tensor that netcl can't find the way to")
        for value in sorted(values, key=self._order):
            self.operand(value)
        for kind, what in self.work.sources:
            unknown = kind == "constant" and what.number is None and prod(what.shape)
            if unknown and id(what) not in self.recorder.uploads:
                raise Unsettled("it uses a tensor that netcl can't find the way to")

    def _input_positions(self) -> dict[int, Value]:
        """Where in the trace its inputs are."""
        positions = [place for place, record in enumerate(self.trace.records) if record[0] == "input"]
        return dict(zip(positions, self.trace.inputs, strict=True))

    def _order(self, value: Value) -> int:
        """The same operands come in the same order, whether they were waiting to be computed or not."""
        key = self._key(value)
        return key[1] if isinstance(key, tuple) and key[0] == "tensor" else len(self.recorder.watch.tensors)

    def _leaves(self) -> dict[int, int]:
        """Which records of the trace are operands: tensors first, then the numbers."""
        count = len(self.work.sources)
        leaves = {place: self.operands["tensor", number] for place, number in self.pending.items()
                  if ("tensor", number) in self.operands}  # fmt: skip
        leaves.update((place, self.operand(value)) for place, value in self._input_positions().items()
                      if self._key(value) in self.operands)  # fmt: skip
        for place in range(self.first, len(self.trace.records)):
            if self.trace.records[place][0] == "scalar":
                leaves[place] = count
                count += 1
        return leaves

    def template(self, outputs: list[int], metas: list[tuple], extra: dict[int, int] | None = None) -> Template:
        """The records that the outputs need, renumbered."""
        records, leaves = self.trace.records, self._leaves()
        leaves.update(extra or {})
        needed = set(outputs)
        for position in range(len(records) - 1, self.first - 1, -1):
            if position in needed:
                needed.update(records[position][2])
        kept = sorted(needed & leaves.keys(), key=leaves.__getitem__) + sorted(needed - leaves.keys())
        moved = {old: new for new, old in enumerate(kept)}
        return Template(
            [_renumbered(records[p], moved) if p not in leaves else ("operand", leaves[p], ()) for p in kept],
            {moved[p]: leaves[p] for p in kept if p in leaves},
            [moved[p] for p in outputs],
            metas,
        )


def _renumbered(record: tuple, moved: dict[int, int]) -> tuple:
    op, arg, operands = record
    return op, arg, tuple([moved[operand] for operand in operands])


def evaluate(numbers: Sequence[Any]) -> Callable[[list[Any]], list[Any]]:
    """A function from what a replay begins with to the numbers of the trace."""
    moving = [(place, evaluator(number)) for place, number in enumerate(numbers) if type(number) is Live]
    template = [peek(number) for number in numbers]

    def compute(sources: list[Any]) -> list[Any]:
        made = template.copy()
        for place, function in moving:
            made[place] = function(sources)
        return made

    return compute
