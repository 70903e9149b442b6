"""Tensors joined along the middle of three dimensions: each piece is copied to its place, all in one launch.

out[o, start + k, i] = piece[o, k, i]. What lies in one run both in the piece and in the result is copied as a run.
"""

from __future__ import annotations

from dataclasses import dataclass

from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.library.writer import Writer

SHORT_ROW = 64  # elements: rows this short are written whole, one after the other (cpu)


@dataclass
class Piece:
    """A piece as rows, each of which is a run in the result; `lines` declare x and y, where row o of both starts."""

    number: int
    rows: int
    run: int
    step: int  # from one element of a row to the next
    lines: list[str]


def write(w: Writer) -> KernelSource:
    outer, length, inner = w.node.shape
    cpu = w.target.kind == "cpu"
    group = 1 if cpu else w.target.group_size
    work = outer * length * inner
    groups = max(1, min(w.target.work_items, work // 1024)) if cpu else min(w.target.max_groups, -(-work // group))
    items = groups * group
    lines = [f"const {w.index} item = get_group_id(0)" + ("" if cpu else f"*{group} + get_local_id(0)") + ";"]
    pieces, start = [], 0
    for number, source in enumerate(w.node.src):
        pieces.append(_piece(w, number, start))
        start += source.shape[1]
    short = length * inner <= SHORT_ROW and outer >= 4 * items and all(piece.rows == outer for piece in pieces)
    if cpu and short:
        lines += _whole_rows(w, outer, items, pieces)
    else:
        for piece in pieces:
            lines += ["{", *indent((_cpu if cpu else _gpu)(w, piece, items)), "}"]
    return w.kernel(lines, groups, group)


def _piece(w: Writer, number: int, start: int) -> Piece:
    _, length, inner = w.node.shape
    outer, own, _ = w.node.src[number].shape
    across, along, within = w.strides(number)
    if inner == 1 or along == inner * within:
        lines = [
            f"{w.pointer_type(number)} x = {w.pointer(number)} + o*{across};",
            f"{_buffer_type(w)} y = {w.output()} + (o*{length * inner} + {start * inner});",
        ]
        return Piece(number, outer, own * inner, along if inner == 1 else within, lines)
    lines = [  # a run for each k only
        f"{w.pointer_type(number)} x = {w.pointer(number)} + o / {own} * {across} + o % {own} * {along};",
        f"{_buffer_type(w)} y = {w.output()} + (o / {own} * {length * inner} + (o % {own} + {start})*{inner});",
    ]
    return Piece(number, outer * own, inner, within, lines)


def _buffer_type(w: Writer) -> str:
    return f"__global {w.node.dtype.storage}*"


def _dealt(w: Writer, rows: int, items: int, body: list[str]) -> list[str]:
    """A loop over an equal share of the rows."""
    share = -(-rows // items)
    head = f"for ({w.index} o = item*{share}; o < min((item + 1)*{share}, ({w.index}){rows}); ++o) {{"
    return [head, *indent(body), "}"]


def _whole_rows(w: Writer, rows: int, items: int, pieces: list[Piece]) -> list[str]:
    body = []
    for piece in pieces:
        body += ["{", *indent([*piece.lines, f"{w.index} c = 0;", *_copy(w, piece, str(piece.run))]), "}"]
    return _dealt(w, rows, items, body)


def _cpu(w: Writer, piece: Piece, items: int) -> list[str]:
    """Whole rows where there are many, else equal parts of what all rows hold."""
    index, rows, run = w.index, piece.rows, piece.run
    if rows >= 4 * items or items == 1:
        return _dealt(w, rows, items, [*piece.lines, f"{index} c = 0;", *_copy(w, piece, str(run))])
    share = -(-rows * run // (items * 64)) * 64
    return [
        f"const {index} last = min((item + 1)*{share}, ({index}){rows * run});",
        f"for ({index} e = item*{share}; e < last; ) {{",
        f"  const {index} o = e / {run}, left = e % {run}, end = min(({index}){run}, left + last - e);",
        *indent([*piece.lines, f"{index} c = left;", *_copy(w, piece, "end")]),
        "  e += end - left;",
        "}",
    ]


def _copy(w: Writer, piece: Piece, end: str) -> list[str]:
    """Elements c .. end of a row."""
    lanes = w.target.lanes(piece.run)
    lines = []
    if piece.step == 1 and lanes > 1:
        move = w.store_at("y", "c", w.load(piece.number, "x", "c", lanes=lanes), lanes)
        lines.append(f"for (; c + {lanes} <= {end}; c += {lanes}) {move}")
    move = w.store_at("y", "c", w.load(piece.number, "x", f"c*{piece.step}"))
    return [*lines, f"for (; c < {end}; ++c) {move}"]


def _gpu(w: Writer, piece: Piece, items: int) -> list[str]:
    """Neighbouring work-items copy neighbouring elements."""
    return [
        f"for ({w.index} e = item; e < {piece.rows * piece.run}; e += {items}) {{",
        f"  const {w.index} o = e / {piece.run}, c = e % {piece.run};",
        *indent([*piece.lines, w.store_at("y", "c", w.load(piece.number, "x", f"c*{piece.step}"))]),
        "}",
    ]
