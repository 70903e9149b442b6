"""Running sums, products, maxima, minima and logs of sums of exponentials along one axis.

out[o, k, i] = x[o, 0, i] + .. + x[o, k, i] for an operand of shape (outer, length, inner). The length may be cut into
blocks, so that there is work for everyone where outer x inner is small: `scan_totals` finds the total of each block, a
scan of those totals follows, and `scan` with these as its second operand starts each block from what came before it.

`cpu` target: a work-item walks along some columns (o, block, i), side by side in a vector where inner is contiguous.
`gpu` target: the same, a work-item for each column; but where there is no inner, a work-group takes a block and goes
along it in tiles, which it scans in local memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from netcl.codegen import expressions as cl
from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.library.writer import Writer
from netcl.codegen.reductions import accumulator_dtype, combine, identity
from netcl.core import dtypes
from netcl.core.dtypes import DType

BLOCK = 256  # elements after which a float32 running sum is put aside, so that long ones stay accurate


@dataclass
class _Operation:
    """How a scan starts and combines."""

    op: str
    dtype: DType

    @staticmethod
    def of(op: str, dtype: DType) -> _Operation:
        return _Operation(op, dtypes.accumulator(dtype) if op == "logaddexp" else accumulator_dtype(op, dtype))

    def identity(self, lanes: int = 1) -> str:
        text = cl.number(float("-inf"), self.dtype) if self.op == "logaddexp" else identity(self.op, self.dtype)
        return cl.splat(text, self.dtype, lanes)

    def combine(self, left: str, right: str, lanes: int = 1) -> str:
        if self.op == "logaddexp":
            return f"netcl_logaddexp({left}, {right})"
        return combine(self.op, left, right, self.dtype, lanes)

    def helpers(self, lanes: int) -> list[str]:
        """log(exp(a) + exp(b)); equal operands may both be infinite."""
        if self.op != "logaddexp":
            return []
        texts = []
        for width in sorted({1, lanes}):
            kind = cl.compute_type(self.dtype, width)
            apart = cl.select_mask("a == b", cl.splat("0", self.dtype, width), "-fabs(a - b)", width)
            texts.append(
                f"{kind} __attribute__((overloadable)) netcl_logaddexp({kind} a, {kind} b) {{\n"
                f"  const {kind} apart = {apart}; return fmax(a, b) + log1p(exp(apart));\n}}"
            )
        return texts


def write(w: Writer) -> KernelSource:
    op, block = w.node.arg
    return _Scan(w, _Operation.of(op, w.node.dtype), block, each=True).kernel()


def write_totals(w: Writer) -> KernelSource:
    op, block = w.node.arg
    return _Scan(w, _Operation.of(op, w.node.dtype), block, each=False).kernel()


class _Scan:
    """One kernel: `each` running value is stored, or only the total of each block."""

    def __init__(self, w: Writer, operation: _Operation, block: int, each: bool):
        self.w, self.operation, self.each = w, operation, each
        self.outer, self.length, self.inner = w.node.src[0].shape
        self.block = block or self.length
        self.blocks = -(-self.length // self.block)
        self.strides = w.strides(0)
        self.started = len(w.operands) > 1
        self.dtype = operation.dtype

    def kernel(self) -> KernelSource:
        w = self.w
        columns = self.outer * self.blocks * self.inner
        flops = self.outer * self.length * self.inner
        if w.target.kind == "gpu" and self.inner == 1:
            groups = min(columns, w.target.max_groups)
            lines = self._by_groups(groups)
            return w.kernel(lines, groups, w.target.group_size, flops, self.operation.helpers(1))
        if w.target.kind == "gpu":
            group = w.target.group_size
            groups = min(-(-columns // group), w.target.max_groups)
            item = f"get_group_id(0)*{group} + get_local_id(0)"
            lines = self._by_items(1, 0, self.inner, item, groups * group)
            return w.kernel(lines, groups, group, flops, self.operation.helpers(1))
        lanes = w.target.lanes(self.inner) if self.strides[2] == 1 and self.inner > 1 else 1
        items = max(1, min(w.target.work_items, columns // lanes, flops // w.target.work_per_item))
        whole = self.inner // lanes
        lines = self._by_items(lanes, 0, whole, "get_group_id(0)", items)
        if whole * lanes < self.inner:
            lines += self._by_items(1, whole * lanes, self.inner - whole * lanes, "get_group_id(0)", items)
        return w.kernel(lines, items, 1, flops, self.operation.helpers(lanes))

    def _load(self, at: str, lanes: int) -> str:
        return self.w.load(0, "x", at, self.dtype, lanes)

    def _store(self, at: str, text: str, lanes: int) -> str:
        return self.w.store(at, f"({cl.compute_type(self.w.node.dtype, lanes)})({text})", lanes)

    def _start(self, name: str, lanes: int) -> list[str]:
        """The value before the block: the scan of the totals, at the block before."""
        kind = cl.compute_type(self.dtype, lanes)
        lines = [f"{kind} {name} = {self.operation.identity(lanes)};"]
        if self.started:
            s = self.w.strides(1)
            assert lanes == 1 or s[2] == 1, "totals of blocks are contiguous"
            at = f"o*{s[0]} + (b - 1)*{s[1]} + i*{s[2]}"
            lines.append(f"if (b > 0) {name} = {self.w.load(1, self.w.pointer(1), at, self.dtype, lanes)};")
        return lines

    def _place(self) -> list[str]:
        """From a column's block to where it begins and ends."""
        index = self.w.index
        begin = f"const {index} begin = b*{self.block}, end = min(({index}){self.length}, begin + {self.block});"
        return [begin, f"{self.w.pointer_type(0)} x = {self.w.pointer(0)} + o*{self.strides[0]} + i*{self.strides[2]};"]

    def _by_items(self, lanes: int, first: int, count: int, item: str, items: int) -> list[str]:
        """A work-item takes every items-th of the outer x blocks x count columns, each `lanes` wide."""
        index = self.w.index
        decode = [
            f"const {index} i = {first} + c % {count} * {lanes}, b = c / {count} % {self.blocks}, "
            f"o = c / {count * self.blocks};",
        ]
        body = [*decode, *self._place(), *self._walk(lanes)]
        columns = self.outer * self.blocks * count
        return [f"for ({index} c = {item}; c < {columns}; c += {items}) {{", *indent(body), "}"]

    def _walk(self, lanes: int) -> list[str]:
        operation, index = self.operation, self.w.index
        kind = cl.compute_type(self.dtype, lanes)
        aside = operation.op == "sum" and self.dtype.category == 2 and self.block > BLOCK
        lines = self._start("before" if aside else "total", lanes)
        if not aside:
            step = [f"total = {operation.combine('total', self._load(f'k*{self.strides[1]}', lanes), lanes)};"]
            if self.each:
                step.append(self._store(f"(o*{self.length} + k)*{self.inner} + i", "total", lanes))
            lines += [f"for ({index} k = begin; k < end; ++k) {{", *indent(step), "}"]
            return lines if self.each else [*lines, self._store_total("total", lanes)]
        step = [f"total += {self._load(f'k*{self.strides[1]}', lanes)};"]
        if self.each:
            step.append(self._store(f"(o*{self.length} + k)*{self.inner} + i", "before + total", lanes))
        part = [
            f"const {index} stop = min(end, start + {BLOCK});",
            f"{kind} total = {operation.identity(lanes)};",
            f"for ({index} k = start; k < stop; ++k) {{", *indent(step), "}",
            "before += total;",
        ]  # fmt: skip
        lines += [f"for ({index} start = begin; start < end; start += {BLOCK}) {{", *indent(part), "}"]
        return lines if self.each else [*lines, self._store_total("before", lanes)]

    def _store_total(self, name: str, lanes: int) -> str:
        return self._store(f"(o*{self.blocks} + b)*{self.inner} + i", name, lanes)

    def _by_groups(self, groups: int) -> list[str]:
        """A work-group takes a block: tiles of its size, scanned in local memory in doubling steps. All items of a
        group pass the same barriers: bounds depend on the block alone."""
        operation, index, size = self.operation, self.w.index, self.w.target.group_size
        kind = self.dtype.compute
        tile = [
            f"const {index} k = start + lane;",
            f"{kind} value = k < end ? {self._load(f'k*{self.strides[1]}', 1)} : {operation.identity()};",
            "tile[lane] = value;",
            "barrier(CLK_LOCAL_MEM_FENCE);",
            f"for (int reach = 1; reach < {size}; reach <<= 1) {{",
            f"  if (lane >= reach) value = {operation.combine('tile[lane - reach]', 'value')};",
            "  barrier(CLK_LOCAL_MEM_FENCE);",
            "  tile[lane] = value;",
            "  barrier(CLK_LOCAL_MEM_FENCE);",
            "}",
        ]
        if self.each:
            stored = self._store(f"o*{self.length} + k", operation.combine("before", "value"), 1)
            tile.append(f"if (k < end) {stored}")
        tile += [
            f"before = {operation.combine('before', f'tile[{size - 1}]')};",
            "barrier(CLK_LOCAL_MEM_FENCE);",
        ]
        body = [
            f"const {index} b = c % {self.blocks}, o = c / {self.blocks};",
            f"const {index} i = 0;",
            *self._place(),
            *self._start("before", 1),
            f"for ({index} start = begin; start < end; start += {size}) {{", *indent(tile), "}",
        ]  # fmt: skip
        if not self.each:
            body.append(f"if (lane == 0) {self._store_total('before', 1)}")
        columns = self.outer * self.blocks
        return [
            f"__local {kind} tile[{size}];",
            "const int lane = get_local_id(0);",
            f"for ({index} c = get_group_id(0); c < {columns}; c += {groups}) {{", *indent(body), "}",
        ]  # fmt: skip


def write_recurrence(w: Writer) -> KernelSource:
    """out[o, k, i] = a[o, k, i] * out[o, k - 1, i] + b[o, k, i], from 0: a work-item for each column (o, i)."""
    outer, length, inner = w.node.shape
    dtype = dtypes.accumulator(w.node.dtype)
    group = 1 if w.target.kind == "cpu" else w.target.group_size
    columns = outer * inner
    if w.target.kind == "cpu":
        groups = max(1, min(columns, w.target.work_items, w.target.work_items * columns * length // 65536))
    else:
        groups = min(-(-columns // group), w.target.max_groups)
    pointers, loads = [], []
    for number, name in enumerate("ab"):
        s = w.strides(number)
        pointers.append(f"{w.pointer_type(number)} {name} = {w.pointer(number)} + o*{s[0]} + i*{s[2]};")
        loads.append(w.load(number, name, f"k*{s[1]}", dtype))
    body = [
        f"const {w.index} o = c / {inner}, i = c % {inner};",
        *pointers,
        f"{dtype.compute} value = 0;",
        f"for ({w.index} k = 0; k < {length}; ++k) {{",
        f"  value = {loads[0]} * value + {loads[1]};",
        "  " + w.store(f"(o*{length} + k)*{inner} + i", "value"),
        "}",
    ]
    item = f"get_group_id(0)*{group} + get_local_id(0)"
    lines = [f"for ({w.index} c = {item}; c < {columns}; c += {groups * group}) {{", *indent(body), "}"]
    return w.kernel(lines, groups, group, flops=2 * columns * length)
