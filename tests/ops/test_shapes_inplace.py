"""Which shape operations share elements with their input, and the in-place forms."""

from __future__ import annotations

import pytest
from against_torch import check, numbers

import netcl as nc

VIEWS = [
    lambda x: x.movedim(0, 1),
    lambda x: x.unflatten(1, (2, 2)),
    lambda x: x.ravel(),
    lambda x: x.diagonal(1),
    lambda x: x.t().diagonal(-1),
    lambda x: x.unfold(1, 2, 2),
    lambda x: x.swapaxes(0, 1)[1:],
    lambda x: x[:1].expand_as(x)[0],
]
COPIES = [
    lambda x: x.flip(0),
    lambda x: x.roll(1, 0),
    lambda x: x.roll(0, 0),
    lambda x: x.rot90(),
    lambda x: x.rot90(0),
    lambda x: x.repeat(1, 1),
    lambda x: x.tile(2),
    lambda x: x.repeat_interleave(1, 0),
    lambda x: x.tril(9),
    lambda x: x.diag(),
]


@pytest.mark.parametrize("library", ["netcl", "torch"])
def test_a_write_to_a_view_is_seen_by_the_tensor_and_one_to_a_copy_is_not(torch, library):
    module = nc if library == "netcl" else torch
    for number, make in enumerate(VIEWS + COPIES):
        x = module.tensor(numbers(4, 4))
        before = x.tolist()
        make(x).zero_()
        assert (x.tolist() != before) == (number < len(VIEWS)), number


def test_writes_through_diagonals_and_windows_and_their_gradients(torch):
    found = []
    for module in (nc, torch):
        x = module.tensor(numbers(4, 6)).requires_grad_()
        y = x * 2
        y.diagonal(1).mul_(3)
        y.unfold(1, 2, 3)[:, :, 0].add_(x[:, :2])
        (y * y).sum().backward()
        found.append((y.tolist(), x.grad.tolist()))
    for a, b in zip(*found, strict=True):
        for row, expected in zip(a, b, strict=True):
            assert row == pytest.approx(expected, rel=1e-5)


def test_copies_with_other_elements_in_a_view(torch):
    check(
        torch,
        [
            (lambda m, a, b: m.diagonal_scatter(a, b), numbers(3, 4), numbers(3)),
            (lambda m, a, b: a.diagonal_scatter(b[:2], -1), numbers(3, 4), numbers(3)),
            (lambda m, a, b: m.select_scatter(a, b, 1, -1), numbers(3, 4), numbers(3)),
            (lambda m, a, b: m.slice_scatter(a, a[:, :2] * 2, 1, 1, None, 2), numbers(3, 4), numbers(3)),
            (lambda m, a, b: m.slice_scatter(a, a[:1] * 2, end=1), numbers(3, 4), numbers(3)),
        ],
    )
    for module in (nc, torch):
        with pytest.raises(RuntimeError):
            module.diagonal_scatter(module.ones(3, 3), module.ones(2))


def test_in_place_forms(torch):
    found = []
    for module in (nc, torch):
        x = module.tensor(numbers(4, 3))
        x.tril_(1)
        x[1:].triu_()
        x.fill_diagonal_(7.0)
        x.swapaxes_(0, 1).swapdims_(0, -1)
        x.swapdims_(-1, 0).mul_(2)
        found.append(x.tolist())
    assert found[0] == found[1]


def test_overlapping_windows_can_not_be_written_to():
    with pytest.raises(RuntimeError, match="more than one element"):
        nc.zeros(5).unfold(0, 3, 1).add_(1)


@pytest.mark.parametrize("change", [lambda x: x.unsqueeze_(0), lambda x: x.t_()])
def test_second_derivatives_of_operands_whose_shape_was_changed_in_place(torch, change):
    found = []
    for library in (nc, torch):
        w = library.tensor([[0.5, -1.0, 2.0], [1.5, 1.0, -0.5]], requires_grad=True)
        x = w * 1
        y = x * 2 - 1
        change(x)
        (g,) = library.autograd.grad((y * y * y).sum() + (x * x).sum(), w, create_graph=True)
        (g * g).sum().backward()
        found.append(w.grad.tolist())
    assert found[0] == [pytest.approx(row, rel=1e-5) for row in found[1]]
