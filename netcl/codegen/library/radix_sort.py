"""Sorting words (see graph.sort_words) on the cpu target: by digits of 8 bits, from the lowest, each pass stable.

Many rows: a work-item sorts whole rows, in the two halves of the result in turn. Few long rows: each pass is two
launches. In the first one the work-items count the digits in their chunks of a row, in the second each finds from all
the counts where its words belong, and puts them there.
"""

from __future__ import annotations

from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.library.writer import Writer

SHORT = 32  # words: shorter rows are sorted by insertion


def write_rows(w: Writer) -> KernelSource:
    """Rows of words, sorted by the bits from first to last of node.arg."""
    rows, length = w.node.src[0].shape
    first, last = w.node.arg
    shifts = list(range(first, last, 8))
    items = max(1, min(rows, w.target.work_items, rows * length // 1024))
    strides = w.strides(0)
    head = [
        f"{w.pointer_type(0)} x = {w.pointer(0)} + row*{strides[0]};",
        f"__global long* sorted = {w.output()} + row*{length};",
    ]
    body = _insertion(w, length) if length <= SHORT else _passes(w, rows, length, shifts)
    lines = [
        f"for ({w.index} row = get_group_id(0); row < {rows}; row += {items}) {{",
        *indent([*head, *body]),
        "}",
    ]
    return w.kernel(lines, items, flops=rows * length * len(shifts))


def _insertion(w: Writer, length: int) -> list[str]:
    return [
        f"for (int k = 0; k < {length}; ++k) {{",
        f"  const ulong word = (ulong)x[k*{w.strides(0)[1]}];",
        "  int place = k;",
        "  for (; place > 0 && (ulong)sorted[place - 1] > word; --place) sorted[place] = sorted[place - 1];",
        "  sorted[place] = (long)word;",
        "}",
    ]


def _passes(w: Writer, rows: int, length: int, shifts: list[int]) -> list[str]:
    """All digits are counted in one go; a digit that is the same everywhere needs no pass."""
    index = w.index
    lines = [
        f"__global long* spare = sorted + (long){rows * length};",
        f"uint count[{256 * len(shifts)}];",
        f"for (int n = 0; n < {256 * len(shifts)}; ++n) count[n] = 0;",
        f"for ({index} k = 0; k < {length}; ++k) {{",
        f"  const ulong word = (ulong)x[k*{w.strides(0)[1]}];",
        "  sorted[k] = (long)word;",
        *(f"  ++count[{256 * n} + ((word >> {shift}) & 255)];" for n, shift in enumerate(shifts)),
        "}",
        "__global long *from = sorted, *to = spare;",
    ]
    for n, shift in enumerate(shifts):
        lines += [
            f"if (count[{256 * n} + (((ulong)sorted[0] >> {shift}) & 255)] < {length}) {{",
            "  uint before = 0;",
            f"  for (int n = {256 * n}; n < {256 * (n + 1)}; ++n) "
            "{ const uint own = count[n]; count[n] = before; before += own; }",
            f"  for ({index} k = 0; k < {length}; ++k) {{",
            "    const ulong word = (ulong)from[k];",
            f"    to[count[{256 * n} + ((word >> {shift}) & 255)]++] = (long)word;",
            "  }",
            "  __global long* swap = from; from = to; to = swap;",
            "}",
        ]
    return [*lines, f"if (from != sorted) for ({index} k = 0; k < {length}; ++k) sorted[k] = from[k];"]


def _chunks(w: Writer, rows: int, length: int, chunk: int, body: list[str]) -> tuple[list[str], int]:
    """A loop over this work-item's chunks (row, number, begin, end) of the first operand's rows."""
    number = -(-length // chunk)
    units = rows * number
    items = min(units, w.target.work_items)
    decode = [
        f"const {w.index} row = unit / {number}, number = unit % {number};",
        f"const {w.index} begin = number*{chunk}, end = min(({w.index}){length}, begin + {chunk});",
        f"{w.pointer_type(0)} x = {w.pointer(0)} + row*{w.strides(0)[0]};",
    ]
    loop = f"for ({w.index} unit = get_group_id(0); unit < {units}; unit += {items}) {{"
    return [loop, *indent([*decode, *body]), "}"], items


def _digit(shift: int) -> str:
    return f"((word >> {shift}) & 255)"


def write_counts(w: Writer) -> KernelSource:
    rows, length = w.node.src[0].shape
    shift, chunk = w.node.arg
    body = [
        "uint count[256];",
        "for (int n = 0; n < 256; ++n) count[n] = 0;",
        f"for ({w.index} k = begin; k < end; ++k) {{",
        f"  const ulong word = (ulong)x[k*{w.strides(0)[1]}];",
        f"  ++count[{_digit(shift)}];",
        "}",
        f"for (int n = 0; n < 256; ++n) {w.store('unit*256 + n', '(int)count[n]')}",
    ]
    lines, items = _chunks(w, rows, length, chunk, body)
    return w.kernel(lines, items, flops=rows * length)


def write_placed(w: Writer) -> KernelSource:
    """A word's place: behind all words with smaller digits, behind those of the same digit in the chunks before."""
    rows, length = w.node.src[0].shape
    shift, chunk = w.node.arg
    number = -(-length // chunk)
    body = [
        f"{w.pointer_type(1)} counts = {w.pointer(1)} + row*{number * 256};",
        "uint place[256];",
        "uint before = 0;",
        "for (int n = 0; n < 256; ++n) {",
        "  uint own = 0;",
        f"  for (int other = 0; other < {number}; ++other) {{",
        "    if (other == number) place[n] = before + own;",
        "    own += (uint)counts[other*256 + n];",
        "  }",
        "  before += own;",
        "}",
        f"__global long* sorted = {w.output()} + row*{length};",
        f"for ({w.index} k = begin; k < end; ++k) {{",
        f"  const ulong word = (ulong)x[k*{w.strides(0)[1]}];",
        f"  sorted[place[{_digit(shift)}]++] = (long)word;",
        "}",
    ]
    lines, items = _chunks(w, rows, length, chunk, body)
    return w.kernel(lines, items, flops=rows * length)
