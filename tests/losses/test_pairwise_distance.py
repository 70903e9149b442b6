"""Distances of any order, negative and infinite ones too."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F


@pytest.mark.parametrize("p", [-1.0, -2.5, float("-inf"), 0.0, 0.5, 1.0, 2.0, 3.0, float("inf")])
def test_a_distance_of_any_order_equals_pytorchs(torch, p):
    draws = np.random.default_rng(0)
    arrays = [draws.standard_normal((4, 3)).astype(np.float32) for _ in range(2)]
    found = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        a, b = (module.tensor(x, requires_grad=True) for x in arrays)
        distance = functional.pairwise_distance(a, b, p=p, keepdim=True)
        distance.sum().backward()
        slopes = [np.zeros((4, 3)) if x.grad is None else x.grad.numpy() for x in (a, b)]  # PyTorch has none of order 0
        found.append([distance.detach().numpy(), *slopes])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6)
