"""sort and what comes from it: argsort, topk, kthvalue, median, mode, quantile; every dtype, long and short rows."""

import numpy as np
import pytest
from against_torch import close, derivatives, values
from hypothesis import given, settings
from hypothesis import strategies as st

import netcl as nc

DRAWS = np.random.default_rng(0)
X = DRAWS.standard_normal((3, 5, 40)).astype(np.float32)


def with_ties_and_nans() -> np.ndarray:
    x = X.copy()
    x[1] = np.round(x[1])
    x[0, 0, 3], x[0, 0, 5] = np.nan, -np.nan
    x[2, 2, :5] = [np.inf, -np.inf, 0.0, -0.0, 1e-42]
    return x


def sorted_alike(torch, *arrays, dims=(-1,)) -> None:
    """Stable in both directions: even the positions are the same."""
    cases = [(x, dim, down) for x in arrays for dim in dims for down in (False, True)]
    ours = [nc.tensor(x).sort(dim, down) for x, dim, down in cases]
    for (x, dim, down), found in zip(cases, ours, strict=True):
        wanted = torch.sort(torch.tensor(x), dim=dim, descending=down, stable=True)
        close(found.indices, wanted.indices, 0, f"{x.shape} {x.dtype} along {dim}, {down}")
        close(found.values, wanted.values, 0)


def test_sort_along_every_dimension_is_stable_with_nan_as_the_largest(place, torch):
    sorted_alike(torch, with_ties_and_nans(), dims=(0, 1, 2))


@pytest.mark.parametrize("shape", [(2, 700), (20_001,), (3, 17_000)])
def test_long_rows(shape, place, torch):
    sorted_alike(torch, np.round(np.random.default_rng(1).standard_normal(shape) * 1000).astype(np.float32))


def test_every_dtype(place, torch):
    names = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16"]
    if nc.current_device().capabilities.fp64:
        names.append("float64")
    numbers = np.random.default_rng(2).integers(-100, 100, (2, 40))
    sorted_alike(torch, *((numbers % 2 if name == "bool" else numbers).astype(name) for name in names))


def test_bfloat16_and_large_integers(place, torch):
    a, b = nc.tensor(X[0]).bfloat16().sort(1), torch.tensor(X[0]).bfloat16().sort(dim=1, stable=True)
    close(a.values, b.values, 0)
    close(a.indices, b.indices, 0)
    sorted_alike(torch, np.random.default_rng(3).integers(-(2**63), 2**63 - 1, (2, 40)))


@pytest.mark.long
def test_long_rows_of_64_bits(place, torch):
    x = np.random.default_rng(4).integers(-(2**62), 2**62, (40_000,))
    sorted_alike(torch, x)
    sorted_alike(torch, x.astype(np.float64))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.data())
@settings(max_examples=10, deadline=None)
def test_argsort_of_any_shape_and_stride(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(5).integers(0, 5, shape).astype(np.int32)
    expected = x.T[..., ::-1].argsort(axis, kind="stable")
    tensor = nc.tensor(x).permute(tuple(range(len(shape)))[::-1]).flip(-1)
    np.testing.assert_array_equal(tensor.argsort(axis).numpy(), expected)


def test_gradients_of_sort_topk_kthvalue_and_median(place, torch):
    cases = {
        "sort": lambda m, t: t.sort(1, True).values,
        "topk": lambda m, t: m.topk(t * t, 2, 1).values,
        "kthvalue": lambda m, t: t.kthvalue(2, 1, True).values,
        "median": lambda m, t: t.median(0).values,
        "msort": lambda m, t: m.msort(t),
    }
    derivatives(torch, cases, X[:, :, :4])
    derivatives(torch, {"median of all": lambda m, t: t.median()}, np.round(X[0, :, :7] * 2), second=False)


def test_topk_and_kthvalue_equal_pytorch(place, torch):
    cases = {
        "largest": lambda m, t: tuple(t.topk(3)),
        "smallest": lambda m, t: tuple(m.topk(t, 2, dim=1, largest=False)),
        "none": lambda m, t: tuple(t.topk(0)),
        "kth": lambda m, t: (*t.kthvalue(4), *m.kthvalue(t, 1, 0, True)),
        "msort": lambda m, t: m.msort(t),
        "argsort": lambda m, t: m.argsort(t, dim=0, descending=True),
    }
    values(torch, cases, X)


@pytest.mark.parametrize("shape", [(3, 401), (20_001,), (2, 17_000)])
def test_few_of_many_are_the_first_of_the_sorted(shape, place, torch):
    x = np.round(np.random.default_rng(6).standard_normal(shape) * 100).astype(np.float32)
    x.reshape(-1)[::97] = np.nan
    ours = [nc.tensor(x).topk(k, largest=largest) for k in (1, 20) for largest in (True, False)]
    ours.append(nc.tensor(np.ascontiguousarray(x.T)).T.topk(7))
    sorts = [torch.sort(torch.tensor(x), dim=-1, descending=down, stable=True) for down in (True, False)]
    for (k, wanted), found in zip([(k, s) for k in (1, 20) for s in sorts] + [(7, sorts[0])], ours, strict=True):
        close(found.indices, wanted.indices[..., :k], 0)
        close(found.values, wanted.values[..., :k], 0)


def test_medians_and_modes_equal_pytorch(place, torch):
    x = np.round(with_ties_and_nans() * 2)
    cases = {
        "median": lambda m, t: (t.median(), t.median(2).values, t[1].median(0, True).values, m.median(t[1, :, 1:])),
        "nanmedian": lambda m, t: (t.nanmedian(), m.nanmedian(t, 2).values, t.nanmedian(0).values),
        "mode": lambda m, t: (t[1:].mode(2).values, m.mode(t[1], 0, True).values),
    }
    values(torch, cases, x)
    values(
        torch,
        {"integers": lambda m, t: (t.median(), *t.median(0), t.mode(0).values)},
        np.int32([[3, 1], [1, 2], [3, 9]]),
    )
    found = nc.tensor(x).nanmedian(2)
    np.testing.assert_array_equal(
        np.take_along_axis(x, found.indices.numpy()[..., None], 2)[..., 0], found.values.numpy()
    )


def test_quantiles_equal_pytorch(device, torch):
    x = X[..., :8].copy()
    x[0, 0, 0] = np.nan
    shares = np.float32([0, 0.1, 0.5, 0.99, 1])
    cases = {}
    for how in ("linear", "lower", "higher", "nearest", "midpoint"):
        cases[how] = lambda m, t, q, h=how: (t.quantile(q, 2, interpolation=h), m.quantile(t[1], 0.3, interpolation=h))
    cases["keepdim"] = lambda m, t, q: (
        t.quantile(q, 1, True),
        t[1].quantile(q, keepdim=True),
        t.quantile(0.5, 0, True),
    )
    cases["nan"] = lambda m, t, q: (t.nanquantile(q, 2), m.nanquantile(t, 0.25))
    values(torch, cases, x, shares)
    derivatives(torch, {"linear": lambda m, t: t.quantile(0.3, 1)}, x[1:], second=False)


def test_sort_of_0d_and_empty_tensors(torch, mode):
    cases = {
        "sort": lambda m, t: (*t.sort(), *t.topk(1), *t.kthvalue(1)),
        "median": lambda m, t: (t.median(), *t.median(0), *t.mode()),
    }
    values(torch, cases, np.float32(3))
    cases = {"sort": lambda m, t: (*t.sort(1), t.argsort(0)), "median": lambda m, t: t.median()}
    values(torch, cases, np.zeros((0, 3), np.float32))


def test_sorts_are_the_same_every_time_and_fuse_with_what_makes_their_operands(target):
    x = nc.tensor(X)
    with nc.profiler.count_launches() as launches:
        found = (x * 2 + 1).sort().indices.numpy()
    assert int(launches) == 3  # words, sorted, positions
    np.testing.assert_array_equal((x * 2 + 1).sort().indices.numpy(), found)


def test_what_sorting_raises():
    x = nc.zeros(2, 3)
    for wrong, kind, match in (
        (lambda: x.sort(2), IndexError, "dimension 2"),
        (lambda: x.topk(4), RuntimeError, "between 0 and 3"),
        (lambda: x.kthvalue(0), RuntimeError, "between 1 and 3"),
        (lambda: nc.zeros(2, 0).median(1), IndexError, "median"),
        (lambda: nc.zeros(0).mode(), IndexError, "mode"),
        (lambda: x.quantile(1.5), RuntimeError, "between 0 and 1"),
        (lambda: x.quantile(0.5, interpolation="cubic"), RuntimeError, "cubic"),
        (lambda: nc.zeros(0).quantile(0.5), RuntimeError, "no elements"),
        (lambda: nc.tensor([1, 2]).quantile(0.5), RuntimeError, "int64"),
    ):
        with pytest.raises(kind, match=match):
            wrong()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_gradients_of_empty_tensors_are_empty(shape):
    x = nc.zeros(shape, requires_grad=True)
    results = [x.cumsum(1), x.cumprod(0), x.logcumsumexp(0), x.sort(1).values, x.sort(0).values, x.prod(0), x.norm()]
    sum(result.sum() for result in results).backward()
    assert x.grad.shape == shape
