"""Gradients and second derivatives of the table's operations equal PyTorch's in float64, to ten digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from against_torch import array, derivatives_of, parts
from table import NO_GRADIENT_THERE, OTHER_DERIVATIVES, ROWS, Row
from table.running import Shared, laid_out, shared_out

import netcl as nc

DIGITS = 1e-10
ORDERS = ("gradient", "gradient with a graph", "second derivative")
PECULIAR = {name for names in OTHER_DERIVATIVES for name in names.split()}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, of names that it will drop


def differentiable(row: Row) -> bool:
    return any(numbers.dtype == "float32" and not numbers.constant for numbers in row.numbers())


def leaves_of(row: Row, given: list) -> list:
    return [
        t.requires_grad_() for t, numbers in zip(given, row.numbers(), strict=True)
        if numbers.dtype == "float32" and not numbers.constant
    ]  # fmt: skip


def derived(library: Any, row: Row, given: list) -> tuple[list, ...] | Exception:
    """(gradients, gradients with a graph, second derivatives), or what was raised."""
    leaves = leaves_of(row, given)
    used = [t * 1 if row.writes and t.requires_grad else t for t in given]  # what is written to can be no leaf
    try:
        results = [t for t in parts(row.call(library, used)) if hasattr(t, "requires_grad")]
        return derivatives_of(library, [t for t in results if t.is_floating_point()], leaves, 2)
    except Exception as error:
        return error


def expected(torch: Any, row: Row, given: list) -> tuple[list, ...] | Exception:
    """PyTorch's; without second derivatives where it has none."""
    found = derived(torch, row, given)
    if isinstance(found, Exception) and any(words in str(found) for words in NO_GRADIENT_THERE):
        try:
            leaves = leaves_of(row, given)
            used = [t * 1 if row.writes and t.requires_grad else t for t in given]
            return (*derivatives_of(torch, parts(row.call(torch, used)), leaves, 1)[:1], None, None)
        except Exception as error:
            return error
    return found


def faults(row: Row, ours: Any, theirs: Any) -> list[str]:
    if isinstance(theirs, Exception):  # it raises here too, or PyTorch alone has no gradient
        alone = any(words in str(theirs) for words in NO_GRADIENT_THERE)
        return [] if alone or isinstance(ours, Exception) else [f"{row.where}: PyTorch raises {theirs}"]
    if isinstance(ours, Exception):
        return [f"{row.where}: {ours!r}"]
    for order, own, other in zip(ORDERS, ours, theirs, strict=True):
        count = 0 if other is None else max(len(own), len(other))
        for x, y in zip((own or [None] * count)[:count], other or [None] * count, strict=True):
            got = 0.0 if x is None else array(x)
            wanted = 0.0 if y is None else array(y)
            shape = x is not None and y is not None and got.shape != wanted.shape
            if shape or not np.allclose(got, wanted, rtol=DIGITS, atol=DIGITS, equal_nan=True):
                return [f"{row.where}, {order}: {got}, not {wanted}"]
    return []


def compare(torch: Any, rows: list[Row], layout: str = "contiguous") -> None:
    chosen = [row for row in rows if differentiable(row) and row.name not in PECULIAR]
    shared = Shared()
    made = [(row, derived(nc, row, shared.tensors(row, layout, "float64"))) for row in chosen]
    nc.synchronize()
    wrong = []
    for row, ours in made:
        given = [laid_out(torch, numbers.draw(at, "float64"), layout) for at, numbers in enumerate(row.numbers())]
        wrong += faults(row, ours, expected(torch, row, given))
    assert not wrong, "\n".join(wrong)


def test_first_and_second_derivatives_equal_pytorch(torch, share):
    _, number, count = share
    compare(torch, shared_out(ROWS, number, count, every=3))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_all_derivatives_on_every_device_with_both_kinds_of_code(torch, device, target):
    compare(torch, ROWS)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("layout", ["transposed", "sliced"])
def test_all_derivatives_by_strided_tensors(torch, device, layout):
    compare(torch, ROWS, layout)


@pytest.mark.long
@pytest.mark.parametrize("row", [r for r in ROWS if r.name in PECULIAR and not r.writes], ids=lambda row: row.where)
def test_derivatives_that_are_not_pytorchs_are_right(row):
    given = Shared().tensors(row, dtype="float64")
    leaves = leaves_of(row, given)

    def function(*changed: nc.Tensor) -> nc.Tensor:
        replaced = iter(changed)
        return row.call(nc, [next(replaced) if t.requires_grad else t for t in given])

    assert nc.autograd.gradcheck(function, leaves)
    assert nc.autograd.gradgradcheck(function, leaves)
