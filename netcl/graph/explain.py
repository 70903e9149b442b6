"""What is pending and what would run: operations, kernels, launches, memory, and why kernels are apart.

Nothing is run or compiled, and what is pending stays as it is: a plan is only designed.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from netcl.codegen.ir import Node
from netcl.core.dtypes import DType
from netcl.graph import plan
from netcl.graph.kernel import Kernel, space_of
from netcl.graph.planner import Builder, Design
from netcl.graph.primitives import TABLE
from netcl.graph.reports import Array, Edge, Explanation, KernelReport, Memory, Operation, Report
from netcl.graph.tables import space_text
from netcl.graph.value import Trace, Value, flush_thread, open_traces


def explain(tensors: Any, names: Any = None) -> Explanation:
    """What would run if one of these tensors (one, or nested lists, tuples and dicts of them) were read.

    names: what to call tensors, by name, or a Module; their gradients are called after them. Everything that was
    recorded with them and is still held is computed together, so it is in the report too. Nothing is run, and what is
    pending stays pending.
    """
    traces: dict[int, Trace] = {}
    for value in values_in(tensors):
        if value.trace is not None:
            traces[id(value.trace)] = value.trace
    known = _Names(names)
    return Explanation([report(trace, known) for trace in traces.values()])


class _Names:
    """What values are called: those of tensors, by name, or of a Module's parameters; and those of their gradients.
    Values that tensors get later are new ones. Nothing is kept alive: a plan may take over what nobody holds."""

    def __init__(self, names: Any = None):
        self.tensors = dict(names.named_parameters() if hasattr(names, "named_parameters") else names or {})
        self.known: dict[int, tuple[weakref.ref[Value], str]] = {}
        self.update("")

    def update(self, suffix: str = " (new)") -> None:
        """See what the tensors and their gradients are now."""
        for name, tensor in self.tensors.items():
            for value in values_in(tensor):
                self._add(value, name + suffix)
            gradient = getattr(tensor, "grad", None)
            if gradient is not None:
                self._add(gradient._value, f"{name}.grad")

    def _add(self, value: Value, name: str) -> None:
        if self.of(value) is None:
            self.known[id(value)] = weakref.ref(value), name

    def of(self, value: Value) -> str | None:
        reference, name = self.known.get(id(value), (None, ""))
        return name if reference is not None and reference() is value else None


def pending(names: Any = None) -> Explanation:
    """As `explain`, for all that this thread has pending."""
    known = _Names(names)
    reports = [report(trace, known) for trace in open_traces()]
    return Explanation([one for one in reports if one.kernels])


@contextmanager
def watching(names: Any = None) -> Iterator[Explanation]:
    """Reports of all that this thread runs inside: an optimizer's step, a value that is read. For what is still pending
    at the end, see `explain`."""
    found = Explanation()
    thread = threading.get_ident()
    known = _Names(names)

    def watch(trace: Trace) -> None:
        if threading.get_ident() == thread:
            known.update()
            found.reports.append(report(trace, known))

    plan.watchers.append(watch)
    try:
        yield found
    finally:
        plan.watchers.remove(watch)


def explain_call(function: Callable[[], Any], names: Any = None) -> tuple[Any, Explanation]:
    """What a function returns, and reports of all that it runs and of what is pending when it has returned. What was
    pending before runs first."""
    flush_thread()
    with watching(names) as found:
        result = function()
    found.reports += pending(names).reports
    return result, found


def values_in(tensors: Any) -> Iterator[Value]:
    """The values of a tensor, a value, or nested containers of them."""
    value = getattr(tensors, "_value", tensors)
    if isinstance(value, Value):
        yield value
    elif isinstance(tensors, Mapping):
        for item in tensors.values():
            yield from values_in(item)
    elif isinstance(tensors, (list, tuple, set)):
        for item in tensors:
            yield from values_in(item)
    elif tensors is not None and not isinstance(tensors, (int, float, str)):
        raise TypeError(f"explain: expected tensors, or lists or dicts of them, got {type(tensors).__name__}")


def report(trace: Trace, names: _Names | None = None) -> Report:
    """What a trace would become if it ran now."""
    with trace.lock:
        held = [position for position, reference in trace.values.items() if reference() is not None]
        builder = Builder(trace, held, set(plan._free_inputs(trace)))
        design = builder.design()
        return _Reporter(trace, held, builder, design, names or _Names()).report()


class _Reporter:
    """Turns a trace and its design into plain data."""

    def __init__(self, trace: Trace, held: list[int], builder: Builder, design: Design, names: _Names):
        self.trace = trace
        self.held = set(held)
        self.builder = builder
        self.design = design
        self.names = names
        self.unnamed = 0

    def report(self) -> Report:
        self.labels = self._labels()
        operations = self._operations()
        self._name_arrays()
        launch_of = {member: number for number, members in enumerate(self.design.kernels_of) for member in members}
        kernels = [self._kernel(number, launch_of[number]) for number in range(len(self.design.kernels))]
        launches = [tuple(member + 1 for member in members) for members in self.design.kernels_of]
        device = self.trace.device
        target = self.builder.target.kind
        return Report(str(device), target, operations, kernels, launches, self._edges(), self._memory())

    # ---- what was recorded ----

    def _labels(self) -> dict[int, str]:
        """What each position of the trace is called."""
        labels = {position: f"%{position}" for position in range(len(self.trace.records))}
        inputs = iter(self.trace.inputs)
        number = 0
        for position, (op, _, _) in enumerate(self.trace.records):
            if op == "input":
                labels[position] = self.names.of(next(inputs)) or f"input{number}"
                number += 1
        for position, reference in self.trace.values.items():
            value = reference()
            if value is not None:
                labels[position] = self.names.of(value) or labels[position]
        return labels

    def _operations(self) -> list[Operation]:
        records = self.trace.records
        needed = set(self.held)
        for position in range(len(records) - 1, -1, -1):
            if position in needed:
                needed.update(records[position][2])
        metas = self._metas()
        parts: dict[int, list[int]] = {}  # of a composite with several results
        for position, (op, _, operands) in enumerate(records):
            if op == "item":
                parts.setdefault(operands[0], []).append(position)
        numbers = iter(self.trace.scalars)
        called: dict[int, str] = {}
        found = []
        for position, (op, arg, operands) in enumerate(records):
            if op == "item":
                continue
            kind = {"input": "input", "scalar": "number", "literal": "number"}.get(op, TABLE[op].kind)
            argument = str(next(numbers)) if op == "scalar" else str(arg[1]) if op == "literal" else spelled(op, arg)
            places = parts.get(position, [position])
            results = tuple(Array(self.labels[place], metas[place][1].name, metas[place][0]) for place in places)
            fate = "held" if self.held.intersection(places) else "computed" if position in needed else "dropped"
            sources = tuple(records[o][2][0] if records[o][0] == "item" else o for o in operands)
            called.update({position: argument} if kind == "number" else {p: self.labels[p] for p in places})
            read = tuple(called[operand] for operand in operands)
            found.append(Operation(position, operation_name(op, arg), kind, argument, sources, read, results, fate))
        return found

    def _metas(self) -> list[Any]:
        """Shape and dtype of each position, also of those whose values are gone."""
        metas: list[Any] = []
        for op, arg, operands in self.trace.records:
            if op == "item":
                metas.append(metas[operands[0]][arg])
            else:
                described = [SimpleNamespace(shape=metas[o][0], dtype=metas[o][1]) for o in operands]
                metas.append(TABLE[op].infer(described, arg))
        return [meta if isinstance(meta[-1], DType) else meta[0] for meta in metas]

    # ---- what becomes of it ----

    def _name_arrays(self) -> None:
        """What lies in memory: inputs, recorded results, and t1, t2, .. for what kernels leave to each other."""
        self.array_names: dict[Node, str] = {}
        self.makers: dict[Node, str] = {}
        sources = [position for position, record in enumerate(self.trace.records) if record[0] == "input"]
        for node, number in self.builder.input_number.items():
            self.array_names[node] = self.labels[sources[number]]
        for position, node in self.design.nodes.items():
            if isinstance(node, Node):
                self._called(node, position)
        for position, (base, _, _) in self.design.results.items():
            self._called(base, position)

    def _called(self, node: Node, position: int) -> None:
        """The array of a node is known by the operation that was recorded at a position."""
        if node not in self.array_names:
            self.array_names[node] = self.labels[position]
            op, arg, operands = self.trace.records[position]
            op, arg, _ = self.trace.records[operands[0]] if op == "item" else (op, arg, ())
            self.makers[node] = operation_name(op, arg)

    def _array(self, node: Node) -> Array:
        if node not in self.array_names:
            self.unnamed += 1
            self.array_names[node] = f"t{self.unnamed}"
        made_by = "" if node.op == "input" else self.makers.get(node, node.op)
        return Array(self.array_names[node], node.dtype.name, node.shape, made_by)

    def _kernel(self, number: int, launch: int) -> KernelReport:
        kernel, source = self.design.kernels[number], self.design.alone[number]
        written = kernel.leaves(self.design.stored)
        used = dict.fromkeys(item for kind, item in source.arguments if kind == "buffer")
        evaluated = sorted({*self.design.scheduler.evaluated(kernel), *kernel.placed}, key=lambda n: n.number)
        return KernelReport(
            number + 1, launch + 1, source.name, kernel.kind, kernel.shape, tuple(sorted(kernel.inner)),
            tuple(node.op for node in evaluated if node.primitive.kind not in ("view", "source")),
            tuple(self._array(node) for node in used if node not in written),
            tuple(self._array(node) for node in written), source.flops,
        )  # fmt: skip

    def _edges(self) -> list[Edge]:
        scheduler = self.design.scheduler
        number = {kernel: n + 1 for n, kernel in enumerate(self.design.kernels)}
        edges: dict[tuple[int, int, Node], Edge] = {}
        for later in self.design.kernels:
            for reader in later.placed:
                for read in sorted(scheduler.reach(reader)[0], key=lambda node: node.number):
                    earlier = scheduler.home.get(read)
                    if earlier is None or earlier is later:
                        continue
                    place = number[earlier], number[later], read
                    if place not in edges:
                        name, text = self._why(reader, later, read, earlier)
                        edges[place] = Edge(place[0], place[1], self._array(read), name, text)
        return sorted(edges.values(), key=lambda edge: (edge.source, edge.target))

    def _why(self, reader: Node, later: Kernel, read: Node, earlier: Kernel) -> tuple[str, str]:
        reason, behind = self.design.scheduler.why_apart(reader, later, earlier)
        array = self._array(read)
        words = {
            "reader": reader.op, "read": f"{array.name} ({array.made_by})",
            "own": space_text(space_of(reader)), "kernel": space_text(earlier.shape),
            "other": self._other(reader, later),
        }  # fmt: skip
        text = reason.value.format(**words)
        return reason.name, text if behind is None else f"{text}; the two can't be one: {behind.value.format(**words)}"

    def _other(self, reader: Node, home: Kernel) -> str:
        """The kernel that a node has joined, by what it reads there."""
        scheduler = self.design.scheduler
        own = [n for n in sorted(scheduler.reach(reader)[0], key=lambda n: n.number) if scheduler.home.get(n) is home]
        if not own:
            return "a kernel that reads the same arrays as it does"
        return f"the kernel that makes {' and '.join(node.op for node in own[:2])}, which it needs as well"

    def _memory(self) -> Memory:
        memory = self.design.memory
        return Memory(sum(memory.results), sum(n for _, n, _ in memory.taken), sum(memory.scratch))


def operation_name(op: str, arg: Any) -> str:
    """What an operation is called: the gradient of a composite is recorded as one operation too."""
    return f"gradient of {arg[0]}" if op == "gradient" else op


def spelled(op: str, arg: Any) -> str:
    """An operation's argument, where a reader can use it."""
    if arg is None or op == "gradient" or TABLE[op].kind not in ("view", "reduce", "elementwise", "source"):
        return ""
    text = str(arg[0] if TABLE[op].kind == "reduce" else arg)
    return " ".join(text.split()) if len(text) < 60 else ""
