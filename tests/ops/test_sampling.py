"""Random tensors of all kinds: PyTorch's numbers for the same seed, and what holds without PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc

COUNT = 19
FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTEGERS = ["int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.fixture(autouse=True)
def seeded(request):
    """Both libraries start from the same seed."""
    nc.manual_seed(7)
    if "torch" in request.fixturenames:
        request.getfixturevalue("torch").manual_seed(7)


@pytest.fixture
def host_draws(torch):
    """Skips where PyTorch draws by MKL, on Intel's CPUs: other numbers there."""
    theirs = torch.empty(3, dtype=torch.double).exponential_(generator=torch.Generator().manual_seed(0))
    ours = -np.log1p(-nc.draws.unit_float64(nc.Generator().manual_seed(0).engine, 3))
    if not np.allclose(theirs, ours):
        pytest.skip("this PyTorch draws by MKL")


def check(ours, theirs, exact=True):
    """The same numbers, and the generators are at the same place afterwards."""
    assert str(ours.dtype)[6:] == str(theirs.dtype)[6:]
    a, b = ours.double().numpy(), theirs.double().numpy()
    if exact:
        np.testing.assert_array_equal(a, b)
    else:
        np.testing.assert_allclose(a, b, rtol={"float16": 1e-3, "bfloat16": 1e-2}.get(str(ours.dtype)[6:], 2e-7))


def fill(package, dtype, name, *arguments):
    return getattr(package.zeros(COUNT, dtype=getattr(package, dtype)), name)(*arguments)


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_random_gives_pytorchs_numbers(torch, dtype: str):
    for arguments in ((), (2,), (0, 1)) if dtype == "bool" else ((), (100,), (3, 90)):
        check(fill(nc, dtype, "random_", *arguments), fill(torch, dtype, "random_", *arguments))
    assert nc.rand(1).item() == torch.rand(1).item()


def test_random_over_a_wide_range(torch):
    for low, high in ((-5, 2**28), (0, 2**40), (-(2**62), 2**62)):
        check(fill(nc, "int64", "random_", low, high), fill(torch, "int64", "random_", low, high))


@pytest.mark.parametrize("dtype", FLOATS)
def test_continuous_distributions_give_pytorchs_numbers(torch, host_draws, dtype: str):
    for name, arguments in (
        ("exponential_", ()), ("exponential_", (2.5,)), ("cauchy_", ()), ("cauchy_", (1.0, 3.0)), ("log_normal_", ()),
        ("log_normal_", (0.0, 0.25)), ("geometric_", (0.3,)), ("normal_", (1.0, 2.0)), ("uniform_", (-1.0, 2.0)),
    ):  # fmt: skip
        exact = name in ("uniform_", "geometric_") or (name == "normal_" and dtype != "float64")
        check(fill(nc, dtype, name, *arguments), fill(torch, dtype, name, *arguments), exact)
    assert nc.rand(1).item() == torch.rand(1).item()


@pytest.mark.parametrize("dtype", [*FLOATS, "int64", "uint8", "bool"])
def test_bernoulli_gives_pytorchs_numbers(torch, host_draws, dtype: str):
    for chance in (0.5, 0.1, 0.0, 1.0):
        check(fill(nc, dtype, "bernoulli_", chance), fill(torch, dtype, "bernoulli_", chance))
    chances = np.linspace(0, 1, COUNT)
    for kind in (np.float32, np.float64):
        ours, theirs = nc.tensor(chances.astype(kind)), torch.tensor(chances.astype(kind))
        check(fill(nc, dtype, "bernoulli_", ours), fill(torch, dtype, "bernoulli_", theirs))
        check(nc.bernoulli(ours), torch.bernoulli(theirs))
        check(ours.bernoulli(), theirs.bernoulli())
    check(nc.bernoulli(nc.zeros(4), 0.5), torch.bernoulli(torch.zeros(4), 0.5))
    assert nc.rand(1).item() == torch.rand(1).item()


@pytest.mark.parametrize("dtype", FLOATS)
def test_poisson_gives_pytorchs_numbers(torch, dtype: str):
    rates = np.r_[np.linspace(0, 12, 50), 0, 1e-20, 30.0, 100.0, np.full(3000, 11.0), np.full(3000, 2.5)].reshape(2, -1)
    ours, theirs = (p.tensor(rates, dtype=getattr(p, dtype)) for p in (nc, torch))
    check(nc.poisson(ours), torch.poisson(theirs))
    check(nc.poisson(ours.T[:5]), torch.poisson(theirs.T[:5]))
    assert nc.rand(1).item() == torch.rand(1).item()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_multinomial_gives_pytorchs_numbers(torch, host_draws, dtype: str):
    weights = np.array([[0.1, 0.0, 3.0, 1.0, 2.0], [1.0, 1.0, 0.5, 0.5, 7.0]], dtype)
    for rows in (weights, weights[0]):
        ours, theirs = nc.tensor(rows), torch.tensor(rows)
        for count, replacement in ((1, False), (1, True), (4, False), (30, True)):
            check(nc.multinomial(ours, count, replacement), torch.multinomial(theirs, count, replacement))
    check(ours.multinomial(3), theirs.multinomial(3))
    assert nc.rand(1).item() == torch.rand(1).item()


def test_normal_in_every_form(torch, device):
    means, stds = np.arange(20, dtype=np.float32), np.linspace(0, 3, 20, dtype=np.float32)
    for arguments in ((means, stds), (means, 0.5), (means,), (2.0, stds), (means[:, None], stds)):
        ours = [nc.tensor(x) if isinstance(x, np.ndarray) else x for x in arguments]
        theirs = [torch.tensor(x) if isinstance(x, np.ndarray) else x for x in arguments]
        np.testing.assert_allclose(nc.normal(*ours).numpy(), torch.normal(*theirs).numpy(), rtol=2e-6, atol=1e-6)
    check(nc.normal(1.0, 2.0, (4, 5)), torch.normal(1.0, 2.0, (4, 5)))
    check(nc.normal(1, 2, size=(3,), dtype=nc.float64), torch.normal(1, 2, size=(3,), dtype=torch.float64), False)
    result = nc.normal(nc.ones(2, requires_grad=True), 1.0)
    assert not result.requires_grad
    assert nc.normal(0.0, 1.0, (2,), requires_grad=True).requires_grad


def test_like_another_tensor(torch):
    for dtype in FLOATS:
        for name in ("rand_like", "randn_like"):
            ours, theirs = (getattr(p, name)(p.zeros(3, 7, dtype=getattr(p, dtype))) for p in (nc, torch))
            check(ours, theirs, dtype != "float64")
    for dtype in ("int8", "int64", "float32"):
        check(*(p.randint_like(p.zeros(9, dtype=getattr(p, dtype)), 50) for p in (nc, torch)))
        check(*(p.randint_like(p.zeros(9, dtype=getattr(p, dtype)), -5, 50) for p in (nc, torch)))
    assert nc.rand_like(nc.zeros(2), dtype=nc.float64).dtype is nc.float64
    own = nc.Generator().manual_seed(1)
    first = nc.randn_like(nc.zeros(3), generator=own)
    assert first.tolist() == nc.randn(3, generator=nc.Generator().manual_seed(1)).tolist()


def test_sizes_and_bounds_in_every_form(torch):
    for package in (nc, torch):
        package.manual_seed(3)
        found = [
            package.randint(5, (4,)), package.randint(2, 5, (4,)), package.randint(5, size=(4,)),
            package.randint(low=2, high=5, size=(4,)), package.randint(2, 9, [4], dtype=package.int8),
            package.randint(high=5, size=(4,)), package.rand(size=(4,)), package.randn(size=(4,)),
            package.randint(0, 2, (4,), dtype=package.bool), package.randint(9, (4,), dtype=package.float16),
            package.randperm(4, dtype=package.int32),
        ]  # fmt: skip
        if package is nc:
            ours = [(x.tolist(), str(x.dtype)[6:]) for x in found]
    assert ours == [(x.tolist(), str(x.dtype)[6:]) for x in found]


def test_a_fork_leaves_the_generator_as_it_was():
    expected = nc.rand(3).tolist()
    nc.manual_seed(7)
    with nc.random.fork_rng():
        nc.rand(5)
    assert nc.rand(3).tolist() == expected
    nc.manual_seed(7)
    with nc.random.fork_rng(enabled=False):
        nc.rand(1)
    assert nc.rand(1).item() != expected[0]
    state = nc.get_rng_state()
    first = nc.rand(2).tolist()
    nc.set_rng_state(state)
    assert nc.rand(2).tolist() == first
    clone = nc.default_generator.clone_state()
    assert nc.rand(2, generator=clone).tolist() == nc.rand(2).tolist()


def test_filling_in_place_keeps_the_tensor_and_cuts_no_leaf_silently(device):
    x = nc.zeros(3, 2)
    assert x.uniform_() is x
    assert x.shape == (3, 2)
    assert nc.zeros(0).normal_().shape == (0,)
    leaf = nc.zeros(2, requires_grad=True)
    for call in (leaf.uniform_, leaf.normal_, leaf.bernoulli_, leaf.exponential_, leaf.random_):
        with pytest.raises(RuntimeError, match="no_grad"):
            call()
    with nc.no_grad():
        assert leaf.normal_().requires_grad


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nc.zeros(2).random_(5, 5), "less than"),
        (lambda: nc.zeros(2, dtype=nc.int8).random_(500), "does not fit"),
        (lambda: nc.zeros(2).bernoulli_(1.5), "from 0 to 1"),
        (lambda: nc.bernoulli(nc.tensor([0.5, float("nan")])), "from 0 to 1"),
        (lambda: nc.zeros(2).exponential_(0), "lambda"),
        (lambda: nc.zeros(2).int().exponential_(), "floating"),
        (lambda: nc.zeros(2).geometric_(1), "p to be"),
        (lambda: nc.zeros(2).cauchy_(0, 0), "sigma"),
        (lambda: nc.zeros(2).log_normal_(0, 0), "std"),
        (lambda: nc.normal(nc.zeros(2), -1.0), "std"),
        (lambda: nc.multinomial(nc.tensor([1.0, -1.0]), 1), "negative"),
        (lambda: nc.multinomial(nc.zeros(3), 1), "above 0"),
        (lambda: nc.multinomial(nc.ones(3), 4), "4 samples"),
        (lambda: nc.poisson(nc.tensor([1.0, -1.0])), "at least 0"),
        (lambda: nc.poisson(nc.tensor([1])), "int64"),
        (lambda: nc.multinomial(nc.ones(3), 0), "0 samples"),
        (lambda: nc.multinomial(nc.ones(1, 2, 3), 1), "dimensions"),
        (lambda: nc.multinomial(nc.tensor([1, 2]), 1), "int64"),
    ],
)
def test_bad_input_raises(call, text):
    with pytest.raises(RuntimeError, match=text):
        call()


def test_missing_arguments_raise():
    with pytest.raises(TypeError, match="size"):
        nc.normal(0.0, 1.0)
    with pytest.raises(TypeError, match="size"):
        nc.normal(nc.zeros(2), 1.0, (2,))
    with pytest.raises(TypeError, match="randint"):
        nc.randint(5)
