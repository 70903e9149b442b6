"""Every public operation is in the table, and its values, shapes and dtypes are PyTorch's and NumPy's.

The run of every day shares the rows out among the devices and gives each row one layout; the long one does everything.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from inspect import unwrap
from typing import Any

import numpy as np
import pytest
from against_torch import array
from table import EXCEPTIONS, OTHER_VALUES, ROWS, Numbers, Row, function
from table.references import REFERENCES, reference
from table.rows import mapped
from table.running import LAYOUTS, Shared, attempt, disagreement, lot, shared_out, tensors, truth

import netcl as nc
import netcl.ops
from netcl.ops import methods

NAMES = {row.name for row in ROWS}
IN_PLACE = {f"{name}_" for module in methods._MODULES for name in getattr(module, "IN_PLACE", ())}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, of names that it will drop


def public_operations() -> set[str]:
    """By the names of the table: nc.*, nn.functional.*, linalg.*, special.* and methods that are no function."""
    modules = [
        importlib.import_module(found.name) for found in pkgutil.walk_packages(nc.ops.__path__, "netcl.ops.")
        if ".losses" not in found.name and not found.name.endswith("return_types")
    ]  # fmt: skip
    found = {name for module in modules for name in getattr(module, "__all__", ())}
    for place, short in ((nc.nn.functional, "F"), (nc.linalg, "linalg"), (nc.special, "special")):
        found |= {f"{short}.{name}" for name in place.__all__}
    own = set(methods._METHODS) | {name for module in methods._MODULES for name in module.METHODS}
    same = {name for name in own if unwrap(getattr(nc.Tensor, name)) is unwrap(getattr(nc, name, nc))}
    return found | {f"Tensor.{name}" for name in own - same}


def test_every_public_operation_is_in_the_table():
    listed = NAMES | set(EXCEPTIONS)
    aliases = {f"Tensor.{name}" for name in NAMES}  # a method of its own that does what the function does
    assert public_operations() - listed - aliases == set(), "add a row to tests/ops/table"
    assert {name for name in EXCEPTIONS if name in NAMES} == set(), "an exception that has a row"
    for name in IN_PLACE:
        assert {name[:-1], f"Tensor.{name}", f"Tensor.{name[:-1]}"} & NAMES, f"no row for {name}"


def test_every_name_in_the_table_is_there():
    for name in NAMES:
        found = getattr(nc.Tensor, name[7:], None) if name.startswith("Tensor.") else function(nc, name)
        assert found is not None, name
    for name in EXCEPTIONS:
        assert hasattr(nc.Tensor, name[7:]) if name.startswith("Tensor.") else function(nc, name), name


# ---- values ------------------------------------------------------------------------------------------------------


def layout_of(row: Row) -> str:
    return LAYOUTS[lot(row) % len(LAYOUTS)]


@cache
def computed(device: str, number: int, count: int) -> list[tuple[Row, Any]]:
    """This device's share of the rows and their results, in float32: recorded together, then read."""
    shared = Shared()
    found = [(row, attempt(nc, row, shared.tensors(row, layout_of(row)))) for row in shared_out(ROWS, number, count)]
    nc.synchronize()
    return found


def excused(row: Row, layout: str) -> bool:
    return (row.name, layout) in OTHER_VALUES or (row.name, None) in OTHER_VALUES


def faults(torch: Any, row: Row, layout: str, ours: Any, dtype: str | None = None) -> list[str]:
    """How the row's result differs from PyTorch's: a line, or none."""
    if excused(row, layout):
        return []
    given = tensors(torch, row, layout, dtype)
    exact = truth(torch, row, tensors(torch, row, layout, dtype))
    found = disagreement(ours, attempt(torch, row, given), exact)
    return [f"{row.where}, {layout}: {found}"] if found else []


def test_values_shapes_and_dtypes_equal_pytorch(torch, share):
    wrong = []
    for row, ours in computed(*share):
        wrong += faults(torch, row, layout_of(row), ours)
    assert not wrong, "\n".join(wrong)


def test_values_equal_numpy(share):
    wrong, compared = [], 0
    for row, ours in computed(*share):
        layout = layout_of(row)
        if row.name not in REFERENCES or row.kwargs or excused(row, layout) or isinstance(ours, Exception):
            continue
        drawn = iter([array(t) for t in tensors(nc, row, layout)])
        args = mapped(lambda leaf, drawn=drawn: _wide(next(drawn)) if isinstance(leaf, Numbers) else leaf, row.args)
        expected = reference(row.name, args)
        for mine, exact in zip(ours, expected, strict=True):
            compared += 1
            near = np.allclose(array(mine), exact, rtol=1e-6, atol=1e-6, equal_nan=True)
            if tuple(mine.shape) != exact.shape or not near:
                wrong.append(f"{row.where}, {layout}: {array(mine).tolist()}, not {exact.tolist()}")
    assert not wrong, "\n".join(wrong)
    assert compared > 30


def _wide(elements: np.ndarray) -> np.ndarray:
    return elements.astype(np.float64) if elements.dtype == np.float32 else elements


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_on_every_device_with_both_kinds_of_code_in_every_layout(torch, device, target, layout):
    shared = Shared()
    made = [(row, attempt(nc, row, shared.tensors(row, layout))) for row in ROWS]
    wrong = [line for row, ours in made for line in faults(torch, row, layout, ours)]
    assert not wrong, "\n".join(wrong)


# ---- in place ----------------------------------------------------------------------------------------------------


def in_place_rows() -> list[tuple[Row, str]]:
    """The first row of each operation that has a form such as add_, and the form's name."""
    found = []
    for name in sorted(IN_PLACE):
        rows = [row for row in ROWS if row.name in (name[:-1], f"Tensor.{name[:-1]}")]
        rows = [row for row in rows if row.args and isinstance(row.args[0], Numbers)]
        found += [(row, name) for row in rows[:1]]
    return found


def in_place(library: Any, row: Row, name: str, given: list) -> Any:
    """The tensor written to, after the operation, which returns it."""
    form = Row(f"Tensor.{name}", row.args, row.kwargs, row.number)
    first = given[0].clone()
    found = attempt(library, form, [first, *given[1:]])
    assert isinstance(found, Exception) or found[0] is first, name
    return found


def test_the_forms_that_write_equal_pytorch(torch, share):
    _, number, count = share
    chosen = shared_out([row for row, _ in in_place_rows()], number, count)
    rows = [(row, name) for row, name in in_place_rows() if row in chosen]
    made = [in_place(nc, row, name, tensors(nc, row)) for row, name in rows]
    wrong = []
    for (row, name), ours in zip(rows, made, strict=True):
        theirs = in_place(torch, row, name, tensors(torch, row))
        wide = [t.double() if t.is_floating_point() else t for t in tensors(torch, row)]
        found = disagreement(ours, theirs, in_place(torch, row, name, wide))
        wrong += [f"{name}, {row.where}: {found}"] if found else []
    assert not wrong, "\n".join(wrong)


# ---- eager -------------------------------------------------------------------------------------------------------

FUSED = 1e-6  # results of fused kernels against those of single operations, relative to 1 or to the value


def fused_and_eager(rows: list[Row]) -> list[str]:
    """Each row between two multiplications, which are fused with it or not."""

    def run(row: Row) -> list:
        given = [t * 1.5 if t.is_floating_point() else t for t in tensors(nc, row)]
        found = attempt(nc, row, given)
        if isinstance(found, Exception):
            return []
        return [t * 1.5 for t in found if isinstance(t, nc.Tensor) and t.is_floating_point()]

    lazily = [run(row) for row in rows]
    nc.synchronize()
    wrong = []
    for row, fused in zip(rows, lazily, strict=True):
        with nc.eager():
            single = run(row)
        for a, b in zip(fused, single, strict=True):
            if not np.allclose(array(a), array(b), rtol=FUSED, atol=FUSED, equal_nan=True):
                wrong.append(f"{row.where}: fused {a.tolist()}, eager {b.tolist()}")
    return wrong


def test_fused_results_equal_eager_ones(share):
    _, number, count = share
    wrong = fused_and_eager(shared_out(ROWS, number, count, every=24))
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_all_fused_results_equal_eager_ones(device, target):
    wrong = fused_and_eager(ROWS)
    assert not wrong, "\n".join(wrong)
