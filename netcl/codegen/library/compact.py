"""The places where a running count goes up: out[count[k] - 1] = k wherever count[k] is more than the one before.

No two places have the same number, so the places are dealt out to work-items, and each is written where it belongs.
"""

from __future__ import annotations

from netcl.codegen.ir import KernelSource
from netcl.codegen.library.writer import Writer


def write(w: Writer) -> KernelSource:
    (length,) = w.node.src[0].shape
    (stride,) = w.strides(0)
    cpu = w.target.kind == "cpu"
    group = 1 if cpu else w.target.group_size
    if cpu:
        items = max(1, min(w.target.work_items, length // 1024))
        share = -(-length // items)
        lines = [
            f"const {w.index} begin = get_group_id(0)*{share}, end = min(begin + {share}, ({w.index}){length});",
            "if (begin >= end) return;",
            f"{w.pointer_type(0)} count = {w.pointer(0)};",
            f"long before = begin ? count[(begin - 1)*{stride}] : 0;",
            f"const long last = min(count[(end - 1)*{stride}], (long){w.node.shape[0]});",
            f"for ({w.index} k = begin; k < end; ++k) {{  // the last one that is written to a place is the right one",
            f"  if (before < last) {w.store(f'({w.index})before', 'k')}",
            f"  before = count[k*{stride}];",
            "}",
        ]
        return w.kernel(lines, items, flops=length)
    items = min(w.target.max_groups, -(-length // group)) * group
    lines = [
        f"{w.pointer_type(0)} count = {w.pointer(0)};",
        f"for ({w.index} k = get_group_id(0)*{group} + get_local_id(0); k < {length}; k += {items}) {{",
        f"  const long now = count[k*{stride}], before = k ? count[(k - 1)*{stride}] : 0;",
        f"  if (now > before && now <= {w.node.shape[0]}) {w.store(f'({w.index})now - 1', 'k')}",
        "}",
    ]
    return w.kernel(lines, items // group, group, flops=length)
