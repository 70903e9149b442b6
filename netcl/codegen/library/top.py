"""The smallest words of each chunk of each row, in order, on the cpu target; and the inverse of a permutation.

A work-item goes through a chunk with the best words so far at hand. Most words are behind the worst of them, which is
one comparison for eight words.
"""

from __future__ import annotations

from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.library.writer import Writer


def write(w: Writer) -> KernelSource:
    """(rows, chunks, count): the first `count` words of each chunk, filled up with the largest word there is."""
    rows, length = w.node.src[0].shape
    count, chunk = w.node.arg
    chunks = w.node.shape[1]
    units = rows * chunks
    items = min(units, w.target.work_items)
    step = w.strides(0)[1]
    put = [
        f"int place = {count - 1};",
        "for (; place > 0 && best[place - 1] > word; --place) best[place] = best[place - 1];",
        "best[place] = word;",
    ]
    one = [f"const ulong word = (ulong)x[k*{step}];", f"if (word < best[{count - 1}]) {{", *indent(put), "}"]
    eight = [
        f"if (any(as_ulong8(vload8(0, x + k)) < (ulong8)(best[{count - 1}])))",
        f"  for ({w.index} last = k + 8; k < last; ++k) {{",
        *indent(one, 2),
        "  }",
        "else k += 8;",
    ]
    body = [
        f"const {w.index} row = unit / {chunks};",
        f"{w.index} k = unit % {chunks} * {chunk};",
        f"const {w.index} end = min(({w.index}){length}, k + {chunk});",
        f"{w.pointer_type(0)} x = {w.pointer(0)} + row*{w.strides(0)[0]};",
        f"ulong best[{count}];",
        f"for (int n = 0; n < {count}; ++n) best[n] = ULONG_MAX;",
        *(["while (k + 8 <= end)", *indent(eight)] if step == 1 else []),
        "for (; k < end; ++k) {",
        *indent(one),
        "}",
        f"for (int n = 0; n < {count}; ++n) {w.output()}[unit*{count} + n] = (long)best[n];",
    ]
    lines = [f"for ({w.index} unit = get_group_id(0); unit < {units}; unit += {items}) {{", *indent(body), "}"]
    return w.kernel(lines, items, flops=rows * length)


def write_inverse(w: Writer) -> KernelSource:
    """out[o, p[o, k, i], i] = k for a p whose columns are permutations: every place is written once."""
    outer, length, inner = w.node.shape
    total, group = outer * length * inner, 1 if w.target.kind == "cpu" else w.target.group_size
    if w.target.kind == "cpu":
        groups = max(1, min(w.target.work_items, total // w.target.work_per_item))
    else:
        groups = min(-(-total // group), w.target.max_groups)
    s = w.strides(0)
    body = [
        f"const {w.index} i = n % {inner}, k = n / {inner} % {length}, o = n / {length * inner};",
        f"const {w.index} place = ({w.index}){w.load(0, w.pointer(0), f'o*{s[0]} + k*{s[1]} + i*{s[2]}')};",
        w.store(f"(o*{length} + place)*{inner} + i", "(long)k"),
    ]
    share = -(-total // groups)
    if w.target.kind == "cpu":  # neighbours stay together
        first = f"const {w.index} first = get_group_id(0)*{share}, last = min(({w.index}){total}, first + {share});"
        lines = [first, f"for ({w.index} n = first; n < last; ++n) {{", *indent(body), "}"]
    else:
        start = f"get_group_id(0)*{group} + get_local_id(0)"
        lines = [f"for ({w.index} n = {start}; n < {total}; n += {groups * group}) {{", *indent(body), "}"]
    return w.kernel(lines, groups, group)
