"""What the table's operations make of dtypes, shapes and wrong arguments: PyTorch's results, or its errors.

Nearly all of it is decided when an operation is recorded, so that no kernel has to be compiled for it.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from table import HERE_ONLY, OTHER_IN_DTYPES, OTHER_SHAPES, ROWS, Row, function
from table.rows import Numbers
from table.running import LAYOUTS, attempt, changed, disagreement, kind, tensor, tensors, truth

import netcl as nc

DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split()
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, of names that it will drop
WAITS = """
    allclose argwhere bincount combinations equal histogram is_nonzero masked_select nonzero repeat_interleave unique
    unique_consecutive Tensor.__contains__ Tensor.argwhere F.one_hot
""".split()  # they read their operands


def waits(row: Row) -> bool:
    """Whether recording the row runs kernels: a shape depends on elements, or the host computes."""
    own = function(nc, row.name) if not row.name.startswith("Tensor.") else None
    on_host = "host" in (own.__doc__ or "") if callable(own) else False
    by_mask = any(numbers.dtype == "bool" and not numbers.follows for numbers in row.numbers())
    return row.name in WAITS or on_host or (by_mask and row.name == "Tensor.__getitem__")


RECORDED = [row for row in ROWS if row.numbers() and not waits(row)]


# ---- dtypes ------------------------------------------------------------------------------------------------------


def of_dtypes(row: Row, ours: Any, theirs: Any) -> bool:
    """Whether only one of the two takes the dtype, for a reason."""
    if isinstance(theirs, NotImplementedError):  # one of PyTorch's kernels lacks it
        return True
    return row.name in HERE_ONLY and isinstance(ours, Exception) != isinstance(theirs, Exception)


def dtype_fault(torch: Any, row: Row, dtype: str, exact: bool = False) -> list[str]:
    ours = attempt(nc, row, tensors(nc, row, dtype=dtype))
    theirs = attempt(torch, row, tensors(torch, row, dtype=dtype))
    if of_dtypes(row, ours, theirs):
        return []
    compared = exact and row.name not in OTHER_IN_DTYPES
    right = truth(torch, row, tensors(torch, row, dtype=dtype)) if compared else None
    found = disagreement(ours, theirs, right)
    return [f"{row.where}, {dtype}: {found}"] if found else []


def test_dtypes_of_results_and_refused_dtypes_equal_pytorch(torch):
    rows = [row for row in RECORDED if any(numbers.follows for numbers in row.numbers())]
    wrong = [line for row in rows for dtype in DTYPES for line in dtype_fault(torch, row, dtype)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_in_every_dtype_equal_pytorch(torch, device, dtype):
    wrong = [line for row in ROWS for line in dtype_fault(torch, row, dtype, exact=True)]
    assert not wrong, "\n".join(wrong)


MIXED = [row for row in RECORDED if sum(numbers.follows for numbers in row.numbers()) > 1]


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_operands_of_different_dtypes_give_pytorchs_dtype(torch, data):
    row = data.draw(st.sampled_from(MIXED), "row")
    drawn = [data.draw(st.sampled_from(DTYPES), "dtype") for _ in row.numbers()]

    def made(library: Any) -> list:
        pairs = zip(row.numbers(), drawn, strict=True)
        return [tensor(library, numbers, at, "contiguous", dtype) for at, (numbers, dtype) in enumerate(pairs)]

    ours, theirs = attempt(nc, row, made(nc)), attempt(torch, row, made(torch))
    if isinstance(theirs, Exception) and not isinstance(ours, Exception):
        return  # netcl promotes what PyTorch's kernels do not mix
    if not of_dtypes(row, ours, theirs):
        found = disagreement(ours, theirs)
        assert not found, f"{row.where}, {drawn}: {found}"


# ---- wrong arguments ---------------------------------------------------------------------------------------------


ANY_NUMBER = """
    atleast_1d atleast_2d atleast_3d broadcast_tensors meshgrid cartesian_prod block_diag einsum
""".split()


def called() -> list[Row]:
    """Rows that are calls: no operators, no properties."""
    return [row for row in ROWS if "__" not in row.name and not row.name.startswith("Tensor.")]


def test_unknown_arguments_and_missing_ones_raise_type_errors():
    wrong = []
    for row in called():
        unknown = dataclasses.replace(row, kwargs={**row.kwargs, "nonsense": 1})
        missing = dataclasses.replace(row, args=())
        cases = [("unknown", unknown, tensors(nc, row))]
        if isinstance(row.args[0] if row.args else None, Numbers) and row.name not in ANY_NUMBER and not row.kwargs:
            cases.append(("missing", missing, []))
        for what, changed_row, given_tensors in cases:
            found = attempt(nc, changed_row, given_tensors)
            if not isinstance(found, TypeError):
                wrong.append(f"{row.where}, {what} argument: {found!r}")
    assert not wrong, "\n".join(wrong)


def test_what_is_no_tensor_raises_as_in_pytorch(torch):
    wrong = []
    for row in called():
        for place in range(len(row.numbers())):
            ours, theirs = tensors(nc, row), tensors(torch, row)
            ours[place] = theirs[place] = "text"
            expected, found = attempt(torch, row, theirs), attempt(nc, row, ours)
            if isinstance(expected, TypeError) and not isinstance(found, (TypeError, IndexError)):  # of an index
                wrong.append(f"{row.where}, operand {place}: {found!r}")
    assert not wrong, "\n".join(wrong)


def with_dimension(row: Row, dim: int) -> Row | None:
    """The row with another dim, where the operation takes one as a number."""
    names = list(inspect.signature(function(nc, row.name)).parameters)
    for name in ("dim", "dim0", "axis0", "start_dim"):
        if name in names:
            place = names.index(name)
            if name in row.kwargs or place >= len(row.args):
                return dataclasses.replace(row, kwargs={**row.kwargs, name: dim})
            return dataclasses.replace(row, args=(*row.args[:place], dim, *row.args[place + 1 :]))
    return None


def test_dimensions_out_of_range_raise_index_errors(torch):
    wrong, tried = [], 0
    for row in called():
        for dim in (9, -9):
            there = with_dimension(row, dim) if row.numbers() else None
            if there is None:
                continue
            tried += 1
            found = disagreement(attempt(nc, there, tensors(nc, row)), attempt(torch, there, tensors(torch, row)))
            if found:
                wrong.append(f"{row.where}, dim {dim}: {found}")
    assert not wrong, "\n".join(wrong)
    assert tried > 300


# ---- shapes ------------------------------------------------------------------------------------------------------

SHAPES = [row for row in RECORDED if row.name not in OTHER_SHAPES and all(type(n) is Numbers for n in row.numbers())]
UNINDEXED = [row for row in SHAPES if not any(n.dtype == "int64" and not n.follows for n in row.numbers())]
MISFITS = {"IndexError", "RuntimeError", "ValueError"}  # which of them a wrong shape raises depends on what asks first


def other_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Of fewer and more dimensions, with sizes of 0 and 1, and sizes that fit nothing."""
    found = {(), (7,), (2, 7), (2, 2, 2, 7), (1, *shape), shape[1:], shape[:-1]}
    if shape:
        found |= {(0, *shape[1:]), (*shape[:-1], 0), (1, *shape[1:]), (*shape[:-1], shape[-1] + 3)}
    return sorted(found - {shape})


def shape_fault(torch: Any, row: Row, shapes: list, layout: str, dtype: str, exact: bool = False) -> str:
    drawn = [changed(numbers, shape) for numbers, shape in zip(row.numbers(), shapes, strict=True)]

    def made(library: Any) -> list:
        return [tensor(library, numbers, at, layout, dtype) for at, numbers in enumerate(drawn)]

    ours, theirs = attempt(nc, row, made(nc)), attempt(torch, row, made(torch))
    if isinstance(ours, Exception) and isinstance(theirs, Exception) and {kind(ours), kind(theirs)} <= MISFITS:
        return ""
    if of_dtypes(row, ours, theirs) or (layout == "expanded" and row.writes):
        return ""
    found = disagreement(ours, theirs, truth(torch, row, made(torch)) if exact else None)
    return f"{row.where}, shapes {shapes}, {layout}, {dtype}: {found}" if found else ""


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_results_have_pytorchs_shapes_and_dtypes_whatever_is_given(torch, data):
    row = data.draw(st.sampled_from(UNINDEXED), "row")
    shapes = [numbers.shape for numbers in row.numbers()]
    for place in data.draw(st.sets(st.integers(0, len(shapes) - 1)), "places"):
        shapes[place] = data.draw(st.sampled_from(other_shapes(shapes[place])), f"shape {place}")
    layout = data.draw(st.sampled_from(LAYOUTS), "layout")
    elements = all(0 not in shape for shape in shapes)  # PyTorch does not look at the dtype of what has none
    dtype = data.draw(st.sampled_from(("float32", "float64", "int64", "bool")[: 4 if elements else 2]), "dtype")
    found = shape_fault(torch, row, shapes, layout, dtype)
    assert not found, found


def test_shapes_with_sizes_of_zero_and_one_and_misfits_equal_pytorch(torch):
    wrong = []
    for row in UNINDEXED:
        own = [numbers.shape for numbers in row.numbers()]
        for place, shape in enumerate(own):
            for other in other_shapes(shape):
                wrong.append(shape_fault(torch, row, [*own[:place], other, *own[place + 1 :]], "contiguous", "float32"))
    wrong = [line for line in wrong if line]
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_values_for_all_other_shapes_equal_pytorch(torch, device):
    wrong = []
    for row in UNINDEXED:
        own = [numbers.shape for numbers in row.numbers()]
        for place, shape in enumerate(own):
            for other in other_shapes(shape):
                shapes = [*own[:place], other, *own[place + 1 :]]
                wrong.append(shape_fault(torch, row, shapes, "contiguous", "float32", exact=True))
    wrong = [line for line in wrong if line]
    assert not wrong, "\n".join(wrong)
