"""unique, bincount, histc, histogram, searchsorted, bucketize, isin, diff, trapezoid against PyTorch."""

import numpy as np
import pytest
from against_torch import close, derivatives, values

import netcl as nc

DRAWS = np.random.default_rng(0)


def test_unique_in_all_forms_equals_pytorch(place, torch):
    x = np.repeat(DRAWS.integers(0, 2, (5, 3)), 2, 0)
    for given in ({}, {"dim": 0}):
        for name in ("unique", "unique_consecutive"):
            ours = getattr(nc, name)(nc.tensor(x), return_inverse=True, return_counts=True, **given)
            theirs = getattr(torch, name)(torch.tensor(x), return_inverse=True, return_counts=True, **given)
            for a, b in zip(ours, theirs, strict=True):
                close(a, b, 0, f"{name} {given}")


@pytest.mark.long
def test_unique_along_any_dimension_of_any_dtype(place, torch):
    x = DRAWS.integers(-3, 4, (4, 6))
    for dim in (None, 0, 1):
        for array in (x, x.astype(np.float32), np.repeat(x, 3, 0), x[:, :1] > 0):
            values(
                torch,
                {"unique": lambda m, t, d=dim: m.unique(t, return_inverse=True, return_counts=True, dim=d)},
                array,
            )


def test_unique_of_special_tensors(torch):
    for array in (np.float32(3), np.zeros(0, np.float32), np.array([True, False, True])):
        values(torch, {"unique": lambda m, t: t.unique(return_inverse=True, return_counts=True)}, array)
    assert nc.tensor([2, 2, 1]).unique().tolist() == [1, 2]
    assert nc.tensor([2, 2, 1]).unique_consecutive().tolist() == [2, 1]


def test_bincount_counts_and_adds_weights(place, torch):
    x, weights = DRAWS.integers(0, 9, 1000), DRAWS.random(1000).astype(np.float32)
    cases = {
        "counts": lambda m, t, w: m.bincount(t),
        "minlength": lambda m, t, w: t.bincount(minlength=20),
        "weights": lambda m, t, w: t.bincount(w),
    }
    values(torch, cases, x, weights)
    values(torch, {"empty": lambda m, t: (t.bincount(), t.bincount(minlength=3))}, np.zeros(0, np.int64))
    for wrong in (
        lambda: nc.tensor([-1]).bincount(),
        lambda: nc.zeros(3).bincount(),
        lambda: nc.tensor([1]).bincount(minlength=-1),
    ):
        with pytest.raises(RuntimeError, match="bincount"):
            wrong()


def test_histograms_equal_pytorch(device, torch):
    x, edges = DRAWS.standard_normal(500).astype(np.float32), np.float32([-2, -0.5, 0, 1, 3])
    weights = DRAWS.random(500).astype(np.float32)
    cases = {
        "histc": lambda m, t, e, w: (t.histc(10), m.histc(t, 7, -1, 1), m.histc(m.ones(3), 4)),
        "histogram": lambda m, t, e, w: tuple(t.histogram(8)),
        "range": lambda m, t, e, w: tuple(m.histogram(t, 8, range=(-1.0, 2.0), weight=w)),
        "edges": lambda m, t, e, w: tuple(m.histogram(t, e, weight=w, density=True)),
        "on edges": lambda m, t, e, w: tuple(m.histogram(e, e)),
    }
    values(torch, cases, x, edges, weights)


def test_searchsorted_bucketize_and_isin_equal_pytorch(place, torch):
    sequence = np.sort(DRAWS.integers(0, 20, (3, 7)), -1)
    wanted = DRAWS.integers(-2, 23, (3, 5))
    cases = {
        "rows": lambda m, s, v: (
            m.searchsorted(s, v),
            m.searchsorted(s, v, right=True),
            m.searchsorted(s, v, side="right"),
        ),
        "one": lambda m, s, v: (m.searchsorted(s[0], v, out_int32=True), m.searchsorted(s[0], 7)),
        "sorter": lambda m, s, v: m.searchsorted(s.flip(1), v, sorter=s.flip(1).argsort(dim=1)),
        "buckets": lambda m, s, v: (m.bucketize(v, s[0]), m.bucketize(v, s[1], right=True), m.bucketize(3, s[0])),
        "isin": lambda m, s, v: (
            m.isin(v, s),
            m.isin(s, v[0], invert=True),
            m.isin(v, 3),
            m.isin(3, v),
            m.isin(v, v[:0]),
        ),
    }
    values(torch, cases, sequence, wanted)
    floats = np.float32([-1, 0, 0, 2, np.nan])
    values(torch, {"nan": lambda m, t: (m.searchsorted(t, t), m.searchsorted(t, t, right=True), m.isin(t, t))}, floats)
    for wrong in (
        lambda: nc.searchsorted(nc.zeros(2, 3), nc.zeros(3, 3)),
        lambda: nc.searchsorted(nc.zeros(3), nc.zeros(3), right=True, side="left"),
        lambda: nc.bucketize(nc.zeros(3), nc.zeros(2, 2)),
    ):
        with pytest.raises(RuntimeError):
            wrong()


def test_differences_and_areas_equal_pytorch(device, torch):
    x = DRAWS.standard_normal((3, 4, 5)).astype(np.float32)
    cases = {
        "diff": lambda m, t: (t.diff(), m.diff(t, 2, 0), t.diff(n=9), t.diff(dim=1, prepend=t[:, :1], append=t[:, :2])),
        "areas": lambda m, t: (
            m.trapezoid(t),
            m.trapezoid(t, dx=0.5, dim=0),
            m.trapezoid(t, t * t),
            m.trapz(t, t[0, 0]),
        ),
        "running": lambda m, t: m.cumulative_trapezoid(t, dim=1),
    }
    values(torch, cases, x)
    derivatives(torch, {"areas": lambda m, t: m.trapezoid(t, t * t)}, x)
    values(torch, {"bool": lambda m, t: t.diff()}, np.array([True, True, False]))
