"""max, min, aminmax, all, any, count_nonzero, prod, nansum: along a dimension, of everything, and what they raise."""

import numpy as np
import pytest
from against_torch import close, derivatives, values

import netcl as nc

DRAWS = np.random.default_rng(0)
X = DRAWS.standard_normal((3, 5, 4)).astype(np.float32)


def test_max_and_min_along_a_dimension_equal_pytorch(place, torch):
    x = np.round(X * 2)  # with ties: the first counts, and it alone gets the gradient
    x[0, 2, 1] = np.nan
    cases = {}
    for dim in (0, 1, -1):
        cases[f"max {dim}"] = lambda m, t, d=dim: tuple(m.max(t, d))
        cases[f"min {dim}"] = lambda m, t, d=dim: tuple(t.min(dim=d, keepdim=True))
    cases["aminmax"] = lambda m, t: tuple(m.aminmax(t, dim=1))
    values(torch, cases, x)
    derivatives(torch, {name: f for name, f in cases.items() if name != "aminmax"}, x, second=False)


def test_max_of_everything_shares_the_gradient_among_equals(place, torch):
    x = np.float32([[1, 3, 3], [3, 0, -1]])
    derivatives(
        torch, {"max": lambda m, t: t.max(), "min": lambda m, t: m.min(t), "square": lambda m, t: (t * t).max()}, x
    )
    with_nan = np.float32([np.nan, 1.0, np.nan])
    derivatives(torch, {"max": lambda m, t: t.max()}, with_nan, second=False)


def test_max_with_another_tensor_is_maximum(torch):
    a, b = np.float32([1, 5, np.nan]), np.float32([2, 4, 0])
    values(
        torch,
        {
            "max": lambda m, t, u: m.max(t, u),
            "min": lambda m, t, u: t.min(u),
            "other": lambda m, t, u: m.max(t, other=u),
        },
        a,
        b,
    )


def test_extrema_of_every_dtype_have_pytorchs_values_and_first_positions(place, torch):
    numbers = DRAWS.integers(-100, 100, (4, 7))
    cases = []
    for name in ("int8", "int16", "int32", "int64", "uint8", "bool", "float16", "bfloat16", "float64"):
        if name == "float64" and not nc.current_device().capabilities.fp64:
            continue
        a, b = nc.tensor(numbers).to(getattr(nc, name)), torch.tensor(numbers).to(getattr(torch, name))
        found = [*a.max(1), *a.min(0), a.max(), a.prod(1), a.all(1), a.any(0), a.count_nonzero(0)]
        wanted = [*b.max(1), *b.min(0), b.max(), b.prod(1), b.all(1), b.any(0), b.count_nonzero(0)]
        cases.append((name, found, wanted))
    for name, found, wanted in cases:
        for ours, theirs in zip(found, wanted, strict=True):
            close(ours, theirs, 1e-2 if "float" in name else 0, name)


def test_results_of_max_have_names_and_unpack():
    found = nc.tensor([[1.0, 3.0], [5.0, 2.0]]).max(1)
    assert found.values.tolist() == [3, 5] and found.indices.tolist() == [1, 0]
    assert repr(found).startswith("netcl.return_types.max(\nvalues=tensor(")
    assert isinstance(found, nc.return_types.max)


def test_extrema_of_0d_and_empty_tensors(torch):
    for f in (lambda m, t: tuple(t.max(0)), lambda m, t: t.min(), lambda m, t: tuple(m.aminmax(t))):
        values(torch, {"0d": f}, np.float32(3))
    empty = {
        "max": lambda m, t: tuple(t.max(1)),
        "prod": lambda m, t: (t.prod(0), t.prod()),
        "truth": lambda m, t: (t.all(0), t.any(), t.count_nonzero()),
    }
    values(torch, empty, np.zeros((0, 3), np.float32))
    for wrong, kind in (
        (lambda: nc.zeros(0).max(), RuntimeError),
        (lambda: nc.zeros(0, 3).max(0), IndexError),
        (lambda: nc.zeros(0, 3).argmin(), IndexError),
        (lambda: nc.zeros(0, 3).argmax(0), IndexError),
        (lambda: nc.zeros(2, 3).max(2), IndexError),
        (lambda: nc.zeros(2, 3).max((0, 1)), TypeError),
        (lambda: nc.zeros(2, 3).prod((0, 1)), TypeError),
        (lambda: nc.zeros(2).max(0, other=nc.zeros(2)), TypeError),
    ):
        with pytest.raises(kind):
            wrong()


def test_all_any_and_count_nonzero_over_any_axes_equal_pytorch(place, torch):
    x = np.float32([[0, 1, np.nan], [0, 0, 2]])
    cases = {}
    for name in ("all", "any"):
        for dim in (None, 0, -1, (0, 1)):
            given = {} if dim is None else {"dim": dim}
            cases[f"{name} {dim}"] = lambda m, t, n=name, g=given: getattr(m, n)(t, **g)
        cases[f"{name} keepdim"] = lambda m, t, n=name: getattr(t, n)(1, keepdim=True)
    cases["count"] = lambda m, t: (t.count_nonzero(), m.count_nonzero(t, dim=0), t.count_nonzero((0, 1)))
    values(torch, cases, x)


def test_gradients_of_products_are_right_with_zeros(place, torch):
    x = X.copy()
    x[0, 1, 2] = 0
    x[1, 1, 1] = x[1, 3, 1] = 0
    x[2, 0, :] = 0
    derivatives(
        torch, {"0": lambda m, t: t.prod(0), "1": lambda m, t: m.prod(t, 1, True), "-1": lambda m, t: t.prod(-1)}, x
    )
    derivatives(torch, {"all": lambda m, t: t.prod()}, x[0])


def test_nansum_and_half_means(torch):
    x = X.copy()
    x[0, 0] = np.nan
    derivatives(torch, {"nansum": lambda m, t: t.nansum(0), "all": lambda m, t: m.nansum(t)}, x, second=False)
    long = nc.full((200_000,), 1.5, dtype=nc.float16)
    assert long.mean().item() == 1.5  # the sum is no float16 number
    assert long.var().item() == 0 and long.logsumexp(0).item() == pytest.approx(np.log(2e5) + 1.5, 1e-3)


def test_an_extremum_and_its_position_are_one_launch():
    x = nc.tensor(X)
    with nc.profiler.count_launches() as launches:
        values, indices = x.max(2)
        values.numpy(), indices.numpy()
    assert int(launches) == 1
