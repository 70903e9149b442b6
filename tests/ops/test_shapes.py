"""Views that name, order and group dimensions, and what tensors broadcast to, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from against_torch import check, numbers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netcl as nc

relaxed = settings(
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def test_views_give_pytorchs_elements_and_gradients(device, torch):
    x, y = numbers(2, 3, 4), numbers(6)
    check(
        torch,
        [
            (lambda m, a: a.movedim(0, -1), x),
            (lambda m, a: m.moveaxis(a, (0, 1), (-1, 0)), x),
            (lambda m, a: a.swapaxes(0, 2), x),
            (lambda m, a: m.swapdims(a, 1, -1), x),
            (lambda m, a: a.unflatten(2, (2, -1)), x),
            (lambda m, a: m.unflatten(a, -2, (3, 1)), x),
            (lambda m, a: a.transpose(0, 1).ravel(), x),
            (lambda m, a, b: b.reshape_as(a[0, :, :2]), x, y),
            (lambda m, a, b: b.view_as(a[0, :, :2]), x, y),
            (lambda m, a, b: a[0, :1].expand_as(a[0]), x, y),
            (lambda m, a: m.broadcast_to(a[:, :1], (5, 2, 3, 4)), x),
            (lambda m, a, b: m.broadcast_tensors(a, b[:4], b[0]), x, y),
            (lambda m, a, b: m.atleast_1d(a, b[0]), x, y),
            (lambda m, a, b: m.atleast_2d(a, b, b[0]), x, y),
            (lambda m, a, b: m.atleast_3d(a, a[0], b, b[0]), x, y),
            (lambda m, a: m.atleast_2d(a), y),
            (lambda m, a: a.adjoint(), x),
            (lambda m, a: a[0].H, x),
            (lambda m, a: a.mH, x),
            (lambda m, a: a[:1].squeeze((0, 1)), x),
            (lambda m, a, b: m.meshgrid(a[0, 0], b, indexing="ij"), x, y),
            (lambda m, a, b: m.meshgrid(a[0, 0], b, b[:2], indexing="xy"), x, y),
            (lambda m, a: a.sum_to_size(3, 1), x),
            (lambda m, a: a.diagonal(), x),
            (lambda m, a: m.diagonal(a, 1, 2, -2), x),
            (lambda m, a: a.permute(2, 0, 1).diagonal(-2, 0, 2), x),
            (lambda m, a: a.diagonal(7), x),
            (lambda m, a: (a * 2).diagonal(offset=-1, dim1=1, dim2=2), x),
            (lambda m, a: a.unfold(2, 2, 1), x),
            (lambda m, a: a.transpose(0, 2).unfold(0, 3, 1), x),
            (lambda m, a: a.unfold(0, 2, 2), y),
            (lambda m, a: (a + 1).unfold(0, 3, 2), y),
            (lambda m, a: a.unfold(-1, 4, 1), y),
            (lambda m, a: a.unfold(0, 0, 1), y),
        ],
        second=True,
    )


def test_shapes_without_a_tensor(torch):
    for shapes in (((3, 1), (4,)), ((2, 1, 3), 3, ()), ((0,), (1, 1)), (5,), ()):
        assert tuple(nc.broadcast_shapes(*shapes)) == tuple(torch.broadcast_shapes(*shapes))
    assert nc.numel(nc.zeros(2, 5)) == 10
    assert nc.zeros(0, 3).ravel().shape == (0,)


@st.composite
def planes(draw):
    shape = tuple(draw(st.lists(st.sampled_from([0, 1, 2, 3, 5]), min_size=2, max_size=4)))
    order = tuple(draw(st.permutations(range(len(shape)))))
    dims = draw(st.permutations(range(len(shape))))[:2]
    return shape, order, dims, draw(st.integers(-4, 4)), draw(st.booleans())


@relaxed
@given(case=planes())
def test_any_diagonal_equals_numpys_and_its_gradient_lands_on_it(target, case):
    shape, order, (a, b), offset, computed = case
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    x = nc.tensor(array, requires_grad=True)
    y = (x * 1.0 if computed else x).permute(order).diagonal(offset, a, b)
    expected = array.transpose(order).diagonal(offset, a, b)
    np.testing.assert_array_equal(y.detach().numpy(), expected)
    (y * y).sum().backward()
    gradient = np.zeros(shape, np.float32)
    np.testing.assert_array_equal(x.grad.numpy().transpose(order).diagonal(offset, a, b), 2 * expected)
    gradient[np.isin(array, expected)] = 1
    np.testing.assert_array_equal(x.grad.numpy() * (1 - gradient), 0)


@relaxed
@given(
    length=st.integers(1, 12), size=st.integers(1, 12), step=st.integers(1, 5), axis=st.integers(0, 1), data=st.data()
)
def test_any_windows_and_the_sum_of_their_gradients(target, length, size, step, axis, data):
    size = min(size, length)
    shape = (length, 2) if axis == 0 else (2, length)
    array = numbers(*shape)
    x = nc.tensor(array, requires_grad=True)
    windows = np.moveaxis(np.lib.stride_tricks.sliding_window_view(array, size, axis), axis, 0)[::step]
    y = x.unfold(axis, size, step)
    np.testing.assert_array_equal(y.detach().numpy(), np.moveaxis(windows, 0, axis))
    y.sum().backward()
    counts = np.zeros(length, np.float32)
    for start in range(0, length - size + 1, step):
        counts[start : start + size] += 1
    np.testing.assert_array_equal(x.grad.numpy(), np.broadcast_to(counts[:, None] if axis == 0 else counts, shape))


def test_diagonals_and_windows_of_realised_tensors_launch_nothing():
    x = nc.tensor(numbers(4, 6))
    with nc.profiler.count_launches() as launches:
        assert x.diagonal(1).numpy().shape == (4,)
        assert x[::2].unfold(1, 3, 1).numpy().shape == (2, 4, 3)
    assert int(launches) == 0


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (lambda m, a: a.movedim(0, 3), IndexError),
        (lambda m, a: a.movedim((0, 1), (0,)), RuntimeError),
        (lambda m, a: a.movedim((0, 0), (0, 1)), RuntimeError),
        (lambda m, a: a.unflatten(0, (2, 2)), RuntimeError),
        (lambda m, a: a.unflatten(0, (-1, -1)), RuntimeError),
        (lambda m, a: a.diagonal(0, 1, 1), RuntimeError),
        (lambda m, a: a.diagonal(0, 0, 5), IndexError),
        (lambda m, a: a.unfold(0, 4, 1), RuntimeError),
        (lambda m, a: a.unfold(0, 1, 0), RuntimeError),
        (lambda m, a: a.unfold(2, 1, 1), IndexError),
        (lambda m, a: m.broadcast_tensors(a, a[:2]), RuntimeError),
        (lambda m, a: m.broadcast_shapes((2,), (3,)), RuntimeError),
        (lambda m, a: m.meshgrid(a, indexing="ij"), RuntimeError),
        (lambda m, a: m.meshgrid(a[0], indexing="yx"), RuntimeError),
        (lambda m, a: a[None].H, RuntimeError),
        (lambda m, a: a[0].adjoint(), RuntimeError),
        (lambda m, a: a[0].diagonal(), IndexError),
    ],
)
def test_what_pytorch_refuses_is_refused(torch, operation, error):
    for module in (nc, torch):
        with pytest.raises(error):
            operation(module, module.ones(3, 3))
