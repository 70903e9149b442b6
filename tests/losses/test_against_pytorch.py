"""Every loss with its options and reductions: values, gradients and second derivatives equal PyTorch's."""

from __future__ import annotations

from typing import Any

import loss_cases as lc
import numpy as np
import pytest
from references import References

import netcl as nc
import netcl.nn.functional as F

FAMILIES = {
    "classes": lc.CLASSES,
    "regression": lc.REGRESSION,
    "binary": lc.BINARY,
    "likelihood": lc.LIKELIHOOD,
    "pairs": lc.PAIRS,
    "own": lc.OWN,
}


def agree(actual: Any, expected: Any, what: str, rtol: float, atol: float = 0.0) -> None:
    got, want = actual.detach().double().numpy(), expected.detach().double().numpy()
    assert got.shape == want.shape, what
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, equal_nan=True, err_msg=what)


def recorded(torch: Any, case: lc.Case, reduction: str, seed: int, dtype: str = "float32") -> Any:
    """netcl's loss and gradient, recorded only; what is returned computes them and compares with PyTorch's."""
    inputs, options = lc.arrays(case, 6, 5, seed)
    ours, a = lc.run(nc, F, case, inputs, options, reduction, dtype)
    exact, b = lc.run(torch, References(torch), case, inputs, options, reduction, "float64")
    start = np.random.default_rng(seed + 1).uniform(0.5, 2.0, tuple(exact.shape))
    ours.backward(nc.tensor(start).to(ours.dtype))
    exact.backward(torch.tensor(start))

    def check() -> None:
        what = f"{case.label}, {reduction}, {dtype}"
        tight, loose = (2e-6, 2e-5) if dtype == "float32" else (1e-12, 1e-10)
        agree(ours, exact, what, tight, tight * max(float(exact.detach().abs().max()), 1.0))
        for number, (x, y) in enumerate(zip(a[: case.differentiable], b, strict=False)):
            agree(x.grad, y.grad, f"{what}, gradient {number}", loose, tight * max(float(y.grad.abs().max()), 1.0))
            assert x.grad.dtype is x.dtype

    return check


def compare(torch: Any, family: str, dtype: str = "float32", turns: int = 1) -> None:
    """Each case with `turns` of its reductions, all recorded before the first is computed: fewer kernels to compile."""
    checks = []
    for seed, case in enumerate(FAMILIES[family]):
        for turn in range(min(turns, len(case.reductions))):
            checks.append(recorded(torch, case, case.reductions[(seed + turn) % len(case.reductions)], seed, dtype))
    for check in checks:
        check()


@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_equal_pytorchs(place, torch, family):
    compare(torch, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_with_every_reduction_equal_pytorchs(torch, family):
    compare(torch, family, turns=4)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_equal_pytorchs_operation_by_operation(torch, family):
    with nc.eager():
        one = nc.ones(3)
        with nc.profiler.count_launches() as launches:
            (one * 2 + 1).exp()
        assert int(launches) == 3, "each operation runs at once"
        compare(torch, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_and_gradients_of_float64_are_exact(torch, family):
    compare(torch, family, "float64")
