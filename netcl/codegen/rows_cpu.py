"""Rows on the cpu target: a few fat work-items with a range of rows each, and explicit vectors.

The vectors run along the last inner dimension where that is the contiguous one (a reduction then folds its lanes at
the end), else along the last outer one (each lane is a row of its own, and nothing is folded).
"""

from __future__ import annotations

from netcl.codegen import expressions as cl
from netcl.codegen.ir import Node, indent
from netcl.codegen.reductions import accumulator_dtype, identity
from netcl.codegen.rows import Reduction, Rows
from netcl.codegen.views import Coordinates

LONG_LOOP = 4096  # iterations after which a running sum is put aside, so that long float32 sums stay accurate


class CpuRows(Rows):
    """One kernel for the cpu target."""

    def _group_count(self, work: int) -> int:
        wanted = max(1, min(self.target.work_items, work // self.target.work_per_item))
        if self.vector_inner:
            return max(1, min(wanted, self.rows))
        self.split_vector = self.rows < wanted * 2 and self.vector_size >= wanted * self.lanes
        return max(1, min(wanted, self.vector_size if self.split_vector else self.rows))

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
            body = self._body(reductions, vectors, lanes, stores)
            lines += self._long_loop(reductions, vectors, lanes, end, size, body)
            if size % lanes:
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

    def _long_loop(
        self, reductions: list[Reduction], vectors: list[str], lanes: int, end: str, size: int | None, body: list[str]
    ) -> list[str]:
        loop = f"for (; v + {lanes} <= {{}}; v += {lanes}) {{{{"
        sums = [(r, n) for r, n in zip(reductions, vectors, strict=True) if r.node.op == "sum"]
        if not sums or (size is not None and size <= LONG_LOOP * lanes):
            return [loop.format(end), *indent(body), "}"]
        kept = [(r, n, self.emitter.fresh("k")) for r, n in sums]
        lines = [self._declare(r, k, lanes) for r, _, k in kept]
        inner = [f"const {self.index_type} stop = min({end}, v + {LONG_LOOP * lanes});"]
        inner += [loop.format("stop"), *indent(body), "}"]
        for r, n, k in kept:
            dtype = accumulator_dtype(r.node.op, r.node.dtype)
            inner.append(f"{k} += {n}; {n} = {cl.splat(identity('sum', dtype), dtype, lanes)};")
        lines += [f"while (v + {lanes} <= {end}) {{", *indent(inner), "}"]
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
            lines += self._span("o", "rows", 1)
            begin, end, known = "0", "size", self.vector_size
        vectors = self._row_vectors(totals, begin, end, known)
        if self.split_vector and self.rows == 1:
            return lines + vectors
        start, stop = ("0", "rows") if self.split_vector else ("o_begin", "o_end")
        return lines + self._row_loop(start, stop, vectors)

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

    def _row_vectors(self, totals: list[str], begin: str, end: str, size: int | None) -> list[str]:
        """All rows whose vectorised coordinate lies in [begin, end): row values have lanes here."""
        emitter, lanes, lines = self.emitter, self.lanes, [f"{self.index_type} v = {begin};"]
        vectors = [emitter.fresh("a") for _ in totals] if lanes > 1 else totals
        if lanes > 1 and (size is None or size >= lanes):
            lines += [self._declare(r, n, lanes) for r, n in zip(self.totals, vectors, strict=True)]
            emitter.lanes = lanes
            body = self._row(lanes, vectors)
            lines += self._long_loop(self.totals, vectors, lanes, end, size, body)
            for r, vector, name in zip(self.totals, vectors, totals, strict=True):
                lines += self._fold(r, vector, name, lanes)
        if lanes == 1 or size is None or size % lanes:
            emitter.lanes = 1
            body = self._row(1, totals)
            lines += [f"for (; v < {end}; ++v) {{", *indent(body), "}"]
        emitter.lanes = 1
        return lines
