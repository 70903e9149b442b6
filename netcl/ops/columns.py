"""Reading and writing by index along the middle of three dimensions: what all indexed operations come down to.

A column is what one (outer, inner) holds along the middle. Indices have shape (outer, count, inner), with sizes of 1
where outer or inner share them. They are kept for the gradient as they are given, negative ones included.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from netcl.autograd import tape
from netcl.core import dtypes
from netcl.graph.table import composite
from netcl.graph.value import record, record_scalar
from netcl.graph.views import view
from netcl.ops.creation import full, iota
from netcl.ops.elementwise import fitting, plain_number
from netcl.ops.sites import index_site
from netcl.tensor import Tensor

NARROW = 16  # elements: indices for fewer in a row are summed in parts where there are many
MOST_PARTS = 64


def number_like(name: str, number: Any, like: Tensor, overflows: bool = False) -> Tensor:
    """A Python or NumPy number as a 0-d tensor of like's dtype. TypeError for anything else, RuntimeError where it does
    not fit; a float that is too large becomes infinite where that is asked for."""
    if isinstance(number, np.generic):
        number = plain_number(number)
    if not isinstance(number, (bool, int, float)):
        raise TypeError(f"expected a number or a tensor, got {type(number).__name__}; nc.tensor(...) makes tensors")
    dtype = like.dtype
    number = float(number) if overflows and dtype.category == 2 else fitting(name, number, dtype)
    return Tensor._wrap(record_scalar(number, dtype, like._value.device))


def from_front(index: Tensor, size: int) -> Tensor:
    """Indices counted from the front, as int64 where they may be negative."""
    if index.dtype is dtypes.uint8:
        return index
    index = index.to(dtypes.int64)
    return index.where(index >= 0, index + size)


def checked(name: str, index: Tensor, size: int, low: int) -> Tensor:
    """The index, IndexError at the next read of a value if an element lies outside low .. size - 1."""
    return tape.apply_composite("checked", (index, index_site(name, index, f"size {size}")), (low, size), None)


def _checked_infer(operands: Any, limits: tuple[int, int]) -> tuple:
    dtype = operands[0].dtype
    return operands[0].shape, dtype if dtype is dtypes.int64 else dtypes.int32


def _checked_body(index: Any, where_from: Any, limits: tuple[int, int]) -> Any:
    low, size = limits
    given = Tensor._wrap(index)
    if given.dtype is not dtypes.int64:
        given = given.to(dtypes.int32)
    return tape.apply("check", (given, (given >= low) & (given < size), Tensor._wrap(where_from)))._value


composite("checked", _checked_infer, _checked_body)


def pick(input: Tensor, index: Tensor, low: int | None = None, name: str = "") -> Tensor:
    """out[o, k, i] = input[o, index[o, k, i], i]. `low`, the lowest index allowed, asks for a check."""
    if low is None:
        return tape.apply_composite("pick", (input, index), None, _pick_gradient)
    where_from = index_site(name, index, f"size {input._value.shape[1]}")
    return tape.apply_composite("pick", (input, index, where_from), low, _checked_pick_gradient)


def _pick_infer(operands: Any, low: int | None) -> tuple:
    outer, _, inner = operands[0].shape
    return (outer, operands[1].shape[1], inner), operands[0].dtype


def picked(x: Any, index: Any, where_from: Any = None, low: int | None = None) -> Any:
    """In a composite's body: what `pick` does."""
    outer, size, inner = x.shape
    places = Tensor._wrap(index if low is None else _checked_body(index, where_from, (low, size)))
    if low != 0:
        places = from_front(places, size)
    return record("gather", [x, places.expand(outer, index.shape[1], inner)._value], 1)


def _pick_gradient(g: Tensor, y: Any, x: Any, index: Tensor, arg: Any) -> tuple:
    return scatter("sum", x.shape[1], index, g), None


def _checked_pick_gradient(g: Tensor, y: Any, x: Any, index: Tensor, where_from: Any, arg: Any) -> tuple:
    return scatter("sum", x.shape[1], index, g), None, None


composite("pick", _pick_infer, picked)


def pick_slices(name: str, input: Tensor, axis: int, index: Tensor, low: int) -> Tensor:
    """The slices along axis that index names, whose dimensions stand where that one was. One record, where `pick` takes
    four with the views around it."""
    where_from = index_site(name, index, f"size {input._value.shape[axis]}")
    return tape.apply_composite("pick_slices", (input, index, where_from), (axis, low), _slices_gradient)


def _slices_infer(operands: Any, arg: tuple[int, int]) -> tuple:
    shape, axis = operands[0].shape, arg[0]
    return (*shape[:axis], *operands[1].shape, *shape[axis + 1 :]), operands[0].dtype


def _slices_body(x: Any, index: Any, where_from: Any, arg: tuple[int, int]) -> Any:
    axis, low = arg
    shape = x.shape
    folded = view("reshape", x, (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])))
    found = picked(folded, view("reshape", index, (1, prod(index.shape), 1)), where_from, low)
    return view("reshape", found, _slices_infer((x, index), arg)[0])


def _slices_gradient(g: Tensor, y: Any, x: Any, index: Tensor, where_from: Any, arg: tuple[int, int]) -> tuple:
    axis, shape = arg[0], tuple(x.shape)
    count = index.numel()
    columns = g.reshape(prod(shape[:axis]), count, prod(shape[axis + 1 :]))
    return scatter("sum", shape[axis], index.reshape(1, count, 1), columns).reshape(shape), None, None


composite("pick_slices", _slices_infer, _slices_body)


def scatter(
    op: str, size: int, index: Tensor, source: Tensor, base: Tensor | None = None, low: int | None = None,
    name: str = "", rule: Any = None,
) -> Tensor:  # fmt: skip
    """base (zeros by default) with source[o, k, i] combined into [o, index[o, k, i], i], for k = 0, 1, .. in order.

    op: set, sum, prod, max, min. `low`, the lowest index allowed, asks for a check and needs a base; without one,
    what lies outside is left out. float16 and bfloat16 are summed in float32.
    """
    dtype = source.dtype
    outer, count, inner = source._value.shape
    if not outer * count * inner:
        return full((outer, size, inner), 0, dtype=dtype, device=source.device) if base is None else base
    if op == "sum" and dtype is not dtypes.bool_ and inner <= NARROW and (low is None or outer == 1):
        parts = _parts(size, outer, count)
        if parts > 1:
            return _sum_in_parts(parts, size, index, source, base, low, name)
    if dtype is dtypes.bool_:
        op = {"sum": "max", "prod": "min"}.get(op, op)
    where_from = None if low is None else index_site(name, source, f"size {size}")
    return _apply(op, size, index, source, base, low, where_from, rule)


def _apply(
    op: str, size: int, index: Tensor, source: Tensor, base: Tensor | None, low: int | None, where_from: Tensor | None,
    rule: Any = None, first: int = 0,
) -> Tensor:  # fmt: skip
    dtype = source.dtype
    wide = dtypes.accumulator(dtype) if dtype.category == 2 and op in ("sum", "prod") else dtype
    operands = [index, source.to(wide)]
    if base is not None:
        operands.append(base.to(wide))
    if where_from is not None:
        operands.append(where_from)
    rule = rule or _RULES.get((op, len(operands)))
    return tape.apply_composite("scatter", operands, (op, size, low, first), rule).to(dtype)


def _parts(size: int, outer: int, count: int) -> int:
    """How many runs of the indices are worth a result of their own, which are then added up."""
    parts = 1
    while parts < MOST_PARTS and parts * 2 * size * 4 <= count and parts * outer < MOST_PARTS:
        parts *= 2
    return parts


def _sum_in_parts(
    parts: int, size: int, index: Tensor, source: Tensor, base: Tensor | None, low: int | None, name: str
) -> Tensor:
    """Many values for few places: each run of the indices is summed for itself, and the runs' sums are added up."""
    outer, count, inner = source._value.shape
    length = count // parts
    whole = parts * length
    device = source._value.device
    where_from = None if low is None else index_site(name, source, f"size {size}")
    wide = dtypes.accumulator(source.dtype)

    def summed(start: int, runs: int, length: int) -> Tensor:
        """(outer, size, inner) of the indices from start on."""
        end = start + runs * length
        own = index.narrow(1, start, end - start).expand(outer, end - start, index._value.shape[2])
        values = source.to(wide).narrow(1, start, end - start)
        zeros = None if low is None else full((outer * runs, size, inner), 0, dtype=wide, device=device)
        sums = _apply(
            "sum", size, own.reshape(outer * runs, length, own._value.shape[2]),
            values.reshape(outer * runs, length, inner), zeros, low, where_from, first=start,
        )  # fmt: skip
        return sums.reshape(outer, runs, size, inner).sum(1)

    with tape.no_grad():
        total = summed(0, parts, length)
        if whole < count:
            total = total + summed(whole, 1, count - whole)
        result = (total if base is None else total + base).to(source.dtype)
    operands = (index, source) if base is None else (index, source, base)
    if tape.is_grad_enabled() and any(tensor._tracked for tensor in operands):
        tape._connect("scatter", _RULES["sum", len(operands)], operands, ("sum", size, low, 0), (result,))
    return result


def touched(size: int, index: Tensor, low: int | None = None, name: str = "") -> Tensor:
    """Where an index points: a bool tensor of the index's shape with `size` in the middle."""
    shape = index._value.shape
    ones = full(shape, True, dtype=dtypes.bool_, device=index._value.device)
    if low is None:
        return scatter("set", size, index, ones)
    none = full((shape[0], size, shape[2]), False, dtype=dtypes.bool_, device=index._value.device)
    return scatter("set", size, index, ones, none, low, name)


def _last(size: int, index: Tensor) -> tuple[Tensor, Tensor]:
    """For each place the number (from 1) of the last index that points there, 0 for none; and these numbers."""
    numbers = iota(index._value.shape, 1, index._value.device) + 1
    return scatter("set", size, index, numbers), numbers


def _sum(g: Tensor, y: Any, index: Tensor, source: Any, arg: tuple) -> tuple:
    return None, pick(g, index)


def _sum_on(g: Tensor, y: Any, index: Tensor, source: Any, base: Any, arg: tuple) -> tuple:
    return None, pick(g, index), g


def _checked_sum_on(g: Tensor, y: Any, index: Tensor, source: Any, base: Any, site: Any, arg: tuple) -> tuple:
    return None, pick(g, index), g, None


def _set(g: Tensor, y: Any, index: Tensor, source: Any, arg: tuple) -> tuple:
    """Where several were put into one place, only the last of them is there and has a gradient."""
    last, numbers = _last(arg[1], index)
    return None, pick(g, index).where(pick(last, index) == numbers, 0)


def _set_on(g: Tensor, y: Any, index: Tensor, source: Any, base: Any, arg: tuple) -> tuple:
    last, numbers = _last(arg[1], index)
    return None, pick(g, index).where(pick(last, index) == numbers, 0), g.where(last == 0, 0)


def _checked_set_on(g: Tensor, y: Any, index: Tensor, source: Any, base: Any, site: Any, arg: tuple) -> tuple:
    last, numbers = _last(arg[1], index)
    return None, pick(g, index).where(pick(last, index) == numbers, 0), g.where(last == 0, 0), None


_RULES: dict[tuple[str, int], Any] = {
    ("sum", 2): _sum, ("sum", 3): _sum_on, ("sum", 4): _checked_sum_on,
    ("set", 2): _set, ("set", 3): _set_on, ("set", 4): _checked_set_on,
}  # fmt: skip
