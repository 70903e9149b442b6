"""Random numbers: PyTorch's for the same seed, and what holds without PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc
from netcl import random

SIZES = [0, 1, 2, 7, 15, 16, 17, 31, 33, 100, 8192, 8200, 20_001]
DTYPES = ["float32", "float16", "bfloat16", "float64"]


def host(tensor) -> np.ndarray:
    """A netcl or PyTorch tensor as a float64 or integer array."""
    array = tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy()
    return np.asarray(array)


@pytest.mark.parametrize("name", ["rand", "randn"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_two_draws_in_a_row_equal_pytorchs(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    for size in SIZES:
        nc.manual_seed(size)
        torch.manual_seed(size)
        for _ in range(2):
            ours = host(getattr(nc, name)(size, dtype=getattr(nc, dtype)))
            theirs = host(getattr(torch, name)(size, dtype=getattr(torch, dtype)))
            if (name, dtype) == ("randn", "float64"):  # by other libm functions: the last place may differ
                np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-15)
            else:
                np.testing.assert_array_equal(ours, theirs, err_msg=f"{size} elements")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("low", "high"), [(-0.09, 0.09), (2.0, 5.0), (-1.0, 1.0), (3.0, 3.0)])
def test_uniform_equals_pytorchs(dtype: str, low: float, high: float) -> None:
    torch = pytest.importorskip("torch")
    for size in (1, 5, 1000):
        nc.manual_seed(1)
        torch.manual_seed(1)
        ours = nc.zeros(size, dtype=getattr(nc, dtype)).uniform_(low, high)
        theirs = torch.empty(size, dtype=getattr(torch, dtype)).uniform_(low, high)
        np.testing.assert_array_equal(host(ours), host(theirs))


@pytest.mark.parametrize("size", [3, 16, 21, 4000])
def test_normal_with_mean_and_deviation_equals_pytorchs(size: int) -> None:
    torch = pytest.importorskip("torch")
    nc.manual_seed(2)
    torch.manual_seed(2)
    ours, theirs = nc.zeros(size).normal_(1.5, 0.25), torch.empty(size).normal_(1.5, 0.25)
    np.testing.assert_array_equal(host(ours), host(theirs))


@pytest.mark.parametrize("high", [1, 10, 2**20 + 7, 2**28 - 1, 2**28, 2**40 + 3])
def test_randint_equals_pytorchs(high: int) -> None:
    torch = pytest.importorskip("torch")
    nc.manual_seed(3)
    torch.manual_seed(3)
    for low in (0, -5):
        np.testing.assert_array_equal(nc.randint(low, high, (3, 5)).numpy(), torch.randint(low, high, (3, 5)).numpy())
    assert nc.rand(1).item() == torch.rand(1).item()


@pytest.mark.parametrize("count", [0, 1, 2, 10, 1797])
def test_randperm_equals_pytorchs_and_leaves_the_same_state(count: int) -> None:
    torch = pytest.importorskip("torch")
    nc.manual_seed(4)
    torch.manual_seed(4)
    np.testing.assert_array_equal(nc.randperm(count).numpy(), torch.randperm(count).numpy())
    assert nc.randn(1).item() == torch.randn(1).item()


def test_draws_of_several_kinds_mixed_equal_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    nc.manual_seed(-5)
    torch.manual_seed(-5)
    for _ in range(3):  # a small normal draw leaves a number for the next one, across other draws
        for ours, theirs in (
            (nc.randn(3), torch.randn(3)),
            (nc.rand(2), torch.rand(2)),
            (nc.randn(17), torch.randn(17)),
            (nc.randperm(5), torch.randperm(5)),
            (nc.randn(4, 1), torch.randn(4, 1)),
        ):
            np.testing.assert_array_equal(host(ours), host(theirs))


def test_the_known_numbers_of_seed_0() -> None:
    nc.manual_seed(0)
    np.testing.assert_allclose(nc.rand(3).numpy(), [0.49625659, 0.76822180, 0.08847743], rtol=1e-7)
    nc.manual_seed(0)
    y, y_hat = nc.randn(4, 3), nc.randn(4, 3)
    assert ((y - y_hat) ** 2).mean().item() == pytest.approx(2.255875825881958, rel=1e-6)


def test_a_generator_of_its_own_does_not_touch_the_default_one() -> None:
    nc.manual_seed(0)
    expected = nc.rand(4).numpy()
    nc.manual_seed(0)
    own = nc.Generator().manual_seed(9)
    first = nc.rand(4, generator=own).numpy()
    np.testing.assert_array_equal(nc.rand(4).numpy(), expected)
    np.testing.assert_array_equal(nc.rand(4, generator=own.manual_seed(9)).numpy(), first)


def test_a_restored_state_continues_normal_numbers_and_dropout_keys() -> None:
    nc.manual_seed(11)
    nc.randn(3)
    random.dropout_key()
    state = random.get_rng_state()
    expected = (nc.randn(5).tolist(), nc.rand(700).tolist(), random.dropout_key())
    nc.manual_seed(12)
    random.set_rng_state(state)
    assert (nc.randn(5).tolist(), nc.rand(700).tolist(), random.dropout_key()) == expected


def test_dropout_keys_differ_by_call_and_start_anew_with_the_seed() -> None:
    nc.manual_seed(2**64 - 1)
    keys = [random.dropout_key() for _ in range(3)]
    assert len(set(keys)) == 3
    assert all(0 <= seed < 2**63 for seed, _ in keys)
    nc.manual_seed(2**64 - 1)
    assert [random.dropout_key() for _ in range(3)] == keys


def test_dropout_gives_another_mask_each_time_and_the_same_after_seeding() -> None:
    x = nc.ones(1000)
    nc.manual_seed(1)
    first, second = (nc.nn.functional.dropout(x).numpy() for _ in range(2))
    nc.manual_seed(1)
    again = nc.nn.functional.dropout(x).numpy()
    assert (first != second).any()
    np.testing.assert_array_equal(first, again)


def test_bad_input_raises_pytorchs_kind_of_error() -> None:
    with pytest.raises(RuntimeError, match="less than 'to'"):
        nc.randint(5, 5, (2,))
    with pytest.raises(RuntimeError, match="does not fit"):
        nc.randint(300, (2,), dtype=nc.uint8)
    with pytest.raises(RuntimeError, match="floating-point"):
        nc.rand(2, dtype=nc.int64)
    with pytest.raises(RuntimeError, match="non-negative"):
        nc.randperm(-1)
    with pytest.raises(TypeError, match="Generator"):
        nc.rand(2, generator=5)
    with pytest.raises(RuntimeError, match="std"):
        nc.zeros(2).normal_(0, -1)
    with pytest.raises(RuntimeError, match="from"):
        nc.zeros(2).uniform_(1, 0)
    with pytest.raises(RuntimeError, match="seed"):
        nc.manual_seed(2**64)
    with pytest.raises(RuntimeError, match="get_state"):
        random.set_rng_state(nc.zeros(3))
    with pytest.raises(RuntimeError, match="no_grad"):
        nc.zeros(2, requires_grad=True).uniform_()


VIEWS = {
    "transposed": lambda t: t.empty(3, 5).T,
    "many transposed": lambda t: t.zeros(20, 5).T,
    "columns": lambda t: t.zeros(10, 20)[:, 3:],
    "every second": lambda t: t.zeros(10, 20)[::2, ::3],
    "permuted": lambda t: t.zeros(2, 3, 4).permute(2, 0, 1),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_filled_in_the_order_of_their_memory(name: str, torch) -> None:
    for fill in (
        lambda x: x.normal_(1, 2), lambda x: x.uniform_(-1, 3), lambda x: x.random_(0, 9),
        lambda x: x.log_normal_(), lambda x: x.cauchy_(),
    ):  # fmt: skip
        nc.manual_seed(5)
        torch.manual_seed(5)
        ours, theirs = VIEWS[name](nc), VIEWS[name](torch)
        fill(ours)
        fill(theirs)
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
