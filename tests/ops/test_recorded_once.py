"""How many records an operation takes, where views around it would be records of their own."""

import numpy as np
import pytest

import netcl as nc
from netcl.autograd.tape import Tape


def recorded(call) -> list[str]:
    with Tape() as tape:
        call()
    return [node.op_name for node in tape.nodes]


def test_slices_by_a_tensor_are_one_record():
    x, j = nc.zeros(4, 5, 6, requires_grad=True), nc.tensor([[2, 0], [1, 3]])
    for call in (lambda: x[j], lambda: x[:, j], lambda: x[..., j], lambda: x[j[0, 0]], lambda: x[[0, 2]]):
        assert recorded(call) == ["pick_slices"]
    assert recorded(lambda: x.index_select(1, j[0])) == ["pick_slices"]
    assert recorded(lambda: x[0]) == ["slice", "reshape"]


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_slices_by_a_tensor_have_values_and_derivatives(place, axis):
    draws = np.random.default_rng(0)
    numbers, j = draws.standard_normal((3, 4, 5)).astype(np.float32), np.array([[2, -1, 0], [1, 2, 2]])
    index = (slice(None),) * (axis % 3)
    x = nc.tensor(numbers, requires_grad=True)
    chosen = x[(*index, nc.tensor(j))]
    np.testing.assert_array_equal(chosen.detach().numpy(), numbers[(*index, j)])
    (chosen * chosen).sum().backward()
    expected = np.zeros_like(numbers)
    np.add.at(expected, (*index, j), 2 * numbers[(*index, j)])
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-6)
    wide = nc.tensor(numbers[:, :, :3], dtype=nc.float64, requires_grad=True)
    assert nc.autograd.gradgradcheck(lambda t: t[(*index, nc.tensor(j[:1]))] ** 2, (wide,))


def test_the_line_of_an_index_out_of_range_is_told():
    x = nc.zeros(3, 2)[:, nc.tensor([0, 2])]
    told = r"index \(.*test_recorded_once.py:\d+\): index 2 at position 1 is out of range for size 2"
    with pytest.raises(IndexError, match=told):
        x.numpy()
    with pytest.raises(IndexError, match="out of range"):
        nc.zeros(3)[nc.tensor([-4])].numpy()
