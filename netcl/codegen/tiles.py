"""Tile sizes of the contractions: a table with a default at every level, vendor, architecture, device.

A row of the table is found by the most specific key that it has; "" stands for any. CPUs differ by their registers
only, so their keys are architectures (the vector instructions); GPUs by vendor, and by device where it was worth it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from netcl.codegen.targets import Target

T = TypeVar("T")
Key = tuple[str, str, str]  # vendor, architecture, device; lower case


@dataclass(frozen=True)
class CpuTile:
    """The tile of sums that is held in registers, and the blocks that are held in caches.

    `shapes`: (rows, vectors) to choose from, best first. rows * vectors accumulators, `vectors` registers of B and
    one of A have to fit into the register file, and 8 accumulators are needed to hide the latency of a multiply-add.
    """

    register_bytes: int
    shapes: tuple[tuple[int, int], ...]
    depth: int = 1024  # k in a packed panel: 64 columns of float32 are 256 KB, a quarter of a second-level cache
    column_depth: int = 512  # the same where A is read down its columns: each k is another page of memory
    block_rows: int = 512  # rows whose sums wait for the next panel
    pack_rows: int = 64  # B is packed from this many rows and
    pack_depth: int = 512  # this depth on: else it is read where it lies


@dataclass(frozen=True)
class GpuTile:
    """A group of threads x threads work-items, each with rows x columns sums; `depth`: k in local memory at a time."""

    threads: int = 16
    rows: int = 4
    columns: int = 4
    depth: int = 16


# Measured on Zen 5 (2 cores, 512-bit), Intel's runtime and PoCL: 6x4 is best from 512 on, by 3 % over 8x3 and 7 % over
# 10x2; 7x4 and 8x4 spill (half the speed). The others follow from the sizes of the register files, unmeasured: 16 of
# 256 or 128 bits, and 32 of 128 bits.
CPU: dict[Key, CpuTile] = {
    ("", "avx512", ""): CpuTile(64, ((6, 4), (8, 3), (8, 2), (12, 2), (10, 2), (5, 4), (12, 1), (8, 1), (4, 4))),
    ("", "avx2", ""): CpuTile(32, ((6, 2), (4, 3), (5, 2), (4, 2), (12, 1), (10, 1), (8, 1))),
    ("", "neon", ""): CpuTile(16, ((6, 4), (8, 3), (8, 2), (12, 2), (10, 2), (5, 4), (12, 1), (8, 1), (4, 4))),
    ("", "", ""): CpuTile(16, ((6, 2), (4, 3), (5, 2), (4, 2), (12, 1), (10, 1), (8, 1))),
}
GPU: dict[Key, GpuTile] = {
    ("", "", ""): GpuTile(),
}


def lookup(table: dict[Key, T], target: Target) -> T:
    """The most specific row for a target."""
    vendor, architecture, device = target.vendor, target.architecture, target.device
    for key in (
        (vendor, architecture, device), (vendor, "", device), (vendor, architecture, ""), ("", architecture, ""),
        (vendor, "", ""),
    ):  # fmt: skip
        if key in table:
            return table[key]
    return table["", "", ""]


def cpu_shape(tile: CpuTile, rows: int, vectors: int) -> tuple[int, int]:
    """The (rows, vectors) that multiply a matrix of this many rows and vectors of columns in the fewest cycles.

    Per k a full tile takes rows * vectors multiply-adds and rows + vectors loads, two of each in a cycle, and not less
    than 4 cycles, since each sum waits for the one before it. Partial tiles cost as much as full ones. The first shape
    is taken unless another one is 3 % better.
    """
    candidates = [(min(r, rows), min(v, vectors)) for r, v in tile.shapes]
    registers = max(r * v + v for r, v in tile.shapes)
    if rows <= 4:  # wide tiles instead of high ones
        candidates += [(rows, v) for v in range(2, min(8, vectors) + 1) if rows * v + v <= registers]

    def cycles(shape: tuple[int, int]) -> float:
        r, v = shape
        handicap = 1.0 if shape == candidates[0] else 1.03
        return handicap * -(-rows // r) * -(-vectors // v) * (max(r * v / 2, (r + v) / 2, 4.0) + 0.5)

    return min(candidates, key=cycles)


def lanes_within(columns: int, most: int) -> int:
    """The widest vector that fits into so many columns."""
    return min(most, 1 << (columns.bit_length() - 1))
