"""Rows run by a library, with their tensors laid out in different ways, and what came out compared."""

from __future__ import annotations

from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
from against_torch import array, dtype_name, parts

import netcl as nc
from table.rows import Numbers, Row, function

# The largest error allowed, relative to the exact value or to 1 where that is smaller. Exact means: PyTorch's result in
# float64 from the same numbers. Eight last bits in float32, two in the narrow dtypes.
ERROR = {"float32": 1e-6, "float64": 1e-12, "float16": 2.0**-9, "bfloat16": 2.0**-6}
LAYOUTS = ("contiguous", "transposed", "sliced", "flipped", "expanded")


def laid_out(library: Any, elements: np.ndarray, layout: str) -> Any:
    """A tensor of these elements; expanded: of its first row, again and again."""
    axes = tuple(range(elements.ndim))
    every_second = tuple(slice(None, None, 2) for _ in axes)
    if layout == "contiguous" or not axes:
        return library.tensor(elements)
    if layout == "transposed":
        return library.tensor(np.ascontiguousarray(elements.T)).permute(axes[::-1])
    if layout == "sliced":
        around = np.zeros([2 * size for size in elements.shape], elements.dtype)
        around[every_second] = elements
        return library.tensor(around)[every_second]
    if layout == "flipped":
        return library.tensor(np.flip(elements).copy()).flip(axes)
    return library.tensor(np.ascontiguousarray(elements[:1])).expand(elements.shape)


def tensors(library: Any, row: Row, layout: str = "contiguous", dtype: str | None = None) -> list:
    """The row's tensors; those that follow are of the dtype."""
    return [tensor(library, numbers, at, layout, dtype) for at, numbers in enumerate(row.numbers())]


def tensor(library: Any, numbers: Numbers, at: int, layout: str, dtype: str | None) -> Any:
    usable = layout != "expanded" or numbers.spreads
    made = laid_out(library, numbers.draw(at, dtype), layout if usable else "contiguous")
    return made.to(library.bfloat16) if dtype == "bfloat16" and numbers.follows else made


class Shared:
    """Tensors of netcl for many rows, the same for the same numbers: aliases of one operation become one node."""

    def __init__(self) -> None:
        self.made: dict[tuple, Any] = {}

    def tensors(self, row: Row, layout: str = "contiguous", dtype: str | None = None) -> list:
        if row.writes:
            return tensors(nc, row, layout, dtype)
        found = []
        for at, numbers in enumerate(row.numbers()):
            key = (type(numbers), numbers, at, layout, dtype)
            if key not in self.made:
                self.made[key] = tensor(nc, numbers, at, layout, dtype)
            found.append(self.made[key])
        return found


@cache
def lot(row: Row) -> int:
    """A number for what the row does, the same for all names of a function: its device and layout follow from it."""
    own = getattr(nc.Tensor, row.name[7:]) if row.name.startswith("Tensor.") else function(nc, row.name)
    return crc32(repr((getattr(own, "__qualname__", row.name), row.args, row.kwargs)).encode())


def shared_out(rows: list[Row], number: int, count: int, every: int = 1) -> list[Row]:
    """The rows of the device of this number: twice as many for the first, the default one, as for each other."""
    turns = [lot(row) // len(LAYOUTS) for row in rows]
    mine = {0, 1} if number == 0 else {number + 1}
    mine = mine if count > 1 else {0, 1, 2}
    return [
        row for row, turn in zip(rows, turns, strict=True) if turn % every == 0 and turn // every % (count + 1) in mine
    ]


def attempt(library: Any, row: Row, given: list) -> list | Exception:
    """The parts of the result, or what was raised."""
    try:
        return parts(row.call(library, given))
    except Exception as error:
        return error


def truth(torch: Any, row: Row, given: list) -> list | Exception:
    """PyTorch's result from the same numbers in float64."""
    wide = [t.double() if t.is_floating_point() and n.follows else t for t, n in zip(given, row.numbers(), strict=True)]
    return attempt(torch, row, wide)


def kind(error: Exception) -> str:
    """The type to catch it by; what is not implemented for a dtype is a RuntimeError, too."""
    for known in (IndexError, RuntimeError, TypeError, ValueError):
        if isinstance(error, known):
            return known.__name__
    return type(error).__name__


def disagreement(ours: list | Exception, theirs: list | Exception, exact: list | Exception | None = None) -> str:
    """What differs, or nothing. Without `exact` only shapes, dtypes and Python values are compared."""
    if isinstance(ours, Exception) or isinstance(theirs, Exception):
        mine, his = (kind(x) if isinstance(x, Exception) else "a result" for x in (ours, theirs))
        return "" if mine == his else f"{mine} ({ours}), PyTorch: {his} ({theirs})"
    if len(ours) != len(theirs):
        return f"{len(ours)} parts, PyTorch: {len(theirs)}"
    for number, (mine, his) in enumerate(zip(ours, theirs, strict=True)):
        if not isinstance(mine, nc.Tensor):
            if plain(mine) != plain(his):
                return f"{plain(mine)}, PyTorch: {plain(his)}"
            continue
        described = [(tuple(t.shape), dtype_name(t)) for t in (mine, his)]
        if described[0] != described[1]:
            return f"shape and dtype {described[0]}, PyTorch: {described[1]}"
        if exact is not None:
            wrong = error(mine, his, his if isinstance(exact, Exception) else exact[number])
            if wrong:
                return wrong
    return ""


def plain(thing: Any) -> Any:
    """A Python value; dtypes by name."""
    return str(thing).rpartition(".")[2] if "dtype" in type(thing).__name__.lower() else thing


def error(mine: Any, his: Any, exact: Any) -> str:
    """Integers and bools have to be equal, floating-point numbers near the exact ones."""
    name = dtype_name(his)
    if name not in ERROR or not exact.is_floating_point():
        return "" if np.array_equal(array(mine), array(his)) else f"{array(mine).tolist()}, not {array(his).tolist()}"
    got, wanted = array(mine).astype(np.float64), array(exact).astype(np.float64)
    with np.errstate(all="ignore"):
        same = (got == wanted) | (np.isnan(got) & np.isnan(wanted)) | (got == wanted.astype(np.float32))
        off = np.where(same, 0, np.abs(got - wanted) / np.maximum(np.abs(wanted), 1))
    if np.all(off <= ERROR[name]):
        return ""
    return f"error {np.nanmax(np.where(np.isnan(off), np.inf, off)):.1e}: {got.tolist()}, not {wanted.tolist()}"


def changed(numbers: Numbers, shape: tuple[int, ...]) -> Numbers:
    """The same numbers in another shape."""
    return type(numbers)(shape, numbers.low, numbers.high, numbers.dtype, numbers.follows, numbers.constant)
