"""Arguments by other names: axis and keepdims, and sizes and dimensions that may be given one by one."""

import pickle

import numpy as np
import pytest

import netcl as nc


def test_axis_and_keepdims_are_taken_wherever_dim_is():
    x = nc.tensor(np.arange(6.0, dtype=np.float32).reshape(2, 3))
    assert x.sum(axis=1, keepdims=True).shape == (2, 1)
    assert nc.cat([x, x], axis=1).shape == (2, 6)
    assert nc.sort(x, axis=0).values.shape == (2, 3)
    assert x.max(axis=1).indices.tolist() == [2, 2]
    assert x.unsqueeze(axis=0).shape == (1, 2, 3)
    assert x.softmax(axis=1).sum(axis=1).tolist() == pytest.approx([1, 1])


def test_both_names_at_once_and_unknown_ones_raise():
    with pytest.raises(TypeError, match="same argument"):
        nc.ones(2).sum(axis=0, dim=0)
    with pytest.raises(TypeError, match="axes"):
        nc.ones(2).sum(axes=0)


BY_NAME = [
    lambda t, x: t.flip(x, dims=[0]), lambda t, x: x.flip(dims=(0, 1)), lambda t, x: t.permute(x, dims=(1, 0)),
    lambda t, x: x.permute(dims=(1, 0)), lambda t, x: t.reshape(x, shape=(3, 2)), lambda t, x: x.reshape(shape=[6]),
    lambda t, x: x.view(size=(3, 2)), lambda t, x: x.view(dtype=t.int32), lambda t, x: x[:1].expand(size=(4, -1)),
    lambda t, x: x.repeat(repeats=(2, 1)), lambda t, x: t.tile(x, dims=(2,)), lambda t, x: x.new_zeros(size=(2,)),
    lambda t, x: x.new_ones(size=(2,), dtype=t.int64), lambda t, x: t.flip(input=x, dims=(1,)),
    lambda t, x: x.split(split_size=1)[1], lambda t, x: t.tensor_split(x, sections=2)[0],
    lambda t, x: t.tensor_split(x, indices=(1,), dim=1)[1], lambda t, x: t.hsplit(x, sections=3)[2],
]  # fmt: skip


def test_what_may_be_given_one_by_one_may_be_given_by_name(torch):
    data = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    for make in BY_NAME:
        ours, theirs = make(nc, nc.tensor(data)), make(torch, torch.tensor(data))
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        assert str(ours.dtype)[6:] == str(theirs.dtype)[6:]
    for wrong in (lambda x: x.flip(0, dims=(0,)), lambda x: x.reshape(6, shape=(6,)), lambda x: x.permute(axes=(1, 0))):
        with pytest.raises(TypeError):
            wrong(nc.tensor(data))


def test_names_of_one_function_stay_one_and_can_be_pickled():
    assert nc.swapdims is nc.transpose
    assert nc.trapz is nc.trapezoid
    for function in (nc.trapz, nc.sum, nc.nn.functional.gelu, nc.linalg.inv):
        assert pickle.loads(pickle.dumps(function)) is function
