"""Products that cast their factors as they read them: what they compute, and that the cast costs no launch."""

from __future__ import annotations

import dataclasses
from math import erf

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netcl as nc
from netcl.codegen.targets import target_for
from netcl.graph import plan, planner

RNG = np.random.default_rng(11)
NUMPY = {nc.bfloat16: ml_dtypes.bfloat16, nc.float16: np.float16, nc.float32: np.float32, nc.float64: np.float64}
# (m, k, n): the edges of tiles and vectors, panels that are narrower than a vector, sums longer than a panel
SHAPES = [(1, 5, 3), (7, 13, 16), (5, 16, 17), (33, 65, 70), (100, 40, 3), (19, 1100, 36), (14, 2051, 81)]


def rounded(array: np.ndarray, *dtypes: nc.DType) -> np.ndarray:
    for dtype in dtypes:
        array = array.astype(NUMPY[dtype])
    return array.astype(np.float64)


def laid(array: np.ndarray, dtype: nc.DType, layout: str) -> nc.Tensor:
    """A tensor that equals `array`, contiguous (N), transposed (T), or every second row of a larger one (S)."""
    if layout == "T":
        return nc.tensor(np.ascontiguousarray(array.T)).to(dtype).t()
    if layout == "S":
        wide = np.repeat(array, 2, axis=0)
        wide[1::2] = np.nan
        return nc.tensor(wide).to(dtype)[::2]
    return nc.tensor(array).to(dtype)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("layouts", ["NS", "NT", "TN"])
@pytest.mark.parametrize(
    ("stored", "cast"), [(nc.float32, nc.bfloat16), (nc.float32, nc.float16), (nc.bfloat16, nc.float32)], ids=str
)
def test_factors_are_rounded_and_summed_wide(layouts, stored, cast):
    made = []
    for m, k, n in SHAPES:
        a, b = RNG.standard_normal((m, k)).astype(np.float32), RNG.standard_normal((k, n)).astype(np.float32)
        left, right = laid(a, stored, layouts[0]), laid(b, stored, layouts[1])
        nc.synchronize()
        with nc.profiler.count_launches() as count:
            product = left.to(cast) @ right.to(cast)
        assert int(count) == 1
        made.append((a, b, product))
    for a, b, product in made:
        exact = rounded(a, stored, cast) @ rounded(b, stored, cast)
        size = {nc.bfloat16: 2.0**-8, nc.float16: 2.0**-11, nc.float32: 2.0**-22}[cast]
        assert product.dtype is cast
        np.testing.assert_allclose(product.float().numpy(), exact, rtol=1.01 * size, atol=2e-5 * len(b) ** 0.5)


@pytest.mark.usefixtures("place")
def test_batches_views_of_casts_and_mixed_memory():
    a, b = RNG.standard_normal((3, 8, 20)).astype(np.float32), RNG.standard_normal((3, 9, 20)).astype(np.float32)
    left, right, low = nc.tensor(a), nc.tensor(b), nc.tensor(b).bfloat16()
    nc.synchronize()
    cases = {
        "batch": lambda: left.bfloat16() @ right.bfloat16().mT,
        "cast of a view": lambda: left.bfloat16() @ right.mT.bfloat16(),
        "one is low already": lambda: left.bfloat16() @ low.mT,
    }
    exact = rounded(a, nc.bfloat16) @ rounded(b, nc.bfloat16).transpose(0, 2, 1)
    for name, case in cases.items():
        with nc.profiler.count_launches() as count:
            product = case()
        assert int(count) == 1, name
        np.testing.assert_allclose(product.float().numpy(), exact, rtol=2.0**-8 * 1.01, atol=1e-4, err_msg=name)
    flat = (left.bfloat16().reshape(24, 20) @ right[0].bfloat16().t()).float().numpy()
    np.testing.assert_allclose(
        flat, rounded(a, nc.bfloat16).reshape(24, 20) @ rounded(b[0], nc.bfloat16).T, rtol=2.0**-8 * 1.01, atol=1e-4
    )


@pytest.mark.usefixtures("place")
def test_what_is_computed_is_cast_where_it_is_computed():
    x, w = nc.tensor(RNG.standard_normal((40, 50)).astype(np.float32)), nc.ones(50, 30)
    nc.synchronize()
    with nc.profiler.count_launches() as count:
        product = x.exp().bfloat16() @ w.bfloat16()
    assert int(count) == 2  # the factor, and the product
    exact = rounded(np.exp(x.numpy()), nc.bfloat16).sum(1, keepdims=True)
    np.testing.assert_allclose(product.float().numpy(), np.broadcast_to(exact, (40, 30)), rtol=0.005)


@pytest.mark.usefixtures("place")
def test_a_cast_that_is_kept_is_read():
    """One who holds the cast has its own memory; the product is the same."""
    x, w = nc.tensor(RNG.standard_normal((24, 50)).astype(np.float32)), nc.tensor(np.eye(50, dtype=np.float32))
    low = x.bfloat16()
    product = low @ w.bfloat16()
    np.testing.assert_array_equal(product.float().numpy(), low.float().numpy())


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("dtype", [nc.bfloat16, nc.float16], ids=str)
def test_nan_infinity_and_ties_are_rounded_as_everywhere(dtype):
    tie = 1 + (2.0**-8 if dtype is nc.bfloat16 else 2.0**-11)  # half-way between two numbers
    special = np.array([np.nan, np.inf, -np.inf, tie, -tie, 3 * (tie - 1) + 1, 65519.9, 65520.0, 0.0, -0.0, 7e4])
    x = np.zeros((20, 40), np.float32)
    x[: len(special), 0] = special
    w = np.zeros((40, 20), np.float32)
    w[0] = 1
    with np.errstate(over="ignore"):
        expected = rounded(x, dtype)[:, 0]
    for left, right in ((x, w), (w.T, x.T)):
        found = (nc.tensor(left).to(dtype) @ nc.tensor(right).to(dtype)).float().numpy()
        found = found[:, 0] if left is x else found[0]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("place")
def test_what_follows_a_product_of_bfloat16_keeps_its_constants():
    """Assembly must not touch registers that the compiler keeps numbers in around it."""
    x, w = RNG.standard_normal((70, 96)).astype(np.float32), RNG.standard_normal((96, 100)).astype(np.float32)
    bias = RNG.standard_normal(100).astype(np.float32)
    product = (nc.tensor(x).bfloat16() @ nc.tensor(w).bfloat16()).float()
    found = (nc.nn.functional.gelu(product * 0.125 + nc.tensor(bias)) * 1.7 - 0.3) / 0.9
    linear = (rounded(x, nc.bfloat16) @ rounded(w, nc.bfloat16)) * 0.125 + bias
    gelu = linear * 0.5 * (1 + np.vectorize(erf)(linear / np.sqrt(2)))
    np.testing.assert_allclose(found.numpy(), (gelu * 1.7 - 0.3) / 0.9, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("device")
def test_products_of_bfloat16_are_the_same_with_and_without_the_instruction(monkeypatch):
    """A device that shows it multiplies pairs of bfloat16 at once, with sums in float32."""
    cases = [(64, 96, 80), (13, 50, 33), (40, 1500, 48)]
    arrays = [[RNG.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n))] for m, k, n in cases]
    found = []
    for used in (True, False):
        if not used:
            plan.clear_plans()
            monkeypatch.setattr(planner, "target_for", lambda d: dataclasses.replace(target_for(d), bf16_dot=False))
        with nc.autocast(dtype=nc.bfloat16):
            made = [nc.tensor(a) @ nc.tensor(b) for a, b in arrays]
        found.append([product.float().numpy() for product in made])
    plan.clear_plans()
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2.0**-7, atol=1e-4)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 80), st.integers(1, 90)), batch=st.integers(1, 3),
    flipped=st.tuples(st.booleans(), st.booleans()), stored=st.tuples(st.booleans(), st.booleans()),
)  # fmt: skip
def test_any_sizes_and_layouts_of_factors_in_any_dtype(sizes, batch, flipped, stored):
    """Each factor in bfloat16 already or cast on the way, its rows or its columns contiguous."""
    m, k, n = sizes
    a, b = (RNG.standard_normal(shape).astype(np.float32) for shape in ((batch, m, k), (batch, k, n)))
    factors = []
    for array, turned, low in ((a, flipped[0], stored[0]), (b, flipped[1], stored[1])):
        tensor = nc.tensor(np.ascontiguousarray(np.swapaxes(array, 1, 2) if turned else array))
        tensor = tensor.bfloat16() if low else tensor
        factors.append(tensor.mT if turned else tensor)
    nc.synchronize()
    with nc.autocast(dtype=nc.bfloat16):
        product = factors[0] @ factors[1]
    exact = rounded(a, nc.bfloat16) @ rounded(b, nc.bfloat16)
    np.testing.assert_allclose(product.float().numpy(), exact, rtol=2.0**-8 * 1.02, atol=1e-4)
