"""Draws the figure of training.md: python docs/training_figures.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import netcl as nc
from netcl.data import DataLoader, TensorDataset, prefetch

ROWS, WIDTH, STEPS, SHOWN = 16384, 64, 14, 8


def step(x: nc.Tensor, weight: nc.Tensor) -> nc.Tensor:
    for _ in range(6):
        x = (x @ weight).tanh()
    return x.sum()


def spans(loader: object) -> list[nc.profiler.Span]:
    """The kernels and the large copies of the last steps of a pass."""
    weight = nc.randn(WIDTH, WIDTH)
    with nc.profiler.timeline() as line:
        for (x,) in loader:
            step(x, weight).item()
    kernels = [span for span in line.spans if span.kind == "kernel"]
    begin = kernels[-SHOWN * len(kernels) // STEPS].start  # the first steps compile, and allocate
    return [s for s in line.spans if s.end > begin and (s.kind == "kernel" or s.nbytes > 1000 * WIDTH)]


def lasting(found: list[nc.profiler.Span]) -> float:
    return max(span.end for span in found) - min(span.start for span in found)


def main() -> None:
    data = np.random.default_rng(0).normal(size=(ROWS * STEPS, WIDTH)).astype(np.float32)
    loader = DataLoader(TensorDataset(data), ROWS)
    spans(loader)  # compiles
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    for axis, title, batches in zip(axes, ("without", "with prefetch"), (loader, prefetch(loader)), strict=True):
        found = min((spans(batches) for _ in range(7)), key=lasting)  # what else the machine does makes the longer ones
        begin = min(span.start for span in found)
        for row, kind, colour in ((0, "kernel", "tab:blue"), (1, "upload", "tab:orange")):
            bars = [((s.start - begin) * 1e3, (s.end - s.start) * 1e3) for s in found if s.kind == kind]
            axis.broken_barh(bars, (row - 0.4, 0.8), color=colour)
        axis.set(yticks=[0, 1], yticklabels=["kernels", "copies"], title=title)
    axis.set_xlabel("milliseconds")
    figure.savefig(Path(__file__).with_name("prefetch.png"), dpi=100)


if __name__ == "__main__":
    main()
