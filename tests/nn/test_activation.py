"""Activations, functions and modules, give PyTorch's values, gradients and texts."""

import math

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn

FUNCTIONS = {
    "celu": ({}, {"alpha": 1.5}),
    "elu": ({}, {"alpha": 0.7}),
    "gelu": ({}, {"approximate": "tanh"}),
    "hardshrink": ({}, {"lambd": 1.0}),
    "hardsigmoid": ({},),
    "hardswish": ({},),
    "hardtanh": ({}, {"min_val": -2, "max_val": 0.5}),
    "leaky_relu": ({}, {"negative_slope": 0.2}),
    "logsigmoid": ({},),
    "mish": ({},),
    "relu": ({},),
    "relu6": ({},),
    "rrelu": ({}, {"lower": 0.1, "upper": 0.2}),
    "selu": ({},),
    "silu": ({},),
    "softplus": ({}, {"beta": 2, "threshold": 5}),
    "softshrink": ({}, {"lambd": 1.0}),
    "softsign": ({},),
    "tanhshrink": ({},),
    "threshold": ({"threshold": 0.5, "value": -3},),
}
IN_PLACE = "celu elu hardsigmoid hardswish hardtanh leaky_relu mish relu relu6 selu silu".split()


def numbers() -> np.ndarray:
    edges = [0.0, -0.0, 1, -1, 0.5, -0.5, 3, -3, 6, np.nan, 30, -30, 100, -100, 1e-4, -1e-4, 1e4]
    draws = np.random.default_rng(0).uniform(-5, 7, 46)
    return np.concatenate([edges, draws]).astype(np.float32).reshape(7, 9)


def same(actual, expected, **tolerance) -> None:
    assert str(actual.dtype).split(".")[1] == str(expected.dtype).split(".")[1]
    got, want = actual.detach().numpy(), expected.detach().numpy()
    np.testing.assert_allclose(got, want, **{"rtol": 2e-6, "atol": 3e-7, "equal_nan": True, **tolerance})


def test_values_and_gradients_equal_pytorch(place, torch):
    cases = [(name, options) for name, all_options in FUNCTIONS.items() for options in all_options]
    made = []
    for name, options in cases:
        a, b = nc.tensor(numbers(), requires_grad=True), torch.tensor(numbers(), requires_grad=True)
        y, z = getattr(F, name)(a, **options), getattr(torch.nn.functional, name)(b, **options)
        y.backward(nc.ones_like(y))
        z.backward(torch.ones_like(z))
        made.append((name, a, b, y, z))
    for name, a, b, y, z in made:
        far = 1e-5 if name == "gelu" else 3e-7  # -100 times the last bit of the error function at -1
        try:
            same(y, z, atol=far)
            number = ~np.isnan(numbers())  # the gradient at a NaN goes its own ways
            np.testing.assert_allclose(a.grad.numpy()[number], b.grad.numpy()[number], rtol=1e-5, atol=2e-6)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def test_second_derivatives(device):
    x = nc.tensor([-2.3, -0.4, 0.3, 1.7, 4.1], dtype=nc.float64, requires_grad=True)
    smooth = "celu elu gelu hardswish logsigmoid mish selu silu softplus softsign tanhshrink".split()
    assert nc.autograd.gradgradcheck(lambda t: sum(getattr(F, name)(t) * n for n, name in enumerate(smooth, 1)), (x,))
    assert nc.autograd.gradgradcheck(lambda t: F.gelu(t, "tanh") + F.elu(t, 0.3), (x,))


def test_far_from_zero_nothing_overflows(device):
    x = nc.tensor([-1e4, -200.0, 200.0, 1e4], requires_grad=True)
    (F.elu(x) + F.selu(x) + F.silu(x) + F.mish(x) + F.logsigmoid(x) + F.softplus(x) + F.gelu(x)).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    (gradient,) = nc.autograd.grad((F.elu(x) + F.softplus(x)).sum(), [x], create_graph=True)
    (second,) = nc.autograd.grad(gradient.sum(), [x])
    assert np.isfinite(second.numpy()).all()


def test_each_is_one_kernel_with_what_surrounds_it():
    x = nc.tensor(numbers())
    for name in ("elu", "gelu", "mish", "softplus"):
        with nc.profiler.count_launches() as launches:
            (getattr(F, name)(x * 2) + 1).numpy()
        assert int(launches) == 1


def test_prelu_equals_pytorch_for_one_slope_and_for_channels(place, torch):
    for shape, slopes in (((5, 3), 3), ((2, 3, 4), 3), ((2, 3, 4), 1), ((7,), 1), ((), 1)):
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        w = np.linspace(0.1, 0.5, slopes, dtype=np.float32)
        a, v = nc.tensor(x, requires_grad=True), nc.tensor(w, requires_grad=True)
        b, u = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
        y, z = F.prelu(a, v), torch.nn.functional.prelu(b, u)
        y.sum().backward()
        z.sum().backward()
        same(y, z)
        same(a.grad, b.grad)
        same(v.grad, u.grad)
    with pytest.raises(RuntimeError, match="slopes"):
        F.prelu(nc.ones(2, 3), nc.ones(2))
    with pytest.raises(RuntimeError, match="dtype"):
        F.prelu(nc.ones(2, 3).double(), nc.ones(1))
    module = nn.PReLU(3, init=0.1)
    np.testing.assert_allclose(module(-nc.ones(1, 3)).detach().numpy(), [[-0.1] * 3])
    assert [tuple(p.shape) for p in module.parameters()] == [(3,)]


def test_random_slopes_of_rrelu_are_in_range_and_seeded(device):
    x = nc.tensor(np.linspace(-2, 1, 999, dtype=np.float32), requires_grad=True)
    _ = nc.manual_seed(3)
    y = F.rrelu(x, 0.2, 0.6, training=True)
    _ = nc.manual_seed(3)
    again = F.rrelu(x, 0.2, 0.6, training=True)
    y.sum().backward()
    below = x.detach().numpy() < 0
    slope = (y.detach().numpy() / x.detach().numpy())[below]
    assert 0.2 <= slope.min() < 0.21 and 0.59 < slope.max() <= 0.6 and abs(slope.mean() - 0.4) < 0.02
    np.testing.assert_allclose(x.grad.numpy()[below], slope, rtol=1e-5)
    np.testing.assert_array_equal(again.detach().numpy(), y.detach().numpy())
    assert nn.RReLU(0.2, 0.6).eval()(nc.tensor([-1.0])).item() == pytest.approx(-0.4)
    with pytest.raises(RuntimeError, match="lower"):
        F.rrelu(x, 0.6, 0.2)


def test_glu_and_its_kin_along_a_dimension(device, torch):
    x = np.random.default_rng(2).standard_normal((4, 6, 2)).astype(np.float32)
    for dim in (-1, 0, 1):
        a, b = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = F.glu(a, dim), torch.nn.functional.glu(b, dim)
        y.sum().backward()
        z.sum().backward()
        same(y, z)
        same(a.grad, b.grad)
    same(nn.Softmax2d()(nc.tensor(x)), torch.nn.Softmax2d()(torch.tensor(x)))
    same(nn.Softmin(1)(nc.tensor(x)), torch.nn.Softmin(1)(torch.tensor(x)))
    same(nc.tensor(x).softmax(0), torch.tensor(x).softmax(0))
    same(nc.tensor(x).log_softmax(-1), torch.tensor(x).log_softmax(-1))
    with pytest.raises(RuntimeError, match="even"):
        F.glu(nc.ones(3))
    with pytest.raises(RuntimeError, match="halves"):
        F.glu(nc.tensor(1.0))
    with pytest.raises(ValueError, match="dimensions"):
        nn.Softmax2d()(nc.ones(2, 2))


def test_gumbel_softmax_draws_classes_with_their_chances(device, torch):
    chances = np.array([0.6, 0.3, 0.1], np.float32)
    _ = nc.manual_seed(0)
    logits = nc.tensor(np.log(np.tile(chances, (4000, 1))), requires_grad=True)
    drawn = F.gumbel_softmax(logits, tau=0.5, hard=True)
    one_hot = drawn.detach().numpy()
    np.testing.assert_allclose(np.sort(one_hot, 1), np.tile([0, 0, 1], (4000, 1)), atol=1e-6)
    np.testing.assert_allclose(one_hot.mean(0), chances, atol=0.03)
    (drawn * nc.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert np.isfinite(logits.grad.numpy()).all() and logits.grad.numpy().any()
    _, _ = nc.manual_seed(5), torch.manual_seed(5)
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    ours = F.gumbel_softmax(nc.tensor(x), 2, dim=0)
    theirs = torch.nn.functional.gumbel_softmax(torch.tensor(x), 2, dim=0)
    np.testing.assert_allclose(ours.numpy().sum(0), 1, rtol=1e-6)
    assert ours.shape == tuple(theirs.shape)


def test_inplace_writes_to_the_input_and_has_the_same_gradient(device, torch):
    x = numbers()[2:]
    for name in IN_PLACE:
        a, b = nc.tensor(x, requires_grad=True), nc.tensor(x, requires_grad=True)
        inner = a * 1
        result = getattr(F, name)(inner, inplace=True)
        assert result is inner
        expected = getattr(F, name)(b * 1)
        result.sum().backward()
        expected.sum().backward()
        np.testing.assert_array_equal(inner.detach().numpy(), expected.detach().numpy(), err_msg=name)
        np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy(), err_msg=name)
    y = nc.tensor([-1.0, 2.0])
    assert F.relu_(y) is y and y.tolist() == [0.0, 2.0]
    assert nn.LeakyReLU(0.5, inplace=True)(nc.tensor([-1.0])).item() == -0.5
    with pytest.raises(RuntimeError, match="leaf"):
        F.elu(nc.tensor([1.0], requires_grad=True), inplace=True)


def test_narrow_floats_are_rounded_once(device, torch):
    x = np.linspace(-4, 4, 41)
    for dtype in ("float16", "bfloat16"):
        a, b = nc.tensor(x).to(getattr(nc, dtype)), torch.tensor(x).to(getattr(torch, dtype))
        names = ("gelu", "silu", "mish")
        made = [(getattr(F, name)(a), getattr(torch.nn.functional, name)(b.double())) for name in names]
        for ours, exact in made:
            assert ours.dtype is getattr(nc, dtype)
            rounded = exact.to(getattr(torch, dtype)).float().numpy()
            assert (ours.float().numpy() == rounded).mean() > 0.97


def test_what_integers_and_wrong_arguments_give():
    whole = nc.tensor([-2, 3, 9])
    assert F.relu6(whole).tolist() == [0, 3, 6] and F.relu6(whole).dtype is nc.int64
    for wrong in (
        lambda: F.silu(whole),
        lambda: F.elu(whole),
        lambda: F.celu(whole.float(), 0),
        lambda: F.softshrink(whole.float(), -1),
    ):
        with pytest.raises(RuntimeError):
            wrong()
    with pytest.raises(ValueError, match="min_val"):
        F.hardtanh(whole.float(), 2, 1)
    with pytest.raises(ValueError, match="max_val"):
        nn.Hardtanh(2, 1)
    with pytest.raises(RuntimeError, match="approximate"):
        nn.GELU("exact")
    for module in (nn.Softmax, nn.Softmin, nn.LogSoftmax):
        with pytest.raises(ValueError, match="dim"):
            module()(whole.float())


def test_modules_say_and_do_what_pytorchs_do(device, torch):
    made = """
        CELU(0.5); ELU(0.5, inplace=True); GELU('tanh'); GLU(1); Hardshrink(0.3); Hardsigmoid();
        Hardswish(); Hardtanh(-2, 2); LeakyReLU(0.3); LogSigmoid(); LogSoftmax(1); Mish(); PReLU(); RReLU();
        ReLU(); ReLU(inplace=True); ReLU6(); SELU(); SiLU(); Sigmoid(); Softmax(dim=1); Softmax2d();
        Softmin(1); Softplus(2, 10); Softshrink(0.3); Softsign(); Tanh(); Tanhshrink(); Threshold(0.1, 20)
    """
    x = np.random.default_rng(3).standard_normal((2, 4, 3)).astype(np.float32)
    pairs = [(eval(text, vars(nn)), eval(text, vars(torch.nn))) for text in map(str.strip, made.split(";"))]
    results = [(ours.eval()(nc.tensor(x)), theirs.eval()(torch.tensor(x))) for ours, theirs in pairs]
    for (ours, theirs), (y, z) in zip(pairs, results, strict=True):
        same(y, z)
        assert repr(ours) == repr(theirs)


def test_lazy_and_eager_agree(mode):
    x = nc.tensor([-1.5, 0.25, 2.0], requires_grad=True)
    y = F.mish(F.elu(x) * 2) + F.softplus(x)
    y.sum().backward()
    expected = []
    for t, v in ((-1.5, 2 * math.expm1(-1.5)), (0.25, 0.5), (2.0, 4.0)):
        expected.append(v * math.tanh(math.log1p(math.exp(v))) + math.log1p(math.exp(t)))
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-6)
    assert np.isfinite(x.grad.numpy()).all()
