"""The two kinds of code: `cpu` (fat work-items, explicit vectors) and `gpu` (work-groups, local memory)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netcl.core.device import Device
from netcl.core.pocl import cpu_flags

TURNS = 64  # of a loop after which a running sum is put aside, so that long float32 sums stay accurate


@dataclass(frozen=True)
class Target:
    """How kernels are cut for one device."""

    kind: str  # cpu, gpu
    work_items: int  # cpu: fat work-items in a launch, about cores x 4
    work_per_item: int  # elements that make another work-item worth its start
    group_size: int  # gpu: work-items in a group
    max_groups: int  # gpu: groups in a launch; more work loops
    vendor: str = ""  # what tile sizes are looked up by, see tiles.py: lower case, "" where it does not matter
    architecture: str = ""  # cpu: avx512, avx2, neon
    device: str = ""
    doubles: bool = False  # cpu: whether the totals of float32 sums are doubles
    bf16_dot: bool = False  # cpu: pairs of bfloat16 are multiplied and added at once

    def lanes(self, size: int) -> int:
        """Width of the vectors over a loop of `size` turns: 16 where that many are, else the next smaller power."""
        for lanes in (16, 8, 4, 2):
            if size >= lanes:
                return lanes
        return 1

    def index_type(self, reaches: Iterable[int]) -> str:
        """The C type of offsets, none of which is beyond the largest of `reaches`. A loop's variable ends up to one
        step behind them: a vector or a tile, or, where all work-items go through a loop in step, a block of turns of
        them all."""
        step = 2**16 if self.kind == "cpu" else max(2**16, self.max_groups * self.group_size * TURNS)
        return "long" if max(reaches) >= 2**31 - step else "int"


def target_for(device: Device) -> Target:
    """The Target of a device (its `target`, compute units and limits)."""
    units = device.capabilities.compute_units
    group = min(256, device.capabilities.max_work_group_size)
    return Target(
        kind=device.target,
        work_items=units * 4,
        work_per_item=8192,
        group_size=1 << (group.bit_length() - 1),
        max_groups=max(64, units * 16),
        vendor=device.cl_device.vendor.strip().lower(),
        architecture=cpu_architecture(cpu_flags()) if device.kind == "cpu" else "",
        device=device.name.lower(),
        doubles=device.target == "cpu" and device.capabilities.fp64,
        bf16_dot=device.capabilities.bf16_dot,
    )


def cpu_architecture(flags: frozenset[str]) -> str:
    """The vector instructions that decide tile sizes."""
    if "avx512f" in flags:
        return "avx512"
    if "avx2" in flags:
        return "avx2"
    return "neon" if "asimd" in flags else ""
