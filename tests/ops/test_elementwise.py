"""Elementwise operations give PyTorch's values, dtypes and gradients, on every device and with both kinds of code."""

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, np.inf, -np.inf, np.nan, 30.0, -30.0, 1e-4, -1e-4, 88.0, -104.0]
UNARY = (
    "neg",
    "abs",
    "sign",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "erf",
    "floor",
    "relu",
    "square",
)
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge")


def numbers(size: int = 37) -> np.ndarray:
    """Edge cases first, then ordinary numbers; a size that leaves a rest after full vectors."""
    draws = np.random.default_rng(0).uniform(-3, 3, size - len(EDGES))
    return np.concatenate([EDGES, draws]).astype(np.float32)


def same(actual, expected, **tolerance) -> None:
    """Values (NaN equal to NaN), shape and dtype agree with a PyTorch tensor's."""
    assert str(actual.dtype).removeprefix("netcl.") == str(expected.dtype).removeprefix("torch.")
    assert tuple(actual.shape) == tuple(expected.shape)
    got = actual.detach().numpy()
    want = expected.detach().double().numpy() if expected.is_floating_point() else expected.numpy()
    got = got.astype(np.float64) if expected.is_floating_point() else got
    np.testing.assert_allclose(got, want, **{"rtol": 2e-6, "atol": 1e-7, "equal_nan": True, **tolerance})


def test_unary_values_and_gradients_equal_pytorch(place, torch):
    x = numbers()
    ours, theirs = [], []
    for name in UNARY:
        a, b = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        ours.append((name, a, getattr(a, name)()))
        theirs.append((b, getattr(b, name)()))
    for (_, _, y), (_, z) in zip(ours, theirs, strict=True):
        y.backward(nc.ones_like(y))
        z.backward(torch.ones_like(z))
    for (name, a, y), (b, z) in zip(ours, theirs, strict=True):
        same(y, z)
        if name in ("log", "log1p", "sqrt", "rsqrt"):  # outside their domain PyTorch's gradients are NaN or not by rule
            inside = x > 0
            np.testing.assert_allclose(a.grad.numpy()[inside], b.grad.numpy()[inside], rtol=2e-6)
        else:
            same(a.grad, b.grad, rtol=4e-6, atol=2.5e-7)  # 1 - y * y near y = 1 carries twice the last bit of y


def test_binary_values_gradients_and_broadcasts_equal_pytorch(place, torch):
    x, y = numbers(32).reshape(4, 1, 8), numbers(20)[::-1][:5].reshape(5, 1).copy()
    for name in BINARY:
        a, b = nc.tensor(x, requires_grad=True), nc.tensor(y, requires_grad=True)
        c, d = torch.tensor(x, requires_grad=True), torch.tensor(y, requires_grad=True)
        ours, theirs = getattr(nc, name)(a, b), getattr(torch, name)(c, d)
        same(ours, theirs)
        if theirs.is_floating_point():
            ours.backward(nc.ones_like(ours))
            theirs.backward(torch.ones_like(theirs))
            same(a.grad, c.grad, rtol=1e-5)
            same(b.grad, d.grad, rtol=1e-5)


def test_pow_equals_pytorch_for_tensors_numbers_and_gradients(device, torch):
    base = np.array([0.0, 0.5, 1.0, 2.0, 3.0, -2.0, 0.0, 4.0, 0.0, 7.0], np.float32)
    power = np.array([0.0, 2.0, 3.5, -1.0, 0.5, 3.0, 2.0, 0.0, 1.0, -2.0], np.float32)
    a, b = nc.tensor(base, requires_grad=True), nc.tensor(power, requires_grad=True)
    c, d = torch.tensor(base, requires_grad=True), torch.tensor(power, requires_grad=True)
    (a**b).sum().backward()
    (c**d).sum().backward()
    same(a**b, c**d, rtol=1e-5)
    same(a.grad, c.grad, rtol=1e-5)
    kept = base > 0
    np.testing.assert_allclose(b.grad.numpy()[kept], d.grad.numpy()[kept], rtol=1e-5)
    for number in (0, 1, 2, 3, -1, 0.5, 2.5, -2):
        a, c = nc.tensor(base, requires_grad=True), torch.tensor(base, requires_grad=True)
        (a**number).sum().backward()
        (c**number).sum().backward()
        same(a**number, c**number, rtol=1e-5)
        same(a.grad, c.grad, rtol=1e-5)
    same(2 ** nc.tensor(power), 2 ** torch.tensor(power), rtol=1e-5)
    whole = np.array([[3, -2, 0, 7], [2, 3, 5, 0]])
    same(nc.tensor(whole[0]) ** nc.tensor(whole[1]), torch.tensor(whole[0]) ** torch.tensor(whole[1]))


def test_promotion_of_every_pair_of_dtypes_equals_pytorch(torch):
    pairs = [(a, b) for a in DTYPES for b in DTYPES]
    made = {name: nc.tensor(np.array([1, 0, 1])).to(getattr(nc, name)) for name in DTYPES}
    scalars = {name: nc.tensor(np.array(1)).to(getattr(nc, name)) for name in DTYPES}
    theirs = {name: torch.tensor([1, 0, 1]).to(getattr(torch, name)) for name in DTYPES}
    single = {name: torch.tensor(1).to(getattr(torch, name)) for name in DTYPES}

    def name_of(tensor) -> str:
        return str(tensor.dtype).split(".")[1]

    for a, b in pairs:
        assert name_of(made[a] * made[b]) == name_of(theirs[a] * theirs[b]), (a, b)
        assert name_of(made[a] * scalars[b]) == name_of(theirs[a] * single[b]), (a, b, "0-d")
        assert name_of(scalars[a] * scalars[b]) == name_of(single[a] * single[b]), (a, b, "both 0-d")
        assert name_of(made[a] / made[b]) == name_of(theirs[a] / theirs[b]), (a, b)
    for a in DTYPES:
        for number in (True, 2, 2.5):
            assert name_of(made[a] * number) == name_of(theirs[a] * number), (a, number)
            assert name_of(scalars[a] * number) == name_of(single[a] * number), (a, number, "0-d")
            assert name_of(nc.where(made["bool"], scalars[a], number)) == name_of(
                torch.where(theirs["bool"], single[a], number)
            )
            assert name_of(scalars[a].exp()) == name_of(single[a].exp())
            assert name_of(made[a].sum()) == name_of(theirs[a].sum())


def test_integers_wrap_and_numbers_compare_by_value_as_in_pytorch(target, torch):
    x = np.array([0, 1, 2, 100, 127, 128, 200, 255] * 3, np.uint8)
    a, b = nc.tensor(x), torch.tensor(x)
    for f in (
        lambda t: t + 300,
        lambda t: t - 1,
        lambda t: t * 3,
        lambda t: -t,
        lambda t: t == 200,
        lambda t: t < 127,
        lambda t: ~t,
        lambda t: t & 15,
        lambda t: t | 64,
        lambda t: t ^ 255,
        lambda t: (t + 100) < 50,
        lambda t: t + t,
        lambda t: t > 127.5,
        lambda t: 2 - t,
        lambda t: t.floor(),
        lambda t: t.sign(),
        lambda t: t.relu(),
        lambda t: t / 2,
        lambda t: t.sqrt(),
        lambda t: t**2,
    ):
        same(f(a), f(b))
    y = np.array([-(2**31), 2**31 - 1, -1, 0, 5], np.int32)
    c, d = nc.tensor(y), torch.tensor(y)
    for f in (
        lambda t: t + 1,
        lambda t: t * 3,
        lambda t: t + 2**40,
        lambda t: t.abs(),
        lambda t: t.sign(),
        lambda t: t.long() * t.long(),
        lambda t: t.long() - 2**31,
    ):
        same(f(c), f(d))
    with pytest.raises(OverflowError):
        c + 2**70
    # By value, as NumPy does; PyTorch finds 255 == -1 in uint8.
    assert not (a == -1).numpy().any()
    assert (a < 300).numpy().all()
    assert (a > -5).numpy().all()
    assert not (c == 2**40).numpy().any()


def test_sines_are_right_beside_huge_and_infinite_neighbours(place):
    x = np.array([1e-4, np.inf, 0.5, -1e-3, np.nan, 1e5, -2.0, 3.0] * 8, np.float32)
    with np.errstate(invalid="ignore"):
        for name, reference in (("sin", np.sin), ("cos", np.cos)):
            expected = reference(x.astype(np.float64))
            np.testing.assert_allclose(getattr(nc.tensor(x), name)().numpy(), expected, rtol=1e-6, atol=1e-7)
            wide = getattr(nc.tensor(x.astype(np.float64)), name)().numpy()
            np.testing.assert_allclose(wide, expected, rtol=1e-14, atol=1e-15)


def test_bools_are_added_as_or_and_stay_zero_or_one(target, torch):
    x, y = np.array([True, True, False, False] * 5), np.array([True, False, True, False] * 5)
    a, b, c, d = nc.tensor(x), nc.tensor(y), torch.tensor(x), torch.tensor(y)
    for f in (
        lambda p, q: p + q,
        lambda p, q: p * q,
        lambda p, q: p & q,
        lambda p, q: p | q,
        lambda p, q: p ^ q,
        lambda p, q: ~p,
        lambda p, q: p.logical_or(q),
        lambda p, q: p + 1,
        lambda p, q: p * 2.5,
        lambda p, q: (p + q).sum(),
        lambda p, q: p == q,
        lambda p, q: p < q,
    ):
        same(f(a, b), f(c, d))
    assert set((a + b).numpy().view(np.uint8)) <= {0, 1}
    for wrong in (lambda: -a, lambda: a - b, lambda: a - 1, lambda: a.relu(), lambda: a.abs(), lambda: a**b):
        with pytest.raises(RuntimeError, match="bool"):
            wrong()


def test_where_and_clamp_equal_pytorch(place, torch):
    x, y = numbers(20), numbers(20)[::-1].copy()
    a, b = nc.tensor(x, requires_grad=True), nc.tensor(y, requires_grad=True)
    c, d = torch.tensor(x, requires_grad=True), torch.tensor(y, requires_grad=True)
    same(nc.where(a > b, a, b), torch.where(c > d, c, d))
    same(nc.where(a > 0, 1, 2), torch.where(c > 0, 1, 2))
    same(nc.where(a > 0, a, 2.5), torch.where(c > 0, c, 2.5))
    for arguments in ((-1, 1), (None, 0.5), (-0.5, None)):
        same(a.clamp(*arguments), c.clamp(*arguments))
    half = np.array(2.0, np.float16)
    same(nc.tensor(half).clamp(1.0), torch.tensor(half).clamp(1.0))
    nc.where(a > 0, a * 2, b).clamp(-1, 5).sum().backward()
    torch.where(c > 0, c * 2, d).clamp(-1, 5).sum().backward()
    same(a.grad, c.grad)
    same(b.grad, d.grad)


def test_where_sends_no_gradient_to_what_was_not_chosen_even_if_it_is_infinite():
    a, b = nc.tensor([1.0, 2.0], requires_grad=True), nc.tensor([1.0, 2.0], requires_grad=True)
    nc.where(nc.tensor([True, False]), a, b).backward(nc.tensor([float("inf"), float("inf")]))
    assert a.grad.tolist() == [float("inf"), 0.0]
    assert b.grad.tolist() == [0.0, float("inf")]


def test_activations_equal_pytorch(place, torch):
    TF = torch.nn.functional
    x = numbers()[:-1].reshape(4, 9)
    x[np.isinf(x)] = 40  # PyTorch's gelu is NaN at both infinities
    for f, g in (
        (F.gelu, TF.gelu),
        (lambda t: F.gelu(t, "tanh"), lambda t: TF.gelu(t, approximate="tanh")),
        (F.silu, TF.silu),
        (F.leaky_relu, TF.leaky_relu),
        (F.softplus, TF.softplus),
        (F.relu, TF.relu),
    ):
        same(f(nc.tensor(x)), g(torch.tensor(x)), rtol=1e-5, atol=1e-5)  # x = -104 times the last bit of tanh at -1
        finite = np.where(np.isfinite(x), x, 0)
        a, b = nc.tensor(finite, requires_grad=True), torch.tensor(finite, requires_grad=True)
        f(a).sum().backward()
        g(b).sum().backward()
        same(a.grad, b.grad, rtol=1e-5, atol=1e-6)


def test_narrow_floats_are_computed_in_float32_and_rounded_once(place, torch):
    x = np.random.default_rng(1).uniform(-2, 2, 100).astype(np.float16)
    for name in ("float16", "bfloat16"):
        a = nc.tensor(x).to(getattr(nc, name))
        b = torch.tensor(x).to(getattr(torch, name))
        for f in (lambda t: t * t, lambda t: t + 1.5, lambda t: t / 3, lambda t: t.exp(), lambda t: t.tanh()):
            ours, theirs = f(a), f(b)
            same(ours, theirs, rtol=2e-3 if name == "float16" else 1e-2)
            exact = f(b.double()).to(getattr(torch, name))
            assert (ours.float().numpy() == exact.float().numpy()).mean() > 0.97  # at most a rounding of float32 away


def test_lazy_results_equal_eager_ones(target):
    x = numbers()

    def compute():
        a = nc.tensor(x)
        return [
            ((a * 2 + 1).tanh() - a.exp() * 0.1).numpy(),
            (a.relu() / (a.abs() + 1)).numpy(),
            nc.where(a > 0, a, -a).numpy(),
        ]

    lazy = compute()
    with nc.eager():
        eager = compute()
    for a, b in zip(lazy, eager, strict=True):
        np.testing.assert_allclose(
            a, b, rtol=1e-6, equal_nan=True
        )  # a fused a*b + c may be rounded once instead of twice


def test_numpy_scalars_are_numbers_and_foreign_objects_differ():
    x = nc.tensor([1.0, 2.0])
    for number in (np.float32(2), np.int64(2), np.float64(2), np.bool_(True), np.uint8(3)):
        np.testing.assert_array_equal((x * number).numpy(), x.numpy() * float(number))
        np.testing.assert_array_equal((number * x).numpy(), x.numpy() * float(number))
        assert (x * number).dtype is nc.float32
    assert (x == None) is False  # noqa: E711
    assert (x != "text") is True
    for wrong in (None, "1", [1, 2], object(), 1j):
        with pytest.raises(TypeError):
            x + wrong
