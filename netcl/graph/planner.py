"""Making a plan: lower the trace, schedule kernels, generate and build them, lay out memory."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from netcl.codegen import contraction, library, rowwise
from netcl.codegen.horizontal import merge_small
from netcl.codegen.ir import KernelSource, Layout, Node, contiguous_strides, walk
from netcl.codegen.targets import target_for
from netcl.codegen.views import strided, strided_input
from netcl.core import debug, dtypes, launch, program
from netcl.core.replay import Memory, Step, Steps
from netcl.graph import budget, flags, frugal
from netcl.graph.anchors import is_source
from netcl.graph.kernel import Kernel
from netcl.graph.layout import lay_out
from netcl.graph.lower import Graph, lower
from netcl.graph.plan import Plan
from netcl.graph.schedule import Scheduler, schedule
from netcl.graph.value import Trace

_FORMATS = {"float": "f", "double": "d", "int": "i", "long": "q", "uchar": "B", "char": "b", "short": "h"}


def build(trace: Trace, live: list[int], free: set[int], heirs: Sequence[tuple[int, int]] = ()) -> Plan:
    """The plan of a trace: `live` are the positions of the values to compute, `free` the inputs to overwrite; `heirs`
    says in which of them, (input, position), a result should lie."""
    return Builder(trace, live, free, heirs).build()


@dataclass
class Design:
    """A plan on paper: nothing is compiled, no memory is taken."""

    nodes: dict[int, Node]  # by position in the trace
    results: dict[int, tuple[Node, tuple[int, ...], int]]  # by position: what is stored, strides, offset
    wanted: set[Node]  # what outlives the plan
    kernels: list[Kernel]
    scheduler: Scheduler
    stored: set[Node]  # what kernels leave in memory
    alone: list[KernelSource]  # the text of each kernel
    launches: list[KernelSource]  # kernels that share a launch merged
    kernels_of: list[list[int]]  # the kernels of each launch
    memory: Memory


class Builder:
    """Makes the plan of one trace."""

    def __init__(self, trace: Trace, live: list[int], free: set[int], heirs: Sequence[tuple[int, int]] = ()):
        self.trace = trace
        self.heirs = heirs
        self.device = trace.device
        self.target = target_for(trace.device)
        self.live = live
        self.free = free
        self.graph = Graph()
        self.input_number: dict[Node, int] = {}
        self.scalar_number: dict[Node, int] = {}
        self.slot_of: dict[Node, int] = {}
        self.moved: list[int] = []

    def build(self) -> Plan:
        packers = [
            struct.Struct(_FORMATS[dtypes.by_name(arg[0]).compute]).pack
            for op, arg, _ in self.trace.records
            if op == "scalar"
        ]
        design = self.design()
        launches, nodes = design.launches, design.nodes
        steps = Steps(self._steps(launches))
        places = [self._place(position, nodes[position], *result) for position, result in design.results.items()]
        checks = any(kind == "flags" for source in launches for kind, _ in source.arguments)
        plan = Plan(steps, design.memory, places, packers, self.moved, launches, checks)
        self._describe(plan)
        return plan

    def design(self) -> Design:
        """Which kernels there are, their texts, and what lies where."""
        nodes = lower(self.graph, self.trace.records, set(self.live), self._sources())
        live_nodes = {nodes[position] for position in self.live}
        results = {position: self._in_memory(nodes[position], live_nodes) for position in self.live}
        wanted = {base for base, _, _ in results.values() if base.op != "input"}
        self.free -= {self.slot_of[base] for base, _, _ in results.values() if base.op == "input"}  # results lie there
        design = self._designed(nodes, results, wanted, self.graph.stages)
        return design if budget.state.limit is None else frugal.within(self, design, budget.state.limit)

    def _designed(
        self, nodes: dict[int, Any], results: dict[int, tuple], wanted: set[Node], stages: dict[Node, tuple[int, int]],
        less: bool = False,
    ) -> Design:  # fmt: skip
        self.slot_of = dict(self.input_number)
        kernels, scheduler = schedule(_reachable(wanted), wanted, stages, less)
        stored = self._stored(kernels, wanted, scheduler.anchors)
        alone = [self._generate(kernel, stored) for kernel in kernels]
        if self.target.kind == "cpu":
            launches, kernels_of = merge_small(alone, self._kernel_needs(kernels))
        else:
            launches, kernels_of = alone, [[n] for n in range(len(kernels))]
        memory = self._lay_out(launches, kernels_of, kernels, stored, wanted, results)
        return Design(nodes, results, wanted, kernels, scheduler, stored, alone, launches, kernels_of, memory)

    def redesign(self, design: Design, moved: dict[Node, Node]) -> Design:
        """A design for nodes made anew that keeps less in memory, see graph.budget."""

        def now(node: Any) -> Any:
            return tuple(map(now, node)) if isinstance(node, tuple) else moved.get(node, node)

        self.input_number = {now(node): number for node, number in self.input_number.items()}
        self.scalar_number = {now(node): number for node, number in self.scalar_number.items()}
        stages = {now(node): stage for node, stage in design.scheduler.stages.items()}
        nodes = {position: now(node) for position, node in design.nodes.items()}
        results = {position: (now(base), *rest) for position, (base, *rest) in design.results.items()}
        return self._designed(nodes, results, {now(node) for node in design.wanted}, stages, less=True)

    def state(self) -> tuple:
        """What belongs to the design that was made last."""
        return self.input_number, self.scalar_number, self.slot_of

    def restore(self, state: tuple) -> None:
        self.input_number, self.scalar_number, self.slot_of = state

    def _place(self, position: int, node: Node, base: Node, strides: tuple[int, ...], offset: int) -> tuple:
        """Where a live value will lie, and its record as an input of later traces (unknown if its offset may move)."""
        kept = None if strides == contiguous_strides(node.shape) else strides
        known = base.op != "input" and not offset
        record = ("input", (node.dtype.name, node.shape, kept, False), ()) if known else None
        return position, self.slot_of[base], kept, offset, record

    def _sources(self) -> dict[int, Node]:
        """Graph nodes for the trace's inputs and scalars. Equal contiguous inputs are one node."""
        sources: dict[int, Node] = {}
        inputs = scalars = 0
        sharing = self.trace.sharing() or range(len(self.trace.inputs))
        for position, (op, arg, _) in enumerate(self.trace.records):
            if op == "input":
                (dtype_name, shape, strides, moved), alias = arg, sharing[inputs]
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
        self.scalars = scalars
        return sources

    def _in_memory(self, node: Node, live: set[Node]) -> tuple[Node, tuple[int, ...], int]:
        """Where a live node's value will lie: a node that is stored, strides and offset into it. Views of memory stay
        views; everything else is stored contiguous."""
        found = strided(node, lambda n: n.primitive.kind != "view")
        if found is not None:
            base, strides, offset = found
            if base.op == "input":
                return self._through(base, node)
            if not is_source(base) and (prod(base.shape) <= prod(node.shape) or base in live):
                return base, strides, offset
        if is_source(node) or found is not None or node.primitive.kind == "view":
            node = self.graph.add("copy", (node,))
        return node, contiguous_strides(node.shape), 0

    def _through(self, base: Node, node: Node) -> tuple[Node, tuple[int, ...], int]:
        """A view of an input that has strides of its own."""
        found = strided_input(node, base)
        if found is None:
            copied = self.graph.add("copy", (node,))
            return copied, contiguous_strides(copied.shape), 0
        return base, *found

    def _stored(self, kernels: list[Kernel], wanted: set[Node], anchors: set[Node]) -> set[Node]:
        """The anchors that go to memory: wanted, or read by another kernel than their own."""
        stored = set(wanted)
        for kernel in kernels:
            own = set(kernel.placed)
            for node in _read_by(kernel, anchors):
                if node not in own and not is_source(node):
                    stored.add(node)
        return stored

    def _kernel_needs(self, kernels: list[Kernel]) -> list[set[int]]:
        """For each kernel those that have to be done before it; all of an earlier stage or a lower rank are."""
        number = {kernel: n for n, kernel in enumerate(kernels)}
        needs = [{number[other] for other in kernel.needs} for kernel in kernels]
        stages: dict[int, list[tuple[int, list[int]]]] = {}  # by composite: its stages so far, and their kernels
        for n, kernel in enumerate(kernels):
            if kernel.stage is not None:
                composite, stage = kernel.stage
                passed = stages.setdefault(composite, [])
                if not passed or passed[-1][0] != stage:
                    passed.append((stage, []))
                passed[-1][1].append(n)
                needs[n].update(passed[-2][1] if len(passed) > 1 else ())
            if kernel.rank:
                needs[n].update(m for m in range(n) if kernels[m].rank < kernel.rank)
        return needs

    def _layout(self, node: Node) -> Layout:
        if node.op == "input":
            return Layout(node.arg[2], node.arg[3])
        return Layout(contiguous_strides(node.shape))

    def _generate(self, kernel: Kernel, stored: set[Node]) -> KernelSource:
        own = set(kernel.placed)
        bindings = {node: self._layout(node) for node in stored if node not in own}
        bindings.update({node: self._layout(node) for node in self.input_number})
        outputs = list(kernel.leaves(stored).items())
        if kernel.kind == "matmul":
            return contraction.generate(contraction.MatmulKernel.of(kernel, outputs, bindings), self.target)
        if kernel.kind == "library":
            return library.generate(outputs[0][0], bindings, self.target)
        reductions = [
            rowwise.Reduction(node, source, kernel.placed[node], kernel.levels[node])
            for node, source in kernel.sources.items()
        ]
        used = loads(kernel, bindings)
        return rowwise.generate(
            rowwise.RowwiseKernel(
                kernel.shape, kernel.inner, reductions, outputs, used, kernel.levels, _sweeps(kernel)
            ),
            self.target,
        )

    # ---- steps ----

    def _lay_out(
        self, sources: list[KernelSource], kernels_of: list[list[int]], kernels: list[Kernel], stored: set[Node],
        wanted: set[Node], results: dict[int, tuple],
    ) -> Memory:  # fmt: skip
        made_at: dict[Node, int] = {}
        for number, members in enumerate(kernels_of):
            for member in members:
                made_at.update(dict.fromkeys(kernels[member].leaves(stored), number))
        number_of = {number: node for node, number in self.input_number.items()}
        heirs = {results[position][0]: number_of[number] for number, position in self.heirs}
        return lay_out(
            sources, made_at, wanted, self.slot_of, len(self.trace.inputs), self._free_inputs(), heirs
        )

    def _steps(self, sources: list[KernelSource]) -> list[Step]:
        steps = []
        for source in sources:
            step = Step(self._launch(source))
            self._arguments(step, source)
            steps.append(step)
        return steps

    def _free_inputs(self) -> set[Node]:
        """The inputs whose memory may be overwritten: held by nothing else, and seen by the trace in one way only."""
        buffers = [node.arg[4] for node in self.input_number]
        return {n for n, number in self.input_number.items() if number in self.free and buffers.count(n.arg[4]) == 1}

    def _launch(self, source: KernelSource) -> launch.Launch:
        kernel = program.own_kernel(self.device, source.source, source.name)
        return launch.Launch(
            kernel, source.global_size, source.local_size, source.name, source.flops, source.bytes_moved, source.source
        )

    def _arguments(self, step: Step, source: KernelSource) -> None:
        for place, (kind, item) in enumerate(source.arguments):
            fixed: Any = None
            if kind == "buffer":
                step.slots.append((place, self.slot_of[item]))
            elif kind == "scalar":
                step.scalars.append((place, self.scalar_number[item]))
            elif kind == "offset":
                step.scalars.append((place, self._moved(self.input_number[item])))
            elif kind == "number":
                value, dtype_name = item
                fixed = struct.pack(_FORMATS[dtypes.by_name(dtype_name).compute], value)
            elif kind == "flags":
                fixed = flags.buffer(self.device)
            else:
                fixed = self._scratch(item * 4)
            if fixed is not None:
                step.fixed[place] = fixed

    def _moved(self, number: int) -> int:
        """Where the offset of an input stands behind the scalars."""
        if number not in self.moved:
            self.moved.append(number)
        return self.scalars + self.moved.index(number)

    def _scratch(self, size: int) -> Any:
        """Memory that belongs to the plan: zeroed once, and left zeroed where it has to be by the kernels."""
        buffer = self.device.pool.allocate(size)
        launch.fill_zero(self.device, buffer, size)
        return buffer

    def _describe(self, plan: Plan) -> None:
        if debug.level >= 1:
            debug.log(1, f"plan: {len(self.trace.records)} operations, {len(plan.steps)} launches on {self.device}")
        for source in plan.kernels if debug.level >= 2 else ():
            debug.log(2, f"  {source.name}: {source.global_size} x {source.local_size}")
            debug.log(3, source.source)


def _reachable(wanted: set[Node]) -> list[Node]:
    """Everything that the wanted nodes need, in topological order."""
    return sorted(walk(wanted, lambda node: False), key=lambda node: node.number)


def _read_by(kernel: Kernel, anchors: set[Node]) -> set[Node]:
    """The anchors that a kernel's values are computed from."""
    sources = [source for node in kernel.placed for source in node.src]
    return {node for node in walk(sources, anchors.__contains__) if node in anchors}


def loads(kernel: Kernel, bindings: dict[Node, Layout]) -> dict[Node, Layout]:
    """The bindings that a kernel really reads."""
    return {node: bindings[node] for node in walk(kernel.placed, bindings.__contains__) if node in bindings}


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
