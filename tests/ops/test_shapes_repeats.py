"""repeat, tile, roll, rot90 and their kin against PyTorch."""

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


def test_copies_have_pytorchs_elements_and_gradients(device, torch):
    x, y = numbers(2, 3), numbers(4)
    check(
        torch,
        [
            (lambda m, a: a.repeat(2, 2), x),
            (lambda m, a: a.t().repeat(2, 1, 3), x),
            (lambda m, a: a.repeat((0, 2)), x),
            (lambda m, a: a[0, 0].repeat(3), x),
            (lambda m, a: a[0, 0].repeat(()), x),
            (lambda m, a: a.tile(2), x),
            (lambda m, a: m.tile(a, (2, 1, 2)), x),
            (lambda m, a: a.repeat_interleave(2), x),
            (lambda m, a: a.repeat_interleave(3, dim=1, output_size=9), x),
            (lambda m, a: m.repeat_interleave(a, 2, 0), x),
            (lambda m, a: m.repeat_interleave(a, m.tensor([2, 0, 1]), 1), x),
            (lambda m, a: m.repeat_interleave(a, m.tensor([2]), -1), x),
            (lambda m, a: m.repeat_interleave(a, m.tensor([0, 0, 0]), 1), x),
            (lambda m, a: m.repeat_interleave(a[0, 0], 3), x),
            (lambda m, a: a.roll(1, 1), x),
            (lambda m, a: a.roll(-2), x),
            (lambda m, a: m.roll(a, (1, -1), (0, 1)), x),
            (lambda m, a: a.t().roll((2, 3), (0, 0)), x),
            (lambda m, a: a.roll(6, 0), x),
            (lambda m, a: a[0, 0].roll(1), x),
            (lambda m, a: a.rot90(), x),
            (lambda m, a: m.rot90(a, 2), x),
            (lambda m, a: m.rot90(a, -1, (1, 0)), x),
            (lambda m, a: m.rot90(a, 4), x),
            (lambda m, a: a.fliplr(), x),
            (lambda m, a: m.flipud(a), x),
            (lambda m, a: m.flipud(a), y),
            (lambda m, a: a.flip(0, 1), x),
            (lambda m, a, b: m.cartesian_prod(b, a[0], b[:2]), x, y),
            (lambda m, a, b: m.cartesian_prod(b), x, y),
            (lambda m, a: m.combinations(a), y),
            (lambda m, a: m.combinations(a, 3, True), y),
        ],
        second=True,
    )


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.float16])
def test_copies_of_other_dtypes(torch, dtype):
    x = numbers(2, 3, dtype=dtype)
    check(
        torch,
        [
            (lambda m, a: a.repeat(1, 2), x),
            (lambda m, a: a.repeat_interleave(2, 0), x),
            (lambda m, a: a.roll(1, 0), x),
            (lambda m, a: a.rot90(), x),
            (lambda m, a: m.cartesian_prod(a[0], a[1]), x),
        ],
        gradient=False,
    )


def test_positions_repeated_by_counts(torch):
    counts = np.array([2, 0, 3])
    check(
        torch,
        [(lambda m, a: m.repeat_interleave(a), counts), (lambda m, a: m.repeat_interleave(a, output_size=5), counts)],
    )
    check(torch, [(lambda m, a: m.combinations(a, 5), counts)], gradient=False)


def test_tensors_without_elements(torch):
    x = numbers(0, 3)
    check(
        torch,
        [
            (lambda m, a: a.repeat(2, 2), x),
            (lambda m, a: a.repeat_interleave(2, 1), x),
            (lambda m, a: a.repeat_interleave(2), x),
            (lambda m, a: a.roll(1, 0), x),
            (lambda m, a: a.roll(1), x),
            (lambda m, a: a.rot90(), x),
            (lambda m, a: m.cartesian_prod(a[:, 0], a[:, 1]), x),
        ],
        gradient=False,
    )


@relaxed
@given(
    shape=st.lists(st.sampled_from([1, 2, 3, 5, 17]), min_size=1, max_size=3),
    shifts=st.lists(st.integers(-7, 7), min_size=3, max_size=3),
    swap=st.booleans(),
    computed=st.booleans(),
)
def test_any_roll_equals_numpys(target, shape, shifts, swap, computed):
    array = numbers(*shape)
    x = nc.tensor(array)
    if computed:
        x, array = x * 2, array * 2
    if swap:
        x, array = x.transpose(0, -1), array.swapaxes(0, -1)
    shifts = shifts[: len(shape)]
    axes = tuple(range(len(shape)))
    np.testing.assert_array_equal(x.roll(shifts, axes).numpy(), np.roll(array, shifts, axes))


def test_roll_with_what_surrounds_it_is_one_kernel():
    x = nc.tensor(numbers(8, 32))
    with nc.profiler.count_launches() as launches:
        y = ((x * 2).roll(3, 1) + x).numpy()
    assert int(launches) == 1
    np.testing.assert_array_equal(y, np.roll(numbers(8, 32) * 2, 3, 1) + numbers(8, 32))


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (lambda m, a: a.repeat(2), RuntimeError),
        (lambda m, a: a.repeat(2, -1), RuntimeError),
        (lambda m, a: a.roll((1, 2), 0), RuntimeError),
        (lambda m, a: a.roll((1, 2)), RuntimeError),
        (lambda m, a: a.roll(1, 2), IndexError),
        (lambda m, a: a.rot90(1, (0, 0)), RuntimeError),
        (lambda m, a: a[0].rot90(), RuntimeError),
        (lambda m, a: a[0].fliplr(), RuntimeError),
        (lambda m, a: a[0, 0].flipud(), RuntimeError),
        (lambda m, a: a.repeat_interleave(-1), RuntimeError),
        (lambda m, a: a.repeat_interleave(m.tensor([1, 2]), 0), RuntimeError),
        (lambda m, a: a.repeat_interleave(m.tensor([1, -2, 1]), 0), RuntimeError),
        (lambda m, a: a.repeat_interleave(m.tensor([1.0, 2.0, 1.0]), 0), RuntimeError),
        (lambda m, a: a.repeat_interleave(2, 0, output_size=5), RuntimeError),
        (lambda m, a: m.combinations(a), RuntimeError),
        (lambda m, a: m.cartesian_prod(a), RuntimeError),
    ],
)
def test_what_pytorch_refuses_is_refused(torch, operation, error):
    for module in (nc, torch):
        with pytest.raises(error):
            operation(module, module.ones(3, 3))
