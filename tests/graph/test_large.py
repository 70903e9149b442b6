"""Tensors that need 64-bit offsets."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import netcl as nc
from netcl.codegen.targets import target_for

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


@pytest.mark.long
def test_a_few_elements_far_apart_are_addressed(target):
    """The slice is small, its memory is not: offsets are counted by what they reach."""
    if nc.current_device().capabilities.max_allocation < SIZE:
        pytest.skip("the device cannot allocate 2 GiB in one piece")
    step = 2**20
    host = np.zeros(2**31 + step, np.int8)
    host[::step] = np.arange(2049) % 100
    x = nc.Tensor.from_host(host)
    del host
    expected = np.arange(2049) % 100
    np.testing.assert_array_equal((x[::step] + 1).numpy(), expected + 1)
    assert x.reshape(-1, step)[:, 0].float().sum().item() == expected.sum()
    np.testing.assert_array_equal(nc.cat([x[::step], x[:1]]).numpy(), [*expected, 0])


def test_offsets_are_wide_before_a_loop_steps_over_the_end_of_narrow_ones():
    """All work-items of a GPU take a loop in step, 64 turns at a time where they sum: so far behind a variable ends."""
    for kind, groups in (("cpu", 64), ("gpu", 64), ("gpu", 2112)):
        target = dataclasses.replace(
            target_for(nc.current_device()), kind=kind, group_size=256, max_groups=groups
        )
        step = 2**16 if kind == "cpu" else groups * 256 * 64
        assert target.index_type([5, 2**31 - step - 1]) == "int"
        assert target.index_type([2**31 - step, 5]) == "long"
