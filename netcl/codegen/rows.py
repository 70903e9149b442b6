"""Rows of values and reductions: what the kernels of both targets have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from netcl.codegen import expressions as cl
from netcl.codegen import index as ix
from netcl.codegen.accesses import loads, overwritable, position, reach
from netcl.codegen.emitter import Emitter, Scope, Value
from netcl.codegen.ir import KernelSource, Layout, Node, Shape, contiguous_strides, indent, walk
from netcl.codegen.reductions import accumulator_dtype, combine, fold, identity
from netcl.codegen.targets import TURNS, Target
from netcl.codegen.totals import Partial, partials_in, partials_out, scratch_words
from netcl.codegen.views import Coordinates
from netcl.core import dtypes
from netcl.core.dtypes import DType

BLOCK = TURNS
LONG_ROW = 4096  # elements of a row from which on its sum is a double where the totals are


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


class Rows:
    """Writes one kernel. Subclasses say how rows and their loops are spread over work-items."""

    gpu = False

    def __init__(self, kernel: RowwiseKernel, target: Target):
        self.kernel = kernel
        self.target = target
        shape = kernel.shape
        self.outer = [axis for axis in range(len(shape)) if axis not in kernel.inner]
        self.inner = sorted(kernel.inner)
        self.index_type = target.index_type(self._reaches())
        self.emitter = Emitter(kernel.bindings, self.index_type, [node for node, _ in kernel.outputs])
        self.stand_in: dict[Node, Node] = {}  # results in whose memory another value is put for now
        self._choose_loops()

    def _reaches(self) -> list[int]:
        """How far from its first element anything lies that the kernel may touch, and what it counts to on the way."""
        bindings = self.kernel.bindings
        results = [*(r.node for r in self.kernel.reductions), *(node for node, _ in self.kernel.outputs)]
        computed = [prod(node.shape) for node in walk(results, bindings.__contains__)]
        read = [reach(node.shape, layout.strides) for node, layout in bindings.items()]
        return [prod(self.kernel.shape), *computed, *read]

    def _choose_loops(self) -> None:
        shape = self.kernel.shape
        self.vector_inner = bool(self.inner) and (not self.outer or self._contiguous_inner())
        axes = self.inner if self.vector_inner else self.outer
        merged = self._merge(axes)
        vector_axes, rest = axes[len(axes) - merged :], axes[: len(axes) - merged]
        others = self.outer if self.vector_inner else self.inner
        self.vector_axes = vector_axes
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
        self.lanes = 1 if self.gpu else self.target.lanes(self.vector_size)
        self.emitter.vector = "v" if self.lanes > 1 else ""

    def _touched(self) -> list[Node]:
        return [*self.kernel.bindings, *(n for n, _ in self.kernel.outputs), *(r.node for r in self.kernel.reductions)]

    def _contiguous_inner(self) -> bool:
        """Whether the last inner axis is the contiguous one in most of the memory that the kernel touches."""
        last_inner, last_outer = f"d{self.inner[-1]}", f"d{self.outer[-1]}"
        votes = 0
        for offset, size in self._offsets:
            votes += size * ((offset.coefficient(last_inner) == 1) - (offset.coefficient(last_outer) == 1))
        return votes >= 0

    @cached_property
    def _offsets(self) -> list[tuple[ix.Index, int]]:
        """The memory positions of all loads and stores, with the sizes of the arrays."""
        stores = [(node, position(at, contiguous_strides(node.shape))) for node, at in self.kernel.outputs]
        return [(at, prod(node.shape)) for node, at in [*self._loads, *stores]]

    @cached_property
    def _loads(self) -> list[tuple[Node, ix.Index]]:
        roots = [(r.node.src[0], r.source) for r in self.kernel.reductions] + self.kernel.outputs
        return loads(roots, {r.node for r in self.kernel.reductions}, self.kernel.bindings)

    def _merge(self, axes: list[int]) -> int:
        """How many trailing axes of the class can be one loop with every access affine in it."""
        shape = self.kernel.shape
        offsets = [offset for offset, _ in self._offsets]
        merged = min(1, len(axes))
        for count in range(2, len(axes) + 1):
            chosen = axes[len(axes) - count :]
            parts = ix.unflatten(ix.variable("v", prod(shape[a] for a in chosen)), [shape[a] for a in chosen])
            replacements = {f"d{axis}": part for axis, part in zip(chosen, parts, strict=True)}
            if any(ix.substitute(offset, replacements).coefficient("v") is None for offset in offsets):
                break
            merged = count
        return merged

    # ---- what the targets do differently ----

    def _keeps(self) -> list[tuple[int, Node, Node]]:
        """(sweep, value, result): costly values that a sweep computes and a later one needs again, and the results in
        whose memory they may wait."""
        return []

    def _group_count(self, work: int) -> int:
        """Work-groups to launch for this many elements."""
        raise NotImplementedError

    def _all_rows(self) -> list[str]:
        """The statements that do this work-item's rows; declares `group` and the totals."""
        raise NotImplementedError

    def _whole(self, reduction: Reduction, name: str, size: int) -> list[str]:
        """Reduce an array of `size` elements, addressed by v, into `name`, in every work-item."""
        raise NotImplementedError

    def _inner_loop(
        self, reductions: list[Reduction], names: list[str], stores: list[tuple[Node, Coordinates]]
    ) -> list[str]:
        """v over the contiguous inner dimensions: accumulate into the scalars `names`, store."""
        raise NotImplementedError

    def _joined(self, reduction: Reduction, name: str) -> list[str]:
        """What makes a row's accumulator `name` the whole row's."""
        return []

    # ---- the kernel ----

    def generate(self) -> KernelSource:
        kernel, emitter = self.kernel, self.emitter
        self.totals = [r for r in kernel.reductions if r.level == "total"]
        self.row_reductions = [r for r in kernel.reductions if r.level == "row"]
        self.row_outputs, self.full_outputs, self.total_outputs = (
            [(n, at) for n, at in kernel.outputs if kernel.levels[n] == level] for level in ("row", "full", "total")
        )
        self.keeps = self._keeps()
        self.total_names = [emitter.fresh("total") for _ in self.totals]
        self.groups = self._group_count(prod(kernel.shape))
        for reduction in (r for r in kernel.reductions if r.level == "before"):
            self._before(reduction)
        body = []
        if self.totals or self.row_reductions or self.row_outputs or self.full_outputs:
            body = self._all_rows()
        return self._assemble(body, self._finish())

    # ---- accumulators ----

    def _dtype(self, reduction: Reduction, lanes: int) -> DType:
        """What is accumulated in. The one number that a float32 sum over several loops ends in is a double where that
        costs nothing: a fat work-item adds few numbers to it, one for each row or vector's end."""
        dtype = accumulator_dtype(reduction.node.op, reduction.node.dtype)
        several = reduction.level != "row" or (self.vector_inner and (self.turns > 1 or self.vector_size >= LONG_ROW))
        alone = lanes == 1 and several and reduction.node.op == "sum"
        return dtypes.float64 if alone and dtype is dtypes.float32 and self.target.doubles else dtype

    def _accumulate(self, reduction: Reduction, name: str, value: Value, lanes: int, counted: str = "") -> str:
        dtype = self._dtype(reduction, lanes)
        text = value.text
        source = reduction.node.src[0].dtype
        width = lanes if value.vector else 1
        if source.compute != dtype.compute:
            text = cl.convert(text, source, dtype, width)
        if lanes > 1 and not value.vector:
            text = cl.splat(text, dtype, lanes)
        if counted:
            text = cl.select(counted, text, cl.splat(identity(reduction.node.op, dtype), dtype, lanes), dtype, lanes)
        return f"{name} = {combine(reduction.node.op, name, text, dtype, lanes)};"

    def _declare(self, reduction: Reduction, name: str, lanes: int) -> str:
        dtype = self._dtype(reduction, lanes)
        start = cl.splat(identity(reduction.node.op, dtype), dtype, lanes)
        return f"{cl.compute_type(dtype, lanes)} {name} = {start};"

    def _fold(self, reduction: Reduction, vector_name: str, scalar_name: str, lanes: int) -> list[str]:
        if lanes == 1:
            return []
        narrow, dtype, lines = self._dtype(reduction, lanes), self._dtype(reduction, 1), []
        if dtype is not narrow:
            wide = self.emitter.fresh("w")
            text = cl.convert(vector_name, narrow, dtype, lanes)
            lines, vector_name = [f"const {cl.compute_type(dtype, lanes)} {wide} = {text};"], wide
        return lines + self._folded(reduction, vector_name, scalar_name, lanes, dtype)

    def _folded(self, reduction: Reduction, vector_name: str, scalar_name: str, lanes: int, dtype: DType) -> list[str]:
        lines, folded = fold(reduction.node.op, vector_name, dtype, lanes, self.emitter.fresh)
        return [*lines, f"{scalar_name} = {combine(reduction.node.op, scalar_name, folded, dtype, 1)};"]

    def _finished(self, reduction: Reduction, name: str, lanes: int) -> str:
        """The accumulated value in the node's own compute type."""
        dtype = self._dtype(reduction, lanes)
        if dtype.compute == reduction.node.dtype.compute:
            return name
        narrow = reduction.node.dtype in cl.NARROW  # computed in float32, rounded when stored
        return cl.convert(name, dtype, dtypes.float32 if narrow else reduction.node.dtype, lanes)

    def _know(self, reduction: Reduction, text: str, vector: bool, depth: int) -> None:
        dtype, lanes = reduction.node.dtype, self.emitter.lanes if vector else 1
        name = self.emitter.fresh("r")
        kind = cl.compute_type(dtype, lanes)
        text = self.emitter.as_stored(reduction.node, text, lanes)
        self.emitter.scopes[depth].lines.append(f"const {kind} {name} = {text};")
        self.emitter.known[(reduction.node, reduction.result)] = Value(name, vector, depth)

    # ---- the body of a loop ----

    def _before(self, reduction: Reduction) -> None:
        """A small total that every work-item computes for itself, ahead of its rows."""
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
        lines = [self._declare(reduction, total, 1), *self._whole(reduction, total, size)]
        emitter.scopes[0].lines.extend(lines)
        emitter.replacements, emitter.vector = saved, saved_vector
        self._know(reduction, self._finished(reduction, total, 1), False, 0)

    def _body(
        self, reductions: list[Reduction], names: list[str], lanes: int, stores: list[tuple[Node, Coordinates]],
        counted: str = "",
    ) -> list[str]:  # fmt: skip
        """One turn of an innermost loop: evaluate, accumulate (only the lanes `counted`, where given), store."""
        scope = self.emitter.push()
        depth = len(self.emitter.scopes) - 1
        shift = self._bind_depth(depth)
        for reduction, name in zip(reductions, names, strict=True):
            value = self.emitter.evaluate(reduction.node.src[0], reduction.source)
            scope.lines.append(self._accumulate(reduction, name, value, lanes, counted))
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
        self._store_row(self.row_outputs, scope)

    def _store_row(self, outputs: list[tuple[Node, Coordinates]], scope: Scope) -> None:
        self._store_all(scope, outputs)

    def _store_all(self, scope: Scope, outputs: list[tuple[Node, Coordinates]]) -> None:
        """Everything is read before anything is written: a result may lie in the memory of an operand."""
        values = [self.emitter.evaluate(self.stand_in.get(node, node), at) for node, at in outputs]
        for (node, at), value in zip(outputs, values, strict=True):
            scope.lines.append(self.emitter.store(node, at, value))

    def _sweep(self, number: int, scope: Scope, lanes: int) -> None:
        """One pass over the inner dimensions."""
        emitter = self.emitter
        reductions = [r for r in self.row_reductions if self.kernel.sweep[r.node] == number]
        stores = [(n, at) for n, at in self.full_outputs if self.kernel.sweep[n] == number]
        places = dict(self.full_outputs)
        self.stand_in = {result: value for sweep, value, result in self.keeps if sweep == number}
        stores += [(result, places[result]) for result in self.stand_in]
        last = self.kernel.sweep  # of a result: from there on its memory holds itself
        waiting = [(value, result) for sweep, value, result in self.keeps if sweep < number <= last[result]]
        emitter.kept = {(value, places[result]): result for value, result in waiting}
        if not reductions and not stores:
            return
        names = [emitter.fresh("a") for _ in reductions]
        declared = [self._declare(r, n, lanes) for r, n in zip(reductions, names, strict=True)]
        if self.vector_inner:
            loop = self._inner_loop(reductions, names, stores)
        else:
            loop = self._body(reductions, names, lanes, stores)
        if self.turns > 1 or not self.vector_inner:
            loop = self._cascade(reductions, names, lanes, "i", "0", str(self.turns), self.turns, loop)
        scope.lines.extend([*declared, *loop])
        for reduction, name in zip(reductions, names, strict=True):
            if self.vector_inner:
                scope.lines.extend(self._joined(reduction, name))
            self._know(reduction, self._finished(reduction, name, lanes), lanes > 1, 1)

    def _cascade(
        self, reductions: list[Reduction], names: list[str], lanes: int, variable: str, first: str, last: str,
        turns: int, body: list[str],
    ) -> list[str]:  # fmt: skip
        """for (variable = first; variable < last; ++variable) body. Where that may be more `turns` than BLOCK, float
        sums are put aside after every block, and sums of blocks after every block of blocks: adding millions of
        float32 numbers one by one would lose digits."""
        pairs = zip(reductions, names, strict=True)
        sums = [(r, n) for r, n in pairs if r.node.op == "sum" and r.node.dtype.category == 2]
        levels = [[n for _, n in sums]]
        size, declared, moved = BLOCK, [], []
        while sums and turns > size:
            kept = [self.emitter.fresh("k") for _ in sums]
            declared += [self._declare(r, k, lanes) for (r, _), k in zip(sums, kept, strict=True)]
            moves = " ".join(f"{k} += {n}; {n} = 0;" for k, n in zip(kept, levels[-1], strict=True))
            moved.append(f"if (({variable} & {size - 1}) == {size - 1}) {{ {moves}")
            levels.append(kept)
            size *= BLOCK
        joined = [f"{n} += {k};" for kept in levels[1:] for n, k in zip(levels[0], kept, strict=True)]
        loop = f"for ({self.index_type} {variable} = {first}; {variable} < {last}; ++{variable}) {{"
        return [*declared, loop, *indent([*body, *moved, *["}"] * len(moved)]), "}", *joined]

    # ---- totals ----

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
            lines += partials_out(self._partials(), self.groups)
        scope = self.emitter.push()
        if self.groups > 1:
            scope.lines.extend(partials_in(self._partials(), self.groups))
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
        lines += [f"if ({condition}) {{", *indent(["mem_fence(CLK_GLOBAL_MEM_FENCE);", *scope.lines]), "}"]
        return self._first_only(lines)

    def _partials(self) -> list[Partial]:
        return [
            Partial(r.node.op, self._dtype(r, 1), name)
            for r, name in zip(self.totals, self.total_names, strict=True)
        ]

    def _first_only(self, lines: list[str]) -> list[str]:
        tests = (["lane == 0"] if self.gpu else []) + (["group == 0"] if self.groups > 1 and not self.totals else [])
        return [f"if ({' && '.join(tests)}) {{", *indent(lines), "}"] if tests else ["{", *indent(lines), "}"]

    # ---- text ----

    def _assemble(self, body: list[str], final: list[str]) -> KernelSource:
        emitter = self.emitter
        parameters, arguments = emitter.signature({node for node, _ in self.kernel.outputs})
        parameters += [f"const {self.index_type} rows", f"const {self.index_type} size"]
        index_dtype = "int64" if self.index_type == "long" else "int32"
        arguments += [("number", (self.rows, index_dtype)), ("number", (self.vector_size, index_dtype))]
        if self.totals and self.groups > 1:
            parameters.append("volatile __global uint* scratch")
            arguments.append(("scratch", scratch_words(self._partials(), self.groups)))
        lines = [
            f"const {self.index_type} group = get_group_id(0);",
            *self._head(),
            *emitter.scopes[0].lines,
            *body,
            *final,
        ]
        name = self._name()
        size = self.target.group_size if self.gpu else 1
        source = emitter.kernel_text(name, parameters, lines, size)
        inside = {r.node for r in self.kernel.reductions} - {n for n, _ in self.kernel.outputs}
        touched = sum(prod(n.shape) * n.dtype.itemsize for n in set(self._touched()) - inside)
        return KernelSource(
            name, source, (self.groups * size,), (size,), arguments,
            emitter.operations * prod(self.kernel.shape), touched, self._overwritable(),
        )  # fmt: skip

    def _overwritable(self) -> set[tuple[Node, Node]]:
        """Results of a map may lie in an operand's memory, and so may row results where one work-item has the row."""
        if self.kernel.inner and self.gpu:
            return set()
        return overwritable(self.row_outputs, self._loads)

    def _head(self) -> list[str]:
        """Declarations at the top of the kernel."""
        return []

    def _name(self) -> str:
        ops = [r.node.op for r in self.kernel.reductions] or [self.kernel.outputs[0][0].op]
        return ("rows_" if self.kernel.inner else "map_") + "_".join(ops)[:40]
