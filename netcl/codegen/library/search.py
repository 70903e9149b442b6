"""Bisection: for each value, how many elements of a sorted sequence come before it.

sequence (rows or 1, length), values (rows, count). node.arg is a key of _BEHIND.
"""

from __future__ import annotations

from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.library.writer import Writer

# What makes the search go on to the left. PyTorch's searchsorted goes to the right at a NaN; "below" takes NaNs, as
# sort leaves them, for the largest.
_BEHIND = {"left": "{0} >= value", "right": "{0} > value", "below": "!({0} < value)"}


def write(w: Writer) -> KernelSource:
    rows, count = w.node.shape
    shared, length = w.node.src[0].shape
    own, group = w.node.src[1].dtype, 1 if w.target.kind == "cpu" else w.target.group_size
    total = rows * count
    if w.target.kind == "cpu":
        groups = max(1, min(w.target.work_items, total // 512))
    else:
        groups = min(-(-total // group), w.target.max_groups)
    s, v = w.strides(0), w.strides(1)
    row = "0" if shared == 1 else "row"
    element = w.load(0, "sequence", f"middle*{s[1]}")
    body = [
        f"const {w.index} row = n / {count}, k = n % {count};",
        f"{w.pointer_type(0)} sequence = {w.pointer(0)} + {row}*{s[0]};",
        f"const {own.compute} value = {w.load(1, w.pointer(1), f'row*{v[0]} + k*{v[1]}')};",
        f"{w.index} low = 0, high = {length};",
        "while (low < high) {",
        f"  const {w.index} middle = (low + high) / 2;",
        f"  if ({_BEHIND[w.node.arg].format(element)}) high = middle; else low = middle + 1;",
        "}",
        w.store("n", "(long)low"),
    ]
    start = f"get_group_id(0)*{group} + get_local_id(0)"
    lines = [f"for ({w.index} n = {start}; n < {total}; n += {groups * group}) {{", *indent(body), "}"]
    return w.kernel(lines, groups, group, flops=total * max(length, 1).bit_length())
