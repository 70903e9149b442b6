"""Products of vectors, matrices and batches against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from against_torch import check, numbers

import netcl as nc


def test_products_give_pytorchs_values_and_gradients(device, torch):
    v, w, m, n, b, c = numbers(4), numbers(3), numbers(4, 3), numbers(3, 5), numbers(2, 4, 3), numbers(2, 3, 5)
    check(
        torch,
        [
            (lambda m, a: m.dot(a, a * 2), v),
            (lambda m, a: a.vdot(a + 1), v),
            (lambda m, a, b: m.outer(a, b), v, w),
            (lambda m, a, b: a.ger(b), w, v),
            (lambda m, a, b: m.mv(a, b), m, w),
            (lambda m, a, b: m.inner(a, b), m, w),
            (lambda m, a, b: a.inner(b), b, m),
            (lambda m, a, b: m.inner(a, b[0]), m, w),
            (lambda m, a, b, c: m.addmm(a, b, c), numbers(5), m, n),
            (lambda m, a, b, c: a.addmm(b, c, beta=0.5, alpha=-2), numbers(4, 5), m, n),
            (lambda m, a, b, c: m.addmm(a, b, c, beta=0), numbers(1), m, n),
            (lambda m, a, b, c: m.addmv(a, b, c, alpha=3), v, m, w),
            (lambda m, a, b, c: m.addr(a, b, c, beta=2), m, v, w),
            (lambda m, a, b, c: m.baddbmm(a, b, c, beta=0.5), numbers(4, 5), b, c),
            (lambda m, a, b, c: m.addbmm(a, b, c, alpha=0.5), numbers(4, 5), b, c),
            (lambda m, a, b: m.tensordot(a, b), b, numbers(4, 3, 2)),
            (lambda m, a, b: m.tensordot(a, b, dims=([1, 2], [0, -2])), b, numbers(4, 3, 2)),
            (lambda m, a, b: m.tensordot(a, b, 0), v, m),
            (lambda m, a, b: m.kron(a, b), m, n),
            (lambda m, a, b: a.kron(b), b, w),
            (lambda m, a, b, c, d: m.linalg.multi_dot([a, b, c, d]), v, m, n, numbers(5)),
            (lambda m, a, b: m.cross(a, b, dim=1), m, numbers(4, 3) + 1),
            (lambda m, a, b: m.linalg.cross(a, b[:1]), m, numbers(4, 3) + 1),
            (lambda m, a, b: m.linalg.vecdot(a, b[0]), m, m),
            (lambda m, a: a.matrix_power(3), numbers(2, 3, 3)),
            (lambda m, a: m.matrix_power(a, 0), numbers(2, 3, 3)),
            (lambda m, a: m.linalg.matrix_power(a, 1), numbers(3, 3)),
            (lambda m, a, b, w: m.nn.functional.bilinear(a, b, w), m, numbers(4, 2), numbers(5, 3, 2)),
        ],
        factor=4,
    )


def test_powers_of_a_vector(torch):
    m, v = numbers(4, 3), numbers(3)
    cases = [
        (lambda m, a, b: m.vander(b, 4), m, v),
        (lambda m, a, b: m.vander(b, increasing=True), m, v),
        (lambda m, a, b: m.linalg.vander(a, N=2), m, v),
    ]
    check(torch, cases, gradient=False)
    x = nc.tensor(v, requires_grad=True)
    nc.vander(x, 3).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * v + 1, rtol=1e-5)


def test_a_chain_of_matrices_is_multiplied_in_the_cheapest_order():
    a, b, c, d = numbers(2, 30), numbers(30, 3), numbers(3, 20), numbers(20, 1)
    result = nc.chain_matmul(*(nc.tensor(x) for x in (a, b, c, d)))
    np.testing.assert_allclose(result.numpy(), a @ b @ c @ d, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float64, np.float16])
def test_products_of_other_dtypes(torch, dtype):
    m, v = numbers(3, 3, dtype=dtype), numbers(3, dtype=dtype)
    check(
        torch,
        [
            (lambda m, a, b: m.dot(a[0], b), m, v),
            (lambda m, a, b: m.mv(a, b), m, v),
            (lambda m, a, b: m.outer(b, a[0]), m, v),
            (lambda m, a, b: m.addmm(b, a, a, beta=2, alpha=3), m, v),
            (lambda m, a, b: m.addr(a, b, b), m, v),
            (lambda m, a, b: m.kron(a, b), m, v),
            (lambda m, a, b: m.tensordot(a, a), m, v),
            (lambda m, a, b: m.linalg.cross(a, b[None]), m, v),
            (lambda m, a, b: m.bmm(a[None], a[None]), m, v),
            (lambda m, a, b: a @ b, m, v),
        ],
        gradient=False,
    )


def test_products_without_elements(torch):
    m, v = numbers(0, 3), numbers(0)
    check(
        torch,
        [
            (lambda m, a, b: m.dot(b, b), m, v),
            (lambda m, a, b: m.outer(b, a[:, 0]), m, v),
            (lambda m, a, b: m.mv(a.t(), b), m, v),
            (lambda m, a, b: m.addmm(m.ones(3), a.t(), a, beta=2), m, v),
            (lambda m, a, b: m.tensordot(a, a, ([0], [0])), m, v),
            (lambda m, a, b: m.kron(a, b), m, v),
            (lambda m, a, b: m.inner(a, a), m, v),
        ],
        gradient=False,
    )


def test_with_beta_zero_what_is_in_input_does_not_matter():
    result = nc.addmm(nc.full((2, 2), float("nan")), nc.ones(2, 3), nc.ones(3, 2), beta=0)
    assert result.tolist() == [[3.0, 3.0], [3.0, 3.0]]


def test_in_place_products(torch):
    found = []
    for module in (nc, torch):
        m, v = module.tensor(numbers(3, 3)), module.tensor(numbers(3))
        x = module.tensor(numbers(3, 3) + 1)
        x.addmm_(m, m, beta=0.5).addr_(v, v)
        y = v * 2
        y.addmv_(m, v)
        z = x[None] * 1
        z.baddbmm_(m[None], m[None])
        found.append([x.tolist(), y.tolist(), z.tolist()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (lambda m, a, v: m.dot(a, a), RuntimeError),
        (lambda m, a, v: m.dot(v, v[:2]), RuntimeError),
        (lambda m, a, v: m.mv(v, a), RuntimeError),
        (lambda m, a, v: m.outer(a, v), RuntimeError),
        (lambda m, a, v: m.addmm(v[:2], a, a), RuntimeError),
        (lambda m, a, v: m.addmm(v, a, v), RuntimeError),
        (lambda m, a, v: m.addmm(v.double(), a, a), RuntimeError),
        (lambda m, a, v: m.addr(a.int(), v.int(), v.int(), alpha=0.5), RuntimeError),
        (lambda m, a, v: m.mm(a.bool(), a.bool()), NotImplementedError),
        (lambda m, a, v: m.inner(a, v[:2]), RuntimeError),
        (lambda m, a, v: m.tensordot(a, v[:2], 1), RuntimeError),
        (lambda m, a, v: m.tensordot(a, a, ([0], [0, 1])), RuntimeError),
        (lambda m, a, v: m.linalg.cross(a[:, :2], a[:, :2]), RuntimeError),
        (lambda m, a, v: m.linalg.multi_dot([a]), RuntimeError),
        (lambda m, a, v: m.matrix_power(a[:2], 2), RuntimeError),
        (lambda m, a, v: m.nn.functional.bilinear(a, a, m.ones(2, 3, 4)), RuntimeError),
        (lambda m, a, v: a @ a.double(), RuntimeError),
    ],
)
def test_what_pytorch_refuses_is_refused(torch, operation, error):
    for module in (nc, torch):
        with pytest.raises(error):
            operation(module, module.ones(3, 3), module.ones(3))
