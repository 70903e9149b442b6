"""Triangles and diagonals against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from against_torch import check, numbers

import netcl as nc


def test_triangles_and_diagonals_give_pytorchs_elements_and_gradients(device, torch):
    x, y, z = numbers(3, 5), numbers(4), numbers(2, 4, 3)
    check(
        torch,
        [
            *((lambda m, a, k=k: m.tril(a, k), x) for k in (-3, -1, 0, 2, 9)),
            *((lambda m, a, k=k: a.triu(diagonal=k), z) for k in (-9, -1, 0, 1, 3)),
            (lambda m, a: a.transpose(0, 2).tril(), z),
            (lambda m, a: (a * 2).triu(1), x),
            (lambda m, a: a.diag(), x),
            (lambda m, a: a.diag(-1), x),
            (lambda m, a: m.diag(a, 2), y),
            (lambda m, a: m.diag(a, -1), y),
            (lambda m, a: m.diag_embed(a), x),
            (lambda m, a: a.diag_embed(1, 0, 2), z),
            (lambda m, a: m.diag_embed(a, -2, -1, 0), x),
            (lambda m, a: m.diagflat(a, 1), x),
            (lambda m, a: a[0].diagflat(), y),
            (lambda m, a: a.trace(), x),
            (lambda m, a: m.trace(a.t()), x),
        ],
        second=True,
    )


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.bool_, np.float16, np.float64])
def test_triangles_and_diagonals_of_other_dtypes(torch, dtype):
    x = numbers(3, 3, dtype=dtype)
    check(
        torch,
        [
            (lambda m, a: a.tril(), x),
            (lambda m, a: a.triu(1), x),
            (lambda m, a: a.diag(), x),
            (lambda m, a: a[0].diag_embed(1), x),
        ],
        gradient=False,
    )
    if dtype is not np.bool_:
        check(torch, [(lambda m, a: a.trace(), x)], gradient=False)


def test_triangles_leave_out_nan_and_infinity():
    x = nc.tensor([[1.0, float("nan")], [float("inf"), 2.0]])
    assert x.tril().triu().tolist() == [[1.0, 0.0], [0.0, 2.0]]


def test_matrices_without_elements(torch):
    x = numbers(0, 3)
    check(
        torch,
        [
            (lambda m, a: a.tril(), x),
            (lambda m, a: a.diag(), x),
            (lambda m, a: a[:, 0].diag(), x),
            (lambda m, a: a[:, 0].diag(1), x),
            (lambda m, a: a.trace(), x),
            (lambda m, a: a.diag_embed(), x),
        ],
        gradient=False,
    )


def test_indices_of_triangles(torch):
    for row, column, offset in ((3, 4, 0), (4, 2, -1), (2, 3, 1), (0, 3, 0), (3, 3, -5)):
        for name in ("tril_indices", "triu_indices"):
            ours, theirs = (getattr(m, name)(row, column, offset) for m in (nc, torch))
            assert ours.dtype is nc.int64 and tuple(ours.shape) == tuple(theirs.shape)
            assert ours.tolist() == theirs.tolist()
    assert nc.tril_indices(2, 2, dtype=nc.int32).dtype is nc.int32


def test_filling_the_diagonal(torch):
    from netcl.ops.triangles import fill_diagonal

    for shape, wrap in (
        ((3, 3), False),
        ((7, 3), False),
        ((7, 3), True),
        ((8, 2), True),
        ((2, 5), True),
        ((3, 3, 3), False),
    ):
        array = numbers(*shape)
        expected = torch.tensor(array).fill_diagonal_(5.0, wrap).tolist()
        assert fill_diagonal(nc.tensor(array), 5.0, wrap).tolist() == expected
    x = nc.tensor(numbers(3, 3), requires_grad=True)
    fill_diagonal(x, 1.0).sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (lambda m, a: a[0].tril(), RuntimeError),
        (lambda m, a: a.tril(1.5), TypeError),
        (lambda m, a: a[None].diag(), RuntimeError),
        (lambda m, a: a[0].trace(), RuntimeError),
        (lambda m, a: a.diag_embed(0, 1, 1), RuntimeError),
        (lambda m, a: a.diag_embed(0, 1, 3), IndexError),
        (lambda m, a: m.tril_indices(-1, 2), RuntimeError),
        (lambda m, a: m.triu_indices(2, 2, dtype=m.float32), RuntimeError),
    ],
)
def test_what_pytorch_refuses_is_refused(torch, operation, error):
    for module in (nc, torch):
        with pytest.raises(error):
            operation(module, module.ones(3, 3))


def test_the_diagonal_of_numbers_rounded_to_bfloat16(device):
    x = nc.tensor([1.0, 2.0, 0.3]).to(nc.bfloat16).diag()
    assert x.tolist() == [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.30078125]]
