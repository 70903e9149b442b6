"""Running sums, products, extrema and logsumexps: values, positions, gradients, long and short rows, every layout."""

from functools import partial

import numpy as np
import pytest
from against_torch import close, derivatives, values
from hypothesis import given, settings
from hypothesis import strategies as st

import netcl as nc

DRAWS = np.random.default_rng(0)
X = DRAWS.standard_normal((3, 5, 4)).astype(np.float32)


def test_scans_along_every_dimension_and_their_derivatives_equal_pytorch(place, torch):
    x = X.copy()
    x[0, 1, 2] = x[1, 1, 1] = x[1, 3, 1] = 0  # products without a division
    x[2, 0, :] = 0
    cases = {}
    for dim in (0, 1, -1):
        cases[f"cumsum {dim}"] = lambda m, t, d=dim: t.cumsum(d)
        cases[f"cumprod {dim}"] = lambda m, t, d=dim: m.cumprod(t, d)
        cases[f"logcumsumexp {dim}"] = lambda m, t, d=dim: t.logcumsumexp(d)
    derivatives(torch, cases, x)


def test_running_extrema_take_the_last_of_equals_and_keep_nan(place, torch):
    x = np.round(X)
    x[1, 2, 3] = x[1, 3, 3] = np.nan
    cases = {
        f"{name} {dim}": lambda m, t, n=name, d=dim: tuple(getattr(m, n)(t, d))
        for name in ("cummax", "cummin")
        for dim in (0, 1, 2)
    }
    values(torch, cases, x)
    derivatives(torch, {"cummax": lambda m, t: tuple(t.cummax(1))}, np.round(X), second=False)


def test_scans_of_every_dtype(place, torch):
    numbers = DRAWS.integers(0, 4, (2, 9))
    cases = []
    for name in ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float64"):
        if name == "float64" and not nc.current_device().capabilities.fp64:
            continue
        a, b = nc.tensor(numbers).to(getattr(nc, name)), torch.tensor(numbers).to(getattr(torch, name))
        found = [a.cumsum(1), a.cumprod(0), *a.cummax(1), *a.cummin(1), a.cumsum(1, dtype=nc.float32)]
        wanted = [b.cumsum(1), b.cumprod(0), *b.cummax(1), *b.cummin(1), b.cumsum(1, dtype=torch.float32)]
        cases.append((name, found, wanted))
    for name, found, wanted in cases:
        for ours, theirs in zip(found, wanted, strict=True):
            close(ours, theirs, 0, name)


@pytest.mark.parametrize("shape", [(1, 20_001), (20_001, 3), (2, 9_000, 19)])
def test_long_scans_are_cut_into_blocks_and_stay_accurate(shape, place, torch):
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32) + 1
    axis = int(np.argmax(shape))
    tensor = nc.tensor(x)
    sums, (_, places) = tensor.cumsum(axis), tensor.cummax(axis)
    products, logs = (tensor * 1e-3).exp().cumprod(axis), tensor.logcumsumexp(axis)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(sums.numpy(), exact.cumsum(axis), rtol=2e-6, atol=1e-4)
    np.testing.assert_array_equal(places.numpy(), torch.tensor(x).cummax(axis).indices.numpy())
    np.testing.assert_allclose(products.numpy(), np.exp(exact.cumsum(axis) * 1e-3), rtol=2e-3)
    np.testing.assert_allclose(logs.numpy(), np.log(np.exp(exact).cumsum(axis)), rtol=1e-4)
    nc.synchronize()
    np.testing.assert_array_equal(tensor.cumsum(axis).numpy(), sums.numpy())


def test_strided_operands(place):
    x = nc.tensor(X)
    got = [x.permute(2, 0, 1).cumsum(1), x[:, ::2].cumsum(1), x.flip(2).cumsum(2), x[1:, 1:, 1:].cumprod(0)]
    expected = [X.transpose(2, 0, 1).cumsum(1), X[:, ::2].cumsum(1), X[..., ::-1].cumsum(2), X[1:, 1:, 1:].cumprod(0)]
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-6)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=3), st.data())
@settings(max_examples=10, deadline=None)
def test_cumsum_of_any_shape(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    np.testing.assert_array_equal(nc.tensor(x).cumsum(axis).numpy(), x.cumsum(axis))


def test_scans_of_0d_tensors_and_infinities(torch, mode):
    values(
        torch,
        {"sum": lambda m, t: t.cumsum(0), "max": lambda m, t: tuple(t.cummax(-1)), "prod": lambda m, t: t.cumprod(0)},
        np.float32(3),
    )
    x = np.float32([-np.inf, -np.inf, 1000, 1001, -np.inf, np.inf, np.inf, np.nan])
    values(torch, {"logs": lambda m, t: t.logcumsumexp(0)}, x)
    derivatives(torch, {"logs": lambda m, t: t.logcumsumexp(0)}, np.float32([1000, -1000, 1001, 0]))


def test_derivatives_forward_of_scans():
    """They are gradients of gradients that start from zeros: a rule has to be linear there too."""
    direction = nc.tensor([1.0, 1.0, 2.0, 3.0])
    for name, start in (("logcumsumexp", -np.inf), ("cumsum", 0), ("cumprod", 0)):
        x = nc.tensor(np.float32([0.5, start, 2, -1]))
        scan = partial(getattr(nc, name), dim=0)
        forward = nc.func.jvp(scan, (x,), (direction,))[1]
        np.testing.assert_allclose(forward.numpy(), (nc.func.jacrev(scan)(x) @ direction).numpy(), 1e-5, err_msg=name)
        assert forward.any().item(), name


def test_what_scans_raise():
    for wrong, kind in (
        (lambda: nc.zeros(3).cumsum(1), IndexError),
        (lambda: nc.tensor([1]).logcumsumexp(0), RuntimeError),
    ):
        with pytest.raises(kind):
            wrong()
