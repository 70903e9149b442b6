"""Rows, columns and transposed maps of many sizes: whole vectors, several side by side, and what is left over."""

import numpy as np
import pytest

import netcl as nc

SHAPES = [(1024, 64), (37, 200), (300, 1000), (3, 9001), (9001, 3), (1, 7), (270, 70), (530, 16)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_and_extrema_over_each_axis_equal_numpy(shape, place):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    wide, t = x.astype(np.float64), nc.tensor(x)
    found = [
        t.sum(), (t * 2 + 1).mean(), (t - 9).amax(), t.sum(0), t.sum(1), (t * t[0] - 30).amax(0), (t + 9).amin(1),
        (t * 2).mean(0).exp(), t.t().contiguous(), t.t() * 2 + 1, t.t().sum(1),
    ]  # fmt: skip
    expected = [
        wide.sum(), (wide * 2 + 1).mean(), (wide - 9).max(), wide.sum(0), wide.sum(1), (wide * wide[0] - 30).max(0),
        (wide + 9).min(1), np.exp((wide * 2).mean(0)), wide.T, wide.T * 2 + 1, wide.sum(0),
    ]  # fmt: skip
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=2e-5, atol=2e-3)


def test_a_column_sum_of_float32_keeps_its_digits(device):
    x = np.random.default_rng(0).random((70_000, 65), dtype=np.float32)
    for axis in (0, 1, None):
        expected = x.sum(axis, dtype=np.float64)
        np.testing.assert_allclose(nc.tensor(x).sum(axis).numpy(), expected, rtol=4e-7)


def test_softmax_computes_each_exponential_once(device):
    from netcl.core.device import target_override
    from netcl.graph import plan

    x = np.random.default_rng(0).standard_normal((5, 1003)).astype(np.float32)
    with target_override("cpu"):
        plan.clear_plans()
        y = nc.softmax(nc.tensor(x), 1).numpy()
        (kernel,) = next(iter(plan._plans.values())).kernels
    assert kernel.source.count("exp(") == 3  # in the vectors' loop, for 8 of the 11 that are left, and in their loop
    exact = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    np.testing.assert_allclose(y, exact / exact.sum(1, keepdims=True), rtol=2e-6)


def test_two_results_of_different_sweeps_may_share_an_exponential(place):
    x = np.random.default_rng(0).standard_normal((4, 100)).astype(np.float32)
    t = nc.tensor(x)
    e = (t - t.amax(1, keepdim=True)).exp()
    first = e / e.sum(1, keepdim=True)
    second = e - first.square().sum(1, keepdim=True)
    wide = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    one = wide / wide.sum(1, keepdims=True)
    np.testing.assert_allclose(second.numpy(), wide - (one**2).sum(1, keepdims=True), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.numpy(), one, rtol=1e-5)


def test_what_another_kernel_has_computed_is_read_and_not_computed_again(place):
    found = []
    for eager in (False, True):
        nc.manual_seed(0)
        model = nc.nn.Sequential(nc.nn.Linear(8, 36), nc.nn.LayerNorm(36), nc.nn.GELU(), nc.nn.Linear(36, 3))
        x, y = nc.randn(16, 8), nc.randint(3, (16,))
        with nc.eager(eager):
            nc.nn.functional.cross_entropy(model(x), y).backward()
            found.append([p.grad.numpy() for p in model.parameters()])
    for fused, separate in zip(*found, strict=True):
        np.testing.assert_allclose(fused, separate, rtol=1e-4, atol=1e-6)
