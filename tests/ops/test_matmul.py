"""Matrix products of every rank, layout and dtype, with gradients."""

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F

RANKS = [
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (7, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((1, 1), (1, 1)),
    ((17, 33), (33, 19)),
    ((2, 0), (0, 3)),
]


def test_every_combination_of_ranks_equals_pytorch_with_gradients(place, torch):
    draws = np.random.default_rng(0)
    for left, right in RANKS:
        x, y = draws.standard_normal(left).astype(np.float32), draws.standard_normal(right).astype(np.float32)
        a, b = nc.tensor(x, requires_grad=True), nc.tensor(y, requires_grad=True)
        c, d = torch.tensor(x, requires_grad=True), torch.tensor(y, requires_grad=True)
        ours, theirs = a @ b, c @ d
        assert tuple(ours.shape) == tuple(theirs.shape)
        np.testing.assert_allclose(
            ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-5, atol=1e-5, err_msg=f"{left} @ {right}"
        )
        (ours * ours).sum().backward()
        (theirs * theirs).sum().backward()
        np.testing.assert_allclose(a.grad.numpy(), c.grad.numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(b.grad.numpy(), d.grad.numpy(), rtol=1e-4, atol=1e-4)


def test_operands_may_have_any_strides(target):
    x = np.random.default_rng(1).integers(-4, 5, (24, 30)).astype(np.float32)
    a = nc.tensor(x)
    for left, right in (
        (lambda t: t.T, lambda t: t),
        (lambda t: t, lambda t: t.T),
        (lambda t: t[::2, 1::3], lambda t: t[:10, ::-1] if isinstance(t, np.ndarray) else t[:10].flip(1)),
        (lambda t: t[3:5], lambda t: t[1:2].T),
        (lambda t: t.reshape(20, 36)[:, :24], lambda t: t),
        (lambda t: t[:, :24] * 2 + 1, lambda t: t * 3),
    ):
        np.testing.assert_array_equal((left(a) @ right(a)).numpy(), left(x) @ right(x))
    spread, row = nc.tensor(x[0]).expand(6, 30), x[:1]
    np.testing.assert_array_equal((spread @ a.T).numpy(), np.broadcast_to(row, (6, 30)) @ x.T)


@pytest.mark.parametrize("name", ["float64", "float16", "bfloat16", "int32", "int64", "uint8", "int8", "int16"])
def test_products_in_other_dtypes_are_accumulated_wide_enough(name, target, torch):
    draws = np.random.default_rng(2)
    x, y = draws.integers(-3, 4, (9, 40)), draws.integers(-3, 4, (40, 7))
    dtype = getattr(nc, name)
    if name == "uint8":
        x, y = np.abs(x), np.abs(y)
    got = nc.tensor(x).to(dtype) @ nc.tensor(y).to(dtype)
    assert got.dtype is dtype
    expected = (torch.tensor(x).to(getattr(torch, name)) @ torch.tensor(y).to(getattr(torch, name))).double().numpy()
    np.testing.assert_array_equal(got.numpy().astype(np.float64), expected)
    if dtype.category == 2:  # sums that float16 could not hold on the way
        ones = nc.ones(4, 5000, dtype=dtype)
        assert (ones @ (ones.T * 0.5)).tolist() == [[2500.0 if name != "bfloat16" else 2496.0] * 4] * 4
        reals = draws.standard_normal((33, 70)).astype(np.float64)
        narrow = nc.tensor(reals).to(dtype)
        exact = narrow.double().numpy() @ narrow.double().numpy().T
        limit = {"float64": 1e-12, "float16": 2e-3, "bfloat16": 1e-2}[name]
        np.testing.assert_allclose((narrow @ narrow.T).double().numpy(), exact, rtol=limit, atol=limit * 10)


def test_linear_equals_pytorch_for_every_rank(place, torch):
    draws = np.random.default_rng(3)
    w, c = draws.standard_normal((6, 5)).astype(np.float32), draws.standard_normal(6).astype(np.float32)
    for shape in ((5,), (4, 5), (2, 3, 5), (0, 5)):
        for bias in (c, None):
            x = draws.standard_normal(shape).astype(np.float32)
            ours = [nc.tensor(t, requires_grad=True) for t in (x, w, *(() if bias is None else (bias,)))]
            theirs = [torch.tensor(t, requires_grad=True) for t in (x, w, *(() if bias is None else (bias,)))]
            y, z = F.linear(*ours), torch.nn.functional.linear(*theirs)
            np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-5, atol=1e-5)
            y.tanh().sum().backward()
            z.tanh().sum().backward()
            for t, u in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(t.grad.numpy(), u.grad.numpy(), rtol=1e-4, atol=1e-5)
