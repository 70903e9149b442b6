"""Reading and assigning by index: x[..] and x[..] = value."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from netcl.autograd import tape
from netcl.autograd.autocast import in_widest
from netcl.core import dtypes
from netcl.graph.primitives import TABLE
from netcl.ops import columns
from netcl.ops.creation import ones_like
from netcl.ops.elementwise import check_devices, where
from netcl.ops.index_expressions import Arranged, Entry, Parsed, arrange, parse, row
from netcl.ops.masks import nonzero_numbers, placed_by_mask
from netcl.storage import unshared_view
from netcl.tensor import Tensor

__all__ = ["index_put"]
METHODS = __all__
IN_PLACE = __all__


def is_basic(index: Any) -> bool:
    """Whether an index chooses a view: ints, slices, None and `...` only."""
    for item in index if isinstance(index, tuple) else (index,):
        if item is None or item is Ellipsis or isinstance(item, slice):
            continue
        if isinstance(item, (bool, np.bool_, list, Tensor, np.ndarray)) or not hasattr(item, "__index__"):
            return False
    return True


def getitem(input: Tensor, index: Any) -> Tensor:
    """input[index]: ints, slices, None and `...` give a view; integer tensors (also 0-d ones), lists and arrays pick
    elements into a new tensor; bools are masks, and what a mask picks has a shape that depends on the data: one read of
    a count by the host.

    IndexError for what is out of range (found by the device: at the next read of a value), does not broadcast, is no
    index or too many of them.

    >>> import netcl as nc
    >>> x = nc.arange(12).reshape(3, 4)
    >>> x[nc.tensor([2, 0]), 1:3]
    tensor([[ 9, 10],
            [ 1,  2]])
    """
    parsed = row(input, index) if type(index) is int else parse(input, index)
    if not parsed.entries:
        return parsed.view(input)
    if len(parsed.entries) == 1 and parsed.whole and parsed.shape == input._value.shape:
        ((axis, tensor),) = parsed.entries
        if tensor.dtype is not dtypes.bool_ and parsed.shape[axis]:
            return columns.pick_slices("index", input, axis, tensor, -parsed.shape[axis])
    shape, entries = _positions(parsed)
    place = arrange("index", shape, entries)
    picked = columns.pick(place.columns(parsed.part(input), shape), place.index, place.low, "index")
    return unshared_view("reshape", picked, (*place.before, *place.picked, *place.after))


def _positions(parsed: Parsed) -> tuple[tuple[int, ...], list[Entry]]:
    """Masks replaced by the positions of what they pick, which the host counts, in dimensions taken as one."""
    shape, found = parsed.shape, []
    for axis, tensor in parsed.entries:
        axis -= len(parsed.shape) - len(shape)
        if tensor.dtype is dtypes.bool_:
            end = axis + max(tensor.ndim, 1)
            shape = (*shape[:axis], prod(shape[axis:end]), *shape[end:])
            tensor = nonzero_numbers(tensor)
        found.append((axis, tensor))
    return shape, found


@in_widest
def index_put(input: Tensor, indices: Any, values: Any, accumulate: bool = False) -> Tensor:
    """A copy of input with input[indices] = values, or with values added there; indices: a tuple, None for `:`.

    Of several values for one place the last one stays; added are all of them, in order.
    """
    if not isinstance(indices, (tuple, list)):
        raise TypeError(f"index_put: indices must be a tuple of tensors, got {type(indices).__name__}")
    index = tuple(slice(None) if item is None else item for item in indices)
    return setitem_value(input, index, values, accumulate)


def setitem_value(input: Tensor, index: Any, value: Any, accumulate: bool = False) -> Tensor:
    """A new tensor equal to input, but for [index], which is value (or more by it): what x[index] = value makes.

    Of several values for one place the last one stays. A mask needs no read by the host, unless other tensors stand
    beside it. RuntimeError for a value that does not broadcast, or a tensor of another dtype.
    """
    parsed = parse(input, index)
    value = _value_tensor(input, value)
    view = parsed.view(input)
    masked = len(parsed.entries) == 1 and parsed.entries[0][1].dtype is dtypes.bool_
    if not parsed.entries:
        new = _added(view, _fitted(value, parsed.shape)) if accumulate else _fitted(value, parsed.shape)
    elif masked:
        new = _assign_masked(view, *parsed.entries[0], value, accumulate)
    else:
        shape, entries = _positions(parsed)
        new = _assign_picked(view.reshape(shape), arrange("index assignment", shape, entries), value, accumulate)
    return _put_back(input, parsed, new)


def _added(a: Tensor, b: Tensor) -> Tensor:
    return tape.apply("add", (a, b))


def _value_tensor(input: Tensor, value: Any) -> Tensor:
    if isinstance(value, (list, tuple, np.ndarray)):
        value = Tensor.from_host(np.asarray(value), device=input.device, dtype=input.dtype)
    if not isinstance(value, Tensor):
        return columns.number_like("index assignment", value, input, overflows=True)
    check_devices("index assignment", input, value)
    if value.dtype is not input.dtype:
        raise RuntimeError(
            f"index assignment: the tensor is {input.dtype}, the value {value.dtype}; convert it with .to(x.dtype)"
        )
    return value


def _fitted(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The value in the shape of x[index]. Dimensions of size 1 in front of it do not count."""
    own = value._value.shape
    while len(own) > len(shape) and own[0] == 1:
        own = own[1:]
    if len(own) > len(shape) or any(a not in (b, 1) for a, b in zip(own[::-1], shape[::-1], strict=False)):
        raise _mismatch(value, list(shape))
    return value.reshape(own).expand(shape)


def _mismatch(value: Tensor, shape: Any) -> RuntimeError:
    return RuntimeError(
        f"shape mismatch: the value of shape {list(value.shape)} can't be broadcast to the indexed part, {shape}"
    )


def _assign_picked(view: Tensor, place: Arranged, value: Tensor, accumulate: bool) -> Tensor:
    count = prod(place.picked)
    outer, inner = prod(place.before), prod(place.after)
    value = _fitted(value, (*place.before, *place.picked, *place.after))
    if not count or not view.numel():
        return view
    source = value.reshape(outer, count, inner)
    op = "sum" if accumulate else "set"
    base = place.columns(view, view._value.shape)
    changed = columns.scatter(op, base._value.shape[1], place.index, source, base, place.low, "index assignment")
    return place.back(changed)


def _assign_masked(view: Tensor, axis: int, mask: Tensor, value: Tensor, accumulate: bool) -> Tensor:
    """Where the mask is true: a `where`; values for each of the places picked are counted off by the device."""
    shape = view._value.shape
    taken = max(mask.ndim, 1)
    after = shape[axis + taken :]
    own = value._value.shape
    at = len(own) - 1 - len(after)  # the value's dimension of picked places, if it has one
    mask = mask.reshape((1,) * axis + shape[axis : axis + taken] + (1,) * len(after)) if mask.ndim else mask
    if at >= 0 and own[at] != 1:
        value = _fitted(value, (*shape[:axis], own[at], *after))
        value = placed_by_mask("index assignment", mask, value, axis, taken, whole=True)
    else:
        wide = own[:at] + (1,) * taken + own[at + 1 :] if at >= 0 else own
        try:
            value = _fitted(value.reshape(wide), shape)
        except RuntimeError:
            raise _mismatch(value, f"{[*shape[:axis], 'n', *after]} with n places picked") from None
    return where(mask, _added(view, value) if accumulate else value, view)


def _put_back(input: Tensor, parsed: Parsed, new: Tensor) -> Tensor:
    """The tensor with its part replaced: the parts of a slice go back where they came from, between zeros."""
    part = parsed.part(input)
    new = new.reshape(part._value.shape)
    if parsed.whole:
        return new
    if not part.numel():
        return input
    to_place: Any = TABLE["slice"].gradient
    (here,) = to_place(ones_like(part, dtype=dtypes.bool_), part, input, parsed.parts)
    (placed,) = to_place(new, part, input, parsed.parts)
    return where(here, placed, input)
