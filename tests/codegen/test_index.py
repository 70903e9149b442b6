"""Positions that views read at: right for any chain of them, and affine where a dimension was only split or merged."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netcl as nc
from netcl.codegen import index
from netcl.codegen.views import affine_strides


def value_of(position: index.Index, variables: dict[str, Any]) -> Any:
    total = position.constant
    for term, coefficient in position.terms:
        if isinstance(term, index.Variable):
            value = variables[term.name]
        else:
            inside = value_of(term.index, variables)
            value = inside // term.divisor if isinstance(term, index.Quotient) else inside % term.divisor
        total = total + value * coefficient
    return total


def position_in(start: tuple[int, ...], chain: list[tuple[int, ...]]) -> index.Index:
    """Where in memory of shape `start` the loop over the last shape of a chain of reshapes reads."""
    coordinates = tuple(index.variable(f"x{axis}", size) for axis, size in enumerate(chain[-1]))
    for shape, source in zip(reversed(chain), [*reversed(chain[:-1]), start], strict=True):
        coordinates = index.unflatten(index.flatten(coordinates, shape), source)
    return index.flatten(coordinates, start)


@pytest.mark.parametrize(
    ("start", "shape"),
    [((2, 8, 16), (16, 16)), ((2, 3, 4, 5), (24, 5)), ((2, 3, 4, 5), (6, 20)), ((16, 16), (2, 8, 16))],
)
def test_merged_and_split_dimensions_have_strides(start, shape):
    strides = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
    assert affine_strides(position_in(start, [shape]), shape) == strides


shapes_of_sixty = st.sampled_from([(60,), (6, 10), (10, 6), (4, 15), (2, 3, 10), (3, 4, 5), (5, 1, 12), (2, 2, 3, 5)])


@given(shapes_of_sixty, st.lists(shapes_of_sixty, min_size=1, max_size=3), st.data())
@settings(max_examples=60, deadline=None)
def test_positions_of_any_chain(start, chain, data):
    """Of reshapes, with a permutation and steps at the end."""
    shape = chain[-1]
    order = data.draw(st.permutations(range(len(shape))))
    loop = [shape[axis] for axis in order]
    coordinates: list[index.Index] = [index.ZERO] * len(shape)
    for place, axis in enumerate(order):
        step = data.draw(st.integers(1, 2))
        loop[place] = -(-shape[axis] // step)
        coordinates[axis] = index.variable(f"x{place}", loop[place]) * step
    at: tuple[index.Index, ...] = tuple(coordinates)
    expected = index.flatten(at, shape)
    for target, source in zip(reversed(chain), [*reversed(chain[:-1]), start], strict=True):
        at = index.unflatten(index.flatten(at, target), source)
    grids = np.meshgrid(*[np.arange(size) for size in loop], indexing="ij")
    variables = {f"x{place}": grid for place, grid in enumerate(grids)}
    found, wanted = (np.broadcast_to(value_of(p, variables), loop) for p in (index.flatten(at, start), expected))
    np.testing.assert_array_equal(found, wanted)


def test_a_product_reads_a_batch_of_rows_where_it_is(device):
    x, w = nc.ones(2, 8, 16), nc.ones(4, 16)
    nc.synchronize()
    for enabled in (False, True):
        with nc.autocast(dtype=nc.bfloat16, enabled=enabled), nc.profiler.count_launches() as count:
            kept = nc.nn.functional.linear(x, w)
        assert int(count) == 1
        assert kept.shape == (2, 8, 4)
