"""How exact the losses are: errors of netcl and of PyTorch, both in float32, against PyTorch in float64.

Errors are in units in the last place of the exact result: 0.5 is what rounding alone may cost. This is no timing.

    python benchmarks/accuracy.py            # prints the table
    python benchmarks/accuracy.py --write    # and puts it into benchmarks/results/accuracy.md
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import harness
import netcl as nc
import netcl.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "losses"))
import loss_cases

ROWS, COLUMNS = 256, 100
TITLE = "Accuracy of losses"
NOTE = (
    f"Errors in units in the last place (ulp) against float64, of float32 losses of {ROWS} x {COLUMNS} elements, each "
    "element's or row's loss by itself (`none`), all of them (`mean`), and the gradient of their sum. Below 0.5 is as "
    "good as rounding. A gradient's error is taken relative to its largest element in the row where elements nearly "
    "cancel, as in softmax - 1."
)


def units(found: np.ndarray, exact: np.ndarray, by_row: bool = False) -> np.ndarray:
    """Errors in units in the last place, of each element or of its row's largest."""
    size = np.abs(exact)
    if by_row:
        size = np.broadcast_to(size.max(-1, keepdims=True), size.shape)
    unit = np.spacing(np.maximum(size.astype(np.float32), np.float32(1e-37))).astype(np.float64)
    return np.abs(found.astype(np.float64) - exact) / unit


def results(case: Any, inputs: tuple, options: dict, side: str, dtype: str) -> dict[str, np.ndarray]:
    """Each loss, their mean, and the gradient of their sum."""
    module, functional = (nc, F) if side == "netcl" else (torch, torch.nn.functional)
    losses, given = loss_cases.run(module, functional, case, inputs, options, "none", dtype)
    losses.sum().backward()
    mean, _ = loss_cases.run(module, functional, case, inputs, options, "mean", dtype)
    return {
        "each": losses.detach().numpy(),
        "mean": mean.detach().numpy(),
        "gradient": given[0].grad.numpy(),
    }


def rounded(x: Any) -> Any:
    """As float32 holds it, so that all three start from the same numbers."""
    return x.astype(np.float32).astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def rows() -> list[str]:
    lines = [
        "| loss | of | netcl max | netcl mean | PyTorch max | PyTorch mean |",
        "|---|---|---:|---:|---:|---:|",
    ]
    plain = loss_cases.Case("cross_entropy", loss_cases.classes)
    for case in [plain, *loss_cases.ALL]:
        inputs, options = loss_cases.arrays(case, ROWS, COLUMNS)
        inputs, options = tuple(map(rounded, inputs)), {k: rounded(v) for k, v in options.items()}
        exact = results(case, inputs, options, "torch", "float64")
        found = {side: results(case, inputs, options, side, "float32") for side in ("netcl", "torch")}
        for part, truth in exact.items():
            errors = [units(found[side][part], truth, part == "gradient") for side in ("netcl", "torch")]
            shown = " | ".join(f"{e.max():.2f} | {e.mean():.3f}" for e in errors)
            lines.append(f"| `{case.label}` | {part} | {shown} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/accuracy.md")
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        device = nc.current_device()
        where = f"netcl on {device.name} ({device.platform_name}), PyTorch {torch.__version__}."
        text = "\n".join([f"# {TITLE}", "", NOTE, "", where, "", *rows(), ""])
    print(text)
    if options.write:
        harness.keep("accuracy", text)


if __name__ == "__main__":
    main()
