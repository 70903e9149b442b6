"""Values put, added or otherwise combined where indices say, always in the order of the indices.

out = base; out[o, index[o, k, i], i] (op)= source[o, k, i] for k = 0, 1, .., with index and source of shape
(outer, count, inner) and out of (outer, size, inner); index may have sizes of 1 at outer and inner. Every work-item
owns a part of the result and walks along all the indices, so that no two write the same place: no atomics, and the same
bits every time. An index that is the same for all of inner is read once for all of it.
"""

from __future__ import annotations

from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.library.writer import Writer
from netcl.codegen.reductions import combine

COLUMN_BYTES = 256  # of a row that are worth a work-item of their own (cpu); narrower rows are dealt out whole
GPU_ITEMS = 16384  # that walk along the indices; more of them would only read the indices more often


def write(w: Writer) -> KernelSource:
    return _cpu(w) if w.target.kind == "cpu" else _gpu(w)


class _Parts:
    """What both targets write: reading an index, checking it, starting an element, combining into it."""

    def __init__(self, w: Writer):
        self.w = w
        self.op, self.size, self.low, self.first = w.node.arg
        self.outer, self.count, self.inner = w.node.src[1].shape
        self.based = len(w.node.src) > 2 and w.node.src[2].shape != ()
        self.index_strides, self.source_strides = w.strides(0), w.strides(1)
        self.one_for_all = self.inner == 1 or self.index_strides[2] == 0

    def pointers(self) -> list[str]:
        w = self.w
        lines = [
            f"{w.pointer_type(0)} index = {w.pointer(0)} + o*{self.index_strides[0]};",
            f"{w.pointer_type(1)} source = {w.pointer(1)} + o*{self.source_strides[0]};",
        ]
        if self.based:
            lines.append(f"{w.pointer_type(2)} base = {w.pointer(2)} + o*{w.strides(2)[0]};")
        return lines

    def start(self, s: str, i: str) -> str:
        """One element of the result before anything was combined into it."""
        if not self.based:
            return self.w.store(self._place(s, i), f"({self.w.node.dtype.compute})0")
        strides = self.w.strides(2)
        return self.w.store(self._place(s, i), self.w.load(2, "base", f"{s}*{strides[1]} + {i}*{strides[2]}"))

    def read_index(self, i: str = "0") -> str:
        """`at`, the index counted from the front."""
        inner = "" if self.one_for_all else f" + {i}*{self.index_strides[2]}"
        given = f"(long){self.w.load(0, 'index', f'k*{self.index_strides[1]}{inner}')}"
        if self.low == 0:
            return f"const long at = {given};"
        return f"const long given = {given}, at = given < 0 ? given + {self.size} : given;"

    def at_index(self, i: str, inside: str, then: list[str]) -> list[str]:
        """`then`, where the index is `inside`; what is out of range is reported."""
        lines = [self.read_index(i), f"if ({inside}) {{", *indent(then), "}"]
        if self.low is not None:
            lines.append(f"else if (at < 0 || at >= {self.size}) {self.report('' if self.one_for_all else f' + {i}')}")
        return lines

    def report(self, inner: str = "") -> str:
        flags = self.w.emitter.argument("flags", None)
        site = self.w.emitter.argument("scalar", self.w.node.src[-1])
        width = 1 if self.one_for_all else self.inner
        row = f"(long)o*{self.count} + " if self.index_strides[0] else "(long)"
        position = f"{self.first} + ({row}k)*{width}{inner}"
        value = "at" if self.low == 0 else "given"
        return (
            f"if (atomic_cmpxchg((volatile __global int*){flags}, 0, 1) == 0) "
            f"{{ {flags}[1] = (int){site}; ((__global long*){flags})[1] = {value}; "
            f"((__global long*){flags})[2] = {position}; }}"
        )

    def join(self, i: str, lanes: int = 1) -> str:
        """The source's element(s) combined into the result's."""
        w, dtype = self.w, self.w.node.dtype
        place = self._place("at", i)
        new = w.load(1, "source", f"k*{self.source_strides[1]} + {i}*{self.source_strides[2]}", lanes=lanes)
        if self.op == "set":
            return w.store(place, new, lanes)
        old = w.load_output(place, lanes)
        joined = combine(self.op, old, new, dtype, lanes)
        return w.store(place, f"({dtype.compute})({joined})" if lanes == 1 else joined, lanes)

    def _place(self, s: str, i: str) -> str:
        row = f"(o*{self.size} + {s})" if self.w.index == "long" else f"(o*{self.size} + (int){s})"
        return f"{row}*{self.inner} + {i}"


def _cpu(w: Writer) -> KernelSource:
    """Units of the result (an outer row, a range of positions, a block of columns), dealt out to few work-items."""
    p = _Parts(w)
    wanted = -(-w.target.work_items // p.outer)
    cores = -(-w.target.work_items // (4 * p.outer))  # every range of positions walks along all the indices
    blocks = max(1, min(wanted, p.inner * w.node.dtype.itemsize // COLUMN_BYTES))
    block = -(-p.inner // (blocks * 16)) * 16 if blocks > 1 else p.inner
    blocks = -(-p.inner // block)
    ranges = min(p.size, -(-cores // blocks))
    span = -(-p.size // ranges)
    ranges = -(-p.size // span)
    units = p.outer * blocks * ranges
    items = min(units, w.target.work_items)
    columns = f"for ({w.index} i = left; i < right; ++i)"
    walk = _walk_in_blocks(w, p) if p.inner == 1 and ranges > 1 else _walk(w, p, columns)
    body = [
        f"const {w.index} o = unit / {blocks * ranges}, left = unit / {ranges} % {blocks} * {block};",
        f"const {w.index} right = min(left + {block}, ({w.index}){p.inner});",
        f"const {w.index} first = unit % {ranges} * {span}, last = min(first + {span}, ({w.index}){p.size});",
        *p.pointers(),
        f"for ({w.index} s = first; s < last; ++s)",
        f"  {columns} {p.start('s', 'i')}",
        *walk,
    ]
    lines = [f"for ({w.index} unit = get_group_id(0); unit < {units}; unit += {items}) {{", *indent(body), "}"]
    return w.kernel(lines, items, flops=p.outer * p.count * p.inner)


def _walk(w: Writer, p: _Parts, columns: str) -> list[str]:
    """Along the indices, each of which is taken where it is in range."""
    inside = "at >= first && at < last"
    if not p.one_for_all:
        lines = [f"{columns} {{", *indent(p.at_index("i", inside, [p.join("i")])), "}"]
    else:
        lanes = w.target.lanes(p.inner) if p.source_strides[2] == 1 else 1
        row = [f"{w.index} i = left;"]
        if lanes > 1:
            row.append(f"for (; i + {lanes} <= right; i += {lanes}) {p.join('i', lanes)}")
        lines = p.at_index("0", inside, [*row, f"for (; i < right; ++i) {p.join('i')}"])
    return [f"for ({w.index} k = 0; k < {p.count}; ++k) {{", *indent(lines), "}"]


def _walk_in_blocks(w: Writer, p: _Parts) -> list[str]:
    """Columns of single elements: first find which of the next indices are in range, then take these. Whether an index
    is in range can't be foretold, and a branch for each costs more than both."""
    index, block = w.index, 1024
    over = f"for ({index} k = begin; k < end; ++k)"
    find = [p.read_index(), "found[n] = k;", "n += (int)((at >= first) & (at < last));"]
    report = []
    if p.low is not None:
        find.append(f"wrong |= (int)((at < 0) | (at >= {p.size}));")
        again = [p.read_index(), f"if (at < 0 || at >= {p.size}) {p.report()}"]
        report = [f"if (wrong) {over} {{", *indent(again), "}"]
    lines = [
        f"const {index} end = min(begin + {block}, ({index}){p.count});",
        f"{index} found[{block}];",
        "int n = 0, wrong = 0;",
        f"{over} {{",
        *indent(find),
        "}",
        "for (int m = 0; m < n; ++m) {",
        *indent([f"const {index} k = found[m];", p.read_index(), p.join("0")]),
        "}",
        *report,
    ]
    return [f"for ({index} begin = 0; begin < {p.count}; begin += {block}) {{", *indent(lines), "}"]


def _gpu(w: Writer) -> KernelSource:
    """A work-item for each column; where there are few, several share one, each taking every n-th position."""
    p = _Parts(w)
    group = w.target.group_size
    columns = p.outer * p.inner
    shares = 1
    while shares * 2 <= p.size and shares * 2 * columns <= GPU_ITEMS:
        shares *= 2
    units = columns * shares
    groups = min(-(-units // group), w.target.max_groups)
    body = [
        f"const {w.index} i = unit % {p.inner}, share = unit / {p.inner} % {shares};",
        f"const {w.index} o = unit / {p.inner * shares};",
        *p.pointers(),
        f"for ({w.index} s = share; s < {p.size}; s += {shares}) {p.start('s', 'i')}",
        f"for ({w.index} k = 0; k < {p.count}; ++k) {{",
        *indent(p.at_index("i", f"at >= 0 && at < {p.size} && (at & {shares - 1}) == share", [p.join("i")])),
        "}",
    ]
    start = f"get_group_id(0)*{group} + get_local_id(0)"
    lines = [f"for ({w.index} unit = {start}; unit < {units}; unit += {groups * group}) {{", *indent(body), "}"]
    return w.kernel(lines, groups, group, flops=p.outer * p.count * p.inner)
