"""Sorting: sort, argsort, msort, topk, kthvalue, and the permutation that all of them come from."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd import tape
from netcl.autograd.tape import apply, apply_composite
from netcl.codegen.library.tile_sort import TILE
from netcl.codegen.targets import target_for
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.graph.sort_words import key_bits
from netcl.graph.value import record
from netcl.ops.creation import iota
from netcl.ops.gathering import _gather_gradient
from netcl.ops.return_types import named
from netcl.ops.shape import axis_of
from netcl.tensor import Tensor

__all__ = ["argsort", "kthvalue", "msort", "sort", "topk"]
METHODS = __all__

SHORTEST_CHUNK = 8192  # elements of a row that are worth a work-item of their own


def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    """(values, indices) in order along dim. NaN is the largest. Always stable, whether `stable` asks for it or not.

    >>> import netcl as nc
    >>> values, indices = nc.tensor([3.0, 1.0, 2.0]).sort()
    >>> values, indices
    (tensor([1., 2., 3.]), tensor([1, 2, 0]))
    """
    indices = argsort(input, dim, descending)
    return named("sort", picked(input, axis_of("sort", dim, input.ndim), indices), indices)


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
    axis = axis_of("topk", dim, input.ndim)
    size = input._value.shape[axis] if input.ndim else 1
    if not 0 <= k <= size:
        raise RuntimeError(f"topk: k must be between 0 and {size}, the size of dimension {dim}, got {k}")
    if not input.ndim:
        return named("topk", *((t if k else t.reshape(1).narrow(0, 0, 0)) for t in sort(input)))
    indices = order(input, axis, bool(largest)).narrow(axis, 0, k)
    return named("topk", picked(input, axis, indices), indices)


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the k-th smallest along dim, counted from 1. RuntimeError for a k out of range."""
    axis = axis_of("kthvalue", dim, input.ndim)
    size = input._value.shape[axis] if input.ndim else 1
    if not 1 <= k <= size:
        raise RuntimeError(f"kthvalue: k must be between 1 and {size}, the size of dimension {dim}, got {k}")
    if not input.ndim:
        return named("kthvalue", *sort(input))
    indices = order(input, axis, False).narrow(axis, k - 1, 1)
    return along("kthvalue", input, axis, indices, keepdim)


def along(name: str, input: Tensor, axis: int, indices: Tensor, keepdim: bool) -> Any:
    """(values, indices) of one element along axis: indices has size 1 there."""
    values = picked(input, axis, indices)
    return named(name, *((t if keepdim else t.squeeze(axis)) for t in (values, indices)))


def picked(input: Tensor, axis: int, indices: Tensor) -> Tensor:
    """A gather by indices that are known to be in range."""
    if not input.ndim:
        return input.clone()
    result = Tensor._wrap(record("gather", [input._value, indices._value], axis))
    if input._tracked and tape.is_grad_enabled():
        tape._connect("gather", _gather_gradient, (input, indices), axis, (result,))
    return result


# ---- the permutation ---------------------------------------------------------------------------------------------


def order(input: Tensor, axis: int, descending: bool) -> Tensor:
    """The stable sorting permutation along one axis, as int64."""
    device = input._value.device
    if not input.ndim:
        return iota((1,), 0, device).reshape(())
    target = target_for(device)
    arg = axis, descending, target.work_items if target.kind == "cpu" else 0
    return apply_composite("sort_order", (input.detach(),), arg, None)


def _infer(operands: Any, arg: tuple) -> tuple:
    return operands[0].shape, dtypes.int64


def _body(x: Any, arg: tuple[int, bool, int]) -> Any:
    """Rows of words, sorted; 64-bit elements by the low half of their keys first, then these ranks by the high half."""
    axis, descending, work_items = arg
    shape = x.shape
    folded = Tensor._wrap(x).reshape(prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])).permute(0, 2, 1)
    rows = folded.reshape(-1, shape[axis])
    direction = "down" if descending else "up"
    ranks = iota(tuple(rows.shape), 1, None)
    bits = key_bits(rows.dtype)

    def ranked(elements: Tensor, half: str) -> Tensor:
        words = apply(f"sort_word_{half}_{direction}", (elements, ranks))
        return _sorted(words, bits[0] + 32, bits[1] + 32, work_items) & 0xFFFFFFFF

    found = ranked(rows, "low")
    if rows.dtype in (dtypes.int64, dtypes.float64):
        found = picked(found, 1, ranked(picked(rows, 1, found), "high"))
    return found.reshape(folded.shape).permute(0, 2, 1).reshape(shape)._value


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
    chunks = min(-(-work_items // rows), length // SHORTEST_CHUNK)
    if chunks < 2:
        return apply("sort_rows", (words,), (first, last)).narrow(0, 0, 1).reshape(rows, length)
    chunk = -(-length // chunks)
    for shift in range(first, last, 8):
        counts = apply("digit_counts", (words,), (shift, chunk))
        words = apply("place_by_digit", (words, counts), (shift, chunk))
    return words


primitives.composite("sort_order", _infer, _body)
