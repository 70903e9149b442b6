"""A row kernel keeps costly values in a result's memory between two passes: for the very element, and no other."""

from __future__ import annotations

import numpy as np

import netcl as nc
from netcl.graph import plan

draws = np.random.default_rng(0)
A = draws.standard_normal((16, 16)).astype(np.float32)
B = draws.standard_normal((16, 16)).astype(np.float32)


def gradient(centred) -> np.ndarray:
    """The way back of a sort reads the cosines of other rows than the one that is being done."""
    a, b = nc.tensor(A, requires_grad=True), nc.tensor(B)
    ordered = a.sort(0)[0] * b.cos()
    total = (ordered**2).mean() + ((centred(a) * ordered) ** 2).mean()
    found = nc.autograd.grad(total, [a])[0]
    return found.numpy()


def test_what_a_pass_keeps_is_not_read_for_other_rows(place):
    for centred in (lambda a: a - a.mean(1, keepdim=True), lambda a: nc.nn.functional.layer_norm(a, (16,))):
        fused = gradient(centred)
        with nc.eager():
            apart = gradient(centred)
        np.testing.assert_allclose(fused, apart, rtol=1e-5, atol=1e-6)


def test_a_softmax_still_computes_each_exponential_once():
    plan.clear_plans()
    x = nc.tensor(A)
    x.softmax(1).numpy()
    (source,) = next(p for p in plan._plans.values() if isinstance(p, plan.Plan)).kernels
    body = source.source[source.source.index("__kernel") :]
    assert body.count("exp(") == 1
