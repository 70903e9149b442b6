"""Sorting words (see graph.sort_words) on the gpu target: tiles in local memory, then passes that merge pairs of runs.

A tile holds as many segments as fit, each a row or a block of one, filled up with the largest word. Segments are sorted
by Batcher's bitonic network: every work-item passes the same barriers. A merge pass gives each work-item a few places
of the result; it finds by bisection how many words of each run come before them.
"""

from __future__ import annotations

from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.library.writer import Writer

TILE = 2048  # words: 16 KiB of local memory, half of what every device has
PLACES = 16  # of the result that a work-item merges


def write_blocks(w: Writer) -> KernelSource:
    """Each row cut into blocks of node.arg words (a power of two, at most TILE), each sorted by itself."""
    rows, length = w.node.shape
    block, group = w.node.arg, w.target.group_size
    blocks = -(-length // block)
    tiles = -(-rows * blocks * block // TILE)
    groups = min(tiles, w.target.max_groups)
    strides = w.strides(0)
    decode = [
        f"const {w.index} segment = tile_number*{TILE // block} + n / {block};",
        f"const {w.index} row = segment / {blocks}, k = segment % {blocks} * {block} + n % {block};",
        f"const int inside = row < {rows} && k < {length};",
    ]
    read = f"{w.pointer(0)}[row*{strides[0]} + k*{strides[1]}]"
    body = [
        f"for (int n = lane; n < {TILE}; n += {group}) {{",
        *indent(decode),
        f"  tile[n] = inside ? (ulong){read} : ULONG_MAX;",
        "}",
        "barrier(CLK_LOCAL_MEM_FENCE);",
        f"for (int run = 2; run <= {block}; run <<= 1)",
        "  for (int reach = run >> 1; reach > 0; reach >>= 1) {",
        f"    for (int n = lane; n < {TILE // 2}; n += {group}) {{",
        "      const int low = (n / reach)*2*reach + n % reach, high = low + reach;",
        f"      const int down = (low & run & {block - 1}) != 0;",
        "      const ulong a = tile[low], b = tile[high];",
        "      tile[low] = down ? max(a, b) : min(a, b);",
        "      tile[high] = down ? min(a, b) : max(a, b);",
        "    }",
        "    barrier(CLK_LOCAL_MEM_FENCE);",
        "  }",
        f"for (int n = lane; n < {TILE}; n += {group}) {{",
        *indent(decode),
        f"  if (inside) {w.output()}[row*{length} + k] = (long)tile[n];",
        "}",
        "barrier(CLK_LOCAL_MEM_FENCE);",
    ]
    lines = [
        f"__local ulong tile[{TILE}];",
        "const int lane = get_local_id(0);",
        f"for ({w.index} tile_number = get_group_id(0); tile_number < {tiles}; tile_number += {groups}) {{",
        *indent(body),
        "}",
    ]
    return w.kernel(lines, groups, group, flops=rows * length * block.bit_length() ** 2)


def write_merge(w: Writer) -> KernelSource:
    """Runs of node.arg sorted words, merged two by two. A run may end early or be missing at the end of a row."""
    rows, length = w.node.shape
    run, group = w.node.arg, w.target.group_size
    pieces = -(-length // PLACES)
    units = rows * pieces
    groups = min(-(-units // group), w.target.max_groups)
    strides, index = w.strides(0), w.index
    a, b = (f"(ulong)x[({start} + {{}})*{strides[1]}]" for start in ("left", "right"))
    body = [
        f"const {index} row = unit / {pieces}, first = unit % {pieces} * {PLACES};",
        f"{w.pointer_type(0)} x = {w.pointer(0)} + row*{strides[0]};",
        f"const {index} left = first / {2 * run} * {2 * run}, right = min(({index}){length}, left + {run});",
        f"const {index} size_a = right - left, size_b = min(({index}){length}, right + {run}) - right;",
        f"const {index} before = first - left;",
        f"{index} low = max(({index})0, before - size_b), high = min(before, size_a);",
        "while (low < high) {",
        f"  const {index} middle = (low + high) / 2;",
        f"  if ({a.format('middle')} < {b.format('before - middle - 1')}) low = middle + 1; else high = middle;",
        "}",
        f"{index} i = low, j = before - low;",
        f"const {index} end = min(({index}){length}, first + {PLACES});",
        f"for ({index} k = first; k < end; ++k) {{",
        f"  const int from_a = j >= size_b || (i < size_a && {a.format('i')} < {b.format('j')});",
        f"  const ulong word = from_a ? {a.format('i')} : {b.format('j')};",
        "  i += from_a; j += !from_a;",
        f"  {w.output()}[row*{length} + k] = (long)word;",
        "}",
    ]
    start = f"get_group_id(0)*{group} + get_local_id(0)"
    lines = [f"for ({index} unit = {start}; unit < {units}; unit += {groups * group}) {{", *indent(body), "}"]
    return w.kernel(lines, groups, group, flops=rows * length)
