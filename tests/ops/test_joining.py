"""Joining and splitting against PyTorch: values, gradients, dtypes, launches, what is raised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netcl as nc

draws = np.random.default_rng(8)


def floats(*shape: int) -> np.ndarray:
    return draws.standard_normal(shape).astype(np.float32)


def compare(torch, cases, *arrays):
    found = []
    for name, function in cases.items():
        sides = []
        for lib in (nc, torch):
            tensors = [lib.tensor(a, requires_grad=True) for a in arrays]
            result = function(lib, *tensors)
            (result * result * result).sum().backward()
            sides.append([result.detach(), *(t.grad for t in tensors if t.grad is not None)])
        found += [(name, got, want) for got, want in zip(*sides, strict=True)]
    for name, got, want in found:
        assert tuple(got.shape) == tuple(want.shape), name
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-5, err_msg=name)


def test_joining_and_its_gradients_equal_pytorchs(place, torch):
    cases = {
        "rows": lambda lib, a, b: lib.cat([a, b, a[:1]]),
        "columns": lambda lib, a, b: lib.concat((a, b[:, :1]), dim=1),
        "strided": lambda lib, a, b: lib.cat([a.t(), b.t()[1:3], a.flip(0).t()], -2),
        "computed": lambda lib, a, b: lib.cat([a * 2, b.exp(), a[:, ::2].expand(3, 2)], 1),
        "stack_first": lambda lib, a, b: lib.stack([a, b, a * b]),
        "stack_last": lambda lib, a, b: lib.stack([a, b], -1),
        "many": lambda lib, a, b: lib.cat([a[i % 3 : i % 3 + 1] * b[:1] for i in range(70)]),
    }
    compare(torch, cases, floats(3, 4), floats(3, 4))


def test_joining_by_name_equals_pytorchs(torch):
    cases = {
        "one": lambda lib, a, b: lib.cat([a]) * b,
        "stack_middle": lambda lib, a, b: lib.stack((a, b), dim=1),
        "hstack": lambda lib, a, b: lib.hstack([a, b]),
        "hstack_rows": lambda lib, a, b: lib.hstack([a[0], b[0], a[1, 1]]),
        "vstack": lambda lib, a, b: lib.vstack([a, b[0]]),
        "dstack": lambda lib, a, b: lib.dstack([a, b]),
        "dstack_rows": lambda lib, a, b: lib.dstack([a[0], b[0]]),
        "column_stack": lambda lib, a, b: lib.column_stack([a, b[:, 0]]),
        "block_diag": lambda lib, a, b: lib.block_diag(a, b[0], a[0, 0]),
        "empties": lambda lib, a, b: lib.cat([a, b[:0], lib.tensor([]), b]),
    }
    compare(torch, cases, floats(3, 4), floats(3, 4))


def test_second_derivatives_of_joining(mode):
    x = nc.tensor([1.0, 2.0], requires_grad=True)
    joined = nc.cat([x * x, nc.stack([x, x * 3], 1).reshape(4)])
    (first,) = nc.autograd.grad((joined**3).sum(), [x], create_graph=True)
    (second,) = nc.autograd.grad(first.sum(), [x])
    np.testing.assert_allclose(first.detach().numpy(), [6 + 84, 6 * 32 + 84 * 4], rtol=1e-6)
    np.testing.assert_allclose(second.numpy(), [30 + 168, 30 * 16 + 168 * 2], rtol=1e-6)


def test_dtypes_are_promoted_and_any_may_be_joined(place, torch):
    for dtype in ("bool", "uint8", "int64", "float16", "bfloat16", "float64"):
        own = (draws.random((2, 3)) * 5).astype(np.float32)
        results = []
        for lib in (nc, torch):
            x = lib.tensor(own).to(getattr(lib, dtype))
            results += [lib.cat([x, x]), lib.cat([x, lib.tensor([[1, 0, 2]], dtype=lib.int16)])]
        for got, want in zip(results[:2], results[2:], strict=True):
            assert str(got.dtype).split(".")[1] == str(want.dtype).split(".")[1]
            np.testing.assert_array_equal(got.double().numpy(), want.double().numpy())


@settings(deadline=None, max_examples=20, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_pieces_of_any_shape_and_stride_are_joined_as_in_numpy(target, data):
    rank = data.draw(st.integers(1, 3))
    axis = data.draw(st.integers(0, rank - 1))
    shape = data.draw(st.lists(st.sampled_from([1, 2, 3, 17]), min_size=rank, max_size=rank))
    arrays, tensors = [], []
    for _ in range(data.draw(st.integers(1, 4))):
        own = [data.draw(st.integers(0, 5)) if a == axis else size for a, size in enumerate(shape)]
        order = data.draw(st.permutations(range(rank)))
        back = [order.index(a) for a in range(rank)]
        array = draws.integers(0, 100, [own[a] for a in order])
        flipped = data.draw(st.booleans())
        arrays.append(np.flip(array.transpose(back), 0) if flipped else array.transpose(back))
        tensor = nc.tensor(array).permute(back)
        tensors.append(tensor.flip(0) if flipped else tensor)
    np.testing.assert_array_equal(nc.cat(tensors, axis).numpy(), np.concatenate(arrays, axis))


def test_large_pieces_are_one_launch(device, target):
    a, b, c = (nc.tensor(floats(*shape)) for shape in ((500, 301), (500, 7), (500, 1)))
    with nc.profiler.count_launches() as launches:
        rows, columns = nc.cat([a, a[:3]]), nc.cat([a, b, c], 1)
        got = rows.numpy(), columns.numpy()
    assert int(launches) <= 2
    np.testing.assert_array_equal(got[0], np.concatenate([a.numpy(), a.numpy()[:3]]))
    np.testing.assert_array_equal(got[1], np.concatenate([a.numpy(), b.numpy(), c.numpy()], 1))


def test_parts_are_views_of_pytorchs_shapes_and_have_gradients(torch):
    x = np.arange(60, dtype=np.float32).reshape(10, 6)
    functions = [
        lambda lib, t: t.split(4), lambda lib, t: lib.split(t, [1, 2, 3], dim=-1), lambda lib, t: t.split(20, 1),
        lambda lib, t: t.split_with_sizes([7, 0, 3]), lambda lib, t: t.chunk(4), lambda lib, t: lib.chunk(t, 3, 1),
        lambda lib, t: t.tensor_split(3), lambda lib, t: lib.tensor_split(t, (1, 1, 20, 4), 1),
        lambda lib, t: t.hsplit(3),
        lambda lib, t: t.tensor_split(lib.tensor([2, 5])), lambda lib, t: t.vsplit([2, -1]),
        lambda lib, t: t[0].hsplit(2),
        lambda lib, t: t.reshape(2, 5, 6).dsplit(2), lambda lib, t: t.unbind(1), lambda lib, t: lib.unbind(t),
        lambda lib, t: t[:0].chunk(2), lambda lib, t: t[:0].split(3),
    ]  # fmt: skip
    with nc.profiler.count_launches() as launches:
        ours = [function(nc, nc.tensor(x)) for function in functions]
    assert int(launches) == 0
    for number, (got, function) in enumerate(zip(ours, functions, strict=True)):
        want = function(torch, torch.tensor(x))
        assert isinstance(got, tuple)
        assert [tuple(p.shape) for p in got] == [tuple(p.shape) for p in want], number
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=str(number))
    t = nc.tensor(x, requires_grad=True)
    first, _, third = t.split([3, 3, 4])
    (first.sum() + third.sum() * 2).backward()
    np.testing.assert_array_equal(t.grad.numpy()[:, 0], [1, 1, 1, 0, 0, 0, 2, 2, 2, 2])


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        (lambda x: nc.cat([]), ValueError, "at least one"),
        (lambda x: nc.stack([]), RuntimeError, "at least one"),
        (lambda x: nc.cat(x), TypeError, "list or tuple"),
        (lambda x: nc.cat([x, 3]), TypeError, "int at position 1"),
        (lambda x: nc.cat([x, x[0]]), RuntimeError, r"\[4, 3\] and \[3\].*position 1"),
        (lambda x: nc.cat([x, x], 2), IndexError, "cat.*2"),
        (lambda x: nc.cat([x.sum()]), RuntimeError, "position 0.*stack"),
        (lambda x: nc.cat([x, nc.zeros(4, 2)]), RuntimeError, r"\[4, 3\] and \[4, 2\]"),
        (lambda x: nc.stack([x, x[:1]]), RuntimeError, r"\[4, 3\] and \[1, 3\]"),
        (lambda x: nc.block_diag(nc.zeros(1, 1, 1)), RuntimeError, r"\[1, 1, 1\]"),
        (lambda x: x.split(0), RuntimeError, "positive, got 0"),
        (lambda x: x.split([1, 2]), RuntimeError, r"\[1, 2\].*4"),
        (lambda x: x.chunk(0), RuntimeError, "at least 1"),
        (lambda x: x.tensor_split(0), RuntimeError, "at least 1"),
        (lambda x: x.hsplit(2), RuntimeError, "3 can't be split into 2"),
        (lambda x: x.dsplit(2), RuntimeError, "3 dimensions"),
        (lambda x: x.sum().unbind(), RuntimeError, "0-d"),
    ],
)
def test_what_does_not_fit_raises(wrong, kind, words):
    with pytest.raises(kind, match=words):
        wrong(nc.zeros(4, 3))
