"""Family 1, map and reduce: one kernel over an iteration space of rows.

The space is `outer x inner`. Values live at three levels: *full* (outer and inner coordinates), *row* (outer only:
what is left of a full value after a reduction over inner) and *total* (a row value reduced over all of outer).
Each reduction over a row is a sweep; sweeps of one row follow each other while the row is in cache, and the results
of one are row values for the next. Totals are partial sums per work-item or group, and the last one to arrive adds
them in a fixed order, so that the whole reduction is one launch and gives the same bits every time.

Targets. `cpu`: few fat work-items, explicit vectors along the dimension that is contiguous in memory, no local
memory, no barriers. `gpu`: a work-group for each row (or a work-item for each element where nothing is reduced).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from netcl.codegen import expressions as cl
from netcl.codegen import index as ix
from netcl.codegen.accesses import loads, overwritable, position
from netcl.codegen.emitter import Emitter, Scope, Value
from netcl.codegen.ir import KernelSource, Layout, Node, Shape, contiguous_strides
from netcl.codegen.reductions import accumulator_dtype, combine, fold, identity
from netcl.codegen.targets import Target
from netcl.codegen.views import Coordinates

LONG_LOOP = 4096  # iterations after which a running sum is put aside, so that long float32 sums stay accurate


@dataclass
class Reduction:
    """One reduction of a kernel: `source` is where its operand is read, `result` where its value is known."""

    node: Node
    source: Coordinates
    result: Coordinates
    level: str  # row, total, or before (computed by every work-item for itself, ahead of the rows)


@dataclass
class RowwiseKernel:
    """What one kernel computes. Coordinates are in the variables d0, d1, .. of `shape`."""

    shape: Shape
    inner: frozenset[int]
    reductions: list[Reduction] = field(default_factory=list)
    outputs: list[tuple[Node, Coordinates]] = field(default_factory=list)
    bindings: dict[Node, Layout] = field(default_factory=dict)
    levels: dict[Node, str] = field(default_factory=dict)  # of the outputs: full, row, total
    sweep: dict[Node, int] = field(default_factory=dict)  # row reductions and full outputs: which pass over the row


def generate(kernel: RowwiseKernel, target: Target) -> KernelSource:
    return _Generator(kernel, target).generate()


class _Generator:
    def __init__(self, kernel: RowwiseKernel, target: Target):
        self.kernel = kernel
        self.target = target
        shape = kernel.shape
        self.outer = [axis for axis in range(len(shape)) if axis not in kernel.inner]
        self.inner = sorted(kernel.inner)
        largest = max((prod(n.shape) for n in [*kernel.bindings, *(o for o, _ in kernel.outputs)]), default=1)
        self.index_type = "long" if max(prod(shape), largest) >= 2**31 - 2**16 else "int"
        self.emitter = Emitter(kernel.bindings, self.index_type)
        self.gpu = target.kind == "gpu"
        self._choose_loops()

    # ---- loops: o runs over rows, i over the inner dimensions but the last, v over the vectorised dimensions ----

    def _choose_loops(self) -> None:
        shape = self.kernel.shape
        self.vector_inner = bool(self.inner) and (not self.outer or self._contiguous_inner())
        axes = self.inner if self.vector_inner else self.outer
        merged = self._merge(axes)
        vector_axes, rest = axes[len(axes) - merged :], axes[: len(axes) - merged]
        others = self.outer if self.vector_inner else self.inner
        self.vector_size = prod(shape[a] for a in vector_axes)
        self.row_axes, self.loop_axes = (others, rest) if self.vector_inner else (rest, others)
        self.rows = prod(shape[a] for a in self.row_axes)
        self.turns = prod(shape[a] for a in self.loop_axes)
        replacements = self.emitter.replacements
        for loop, loop_axes, size in (
            ("o", self.row_axes, self.rows), ("i", self.loop_axes, self.turns), ("v", vector_axes, self.vector_size),
        ):  # fmt: skip
            parts = ix.unflatten(ix.variable(loop, size), [shape[a] for a in loop_axes])
            replacements.update({f"d{axis}": part for axis, part in zip(loop_axes, parts, strict=True)})
        for axis in range(len(shape)):
            self.emitter.depth_of[f"d{axis}"] = 2 if axis in self.kernel.inner else 1
        widest = max((n.dtype.itemsize for n in self._touched()), default=4)
        self.lanes = 1 if self.gpu else self.target.lanes(self.vector_size, widest)
        self.emitter.vector = "v" if self.lanes > 1 else ""

    def _touched(self) -> list[Node]:
        return [*self.kernel.bindings, *(n for n, _ in self.kernel.outputs), *(r.node for r in self.kernel.reductions)]

    def _contiguous_inner(self) -> bool:
        """Whether the last inner axis is the contiguous one in most of the memory that the kernel touches."""
        last_inner, last_outer = f"d{self.inner[-1]}", f"d{self.outer[-1]}"
        votes = 0
        for offset, size in self._offsets():
            votes += size * ((offset.coefficient(last_inner) == 1) - (offset.coefficient(last_outer) == 1))
        return votes >= 0

    def _offsets(self) -> list[tuple[ix.Index, int]]:
        """The memory positions of all loads and stores, with the sizes of the arrays."""
        stores = [(node, position(at, contiguous_strides(node.shape))) for node, at in self.kernel.outputs]
        return [(at, prod(node.shape)) for node, at in [*self._loads(), *stores]]

    def _loads(self) -> list[tuple[Node, ix.Index]]:
        roots = [(r.node.src[0], r.source) for r in self.kernel.reductions] + self.kernel.outputs
        return loads(roots, {r.node for r in self.kernel.reductions}, self.kernel.bindings)

    def _merge(self, axes: list[int]) -> int:
        """How many trailing axes of the class can be one loop with every access affine in it."""
        shape = self.kernel.shape
        offsets = [offset for offset, _ in self._offsets()]
        merged = min(1, len(axes))
        for count in range(2, len(axes) + 1):
            chosen = axes[len(axes) - count :]
            parts = ix.unflatten(ix.variable("v", prod(shape[a] for a in chosen)), [shape[a] for a in chosen])
            replacements = {f"d{axis}": part for axis, part in zip(chosen, parts, strict=True)}
            if any(ix.substitute(offset, replacements).coefficient("v") is None for offset in offsets):
                break
            merged = count
        return merged

    # ---- the kernel ----

    def generate(self) -> KernelSource:
        kernel, emitter = self.kernel, self.emitter
        self.totals = [r for r in kernel.reductions if r.level == "total"]
        self.row_reductions = [r for r in kernel.reductions if r.level == "row"]
        self.row_outputs, self.full_outputs, self.total_outputs = (
            [(n, at) for n, at in kernel.outputs if kernel.levels[n] == level] for level in ("row", "full", "total")
        )
        work = prod(kernel.shape)
        self.groups = self._group_count(work)
        for reduction in (r for r in kernel.reductions if r.level == "before"):
            self._before(reduction)
        body = []
        if self.totals or self.row_reductions or self.row_outputs or self.full_outputs:
            body = self._gpu_rows() if self.gpu else self._cpu_rows()
        elif not self.gpu:
            body = [f"const {self.index_type} group = get_group_id(0);"]
        final = self._finish()
        return self._assemble(body, final)

    def _group_count(self, work: int) -> int:
        if self.gpu:
            size = self.target.group_size
            units = self.rows if self.vector_inner else -(-self.rows * self.vector_size // size)
            return max(1, min(units, self.target.max_groups))
        wanted = max(1, min(self.target.work_items, work // self.target.work_per_item))
        if self.vector_inner:
            return max(1, min(wanted, self.rows))
        self.split_vector = self.rows < wanted * 2 and self.vector_size >= wanted * self.lanes
        return max(1, min(wanted, self.vector_size if self.split_vector else self.rows))

    # ---- accumulators ----

    def _accumulate(self, reduction: Reduction, name: str, value: Value, lanes: int) -> str:
        dtype = accumulator_dtype(reduction.node.op, reduction.node.dtype)
        text = value.text
        source = reduction.node.src[0].dtype
        width = lanes if value.vector else 1
        if source.compute != dtype.compute:
            text = cl.convert(text, source, dtype, width)
        if lanes > 1 and not value.vector:
            text = cl.splat(text, dtype, lanes)
        return f"{name} = {combine(reduction.node.op, name, text, dtype, lanes)};"

    def _declare(self, reduction: Reduction, name: str, lanes: int) -> str:
        dtype = accumulator_dtype(reduction.node.op, reduction.node.dtype)
        start = cl.splat(identity(reduction.node.op, dtype), dtype, lanes)
        return f"{cl.compute_type(dtype, lanes)} {name} = {start};"

    def _fold(self, reduction: Reduction, vector_name: str, scalar_name: str, lanes: int) -> list[str]:
        dtype = accumulator_dtype(reduction.node.op, reduction.node.dtype)
        if lanes == 1:
            return []
        lines, folded = fold(reduction.node.op, vector_name, dtype, lanes, self.emitter.fresh)
        return [*lines, f"{scalar_name} = {combine(reduction.node.op, scalar_name, folded, dtype, 1)};"]

    def _finished(self, reduction: Reduction, name: str, lanes: int) -> str:
        """The accumulated value in the node's own compute type."""
        dtype = accumulator_dtype(reduction.node.op, reduction.node.dtype)
        if dtype.compute == reduction.node.dtype.compute:
            return name
        return cl.convert(name, dtype, reduction.node.dtype, lanes)

    def _know(self, reduction: Reduction, text: str, vector: bool, depth: int) -> None:
        dtype = reduction.node.dtype
        name = self.emitter.fresh("r")
        kind = cl.compute_type(dtype, self.emitter.lanes if vector else 1)
        self.emitter.scopes[depth].lines.append(f"const {kind} {name} = {text};")
        self.emitter.known[(reduction.node, reduction.result)] = Value(name, vector, depth)

    # ---- what every work-item computes for itself first ----

    def _before(self, reduction: Reduction) -> None:
        emitter = self.emitter
        source = reduction.node.src[0]
        size = prod(source.shape)
        axes = {term.name for c in reduction.source for term, _ in c.terms if isinstance(term, ix.Variable)}
        for name in axes:
            emitter.depth_of[name] = 1
        parts = ix.unflatten(ix.variable("v", size), source.shape)
        saved, emitter.replacements = emitter.replacements, {}
        for coordinate, part in zip(reduction.source, parts, strict=True):
            if coordinate.terms:
                emitter.replacements[coordinate.terms[0][0].name] = part  # type: ignore[union-attr]
        saved_vector, emitter.vector = emitter.vector, "v"
        total = emitter.fresh("before")
        lines = [self._declare(reduction, total, 1)]
        if self.gpu:
            lines += self._lane_loop([reduction], [total], "v", size)
            lines += self._group_fold(reduction, total)
        else:
            lanes = self.target.lanes(size, source.dtype.itemsize)
            lines += self._vector_loop([reduction], [total], lanes, "0", str(size), size, [])
        emitter.scopes[0].lines.extend(lines)
        emitter.replacements, emitter.vector = saved, saved_vector
        self._know(reduction, self._finished(reduction, total, 1), False, 0)

    # ---- loops over v ----

    def _vector_loop(
        self, reductions: list[Reduction], names: list[str], lanes: int, begin: str, end: str, size: int | None,
        stores: list[tuple[Node, Coordinates]],
    ) -> list[str]:  # fmt: skip
        """for v in [begin, end): vectors of lanes, then one by one; reductions end up in the scalars `names`."""
        emitter, lines = self.emitter, []
        outer_lanes = emitter.lanes
        vectors = [emitter.fresh("a") for _ in reductions] if lanes > 1 else names
        lines.append(f"{self.index_type} v = {begin};")
        if lanes > 1 and (size is None or size >= lanes):
            lines += [self._declare(r, n, lanes) for r, n in zip(reductions, vectors, strict=True)]
            emitter.lanes = lanes
            body = self._body(reductions, vectors, lanes, stores)
            lines += self._long_loop(reductions, vectors, lanes, end, size, body)
            for r, vector, name in zip(reductions, vectors, names, strict=True):
                lines += self._fold(r, vector, name, lanes)
        if lanes == 1 or size is None or size % lanes:
            emitter.lanes = 1
            body = self._body(reductions, names, 1, stores)
            lines += [f"for (; v < {end}; ++v) {{", *_indent(body), "}"]
        emitter.lanes = outer_lanes
        return ["{", *_indent(lines), "}"]

    def _long_loop(
        self, reductions: list[Reduction], vectors: list[str], lanes: int, end: str, size: int | None, body: list[str]
    ) -> list[str]:
        loop = f"for (; v + {lanes} <= {{}}; v += {lanes}) {{{{"
        sums = [(r, n) for r, n in zip(reductions, vectors, strict=True) if r.node.op == "sum"]
        if not sums or (size is not None and size <= LONG_LOOP * lanes):
            return [loop.format(end), *_indent(body), "}"]
        kept = [(r, n, self.emitter.fresh("k")) for r, n in sums]
        lines = [self._declare(r, k, lanes) for r, _, k in kept]
        inner = [f"const {self.index_type} stop = min({end}, v + {LONG_LOOP * lanes});"]
        inner += [loop.format("stop"), *_indent(body), "}"]
        for r, n, k in kept:
            dtype = accumulator_dtype(r.node.op, r.node.dtype)
            inner.append(f"{k} += {n}; {n} = {cl.splat(identity('sum', dtype), dtype, lanes)};")
        lines += [f"while (v + {lanes} <= {end}) {{", *_indent(inner), "}"]
        return lines + [f"{n} = {k};" for _, n, k in kept]

    def _body(
        self, reductions: list[Reduction], names: list[str], lanes: int, stores: list[tuple[Node, Coordinates]]
    ) -> list[str]:
        """One turn of an innermost loop: evaluate, accumulate, store."""
        scope = self.emitter.push()
        depth = len(self.emitter.scopes) - 1
        shift = self._bind_depth(depth)
        for reduction, name in zip(reductions, names, strict=True):
            value = self.emitter.evaluate(reduction.node.src[0], reduction.source)
            scope.lines.append(self._accumulate(reduction, name, value, lanes))
        self._store_all(scope, stores)
        self._unbind_depth(shift)
        return self.emitter.pop().lines

    def _bind_depth(self, depth: int) -> dict[str, int]:
        saved = dict(self.emitter.depth_of)
        for name, at in saved.items():
            self.emitter.depth_of[name] = min(at, depth)
        return saved

    def _unbind_depth(self, saved: dict[str, int]) -> None:
        self.emitter.depth_of.update(saved)

    # ---- cpu ----

    def _cpu_rows(self) -> list[str]:
        kind = self.index_type
        lines = [f"const {kind} group = get_group_id(0);"]
        totals = [self.emitter.fresh("total") for _ in self.totals]
        self.total_names = totals
        lines += [self._declare(r, n, 1) for r, n in zip(self.totals, totals, strict=True)]
        if self.vector_inner:
            row = self._row(1, totals)
            lines += [*self._span("o", "rows", 1), f"for ({kind} o = o_begin; o < o_end; ++o) {{", *_indent(row), "}"]
            return lines
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
        return [*lines, f"for ({kind} o = {start}; o < {stop}; ++o) {{", *_indent(vectors), "}"]

    def _span(self, name: str, size: str, step: int) -> list[str]:
        """This work-item's share of a loop, a contiguous range whose inner borders are multiples of step."""
        kind, groups = self.index_type, self.groups
        if groups == 1:
            return [f"const {kind} {name}_begin = 0, {name}_end = {size};"]
        if step == 1:
            lines = [f"const {kind} share = ({size} + {groups - 1}) / {groups};"]
        else:
            lines = [f"const {kind} share = (({size} + {groups - 1}) / {groups} + {step - 1}) / {step} * {step};"]
        return [*lines, f"const {kind} {name}_begin = min({size}, group * share), {name}_end = min({size}, {name}_begin + share);"]

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
            lines += [f"for (; v < {end}; ++v) {{", *_indent(body), "}"]
        emitter.lanes = 1
        return lines

    def _row(self, lanes: int, totals: list[str]) -> list[str]:
        """One row (or `lanes` neighbouring rows): sweeps, row outputs, totals."""
        emitter = self.emitter
        scope = emitter.push()
        known = dict(emitter.known)
        for number in range(self._sweeps()):
            self._sweep(number, scope, lanes)
        self._row_tail(scope, totals, lanes)
        emitter.pop()
        emitter.known = known
        return scope.lines

    def _sweeps(self) -> int:
        return 1 + max(self.kernel.sweep.values(), default=-1)

    def _row_tail(self, scope: Scope, totals: list[str], lanes: int) -> None:
        emitter = self.emitter
        for reduction, name in zip(self.totals, totals, strict=True):
            value = emitter.evaluate(reduction.node.src[0], reduction.source)
            scope.lines.append(self._accumulate(reduction, name, value, lanes))
        self._store_all(scope, self.row_outputs)

    def _store_all(self, scope: Scope, outputs: list[tuple[Node, Coordinates]]) -> None:
        """Everything is read before anything is written: a result may lie in the memory of an operand."""
        values = [self.emitter.evaluate(node, at) for node, at in outputs]
        for (node, at), value in zip(outputs, values, strict=True):
            scope.lines.append(self.emitter.store(node, at, value))

    def _sweep(self, number: int, scope: Scope, lanes: int) -> None:
        """One pass over the inner dimensions."""
        emitter, kind = self.emitter, self.index_type
        reductions = [r for r in self.row_reductions if self.kernel.sweep[r.node] == number]
        stores = [(n, at) for n, at in self.full_outputs if self.kernel.sweep[n] == number]
        if not reductions and not stores:
            return
        names = [emitter.fresh("a") for _ in reductions]
        declared = [self._declare(r, n, lanes) for r, n in zip(reductions, names, strict=True)]
        if self.vector_inner:
            loop = self._vector_loop(reductions, names, self.lanes, "0", str(self.vector_size), self.vector_size, stores)
        else:
            loop = self._body(reductions, names, lanes, stores)
        if self.turns > 1 or not self.vector_inner:
            loop = [f"for ({kind} i = 0; i < {self.turns}; ++i) {{", *_indent(loop), "}"]
        scope.lines.extend([*declared, *loop])
        for reduction, name in zip(reductions, names, strict=True):
            self._know(reduction, self._finished(reduction, name, lanes), lanes > 1, 1)

    # ---- gpu ----

    def _lane_loop(self, reductions: list[Reduction], names: list[str], variable: str, size: int) -> list[str]:
        body = self._body(reductions, names, 1, [])
        return [f"for ({self.index_type} {variable} = lane; {variable} < {size}; {variable} += {self.target.group_size}) {{",
                *_indent(body), "}"]  # fmt: skip

    def _group_fold(self, reduction: Reduction, name: str) -> list[str]:
        """All lanes' values into one that all lanes know: a tree in local memory."""
        dtype = accumulator_dtype(reduction.node.op, reduction.node.dtype)
        local = f"local_{dtype.compute}"
        self.locals.add(dtype.compute)
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

    @property
    def locals(self) -> set[str]:
        return self.__dict__.setdefault("_locals", set())

    def _gpu_rows(self) -> list[str]:
        kind, size = self.index_type, self.target.group_size
        totals = [self.emitter.fresh("total") for _ in self.totals]
        self.total_names = totals
        lines = [self._declare(r, n, 1) for r, n in zip(self.totals, totals, strict=True)]
        if self.vector_inner:
            row = self._gpu_row(totals)
            return [*lines, f"for ({kind} o = group; o < rows; o += {self.groups}) {{", *_indent(row), "}"]
        body = self._row(1, totals)
        step = self.groups * size
        head = []
        if self.rows > 1:
            head = [f"const {kind} o = g / size, v = g - o * size;"]
        elif self.vector_size > 1 or self.outer:
            head = [f"const {kind} v = g;"]
        lines += [f"for ({kind} g = group * {size} + lane; g < rows * size; g += {step}) {{", *_indent(head + body), "}"]
        for reduction, name in zip(self.totals, totals, strict=True):
            lines += self._group_fold(reduction, name)
        return lines

    def _gpu_row(self, totals: list[str]) -> list[str]:
        emitter, kind = self.emitter, self.index_type
        scope = emitter.push()
        known = dict(emitter.known)
        for number in range(self._sweeps()):
            reductions = [r for r in self.row_reductions if self.kernel.sweep[r.node] == number]
            stores = [(n, at) for n, at in self.full_outputs if self.kernel.sweep[n] == number]
            if not reductions and not stores:
                continue
            names = [emitter.fresh("a") for _ in reductions]
            declared = [self._declare(r, n, 1) for r, n in zip(reductions, names, strict=True)]
            body = self._body(reductions, names, 1, stores)
            loop = [f"for ({kind} v = lane; v < {self.vector_size}; v += {self.target.group_size}) {{", *_indent(body), "}"]
            if self.turns > 1:
                loop = [f"for ({kind} i = 0; i < {self.turns}; ++i) {{", *_indent(loop), "}"]
            scope.lines.extend([*declared, *loop])
            for reduction, name in zip(reductions, names, strict=True):
                scope.lines.extend(self._group_fold(reduction, name))
                self._know(reduction, self._finished(reduction, name, 1), False, 1)
        for node, at in self.row_outputs:
            value = emitter.evaluate(node, at)
            scope.lines.append(f"if (lane == 0) {{ {emitter.store(node, at, value)} }}")
        for reduction, name in zip(self.totals, totals, strict=True):
            value = emitter.evaluate(reduction.node.src[0], reduction.source)
            scope.lines.append(self._accumulate(reduction, name, value, 1))
        emitter.pop()
        emitter.known = known
        return scope.lines

    # ---- totals ----

    def _words(self, reduction: Reduction) -> int:
        compute = accumulator_dtype(reduction.node.op, reduction.node.dtype).compute
        return 2 if compute in ("double", "long") else 1

    def _finish(self) -> list[str]:
        """The last group to arrive adds all groups' partials in order. Partials travel as 32-bit atomics, which are
        coherent between groups on every OpenCL 1.2 device; the counter goes back to 0 for the next launch."""
        if not self.totals:
            scope = self.emitter.push()
            self._bind_depth(1)
            for node, at in self.total_outputs:
                value = self.emitter.evaluate(node, at)
                scope.lines.append(self.emitter.store(node, at, value))
            self.emitter.pop()
            return self._first_only(scope.lines) if scope.lines else []
        lines: list[str] = []
        if self.groups > 1:
            lines += self._partials_out()
        scope = self.emitter.push()
        if self.groups > 1:
            scope.lines.extend(self._partials_in())
        for reduction, name in zip(self.totals, self.total_names, strict=True):
            self._know(reduction, self._finished(reduction, name, 1), False, 1)
        for node, at in self.total_outputs:
            value = self.emitter.evaluate(node, at)
            scope.lines.append(self.emitter.store(node, at, value))
        self.emitter.pop()
        if self.groups == 1:
            return self._first_only(scope.lines)
        scope.lines.append("atomic_xchg(scratch, 0);")
        condition = f"atomic_inc(scratch) == {self.groups - 1}"
        lines += [f"if ({condition}) {{", *_indent(["mem_fence(CLK_GLOBAL_MEM_FENCE);", *scope.lines]), "}"]
        return self._first_only(lines)

    def _first_only(self, lines: list[str]) -> list[str]:
        tests = (["lane == 0"] if self.gpu else []) + (["group == 0"] if self.groups > 1 and not self.totals else [])
        return [f"if ({' && '.join(tests)}) {{", *_indent(lines), "}"] if tests else ["{", *_indent(lines), "}"]

    def _partials_out(self) -> list[str]:
        lines, word = [], 1
        for reduction, name in zip(self.totals, self.total_names, strict=True):
            if self._words(reduction) == 2:
                lines.append(f"{{ const uint2 w = as_uint2({name}); atomic_xchg(scratch + {word} + group * 2, w.x); "
                             f"atomic_xchg(scratch + {word} + group * 2 + 1, w.y); }}")  # fmt: skip
            else:
                bits = name if self._compute(reduction) == "uint" else f"as_uint(({self._word_type(reduction)}){name})"
                lines.append(f"atomic_xchg(scratch + {word} + group, {bits});")
            word += self.groups * self._words(reduction)
        return [*lines, "mem_fence(CLK_GLOBAL_MEM_FENCE);"]

    def _compute(self, reduction: Reduction) -> str:
        return accumulator_dtype(reduction.node.op, reduction.node.dtype).compute

    def _word_type(self, reduction: Reduction) -> str:
        compute = self._compute(reduction)
        return compute if compute in ("float", "double", "long", "int") else "int"

    def _partials_in(self) -> list[str]:
        lines, word = [], 1
        for reduction, name in zip(self.totals, self.total_names, strict=True):
            dtype = accumulator_dtype(reduction.node.op, reduction.node.dtype)
            kind = self._word_type(reduction)
            if self._words(reduction) == 2:
                at = f"scratch + {word} + k * 2"
                read = f"as_{kind}((uint2)(atomic_or({at}, 0), atomic_or({at} + 1, 0)))"
            else:
                read = f"({dtype.compute})as_{kind}(atomic_or(scratch + {word} + k, 0))"
            lines.append(f"{name} = {identity(reduction.node.op, dtype)};")
            joined = combine(reduction.node.op, name, "part", dtype, 1)
            lines.append(f"for (int k = 0; k < {self.groups}; ++k) {{ const {dtype.compute} part = {read}; {name} = {joined}; }}")
            word += self.groups * self._words(reduction)
        return lines

    # ---- text ----

    def _assemble(self, body: list[str], final: list[str]) -> KernelSource:
        emitter = self.emitter
        parameters, arguments = [], []
        stored = {node for node, _ in self.kernel.outputs}
        for (kind, key), name in emitter.arguments.items():
            if kind == "buffer":
                constness = "" if key in stored else "const "
                parameters.append(f"__global {constness}{key.dtype.storage}* {name}")  # type: ignore[attr-defined]
            elif kind == "scalar":
                parameters.append(f"const {key.dtype.compute} {name}")  # type: ignore[attr-defined]
            elif kind == "offset":
                parameters.append(f"const long {name}")
            else:
                parameters.append(f"__global int* {name}")
            arguments.append((kind, key))
        parameters += [f"const {self.index_type} rows", f"const {self.index_type} size"]
        index_dtype = "int64" if self.index_type == "long" else "int32"
        arguments += [("number", (self.rows, index_dtype)), ("number", (self.vector_size, index_dtype))]
        if self.totals and self.groups > 1:
            parameters.append("volatile __global uint* scratch")
            words = 1 + sum(self.groups * self._words(r) for r in self.totals)
            arguments.append(("scratch", words))
        head = []
        if self.gpu:
            size = self.target.group_size
            head = ["const int lane = get_local_id(0);", f"const {self.index_type} group = get_group_id(0);"]
            head += [f"__local {kind} local_{kind}[{size}];" for kind in sorted(self.locals)]
        helpers = "".join(cl.narrow_float_helpers(lanes) for lanes in sorted(emitter.narrow_lanes))
        preambles = "\n".join(p for p in emitter.preambles if p)
        before = emitter.scopes[0].lines
        text = "\n".join(_indent([*head, *before, *body, *final]))
        name = self._name()
        source = f"{preambles}{helpers}\n__kernel void {name}({', '.join(parameters)}) {{\n{text}\n}}\n"
        local = (self.target.group_size,) if self.gpu else (1,)
        touched = sum(prod(n.shape) * n.dtype.itemsize for n, in {(n,) for n in self._touched()} if n not in self._results())
        return KernelSource(
            name, source, (self.groups * local[0],), local, arguments,
            emitter.operations * prod(self.kernel.shape), touched, self._overwritable(),
        )  # fmt: skip

    def _overwritable(self) -> set[tuple[Node, Node]]:
        """Results of a map may lie in an operand's memory, and so may row results where one work-item has the row."""
        if self.kernel.inner and self.gpu:
            return set()
        return overwritable(self.row_outputs, self._loads())

    def _results(self) -> set[Node]:
        return {r.node for r in self.kernel.reductions} - {n for n, _ in self.kernel.outputs}

    def _name(self) -> str:
        ops = [r.node.op for r in self.kernel.reductions] or [self.kernel.outputs[0][0].op]
        return ("rows_" if self.kernel.inner else "map_") + "_".join(ops)[:40]


def _indent(lines: list[str]) -> list[str]:
    return ["  " + line for line in lines]
