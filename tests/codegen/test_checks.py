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


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("dim", [0, 1])
def test_elements_are_picked_by_indices_and_from_arrays_that_lie_in_any_way(place, dim: int, dtype: type):
    rng = np.random.default_rng(0)
    source, index = rng.standard_normal((41, 40), dtype=np.float32), rng.integers(0, 39, (40, 80)).astype(dtype)
    x, i = nc.tensor(source), nc.tensor(index)
    for picked, ids, expected, own in (
        (x[:40], i[:, :40], source[:40], index[:, :40]), (x[1:], i[:, 1::2], source[1:], index[:, 1::2]),
        (x[:40].flip(1), i[:, 40:].flip(1), source[:40, ::-1], index[:, :39:-1]),
        (x[1:].t(), i[:, :40].t(), source[1:].T, index[:, :40].T),
        (x[:40] * 2, i[:, :40] + 1, source[:40] * 2, index[:, :40] + 1),
    ):  # fmt: skip
        found = picked.gather(dim, ids).numpy()
        np.testing.assert_array_equal(found, np.take_along_axis(expected, own.astype(np.int64), dim))


@pytest.mark.parametrize("bad", [40, -1, 2**32, -(2**40)])
def test_one_index_out_of_range_among_many_is_told_with_its_position(place, bad: int):
    index = np.arange(3 * 40).reshape(3, 40) % 40
    index[1, 29] = bad
    result = nc.tensor(np.ones((3, 40), np.float32)).gather(1, nc.tensor(index))
    with pytest.raises(IndexError, match=f"gather.*index {bad} at position 69 "):
        result.numpy()


@pytest.mark.parametrize("bad", [0, 20])
def test_an_index_into_what_is_the_same_everywhere_is_checked_in_every_part_of_a_row(place, bad: int):
    index = np.zeros(21, np.int64)
    index[bad] = 9
    for table in (nc.ones(3), nc.tensor([2.0]).expand(3)):
        total = table.gather(0, nc.tensor(index)).sum()
        with pytest.raises(IndexError, match=f"index 9 at position {bad} is out of range for size 3"):
            total.item()
