"""as_strided and view(dtype): memory addressed otherwise, as PyTorch shows it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netcl as nc

# ---- as_strided --------------------------------------------------------------------------------------------------

SHAPES = [
    ((3, 4), (4, 1)), ((3, 4), (1, 3)), ((2, 2), (3, 2)), ((2, 3), (0, 2)), ((2, 1, 3), (5, 7, 2)), ((), ()),
    ((0, 3), (1, 1)), ((1,), (100,)), ((4, 3), (2, 1)), ((2, 2, 2), (1, 3, 2)), ((12,), (1,)),
]  # fmt: skip


def test_elements_strides_and_offsets_are_pytorchs(torch, device):
    def program(t):
        results = []
        for size, stride in SHAPES:
            x = t.arange(12.0)
            results += [x.as_strided(size, stride), x[1:].view(-1).as_strided(size[:1], [1] * len(size[:1]), 0)]
        results.append(t.as_strided(t.arange(12.0), (2, 2), (1, 1), 3))
        rows = t.arange(12.0).reshape(3, 4)
        results += [rows.T.as_strided((2, 2), (1, 2)), rows[:, 1:3].as_strided((2, 2), (4, 1), 0)]
        return [(tuple(x.shape), x.numel() and x.storage_offset(), x.tolist()) for x in results]

    assert program(nc) == program(torch)


def test_a_write_goes_both_ways(torch, device, mode):
    def program(t):
        x = t.arange(12.0)
        rows = x.reshape(3, 4)
        y = rows[:, 1:3].as_strided((2, 2), (4, 1), 1)
        y.mul_(10)
        x[2] = -1
        y[1] += rows[0, :2]
        return [part.tolist() for part in (x, rows, y)]

    assert program(nc) == program(torch)


def test_gradients_add_up_where_places_are_shown_twice(torch, device):
    def gradient(t):
        x = t.arange(12.0, requires_grad=True)
        y = x.as_strided((4, 3), (2, 1))
        (g,) = t.autograd.grad((y**3).sum(), x, create_graph=True)
        g.sum().backward()
        return g.detach().numpy(), x.grad.numpy()

    for one, other in zip(gradient(nc), gradient(torch), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    dims=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), max_size=3),
    offset=st.integers(0, 6),
    before=st.sampled_from(["all", "rows", "transposed", "columns"]),
)
def test_any_strides_within_the_memory(torch, dims, offset, before):
    size, stride = [d[0] for d in dims], [d[1] for d in dims]

    def seen(t):
        x = t.arange(24).reshape(4, 6)
        y = {"all": x, "rows": x[1:], "transposed": x.T, "columns": x[:, ::2]}[before]
        try:
            return y.as_strided(size, stride, offset).tolist()
        except RuntimeError:
            return "refused"

    assert seen(nc) == seen(torch)


@pytest.mark.parametrize(
    ("size", "stride", "offset"), [((13,), (1,), None), ((2,), (-1,), None), ((2,), (1, 1), None), ((2,), (1,), 11)]
)
def test_places_that_are_not_there_raise(torch, size, stride, offset):
    for t in (torch, nc):
        with pytest.raises(RuntimeError):
            t.arange(12.0).as_strided(size, stride, offset)


def test_repeated_places_cannot_be_written_to():
    with pytest.raises(RuntimeError, match="single memory location"):
        nc.arange(5).as_strided((3, 3), (1, 1)).zero_()
    with pytest.raises(RuntimeError, match="gaps"):
        nc.arange(12).clone().reshape(3, 4)[:, 1:3].as_strided((2, 2), (4, 1))


# ---- view(dtype) -------------------------------------------------------------------------------------------------


def test_bytes_are_seen_as_pytorch_sees_them(torch, device):
    def program(t):
        floats, bytes_ = t.arange(8.0).reshape(2, 4), t.arange(16, dtype=t.uint8).reshape(2, 8)
        return [
            floats.view(t.int32), floats.view(t.int16), floats.view(t.uint8), floats[1:].view(t.int64),
            floats.T.view(t.int32), floats[:, ::2].view(t.int32), bytes_.view(t.int16), bytes_.view(t.float64),
            t.arange(4).view(t.float64), t.ones(3, dtype=t.float16).view(t.int16), t.tensor(1.0).view(t.int32),
            t.ones(2, dtype=t.bfloat16).view(t.int16), t.tensor([True, False]).view(t.uint8), floats.view(t.float32),
            (floats * 2 + 1).view(t.int32).view(t.float32), t.ones(2, requires_grad=True).view(t.int32),
        ]  # fmt: skip

    for one, other in zip(program(nc), program(torch), strict=True):
        assert str(one.dtype)[6:] == str(other.dtype)[6:]
        assert one.requires_grad == other.requires_grad
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (lambda t: t.arange(3, dtype=t.int32), "int64"), (lambda t: t.tensor(1.0), "int16"),
        (lambda t: t.arange(8.0).reshape(2, 4)[:, ::2], "int16"), (lambda t: t.arange(8.0).reshape(2, 4).T, "int16"),
    ],
)  # fmt: skip
def test_bytes_that_do_not_fit_raise(torch, make, dtype):
    for t in (torch, nc):
        with pytest.raises(RuntimeError):
            make(t).view(getattr(t, dtype))


def test_what_is_seen_twice_is_not_written_to():
    x = nc.ones(2)
    bits = x.view(nc.int32)
    for tensor in (x, bits, x[:1]):
        with pytest.raises(RuntimeError, match="two dtypes"):
            tensor.add_(1)
    with pytest.raises(RuntimeError, match="two dtypes"):
        x[0] = 2
    assert bits.tolist() == [0x3F800000] * 2
    del bits, tensor
    x.add_(1)
    assert x.tolist() == [2, 2]


def test_an_optimizer_does_not_write_to_it_either():
    p = nc.nn.Parameter(nc.ones(2))
    bits = p.view(nc.int32)
    p.grad = nc.ones(2)
    with pytest.raises(RuntimeError, match="two dtypes"):
        nc.optim.SGD([p], lr=1.0).step()
    assert bits.tolist() == [0x3F800000] * 2
