"""Rows on the cpu target: a few fat work-items with a range of rows each, and explicit vectors.

The vectors run along the last inner dimension where that is the contiguous one (a reduction then folds its lanes at
the end), else along the last outer one (each lane is a row of its own, and nothing is folded).
"""

from __future__ import annotations

from collections.abc import Callable, Container

from netcl.codegen import expressions as cl
from netcl.codegen.ir import Node, indent, is_costly, walk
from netcl.codegen.reductions import accumulator_dtype, combine, identity
from netcl.codegen.rows import BLOCK, Reduction, Rows
from netcl.codegen.views import Coordinates

SIDE_BY_SIDE = 4  # accumulators of a long loop that only reduces
COLUMNS = 4  # vectors of columns that are reduced side by side
TILE = 64  # rows of a tile where a map transposes
LONG_LOOP = 16  # iterations after which a running sum is put aside, so that long float32 sums stay accurate


def _at_same_place(node: Node, read: Container[Node]) -> list[Node]:
    """The elementwise nodes that a node is computed from at its own coordinates, itself among them; not those that
    are read from memory, nor what lies behind them."""

    def ends(other: Node) -> bool:
        return other.primitive.kind not in ("elementwise", "compare") or other in read

    return [other for other in walk([node], ends) if not ends(other)]


class CpuRows(Rows):
    """One kernel for the cpu target."""

    def _group_count(self, work: int) -> int:
        wanted = max(1, min(self.target.work_items, work // self.target.work_per_item))
        if self.vector_inner:
            return max(1, min(wanted, self.rows))
        self.split_vector = self.rows < wanted * 2 and self.vector_size >= wanted * self.lanes
        return max(1, min(wanted, self.vector_size if self.split_vector else self.rows))

    def _keeps(self) -> list[tuple[int, Node, Node]]:
        """Softmax and its kin: exp(x - max) is summed, and then divided by the sum. The result's memory keeps it."""
        bindings = self.kernel.bindings
        found: dict[Node, tuple[int, Node, Node]] = {}
        in_order = sorted(self.full_outputs, key=lambda pair: self.kernel.sweep[pair[0]])  # the last written keeps
        for result, at in in_order if self.vector_inner else ():
            own = _at_same_place(result, bindings)
            for reduction in self.row_reductions:
                sweep = self.kernel.sweep[reduction.node]
                if sweep < self.kernel.sweep[result] and reduction.source == at:
                    summed = _at_same_place(reduction.node.src[0], bindings)
                    shared = [n for n in summed if n in own and is_costly(n)]
                    fitting = [n for n in shared if n.shape == result.shape and n.dtype is result.dtype]
                    if fitting and result not in bindings:
                        found[fitting[0]] = (sweep, fitting[0], result)
                        break
        return list(found.values())

    def _whole(self, reduction: Reduction, name: str, size: int) -> list[str]:
        lanes = self.target.lanes(size)
        return self._vector_loop([reduction], [name], lanes, "0", str(size), size, [])

    def _vector_loop(
        self, reductions: list[Reduction], names: list[str], lanes: int, begin: str, end: str, size: int,
        stores: list[tuple[Node, Coordinates]],
    ) -> list[str]:  # fmt: skip
        """for v in [begin, end): vectors of lanes; reductions end up in the scalars `names`.

        Where `size` turns are not a multiple of the lanes, the last vector starts earlier and overlaps the one before:
        it stores the same values again, and the lanes that were counted already are masked out of the reductions.
        """
        emitter, lines = self.emitter, []
        outer_lanes = emitter.lanes
        vectors = [emitter.fresh("a") for _ in reductions] if lanes > 1 else names
        lines.append(f"{self.index_type} v = {begin};")
        if lanes > 1:
            lines += [self._declare(r, n, lanes) for r, n in zip(reductions, vectors, strict=True)]
            emitter.lanes = lanes
            rest = size
            if reductions and not stores and size >= 4 * SIDE_BY_SIDE * lanes:
                lines += self._side_by_side(
                    reductions, vectors, names, lanes, end, lambda names: self._body(reductions, names, lanes, [])
                )
                rest = SIDE_BY_SIDE * lanes
            body = self._body(reductions, vectors, lanes, stores)
            lines += self._long_loop(reductions, vectors, names, lanes, end, rest, body)
            if size % lanes and (emitter.kept or self.stand_in):  # vectors may not overlap: they would read results
                lines += self._narrower(reductions, names, size % lanes, end, stores)
            elif size % lanes:
                new = f"(int{lanes})({', '.join('1' if n >= lanes - size % lanes else '0' for n in range(lanes))})"
                body = self._body(reductions, vectors, lanes, stores, counted=new)
                lines += [f"v = {size - lanes};", "{", *indent(body), "}"]
            for r, vector, name in zip(reductions, vectors, names, strict=True):
                lines += self._fold(r, vector, name, lanes)
        else:
            emitter.lanes = 1
            body = self._body(reductions, names, 1, stores)
            lines += [f"for (; v < {end}; ++v) {{", *indent(body), "}"]
        emitter.lanes = outer_lanes
        return ["{", *indent(lines), "}"]

    def _narrower(
        self, reductions: list[Reduction], names: list[str], rest: int, end: str,
        stores: list[tuple[Node, Coordinates]],
    ) -> list[str]:  # fmt: skip
        """The last `rest` elements of a loop: a vector of 8, one of 4, then each by itself."""
        lines = []
        for lanes in (8, 4):
            if rest & lanes:
                self.emitter.lanes = lanes
                vectors = [self.emitter.fresh("a") for _ in reductions]
                turn = [self._declare(r, n, lanes) for r, n in zip(reductions, vectors, strict=True)]
                turn += self._body(reductions, vectors, lanes, stores)
                for reduction, vector, name in zip(reductions, vectors, names, strict=True):
                    turn += self._fold(reduction, vector, name, lanes)
                lines += ["{", *indent(turn), "}", f"v += {lanes};"]
        if rest % 4:
            self.emitter.lanes = 1
            body = self._body(reductions, names, 1, stores)
            lines += [f"for (; v < {end}; ++v) {{", *indent(body), "}"]
        return lines

    def _side_by_side(
        self, reductions: list[Reduction], vectors: list[str], scalars: list[str], lanes: int, end: str,
        make_body: Callable[[list[str]], list[str]],
    ) -> list[str]:  # fmt: skip
        """Most of a loop that only reduces, by several accumulators: one would wait for each addition before the next.
        `make_body` gives a turn's statements for accumulators of the given names. What a block ends in is put aside in
        the vectors, or, where these are doubles, in the scalars."""
        kind, step = self.index_type, SIDE_BY_SIDE * lanes
        parts = [self.emitter.fresh("a") for _ in reductions]
        body = make_body([f"{part}[u]" for part in parts])
        each = f"for (int u = 0; u < {SIDE_BY_SIDE}; ++u) {{"
        starts, joins, lines = [], [], []
        for reduction, part, vector in zip(reductions, parts, vectors, strict=True):
            dtype, op = accumulator_dtype(reduction.node.op, reduction.node.dtype), reduction.node.op
            starts.append(f"{part}[u] = {cl.splat(identity(op, dtype), dtype, lanes)};")
            joins.append(f"{vector} = {combine(op, vector, f'{part}[u]', dtype, lanes)};")
            lines.append(f"{cl.compute_type(dtype, lanes)} {part}[{SIDE_BY_SIDE}];")
        turn = [f"const {kind} w = v;", each, *indent([f"const {kind} v = w + u * {lanes};", *body]), "}"]
        block = [
            f"const {kind} stop = min(({kind}){end}, v + {LONG_LOOP * step});",
            f"{each} {' '.join(starts)} }}",
            f"for (; v + {step} <= stop; v += {step}) {{", *indent(turn), "}",
            f"{each} {' '.join(joins)} }}",
        ]  # fmt: skip
        before, aside, after = self._put_aside(reductions, vectors, scalars, lanes)
        return [*lines, *before, f"while (v + {step} <= {end}) {{", *indent([*block, *aside]), "}", *after]

    def _put_aside(
        self, reductions: list[Reduction], vectors: list[str], scalars: list[str], lanes: int
    ) -> tuple[list[str], list[str], list[str]]:
        """Where the scalar is wider than the vector: statements before a loop over blocks, after each block, and after
        the loop, by which the vector goes into a wide one and starts anew, and the wide one ends in the scalar."""
        before, aside, after = [], [], []
        for reduction, vector, scalar in zip(reductions, vectors, scalars, strict=True):
            narrow, dtype = self._dtype(reduction, lanes), self._dtype(reduction, 1)
            if dtype is not narrow:
                wide, op = self.emitter.fresh("w"), reduction.node.op
                before.append(
                    f"{cl.compute_type(dtype, lanes)} {wide} = {cl.splat(identity(op, dtype), dtype, lanes)};"
                )
                aside.append(f"{wide} = {wide} + {cl.convert(vector, narrow, dtype, lanes)};")
                aside.append(f"{vector} = {cl.splat(identity(op, narrow), narrow, lanes)};")
                after += self._folded(reduction, wide, scalar, lanes, dtype)
        return before, aside, after

    def _long_loop(
        self, reductions: list[Reduction], vectors: list[str], scalars: list[str], lanes: int, end: str,
        size: int | None, body: list[str],
    ) -> list[str]:  # fmt: skip
        loop = f"for (; v + {lanes} <= {{}}; v += {lanes}) {{{{"
        sums = [(r, n) for r, n in zip(reductions, vectors, strict=True) if r.node.op == "sum"]
        if not sums or (size is not None and size <= LONG_LOOP * lanes):
            return [loop.format(end), *indent(body), "}"]
        kept = [(r, n, self.emitter.fresh("k")) for r, n in sums if self._dtype(r, lanes) is self._dtype(r, 1)]
        lines = [self._declare(r, k, lanes) for r, _, k in kept]
        inner = [f"const {self.index_type} stop = min({end}, v + {LONG_LOOP * lanes});"]
        inner += [loop.format("stop"), *indent(body), "}"]
        for r, n, k in kept:
            dtype = accumulator_dtype(r.node.op, r.node.dtype)
            inner.append(f"{k} += {n}; {n} = {cl.splat(identity('sum', dtype), dtype, lanes)};")
        before, aside, after = self._put_aside(reductions, vectors, scalars, lanes)
        lines += [*before, f"while (v + {lanes} <= {end}) {{", *indent([*inner, *aside]), "}", *after]
        return lines + [f"{n} = {k};" for _, n, k in kept]

    def _inner_loop(
        self, reductions: list[Reduction], names: list[str], stores: list[tuple[Node, Coordinates]]
    ) -> list[str]:
        return self._vector_loop(reductions, names, self.lanes, "0", str(self.vector_size), self.vector_size, stores)

    def _all_rows(self) -> list[str]:
        totals = self.total_names
        lines = [self._declare(r, n, 1) for r, n in zip(self.totals, totals, strict=True)]
        if self.vector_inner:
            row = self._row(1, totals)
            return [*lines, *self._span("o", "rows", 1), *self._row_loop("o_begin", "o_end", row)]
        if self.split_vector:
            lines += self._span("v", "size", max(self.lanes, 16))
            begin, end, known = "v_begin", "v_end", None
        else:
            lines += self._span("o", "rows", 16 if self._transposes() else 1)
            begin, end, known = "0", "size", self.vector_size
        vectors = self._row_vectors(totals, begin, end, known)
        if not self.split_vector and self._transposes():
            return lines + self._tiles(vectors)
        if self.split_vector and self.rows == 1:
            return lines + vectors
        start, stop = ("0", "rows") if self.split_vector else ("o_begin", "o_end")
        return lines + self._row_loop(start, stop, vectors)

    def _transposes(self) -> bool:
        """Whether a map reads memory whose neighbours lie along the rows' last axis, not along the vectors."""
        if self.kernel.inner or self.totals or self.lanes == 1 or not self.row_axes:
            return False
        along, across = f"d{self.vector_axes[-1]}", f"d{self.row_axes[-1]}"
        return any(
            at.coefficient(across) == 1 and at.coefficient(along) not in (0, 1) for _, at in self._loads
        )

    def _tiles(self, vectors: list[str]) -> list[str]:
        """Tiles of TILE rows by a vector, so that a cache line that a vector reads one element of is there for the
        following rows. `vectors` are the loops over v around one row's body; the loop over rows goes inside them."""
        kind = self.index_type
        lines = []
        for line in vectors:
            lines.append(line)
            if line.startswith("for (; v"):
                lines.append(f"for ({kind} o = tile; o < tile_end; ++o) {{")
            elif line == "}":
                lines.append("}")
        head = f"for ({kind} tile = o_begin; tile < o_end; tile += {TILE}) {{"
        return [head, *indent([f"const {kind} tile_end = min(o_end, tile + {TILE});", *lines]), "}"]

    def _row_loop(self, first: str, last: str, body: list[str]) -> list[str]:
        """This work-item's rows, the totals summed in blocks."""
        share = self.rows if first == "0" else -(-self.rows // self.groups)
        return self._cascade(self.totals, self.total_names, 1, "o", first, last, share, body)

    def _span(self, name: str, size: str, step: int) -> list[str]:
        """This work-item's share of a loop, a contiguous range whose inner borders are multiples of step."""
        kind, groups = self.index_type, self.groups
        if groups == 1:
            return [f"const {kind} {name}_begin = 0, {name}_end = {size};"]
        if step == 1:
            lines = [f"const {kind} share = ({size} + {groups - 1}) / {groups};"]
        else:
            lines = [f"const {kind} share = (({size} + {groups - 1}) / {groups} + {step - 1}) / {step} * {step};"]
        return [
            *lines,
            f"const {kind} {name}_begin = min({size}, group * share), {name}_end = min({size}, {name}_begin + share);",
        ]

    def _sums_columns(self) -> bool:
        """Whether all that the kernel does is to reduce long columns, each lane one of them."""
        plain = self.row_reductions and not (self.totals or self.full_outputs) and self._sweeps() == 1
        return bool(plain) and self.lanes > 1 and self.turns >= 8

    def _columns(self, end: str) -> list[str]:
        """COLUMNS vectors side by side down the rows. A single one would touch one cache line of each row, and wait for
        each addition before the next: several take whole pages' neighbours, and their additions overlap."""
        emitter, lanes, kind = self.emitter, self.lanes, self.index_type
        reductions = self.row_reductions
        block, blocks, whole = ([emitter.fresh("a") for _ in reductions] for _ in range(3))
        depths, known, emitter.lanes = dict(emitter.depth_of), dict(emitter.known), lanes
        scope = emitter.push()
        emitter.depth_of = dict.fromkeys(depths, 2)  # everything inside the loop over u: nothing outlives a turn
        body = self._body(reductions, [f"{name}[u]" for name in block], lanes, [])
        emitter.depth_of = depths
        for reduction, name in zip(reductions, whole, strict=True):
            self._know(reduction, self._finished(reduction, f"{name}[u]", lanes), True, 1)
        self._row_tail(scope, [], lanes)
        tail = emitter.pop().lines
        emitter.known, emitter.lanes = known, 1
        each, here = f"for (int u = 0; u < {COLUMNS}; ++u) {{", f"const {kind} v = w + u * {lanes};"
        declared = []
        clear, join = {}, {}  # statements for each level: what is summed of rows, of blocks of rows, of blocks of those
        for level, names in enumerate((block, blocks, whole)):
            clears, joins = [], []
            for reduction, name, inner in zip(reductions, names, block if level == 1 else blocks, strict=True):
                op, dtype = reduction.node.op, accumulator_dtype(reduction.node.op, reduction.node.dtype)
                declared.append(f"{cl.compute_type(dtype, lanes)} {name}[{COLUMNS}];")
                clears.append(f"{name}[u] = {cl.splat(identity(op, dtype), dtype, lanes)};")
                joins.append(f"{name}[u] = {combine(op, f'{name}[u]', f'{inner}[u]', dtype, lanes)};")
            clear[level], join[level] = " ".join(clears), " ".join(joins)
        last = f"stop == {self.turns} || (block / {BLOCK}) % {BLOCK} == {BLOCK - 1}"
        turns = [
            f"{each} {clear[0]} }}",
            f"const {kind} stop = min(({kind}){self.turns}, block + {BLOCK});",
            f"for ({kind} i = block; i < stop; ++i) {each}", *indent([here, *body]), "}",
            f"{each} {join[1]} }}",
            f"if ({last}) {each} {join[2]} {clear[1]} }}",
        ]  # fmt: skip
        lines = [
            f"const {kind} w = v;", *declared, f"{each} {clear[1]} {clear[2]} }}",
            f"for ({kind} block = 0; block < {self.turns}; block += {BLOCK}) {{", *indent(turns), "}",
            each, *indent([here, *tail]), "}",
        ]  # fmt: skip
        step = lanes * COLUMNS
        return [f"for (; v + {step} <= {end}; v += {step}) {{", *indent(lines), "}"]

    def _row_vectors(self, totals: list[str], begin: str, end: str, size: int | None) -> list[str]:
        """All rows whose vectorised coordinate lies in [begin, end): row values have lanes here."""
        emitter, lanes, lines = self.emitter, self.lanes, [f"{self.index_type} v = {begin};"]
        if self._sums_columns():
            lines += self._columns(end)
        vectors = [emitter.fresh("a") for _ in totals] if lanes > 1 else totals
        if lanes > 1 and (size is None or size >= lanes):
            lines += [self._declare(r, n, lanes) for r, n in zip(self.totals, vectors, strict=True)]
            emitter.lanes = lanes
            only_totals = self.totals and not (self.row_outputs or self.kernel.inner)
            if only_totals and (size is None or size >= 4 * SIDE_BY_SIDE * lanes):
                lines += self._side_by_side(
                    self.totals, vectors, totals, lanes, end, lambda names: self._row(lanes, names)
                )
                rest: int | None = SIDE_BY_SIDE * lanes
            else:
                rest = size
            body = self._row(lanes, vectors)
            lines += self._long_loop(self.totals, vectors, totals, lanes, end, rest, body)
            for r, vector, name in zip(self.totals, vectors, totals, strict=True):
                lines += self._fold(r, vector, name, lanes)
        if lanes == 1 or size is None or size % lanes:
            emitter.lanes = 1
            body = self._row(1, totals)
            lines += [f"for (; v < {end}; ++v) {{", *indent(body), "}"]
        emitter.lanes = 1
        return lines
