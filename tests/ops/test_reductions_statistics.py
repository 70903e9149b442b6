"""var, std and their pairs with the mean, nanmean, cov, corrcoef; sums that are as exact as PyTorch's."""

import numpy as np
import pytest
from against_torch import derivatives, values

import netcl as nc

X = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)


def test_spreads_with_any_correction_equal_pytorch(place, torch):
    cases = {}
    for number, dim in enumerate((None, 1, (0, 2))):
        for correction in (0, 1, 2.5):
            given = {"dim": dim, "correction": correction, "keepdim": number % 2 == 0}
            for name in ("var", "std", "var_mean", "std_mean"):
                cases[f"{name} {given}"] = lambda m, t, n=name, g=given: getattr(m, n)(t, **g)
    values(torch, cases, X)
    derivatives(torch, {name: f for name, f in cases.items() if "2.5" in name or "'dim': 1" in name}, X)


def test_unbiased_in_all_its_places(torch):
    cases = {
        "positional": lambda m, t: (t.std(False), m.var(t, 0, False, True)),
        "named": lambda m, t: (t.var(unbiased=True), *m.var_mean(t, 1, unbiased=False)),
    }
    values(torch, cases, X)
    for wrong, kind in (
        (lambda: nc.tensor(X).var(0, True, correction=1), TypeError),
        (lambda: nc.tensor(X).var(0, 3), TypeError),
        (lambda: nc.tensor([1, 2]).std(), RuntimeError),
    ):
        with pytest.raises(kind):
            wrong()


def test_variance_of_numbers_far_from_zero_is_exact():
    x = (X + 10_000).astype(np.float32)
    np.testing.assert_allclose(nc.tensor(x).var().item(), x.astype(np.float64).var(ddof=1), rtol=1e-4)


def test_variances_without_degrees_of_freedom_are_nan_or_inf():
    assert np.isnan(nc.tensor(3.0).var().item()) and np.isnan(nc.zeros(1).std().item())
    assert nc.tensor([1.0, 2.0]).var(correction=2).item() == np.inf
    assert np.isnan(nc.zeros(2, 0).var(1).numpy()).all()


def test_gradient_of_std_is_zero_where_all_are_equal(torch):
    x = X[0].copy()
    x[1] = 2
    derivatives(
        torch, {"std": lambda m, t: t.std(1), "pair": lambda m, t: m.std_mean(t, 1, correction=0)}, x, second=False
    )


def test_means_without_nans(torch):
    x = X.copy()
    x[0, 0] = x[1, 1, 1] = np.nan
    derivatives(torch, {"0": lambda m, t: t.nanmean(0), "all": lambda m, t: m.nanmean(t)}, x, second=False)
    with pytest.raises(RuntimeError, match="int64"):
        nc.nanmean(nc.tensor([1, 2]))


def test_covariances_and_correlations_equal_pytorch(device, torch):
    often, weights = np.int64([1, 2, 0, 3]), np.float32([0.5, 1, 2, 0.1])
    cases = {
        "cov": lambda m, t, f, a: m.cov(t[0]),
        "one": lambda m, t, f, a: m.cov(t[0, 0], correction=0),
        "fweights": lambda m, t, f, a: m.cov(t[0], fweights=f),
        "aweights": lambda m, t, f, a: m.cov(t[0], aweights=a),
        "both": lambda m, t, f, a: t[0].cov(fweights=f, aweights=a),
        "corrcoef": lambda m, t, f, a: m.corrcoef(t[1]),
        "one variable": lambda m, t, f, a: m.corrcoef(t[1, 0]),
    }
    values(torch, cases, X, often, weights)
    derivatives(torch, {"cov": lambda m, t: m.cov(t), "corrcoef": lambda m, t: m.corrcoef(t)}, X[0], 1e-3, second=False)


def test_totals_of_many_rows_have_few_float32_roundings(target):
    x = np.random.default_rng(3).random((400_000, 3), np.float32)
    tensor, exact = nc.tensor(x), x.astype(np.float64)
    found = {
        "of rows": (tensor.sum(1).mean(), exact.sum(1).mean()),
        "of columns": (tensor.T.mul(tensor.T).sum(0).sum(), (exact**2).sum()),
        "of differences": (((tensor - 0.25) ** 2).mean(), ((exact - 0.25) ** 2).mean()),
        "of logs": (tensor.logsumexp(1).mean(), np.log(np.exp(exact).sum(1)).mean()),
    }
    for name, (ours, wanted) in found.items():
        assert abs(ours.item() - wanted) / wanted < 5e-7, name
