"""Every loss with its options and reductions: values, gradients and second derivatives equal PyTorch's."""

from __future__ import annotations

from typing import Any

import loss_cases as lc
import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn

FAMILIES = {"regression": lc.REGRESSION, "binary": lc.BINARY, "likelihood": lc.LIKELIHOOD, "pairs": lc.PAIRS}


def agree(actual: Any, expected: Any, what: str, rtol: float, atol: float = 0.0) -> None:
    got, want = actual.detach().double().numpy(), expected.detach().double().numpy()
    assert got.shape == want.shape, what
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, equal_nan=True, err_msg=what)


def compare(torch: Any, case: lc.Case, reduction: str, n: int, c: int, seed: int, dtype: str = "float32") -> None:
    inputs, options = lc.arrays(case, n, c, seed)
    ours, a = lc.run(nc, F, case, inputs, options, reduction, dtype)
    exact, b = lc.run(torch, torch.nn.functional, case, inputs, options, reduction, "float64")
    what = f"{case.label}, {reduction}, {dtype}"
    tight, loose = (2e-6, 2e-5) if dtype == "float32" else (1e-12, 1e-10)
    scale = float(np.abs(exact.detach().numpy()).max()) if exact.numel() else 0.0
    agree(ours, exact, what, tight, tight * max(scale, 1.0))
    start = np.random.default_rng(seed + 1).uniform(0.5, 2.0, tuple(exact.shape))
    ours.backward(nc.tensor(start).to(ours.dtype))
    exact.backward(torch.tensor(start))
    for number, (x, y) in enumerate(zip(a[: case.differentiable], b, strict=False)):
        size = float(y.grad.abs().max()) if y.numel() else 0.0
        agree(x.grad, y.grad, f"{what}, gradient {number}", loose, tight * max(size, 1.0))
        assert x.grad.dtype is x.dtype


@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_equal_pytorchs(place, torch, family):
    for seed, case in enumerate(FAMILIES[family]):
        for reduction in case.reductions:
            compare(torch, case, reduction, 6, 5, seed)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_equal_pytorchs_operation_by_operation(torch, family):
    with nc.eager():
        for seed, case in enumerate(FAMILIES[family]):
            compare(torch, case, case.reductions[seed % 3 % len(case.reductions)], 6, 5, seed)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_of_float64_are_exact(torch, family):
    for seed, case in enumerate(FAMILIES[family]):
        compare(torch, case, case.reductions[0], 6, 5, seed, "float64")


@pytest.mark.parametrize("case", lc.ALL, ids=lambda case: case.label)
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
