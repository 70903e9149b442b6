"""Plans: a trace compiled to launches with planned memory, kept under the trace's structure, and replayed.

The key is the trace itself (operations, arguments, shapes, dtypes, aliasing), which of its values are still held, and
which inputs nobody else holds, so that their memory may be taken over. The values of Python numbers are not in it.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from math import prod
from typing import Any

from netcl.codegen import contraction, rowwise
from netcl.codegen.horizontal import merge_small
from netcl.codegen.ir import KernelSource, Layout, Node, contiguous_strides
from netcl.codegen.targets import target_for
from netcl.codegen.views import strided
from netcl.core import debug, dtypes, launch, program
from netcl.graph import flags
from netcl.graph.lower import Graph, lower
from netcl.graph.schedule import Kernel, is_source, schedule
from netcl.graph.value import Trace, Value

MAX_PLANS = int(os.environ.get("NETCL_MAX_PLANS", "1024"))  # least recently used plans beyond this are dropped


@dataclass
class Statistics:
    """Counters since the process began."""

    planned: int = 0
    replayed: int = 0


@dataclass
class Step:
    """One launch of a plan. Argument sources: ("slot", n), ("scalar", n), ("offset", n), ("fixed", b), .."""

    launch: launch.Launch
    arguments: list[tuple[str, Any]]
    allocate: list[tuple[int, int]] = field(default_factory=list)  # (slot, bytes) before the launch
    take_over: list[tuple[int, int]] = field(default_factory=list)  # (slot, earlier slot whose memory it gets)
    release: list[int] = field(default_factory=list)  # slots not needed after the launch


@dataclass
class Plan:
    """Launches in order, and where each live value's result lies: (position, slot, strides, offset)."""

    steps: list[Step]
    slots: int
    results: list[tuple[int, int, tuple[int, ...] | None, int]]
    scalar_formats: list[str]
    kernels: list[KernelSource]
    checks: bool


statistics = Statistics()
_plans: OrderedDict[tuple, Plan] = OrderedDict()
_lock = threading.RLock()


def plan_count() -> int:
    return len(_plans)


def clear_plans() -> None:
    with _lock:
        _plans.clear()


def execute(trace: Trace) -> None:
    """Run a trace's live values, by a plan made now or found."""
    held = [(position, value) for position, value in _held(trace)]
    if not held:
        trace.records.clear()
        return
    free = _free_inputs(trace)
    device = trace.device
    key = (device, device.target, tuple(trace.records), tuple([position for position, _ in held]), free)
    with _lock:
        plan = _plans.get(key)
        if plan is not None:
            _plans.move_to_end(key)
            statistics.replayed += 1
    if plan is None:
        plan = _Builder(trace, [position for position, _ in held], set(free)).build()
        with _lock:
            statistics.planned += 1
            _plans[key] = plan
            while len(_plans) > MAX_PLANS:
                _plans.popitem(last=False)
    _run(plan, trace, dict(held))


def _held(trace: Trace) -> list[tuple[int, Value]]:
    """The values of the trace that somebody still holds."""
    held = []
    for position, reference in enumerate(trace.values):
        if reference is not None:
            value = reference()
            if value is not None:
                held.append((position, value))
    return held


def _free_inputs(trace: Trace) -> tuple[int, ...]:
    """Inputs whose memory nobody but this trace holds: it may be given to results.

    Exact in CPython: an input is held by the list (and the loop variable and the call), its buffer by the input.
    """
    free = []
    for number, value in enumerate(trace.inputs):
        if sys.getrefcount(value) == 3 and sys.getrefcount(value.buffer) == 2 and value.strides is None and not value.offset:
            free.append(number)
    return tuple(free)


# ---- running -----------------------------------------------------------------------------------------------------


def _run(plan: Plan, trace: Trace, held: dict[int, Value]) -> None:
    device = trace.device
    allocate = device.pool.allocate
    inputs = trace.inputs
    slots: list[Any] = [value.buffer for value in inputs]
    slots += [None] * (plan.slots - len(slots))
    scalars = [struct.pack(fmt, number) for fmt, number in zip(plan.scalar_formats, trace.scalars, strict=True)]
    if plan.checks:
        flags.mark_pending(device)
    for step in plan.steps:
        for slot, size in step.allocate:
            slots[slot] = allocate(size)
        for slot, earlier in step.take_over:
            slots[slot] = slots[earlier]
        arguments: list[Any] = []
        for kind, item in step.arguments:
            if kind == "slot":
                arguments.append(slots[item])
            elif kind == "fixed":
                arguments.append(item)
            elif kind == "scalar":
                arguments.append(scalars[item])
            elif kind == "offset":
                arguments.append(struct.pack("q", inputs[item].offset))
            else:
                arguments.append(flags.buffer(device))
        launch.enqueue(device, step.launch, arguments)
        for slot in step.release:
            slots[slot] = None
    for position, slot, strides, offset in plan.results:
        value = held[position]
        value.buffer = slots[slot]
        value.strides = strides
        value.offset = offset + (inputs[slot].offset if slot < len(inputs) else 0)
        value.trace = None
    trace.records.clear()
    trace.inputs.clear()


# ---- making ------------------------------------------------------------------------------------------------------

_FORMATS = {"float": "f", "double": "d", "int": "i", "long": "q", "uchar": "B", "char": "b", "short": "h"}


class _Builder:
    """Makes the plan of one trace."""

    def __init__(self, trace: Trace, live: list[int], free: set[int]):
        self.trace = trace
        self.device = trace.device
        self.target = target_for(trace.device)
        self.live = live
        self.free = free
        self.graph = Graph()
        self.input_number: dict[Node, int] = {}
        self.scalar_number: dict[Node, int] = {}
        self.slot_of: dict[Node, int] = {}

    def build(self) -> Plan:
        trace = self.trace
        sources = self._sources()
        formats = [_FORMATS[dtypes.by_name(arg[0]).compute] for op, arg, _ in trace.records if op == "scalar"]
        nodes = lower(self.graph, trace.records, set(self.live), sources)
        results = {position: self._in_memory(nodes[position]) for position in self.live}
        wanted = {base for base, _, _ in results.values() if base.op != "input"}
        needed = _reachable(wanted)
        kernels, anchors = schedule(needed, wanted)
        stored = self._stored(kernels, wanted, anchors)
        launches = [self._generate(kernel, stored) for kernel in kernels]
        if self.target.kind == "cpu":
            launches, kernels_of = merge_small(launches, [self._kernel_needs(k, kernels) for k in kernels])
        else:
            kernels_of = [[n] for n in range(len(kernels))]
        steps = self._steps(launches, kernels_of, kernels, stored, wanted)
        places = [
            (position, self.slot_of[base], None if strides == contiguous_strides(nodes[position].shape) else strides, offset)
            for position, (base, strides, offset) in results.items()
        ]
        checks = any(kind == "flags" for source in launches for kind, _ in source.arguments)
        plan = Plan(steps, self.slots, places, formats, launches, checks)
        self._describe(plan, kernels)
        return plan

    def _sources(self) -> dict[int, Node]:
        """Graph nodes for the trace's inputs and scalars. Equal contiguous inputs are one node."""
        sources: dict[int, Node] = {}
        inputs = scalars = 0
        for position, (op, arg, _) in enumerate(self.trace.records):
            if op == "input":
                dtype_name, shape, strides, moved, alias = arg
                strides = contiguous_strides(shape) if strides is None else strides
                identity = inputs if moved else -1
                node = self.graph.add("input", (), (dtype_name, shape, strides, moved, alias, identity))
                self.input_number.setdefault(node, inputs)
                self.slot_of.setdefault(node, inputs)
                sources[position] = node
                inputs += 1
            elif op == "scalar":
                node = self.graph.add("scalar", (), (arg[0], scalars))
                self.scalar_number[node] = scalars
                sources[position] = node
                scalars += 1
        self.slots = inputs
        return sources

    def _in_memory(self, node: Node) -> tuple[Node, tuple[int, ...], int]:
        """Where a live node's value will lie: a node that is stored, strides and offset into it. Views of memory stay
        views; everything else is stored contiguous."""
        found = strided(node, lambda n: n.primitive.kind != "view")
        if found is not None:
            base, strides, offset = found
            if base.op == "input":
                return self._through(base, node)
            if not is_source(base) and prod(base.shape) <= prod(node.shape):
                return base, strides, offset
        if is_source(node) or found is not None or node.primitive.kind == "view":
            node = self.graph.add("copy", (node,))
        return node, contiguous_strides(node.shape), 0

    def _through(self, base: Node, node: Node) -> tuple[Node, tuple[int, ...], int]:
        """A view of an input that has strides of its own."""
        from netcl.codegen import index as ix
        from netcl.codegen.views import affine_strides, operand_coordinates

        coordinates = tuple(ix.variable(f"x{axis}", size) for axis, size in enumerate(node.shape))
        current = node
        while current is not base:
            coordinates = operand_coordinates(current, coordinates)[0]
            current = current.src[0]
        position = ix.ZERO
        for coordinate, stride in zip(coordinates, base.arg[2], strict=True):
            position = position + coordinate * stride
        strides = affine_strides(position, node.shape)
        if strides is None:
            copied = self.graph.add("copy", (node,))
            return copied, contiguous_strides(copied.shape), 0
        return base, strides, position.constant

    def _stored(self, kernels: list[Kernel], wanted: set[Node], anchors: set[Node]) -> set[Node]:
        """The anchors that go to memory: wanted, or read by another kernel than their own."""
        stored = set(wanted)
        for kernel in kernels:
            own = set(kernel.placed)
            for node in _read_by(kernel, anchors):
                if node not in own and not is_source(node):
                    stored.add(node)
        return stored

    def _kernel_needs(self, kernel: Kernel, kernels: list[Kernel]) -> set[int]:
        return {kernels.index(other) for other in kernel.needs}

    def _layout(self, node: Node) -> Layout:
        if node.op == "input":
            return Layout(node.arg[2], node.arg[3])
        return Layout(contiguous_strides(node.shape))

    def _generate(self, kernel: Kernel, stored: set[Node]) -> KernelSource:
        own = set(kernel.placed)
        bindings = {node: self._layout(node) for node in stored if node not in own}
        bindings.update({node: self._layout(node) for node in self.input_number})
        outputs = [(node, at) for node, at in kernel.placed.items() if node in stored and kernel.levels[node] != "before"]
        if kernel.kind == "matmul":
            return contraction.generate(contraction.MatmulKernel.of(kernel, outputs, bindings), self.target)
        reductions = [
            rowwise.Reduction(node, source, kernel.placed[node], kernel.levels[node])
            for node, source in kernel.sources.items()
        ]
        used = _loads(kernel, bindings)
        return rowwise.generate(
            rowwise.RowwiseKernel(kernel.shape, kernel.inner, reductions, outputs, used, kernel.levels, _sweeps(kernel)),
            self.target,
        )

    # ---- steps and memory ----

    def _steps(
        self, sources: list[KernelSource], kernels_of: list[list[int]], kernels: list[Kernel], stored: set[Node],
        wanted: set[Node],
    ) -> list[Step]:  # fmt: skip
        made_at = {}
        for number, members in enumerate(kernels_of):
            for member in members:
                for node in kernels[member].placed:
                    if node in stored and kernels[member].levels[node] != "before":
                        made_at[node] = number
        last_use = {node: number for number, source in enumerate(sources) for kind, node in source.arguments if kind == "buffer"}
        fresh = self.slots
        for node in made_at:
            self.slot_of[node] = fresh
            fresh += 1
        steps = []
        available: list[tuple[int, int]] = self._free_slots()  # (slot, last step that uses it), memory to take over
        for number, source in enumerate(sources):
            step = Step(self._launch(source), [])
            for node in (n for n, at in made_at.items() if at == number):
                slot, size = self.slot_of[node], prod(node.shape) * node.dtype.itemsize
                earlier = self._take_over(node, size, number, source, available, last_use) if node in wanted else None
                if earlier is None:
                    step.allocate.append((slot, size))
                else:
                    step.take_over.append((slot, earlier))
            self._arguments(step, source)
            step.release = [
                self.slot_of[node] for node, last in last_use.items()
                if last == number and node in made_at and node not in wanted
            ]  # fmt: skip
            steps.append(step)
        self.slots = fresh
        return steps

    def _free_slots(self) -> list[tuple[int, int]]:
        return [(number, prod(self.trace.inputs[number].shape) * self.trace.inputs[number].dtype.itemsize) for number in sorted(self.free)]

    def _take_over(
        self, node: Node, size: int, number: int, source: KernelSource, available: list[tuple[int, int]],
        last_use: dict[Node, int],
    ) -> int | None:  # fmt: skip
        """An input's memory for a result: nobody else holds it, no later launch reads it, and this launch reads it,
        if at all, at the very element that it writes."""
        for slot, capacity in available:
            owner = next((n for n, k in self.input_number.items() if k == slot), None)
            same_buffer = [n for n in self.input_number if owner is not None and n.arg[4] == owner.arg[4]]
            if owner is None or capacity != size or len(same_buffer) != 1 or last_use.get(owner, -1) > number:
                continue
            if last_use.get(owner) == number and (owner, node) not in source.same_element:
                continue
            available.remove((slot, capacity))
            return slot
        return None

    def _launch(self, source: KernelSource) -> launch.Launch:
        kernel = program.get_kernel(self.device, source.source, source.name)
        return launch.Launch(
            kernel, source.global_size, source.local_size, source.name, source.flops, source.bytes_moved, source.source
        )

    def _arguments(self, step: Step, source: KernelSource) -> None:
        for kind, item in source.arguments:
            if kind == "buffer":
                step.arguments.append(("slot", self.slot_of[item]))
            elif kind == "scalar":
                step.arguments.append(("scalar", self.scalar_number[item]))
            elif kind == "offset":
                step.arguments.append(("offset", self.input_number[item]))
            elif kind == "number":
                value, dtype_name = item
                step.arguments.append(("fixed", struct.pack(_FORMATS[dtypes.by_name(dtype_name).compute], value)))
            elif kind == "flags":
                step.arguments.append((kind, item))
            else:
                step.arguments.append(("fixed", self._scratch(item * 4)))

    def _scratch(self, size: int) -> Any:
        """Memory that belongs to the plan: zeroed once, and left zeroed where it has to be by the kernels."""
        buffer = self.device.pool.allocate(size)
        launch.fill_zero(self.device, buffer, size)
        return buffer

    def _describe(self, plan: Plan, kernels: list[Kernel]) -> None:
        if debug.level >= 1:
            debug.log(1, f"plan: {len(self.trace.records)} operations, {len(plan.steps)} launches on {self.device}")
        for source in plan.kernels if debug.level >= 2 else ():
            debug.log(2, f"  {source.name}: {source.global_size} x {source.local_size}")
            debug.log(3, source.source)


def _reachable(wanted: set[Node]) -> list[Node]:
    """Everything that the wanted nodes need, in topological order."""
    seen: set[Node] = set()
    stack = list(wanted)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.src)
    return sorted(seen, key=lambda node: node.number)


def _read_by(kernel: Kernel, anchors: set[Node]) -> set[Node]:
    """The anchors that a kernel's values are computed from."""
    found: set[Node] = set()
    seen: set[Node] = set()
    stack = [source for node in kernel.placed for source in node.src]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in anchors:
            found.add(node)
        else:
            stack.extend(node.src)
    return found


def _loads(kernel: Kernel, bindings: dict[Node, Layout]) -> dict[Node, Layout]:
    """The bindings that a kernel really reads."""
    used: dict[Node, Layout] = {}
    seen: set[Node] = set()
    stack = list(kernel.placed)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in bindings:
            used[node] = bindings[node]
        else:
            stack.extend(node.src)
    return used


def _sweeps(kernel: Kernel) -> dict[Node, int]:
    """For each row reduction and each full output, the pass over the row in which it is done: after all the row
    reductions that it needs."""
    sweeps: dict[Node, int] = {}
    known: dict[Node, int] = {}
    for node in sorted(kernel.placed, key=lambda n: n.number):
        if kernel.levels[node] in ("row", "full") and (node in kernel.sources or kernel.levels[node] == "full"):
            sweeps[node] = max((_after(source, kernel, sweeps, known) for source in node.src), default=0)
    return sweeps


def _after(node: Node, kernel: Kernel, sweeps: dict[Node, int], known: dict[Node, int]) -> int:
    """The first sweep in which a node can be evaluated."""
    stack = [node]
    while stack:
        current = stack[-1]
        if current in known:
            stack.pop()
            continue
        if current in sweeps and current in kernel.sources:
            known[current] = sweeps[current] + 1
            continue
        waiting = [source for source in current.src if source not in known]
        if waiting:
            stack.extend(waiting)
            continue
        known[current] = max((known[source] for source in current.src), default=0)
    return known[node]
