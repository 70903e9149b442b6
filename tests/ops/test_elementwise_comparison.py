"""Bounds, signs, kinds of numbers, and whether tensors agree: as in PyTorch."""

import math

import numpy as np
import pytest

import netcl as nc

X = np.array([0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan, 1e-40, -3.0, 7.0] * 3, np.float32)


def test_kinds_of_numbers_equal_pytorch(place, torch):
    for x in (X, X.astype(np.float64), np.array([3, 0, -1] * 6)):
        a, b = nc.tensor(x), torch.tensor(x)
        for name in "isnan isinf isfinite isposinf isneginf isreal signbit".split():
            ours = getattr(nc, name)(a)
            assert ours.dtype is nc.bool
            np.testing.assert_array_equal(ours.numpy(), getattr(torch, name)(b).numpy(), err_msg=name)


def test_clamp_equals_pytorch_for_numbers_and_tensors(place, torch):
    low, high = np.linspace(-2, 2, 30, dtype=np.float32), np.linspace(1.5, -1.5, 30, dtype=np.float32)
    for f in (
        lambda n, x, p, q: x.clamp(-1, 1),
        lambda n, x, p, q: x.clamp(max=0.5),
        lambda n, x, p, q: n.clamp(x, p, q),
        lambda n, x, p, q: n.clip(x, min=p),
        lambda n, x, p, q: x.clamp_min(0.5),
        lambda n, x, p, q: x.clamp_max(q),
        lambda n, x, p, q: x.clamp(math.nan, 1),
        lambda n, x, p, q: n.clamp(n.tensor([1, 5, 9]), 2, 7),
        lambda n, x, p, q: n.clamp(n.tensor([1, 5, 9]), 2.5),
    ):
        ours = [nc.tensor(v, requires_grad=True) for v in (X, low, high)]
        theirs = [torch.tensor(v, requires_grad=True) for v in (X, low, high)]
        y, z = f(nc, *ours), f(torch, *theirs)
        assert str(y.dtype).split(".")[1] == str(z.dtype).split(".")[1]
        np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
        if y.requires_grad:
            finite = np.isfinite(X)  # a NaN's gradient goes its own ways
            y.backward(nc.tensor(finite).float())
            z.backward(torch.tensor(finite).float())
            for a, b in zip(ours, theirs, strict=True):
                if b.grad is not None:
                    np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())
    with pytest.raises(RuntimeError, match="at least one"):
        nc.tensor([1.0]).clamp()


def test_signs_steps_and_replaced_nans_equal_pytorch(device, torch):
    a, b = nc.tensor(X), torch.tensor(X)
    for f in (
        lambda n, t: n.heaviside(t, n.tensor([0.5])),
        lambda n, t: n.angle(t),
        lambda n, t: n.tensor([1, -2]).angle(),
        lambda n, t: t.nan_to_num(),
        lambda n, t: n.nan_to_num(t, nan=2.0, posinf=1.0, neginf=-1.0),
        lambda n, t: n.nan_to_num(t.half()),
        lambda n, t: n.nan_to_num(t.bfloat16()),
        lambda n, t: n.nan_to_num(n.tensor([1, 2])),
        lambda n, t: n.sgn(t),
        lambda n, t: n.copysign(t, -0.0),
        lambda n, t: n.copysign(n.tensor([1, -2]), n.tensor([-1, 1])),
        lambda n, t: n.fmax(t, t.flip(0)),
        lambda n, t: n.fmin(n.tensor([1, 5]), n.tensor([3, 2])),
        lambda n, t: t.greater(0),
        lambda n, t: n.less_equal(t, t.flip(0)),
        lambda n, t: t.not_equal(1.5),
        lambda n, t: t.logical_and(t > 0),
        lambda n, t: t.logical_xor(t.flip(0)),
        lambda n, t: t.logical_not(),
    ):
        ours, theirs = f(nc, a), f(torch, b)
        assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
        got, want = (t.float().numpy() for t in (ours, theirs))
        np.testing.assert_array_equal(got, want)
        if theirs.is_floating_point():
            np.testing.assert_array_equal(np.signbit(got[want != 0]), np.signbit(want[want != 0]))
    with pytest.raises(RuntimeError, match="one dtype"):
        nc.heaviside(a, nc.tensor([1]))


def test_a_nan_that_is_replaced_gets_no_gradient(device, torch):
    a, b = nc.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    a.nan_to_num().sum().backward()
    b.nan_to_num().sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())


def test_isclose_allclose_and_equal_agree_with_pytorch(device, torch):
    x = np.array([1.0, 1.0, 1e-9, np.inf, np.inf, np.nan, 5.0, 100.0], np.float32)
    y = np.array([1.0, 1.00001, 0.0, np.inf, -np.inf, np.nan, 6.0, 100.0005], np.float32)
    for options in ({}, {"equal_nan": True}, {"rtol": 0.2}, {"rtol": 0.0, "atol": 1e-3}):
        ours, theirs = (n.isclose(n.tensor(x), n.tensor(y), **options) for n in (nc, torch))
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        assert nc.allclose(nc.tensor(x), nc.tensor(y), **options) == bool(theirs.all())
    assert nc.allclose(nc.tensor(x), nc.tensor(x), equal_nan=True) is True
    whole = nc.tensor([1, 2, 300]), nc.tensor([1, 2, 301])
    assert nc.isclose(*whole).tolist() == [True, True, False]
    assert nc.isclose(*whole, rtol=0.01).tolist() == [True, True, True]
    assert nc.isclose(nc.tensor([True, False]), nc.tensor([True, True])).tolist() == [True, False]
    assert nc.equal(whole[0], whole[0].clone()) and not nc.equal(*whole) and not nc.equal(whole[0], whole[0][:2])
    assert nc.equal(nc.zeros(0), nc.zeros(0)) and nc.allclose(nc.zeros(0, 3), nc.zeros(0, 3))
    with pytest.raises(RuntimeError, match="one dtype"):
        nc.isclose(whole[0], nc.tensor([1.0, 2.0, 3.0]))
    with pytest.raises(RuntimeError, match="tolerances"):
        nc.allclose(nc.tensor(x), nc.tensor(y), rtol=-1.0)
    with pytest.raises(TypeError, match="tensor"):
        nc.equal(whole[0], [1, 2, 300])
