"""How exact the losses are: errors of netcl and of PyTorch, both in float32, against PyTorch in float64.

Errors are in units in the last place of the exact result: 0.5 is what rounding alone may cost. This is no timing.

    python benchmarks/accuracy.py            # prints the tables; about 5 minutes
    python benchmarks/accuracy.py --write    # and puts them into benchmarks/results/accuracy.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

import harness
import netcl as nc

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "losses"))
import ulp

TITLE = "Accuracy of losses"
(ROWS, COLUMNS), _, _ = ulp.VARIANTS["plain"]
NOTE = (
    f"Errors in units in the last place (ulp) against float64, of float32 losses of {ROWS} x {COLUMNS} elements, "
    f"{ulp.DRAWS['plain']} draws: each element's or row's loss by itself (`none`), all of them (`mean`, one number for "
    "each draw), and the gradient of their sum. Below 0.5 is as good as rounding. A gradient's error is taken relative "
    "to its largest element in the row where elements nearly cancel, as in softmax - 1. soft_margin_loss, which "
    "overflows in PyTorch whatever the dtype, is compared with the logistic loss."
)
OTHERS = (
    "The same for other inputs: how many of the losses have errors no larger than PyTorch's, and where they are "
    f"larger. No larger means: up to 5 %, and {ulp.LUCK[0]} ulp ({ulp.LUCK[1]} in the mean). Where rows or draws are "
    f"few, errors below {ulp.FEW[0]} ulp ({ulp.FEW[1]} in the mean) are luck. Above 100 ulp terms cancel, and the "
    "largest error is that of the one element nearest to 0: there the means are compared. On CPUs exp errs by 0.53 ulp "
    "at most, PyTorch's by 0.56 (the runtimes' own by 0.70 and 0.98). `pytest -m long tests/losses/test_accuracy.py` "
    "holds all of this; infinite, missing and ignored rows are in "
    "tests/losses/test_exactness.py."
)


known: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}


def errors(case: ulp.lc.Case, variant: str) -> dict[str, list[tuple[float, float]]]:
    """As in ulp, once for each."""
    if (case.label, variant) not in known:
        known[case.label, variant] = ulp.errors(torch, case, variant)
    return known[case.label, variant]


def rows() -> list[str]:
    lines = [
        "| loss | of | netcl max | netcl mean | PyTorch max | PyTorch mean |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for case in ulp.CASES:
        for part, (ours, theirs) in errors(case, "plain").items():
            shown = " | ".join(f"{largest:.2f} | {mean:.3f}" for largest, mean in (ours, theirs))
            lines.append(f"| `{case.label}` | {part} | {shown} |")
    return lines


def variants() -> list[str]:
    lines = ["| inputs | size | losses | each | mean | gradient | larger in |", "|---|---|---:|---:|---:|---:|---|"]
    for name, (size, _, fits) in ulp.VARIANTS.items():
        cases = [case for case in ulp.CASES if fits(case)]
        good = dict.fromkeys(ulp.PARTS, 0)
        larger = []
        for case in cases:
            for part, (ours, theirs) in errors(case, name).items():
                if ulp.no_larger(ours, theirs, part, name):
                    good[part] += 1
                    continue
                numbers = f"{ours[0]:.2f}, {ours[1]:.3f} against {theirs[0]:.2f}, {theirs[1]:.3f}"
                larger.append(f"`{case.label}`, {part}: {numbers}")
        counts = " | ".join(str(good[part]) for part in ulp.PARTS)
        lines.append(f"| {name} | {size[0]} x {size[1]} | {len(cases)} | {counts} | {'; '.join(larger)} |")
        print(f"  {lines[-1]}", file=sys.stderr)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/accuracy.md")
    options = parser.parse_args()
    device = nc.current_device()
    where = f"netcl on {device.name} ({device.platform_name}), PyTorch {torch.__version__}."
    parts = [f"# {TITLE}", "", NOTE, "", where, "", *rows(), "", "## Other inputs", "", OTHERS, "", *variants(), ""]
    text = "\n".join(parts)
    print(text)
    if options.write:
        harness.keep("accuracy", text)


if __name__ == "__main__":
    main()
