"""Which nodes share a kernel.

Anchors are the nodes that must exist somewhere: reductions, contractions, library operations and every node whose
value is wanted in memory. Everything else is evaluated inside the kernels that need it. Anchors are taken in
topological order, and each joins the latest kernel that it can: the iteration spaces must agree, whatever it needs
from that kernel must be needed at the very coordinates where the kernel has it, and no cycle may arise.
"""

from __future__ import annotations

from itertools import count
from math import prod

from netcl.codegen import index as ix
from netcl.codegen.ir import Node, is_costly, walk
from netcl.codegen.views import Coordinates, operand_coordinates
from netcl.graph.anchors import Stages, forced, is_source, operand_base, ranks
from netcl.graph.kernel import Kernel, in_order, placements, space_of, spread, squeeze
from netcl.graph.reasons import BY_ADDRESS, Reason, no_place, operand_reason

MAX_ANCHORS = 48  # in one kernel: bounds compile time and the number of arguments
MAX_CHAIN = 400  # elementwise nodes evaluated for one anchor before one of them is put into memory
MAX_CAREFUL = 8  # rounds in which as little as possible is stored; a chain may need one for each of its links
BEFORE_LIMIT = 16384  # elements that every work-item may reduce for itself ahead of its rows


class Scheduler:
    """Groups the anchors of one graph."""

    def __init__(self, nodes: list[Node], wanted: set[Node], stages: Stages, frugal: bool = False):
        self.nodes = nodes
        self.frugal = frugal  # memory is short: costly elementwise nodes are evaluated wherever they are needed
        self.wanted = wanted
        self.stages = stages
        self.rank = ranks(nodes)
        self.anchors = set(wanted) | forced(nodes, stages)
        self.kernels: list[Kernel] = []
        self.home: dict[Node, Kernel] = {}
        self.refused: dict[tuple[Node, Kernel], Reason] = {}  # kernels that a node could not join
        self.apart: dict[tuple[Kernel, Kernel], Reason] = {}  # kernels that could not become one
        self.reached: dict[Node, tuple[set[Node], set[Node]]] = {}  # by `reach`, with these anchors

    # ---- anchors ----

    def run(self) -> list[Kernel]:
        """The kernels in launch order. They are laid out anew until no value is found that had better be stored."""
        self.totals = self._small_totals()
        for attempt in count():
            self.kernels, self.home, self.refused, self.apart, self.reached = [], {}, {}, {}, {}
            for node in self.nodes:
                if node in self.anchors and node not in self.totals and not is_source(node) and 0 not in node.shape:
                    self._place(node)
            repeated, unfit = self._repeated(outermost=attempt < MAX_CAREFUL), self._unfit_totals()
            if not repeated and not unfit:
                break
            self.anchors |= repeated
            self.totals = {node for node in self.totals - unfit if not self.reach(node)[0]}  # they wait for no kernel
        self._put_totals_before()
        return in_order(self.kernels)

    def _repeated(self, outermost: bool) -> set[Node]:
        """Costly elementwise nodes that several kernels would evaluate: better stored once. Just the outermost of
        each group that the same kernels evaluate: what they are made of may then be needed in one kernel only."""
        if self.frugal:
            return set()
        users: dict[Node, set[Kernel]] = {}
        for kernel in self.kernels:
            for node in self.evaluated(kernel):
                users.setdefault(node, set()).add(kernel)
        found = set()
        for node, kernels in users.items():
            if len(kernels) > 1 and node not in self.anchors and node.primitive.kind == "elementwise":
                cost, loads = self._cost(node)
                if len(loads) > 1 or cost > 6:
                    found.add(node)
        if not outermost:
            return found
        return {n for n in found if not any(n in self._below(m) for m in found if m is not n and users[m] >= users[n])}

    def _cost(self, node: Node) -> tuple[int, set[Node]]:
        """Operations and full-size loads that evaluating a node takes."""
        below = self._below(node)
        loads = set()
        for current in below | {node}:
            for source in current.src:
                if (source in self.anchors or source.op == "input") and prod(source.shape) >= prod(node.shape):
                    loads.add(source)
        evaluated = [n for n in below | {node} if n.primitive.kind == "elementwise"]
        cost = sum(4 if is_costly(n) or n.op == "uniform" else 1 for n in evaluated)
        return cost, loads

    def evaluated(self, kernel: Kernel) -> set[Node]:
        """What a kernel computes on the way to what is placed in it."""
        return self._below(*kernel.placed)

    def _below(self, *nodes: Node) -> set[Node]:
        """What has to be evaluated for nodes: what they are made of, down to anchors and sources."""
        sources = [source for node in nodes for source in node.src]
        return {node for node in walk(sources, self._is_there) if not self._is_there(node)}

    def _is_there(self, node: Node) -> bool:
        return node in self.anchors or is_source(node)

    # ---- placing ----

    def _place(self, node: Node) -> None:
        if node.primitive.kind in BY_ADDRESS:
            self._new_by_address(node)
            return
        self._unite({self.home[n] for n in self.reach(node)[0] if n in self.home})
        for kernel in self._candidates(node):
            refused = self._join(kernel, node)
            if refused is None:
                return
            self.refused[node, kernel] = refused
        self._new_rowwise(node)

    def _candidates(self, node: Node) -> list[Kernel]:
        """Kernels to try, those that the node needs first, then those that read the same memory; latest first."""
        needed, inputs = self.reach(node)
        first = {self.home[n] for n in needed if n in self.home}
        shared = [k for k in self.kernels if k not in first and k.kind == "rowwise" and self._shares(k, node, inputs)]
        return sorted(first, key=lambda k: (-prod(k.shape), -k.order)) + sorted(shared, key=lambda k: -k.order)

    def _shares(self, kernel: Kernel, node: Node, inputs: set[Node]) -> bool:
        if kernel.shape != space_of(node):
            return False
        for anchor in kernel.placed:
            _, theirs = self.reach(anchor)
            if any(prod(n.shape) > 1 for n in theirs & inputs):
                return True
        return False

    def reach(self, node: Node) -> tuple[set[Node], set[Node]]:
        """The anchors that are no sources, and all anchors and sources, that evaluating a node reads directly."""
        if node in self.reached:
            return self.reached[node]
        anchors: set[Node] = set()
        inputs: set[Node] = set()
        for length, current in enumerate(walk(node.src, self._is_there), 1):
            if self._is_there(current):
                inputs.add(current)
                if not is_source(current):
                    anchors.add(current)
            elif length > MAX_CHAIN and current.primitive.kind == "elementwise":
                raise ChainTooLong(current)
        self.reached[node] = anchors, inputs
        return anchors, inputs

    def _join(self, kernel: Kernel, node: Node) -> Reason | None:
        """Put a node into a kernel, or tell why it can't be."""
        size = len(self._below(node))
        stage = self.stages.get(node)
        if stage is not None and kernel.stage is not None and stage != kernel.stage:
            return Reason.STAGES
        if kernel.rank < self.rank[node]:
            return Reason.AGAIN
        if kernel.placed and (len(kernel.placed) >= MAX_ANCHORS or kernel.size + size > MAX_CHAIN):
            return Reason.LIMIT
        refused = None
        for way in placements(kernel, node):
            reads, totals = self._reads(node, way.result if way.source is None else way.source)
            misfit = self._misfit(kernel, reads, way.level, node)
            if misfit is not None:
                refused = refused or misfit
                continue
            kernel.place(node, way)
            kernel.size += size
            kernel.stage = kernel.stage or stage
            self.home[node] = kernel
            kernel.before |= totals
            kernel.needs |= {self.home[n] for n, _ in reads if n in self.home and self.home[n] is not kernel}
            return None
        return refused or no_place(kernel.kind, kernel.shape, node, space_of(node))

    def _reads(self, node: Node, coordinates: Coordinates) -> tuple[list[tuple[Node, Coordinates]], set[Node]]:
        """The anchors that evaluating a node at coordinates reads, and where; and the small totals that it reads."""
        found: list[tuple[Node, Coordinates]] = []
        totals: set[Node] = set()
        seen = set()
        kind = node.primitive.kind
        if kind == "reduce":
            stack = [(node.src[0], coordinates)]
        else:
            stack = list(zip(node.src, operand_coordinates(node, coordinates), strict=True))
        while stack:
            pair = stack.pop()
            if pair in seen:
                continue
            seen.add(pair)
            current, at = pair
            if is_source(current):
                continue
            if current in self.totals:
                totals.add(current)
            elif current in self.anchors:
                found.append(pair)
            else:
                stack.extend(zip(current.src, operand_coordinates(current, at), strict=True))
        return found, totals

    def _misfit(self, kernel: Kernel, reads: list, level: str, node: Node) -> Reason | None:
        """Why a kernel can't evaluate a node that reads these anchors at these places."""
        after = level == "total" and node.primitive.kind != "reduce"  # a reduction reads its operand in the rows
        for anchor, at in reads:
            home = self.home.get(anchor)
            if home is kernel:
                if kernel.placed[anchor] != at:
                    return Reason.COORDINATES
                if kernel.levels[anchor] == "total" and not after:
                    return Reason.TOTAL
            elif home is not None and home.depends_on(kernel):
                return Reason.CYCLE
        return None

    # ---- small reductions that every work-item does for itself ----

    def _small_totals(self) -> set[Node]:
        """Small whole reductions that read only what is there already: each work-item of a row kernel that needs one
        can do it for itself ahead of its rows. That is cheaper than a launch, and no group waits for another."""
        found = set()
        readers = [node for node in self.nodes if node.primitive.kind in BY_ADDRESS]
        in_memory = {operand_base(source) for reader in readers for source in reader.src}
        for node in self.nodes:
            whole = node.primitive.kind == "reduce" and prod(node.shape) == 1 and node not in in_memory
            if whole and node not in self.wanted and prod(node.src[0].shape) <= BEFORE_LIMIT:
                anchors, _ = self.reach(node)
                if not anchors:
                    found.add(node)
        return found

    def _unfit_totals(self) -> set[Node]:
        """Small totals that are better computed once after all: many users, or users that are small themselves."""
        users: dict[Node, list[Kernel]] = {node: [] for node in self.totals}
        for kernel in self.kernels:
            for node in kernel.before:
                users[node].append(kernel)
        unfit = set()
        for node, kernels in users.items():
            size = prod(node.src[0].shape)
            small = any(prod(k.shape) < 8 * size and size > 256 for k in kernels)
            if len(kernels) > 2 or small or any(k.kind != "rowwise" for k in kernels):
                unfit.add(node)
        return unfit

    def _put_totals_before(self) -> None:
        for kernel in self.kernels:
            for total in sorted(kernel.before, key=lambda n: n.number):
                space = squeeze(total.src[0].shape)
                variables = [ix.variable(f"p{total.number}_{n}", size) for n, size in enumerate(space)]
                kernel.sources[total] = spread(total.src[0].shape, variables)
                kernel.placed[total] = (ix.ZERO,) * len(total.shape)
                kernel.levels[total] = "before"

    # ---- kernels that a node brings together ----

    def _unite(self, kernels: set[Kernel]) -> None:
        """Row kernels over one space that do not need each other become one: somebody needs both."""
        rows = [k for k in kernels if k.kind == "rowwise" and (k.shape or set(k.levels.values()) == {"row"})]
        rows.sort(key=lambda k: k.order)
        for later in rows[1:]:
            first = rows[0]
            separate = self._separate(first, later)
            if separate is not None:
                self.apart[first, later] = separate
                continue
            first.absorb(later)
            for node in later.placed:
                self.home[node] = first
            for kernel in self.kernels:
                if later in kernel.needs:
                    kernel.needs.discard(later)
                    kernel.needs.add(first)
            self.kernels.remove(later)

    def _separate(self, first: Kernel, later: Kernel) -> Reason | None:
        """Why two row kernels can't be one."""
        if first.shape != later.shape or first.inner != later.inner:
            return Reason.KINDS
        if first.stage != later.stage:
            return Reason.STAGES
        if first.rank != later.rank:
            return Reason.AGAIN
        if len(first.placed) + len(later.placed) > MAX_ANCHORS:
            return Reason.LIMIT
        return Reason.NEEDED if first.depends_on(later) or later.depends_on(first) else None

    def why_apart(self, reader: Node, later: Kernel, earlier: Kernel) -> tuple[Reason, Reason | None]:
        """Why a node of one kernel is not in the one that has what it reads; and, where it joined another kernel that
        it reads as well, why those two are not one."""
        reason = operand_reason(reader)
        parts = [earlier, *earlier.united]
        for kernel in parts if reason is None else ():
            reason = reason or self.refused.get((reader, kernel))
        if reason is not None:
            return reason, None
        others = [later, *later.united]
        pairs = [pair for a in parts for b in others for pair in ((a, b), (b, a))]
        return Reason.ELSEWHERE, next((self.apart[pair] for pair in pairs if pair in self.apart), None)

    # ---- new kernels ----

    def _new_rowwise(self, node: Node) -> None:
        kernel = Kernel("rowwise", space_of(node), order=len(self.kernels), rank=self.rank[node])
        self.kernels.append(kernel)
        refused = self._join(kernel, node)
        assert refused is None, f"{node} fits no kernel of its own: {refused}"

    def _new_by_address(self, node: Node) -> None:
        shape = squeeze(node.shape)
        kernel = Kernel(BY_ADDRESS[node.primitive.kind], shape, order=len(self.kernels), rank=self.rank[node])
        kernel.stage = self.stages.get(node)
        kernel.placed[node] = spread(node.shape, kernel.variables())
        kernel.levels[node] = "row"
        kernel.needs = {self.home[base] for base in map(operand_base, node.src) if base in self.home}
        self.home[node] = kernel
        self.kernels.append(kernel)


class ChainTooLong(Exception):
    """An elementwise chain too long for one kernel; `node` should be put into memory."""

    def __init__(self, node: Node):
        super().__init__(str(node))
        self.node = node


def schedule(
    nodes: list[Node], wanted: set[Node], stages: Stages | None = None, frugal: bool = False
) -> tuple[list[Kernel], Scheduler]:
    """The kernels in launch order, and the scheduler that made them."""
    extra: set[Node] = set()
    while True:
        scheduler = Scheduler(nodes, wanted | extra, stages or {}, frugal)
        try:
            return scheduler.run(), scheduler
        except ChainTooLong as long:
            extra.add(long.node)
