"""Losses of random shapes, views, options and numbers against PyTorch: few examples here, many with -m long."""

from __future__ import annotations

import warnings
from typing import Any

import loss_cases as lc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netcl as nc
import netcl.nn.functional as F

SIZES = [(1, 1), (3, 4), (5, 17), (2, 33)]  # few: each is a kernel to compile
VIEWS = ["plain", "transposed", "every second", "reversed"]


def viewed(module: Any, x: np.ndarray, view: str) -> Any:
    """The array as a tensor whose memory is laid out in another way."""
    kind = module.float32 if x.dtype.kind == "f" else None
    if view == "transposed" and x.ndim == 2:
        return module.tensor(x.T.copy(), dtype=kind).t()
    if view == "every second":
        return module.tensor(np.repeat(x, 2, 0), dtype=kind)[::2]
    if view == "reversed":
        return module.tensor(x[::-1].copy(), dtype=kind).flip(0)
    return module.tensor(x, dtype=kind)


def check(torch: Any, case: lc.Case, size: tuple[int, int], seed: int, view: str, reduction: str) -> None:
    inputs, options = lc.arrays(case, *size, seed)
    found = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        tensors = [viewed(module, x, view) for x in inputs]
        leaves = [x.requires_grad_() if n < case.differentiable and x.is_leaf else x for n, x in enumerate(tensors)]
        made = {k: viewed(module, v, "plain") if isinstance(v, np.ndarray) else v for k, v in options.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = getattr(functional, case.name)(*leaves, **made, reduction=reduction)
        loss.sum().backward()
        found.append([loss.detach().numpy(), *(x.grad.numpy() for x in leaves[: case.differentiable])])
    for ours, theirs in zip(*found, strict=True):
        scale = max(1.0, float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)))
        np.testing.assert_allclose(
            ours, theirs, rtol=3e-5, atol=3e-6 * scale, err_msg=f"{case.label}, {size}, {seed}, {view}, {reduction}"
        )


examples = {
    "case": st.sampled_from(lc.ALL), "size": st.sampled_from(SIZES), "seed": st.integers(0, 10**6),
    "view": st.sampled_from(VIEWS), "reduction": st.sampled_from(["mean", "sum", "none"]),
}  # fmt: skip
quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


@settings(max_examples=12, **quiet)
@given(**examples)
def test_some_losses_equal_pytorchs(torch, case, size, seed, view, reduction):
    check(torch, case, size, seed, view, reduction)


@pytest.mark.long
@pytest.mark.parametrize("case", lc.ALL, ids=lambda case: case.label)
def test_each_loss_equals_pytorchs_in_many_examples(torch, case):
    @settings(max_examples=200, **quiet)
    @given(**{name: strategy for name, strategy in examples.items() if name != "case"})
    def many(size: Any, seed: int, view: str, reduction: str) -> None:
        check(torch, case, size, seed, view, reduction)

    many()
