"""The primitive table: every operation that a kernel can contain, one entry each.

Here are sources, views, reductions, products, library kernels and indexed reads; `elementwise` has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netcl.codegen.library import ctc
from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.graph import elementwise, sort_words  # noqa: F401  (register their entries)
from netcl.graph.table import TABLE, Primitive, Shape, as_first, broadcast_shapes, composite, operand_dtypes, register

__all__ = [
    "TABLE", "Primitive", "Shape", "as_first", "broadcast_shapes", "composite", "operand_dtypes", "reduced_shape",
    "register",
]  # fmt: skip

# ---- sources: nodes without operands -----------------------------------------------------------------------------


def _literal_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    return (), dtypes.by_name(arg[0])


def _iota_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    shape, _, dtype_name = arg
    return shape, dtypes.by_name(dtype_name)


register(Primitive("literal", "source", _literal_infer))  # arg: (dtype name, value), part of the plan's key
register(Primitive("scalar", "source", _literal_infer))  # arg: (dtype name,), the value is a kernel argument
register(Primitive("input", "source", lambda operands, arg: (arg[1], dtypes.by_name(arg[0]))))
register(Primitive("item", "source", _literal_infer))  # arg: the number of a result of a composite with several
register(Primitive("iota", "source", _iota_infer))  # arg: (shape, axis, dtype name): the coordinate along axis


# ---- views -------------------------------------------------------------------------------------------------------


def _view(name: str, shape_of: Callable[[Shape, Any], Shape], gradient: Callable[..., tuple]) -> None:
    def infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
        return shape_of(operands[0].shape, arg), operands[0].dtype

    register(Primitive(name, "view", infer, gradient=gradient))


def _slice_shape(shape: Shape, arg: Any) -> Shape:
    return tuple(len(range(start, stop, step)) for start, stop, step in arg)


def _pad_shape(shape: Shape, arg: Any) -> Shape:
    return tuple(size + low + high for size, (low, high) in zip(shape, arg, strict=True))


def _slice_gradient(g: Any, y: Any, x: Any, arg: Any) -> tuple:
    if any(abs(step) != 1 for _, _, step in arg):
        return (g.dilate(x.shape, arg),)
    flipped = [axis for axis, (_, _, step) in enumerate(arg) if step < 0]
    g = g.flip(flipped) if flipped else g
    low = [stop + 1 if step < 0 else start for start, stop, step in arg]
    return (g.pad_with_zeros([(b, size - b - n) for b, size, n in zip(low, x.shape, y.shape, strict=True)]),)


_view("reshape", lambda shape, arg: arg, lambda g, y, x, arg: (g.reshape(x.shape),))
_view("permute", lambda shape, arg: tuple(shape[axis] for axis in arg),
      lambda g, y, x, arg: (g.permute(tuple(arg.index(axis) for axis in range(len(arg)))),))  # fmt: skip
_view("expand", lambda shape, arg: arg, lambda g, y, x, arg: (g.sum_to_shape(x.shape),))
_view("slice", _slice_shape, _slice_gradient)  # arg: (start, stop, step) for each axis; a negative step flips
_view("pad", _pad_shape, lambda g, y, x, arg: (g.slice_axes([(low, low + size, 1) for (low, _), size in zip(arg, x.shape, strict=True)]),))  # fmt: skip


def diagonal_shape(shape: Shape, arg: tuple[int, int, int]) -> Shape:
    offset, row_axis, column_axis = arg
    rows, columns = shape[row_axis], shape[column_axis]
    length = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    return tuple(size for axis, size in enumerate(shape) if axis not in (row_axis, column_axis)) + (length,)


def windows_shape(shape: Shape, arg: tuple[int, int, int]) -> Shape:
    axis, size, step = arg
    return shape[:axis] + ((shape[axis] - size) // step + 1,) + shape[axis + 1 :] + (size,)


# arg: (offset, axis of the rows, axis of the columns); the diagonal is the last axis of the result
_view("diagonal", diagonal_shape, lambda g, y, x, arg: (g.put_diagonal(x.shape, arg),))
# arg: (axis, size, step): windows of an axis, which overlap where step < size; their elements are the last axis
_view("windows", windows_shape, lambda g, y, x, arg: (g.overlap_add(x.shape, arg),))
# The operand as it is, for what is computed again: nothing computed from it equals what was computed before, or shares
# a kernel with it. arg: a number of its own
_view("again", lambda shape, arg: shape, lambda g, y, x, arg: (g,))


# ---- reductions --------------------------------------------------------------------------------------------------


def reduced_shape(shape: Shape, axes: Sequence[int], keepdim: bool = True) -> Shape:
    """The shape of a reduction over axes, which are kept with size 1 or dropped."""
    if keepdim:
        return tuple([1 if axis in axes else size for axis, size in enumerate(shape)])
    return tuple([size for axis, size in enumerate(shape) if axis not in axes])


def with_axes(reduced: Any, shape: Shape, arg: tuple[tuple[int, ...], bool]) -> Any:
    """What has the shape of a reduction's result, with the axes that were dropped back as sizes of 1."""
    axes, keepdim = arg
    return reduced if keepdim else reduced.reshape(reduced_shape(shape, axes))


def _reduce(name: str, gradient: Callable[..., tuple] | None, reference: Callable, accumulates: bool) -> None:
    """accumulates: a result is made of all elements, so autocast has it in float32, and integers in int64. arg: the
    axes, and whether they are kept with size 1; the nodes of a graph keep them."""

    def infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
        dtype = operands[0].dtype
        if accumulates and dtype.category < 2:
            dtype = dtypes.int64
        return reduced_shape(operands[0].shape, *arg), dtype

    autocast = "float32" if accumulates else "widest"
    register(Primitive(name, "reduce", infer, gradient=gradient, reference=reference, autocast=autocast))


def _extremum_gradient(g: Any, y: Any, x: Any, arg: Any) -> tuple:
    """amax, amin: equal extrema share the gradient."""
    hit = (x == with_axes(y, x.shape, arg)).to(g.dtype)
    return (with_axes(g, x.shape, arg) * hit / hit.sum(arg[0], keepdim=True),)


_reduce("sum", lambda g, y, x, arg: (with_axes(g, x.shape, arg).expand(x.shape),), np.sum, True)
_reduce("max", _extremum_gradient, np.max, False)
_reduce("min", _extremum_gradient, np.min, False)
_reduce("prod", None, np.prod, True)


# ---- contractions ------------------------------------------------------------------------------------------------


def _matmul_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    """(b, m, k) @ (b, k, n) with equal batches: `ops.linalg` brings other ranks to this form. arg: None, or the name of
    the dtype that the kernel casts the elements of both to as it reads them."""
    a, b = operands
    dtype = dtypes.promote(a.dtype, b.dtype) if arg is None else dtypes.by_name(arg)
    return (a.shape[0], a.shape[1], b.shape[2]), dtype


register(
    Primitive(
        "matmul", "contraction", _matmul_infer, reference=np.matmul, autocast="lower",
        gradient=lambda g, y, a, b: (g.contract(b.transpose(1, 2)), a.transpose(1, 2).contract(g)),
    )
)  # fmt: skip


# ---- library kernels: codegen/library ---------------------------------------------------------------------------


def _scan_dtype(dtype: DType, op: str) -> DType:
    return dtypes.int64 if op in ("sum", "prod") and dtype.category < 2 else dtype


def _scan_infer(operands: Sequence[Any], arg: tuple[str, int]) -> tuple[Shape, DType]:
    """(outer, length, inner), along length; arg: sum, prod, max, min or logaddexp, and the length of blocks (0: one).
    A second operand, (outer, blocks, inner), has the running totals of the blocks."""
    return operands[0].shape, _scan_dtype(operands[0].dtype, arg[0])


def _scan_totals_infer(operands: Sequence[Any], arg: tuple[str, int]) -> tuple[Shape, DType]:
    outer, length, inner = operands[0].shape
    dtype = _scan_dtype(operands[0].dtype, arg[0])
    return (outer, -(-length // arg[1]), inner), dtypes.accumulator(dtype) if dtype.category == 2 else dtype


def _recurrence_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    """out[k] = a[k] * out[k - 1] + b[k] along the middle of three dimensions."""
    return operands[0].shape, dtypes.promote(operands[0].dtype, operands[1].dtype)


register(Primitive("scan", "library", _scan_infer))  # gradients: ops.scans
register(Primitive("scan_totals", "library", _scan_totals_infer))
register(Primitive("recurrence", "library", _recurrence_infer))


def _scatter_infer(operands: Sequence[Any], arg: tuple) -> tuple[Shape, DType]:
    """index, source (outer, count, inner), and, where given, base (outer, size, inner) and a check's site.
    arg: (set, sum, prod, max or min; size; the lowest index allowed, None without a check; the first one's number)."""
    outer, _, inner = operands[1].shape
    return (outer, arg[1], inner), operands[1].dtype


register(Primitive("scatter", "library", _scatter_infer))  # gradient: ops.scatter


def _compact_infer(operands: Sequence[Any], total: int) -> tuple[Shape, DType]:
    """Of a running count: the places where it goes up, of which there are `total`."""
    return (total,), dtypes.int64


register(Primitive("compact", "library", _compact_infer))


def _concat_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    """Pieces (outer, length, inner) of one dtype, along length."""
    outer, _, inner = operands[0].shape
    return (outer, sum(piece.shape[1] for piece in operands), inner), operands[0].dtype


register(Primitive("concat", "library", _concat_infer))  # in the composite "cat"


def _words_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    """Words of `graph.sort_words`, (rows, length), in another order within each row."""
    return operands[0].shape, dtypes.int64


def _sort_rows_infer(operands: Sequence[Any], arg: tuple[int, int]) -> tuple[Shape, DType]:
    """The sorted rows, and as much memory to sort in. arg: first bit that differs, and behind the last."""
    return (2, *operands[0].shape), dtypes.int64


def _digit_counts_infer(operands: Sequence[Any], arg: tuple[int, int]) -> tuple[Shape, DType]:
    """For each chunk of each row, how often each of 256 digits occurs. arg: the digit's first bit, a chunk's length."""
    rows, length = operands[0].shape
    return (rows, -(-length // arg[1]), 256), dtypes.int32


def _top_words_infer(operands: Sequence[Any], arg: tuple[int, int]) -> tuple[Shape, DType]:
    """The smallest words of each chunk of each row. arg: how many, a chunk's length."""
    rows, length = operands[0].shape
    return (rows, -(-length // arg[1]), arg[0]), dtypes.int64


def _search_infer(operands: Sequence[Any], arg: str) -> tuple[Shape, DType]:
    """How many of sequence (rows or 1, length) come before each of values (rows, count). arg: left, right, below."""
    return operands[1].shape, dtypes.int64


register(Primitive("sort_rows", "library", _sort_rows_infer))
register(Primitive("sort_blocks", "library", _words_infer))  # arg: the length of the blocks
register(Primitive("merge_runs", "library", _words_infer))  # arg: the length of the runs that are sorted already
register(Primitive("digit_counts", "library", _digit_counts_infer))
register(Primitive("place_by_digit", "library", _words_infer))  # operands: words, digit_counts; arg: as there
register(Primitive("top_words", "library", _top_words_infer))
register(Primitive("inverse", "library", _words_infer))  # of permutations along the middle of three dimensions
register(Primitive("search", "library", _search_infer))


def _ctc_states_infer(operands: Sequence[Any], arg: tuple[int, int, bool, bool]) -> tuple[Shape, DType]:
    """scores (N, T, C), targets (N, S) or joined, input lengths (N,), target lengths (N,), sites of the checks of these
    three. arg: the blank, S, whether the targets are joined, whether all times' states are kept for the gradient.
    For each sequence its loss, and the states behind it."""
    count, times, _ = operands[0].shape
    return (count, ctc.states_size(times, arg[1], arg[3])), operands[0].dtype


def _ctc_shares_infer(operands: Sequence[Any], arg: tuple[int, int, bool, bool]) -> tuple[Shape, DType]:
    """Operands as above, and the states that were kept, without sites. For each sequence the derivative of its loss by
    its scores, (T, C), and memory to work in behind it."""
    count, times, classes = operands[0].shape
    return (count, ctc.shares_size(times, classes, arg[1])), operands[0].dtype


register(Primitive("ctc_states", "library", _ctc_states_infer))  # gradient: ops.losses.ctc
register(Primitive("ctc_shares", "library", _ctc_shares_infer))


# ---- indexed reads -----------------------------------------------------------------------------------------------


def _gather_infer(operands: Sequence[Any], axis: int) -> tuple[Shape, DType]:
    """out[i, j, ..] = x[i, .., index[i, j, ..], ..]; x and index have the same rank; index sizes <= x's elsewhere."""
    return operands[1].shape, operands[0].dtype


register(Primitive("gather", "index", _gather_infer))  # gradient: ops.indexing


# Operands: value, condition, site. Where the condition is false the device remembers site, value and position; the next
# read of a value raises.
register(Primitive("check", "elementwise", as_first, gradient=lambda g, y, x, holds, site: (g, None, None)))
