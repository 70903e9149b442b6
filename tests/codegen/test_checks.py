"""Indices are checked where they are known: in the row, or before it where they are the same for every element."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc

TABLE = np.arange(15, dtype=np.float32).reshape(5, 3)


def test_an_index_that_is_the_same_everywhere_is_checked_once(place):
    table = nc.tensor(TABLE)
    same = nc.full((4, 2), 3)
    by_row = nc.tensor([[4], [0], [1], [2]]).expand(4, 2)
    by_column = nc.tensor([1, 3]).expand(4, 2)
    for index in (same, by_row, by_column):
        np.testing.assert_array_equal(table[index].numpy(), TABLE[index.numpy()])
        np.testing.assert_array_equal(table.gather(0, index).numpy(), TABLE[index.numpy(), [0, 1]])


@pytest.mark.parametrize("bad", [5, -6])
def test_an_index_that_is_out_of_range_everywhere_raises(place, bad: int):
    for index in (nc.full((4, 2), bad), nc.tensor([[0], [bad]]).expand(2, 3), nc.tensor([0, bad]).expand(4, 2)):
        result = nc.tensor(TABLE)[index]
        with pytest.raises(IndexError, match=str(bad)):
            result.numpy()
