"""Tensors joined: along a dimension they have, or along a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any

from netcl.autograd.tape import apply_composite
from netcl.core import dtypes
from netcl.ops.creation import zeros
from netcl.ops.elementwise import check_devices
from netcl.ops.shape import axis_of
from netcl.tensor import Tensor

__all__ = """
    block_diag cat column_stack concat concatenate dstack hstack row_stack stack vstack
""".split()
METHODS: list[str] = []

MOST_PIECES = 32  # in one launch; more are joined in groups first


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors joined along a dimension, in one launch. Sizes elsewhere must agree; dtypes are promoted.

    Empty 1-d tensors are left out, as in PyTorch. ValueError for no tensors; RuntimeError for 0-d ones and for sizes
    that don't agree.

    >>> import netcl as nc
    >>> nc.cat([nc.zeros(1, 2), nc.ones(2, 2)])
    tensor([[0., 0.],
            [1., 1.],
            [1., 1.]])
    """
    return _cat("cat", _sequence("cat", tensors), dim)


concat = concatenate = cat


def _sequence(name: str, tensors: Any) -> list[Tensor]:
    if isinstance(tensors, Tensor) or not isinstance(tensors, (list, tuple)):
        raise TypeError(f"{name}: expected a list or tuple of tensors, got {type(tensors).__name__}")
    for place, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: expected tensors, got {type(tensor).__name__} at position {place}")
    if tensors:
        check_devices(name, *tensors)
    return list(tensors)


def _cat(name: str, tensors: list[Tensor], dim: int) -> Tensor:
    if not tensors:
        raise ValueError(f"{name}: expected at least one tensor")
    for place, tensor in enumerate(tensors):
        if not tensor.ndim:
            raise RuntimeError(f"{name}: the tensor at position {place} has no dimensions; use stack, or .reshape(1)")
    dtype = tensors[0].dtype
    for tensor in tensors:
        dtype = dtypes.promote(dtype, tensor.dtype)
    kept = [tensor for tensor in tensors if tensor._value.shape != (0,)]
    if not kept:
        return zeros(0, dtype=dtype, device=tensors[0].device)
    shape = kept[0]._value.shape
    axis = axis_of(name, dim, len(shape))
    for place, tensor in enumerate(kept):
        own = tensor._value.shape
        if len(own) != len(shape) or any(a != b for d, (a, b) in enumerate(zip(own, shape, strict=True)) if d != axis):
            raise RuntimeError(
                f"{name}: tensors of shapes {list(shape)} and {list(own)} (position {place}) can't be joined along "
                f"dimension {axis}: all other sizes must agree"
            )
    outer, inner = prod(shape[:axis]), prod(shape[axis + 1 :])
    pieces = [tensor.to(dtype).reshape(outer, tensor._value.shape[axis], inner) for tensor in kept]
    joined = _join(pieces)
    return joined.reshape(*shape[:axis], joined._value.shape[1], *shape[axis + 1 :])


def _join(pieces: list[Tensor]) -> Tensor:
    """Pieces of three dimensions and one dtype, joined along the middle."""
    while True:
        full = [piece for piece in pieces if piece.numel()]
        pieces = full or pieces[:1] if pieces[0].shape[0] and pieces[0].shape[2] else pieces
        if len(pieces) == 1:
            return pieces[0].clone()
        if len(pieces) <= MOST_PIECES:
            return _joined(pieces)
        pieces = [
            _joined(pieces[start : start + MOST_PIECES]) if start + 1 < len(pieces) else pieces[start]
            for start in range(0, len(pieces), MOST_PIECES)
        ]


def _joined(pieces: list[Tensor]) -> Tensor:
    return apply_composite("concat", pieces, None, _gradient(tuple(piece._value.shape[1] for piece in pieces)))


@cache
def _gradient(lengths: tuple[int, ...]) -> Callable[..., tuple]:
    """The gradient is cut up again; it reads no piece, only how long they were."""

    def rule(g: Tensor, y: Any, *pieces_and_arg: Any) -> tuple:
        found, start = [], 0
        for length in lengths:
            found.append(g.narrow(1, start, length))
            start += length
        return tuple(found)

    return rule


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension. RuntimeError for no tensors and for different shapes."""
    tensors = _sequence("stack", tensors)
    if not tensors:
        raise RuntimeError("stack: expected at least one tensor")
    shape = tensors[0]._value.shape
    for place, tensor in enumerate(tensors):
        if tensor._value.shape != shape:
            raise RuntimeError(
                f"stack: tensors must have one shape, got {list(shape)} and {list(tensor.shape)} (position {place})"
            )
    axis = axis_of("stack", dim, len(shape) + 1)
    return _cat("stack", [tensor.unsqueeze(axis) for tensor in tensors], axis)


# ---- stacks by name ----------------------------------------------------------------------------------------------


def _rows(input: Tensor) -> Tensor:
    """With at least 2 dimensions, new ones in front."""
    return input if input.ndim >= 2 else input.reshape(1, input.numel())


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined side by side: along dimension 1, 1-d tensors along their only one."""
    wide = [x if x.ndim else x.reshape(1) for x in _sequence("hstack", tensors)]
    return _cat("hstack", wide, 0 if not wide or wide[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined on top of each other: along dimension 0, 1-d tensors as rows."""
    return _cat("vstack", [_rows(x) for x in _sequence("vstack", tensors)], 0)


row_stack = vstack


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along dimension 2: (n,) counts as (1, n, 1), (n, m) as (n, m, 1)."""
    deep = [x if x.ndim >= 3 else _rows(x).unsqueeze(-1) for x in _sequence("dstack", tensors)]
    return _cat("dstack", deep, 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along dimension 1, 1-d and 0-d tensors as columns."""
    return _cat(
        "column_stack", [x if x.ndim >= 2 else x.reshape(x.numel(), 1) for x in _sequence("column_stack", tensors)], 1
    )


def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the given ones (1-d as a row, 0-d as one element) along its diagonal, zeros elsewhere."""
    if not tensors:
        return zeros(1, 0)
    blocks = [_rows(x) for x in _sequence("block_diag", list(tensors))]
    for place, block in enumerate(blocks):
        if block.ndim != 2:
            raise RuntimeError(
                f"block_diag: expected at most 2 dimensions, got {list(block.shape)} at position {place}"
            )
    width = sum(block.shape[1] for block in blocks)
    rows, left = [], 0
    for block in blocks:
        rows.append(block.pad_with_zeros([(0, 0), (left, width - left - block.shape[1])]))
        left += block.shape[1]
    return _cat("block_diag", rows, 0)
