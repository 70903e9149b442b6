"""First and second derivatives of every loss, in float64, against differences."""

from __future__ import annotations

from typing import Any

import loss_cases as lc
import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F

CASES = [*lc.ALL, *lc.OWN]
FIRST = {case.name: case for case in reversed(CASES)}  # the others, with options, take long


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if FIRST[case.name] is case else pytest.mark.long, id=case.label) for case in CASES],
)
def test_first_and_second_derivatives_agree_with_differences(case):
    inputs, options = lc.arrays(case, 2, 3, seed=5)
    options = {k: nc.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    count = case.differentiable
    rest = [nc.tensor(x) for x in inputs[count:]]
    given = tuple(nc.tensor(x, requires_grad=True) for x in inputs[:count])

    def loss(*tensors: Any) -> Any:
        return getattr(F, case.name)(*tensors, *rest, **options, reduction="none")

    nc.autograd.gradcheck(loss, given)
    weights = nc.tensor(np.random.default_rng(1).uniform(0.5, 1.5, tuple(loss(*given).shape)), requires_grad=True)
    nc.autograd.gradgradcheck(loss, given, weights)
