"""Factorisations by LAPACK on the host against PyTorch: values, gradients, second derivatives, errors."""

from __future__ import annotations

import numpy as np
import pytest
from against_torch import check, numbers

import netcl as nc

SQUARE = numbers(2, 3, 3) + 3 * np.eye(3, dtype=np.float32)
DOUBLE = (numbers(3, 3) + 2 * np.eye(3)).astype(np.float64)
TALL = numbers(4, 3, dtype=np.float64)


def positive(m, a):
    return a @ a.mT + m.eye(a.shape[-1], dtype=a.dtype)


def test_inverses_determinants_and_solutions(device, torch):
    check(
        torch,
        [
            (lambda m, a: m.linalg.inv(a), SQUARE),
            (lambda m, a: a.inverse(), DOUBLE),
            (lambda m, a: m.det(a), SQUARE),
            (lambda m, a: m.linalg.det(a), DOUBLE),
            (lambda m, a: a.logdet(), DOUBLE @ DOUBLE.T),
            (lambda m, a: m.slogdet(a), SQUARE),
            (lambda m, a: m.linalg.slogdet(-a).logabsdet, DOUBLE),
            (lambda m, a: m.linalg.cholesky(positive(m, a)), SQUARE),
            (lambda m, a: m.linalg.cholesky(positive(m, a), upper=True), DOUBLE),
            (lambda m, a, b: m.linalg.solve(a, b), SQUARE, numbers(2, 3, 2)),
            (lambda m, a, b: m.linalg.solve(a, b), SQUARE, numbers(2, 3)),
            (lambda m, a, b: m.linalg.solve(a, b), SQUARE, numbers(3, 1)),
            (lambda m, a, b: m.linalg.solve(a, b, left=False), DOUBLE, numbers(2, 3, dtype=np.float64)),
            (lambda m, a, b: m.linalg.solve(a, b[0]), DOUBLE, numbers(2, 3, dtype=np.float64)),
            (lambda m, a: m.matrix_power(a, -2), DOUBLE),
        ],
        factor=50,
    )


def test_second_derivatives(torch):
    check(
        torch,
        [
            (lambda m, a: m.linalg.inv(a), DOUBLE),
            (lambda m, a: m.linalg.det(a), DOUBLE),
            (lambda m, a: m.linalg.slogdet(a).logabsdet, DOUBLE),
            (lambda m, a: m.linalg.cholesky(positive(m, a)), DOUBLE),
            (lambda m, a: m.linalg.solve(a, a[:, :2]), DOUBLE),
        ],
        second=True,
    )


def test_triangular_systems_and_cholesky_factors(torch):
    b = numbers(3, 2, dtype=np.float64)
    check(
        torch,
        [
            (lambda m, a, b: m.linalg.solve_triangular(a, b, upper=True), DOUBLE, b),
            (lambda m, a, b: m.linalg.solve_triangular(a, b, upper=False, unitriangular=True), DOUBLE, b),
            (lambda m, a, b: m.linalg.solve_triangular(a, b.mT, upper=False, left=False), DOUBLE, b),
            (lambda m, a, b: m.cholesky_solve(b, m.linalg.cholesky(positive(m, a))), DOUBLE, b),
            (lambda m, a, b: m.cholesky_inverse(m.linalg.cholesky(positive(m, a))), DOUBLE, b),
        ],
        factor=10,
    )


def test_spectra(torch):
    wide = TALL.T.copy()
    check(
        torch,
        [
            (lambda m, a: m.linalg.svdvals(a), TALL),
            (lambda m, a: m.linalg.svdvals(a), np.stack([wide, 2 * wide])),
            (lambda m, a: m.linalg.eigvalsh(positive(m, a)), DOUBLE),
            (lambda m, a: m.linalg.pinv(a), TALL),
            (lambda m, a: m.pinverse(a), wide),
            (lambda m, a: m.linalg.pinv(a @ a.mT, hermitian=True), wide),
            (lambda m, a: m.linalg.cond(a), DOUBLE),
            (lambda m, a: m.linalg.qr(a), TALL),
            (lambda m, a: m.linalg.qr(a, mode="complete"), DOUBLE),
            (lambda m, a: m.linalg.norm(a, "nuc"), TALL),
            (lambda m, a: m.linalg.matrix_norm(a, 2, (0, 1), keepdim=True), TALL),
            (lambda m, a: m.linalg.matrix_norm(a, -2, (2, 0)), SQUARE),
            (lambda m, a: m.linalg.norm(a, 1, (1, 0)), TALL),
        ],
        second=True,
        factor=1000,
    )


def test_vectors_of_spectra_by_what_does_not_depend_on_their_signs(torch):
    weights = numbers(3, 3, dtype=np.float64)

    def of_eigenvectors(m, a, w):
        values, vectors = m.linalg.eigh(positive(m, a))
        return ((vectors * vectors) * w).sum() + (values * values).sum()

    def of_singular_vectors(m, a, w):
        u, s, vh = m.linalg.svd(a, full_matrices=False)
        return (u.abs()[..., :3, :3] * w).sum() + (vh * vh * w[: vh.shape[0], :3]).sum() + ((u * s) @ vh * 2).sum()

    cases = [
        (of_eigenvectors, DOUBLE, weights),
        (of_singular_vectors, TALL, weights),
        (of_singular_vectors, DOUBLE, weights),
    ]
    check(torch, cases, second=True, factor=1000)
    u, s, vh = nc.linalg.svd(nc.tensor(TALL))
    assert u.shape == (4, 4) and s.shape == (3,) and vh.shape == (3, 3)
    np.testing.assert_allclose((u[:, :3] * s @ vh).numpy(), TALL, rtol=1e-10, atol=1e-10)


def test_ranks_and_least_squares(torch):
    low = np.outer(np.arange(1, 5), np.arange(1, 4)).astype(np.float32)
    for module in (nc, torch):
        ranks = module.linalg.matrix_rank(module.tensor(np.stack([low, TALL.astype(np.float32)])))
        assert ranks.tolist() == [1, 3] and ranks.dtype is module.int64
        assert module.linalg.matrix_rank(module.tensor(TALL), atol=100.0).item() == 0
    check(
        torch, [(lambda m, a: m.linalg.cond(a, 1), DOUBLE), (lambda m, a: m.linalg.cond(a, -2), DOUBLE)], gradient=False
    )
    b = numbers(4, 2, dtype=np.float64)
    found = [m.linalg.lstsq(m.tensor(TALL), m.tensor(b), driver="gelsd") for m in (nc, torch)]
    for name in ("solution", "residuals", "singular_values"):
        np.testing.assert_allclose(*(getattr(f, name).tolist() for f in found), rtol=1e-8)
    assert found[0].rank.item() == 3


def test_exponentials_and_tensors_as_matrices(torch):
    a, b = numbers(2, 3, 2, 3, dtype=np.float64), numbers(2, 3, dtype=np.float64)
    check(
        torch,
        [
            (lambda m, a, b: m.matrix_exp(b[:, :2]), a, b),
            (lambda m, a, b: (a[0, :, 0] * 9).matrix_exp(), a, b),
            (lambda m, a, b: m.linalg.matrix_exp(m.stack([b[:, :2] * 0, b[:, :2] * 3])), a, b),
            (lambda m, a, b: m.linalg.tensorinv(a), a, b),
            (lambda m, a, b: m.linalg.tensorsolve(a, b), a, b),
            (lambda m, a, b: m.linalg.tensorsolve(a.movedim(3, 0), b, dims=(0,)), a, b),
        ],
        factor=100,
    )
    x = nc.tensor(numbers(3, 3))
    np.testing.assert_allclose((nc.matrix_exp(x) @ nc.matrix_exp(-x)).numpy(), np.eye(3), atol=1e-5)


def test_matrices_of_no_size_and_of_one(torch):
    for shape in ((0, 0), (2, 0, 0), (1, 1)):
        x = numbers(*shape) + 2
        check(
            torch,
            [
                (lambda m, a: m.linalg.inv(a), x),
                (lambda m, a: m.linalg.det(a), x),
                (lambda m, a: m.linalg.slogdet(a), x),
                (lambda m, a: m.linalg.svdvals(a), x),
                (lambda m, a: m.linalg.matrix_rank(a), x),
            ],
            gradient=False,
        )


def test_determinants_of_singular_matrices_have_their_cofactors_as_gradient():
    for matrix, cofactors in (
        ([[1.0, 0.0, 2.0], [2.0, 1.0, 4.0], [3.0, 0.0, 6.0]], [[6.0, 0.0, -3.0], [0.0, 0.0, 0.0], [-2.0, 0.0, 1.0]]),
        ([[1.0, 0.0, 2.0], [2.0, 0.0, 4.0], [3.0, 0.0, 6.0]], np.zeros((3, 3))),
        ([[0.0, 0.0], [0.0, 5.0]], [[5.0, 0.0], [0.0, 0.0]]),
    ):
        x = nc.tensor(matrix, dtype=nc.float64, requires_grad=True)
        nc.linalg.det(x).backward()
        np.testing.assert_allclose(x.grad.numpy(), cofactors, atol=1e-12)
    assert np.isnan(nc.logdet(nc.tensor([[-1.0]])).item())
    assert nc.logdet(nc.tensor([[0.0]])).item() == -float("inf")


@pytest.mark.parametrize(
    "operation",
    [
        lambda m, a: m.linalg.inv(a),
        lambda m, a: m.linalg.solve(a, m.ones(3)),
        lambda m, a: m.linalg.cholesky(a - 2 * m.eye(3)),
    ],
)
def test_matrices_without_a_factorisation_raise_a_linalgerror(torch, operation):
    assert issubclass(nc.linalg.LinAlgError, RuntimeError)
    for module, error in ((nc, nc.linalg.LinAlgError), (torch, torch.linalg.LinAlgError)):
        with pytest.raises(error):
            operation(module, module.ones(3, 3))


@pytest.mark.parametrize(
    "operation",
    [
        lambda m, a: m.linalg.inv(a[:2]),
        lambda m, a: m.linalg.inv(a[0]),
        lambda m, a: m.linalg.inv(a.int()),
        lambda m, a: m.linalg.det(a.half()),
        lambda m, a: m.linalg.solve(a, m.ones(4)),
        lambda m, a: m.linalg.solve(a, a.double()),
        lambda m, a: m.linalg.qr(a, mode="full"),
        lambda m, a: m.linalg.eigh(a, "X"),
        lambda m, a: m.linalg.matrix_norm(a[0]),
        lambda m, a: m.linalg.matrix_norm(a, 3),
        lambda m, a: m.linalg.norm(a[None], 2),
        lambda m, a: m.linalg.lstsq(a, m.ones(4, 1)),
    ],
)
def test_what_pytorch_refuses_is_refused(torch, operation):
    for module in (nc, torch):
        with pytest.raises(RuntimeError):
            operation(module, module.ones(3, 3))


def test_gradients_that_are_not_here_say_so():
    x = nc.tensor(TALL, requires_grad=True)
    for result in (nc.linalg.svd(x).U, nc.linalg.qr(x, mode="complete").Q, nc.linalg.qr(x.mT).R):
        with pytest.raises(NotImplementedError, match="no gradient"):
            result.sum().backward()


def test_the_types_of_several_results_have_pytorchs_names(torch):
    def names(m) -> list[str]:
        a = m.eye(3) * 2
        several = [m.linalg.slogdet(a), m.slogdet(a), a.slogdet(), m.linalg.eigh(a), m.linalg.qr(a), m.linalg.svd(a)]
        several += [m.linalg.lstsq(a, a), a.frexp()]
        return [repr(found).split("(")[0].split(".", 1)[1] for found in several]

    assert names(nc) == names(torch)
