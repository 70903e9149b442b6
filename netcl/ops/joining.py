"""Tensors joined: along a dimension they have, or along a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any

from netcl.autograd.tape import apply, apply_composite
from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.graph import primitives
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
        if tensor._value.device is not tensors[0]._value.device:
            check_devices(name, *tensors)
    return list(tensors)


def _cat(name: str, tensors: list[Tensor], dim: int) -> Tensor:
    if not tensors:
        raise ValueError(f"{name}: expected at least one tensor")
    kept = [tensor for tensor in tensors if tensor._value.shape != (0,)]
    if not kept:
        dtype = _joined_dtype([tensor._value for tensor in tensors])
        return zeros(0, dtype=dtype, device=tensors[0].device)
    shape = kept[0]._value.shape
    axis = axis_of(name, dim, len(shape)) if shape else 0
    before, after = shape[:axis], shape[axis + 1 :]
    for tensor in kept:
        own = tensor._value.shape
        if len(own) != len(shape) or not own or own[:axis] != before or own[axis + 1 :] != after:
            raise _misfit(name, tensors, shape, axis)
    dtype = _joined_dtype([tensor._value for tensor in tensors])
    if dtype is not _joined_dtype([tensor._value for tensor in kept]):
        kept = [tensor.to(dtype) for tensor in kept]  # what is left out has its part in the dtype
    return _recorded(kept, axis, False)


def _joined_dtype(values: Sequence[Any]) -> DType:
    dtype = values[0].dtype
    for value in values:
        if value.dtype is not dtype:
            dtype = dtypes.promote(dtype, value.dtype)
    return dtype


def _misfit(name: str, tensors: list[Tensor], shape: tuple[int, ...], axis: int) -> RuntimeError:
    for place, tensor in enumerate(tensors):
        own = tensor._value.shape
        if not own:
            return RuntimeError(f"{name}: the tensor at position {place} has no dimensions; use stack, or .reshape(1)")
        agree = len(own) == len(shape) and own[:axis] == shape[:axis] and own[axis + 1 :] == shape[axis + 1 :]
        if own != (0,) and not agree:
            break
    return RuntimeError(
        f"{name}: tensors of shapes {list(shape)} and {list(own)} (position {place}) can't be joined along "
        f"dimension {axis}: all other sizes must agree"
    )


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
    return _recorded(tensors, axis_of("stack", dim, len(shape) + 1), True)


# ---- one record, expanded with the plan --------------------------------------------------------------------------


def _recorded(tensors: Sequence[Tensor], axis: int, stacked: bool) -> Tensor:
    lengths = tuple([1 if stacked else tensor._value.shape[axis] for tensor in tensors])
    return apply_composite("cat", tensors, (axis, stacked), _gradient(lengths, axis, stacked))


@cache
def _gradient(lengths: tuple[int, ...], axis: int, stacked: bool) -> Callable[..., tuple]:
    """The gradient is cut up again; it reads no piece, only how long they were."""

    def rule(g: Tensor, y: Any, *pieces_and_arg: Any) -> tuple:
        found, start = [], 0
        for length in lengths:
            part = g.narrow(axis, start, length)
            found.append(part.squeeze(axis) if stacked else part)
            start += length
        return tuple(found)

    return rule


def _infer(values: Sequence[Any], arg: tuple[int, bool]) -> tuple:
    axis, stacked = arg
    shape = values[0].shape
    length = len(values) if stacked else sum([value.shape[axis] for value in values])
    return (*shape[:axis], length, *shape[axis if stacked else axis + 1 :]), _joined_dtype(values)


def _body(*values_and_arg: Any) -> Any:
    *values, (axis, stacked) = values_and_arg
    shape, dtype = _infer(values, (axis, stacked))
    outer, inner = prod(shape[:axis]), prod(shape[axis + 1 :])
    lengths = [1 if stacked else value.shape[axis] for value in values]
    pieces = [
        Tensor._wrap(value).to(dtype).reshape(outer, length, inner)
        for value, length in zip(values, lengths, strict=True)
        if length or not any(lengths)
    ]
    while len(pieces) > 1:
        groups = [pieces[start : start + MOST_PIECES] for start in range(0, len(pieces), MOST_PIECES)]
        pieces = [apply("concat", group) if len(group) > 1 else group[0] for group in groups]
    return pieces[0].clone().reshape(shape)._value if len(values) == 1 else pieces[0].reshape(shape)._value


primitives.composite("cat", _infer, _body)


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
