"""Plans in less memory: what is cheap is computed again rather than kept, see `graph.budget`.

A plan that needs more than the budget is designed anew. First nothing elementwise is stored only because several
kernels read it; then what lies idle while memory is short is let go, and computed again, from what is there anyway,
before it is read next. Products, reductions and library kernels are never done twice.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import prod
from typing import Any

from netcl.codegen.ir import Node
from netcl.core.errors import readable
from netcl.core.memory import bin_size
from netcl.core.replay import Memory
from netcl.core.warning import warn
from netcl.graph.anchors import is_source
from netcl.graph.budget import state as budget
from netcl.graph.layout import nbytes
from netcl.graph.primitives import TABLE

ROUNDS = 6  # designs that are tried


def plan_bytes(memory: Memory) -> int:
    """What a plan allocates, as the pool rounds it."""
    return sum(bin_size(size) for size in (*memory.results, *memory.scratch))


def within(builder: Any, design: Any, limit: int) -> Any:
    """A design that needs at most `limit` bytes, or the least that was found. The builder is left in its state."""
    found = [(plan_bytes(design.memory), design, builder.state())]

    def tried(design: Any, again: dict[Node, set[Node]]) -> Any:
        made = builder.redesign(design, _Rebuilt(design, again).moved)
        found.append((plan_bytes(made.memory), made, builder.state()))
        return made

    if found[0][0] > limit:
        design = first = tried(design, {})
        start = builder.state()
        for _ in range(ROUNDS):
            again = _Lives(design).let_go(limit) if found[-1][0] > limit else {}
            if not again:
                break
            design = tried(design, again)
        if min(entry[0] for entry in found) > limit:  # what is over may be how pieces of memory fit: let all go
            builder.restore(start)
            tried(first, _Lives(first).let_go(0))
    needed, best, state = min(found, key=lambda entry: entry[0])
    builder.restore(state)
    if needed > limit:
        _warn(limit, needed, len(best.launches))
    return best


def _warn(limit: int, needed: int, launches: int) -> None:
    """Tell once for each budget, at the user's line, what a plan needs."""
    if budget.warned:
        return
    budget.warned = True
    warn(
        f"set_memory_budget({limit}): a plan of {launches} launches needs {needed} bytes ({readable(needed)}) even "
        "where cheap operations are done again; use smaller batches or nc.utils.checkpoint"
    )


# ---- what to let go ----------------------------------------------------------------------------------------------


@dataclass
class Gap:
    """A stored node that is not read between two launches, and those that read it afterwards."""

    node: Node
    first: int
    last: int
    readers: frozenset[Node]


class _Lives:
    """Which launches of a design what it stores is alive in."""

    def __init__(self, design: Any) -> None:
        self.design = design
        self.launch_of = {k: n for n, members in enumerate(design.kernels_of) for k in members}
        self.made: dict[Node, int] = {}
        self.uses: dict[Node, set[int]] = {}
        for number, kernel in enumerate(design.kernels):
            self.made.update(dict.fromkeys(kernel.leaves(design.stored), self.launch_of[number]))
        for number, source in enumerate(design.launches):
            for kind, node in source.arguments:
                if kind == "buffer" and node in self.made:
                    self.uses.setdefault(node, set()).add(number)
        fixed = sum(bin_size(nbytes(node)) for node in self.made if node in design.wanted)
        self.live = [fixed] * len(design.launches)
        for node in self.made:
            if node not in design.wanted:
                for number in range(self.made[node], self.last(node) + 1):
                    self.live[number] += bin_size(nbytes(node))

    def last(self, node: Node) -> int:
        if node in self.design.wanted:
            return len(self.design.launches)
        return max(self.uses.get(node, {self.made[node]}))

    def let_go(self, limit: int) -> dict[Node, set[Node]]:
        """For readers: what they read that is to be computed again. The largest first, as long as it helps."""
        chosen: dict[Node, Gap] = {}
        needed: set[Node] = set()
        for gap in sorted(self._gaps(), key=lambda g: (-nbytes(g.node), g.first - g.last, g.node.number)):
            full = [n for n in self._reads(gap.node) if prod(n.shape) * 4 >= prod(gap.node.shape) and n in self.made]
            if gap.node in needed or any(n in chosen for n in full):
                continue
            change = self._change(gap, full)
            over = [(n, d) for n, d in change.items() if self.live[n] > limit]
            if sum(d for _, d in over) >= 0:
                continue
            for number, d in change.items():
                self.live[number] += d
            chosen[gap.node] = gap
            needed.update(full)
        found: dict[Node, set[Node]] = {}
        for node, gap in chosen.items():
            for reader in gap.readers:
                found.setdefault(reader, set()).add(node)
        return found

    def _change(self, gap: Gap, full: list[Node]) -> dict[int, int]:
        """How many bytes more each launch has if a node is let go in a gap: what it is made from stays for longer."""
        change = {number: -bin_size(nbytes(gap.node)) for number in range(gap.first + 1, gap.last)}
        for node in full:
            for number in range(self.last(node) + 1, gap.last + 1):
                change[number] = change.get(number, 0) + bin_size(nbytes(node))
        return {number: d for number, d in change.items() if number < len(self.live)}

    def _gaps(self) -> list[Gap]:
        found = []
        readers = self._readers()
        for node, made in self.made.items():
            cheap = node.primitive.kind in ("elementwise", "compare") and node.op not in ("check", "uniform")
            if not cheap or node in self.design.wanted or any(n not in self.made for n in self._reads(node)):
                continue
            times = sorted({made, *self.uses.get(node, ())})
            width, first, last = max([(b - a, a, b) for a, b in itertools.pairwise(times)], default=(0, 0, 0))
            late = frozenset(reader for reader, at in readers.get(node, {}).items() if at >= last)
            early = any(first < at < last for at in readers.get(node, {}).values())
            if width > 1 and late and not early:
                found.append(Gap(node, first, last, late))
        return found

    def _reads(self, node: Node) -> set[Node]:
        """The stored nodes that a node is computed from."""
        return self.design.scheduler.reach(node)[0]

    def _readers(self) -> dict[Node, dict[Node, int]]:
        """For each stored node those that read it, through views, and the first launch that they are part of."""
        first: dict[Node, int] = {}
        for number, kernel in enumerate(self.design.kernels):
            for node in {*self.design.scheduler.evaluated(kernel), *kernel.placed}:
                first[node] = min(first.get(node, self.launch_of[number]), self.launch_of[number])
        found: dict[Node, dict[Node, int]] = {}
        for node, at in first.items():
            if node.primitive.kind == "view":
                continue
            for source in node.src:
                while source.primitive.kind == "view" and source not in self.made:
                    source = source.src[0]
                if source in self.made:
                    found.setdefault(source, {})[node] = at
        return found


# ---- the graph with nodes computed again -------------------------------------------------------------------------


class _Rebuilt:
    """A design's nodes made anew, in order, where some readers read copies: `moved` says where each node went."""

    def __init__(self, design: Any, again: dict[Node, set[Node]]) -> None:
        self.anchors: set[Node] = design.scheduler.anchors
        self.again = again
        self.moved: dict[Node, Node] = {}
        self.copies: dict[Node, Node] = {}
        self.count = 0
        for node in design.scheduler.nodes:
            targets = again.get(node)
            sources = [self.moved[s] if targets is None else self._seen(s, targets) for s in node.src]
            self.moved[node] = self._like(node, sources)

    def _like(self, node: Node, sources: list[Node]) -> Node:
        self.count += 1
        return Node(node.op, node.primitive, tuple(sources), node.arg, node.shape, node.dtype, self.count)

    def _seen(self, source: Node, targets: set[Node]) -> Node:
        """What a reader reads, through views."""
        if source in targets:
            return self._copy(source, top=True)
        if source.primitive.kind != "view":
            return self.moved[source]
        below = self._seen(source.src[0], targets)
        return self.moved[source] if below is self.moved.get(source.src[0]) else self._like(source, [below])

    def _copy(self, node: Node, top: bool = False) -> Node:
        """A node once more, from what is in memory."""
        found = self.copies.get(node)
        if found is None:
            if node.op == "input" or (node in self.anchors and not top):
                self.count += 1
                meta = (node.shape, node.dtype, self.count)
                found = Node("again", TABLE["again"], (self.moved[node],), self.count, *meta)
            elif is_source(node):
                found = self.moved[node]
            else:
                found = self._like(node, [self._copy(source) for source in node.src])
            self.copies[node] = found
        return found
