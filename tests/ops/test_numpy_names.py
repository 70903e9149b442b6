"""axis and keepdims mean dim and keepdim, in functions and methods, as PyTorch has it."""

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
