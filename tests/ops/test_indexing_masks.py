"""Masks: filling, selecting, replacing, and where something is not zero, against NumPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc

draws = np.random.default_rng(3)
X = draws.standard_normal((3, 4, 5)).astype(np.float32)
MASK = draws.random((3, 4, 5)) > 0.4
ROW = np.array([True, False, True, True, False])


def test_masked_operations_and_their_gradients_equal_pytorchs(place, torch):
    source = draws.standard_normal(80).astype(np.float32)
    found = []
    for lib in (nc, torch):
        x, s = lib.tensor(X, requires_grad=True), lib.tensor(source, requires_grad=True)
        mask, row = lib.tensor(MASK), lib.tensor(ROW)
        results = [
            x.masked_fill(mask, 2.5), lib.masked_fill(x, row, s[0]), lib.masked_select(x, mask),
            x.masked_select(row), x.masked_scatter(mask, s), x[0].masked_scatter(mask, s) * 2,
            x[0, 0].masked_fill(mask, 1),
        ]  # fmt: skip
        total = sum((result * result).sum() for result in results)
        total.backward()
        found.append([*(result.detach().numpy() for result in results), x.grad.numpy(), s.grad.numpy()])
    for got, want in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_what_is_not_zero_is_found_in_order(place):
    for array in (MASK, (X * MASK), np.array([0, 3, 0, -5]), np.zeros((2, 0)), np.zeros(4), np.array([np.nan, 0.0])):
        x = nc.tensor(array)
        np.testing.assert_array_equal(nc.argwhere(x).numpy(), np.argwhere(array))
        np.testing.assert_array_equal(x.nonzero().numpy(), np.argwhere(array))
        for got, want in zip(nc.nonzero(x, as_tuple=True), np.nonzero(array), strict=True):
            np.testing.assert_array_equal(got.numpy(), want)
            assert got.dtype is nc.int64
    picked = nc.where(nc.tensor(MASK))
    assert [place.shape for place in picked] == [(int(MASK.sum()),)] * 3


def test_a_number_without_dimensions_counts_as_one_element(torch):
    for number in (0, 2):
        x, y = nc.tensor(number), torch.tensor(number)
        assert tuple(x.nonzero().shape) == tuple(y.nonzero().shape)
        assert [t.tolist() for t in x.nonzero(as_tuple=True)] == [t.tolist() for t in y.nonzero(as_tuple=True)]
    assert nc.tensor(3.0).masked_scatter(nc.tensor(True), nc.tensor([7.0])).item() == 7.0
    assert nc.tensor(3.0).masked_select(nc.tensor(True)).tolist() == [3.0]


def test_the_dtype_stays(torch):
    mask = nc.tensor(ROW)
    for dtype in (nc.int8, nc.uint8, nc.bool, nc.float16, nc.bfloat16, nc.float64):
        filled = nc.ones(5, dtype=dtype).masked_fill(mask, 0)
        assert filled.dtype is dtype
        assert filled.int().tolist() == (~ROW).astype(int).tolist()
    assert nc.ones(5, dtype=nc.int64).masked_fill(mask, 2.7).tolist() == np.where(ROW, 2, 1).tolist()


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        (lambda x, m: x.masked_fill(x, 1.0), RuntimeError, "masked_fill.*bool.*float32"),
        (lambda x, m: x.masked_fill(m, x), RuntimeError, "masked_fill.*0-d"),
        (lambda x, m: x.masked_fill(m, "a"), TypeError, "str"),
        (lambda x, m: x.masked_fill([True], 1.0), TypeError, "list"),
        (lambda x, m: x.masked_select(nc.ones(3, dtype=nc.bool)), RuntimeError, "masked_select.*broadcast"),
        (lambda x, m: x.masked_scatter(m, x.double()), RuntimeError, "masked_scatter.*float32.*float64"),
        (lambda x, m: x.masked_scatter(m, nc.ones(2)), RuntimeError, "masked_scatter.*picks 3 elements.*has 2"),
        (lambda x, m: nc.where(m, 1.0), TypeError, "where"),
    ],
)
def test_what_does_not_fit_raises(wrong, kind, words):
    with pytest.raises(kind, match=words):
        wrong(nc.ones(5), nc.tensor(ROW)).numpy()
