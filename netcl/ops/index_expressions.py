"""What stands between the brackets of x[..]: ints, slices, None, `...`, tensors, lists, arrays and bools, taken apart.

`parse` gives the part of an index that is a view, and the tensors that are left, by the view's dimension; `arrange`
says where the dimensions of those tensors go. As in PyTorch, ints and 0-d tensors select before that is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.ops.columns import checked, from_front
from netcl.ops.elementwise import check_devices
from netcl.ops.shape import shared_view, slice_axes
from netcl.storage import unshared_view
from netcl.tensor import Tensor

Shape = tuple[int, ...]
Entry = tuple[int, Tensor]  # a dimension of the view and the tensor that indexes it; a mask takes several dimensions


@dataclass
class Parsed:
    """An index of a tensor: (start, stop, step) for each of its dimensions, the view's shape, and the tensors."""

    parts: tuple[tuple[int, int, int], ...]
    shape: Shape
    entries: list[Entry]
    whole: bool  # the parts are all of the tensor

    def view(self, input: Tensor) -> Tensor:
        part = self.part(input)
        same = part is not input and part._value.shape == self.shape
        return part if same else shared_view("reshape", part, self.shape)

    def part(self, input: Tensor) -> Tensor:
        return input if self.whole else slice_axes(input, self.parts)


def parse(input: Tensor, index: Any) -> Parsed:
    """The index taken apart. IndexError for what is no index, too many, ints out of range, masks of another shape."""
    shape = input._value.shape
    items = _items(index, input)
    used = sum(_takes(item) for item in items)
    if used > len(shape):
        raise IndexError(f"too many indices ({used}) for a tensor of {len(shape)} dimensions, shape {list(shape)}")
    dots = [place for place, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can contain only one ellipsis ('...')")
    at = dots[0] if dots else len(items)
    items[at : at + 1] = [slice(None)] * (len(shape) - used)
    parts: list[tuple[int, int, int]] = []
    kept: list[int] = []
    entries: list[Entry] = []
    for item in items:
        if item is None:
            kept.append(1)
        elif isinstance(item, Tensor):
            takes = _takes(item)
            if item.dtype is dtypes.bool_:
                _check_mask(item, shape, len(parts))
            entries.append((len(kept), item))
            sizes = shape[len(parts) : len(parts) + takes] if takes else (1,)
            parts += [(0, size, 1) for size in sizes[:takes]]
            kept += sizes
        else:
            parts.append(_part(item, shape[len(parts)], len(parts)))
            if isinstance(item, slice):
                kept.append(len(range(*parts[-1])))
    whole = all(part == (0, size, 1) for part, size in zip(parts, shape, strict=True))
    return Parsed(tuple(parts), tuple(kept), entries, whole)


def row(input: Tensor, place: int) -> Parsed:
    """What parse gives for one int, which is most of what is asked for."""
    shape = input._value.shape
    if not shape:
        return parse(input, place)
    part = _part(place, shape[0], 0)
    return Parsed((part, *[(0, size, 1) for size in shape[1:]]), shape[1:], [], shape[0] == 1)


def _items(index: Any, input: Tensor) -> list[Any]:
    """The single indices, with lists, arrays and bools made tensors."""
    if isinstance(index, list) and len(index) < 32 and any(_nested(item) for item in index):
        index = tuple(index)  # as PyTorch reads such a list
    items = list(index) if isinstance(index, tuple) else [index]
    return [_item(item, input) for item in items]


def _nested(item: Any) -> bool:
    several = isinstance(item, (Tensor, np.ndarray)) and item.ndim > 0
    return item is None or item is Ellipsis or isinstance(item, (slice, list, tuple, range)) or several


def _item(item: Any, input: Tensor) -> Any:
    if item is None or item is Ellipsis or isinstance(item, slice):
        return item
    if isinstance(item, (bool, np.bool_)):
        return Tensor.from_host(np.asarray(item), device=input.device)
    if isinstance(item, (list, tuple, range)) or (isinstance(item, np.ndarray) and item.ndim > 0):
        array = np.asarray(list(item) if isinstance(item, range) else item)
        array = array.astype(np.int64) if not array.size and array.dtype.kind == "f" else array
        if array.dtype.kind not in "bi" and array.dtype != np.uint8:
            raise IndexError(f"an index must hold integers or bools, got {array.dtype} in {_short(item)}")
        item = Tensor.from_host(array, device=input.device)
    if isinstance(item, Tensor):
        check_devices("index", input, item)
        if item.dtype is dtypes.uint8:
            raise IndexError("an index of uint8 could be positions or a mask; convert it with .long() or .bool()")
        if item.dtype.category == 2:
            raise IndexError(f"tensors used as indices must be integers or bools, got {item.dtype}")
        return item
    if not hasattr(item, "__index__"):
        raise IndexError(
            f"an index must be integers, slices, ..., None, or tensors, lists and arrays of integers or bools, "
            f"got {type(item).__name__}"
        )
    return item


def _short(item: Any) -> str:
    return text if len(text := repr(item)) < 60 else text[:57] + "..."


def _takes(item: Any) -> int:
    """How many dimensions of the tensor an index is for."""
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if isinstance(item, Tensor) and item.dtype is dtypes.bool_ else 1


def _check_mask(mask: Tensor, shape: Shape, first: int) -> None:
    own = mask._value.shape
    if own != shape[first : first + len(own)]:
        raise IndexError(
            f"the mask of shape {list(own)} at dimension {first} does not match the tensor of shape {list(shape)}"
        )


def _part(item: Any, size: int, dimension: int) -> tuple[int, int, int]:
    if isinstance(item, slice):
        start, stop, step = slice(*(_bound(bound) for bound in (item.start, item.stop, item.step))).indices(size)
        if step <= 0:
            raise ValueError(f"slice step must be positive, got {step}; use flip for the reverse")
        count = len(range(start, stop, step))
        return (start, start + count * step if step > 1 else start + count, step) if count else (0, 0, 1)
    place = item.__index__()
    if not -size <= place < size:
        raise IndexError(f"index {place} is out of bounds for dimension {dimension} with size {size}")
    place %= size
    return (place, place + 1, 1)


def _bound(bound: Any) -> int | None:
    """A slice's start, stop or step: an int, or a single integer of NumPy or on the device (which is read)."""
    return bound if bound is None else bound.__index__()


# ---- where the indexed dimensions go -----------------------------------------------------------------------------


@dataclass
class Arranged:
    """A view with its indexed dimensions brought together: permuted by `order`, then (outer, size, inner).

    `index` is (1, count, 1); `before`, `picked` and `after` are the shape of x[index].
    """

    order: tuple[int, ...]
    before: Shape
    sizes: Shape
    after: Shape
    picked: Shape
    index: Tensor
    low: int | None  # the lowest index allowed, where it is still to be checked

    def columns(self, part: Tensor, shape: Shape) -> Tensor:
        """What has the elements of a view of this shape, by columns; what is written to them is not seen by it."""
        if self.order != tuple(range(len(self.order))):
            part = unshared_view("permute", unshared_view("reshape", part, shape), self.order)
        return unshared_view("reshape", part, (prod(self.before), prod(self.sizes), prod(self.after)))

    def back(self, columns: Tensor) -> Tensor:
        """The view again of its columns."""
        result = columns.reshape(*self.before, *self.sizes, *self.after)
        if self.order == tuple(range(len(self.order))):
            return result
        return result.permute(tuple(self.order.index(axis) for axis in range(len(self.order))))


def arrange(name: str, shape: Shape, entries: Sequence[Entry]) -> Arranged:
    """Where tensors of integers index a view of `shape`. IndexError where they don't broadcast, or have no range."""
    axes = [axis for axis, _ in entries]
    wide = [axis for axis, tensor in entries if tensor.ndim]
    picked = _broadcast([tensor._value.shape for _, tensor in entries])
    left = [axis for axis in range(len(shape)) if axis not in axes]
    first = wide[0] if wide else axes[0]
    apart = any(axis in left for axis in range(wide[0], wide[-1])) if wide else False
    before = [] if apart else [axis for axis in left if axis < first]
    after = [axis for axis in left if axis not in before]
    sizes = tuple(shape[axis] for axis in axes)
    count = prod(picked)
    if count and 0 in sizes:
        raise IndexError(f"{name}: index is out of bounds for dimension {axes[sizes.index(0)]} with size 0")
    index, low = _flat_index(name, entries, sizes, picked)
    return Arranged(
        (*before, *axes, *after), tuple(shape[axis] for axis in before), sizes, tuple(shape[axis] for axis in after),
        picked, unshared_view("reshape", index, (1, count, 1)), low,
    )  # fmt: skip


def _broadcast(shapes: list[Shape]) -> Shape:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = ", ".join(str(list(shape)) for shape in shapes)
        raise IndexError(f"indexing tensors could not be broadcast together with shapes {listed}") from None


def _flat_index(name: str, entries: Sequence[Entry], sizes: Shape, picked: Shape) -> tuple[Tensor, int | None]:
    """One index into the indexed dimensions taken as one. A single tensor is left as it is, to be checked later."""
    if len(entries) == 1:
        return entries[0][1], -sizes[0]
    total: Any = None
    for (_, tensor), size in zip(entries, sizes, strict=True):
        place = from_front(checked(name, tensor, size, -size), size).to(dtypes.int64) if 0 not in picked else tensor
        total = place if total is None else total * size + place
    return total.expand(picked), None
