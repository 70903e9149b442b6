"""Distances, angles and vectors of length one against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from against_torch import check, numbers

import netcl as nc
import netcl.nn.functional as F


def test_angles_and_vectors_of_length_one(device, torch):
    x, z = numbers(2, 3, 4), numbers(3, 4)
    check(
        torch,
        [
            (lambda m, a, b: m.cosine_similarity(a, b), z, z + 1),
            (lambda m, a, b: m.nn.functional.cosine_similarity(a, b, dim=-1), x, z),
            (lambda m, a: m.nn.functional.normalize(a), x),
            (lambda m, a: m.nn.functional.normalize(a, p=1, dim=0), z),
            (lambda m, a: m.nn.functional.normalize(a, p=3.0, dim=(0, 1)), z),
        ],
        second=True,
        factor=20,
    )


def test_distances_of_all_orders(device, torch):
    x, y = numbers(2, 3, 4), numbers(5, 4)
    check(torch, [(lambda m, a, p=p: m.pdist(a, p), y) for p in (2.0, 1.0)] + [(lambda m, a: m.pdist(a[:1]), y)])
    orders = (2.0, 1.0, 3.0, 0.0, float("inf"))
    check(torch, [(lambda m, a, b, p=p: m.cdist(a, b, p), x, y) for p in orders], gradient=False, factor=10)
    check(torch, [(lambda m, a, b, p=p: m.cdist(a, b, p), x, y) for p in (2.0, 3.0)], factor=10)
    z = nc.tensor(numbers(3, 2, dtype=np.float64), requires_grad=True)
    assert nc.autograd.gradgradcheck(lambda a: nc.cdist(a, a + 1, 3.0), z)


def test_equal_rows_have_distance_zero_and_gradient_zero(torch):
    x = numbers(4, 3)
    check(torch, [(lambda m, a, p=p: m.cdist(a, a, p), x) for p in (2.0, 1.0, 1.5)], factor=10)
    ours = nc.tensor(x, requires_grad=True)
    nc.cdist(ours, ours.detach()).diagonal().sum().backward()
    assert ours.grad.tolist() == np.zeros((4, 3)).tolist()


def test_vectors_of_zeros(torch):
    x = np.zeros((2, 3), np.float32)
    check(
        torch,
        [
            (lambda m, a: m.nn.functional.normalize(a), x),
            (lambda m, a: m.cosine_similarity(a, a + 1), x),
            (lambda m, a: m.cdist(a[:0], a), x),
            (lambda m, a: m.cdist(a[:, :0], a[:, :0]), x),
        ],
    )


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (lambda m, a: m.cdist(a, a[:, :2]), RuntimeError),
        (lambda m, a: m.cdist(a[0], a), RuntimeError),
        (lambda m, a: m.cdist(a, a, -1.0), RuntimeError),
        (lambda m, a: m.cdist(a, a, compute_mode="fast"), ValueError),
        (lambda m, a: m.cosine_similarity(a, a[:2]), RuntimeError),
        (lambda m, a: m.nn.functional.normalize(a, dim=2), IndexError),
    ],
)
def test_what_pytorch_refuses_is_refused(torch, operation, error):
    for module in (nc, torch):
        with pytest.raises(error):
            operation(module, module.ones(3, 3))


def test_modules_of_two_inputs(torch):
    x, y = numbers(4, 3), numbers(4, 2)
    for module in (nc, torch):
        module.manual_seed(3)
    ours, theirs = (m.nn.Bilinear(3, 2, 5) for m in (nc, torch))
    assert repr(ours) == repr(theirs)
    np.testing.assert_array_equal(ours.weight.detach().numpy(), theirs.weight.detach().numpy())
    result = ours(nc.tensor(x), nc.tensor(y)).detach().numpy()
    np.testing.assert_allclose(result, theirs(torch.tensor(x), torch.tensor(y)).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert nc.nn.Bilinear(3, 2, 5, bias=False).bias is None
    angle = nc.nn.CosineSimilarity(dim=0)(nc.tensor(x), nc.tensor(x))
    np.testing.assert_allclose(angle.numpy(), np.ones(3), rtol=1e-6)


def test_normalizing_rows_is_one_kernel():
    x = nc.tensor(numbers(8, 32))
    with nc.profiler.count_launches() as launches:
        F.normalize(x).numpy()
    assert int(launches) == 1
