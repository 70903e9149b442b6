"""Running sums, products, maxima and minima along one axis.

out[o, k, i] = x[o, 0, i] + .. + x[o, k, i] for an operand of shape (outer, length, inner). Each work-item takes some of
the outer x inner columns and walks along them; a long row is first cut into blocks by `ops.scans`, so that there are
columns for every work-item. One read and one write of each element.
"""

from __future__ import annotations

from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.library.writer import Writer
from netcl.codegen.reductions import accumulator_dtype, combine, identity


def write(w: Writer) -> KernelSource:
    outer, length, inner = w.node.shape
    op = w.node.arg
    dtype = accumulator_dtype(op, w.node.dtype)
    strides = w.strides(0)
    columns = outer * inner
    group = 1 if w.target.kind == "cpu" else w.target.group_size
    items = min(columns, w.target.work_items if w.target.kind == "cpu" else w.target.max_groups * group)
    groups = -(-items // group)
    step = [
        f"total = {combine(op, 'total', w.load(0, 'x', f'k*{strides[1]}', dtype), dtype, 1)};",
        w.store(f"(o*{length} + k)*{inner} + i", f"({w.node.dtype.compute})total"),
    ]
    index = w.index
    lines = [
        f"const {index} item = get_group_id(0)*{group} + get_local_id(0);" if group > 1 else
        f"const {index} item = get_group_id(0);",
        f"for ({index} c = item; c < {columns}; c += {groups * group}) {{",
        f"  const {index} o = c / {inner}, i = c % {inner};",
        f"  {w.pointer_type(0)} x = {w.pointer(0)} + o*{strides[0]} + i*{strides[2]};",
        f"  {dtype.compute} total = {identity(op, dtype)};",
        f"  for ({index} k = 0; k < {length}; ++k) {{",
        *indent(step, 2),
        "  }",
        "}",
    ]
    return w.kernel(lines, groups, group, flops=outer * length * inner)
