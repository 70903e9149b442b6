"""Attention: PyTorch's values and gradients for every kind of mask, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc

draws = np.random.default_rng(0)
Q, K, V = (draws.normal(size=shape).astype(np.float32) for shape in ((2, 4, 3, 4), (2, 4, 5, 4), (2, 4, 5, 6)))
SOME = draws.uniform(size=(2, 1, 3, 5)) < 0.6
SOME[0, 0, 1] = False  # one query may see nothing
ADDED = draws.normal(size=(3, 5)).astype(np.float32)
HIDDEN = np.where(SOME, ADDED, -np.inf).astype(np.float32)


@pytest.mark.parametrize(
    "options",
    [{}, {"is_causal": True, "scale": 0.3}, {"attn_mask": SOME}, {"attn_mask": ADDED}, {"attn_mask": HIDDEN}],
    ids=["all", "causal", "bool", "added", "minus infinity"],
)
def test_values_and_gradients_are_pytorchs(torch, place, options):
    found = []
    for library in (nc, torch):
        given = {name: library.tensor(x) if isinstance(x, np.ndarray) else x for name, x in options.items()}
        operands = [library.tensor(x, requires_grad=True) for x in (Q, K, V)]
        result = library.nn.functional.scaled_dot_product_attention(*operands, **given)
        (result * result).sum().backward()
        found.append([result.detach().numpy(), *(x.grad.numpy() for x in operands)])
    for mine, his in zip(*found, strict=True):
        np.testing.assert_allclose(mine, his, rtol=1e-4, atol=1e-5)


def test_nan_is_not_hidden_by_a_mask(device):
    q = nc.full((1, 2), float("nan"))
    mask = nc.tensor([[True, False]])
    assert nc.nn.functional.scaled_dot_product_attention(q, nc.ones(2, 2), nc.ones(2, 2), mask).isnan().all()


def test_narrow_dtypes_are_computed_in_float32(device):
    exact = nc.nn.functional.scaled_dot_product_attention(nc.tensor(Q), nc.tensor(K), nc.tensor(V))
    narrow = [nc.tensor(x).half() for x in (Q, K, V)]
    result = nc.nn.functional.scaled_dot_product_attention(*narrow)
    assert result.dtype is nc.float16
    np.testing.assert_allclose(result.float().numpy(), exact.numpy(), atol=4e-3)


def test_dropout_keeps_the_mean_and_changes_the_weights(device):
    nc.manual_seed(0)
    x, values = nc.zeros(1, 400, 2), nc.ones(1, 400, 1)
    result = nc.nn.functional.scaled_dot_product_attention(x, x, values, dropout_p=0.5)
    assert result.mean().item() == pytest.approx(1, abs=0.02)
    assert result.std().item() > 0.01


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda f, t: f(t.ones(3), t.ones(3), t.ones(3)), "two dimensions|2 dimensional"),
        (lambda f, t: f(t.ones(2, 3), t.ones(2, 3).double(), t.ones(2, 3)), "dtype"),
        (lambda f, t: f(t.ones(2, 3), t.ones(2, 4), t.ones(2, 4)), "."),
        (lambda f, t: f(t.ones(2, 3), t.ones(2, 3), t.ones(3, 3)), "."),
        (lambda f, t: f(t.ones(2, 3), t.ones(2, 3), t.ones(2, 3), t.ones(2, 2), is_causal=True), "is_causal"),
        (lambda f, t: f(t.ones(2, 3), t.ones(2, 3), t.ones(2, 3), t.ones(2, 2).long()), "attn_mask"),
        (lambda f, t: f(t.ones(2, 3), t.ones(2, 3), t.ones(2, 3), None, 1.5), "probability"),
        (lambda f, t: f(t.ones(3, 2, 3), t.ones(2, 2, 3), t.ones(2, 2, 3), enable_gqa=True), "."),
    ],
)
def test_what_does_not_fit_raises_as_in_pytorch(torch, call, text):
    for library in (nc, torch):
        with pytest.raises((RuntimeError, ValueError), match=text):
            call(library.nn.functional.scaled_dot_product_attention, library)
