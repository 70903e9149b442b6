"""`out=`: which functions take it, what it writes, and what it refuses."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from typing import Any

import numpy as np
import pytest
from table import ROWS, Row, function
from table.running import attempt, disagreement, tensors

import netcl as nc
from netcl.ops.out import NAMES

BUILT_IN = "F.gelu F.hardshrink F.linear F.logsigmoid F.softplus F.softshrink".split()  # undocumented there


def with_out(row: Row, library: Any) -> list | Exception:
    """The parts of the row's result, written to tensors of their own; TypeError where it takes none."""
    result = row.call(library, tensors(library, row))
    several = isinstance(result, (tuple, list))
    places = tuple(library.zeros(tuple(t.shape), dtype=t.dtype) for t in (result if several else (result,)))
    changed = dataclasses.replace(row, kwargs={**row.kwargs, "out": places if several else places[0]})
    found = attempt(library, changed, tensors(library, row))
    if not isinstance(found, Exception):
        assert all(part is place for part, place in zip(found, places, strict=True)), row.where
    return found


def returning_tensors(library: Any) -> list[Row]:
    """Rows of functions that return new tensors."""
    rows = []
    for row in ROWS:
        if "Tensor." in row.name or row.writes or row.name in BUILT_IN:
            continue
        result = attempt(library, row, tensors(library, row))
        if not isinstance(result, Exception) and all(isinstance(part, library.Tensor) for part in result):
            rows.append(row)
    return rows


@pytest.mark.filterwarnings("ignore")
def test_what_takes_out_in_pytorch_takes_it_here(torch):
    wrong, tried = [], 0
    for row in returning_tensors(torch):
        theirs = with_out(row, torch)
        if isinstance(theirs, Exception):
            continue
        tried += 1
        if "out" not in inspect.signature(function(nc, row.name)).parameters:
            wrong.append(row.where)
            continue
        found = disagreement(with_out(row, nc), theirs)
        if found:
            wrong.append(f"{row.where}: {found}")
    assert not wrong, "\n".join(wrong)
    assert tried > 400


def test_every_name_that_takes_out_is_there():
    places = (nc, nc.linalg, nc.special, nc.nn.functional)
    assert [name for name in sorted(NAMES) if not any(hasattr(place, name) for place in places)] == []


def test_the_result_is_written_in_the_dtype_of_out(device):
    x, y = nc.tensor([1.0, 2.0, 3.0]), nc.tensor([10.0, 20.0, 30.0])
    z = nc.zeros(3)
    assert nc.add(x, y, alpha=2, out=z) is z
    assert z.tolist() == [21, 42, 63]
    wide, of_integers = nc.zeros(3, dtype=nc.float64), nc.zeros((), dtype=nc.float32)
    assert nc.mul(x, y, out=wide).tolist() == [10, 40, 90] and wide.dtype is nc.float64
    assert nc.sum(nc.tensor([1, 2]), out=of_integers).item() == 3.0
    assert nc.arange(3, out=nc.zeros(3)).tolist() == [0.0, 1.0, 2.0]
    assert nc.zeros(2, out=nc.ones(2, dtype=nc.int64)).tolist() == [0, 0]


def test_an_empty_out_takes_the_shape_of_the_result(device):
    z, indices = nc.empty(0), nc.empty(0, dtype=nc.int64)
    assert nc.exp(nc.zeros(2, 3), out=z) is z
    assert z.tolist() == [[1, 1, 1], [1, 1, 1]]
    z = nc.empty(0)
    found = nc.sort(nc.tensor([3.0, 1.0]), out=(z, indices))
    assert found.values is z and found.indices is indices
    assert (z.tolist(), indices.tolist()) == ([1, 3], [1, 0])


def test_out_may_be_a_view_or_an_operand(device):
    base = nc.zeros(2, 3)
    row, before = base[1], base.t()
    nc.add(nc.ones(3), nc.arange(3), out=row)
    assert base.tolist() == [[0, 0, 0], [1, 2, 3]]
    assert before.tolist() == [[0, 1], [0, 2], [0, 3]]
    nc.mul(row, 2, out=row)
    assert base.tolist() == [[0, 0, 0], [2, 4, 6]]
    x = nc.tensor([1.0, 2.0])
    copied = nc.conj_physical(x, out=nc.empty(0))
    x.zero_()
    assert copied.tolist() == [1, 2]


def test_random_numbers_for_out_are_those_of_its_dtype(torch):
    draws = []
    for library in (nc, torch):
        library.manual_seed(3)
        made = library.randn(5, out=library.empty(5, dtype=library.float64))
        draws.append([*made.tolist(), *library.randperm(4, out=library.empty(4)).tolist()])
    np.testing.assert_allclose(*draws, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda t, x, w: t.add(x, x, out=t.zeros(2, 3, dtype=t.int64)), RuntimeError, "can't be cast"),
        (lambda t, x, w: t.add(w, x, out=t.zeros(2, 3)), RuntimeError, "requires|require"),
        (lambda t, x, w: t.add(x, x, out=w), RuntimeError, "requires|require"),
        (lambda t, x, w: t.add(x, x, out=t.zeros(3).expand(2, 3)), RuntimeError, "single memory location"),
        (lambda t, x, w: t.add(x, x, out=[x]), TypeError, "out"),
        (lambda t, x, w: t.max(x, 1, out=(t.zeros(2),)), (TypeError, RuntimeError), "2|two"),
        (lambda t, x, w: x.add(x, out=x), TypeError, "out"),
        (lambda t, x, w: t.reshape(x, (6,), out=t.zeros(6)), TypeError, "out"),
        (lambda t, x, w: t.add(x, None, out=t.zeros(3, 2)), TypeError, "NoneType"),
    ],
)
def test_what_out_refuses(torch, call, error, text):
    for library in (nc, torch):
        with pytest.raises(error, match=text):
            call(library, library.ones(2, 3), library.ones(2, 3, requires_grad=True))


def test_an_out_of_another_shape_takes_that_of_the_result_with_a_warning(torch):
    for library in (nc, torch):
        out, pair = library.ones(3, 2), (library.ones(5), library.zeros(5, dtype=library.int64))
        with pytest.warns(UserWarning, match="was resized") as caught:
            assert library.add(library.ones(2, 3), 1, out=out) is out
        assert out.tolist() == [[2, 2, 2], [2, 2, 2]]
        assert caught[0].filename == __file__
        with pytest.warns(UserWarning, match="was resized"):
            library.sort(library.tensor([3.0, 1.0]), out=pair)
        assert [part.tolist() for part in pair] == [[1, 3], [1, 0]]


def test_an_out_of_another_shape_that_shares_its_elements_raises():
    base = nc.ones(3, 2)
    row = base[0]
    for out in (base, row, nc.ones(2, 2)[0]):
        with pytest.raises(RuntimeError, match=r"add: the result has shape \[2, 3\], out has .* shares its elements"):
            nc.add(nc.ones(2, 3), 1, out=out)
    assert (base.tolist(), row.tolist()) == ([[1, 1]] * 3, [1, 1])


def test_without_gradients_parameters_may_be_operands_and_out():
    w = nc.ones(2, requires_grad=True)
    with nc.no_grad():
        assert nc.add(w, 1, out=w) is w
    assert w.tolist() == [2, 2] and w.requires_grad
    assert nc.eq(w, 2, out=nc.zeros(2, dtype=nc.bool)).tolist() == [True, True]


def test_a_compiled_function_writes_to_out_at_every_call():
    z = nc.zeros(3)

    @nc.jit_compile
    def step(x):
        nc.mul(x, 2, out=z)
        return z + 1

    for number in range(4):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert step(nc.full((3,), float(number))).tolist() == [2.0 * number + 1] * 3
        assert z.tolist() == [2.0 * number] * 3
