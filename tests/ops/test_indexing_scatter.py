"""Writing by index along a dimension: scatter, index_add and their kin, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netcl as nc

draws = np.random.default_rng(11)


def floats(*shape: int) -> np.ndarray:
    return draws.standard_normal(shape).astype(np.float32)


def both(torch, *arrays, grad: bool = True):
    ours = [nc.tensor(a, requires_grad=grad and a.dtype.kind == "f") for a in arrays]
    theirs = [torch.tensor(a, requires_grad=grad and a.dtype.kind == "f") for a in arrays]
    return ours, theirs


def compare(torch, cases, *arrays):
    """Each function's result and the gradients of the sum of its squares; everything is read at the end."""
    found = []
    for name, function in cases.items():
        ours, theirs = both(torch, *arrays)
        got, want = function(nc, *ours), function(torch, *theirs)
        (got * got).sum().backward()
        (want * want).sum().backward()
        found.append((name, got.detach(), want.detach()))
        found += [(name, a.grad, b.grad) for a, b in zip(ours, theirs, strict=True) if a.grad is not None]
    for name, got, want in found:
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=2e-5, atol=1e-5, err_msg=name)


REDUCTIONS = {
    f"{reduce}, include_self={own}": (
        lambda lib, x, s, i, reduce=reduce, own=own: x.scatter_reduce(1, i, s, reduce, include_self=own)
    )
    for reduce in ("sum", "prod", "mean", "amax", "amin")
    for own in (True, False)
}


def test_scatter_and_its_reductions_equal_pytorchs(place, torch):
    x, src = floats(3, 4, 2), floats(3, 5, 2)
    few = ("prod, include_self=True", "mean, include_self=False", "amax, include_self=False")
    compare(torch, {name: REDUCTIONS[name] for name in few}, x, src, draws.integers(0, 4, (3, 5, 2)))
    index = np.argsort(draws.random((3, 4, 2)), axis=1)[:, :3]  # no place twice: PyTorch's gradient is for that
    cases = {
        "set": lambda lib, x, s, i: lib.scatter(x, 1, i, s[:, :3]),
        "number": lambda lib, x, s, i: x.scatter(1, i, 2.5) + s.sum(),
        "smaller": lambda lib, x, s, i: x.scatter(1, i[:2, :2, :1], s[:2, :2, :1]),
        "add_smaller": lambda lib, x, s, i: lib.scatter_add(x, -2, i[:2, :, 1:], s[:2, :3, :1]),
        "number_smaller": lambda lib, x, s, i: x.scatter(dim=1, index=i[1:2], value=1.5) + s.sum(),
    }
    compare(torch, cases, x, src, index)


@pytest.mark.long
def test_each_reduction_equals_pytorchs(place, torch):
    compare(torch, REDUCTIONS, floats(3, 4, 2), floats(3, 5, 2), draws.integers(0, 4, (3, 5, 2)))


@pytest.mark.filterwarnings("ignore:index_reduce")  # in beta there
def test_index_add_copy_fill_and_reduce_equal_pytorchs(place, torch):
    x, src = floats(3, 6, 2), floats(3, 4, 2)
    cases = {
        "add": lambda lib, x, s, i: lib.index_add(x, 1, i, s, alpha=1.5),
        "copy": lambda lib, x, s, i: x.index_copy(1, i, s),
        "fill": lambda lib, x, s, i: x.index_fill(-2, i, 1.5) + s.sum(),
        "fill_tensor": lambda lib, x, s, i: x.index_fill(1, i, s[0, 0, 0]),
        "amax": lambda lib, x, s, i: x.index_reduce(1, i, s, "amax", include_self=False),
        "put": lambda lib, x, s, i: x.put(i, s[0, :, 0]),
        "put_add": lambda lib, x, s, i: x.put(i - 3, s[0, :, 1], accumulate=True),
        "index_put": lambda lib, x, s, i: x.index_put((i[1], i), s[0]),
        "take": lambda lib, x, s, i: x.take(i * 5 - 7) + s.sum(),
        "select": lambda lib, x, s, i: lib.index_select(x, 1, i.int()) * s,
    }
    compare(torch, cases, x, src, np.array([4, 0, 5, 1]))


def test_sums_of_narrow_floats_are_exact_and_integers_wrap(place):
    index = draws.integers(0, 3, 4000)
    for dtype in (np.float16, np.int8, np.int64):
        values = (draws.random(4000) * 3).astype(dtype)
        got = nc.zeros(3, dtype=nc.tensor(values).dtype).index_add(0, nc.tensor(index), nc.tensor(values)).numpy()
        wide = np.zeros(3, np.float64 if values.dtype.kind == "f" else np.int64)
        np.add.at(wide, index, values)
        np.testing.assert_array_equal(got, wide.astype(dtype))
    mean = nc.tensor([7, -8]).scatter_reduce(0, nc.tensor([0, 0, 1]), nc.tensor([4, 5, 1]), "mean")
    assert mean.tolist() == [5, -4]  # rounded down
    flags = nc.zeros(3, dtype=nc.bool).index_add(0, nc.tensor([1, 1]), nc.ones(2, dtype=nc.bool))
    assert flags.tolist() == [False, True, False]


def test_a_wide_row_is_added_the_same_way_every_time(place):
    """Enough columns for every work-item, and strides: a transposed source, an index that all columns share."""
    index = draws.integers(0, 7, 200)
    source = floats(1000, 200)
    wanted = np.zeros((7, 1000), np.float32)
    np.add.at(wanted, index, source.T)
    ours, shared = nc.tensor(source).t(), nc.tensor(index)
    first = nc.zeros(7, 1000).index_add(0, shared, ours).numpy()
    second = nc.zeros(7, 1000).scatter_add(0, shared[:, None].expand(-1, 1000), ours * 1).numpy()
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, wanted)


def test_many_single_elements_are_written_in_order(place):
    """More than one block of indices, several ranges of places (cpu), and an index that only some of them see."""
    index, values = draws.integers(-3000, 3000, 5000), floats(5000)
    summed, placed = np.zeros(3000, np.float32), np.zeros(3000, np.float32)
    np.add.at(summed, index, values)
    for at, value in zip(index, values, strict=True):
        placed[at] = value
    x, at, source = nc.zeros(3000), nc.tensor(index), nc.tensor(values)
    np.testing.assert_array_equal(x.put(at, source, accumulate=True).numpy(), summed)
    np.testing.assert_array_equal(x.put(at, source).numpy(), placed)
    front = nc.tensor(index % 3000)
    np.testing.assert_array_equal(x.scatter_add(0, front, source).numpy(), summed)
    index[4321] = -3001
    with pytest.raises(IndexError, match="put.*index -3001 at position 4321"):
        x.put(nc.tensor(index), source).numpy()


def test_many_values_for_few_places_are_summed_in_parts_with_the_same_gradients(place):
    index, values = draws.integers(0, 4, 1003), floats(1003, 2)
    x, source = nc.tensor(floats(4, 2), requires_grad=True), nc.tensor(values, requires_grad=True)
    y = x.index_add(0, nc.tensor(index), source)
    wanted = x.detach().numpy().astype(np.float64)
    np.add.at(wanted, index, values)
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=1e-4, atol=1e-4)
    factor = floats(4, 2)
    (y * nc.tensor(factor)).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), factor)
    np.testing.assert_array_equal(source.grad.numpy(), factor[index])
    index[1001] = 4
    with pytest.raises(IndexError, match="index_add.*index 4 at position 1001"):
        x.detach().index_add(0, nc.tensor(index), source.detach()).numpy()


@settings(deadline=None, max_examples=15, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_scatter_add_of_any_shape_and_dimension_equals_numpys(target, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    axis = data.draw(st.integers(0, len(shape) - 1))
    own = tuple(data.draw(st.integers(0, 5 if a == axis else size)) for a, size in enumerate(shape))
    index = draws.integers(0, shape[axis], own)
    base, source = draws.integers(-9, 9, shape), draws.integers(-9, 9, own)
    wanted, places = base.copy(), np.indices(own)
    places[axis] = index
    np.add.at(wanted, tuple(places), source)
    got = nc.tensor(base).scatter_add(axis, nc.tensor(index), nc.tensor(source))
    np.testing.assert_array_equal(got.numpy(), wanted)


def test_second_derivatives_of_writing_by_index():
    index = nc.tensor([2, 0, 2])
    x, s = nc.tensor(floats(3, 2).astype(np.float64)), nc.tensor(floats(3, 2).astype(np.float64))
    for t in (x, s):
        t.requires_grad_()
    for function in (
        lambda x, s: x.index_add(0, index, s * s),
        lambda x, s: x.scatter_reduce(0, index[:, None].expand(3, 2), s, "prod"),
        lambda x, s: x.scatter_reduce(0, index[:, None].expand(3, 2), s, "amax"),
        lambda x, s: x.index_copy(0, index, s) ** 2,
        lambda x, s: x[index] * s,
    ):
        assert nc.autograd.gradcheck(function, (x, s))
        (first,) = nc.autograd.grad((function(x, s) ** 2).sum(), [s], create_graph=True)
        (second,) = nc.autograd.grad((first**2).sum(), [s])
        assert np.isfinite(second.numpy()).all()


def test_in_place_forms_change_the_tensor_and_have_gradients(torch):
    index = np.array([1, 0])
    forms = {
        "scatter_": lambda x, i, s: x.scatter_(0, i[:, None], s[:, :1]),
        "scatter_add_": lambda x, i, s: x.scatter_add_(0, i[:, None], s[:, :1]),
        "scatter_reduce_": lambda x, i, s: x.scatter_reduce_(0, i[:, None], s[:, :1], "amax"),
        "index_add_": lambda x, i, s: x.index_add_(0, i, s),
        "index_copy_": lambda x, i, s: x.index_copy_(0, i, s),
        "index_fill_": lambda x, i, s: x.index_fill_(0, i[:1], 3.0),
        "index_put_": lambda x, i, s: x.index_put_((i,), s),
        "put_": lambda x, i, s: x.put_(i, s[:, 0]),
        "masked_fill_": lambda x, i, s: x.masked_fill_(x > 0, -1.0),
        "masked_scatter_": lambda x, i, s: x.masked_scatter_(x > 0, s.repeat(3, 1) if hasattr(s, "repeat") else s),
    }
    a, src = floats(3, 2), floats(2, 2)
    for name, form in forms.items():
        if name == "masked_scatter_" and not hasattr(nc.Tensor, "repeat"):
            continue
        (x, s), (y, r) = both(torch, a, src)
        ours, theirs = x * 1, y * 1
        assert form(ours, nc.tensor(index), s) is ours
        form(theirs, torch.tensor(index), r)
        (ours * ours).sum().backward()
        (theirs * theirs).sum().backward()
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        (lambda x, i: x.scatter(0, i, nc.ones(2, 2)), RuntimeError, r"scatter.*index of shape \[2\]"),
        (lambda x, i: x.scatter(0, i[:, None].float(), 1.0), RuntimeError, "scatter.*int64.*float32"),
        (lambda x, i: x.scatter(0, i[:, None], nc.ones(2, 1, dtype=nc.float64)), RuntimeError, "float32.*float64"),
        (lambda x, i: x.scatter(0, i[:, None], nc.ones(1, 1)), RuntimeError, r"src of shape \[1, 1\]"),
        (lambda x, i: x.scatter(0, i[:, None]), TypeError, "src"),
        (lambda x, i: x.scatter(0, i[:, None], 1.0, reduce="min"), RuntimeError, "add.*multiply"),
        (lambda x, i: x.scatter_add(0, i[:, None] + 2, nc.ones(2, 1)), IndexError, "_add.*index 3 at position 1"),
        (lambda x, i: x.scatter(0, i[:, None] - 1, 1.0), IndexError, "scatter.*index -1 at position 0"),
        (lambda x, i: x.scatter_reduce(0, i[:, None], x, "max"), RuntimeError, "amax"),
        (lambda x, i: x.index_add(0, i, nc.ones(3, 2)), RuntimeError, r"index_add.*\[3, 2\].*\[2, 2\]"),
        (lambda x, i: x.index_add(0, x.long(), x), IndexError, "one dimension"),
        (lambda x, i: x.index_add(0, i + 2, nc.ones(2, 2)), IndexError, "index_add.*index 3"),
        (lambda x, i: x.index_copy(0, i, nc.ones(3, 2)), IndexError, r"index_copy.*\[3, 2\]"),
        (lambda x, i: x.index_fill(0, i, nc.ones(2)), RuntimeError, "0-d"),
        (lambda x, i: x.index_fill(0, i - 5, 1.0), IndexError, "index_fill.*index -5"),
        (lambda x, i: x.index_reduce(0, i, x[:2], "sum"), RuntimeError, "index_add"),
        (lambda x, i: x.put(i, nc.ones(3)), IndexError, "2 elements.*3"),
        (lambda x, i: x.index_select(0, i[:, None]), IndexError, "one dimension"),
        (lambda x, i: x.index_select(0, i - 1), IndexError, "index_select.*index -1"),
        (lambda x, i: x.take(i + 5), IndexError, "take.*index 6"),
        (lambda x, i: x.index_put(i, x), TypeError, "tuple"),
        (lambda x, i: nc.zeros(0, 2).index_select(0, i), IndexError, "empty"),
    ],
)
def test_what_does_not_fit_raises(wrong, kind, words):
    with pytest.raises(kind, match=words):
        wrong(nc.zeros(3, 2), nc.tensor([0, 1])).numpy()
