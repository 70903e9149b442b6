"""Targets, variances and weights that require a gradient get one wherever it is defined."""

from __future__ import annotations

import loss_cases as lc
import numpy as np

import netcl as nc
import netcl.nn.functional as F


def test_every_floating_input_may_require_a_gradient():
    for case in [*lc.REGRESSION, *lc.BINARY, *lc.LIKELIHOOD, *lc.PAIRS]:
        inputs, options = lc.arrays(case, 4, 3)
        loss, given = lc.run(nc, F, case._replace(differentiable=len(inputs)), inputs, options, "sum", "float32")
        loss.backward()
        if case.name == "cosine_embedding_loss":  # its target is only compared with 1 and -1
            given.pop()
        for x in given:
            assert x.grad.shape == x.shape and np.isfinite(x.grad.numpy()).all(), case.label


def test_targets_that_are_constants_of_the_graph(place):
    x = nc.tensor(np.random.default_rng(0).standard_normal((37, 3)).astype(np.float32), requires_grad=True)
    labels = nc.zeros(37, dtype=nc.int64)
    loss = F.cross_entropy(x, labels)
    loss.backward()
    exact = x.detach().double()
    expected = (exact.exp().sum(1).log() - exact[:, 0]).mean()
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-6)
    assert abs(x.grad.sum().item()) < 1e-6


def test_logits_that_are_costly_are_right_after_their_exponentials_are_stored(place):
    """The exponentials take the memory in which the tanh was kept: later sweeps compute it again."""
    draws = np.random.default_rng(1)
    x, y = draws.standard_normal((6, 5)), draws.integers(0, 5, 6)
    a, weight = nc.tensor(x, dtype=nc.float32, requires_grad=True), nc.ones(6, requires_grad=True)
    rows = F.cross_entropy((a * 2).tanh(), nc.tensor(y), reduction="none") * weight
    total = rows.sum() * rows.sum()
    total.backward()
    t = np.tanh(2 * x)
    p = np.exp(t) / np.exp(t).sum(1, keepdims=True)
    loss = -np.log(p[np.arange(6), y]).sum()
    np.testing.assert_allclose(total.item(), loss**2, rtol=1e-5)
    expected = 2 * loss * (p - np.eye(5)[y]) * 2 * (1 - t * t)
    np.testing.assert_allclose(a.grad.numpy(), expected, rtol=1e-4, atol=1e-4)
