"""Sorting: sort, argsort, msort, topk, kthvalue, and the permutation that all of them come from."""

from __future__ import annotations

from math import prod
from operator import index
from typing import Any

from netcl.autograd.tape import apply, apply_composite
from netcl.codegen.library.tile_sort import TILE
from netcl.codegen.targets import target_for
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.graph.sort_words import key_bits
from netcl.ops.creation import iota
from netcl.ops.gathering import gather_gradient
from netcl.ops.return_types import named
from netcl.ops.shape import axis_of
from netcl.tensor import Tensor

__all__ = ["argsort", "kthvalue", "msort", "sort", "topk"]
METHODS = __all__

SHORTEST_CHUNK = 8192  # elements of a row that are worth a work-item of their own
POSITION = 0xFFFFFFFF  # the half of a word where the position is
FEW, MOST_KEPT = 8, 128  # no sort for the first 1/8 of a row or less, and at most so many


def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    """(values, indices) in order along dim. NaN is the largest. Always stable, whether `stable` asks for it or not.

    >>> import netcl as nc
    >>> values, indices = nc.tensor([3.0, 1.0, 2.0]).sort()
    >>> values, indices
    (tensor([1., 2., 3.]), tensor([1, 2, 0]))
    """
    axis = axis_of("sort", dim, input.ndim)
    indices = order(input, axis, bool(descending))
    return named("sort", permuted(input, axis, indices), indices)


def argsort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """The positions of the elements in order along dim, see `sort`."""
    return order(input, axis_of("argsort", dim, input.ndim), bool(descending))


def msort(input: Tensor) -> Tensor:
    """The values in order along the first dimension."""
    return sort(input, 0).values


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """(values, indices) of the k largest (smallest) along dim, in order, whether `sorted` asks for it or not.

    RuntimeError for a k that is negative or larger than the dimension.

    >>> import netcl as nc
    >>> nc.tensor([1, 5, 3]).topk(2).values
    tensor([5, 3])
    """
    axis, k = axis_of("topk", dim, input.ndim), index(k)
    size = input._value.shape[axis] if input.ndim else 1
    if not 0 <= k <= size:
        raise RuntimeError(f"topk: k must be between 0 and {size}, the size of dimension {dim}, got {k}")
    if not input.ndim:
        return named("topk", *((t if k else t.reshape(1).narrow(0, 0, 0)) for t in sort(input)))
    indices = order(input, axis, bool(largest), k)
    return named("topk", picked(input, axis, indices), indices)


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the k-th smallest along dim, counted from 1. RuntimeError for a k out of range."""
    axis, k = axis_of("kthvalue", dim, input.ndim), index(k)
    size = input._value.shape[axis] if input.ndim else 1
    if not size:
        raise IndexError(f"kthvalue: dimension {dim} of shape {list(input.shape)} has no elements")
    if not 1 <= k <= size:
        raise RuntimeError(f"kthvalue: k must be between 1 and {size}, the size of dimension {dim}, got {k}")
    if not input.ndim:
        return named("kthvalue", *sort(input))
    indices = order(input, axis, False, k).narrow(axis, k - 1, 1)
    return along("kthvalue", input, axis, indices, keepdim)


def along(name: str, input: Tensor, axis: int, indices: Tensor, keepdim: bool) -> Any:
    """(values, indices) of one element along axis: indices has size 1 there."""
    values = picked(input, axis, indices)
    return named(name, *((t if keepdim else t.squeeze(axis)) for t in (values, indices)))


def picked(input: Tensor, axis: int, indices: Tensor) -> Tensor:
    """A gather by indices that are known to be in range."""
    return apply_composite("gather", (input, indices), axis, gather_gradient) if input.ndim else input.clone()


def permuted(input: Tensor, axis: int, indices: Tensor) -> Tensor:
    """A gather by a permutation: its gradient is one by the inverse."""
    return apply_composite("gather", (input, indices), axis, _permuted_gradient) if input.ndim else input.clone()


def _permuted_gradient(g: Tensor, y: Any, x: Any, indices: Tensor, axis: int) -> tuple:
    return permuted(g, axis, inverse_order(indices, axis)), None


def inverse_order(indices: Tensor, axis: int) -> Tensor:
    """Where each position stands in a permutation along axis."""
    shape = indices._value.shape
    if not prod(shape):
        return indices
    folded = indices.reshape(prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))
    return apply("inverse", (folded,)).reshape(shape)


# ---- the permutation ---------------------------------------------------------------------------------------------


def order(input: Tensor, axis: int, descending: bool, count: int | None = None) -> Tensor:
    """The stable sorting permutation along one axis, or the first `count` positions of it, as int64."""
    device = input._value.device
    if not input.ndim:
        return iota((1,), 0, device).reshape(())
    target = target_for(device)
    size = input._value.shape[axis]
    arg = axis, descending, target.work_items if target.kind == "cpu" else 0, size if count is None else count
    return apply_composite("sort_order", (input.detach(),), arg, None)


def _infer(operands: Any, arg: tuple) -> tuple:
    shape, axis = operands[0].shape, arg[0]
    return (*shape[:axis], arg[3], *shape[axis + 1 :]), dtypes.int64


def _body(x: Any, arg: tuple[int, bool, int, int]) -> Any:
    """Rows of words, sorted; 64-bit elements by the low half of their keys first, then these ranks by the high half."""
    axis, descending, work_items, count = arg
    shape = x.shape
    folded = Tensor._wrap(x).reshape(prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])).permute(0, 2, 1)
    rows = folded.reshape(-1, shape[axis])
    direction = "down" if descending else "up"
    ranks = iota(tuple(rows.shape), 1, None)
    first, last = (32 + bit for bit in key_bits(rows.dtype))

    def words(elements: Tensor, half: str) -> Tensor:
        return apply(f"sort_word_{half}_{direction}", (elements, ranks))

    if rows.dtype in (dtypes.int64, dtypes.float64):
        found = _sorted(words(rows, "low"), first, last, work_items) & POSITION
        found = picked(found, 1, _sorted(words(picked(rows, 1, found), "high"), first, last, work_items) & POSITION)
    elif count * FEW <= shape[axis] and count <= MOST_KEPT:
        found = _first(words(rows, "low"), count, work_items) & POSITION
    else:
        found = _sorted(words(rows, "low"), first, last, work_items) & POSITION
    found = found.narrow(1, 0, count).reshape(folded.shape[0], folded.shape[1], count).permute(0, 2, 1)
    return found.reshape(*shape[:axis], count, *shape[axis + 1 :])._value


def _first(words: Tensor, count: int, work_items: int) -> Tensor:
    """The first words of each row in order: those of each part of it, then those of these."""
    rows, length = words.shape
    if work_items:
        chunks = max(1, min(-(-work_items // max(rows, 1)), length // SHORTEST_CHUNK))
        found = apply("top_words", (words,), (count, -(-length // chunks))).reshape(rows, -1)
        return apply("top_words", (found,), (count, found.shape[1])).reshape(rows, count) if chunks > 1 else found
    while length > TILE:
        blocks = -(-length // TILE)
        candidates = tuple(iota((blocks, count), axis, None).reshape(1, -1) for axis in (0, 1))
        places = (candidates[0] * TILE + candidates[1]).expand(rows, -1)
        inside = places < length
        sorted_blocks = apply("sort_blocks", (words,), TILE)
        words = picked(sorted_blocks, 1, places.where(inside, 0)).where(inside, -1)  # as unsigned, -1 is the largest
        length = blocks * count
    return _sorted(words, 0, 0, 0)


def _sorted(words: Tensor, first: int, last: int, work_items: int) -> Tensor:
    """Each row of words in order. work_items: how many a launch has on the cpu target, 0 for the gpu target."""
    rows, length = words.shape
    if not work_items:
        run = min(TILE, 1 << (length - 1).bit_length())
        words = apply("sort_blocks", (words,), run)
        while run < length:
            words = apply("merge_runs", (words,), run)
            run *= 2
        return words
    chunks = min(-(-work_items // max(rows, 1)), length // SHORTEST_CHUNK)
    if chunks < 2:
        return apply("sort_rows", (words,), (first, last)).narrow(0, 0, 1).reshape(rows, length)
    chunk = -(-length // chunks)
    for shift in range(first, last, 8):
        counts = apply("digit_counts", (words,), (shift, chunk))
        words = apply("place_by_digit", (words, counts), (shift, chunk))
    return words


primitives.composite("sort_order", _infer, _body)
