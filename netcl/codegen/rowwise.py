"""Family 1, map and reduce: one kernel over an iteration space of rows.

The space is `outer x inner`. Values live at three levels: *full* (outer and inner coordinates), *row* (outer only:
what is left of a full value after a reduction over inner) and *total* (a row value reduced over all of outer).
Each reduction over a row is a sweep; sweeps of one row follow each other while the row is in cache, and the results
of one are row values for the next. Totals are partial sums per work-item or group, and the last one to arrive adds
them in a fixed order, so that the whole reduction is one launch and gives the same bits every time.

Targets. `cpu`: few fat work-items, explicit vectors along the dimension that is contiguous in memory, no local
memory, no barriers. `gpu`: a work-group for each row (or a work-item for each element where nothing is reduced).
"""

from __future__ import annotations

from netcl.codegen.ir import KernelSource
from netcl.codegen.rows import Reduction, RowwiseKernel
from netcl.codegen.rows_cpu import CpuRows
from netcl.codegen.rows_gpu import GpuRows
from netcl.codegen.targets import Target

__all__ = ["Reduction", "RowwiseKernel", "generate"]


def generate(kernel: RowwiseKernel, target: Target) -> KernelSource:
    rows = GpuRows if target.kind == "gpu" else CpuRows
    return rows(kernel, target).generate()
