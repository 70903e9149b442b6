"""x[index] with tensors, lists, arrays and bools, and what x[index] = value makes, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netcl as nc
from netcl.ops.indexing import setitem_value

draws = np.random.default_rng(5)
X = draws.standard_normal((4, 3, 5, 2)).astype(np.float32)
ROWS = np.array([2, 0, -1])
MASK = draws.random((4, 3)) > 0.5
LONG_MASK = np.array([True, False, True, True, False])
ALL = slice(None)

INDICES = {
    "array": ROWS,
    "array_in_tuple": (ROWS,),
    "second_dimension": (ALL, np.array([2, 0, 1])),
    "after_dots": (..., np.array([1, 0])),
    "two_adjacent": (ROWS, np.array([0, 1, 2])),
    "two_apart": (ROWS, ALL, np.array([0, 4, 2])),
    "int_beside": (0, ALL, np.array([1, 2])),
    "slices_beside": (slice(1, 3), np.array([0, 2]), slice(None, None, 2)),
    "broadcast": (np.array([[1], [2]]), np.array([0, 1, 2])),
    "none_beside": (None, ROWS, None),
    "none_between": (np.array([0, 1]), None, np.array([1, 2])),
    "mask": MASK,
    "mask_and_tensor": (MASK, np.array(1)),
    "mask_in_the_middle": (ALL, ALL, LONG_MASK),
    "mask_of_one_dimension": (LONG_MASK[:4],),
    "tensor_dots_int": (ROWS, ..., 1),
    "no_dimensions": (np.array(2),),
    "no_dimensions_apart": (np.array(2), ALL, np.array([1, 2])),
    "no_dimensions_between_slices": (slice(1, 2), np.array(2), ALL, np.array([0, 1])),
    "empty": np.zeros(0, np.int64),
    "list": [0, 2],
    "lists": ([0, 2], [1, 2]),
    "list_of_lists": [[0, 2], [1, 2]],
    "true": True,
    "true_and_tensor": (True, ROWS),
    "tensor_and_true": (ROWS, True),
    "true_and_slice": (ALL, True, np.array([0, 1])),
    "empty_mask": np.zeros((4, 3), bool),
    "empty_slice": (slice(3, 0), ROWS),
    "mask_without_dimensions": np.array(True),
    "list_of_bools": [True, False, True, False],
}


def of(index, make):
    """The index with its arrays made tensors."""
    if isinstance(index, tuple):
        return tuple(of(item, make) for item in index)
    return make(index) if isinstance(index, np.ndarray) else index


FEW = ["array", "two_apart", "slices_beside", "mask", "mask_and_tensor", "no_dimensions_apart", "mask_in_the_middle"]


def check_reading(torch, names):
    found = []
    for name in names:
        index = INDICES[name]
        a, b = nc.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
        got, want = a[of(index, nc.tensor)], b[of(index, torch.tensor)]
        (got * got).sum().backward()
        (want * want).sum().backward()
        found.append((name, got.detach(), want.detach(), a.grad, b.grad))
    for name, got, want, a, b in found:
        assert tuple(got.shape) == tuple(want.shape), name
        np.testing.assert_array_equal(got.numpy(), want.numpy(), err_msg=name)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, err_msg=name)


def check_assigning(torch, names, kind):
    found = []
    for name in names:
        index = INDICES[name]
        shape = tuple(torch.tensor(X)[of(index, torch.tensor)].shape)
        value = draws.standard_normal(shape[-1:] if kind == "row" else shape).astype(np.float32)
        a, b = nc.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
        v, w = (2.5, 2.5) if kind == "number" else (nc.tensor(value), torch.tensor(value))
        if kind != "number":
            v.requires_grad_()
            w.requires_grad_()
        got, want = setitem_value(a, of(index, nc.tensor), v), b * 1
        want[of(index, torch.tensor)] = w
        (got * got).sum().backward()
        (want * want).sum().backward()
        found.append((name, got.detach(), want.detach(), a.grad, b.grad))
        if kind != "number" and w.grad is not None and v.grad is not None:
            found.append((name, v.grad, w.grad, a.grad, b.grad))
    for name, got, want, a, b in found:
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, err_msg=name)


def test_an_index_reads_what_pytorch_reads_and_so_does_its_gradient(place, torch):
    check_reading(torch, FEW)


@pytest.mark.parametrize("kind", ["number", "full"])
def test_an_index_assigns_what_pytorch_assigns_and_so_do_the_gradients(place, torch, kind):
    check_assigning(torch, FEW[:5], kind)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_any_index_has_the_shape_and_elements_of_pytorchs(torch):
    x, y = nc.tensor(X), torch.tensor(X)
    for name in set(INDICES) - set(FEW):
        got, want = x[of(INDICES[name], nc.tensor)], y[of(INDICES[name], torch.tensor)]
        assert tuple(got.shape) == tuple(want.shape), name
        np.testing.assert_array_equal(got.numpy(), want.numpy(), err_msg=name)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_any_index_reads_and_assigns_what_pytorch_does_with_all_gradients(place, torch):
    check_reading(torch, list(INDICES))
    for kind in ("number", "row", "full"):
        check_assigning(torch, list(INDICES), kind)


@st.composite
def expressions(draw) -> tuple[tuple[int, ...], tuple]:
    """A shape and an index of any mix, tensors of one broadcast shape among it."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    together = draw(st.sampled_from([(), (1,), (3,), (2, 3), (2, 1)]))
    index: list = []
    axis = 0
    while axis < len(shape):
        kind = draw(st.sampled_from(["int", "slice", "slice", "none", "tensor", "tensor", "mask", "dots"]))
        size = shape[axis]
        if kind == "none":
            index.append(None)
            continue
        if kind == "dots" and not any(item is ... for item in index):
            index.append(...)
            axis += draw(st.integers(0, len(shape) - axis))
            continue
        if kind == "mask" and together in ((), (1,)):
            index.append(np.arange(size) == draw(st.integers(0, size - 1)))  # one place: fits every other tensor
        elif kind == "int":
            index.append(draw(st.integers(-size, size - 1)))
        elif kind == "tensor":
            places = draw(st.lists(st.integers(-size, size - 1), min_size=6, max_size=6))
            own = draw(st.sampled_from([together, together[1:]]))
            index.append(np.array(places[: int(np.prod(own))]).reshape(own))
        else:
            bounds = st.none() | st.integers(-size - 1, size + 1)
            index.append(slice(draw(bounds), draw(bounds), draw(st.sampled_from([None, 1, 2]))))
        axis += 1
    return shape, tuple(index)


@settings(deadline=None, max_examples=40, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=expressions())
def test_any_mix_of_indices_reads_and_assigns_what_pytorch_does(torch, case):
    shape, index = case
    array = np.arange(np.prod(shape)).reshape(shape)
    x, y = nc.tensor(array), torch.tensor(array)
    got, want = x[of(index, nc.tensor)], y[of(index, torch.tensor)]
    assert tuple(got.shape) == tuple(want.shape)
    np.testing.assert_array_equal(got.numpy(), want.numpy())
    x[of(index, nc.tensor)] = -got - 1
    y[of(index, torch.tensor)] = -want - 1
    np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_eager_and_lazy_give_the_same(mode):
    x, rows = nc.tensor(X, requires_grad=True), nc.tensor(ROWS)
    y = x * 2
    y[rows, 1] = 1.0
    y[nc.tensor(MASK)] = x[nc.tensor(MASK)] * 3
    nc.cat([y[rows], y[:1]]).sum().backward()
    wanted, factor = X * 2, np.full_like(X, 2)
    wanted[ROWS, 1], factor[ROWS, 1] = 1.0, 0.0
    wanted[MASK], factor[MASK] = X[MASK] * 3, 3.0
    factor[1] = 0
    factor[0] *= 2
    np.testing.assert_array_equal(y.detach().numpy(), wanted)
    np.testing.assert_array_equal(x.grad.numpy(), factor)


def test_of_values_for_one_place_the_last_one_stays_and_only_it_has_a_gradient(place):
    x = nc.zeros(3, requires_grad=True)
    values = nc.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = setitem_value(x, nc.tensor([1, 2, 1, -2]), values)
    (y * nc.tensor([5.0, 6.0, 7.0])).sum().backward()
    assert y.tolist() == [0.0, 4.0, 2.0]
    assert values.grad.tolist() == [0.0, 7.0, 0.0, 6.0]
    assert x.grad.tolist() == [5.0, 0.0, 0.0]


def test_index_put_adds_every_value_in_float32_or_wider(place, torch):
    index = draws.integers(-5, 5, 3000)
    for dtype in ("float32", "float16", "int8", "int64", "bool"):
        values = (draws.random(3000) * 3).astype(dtype)
        got = nc.zeros(5, dtype=getattr(nc, dtype)).index_put((nc.tensor(index),), nc.tensor(values), accumulate=True)
        wide = np.zeros(5, np.float64 if dtype.startswith("float") else np.int64)
        np.add.at(wide, index, values)
        np.testing.assert_allclose(got.numpy().astype(np.float64), wide.astype(dtype).astype(np.float64), rtol=2e-3)


def test_integers_of_any_size_are_indices_and_slices_take_numbers_of_numpy_and_tensors():
    x = nc.tensor(np.arange(300.0))
    for dtype in (nc.int8, nc.int16, nc.int32, nc.int64):
        assert x[nc.tensor([-1, 2], dtype=dtype)].tolist() == [299.0, 2.0]
        assert setitem_value(x, nc.tensor([-1], dtype=dtype), 7.0)[-1].item() == 7.0
    assert x[np.int32(2) : nc.tensor(6) : np.int64(3)].tolist() == [2.0, 5.0]


@pytest.mark.parametrize(
    ("index", "kind", "words"),
    [
        (np.array([0.0, 1.0]), IndexError, "integers or bools"),
        (1.5, IndexError, "float"),
        ("a", IndexError, "str"),
        (([0, 1], [0, 1, 2]), IndexError, r"broadcast together with shapes \[2\], \[3\]"),
        (([0], [0], [0], [0], [0]), IndexError, "too many"),
        (np.array([True, False, True]), IndexError, r"mask of shape \[3\].*\[4, 3, 5, 2\]"),
        (np.array([1, 2], np.uint8), IndexError, "uint8"),
        ([[5]], IndexError, "index 5 at position 0"),
        ((slice(None), np.array([0, 3])), IndexError, "index 3 at position 1"),
        ((np.array([0]), np.array([-4])), IndexError, "index -4 at position 0"),
        ((slice(0, 0), slice(None), slice(5, 5), [0]), None, ""),
        ((slice(0, 0), slice(None), slice(5, 5)), None, ""),
        ((..., ...), IndexError, "ellipsis"),
    ],
)
def test_what_is_no_index_raises(index, kind, words):
    x = nc.tensor(X)
    for use in (lambda: x[of(index, nc.tensor)], lambda: setitem_value(x, of(index, nc.tensor), 1.0)):
        if kind is None:
            use().numpy()
        else:
            with pytest.raises(kind, match=words):
                use().numpy()


def test_values_that_do_not_fit_raise():
    x = nc.tensor(X)
    for index, value, kind, words in (
        (nc.tensor([0, 1]), nc.zeros(5, 3), RuntimeError, r"\[5, 3\].*\[2, 3, 5, 2\]"),
        (nc.tensor([0, 1]), nc.zeros(2, dtype=nc.float64), RuntimeError, "float32.*float64"),
        (nc.tensor([0, 1]), "a", TypeError, "str"),
        (nc.tensor(MASK), nc.zeros(3, 4, 2), RuntimeError, "shape mismatch"),
        (nc.tensor(MASK), nc.zeros(int(MASK.sum()) + 1, 5, 2), RuntimeError, f"picks {MASK.sum()} elements"),
        (nc.tensor(MASK), nc.zeros(0, 5, 2), RuntimeError, f"picks {MASK.sum()} elements.*has 0"),
    ):
        with pytest.raises(kind, match=words):
            setitem_value(x, index, value).numpy()
    assert setitem_value(x, nc.tensor([0, 1]), nc.zeros(1, 1, 2, 3, 5, 2)).shape == x.shape


def test_assigning_at_a_mask_reads_nothing_on_the_host(monkeypatch):
    x, mask = nc.tensor(X, requires_grad=True), nc.tensor(MASK)
    count = int(MASK.sum())

    def refuse(*_args):
        raise AssertionError("the host read a value")

    monkeypatch.setattr("netcl.core.launch.read_into", refuse)
    with pytest.raises(AssertionError):
        x[mask]
    for value in (1.0, nc.ones(2), nc.ones(1, 5, 2), nc.ones(count, 5, 2)):
        setitem_value(x, mask, value).sum().backward()
    setitem_value(x, mask, 1.0)


def test_reading_by_index_is_one_launch_and_so_is_a_mask_with_a_number():
    x, rows, mask = nc.tensor(X), nc.tensor(ROWS), nc.tensor(MASK)
    one = nc.tensor(1)
    for function in (lambda: (x * 2)[rows].exp(), lambda: x[rows, :, one], lambda: setitem_value(x, mask, 0.0)):
        with nc.profiler.count_launches() as launches:
            kept = function()
        assert int(launches) == 1, kept.shape
