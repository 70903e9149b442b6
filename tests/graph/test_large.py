"""Tensors that need 64-bit offsets."""

from __future__ import annotations

import pytest

import netcl as nc

SIZE = 2**31 + 100


@pytest.mark.long
def test_more_than_two_to_the_31_elements_are_addressed():
    if nc.current_device().capabilities.max_allocation < SIZE:
        pytest.skip("the device cannot allocate 2 GiB in one piece")
    ones = nc.zeros(SIZE, dtype=nc.uint8) + 1
    assert ones.sum().item() == SIZE
    assert ones[SIZE - 1].item() == 1
    twice = ones[SIZE - 3 :] * 2
    assert twice.tolist() == [2, 2, 2]
    assert (ones.reshape(4, -1) * 3)[3, -1].item() == 3
