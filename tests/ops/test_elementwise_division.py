"""Division, remainders, rounding, shifts: PyTorch's results for floats and for every integer dtype."""

import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import netcl as nc

INTEGERS = ("int8", "uint8", "int16", "int32", "int64")
DIVISIONS = ("floor_divide", "fmod", "remainder", "trunc")


def divided(library, name, a, b):
    return library.div(a, b, rounding_mode="trunc") if name == "trunc" else getattr(library, name)(a, b)


def name_of(tensor) -> str:
    return str(tensor.dtype).split(".")[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_division_of_floats_equals_pytorch(place, torch, dtype):
    edges = np.array([0.0, -0.0, 1, -1, 0.5, 2, -2.5, np.inf, -np.inf, np.nan, 30, 1e-4, 7, 1e20], dtype)
    draws = np.random.default_rng(1)
    x = np.concatenate([np.repeat(edges, len(edges)), draws.uniform(-300, 300, 60)]).astype(dtype)
    y = np.concatenate([np.tile(edges, len(edges)), draws.uniform(-2, 5, 60)]).astype(dtype)
    made = []
    for name in DIVISIONS:
        a, b = nc.tensor(x, requires_grad=True), nc.tensor(y, requires_grad=True)
        made.append((a, b, divided(nc, name, a, b)))
    for _, _, z in made:
        z.backward(nc.ones_like(z))
    for name, (a, b, z) in zip(DIVISIONS, made, strict=True):
        c, d = torch.tensor(x, requires_grad=True), torch.tensor(y, requires_grad=True)
        w = divided(torch, name, c, d)
        np.testing.assert_array_equal(z.detach().numpy(), w.detach().numpy(), err_msg=name)
        if name in ("fmod", "remainder"):
            w.backward(torch.ones_like(w))
            np.testing.assert_allclose(a.grad.numpy(), c.grad.numpy())
            np.testing.assert_allclose(b.grad.numpy(), d.grad.numpy(), equal_nan=True, err_msg=name)
        else:
            assert not a.grad.numpy().any() and not b.grad.numpy().any()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_division_and_shifts_of_integers_equal_pytorch(place, torch, dtype):
    limits, draws = np.iinfo(dtype), np.random.default_rng(2)
    x = draws.integers(limits.min, limits.max, 150, dtype=dtype, endpoint=True)
    y = draws.integers(limits.min, limits.max, 150, dtype=dtype, endpoint=True)
    y[::2] = draws.integers(1, 12, 75)
    x[:20], x[20:40] = limits.min, limits.max
    y[y == 0] = 3
    if limits.min < 0:
        y[1:30:5], y[3:40:4] = -7, -1
        x[(x == limits.min) & (y == -1)] = 5  # PyTorch ends the process there
    shift = draws.integers(-3 if limits.min < 0 else 0, 70, 150).astype(dtype)
    ours = [divided(nc, name, nc.tensor(x), nc.tensor(y)) for name in DIVISIONS]
    shifted = [f(nc.tensor(x), nc.tensor(shift)) for f in (operator.lshift, operator.rshift)]
    for name, z in zip(DIVISIONS, ours, strict=True):
        w = divided(torch, name, torch.tensor(x), torch.tensor(y))
        assert name_of(z) == name_of(w) == dtype
        np.testing.assert_array_equal(z.numpy(), w.numpy(), err_msg=name)
    for z, f in zip(shifted, (operator.lshift, operator.rshift), strict=True):
        np.testing.assert_array_equal(z.numpy(), f(torch.tensor(x), torch.tensor(shift)).numpy())


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_divided_by_zero_give_zero_and_the_lowest_by_minus_one_wraps(place, dtype):
    limits = np.iinfo(dtype)
    x, zero = nc.tensor(np.array([limits.min, limits.max, 7] * 9, dtype)), nc.tensor(np.zeros(27, dtype))
    for name in DIVISIONS:
        assert not divided(nc, name, x, zero).numpy().any()
    if limits.min < 0:
        minus = nc.tensor(np.full(27, -1, dtype))
        expected = np.array([limits.min, -limits.max, -7] * 9, dtype)
        np.testing.assert_array_equal((x // minus).numpy(), expected)
        np.testing.assert_array_equal(nc.div(x, minus, rounding_mode="trunc").numpy(), expected)
        assert not (x % minus).numpy().any()
        assert not x.fmod(minus).numpy().any()
    for wrong in (lambda: x // 0, lambda: x % 0, lambda: x.fmod(0), lambda: nc.div(x, 0, rounding_mode="trunc")):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            wrong()


def test_operators_and_their_reflections_equal_pytorch(device, torch):
    for x in (np.array([7, -7, 3, 5]), np.array([7.5, -7.5, 0.5, 3.0], np.float32)):
        a, b = nc.tensor(x), torch.tensor(x)
        functions = (
            lambda t: t // 2,
            lambda t: t % 3,
            lambda t: 20 // t,
            lambda t: 20 % t,
            lambda t: t // 2.5,
            lambda t: -20.5 % t,
            lambda t: t / 2,
            lambda t: 2 / t,
            lambda t: 5 - t,
            lambda t: +t,
            lambda t: t // t,
            lambda t: t % t[0],
            lambda t: t.true_divide(4),
            lambda t: t.div(4, rounding_mode="floor"),
        )
        for ours, theirs in [(f(a), f(b)) for f in functions]:
            assert name_of(ours) == name_of(theirs)
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)
        for quotient, rest in (divmod(a, 2), divmod(20, a)):
            assert quotient.dtype is rest.dtype is a.dtype
        np.testing.assert_array_equal(divmod(a, 2)[0].numpy(), np.divmod(x, 2)[0])
        np.testing.assert_array_equal(divmod(20, a)[1].numpy(), np.divmod(20, x)[1].astype(x.dtype))
    c, d = nc.tensor([1, 2, 3]), torch.tensor([1, 2, 3])
    for f in (lambda t: t << 2, lambda t: t >> 1, lambda t: 1 << t, lambda t: 64 >> t, lambda t: t << t):
        np.testing.assert_array_equal(f(c).numpy(), f(d).numpy())


def test_bools_with_numbers_and_what_is_refused(torch):
    a, b = nc.tensor([True, False]), torch.tensor([True, False])
    for f in (lambda t: t // 2, lambda t: t % 2, lambda t: t / 2, lambda t: t.fmod(2), lambda t: t.int() << 3):
        ours, theirs = f(a), f(b)
        assert name_of(ours) == name_of(theirs)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    x, n = nc.tensor([1.5]), nc.tensor([1])
    for wrong in (
        lambda: a // a,
        lambda: a % a,
        lambda: +a,
        lambda: a.floor(),
        lambda: n.frac(),
        lambda: n.round(decimals=1),
        lambda: n.hypot(n),
        lambda: nc.div(x, 2, rounding_mode="up"),
    ):
        with pytest.raises(RuntimeError):
            wrong()
    for wrong in (lambda: x << 1, lambda: n >> 1.0, lambda: x & 1):
        with pytest.raises(NotImplementedError, match="integers"):
            wrong()
    with pytest.raises(TypeError, match="tensor"):
        nc.floor_divide(3, 2)
    with pytest.raises(RuntimeError, match="broadcast"):
        nc.tensor([1, 2]) // nc.tensor([1, 2, 3])


def test_rounding_equals_pytorch(place, torch):
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999, -2.5001, 1e10, np.inf, -np.inf, np.nan, -0.0, 17.25], np.float32)
    x = np.concatenate([x, x])
    for name in ("floor", "ceil", "trunc", "fix", "round", "frac"):
        a, b = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        ours, theirs = getattr(a, name)(), getattr(b, name)()
        np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy(), err_msg=name)
        ours.sum().backward()
        theirs.sum().backward()
        np.testing.assert_array_equal(a.grad.numpy(), (torch.zeros(1) + b.grad).numpy())
        if name != "frac":
            assert getattr(nc.tensor([3, 4]), name)().tolist() == [3, 4]
    for decimals in (2, -1):
        np.testing.assert_allclose(
            nc.round(nc.tensor(x[-1:]), decimals=decimals).numpy(),
            torch.round(torch.tensor(x[-1:]), decimals=decimals).numpy(),
        )


def test_common_divisors_and_multiples_equal_pytorch(place, torch):
    a = np.array([12, -18, 0, 0, 7, -100, 36] * 3)
    b = np.array([18, -12, 5, 0, -13, 30, 84] * 3)
    pairs = []
    for dtype in ("int16", "int64"):
        ours, theirs = ([n.tensor(v.astype(dtype)) for v in (a, b)] for n in (nc, torch))
        pairs += [(nc.gcd(*ours), torch.gcd(*theirs)), (ours[0].lcm(ours[1]), torch.lcm(*theirs))]
    small = [np.array([12, 18, 0, 255], np.uint8), np.array([18, 12, 5, 34], np.uint8)]
    pairs.append((nc.gcd(*map(nc.tensor, small)), torch.gcd(*map(torch.tensor, small))))
    for z, w in pairs:
        assert name_of(z) == name_of(w)
        np.testing.assert_array_equal(z.numpy(), w.numpy())
    with pytest.raises(RuntimeError, match="integer"):
        nc.gcd(nc.tensor([1.0]), nc.tensor([2.0]))


def test_frexp_equals_pytorch(device, torch):
    x = np.array([0.0, -0.0, 1.0, -1.0, 3.7, 1e-30, 1e-45, 3e38, np.inf, np.nan, -0.3], np.float32)
    ours, theirs = nc.frexp(nc.tensor(x)), torch.frexp(torch.tensor(x))
    np.testing.assert_array_equal(ours.mantissa.numpy(), theirs.mantissa.numpy())
    np.testing.assert_array_equal(ours.exponent.numpy(), theirs.exponent.numpy())
    assert ours.exponent.dtype is nc.int32
    a, b = nc.tensor([3.0, -10.0], requires_grad=True), torch.tensor([3.0, -10.0], requires_grad=True)
    nc.frexp(a)[0].sum().backward()
    torch.frexp(b)[0].sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())


def test_all_kinds_of_division_share_a_kernel(place):
    x, y = np.array([7, -7, 100, -5, 0, 36]), np.array([2, 3, -7, -2, 5, 8])
    a, b = nc.tensor(x), nc.tensor(y)
    with nc.profiler.count_launches() as launches:
        total = a // b + a % b * 10 + nc.fmod(a, b) * 100 + nc.gcd(a, b) * 1000 + nc.lcm(a, b)
        result = (total + nc.div(a, b, rounding_mode="trunc")).numpy()
    assert int(launches) == 1
    expected = x // y + x % y * 10 + np.fmod(x, y) * 100 + np.gcd(x, y) * 1000 + np.lcm(x, y) + np.trunc(x / y)
    np.testing.assert_array_equal(result, expected)


@settings(max_examples=12, deadline=None)
@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), turned=st.booleans())
def test_any_shapes_broadcast_and_any_strides_are_read(shapes, turned):
    draws = np.random.default_rng(0)
    x, y = (draws.integers(-9, 9, shape) for shape in shapes.input_shapes)
    y = np.where(y == 0, 4, y)
    if turned:
        a, b = nc.tensor(x.T.copy()).permute(tuple(range(x.ndim))[::-1]), nc.tensor(y)
    else:
        a, b = nc.tensor(x), nc.tensor(np.flip(y).copy()).flip(tuple(range(y.ndim)))
    np.testing.assert_array_equal((a // b * 100 + a % b).numpy(), x // y * 100 + x % y)


def test_powers_of_all_dtypes_equal_pytorch(device, torch):
    names = ("uint8", "int64", "float16", "float32", "float64")
    pairs = []
    for first in names:
        a, b = (n.tensor([1, 2, 3]).to(getattr(n, first)) for n in (nc, torch))
        for second in names:
            c, d = (n.tensor([3, 2, 0]).to(getattr(n, second)) for n in (nc, torch))
            pairs.append((a**c, b**d, (first, second)))
        for number in (2, 0, 3, 2.0, 0.5, True):
            pairs += [(a**number, b**number, (first, number)), (number**a, number**b, (number, first))]
    for ours, theirs, case in pairs:
        assert name_of(ours) == name_of(theirs), case
    for ours, theirs, case in pairs:
        tolerance = 1e-3 if "float16" in case else 1e-6
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=tolerance, err_msg=str(case))
