"""Tensors joined along the middle of three dimensions: each piece is copied to its place, all in one launch.

out[o, start + k, i] = piece[o, k, i]. What lies in one run both in the piece and in the result is copied as a run.
"""

from __future__ import annotations

from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.library.writer import Writer


def write(w: Writer) -> KernelSource:
    outer, length, inner = w.node.shape
    cpu = w.target.kind == "cpu"
    group = 1 if cpu else w.target.group_size
    work = outer * length * inner
    items = max(1, min(w.target.work_items, work // 1024)) if cpu else w.target.max_groups * group
    groups = items if cpu else min(w.target.max_groups, -(-work // group))
    items = groups * group
    lines = [f"const {w.index} item = get_group_id(0)" + ("" if cpu else f"*{group} + get_local_id(0)") + ";"]
    start = 0
    for number, source in enumerate(w.node.src):
        lines += ["{", *indent(_piece(w, number, start, items, cpu)), "}"]
        start += source.shape[1]
    return w.kernel(lines, groups, group)


def _piece(w: Writer, number: int, start: int, items: int, cpu: bool) -> list[str]:
    """One piece, as rows each of which is a run in the result; the rows, or what is in them, are dealt out."""
    _, length, inner = w.node.shape
    outer, own, _ = w.node.src[number].shape
    across, along, within = w.strides(number)
    run, step = own * inner, within
    lines = [
        f"{w.pointer_type(number)} x = {w.pointer(number)} + o*{across};",
        f"{_buffer_type(w)} y = {w.output()} + (o*{length * inner} + {start * inner});",
    ]
    if inner == 1:
        step = along
    elif along != inner * within:  # a run for each k only
        lines = [
            f"{w.pointer_type(number)} x = {w.pointer(number)} + o / {own} * {across} + o % {own} * {along};",
            f"{_buffer_type(w)} y = {w.output()} + (o / {own} * {length * inner} + (o % {own} + {start})*{inner});",
        ]
        outer, run = outer * own, inner
    return (_cpu if cpu else _gpu)(w, number, outer, run, step, items, lines)


def _buffer_type(w: Writer) -> str:
    return f"__global {w.node.dtype.storage}*"


def _cpu(w: Writer, number: int, rows: int, run: int, step: int, items: int, lines: list[str]) -> list[str]:
    """Whole rows where there are many, else equal parts of what all rows hold."""
    index = w.index
    copy = _copy(w, number, step, run)
    if rows >= 4 * items or items == 1:
        share = -(-rows // items)
        last = f"min((item + 1)*{share}, ({index}){rows})"
        return [
            f"for ({index} o = item*{share}; o < {last}; ++o) {{",
            *indent([*lines, f"{index} c = 0;", f"const {index} end = {run};", *copy]),
            "}",
        ]
    share = -(-rows * run // (items * 64)) * 64
    return [
        f"const {index} last = min((item + 1)*{share}, ({index}){rows * run});",
        f"for ({index} e = item*{share}; e < last; ) {{",
        f"  const {index} o = e / {run}, left = e % {run}, end = min(({index}){run}, left + last - e);",
        *indent([*lines, f"{index} c = left;", *copy]),
        "  e += end - left;",
        "}",
    ]


def _copy(w: Writer, number: int, step: int, run: int) -> list[str]:
    """Elements c .. end of a row."""
    lanes = w.target.lanes(run)
    lines = []
    if step == 1 and lanes > 1:
        move = w.store_at("y", "c", w.load(number, "x", "c", lanes=lanes), lanes)
        lines.append(f"for (; c + {lanes} <= end; c += {lanes}) {move}")
    return [*lines, f"for (; c < end; ++c) {w.store_at('y', 'c', w.load(number, 'x', f'c*{step}'))}"]


def _gpu(w: Writer, number: int, rows: int, run: int, step: int, items: int, lines: list[str]) -> list[str]:
    """Neighbouring work-items copy neighbouring elements."""
    return [
        f"for ({w.index} e = item; e < {rows * run}; e += {items}) {{",
        f"  const {w.index} o = e / {run}, c = e % {run};",
        *indent([*lines, w.store_at("y", "c", w.load(number, "x", f"c*{step}"))]),
        "}",
    ]
