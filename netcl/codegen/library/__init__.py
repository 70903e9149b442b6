"""Family 3, library kernels: few, hand-written, one node and one launch each.

A library primitive is of kind "library" in the table, and has a writer here: a function that puts the kernel's text
together with the help of `Writer`. The scheduler gives each such node a launch of its own; its operands are in memory,
at any strides, apart from a Python number (a check's site), which is an argument. What takes several launches (a sort,
say) is a composite of several such nodes.
"""

from __future__ import annotations

from collections.abc import Callable

from netcl.codegen.ir import KernelSource, Layout, Node
from netcl.codegen.library import compact, concat, ctc, radix_sort, scan, scatter, search, tile_sort, top
from netcl.codegen.library.writer import Writer
from netcl.codegen.targets import Target

WRITERS: dict[str, Callable[[Writer], KernelSource]] = {
    "compact": compact.write,
    "concat": concat.write,
    "ctc_shares": ctc.write_shares,
    "ctc_states": ctc.write_states,
    "digit_counts": radix_sort.write_counts,
    "inverse": top.write_inverse,
    "merge_runs": tile_sort.write_merge,
    "place_by_digit": radix_sort.write_placed,
    "recurrence": scan.write_recurrence,
    "scan": scan.write,
    "scan_totals": scan.write_totals,
    "scatter": scatter.write,
    "search": search.write,
    "sort_blocks": tile_sort.write_blocks,
    "sort_rows": radix_sort.write_rows,
    "top_words": top.write,
}


def generate(node: Node, bindings: dict[Node, Layout], target: Target) -> KernelSource:
    return WRITERS[node.op](Writer(node, bindings, target))
