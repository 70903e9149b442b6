"""Reductions over every choice of axes, argmax and argmin, softmax and normalisation, and how exact sums are."""

import itertools

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F

SHAPE = (3, 1, 5, 4)


def close(actual, expected, rtol=2e-6, atol=1e-6) -> None:
    assert tuple(actual.shape) == tuple(expected.shape)
    assert str(actual.dtype).split(".")[1] == str(expected.dtype).split(".")[1]
    got = actual.detach().numpy().astype(np.float64)
    np.testing.assert_allclose(got, expected.detach().double().numpy(), rtol=rtol, atol=atol, equal_nan=True)


def axes_of(rank: int) -> list:
    return [c for n in range(1, rank + 1) for c in itertools.combinations(range(rank), n)] + [None, -1, (0, -1)]


def test_reductions_over_every_choice_of_axes_equal_pytorch(place, torch):
    x = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    for number, dim in enumerate(axes_of(4)):
        keepdim = number % 2 == 0
        a, b = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        every = tuple(range(4)) if dim is None else dim
        ours = [getattr(a, name)(dim, keepdim) for name in ("sum", "mean", "amax", "amin")]
        theirs = [getattr(b, name)(every, keepdim) for name in ("sum", "mean", "amax", "amin")]
        if dim != (1,):  # PyTorch warns: a variance of one number
            ours += [a.logsumexp(dim, keepdim), a.var(dim, 1, keepdim)]
            theirs += [b.logsumexp(every, keepdim), b.var(every, correction=1, keepdim=keepdim)]
        for f, g in zip(ours, theirs, strict=True):
            close(f, g, 1e-5, 1e-6)
        sum((f * f).sum() for f in ours).backward()
        sum((g * g).sum() for g in theirs).backward()
        close(a.grad, b.grad, 1e-4, 1e-5)


def test_integer_and_bool_sums_are_int64_and_exact(target, torch):
    for dtype in (np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64):
        x = (np.random.default_rng(1).integers(0, 127, (7, 33)) % (2 if dtype is np.bool_ else 127)).astype(dtype)
        a, b = nc.tensor(x), torch.tensor(x)
        for dim in (None, 0, 1):
            close(a.sum(dim), b.sum(dim), 0, 0)
            if dtype is not np.bool_:
                close(a.amax(dim), b.amax(() if dim is None else dim), 0, 0)
    big = np.array([2**62, -1, 2**62 - 5], np.int64)
    assert nc.tensor(big).sum().item() == int(big.sum())


def test_totals_of_narrow_floats_are_right_to_the_last_bit(place, torch):
    x = np.random.default_rng(2).standard_normal((2, 3, 40)).astype(np.float32)
    for dtype, last_bit in (("float16", 2.0**-10), ("bfloat16", 2.0**-7)):
        ours, theirs = nc.tensor(x).to(getattr(nc, dtype)), torch.tensor(x).to(getattr(torch, dtype))
        made = [(ours.sum(dim), theirs.double().sum(dim)) for dim in (None, (0, 2), (1,))]
        for mine, exact in made:
            np.testing.assert_allclose(mine.float().numpy(), exact.numpy(), rtol=last_bit)


def test_argmax_and_argmin_take_the_first_of_ties_and_nan_first(place):
    x = np.array([[1, 3, 3, 2], [np.nan, 5, np.nan, 1], [-np.inf, -np.inf, -1, -np.inf], [0, -0.0, 0, 0]], np.float32)
    for name in ("argmax", "argmin"):
        reference = getattr(np, name)
        for dim in (0, 1, -1, None):
            got = getattr(nc.tensor(x), name)(dim)
            assert got.dtype is nc.int64
            np.testing.assert_array_equal(got.numpy(), reference(x, dim))
        np.testing.assert_array_equal(getattr(nc.tensor(x), name)(1, True).numpy(), reference(x, 1, keepdims=True))
    assert np.isnan(nc.tensor(x).amax().item())
    assert nc.tensor(7.0).argmax().item() == 0
    np.testing.assert_array_equal(nc.tensor(np.int32([[3, 9], [9, 3]])).argmax(1).numpy(), [1, 0])


def test_reductions_without_elements_give_pytorchs_results_or_its_errors(torch):
    for shape, dim in (((0,), None), ((0, 3), 0), ((0, 3), 1), ((3, 0), 1), ((2, 0, 4), (1, 2))):
        a, b = nc.zeros(shape), torch.zeros(shape)
        close(a.sum(dim), b.sum(dim))
        close(a.mean(dim), b.mean(dim))
    close(nc.zeros(0, 3).amax(1), torch.zeros(0, 3).amax(1))
    for wrong, kind in (
        (lambda: nc.zeros(0).amax(), RuntimeError),
        (lambda: nc.zeros(0, 3).amin(0), IndexError),
        (lambda: nc.zeros(0).argmax(), IndexError),
        (lambda: nc.zeros(2, 0).argmin(1), IndexError),
    ):
        with pytest.raises(kind, match="0"):
            wrong()


def test_softmax_and_log_softmax_equal_pytorch_at_any_magnitude(place, torch):
    x = np.random.default_rng(2).standard_normal((6, 5, 19)).astype(np.float32)
    x[0, 0], x[1, 1, 3], x[2, 2, :], x[3, 3, 0], x[4, 4] = 1e4, -np.inf, -np.inf, np.nan, x[4, 4] * 1e4
    for dim in (0, 1, 2, -1):
        for ours, theirs in ((F.softmax, torch.softmax), (F.log_softmax, torch.log_softmax)):
            a, b = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
            y, z = ours(a, dim), theirs(b, dim)
            close(y, z, 1e-5, 1e-6)
            start = np.random.default_rng(3).standard_normal(x.shape).astype(np.float32)
            y.backward(nc.tensor(start))
            z.backward(torch.tensor(start))
            close(a.grad, b.grad, 1e-4, 1e-5 if ours is F.softmax else 2e-3)  # 1e4-sized terms cancel in float32
    for shape in ((0, 5), (5, 0), ()):
        close(F.softmax(nc.zeros(shape), -1), torch.softmax(torch.zeros(shape), -1))
        close(F.log_softmax(nc.zeros(shape), -1), torch.log_softmax(torch.zeros(shape), -1))


def test_layer_norm_equals_pytorch(place, torch):
    x = (np.random.default_rng(4).standard_normal((7, 3, 20)) * 3 + 100).astype(np.float32)
    w, c = (np.random.default_rng(n).standard_normal((3, 20)).astype(np.float32) for n in (5, 6))
    for shape in ((20,), (3, 20)):
        ours = [
            nc.tensor(t, requires_grad=True)
            for t in (x, w[: 1 if len(shape) == 1 else 3].reshape(shape), c[0] if len(shape) == 1 else c)
        ]
        theirs = [torch.tensor(t.detach().numpy(), requires_grad=True) for t in ours]
        y = F.layer_norm(ours[0], shape, ours[1], ours[2])
        z = torch.nn.functional.layer_norm(theirs[0], shape, theirs[1], theirs[2])
        close(y, z, 1e-5, 2e-5)  # the inputs are 100 +- 3: their float32 spacing alone is 8e-6
        (y * y).sum().backward()
        (z * z).sum().backward()
        for t, u in zip(ours, theirs, strict=True):
            close(t.grad, u.grad, 1e-4, 1e-3 if t is ours[0] else 1e-4)
    close(F.layer_norm(nc.zeros(0, 5), 5), torch.nn.functional.layer_norm(torch.zeros(0, 5), (5,)))
    with pytest.raises(RuntimeError, match=r"layer_norm.*\[4\].*\[2, 5\]"):
        F.layer_norm(nc.zeros(2, 5), 4)


@pytest.mark.parametrize(
    ("shape", "dim"), [((10_000_000,), None), ((5_000_000, 2), 0), ((2, 5_000_000), 1), ((1_250_000, 2, 4), (0, 2))]
)
def test_sums_of_ten_million_floats_are_no_worse_than_pytorchs_and_the_same_every_time(shape, dim, target, torch):
    draws = np.random.default_rng(7)
    for x in (draws.random(shape, np.float32), draws.standard_normal(shape, np.float32) + 3):
        axes = tuple(range(len(shape))) if dim is None else dim
        exact = x.sum(axes, dtype=np.float64)
        tensor = nc.tensor(x)
        ours = tensor.sum(dim).numpy()
        theirs = torch.tensor(x).sum(dim).numpy()
        error, allowed = np.abs(ours - exact) / np.abs(exact), np.abs(theirs - exact) / np.abs(exact)
        assert error.max() <= max(allowed.max(), 1e-6), (error, allowed)  # at most some float32 roundings of the result
        nc.synchronize()
        np.testing.assert_array_equal(tensor.sum(dim).numpy(), ours)
