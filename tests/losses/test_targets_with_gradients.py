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
