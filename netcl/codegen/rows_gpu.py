"""Rows on the gpu target: a work-group for each row, its lanes along the inner dimensions, reductions by a tree in
local memory; or, where nothing contiguous is reduced, a work-item for each row, neighbours side by side in memory."""

from __future__ import annotations

from netcl.codegen.emitter import Scope
from netcl.codegen.ir import Node, indent
from netcl.codegen.reductions import accumulator_dtype, combine
from netcl.codegen.rows import BLOCK, Reduction, Rows, RowwiseKernel
from netcl.codegen.targets import Target
from netcl.codegen.views import Coordinates


class GpuRows(Rows):
    """One kernel for the gpu target."""

    gpu = True

    def __init__(self, kernel: RowwiseKernel, target: Target):
        super().__init__(kernel, target)
        self.local_types: set[str] = set()

    def _group_count(self, work: int) -> int:
        units = self.rows if self.vector_inner else -(-self.rows * self.vector_size // self.target.group_size)
        return max(1, min(units, self.target.max_groups))

    def _head(self) -> list[str]:
        size = self.target.group_size
        return [
            "const int lane = get_local_id(0);",
            *(f"__local {t} local_{t}[{size}];" for t in sorted(self.local_types)),
        ]

    def _whole(self, reduction: Reduction, name: str, size: int) -> list[str]:
        return [*self._lane_loop([reduction], [name], "v", size, []), *self._group_fold(reduction, name)]

    def _lane_loop(
        self, reductions: list[Reduction], names: list[str], variable: str, size: int,
        stores: list[tuple[Node, Coordinates]],
    ) -> list[str]:  # fmt: skip
        body = self._body(reductions, names, 1, stores)
        return self._strided(reductions, names, variable, "lane", str(size), self.target.group_size, size, body)

    def _strided(
        self, reductions: list[Reduction], names: list[str], variable: str, first: str, end: str, step: int,
        turns: int, body: list[str],
    ) -> list[str]:  # fmt: skip
        """for (variable = first; variable < end; variable += step) body. Where one of several items may make more than
        BLOCK turns of the `turns` of all, its float sums are put aside after every block."""
        kind = self.index_type
        sums = [
            (r, n) for r, n in zip(reductions, names, strict=True) if r.node.op == "sum" and r.node.dtype.category == 2
        ]
        if not sums or turns <= step * BLOCK:
            return [
                f"for ({kind} {variable} = {first}; {variable} < {end}; {variable} += {step}) {{",
                *indent(body),
                "}",
            ]
        kept = [self.emitter.fresh("k") for _ in sums]
        declared = [self._declare(r, k, 1) for (r, _), k in zip(sums, kept, strict=True)]
        block = [
            f"const {kind} stop = {end} - start > {step * BLOCK} ? start + {step * BLOCK} : {end};",
            f"for ({kind} {variable} = start; {variable} < stop; {variable} += {step}) {{",
            *indent(body),
            "}",
            *(f"{k} += {n}; {n} = 0;" for k, (_, n) in zip(kept, sums, strict=True)),
        ]
        loop = f"for ({kind} start = {first}; start < {end}; start += {step * BLOCK}) {{"
        return [*declared, loop, *indent(block), "}", *(f"{n} = {k};" for k, (_, n) in zip(kept, sums, strict=True))]

    def _group_fold(self, reduction: Reduction, name: str) -> list[str]:
        """All lanes' values into one that all lanes know: a tree in local memory."""
        dtype = accumulator_dtype(reduction.node.op, reduction.node.dtype)
        local = f"local_{dtype.compute}"
        self.local_types.add(dtype.compute)
        half = self.target.group_size // 2
        joined = combine(reduction.node.op, f"{local}[lane]", f"{local}[lane + half_size]", dtype, 1)
        return [
            f"{local}[lane] = {name};",
            "barrier(CLK_LOCAL_MEM_FENCE);",
            f"for (int half_size = {half}; half_size > 0; half_size >>= 1) {{",
            f"  if (lane < half_size) {local}[lane] = {joined};",
            "  barrier(CLK_LOCAL_MEM_FENCE);",
            "}",
            f"{name} = {local}[0];",
            "barrier(CLK_LOCAL_MEM_FENCE);",
        ]

    def _all_rows(self) -> list[str]:
        kind, size, totals = self.index_type, self.target.group_size, self.total_names
        lines = [self._declare(r, n, 1) for r, n in zip(self.totals, totals, strict=True)]
        if self.vector_inner:
            row = self._row(1, totals)
            return lines + self._strided(self.totals, totals, "o", "group", "rows", self.groups, self.rows, row)
        body = self._row(1, totals)
        step = self.groups * size
        head = []
        if self.rows > 1:
            head = [f"const {kind} o = g / size, v = g - o * size;"]
        elif self.vector_size > 1 or self.outer:
            head = [f"const {kind} v = g;"]
        first, work = f"group * {size} + lane", self.rows * self.vector_size
        lines += self._strided(self.totals, totals, "g", first, "(rows * size)", step, work, head + body)
        for reduction, name in zip(self.totals, totals, strict=True):
            lines += self._group_fold(reduction, name)
        return lines

    def _inner_loop(
        self, reductions: list[Reduction], names: list[str], stores: list[tuple[Node, Coordinates]]
    ) -> list[str]:
        return self._lane_loop(reductions, names, "v", self.vector_size, stores)

    def _joined(self, reduction: Reduction, name: str) -> list[str]:
        return self._group_fold(reduction, name)

    def _store_row(self, outputs: list[tuple[Node, Coordinates]], scope: Scope) -> None:
        if not self.vector_inner:
            super()._store_row(outputs, scope)
            return
        inner = Scope()
        super()._store_row(outputs, inner)
        if inner.lines:
            scope.lines.extend(["if (lane == 0) {", *indent(inner.lines), "}"])
