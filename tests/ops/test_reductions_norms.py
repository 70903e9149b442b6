"""Vector and matrix norms of every order, their gradients at 0, dist, renorm."""

import numpy as np
import pytest
from against_torch import close, derivatives, values

import netcl as nc

INF = float("inf")
X = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)


def test_vector_norms_of_every_order_equal_pytorch(place, torch):
    cases = {}
    for order in (0, 0.5, 1, 1.5, 2, 3, INF, -INF, -1):
        cases[f"{order} over 1"] = lambda m, t, p=order: m.linalg.vector_norm(t, p, 1)
        cases[f"{order} over all"] = lambda m, t, p=order: m.linalg.vector_norm(t, p, keepdim=True)
    cases["norm"] = lambda m, t: (m.norm(t), t.norm(3), t.norm(p=1, dim=(0, 2)), t.norm(dim=0, keepdim=True))
    derivatives(torch, cases, X, 3e-4, second=False)


def test_gradients_of_norms_at_zero_are_those_of_pytorch(device, torch):
    x = X[:, :, 0].copy()
    x[0] = 0
    x[1, 2] = 0
    for p in (0, 0.5, 1, 1.5, 2, 3, INF):
        derivatives(torch, {str(p): lambda m, t, p=p: m.linalg.vector_norm(t, p, 1)}, x, 3e-4, second=False)


def test_linalg_norm_and_matrix_norms_equal_pytorch(device, torch):
    cases = {"none": lambda m, t: m.linalg.norm(t), "vector": lambda m, t: m.linalg.norm(t, 3, dim=1)}
    for order in ("fro", 1, -1, INF, -INF):
        cases[f"matrix {order}"] = lambda m, t, p=order: m.linalg.norm(t, p, (0, 2))
        cases[f"last two {order}"] = lambda m, t, p=order: m.linalg.matrix_norm(t, p, keepdim=True)
    values(torch, cases, X)
    derivatives(torch, {"1": lambda m, t: m.linalg.norm(t, 1), "inf": lambda m, t: m.linalg.norm(t, INF)}, X[0])
    with pytest.raises(RuntimeError, match="nuc"):
        nc.linalg.matrix_norm(nc.tensor(X), "other")


def test_dist_and_renorm_equal_pytorch(device, torch):
    derivatives(torch, {"dist": lambda m, t: m.dist(t, t * t, 3), "two": lambda m, t: t.dist(m.ones(4))}, X, 1e-3)
    derivatives(torch, {"renorm": lambda m, t: t.renorm(2, 1, 1.5)}, X, second=False)


def test_norms_of_half_tensors_are_accumulated_in_float32(torch):
    close(
        nc.full((100_000,), 0.5, dtype=nc.float16).norm(), torch.full((100_000,), 0.5, dtype=torch.float16).norm(), 1e-3
    )
    assert nc.ones(4, dtype=nc.int32).norm(dtype=nc.float32).item() == 2


def test_norms_of_nothing_and_of_integers():
    assert nc.zeros(0).norm().item() == 0
    for wrong, match in (
        (lambda: nc.zeros(0).norm(INF), "no elements"),
        (lambda: nc.tensor([1, 2]).norm(), "int64"),
        (lambda: nc.tensor([1.0]).norm(dtype=nc.int32), "dtype"),
        (lambda: nc.zeros(3).renorm(2, 0, 1), "dimensions"),
    ):
        with pytest.raises(RuntimeError, match=match):
            wrong()
