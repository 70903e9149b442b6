"""netcl's float32 errors are no larger than PyTorch's on the same inputs, in every loss, its mean and its gradient."""

from __future__ import annotations

import loss_cases as lc
import numpy as np
import pytest
import ulp

import netcl as nc
import netcl.nn.functional as F


def larger(torch, variant: str, cases: list[lc.Case]) -> list[str]:
    """The losses whose errors are larger than PyTorch's, with (largest, mean) of both."""
    found = []
    for case in cases:
        if not ulp.VARIANTS[variant][2](case):
            continue
        for part, (ours, theirs) in ulp.errors(torch, case, variant).items():
            if not ulp.no_larger(ours, theirs, part, variant):
                found.append(f"{case.label}, {part}: netcl {ours}, PyTorch {theirs}")
    return found


SAMPLE = [case for case in ulp.CASES if case.name in ("cross_entropy", "mse_loss", "cosine_embedding_loss", "nll_loss")]


def test_errors_of_some_losses_are_no_larger_than_pytorchs(torch):
    assert larger(torch, "plain", SAMPLE) == []


@pytest.mark.long
@pytest.mark.parametrize("variant", ulp.VARIANTS)
def test_errors_of_each_loss_are_no_larger_than_pytorchs(torch, device, variant):
    assert larger(torch, variant, ulp.CASES) == []


def test_units_see_what_is_wrong():
    one = np.array([1.0, np.inf, np.nan, 1e30])
    np.testing.assert_array_less(ulp.units(one.astype(np.float32), one), [1e-9, 1e-9, 1e-9, 0.5])
    assert ulp.units(np.float32([1 + 2**-23]), np.array([1.0]))[0] == 1
    assert np.isinf(ulp.units(np.float32([np.nan, 1.0, np.inf]), np.array([1.0, np.nan, 1.0]))).all()


def test_a_sum_of_a_million_equal_numbers_has_few_roundings(device):
    x = nc.full((1 << 20,), 0.1)
    exact = float(np.float32(0.1)) * (1 << 20)
    assert abs(x.sum().item() - exact) <= 3 * np.spacing(np.float32(exact))
    rows = nc.full((300, 4), 0.1)
    assert rows.sum(1).sum().item() == pytest.approx(float(np.float32(0.1)) * 1200, rel=1.2e-7)


def test_logits_of_zero_have_the_second_derivative_a_quarter():
    for name in ("binary_cross_entropy_with_logits", "soft_margin_loss"):
        x = nc.zeros(3, requires_grad=True, dtype=nc.float64)
        loss = getattr(F, name)(x, nc.ones(3, dtype=nc.float64), reduction="sum")
        (slope,) = nc.autograd.grad(loss, x, create_graph=True)
        np.testing.assert_allclose(slope.detach().numpy(), [-0.5] * 3)
        (second,) = nc.autograd.grad(slope.sum(), x)
        np.testing.assert_allclose(second.numpy(), [0.25] * 3)


def test_a_label_that_exactly_keeps_its_margin_has_no_gradient(torch):
    x = np.float32([[1e4, 1e4 - 1, 0.5]])
    target = np.array([[0, -1, -1]])
    found = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        a = module.tensor(x, requires_grad=True)
        functional.multilabel_margin_loss(a, module.tensor(target)).backward()
        found.append(a.grad.numpy())
    np.testing.assert_array_equal(*found)
