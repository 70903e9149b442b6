"""Errors of losses in units in the last place, netcl's and PyTorch's, both in float32, against PyTorch in float64.

benchmarks/accuracy.py prints them, test_accuracy.py compares them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import loss_cases as lc
import numpy as np

import netcl as nc
import netcl.nn.functional as F

PARTS = ("each", "mean", "gradient")
CASES = [lc.Case("cross_entropy", lc.classes), *lc.ALL]


def units(found: np.ndarray, exact: np.ndarray, by_row: bool = False) -> np.ndarray:
    """Errors in units in the last place, of each element or of its row's largest.

    What float32 cannot hold has to be infinite, what is not a number has to be none: no error then, else infinite.
    """
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        size = np.where(np.isfinite(rounded), np.abs(exact), 0.0)
        if by_row and size.ndim:
            largest = size.max(-1, keepdims=True, initial=0.0)
            largest = np.where(largest == 0, 1e-9, largest)  # slopes cancel: the reference rounds too
            size = np.broadcast_to(largest, size.shape)
        unit = np.spacing(np.maximum(size.astype(np.float32), np.float32(1e-37))).astype(np.float64)
        error = np.abs(found.astype(np.float64) - exact) / unit
        same = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
    error = np.where(np.isfinite(rounded), error, np.where(same, 0.0, np.inf))
    return np.where(np.isnan(error), np.inf, error)


# ---- inputs ------------------------------------------------------------------------------------------------------

UNBOUNDED = (lc.pair, lc.classes, lc.signed, lc.two_and_signs, lc.rows_and_signs, lc.triplet, lc.logits, lc.label_lists)
SCORES = (lc.classes, lc.distributions)


def of_all_magnitudes(x: np.ndarray, draws: Any) -> np.ndarray:
    """Each row at a magnitude of its own, 1e-30 to 1e30."""
    scales = 10.0 ** np.linspace(-30, 30, len(x))
    return x * draws.permutation(scales).reshape(-1, *[1] * (x.ndim - 1))


def of_ten_thousand(x: np.ndarray, draws: Any) -> np.ndarray:
    return x + draws.choice([-1e4, 1e4], x.shape)


VARIANTS: dict[str, tuple[tuple[int, int], Callable | None, Callable[[lc.Case], bool]]] = {
    "plain": ((64, 100), None, lambda case: True),
    "1e-30 .. 1e30": ((61, 100), of_all_magnitudes, lambda case: case.make in UNBOUNDED),
    "+-1e4": ((64, 100), of_ten_thousand, lambda case: case.make in UNBOUNDED),
    "one row": ((1, 100), None, lambda case: True),
    "one class": ((100, 1), None, lambda case: True),
    "C = 200,000": ((2, 200_000), None, lambda case: case.make is not lc.label_lists),
    "N = 1,000,000": ((1_000_000, 3), None, lambda case: True),
}


DRAWS = {"plain": 40, "one class": 100, "C = 200,000": 5, "N = 1,000,000": 1}  # 20 for the others
FEW_ROWS = ("one row", "one class", "C = 200,000", "N = 1,000,000")  # or few draws
FEW = (1.5, 0.75)


def inputs_of(case: lc.Case, variant: str, seed: int) -> tuple[tuple, dict[str, Any]]:
    """Arrays that float32 holds exactly, so that all three start from the same numbers."""
    (n, c), change, _ = VARIANTS[variant]
    inputs, options = lc.arrays(case, n, c, seed)
    if change is not None:
        draws = np.random.default_rng(seed)
        count = {lc.triplet: 3, lc.pair: 2, lc.two_and_signs: 2, lc.rows_and_signs: 2}.get(case.make, 1)
        inputs = (*(change(x, draws) for x in inputs[:count]), *inputs[count:])
    return tuple(map(held, inputs)), {k: held(v) for k, v in options.items()}


def held(x: Any) -> Any:
    """As float32 holds it."""
    return x.astype(np.float32).astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


# ---- errors ------------------------------------------------------------------------------------------------------


def results(torch: Any, case: lc.Case, inputs: tuple, options: dict, side: str, dtype: str) -> dict[str, np.ndarray]:
    """Each loss, their mean, and the gradient of their sum."""
    module, functional = (nc, F) if side == "netcl" else (torch, torch.nn.functional)
    if dtype == "float64" and case.name == "soft_margin_loss":  # PyTorch's overflows; the same in another way
        return results_of_soft_margin(torch, inputs)
    losses, given = lc.run(module, functional, case, inputs, options, "none", dtype)
    losses.sum().backward()
    mean, _ = lc.run(module, functional, case, inputs, options, "mean", dtype)
    return {"each": losses.detach().numpy(), "mean": mean.detach().numpy(), "gradient": given[0].grad.numpy()}


def results_of_soft_margin(torch: Any, inputs: tuple) -> dict[str, np.ndarray]:
    x, y = torch.tensor(inputs[0], requires_grad=True), torch.tensor(inputs[1])
    losses = torch.nn.functional.binary_cross_entropy_with_logits(x * y, torch.ones_like(x), reduction="none")
    losses.sum().backward()
    return {"each": losses.detach().numpy(), "mean": losses.detach().mean().numpy(), "gradient": x.grad.numpy()}


def errors(torch: Any, case: lc.Case, variant: str = "plain") -> dict[str, list[tuple[float, float]]]:
    """By part: netcl's and PyTorch's (largest, mean) error over some draws."""
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(DRAWS.get(variant, 20)):
            inputs, options = inputs_of(case, variant, seed)
            exact = results(torch, case, inputs, options, "torch", "float64")
            for side in ("netcl", "torch"):
                for part, value in results(torch, case, inputs, options, side, "float32").items():
                    found.setdefault((part, side), []).append(units(value, exact[part], part == "gradient").ravel())
    joined = {key: np.concatenate(parts) for key, parts in found.items()}
    sides = ("netcl", "torch")
    return {p: [(float(joined[p, s].max()), float(joined[p, s].mean())) for s in sides] for p in PARTS}


LUCK = (0.14, 0.02)  # of the largest error, which other draws change by more, and of the mean


def no_larger(ours: tuple[float, float], theirs: tuple[float, float], part: str, variant: str) -> bool:
    """Whether netcl's errors (largest, mean) are no larger than PyTorch's by 5 % and LUCK.

    Luck rounds up or down: of few rows, and of the mean of the losses, which is one number for each draw, errors of a
    unit say nothing. Above 100 units terms cancel, and the largest error is that of the one element nearest to 0: then
    means are compared."""
    floor = FEW if variant in FEW_ROWS or part == "mean" else (0.0, 0.0)
    if part == "mean" and DRAWS.get(variant) == 1:  # one number
        floor = FEW[:1] * 2
    largest = theirs[0] if theirs[0] < 100 else np.inf
    return all(a <= max(b * 1.05 + m, f) for a, b, m, f in zip(ours, (largest, theirs[1]), LUCK, floor, strict=True))
