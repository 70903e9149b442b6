"""What bool tensors pick: filling, selecting and replacing where a mask is true, and finding what is not zero."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.tape import apply
from netcl.core import dtypes
from netcl.graph.table import broadcast_shapes
from netcl.ops import columns
from netcl.ops.creation import iota, zeros
from netcl.ops.elementwise import check_devices, where
from netcl.ops.joining import stack
from netcl.ops.scans import cumsum
from netcl.ops.sites import site
from netcl.tensor import Tensor

__all__ = ["argwhere", "masked_fill", "masked_scatter", "masked_select", "nonzero"]
METHODS = __all__
IN_PLACE = ["masked_fill", "masked_scatter"]


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """value (a number or a 0-d tensor) where mask is true, else input; both broadcast. RuntimeError for other masks."""
    _check_mask("masked_fill", input, mask)
    if not isinstance(value, Tensor):
        return where(mask, columns.number_like("masked_fill", value, input), input)
    if value.ndim:
        raise RuntimeError(
            f"masked_fill: value must be a number or a 0-d tensor, got shape {list(value.shape)}; "
            "where() and masked_scatter() take more"
        )
    return where(mask, value.to(input.dtype), input)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where mask is true, in order; both broadcast. The host reads their count, the result's size."""
    _check_mask("masked_select", input, mask)
    input, mask = _together("masked_select", input, mask)
    return input[mask]


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The elements of source, in order, where mask is true, else input; both broadcast.

    RuntimeError for another dtype, and, at the next read of a value, if source has fewer elements than needed.
    """
    _check_mask("masked_scatter", input, mask)
    check_devices("masked_scatter", input, source)
    if source.dtype is not input.dtype:
        raise RuntimeError(f"masked_scatter: input is {input.dtype}, source {source.dtype}; convert with .to()")
    input, mask = _together("masked_scatter", input, mask)
    if not mask.ndim:
        return masked_scatter(input.reshape(1), mask.reshape(1), source).reshape(())
    placed = placed_by_mask("masked_scatter", mask, source.reshape(-1), 0, mask.ndim, whole=False)
    return where(mask, placed, input)


def _check_mask(name: str, input: Tensor, mask: Any) -> None:
    check_devices(name, input, mask)
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"{name}: expected a bool mask, got {mask.dtype}; convert it with .bool()")


def _together(name: str, input: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    shape = broadcast_shapes(name, [input._value.shape, mask._value.shape])
    return input.expand(shape), mask.expand(shape)


def placed_by_mask(name: str, mask: Tensor, value: Tensor, axis: int, taken: int, whole: bool) -> Tensor:
    """value's entries along axis, each where the mask is true for the next time, in `taken` dimensions instead of one.

    What stands where the mask is false means nothing. The device checks that there are enough entries (`whole`: as
    many as the mask is true).
    """
    shape = value._value.shape
    before, count, after = shape[:axis], shape[axis], shape[axis + 1 :]
    masked = mask._value.shape[axis : axis + taken] if mask.ndim else (1,)
    numbers = cumsum(mask.reshape(-1), 0).reshape(1, prod(masked), 1)
    if not numbers.numel():
        return zeros(*before, *masked, *after, dtype=value.dtype, device=value.device)
    total = numbers[0, -1, 0]
    enough = total == count if whole else total <= count
    says = f"the mask picks {{value}} elements, and the value has {count}"
    total = apply("check", (total, enough, site(name, value, says, RuntimeError)))
    if not count:
        nothing = zeros(*before, *masked, *after, dtype=value.dtype, device=value.device)
        return where(total >= 0, nothing, nothing)
    columns_of = value.reshape(prod(before), count, prod(after))
    picked = columns.pick(columns_of, where(total >= 0, numbers - 1, 0))
    return picked.reshape(*before, *masked, *after)


# ---- where something is not zero ---------------------------------------------------------------------------------


def nonzero_numbers(input: Tensor) -> Tensor:
    """The places of the elements that are not zero, in the tensor taken as one row. The host reads their count."""
    size = input.numel()
    flags = input if input.dtype is dtypes.bool_ else input != 0
    numbers = cumsum(flags.reshape(size), 0)
    total = numbers[-1].item() if size else 0
    return apply("compact", (numbers,), total) if total else zeros(0, dtype=dtypes.int64, device=input.device)


def nonzero_places(input: Tensor) -> tuple[Tensor, ...]:
    """For each dimension, the coordinates of the elements that are not zero. The host reads their count."""
    shape = input._value.shape
    found = nonzero_numbers(input)
    total = found.numel()
    if len(shape) < 2 or not total:
        return (found,) * len(shape)
    size = prod(shape)
    coordinates = (iota(shape, axis, input.device).reshape(1, size, 1) for axis in range(len(shape)))
    return tuple(columns.pick(coordinate, found.reshape(1, total, 1)).reshape(total) for coordinate in coordinates)


def nonzero(input: Tensor, as_tuple: bool = False) -> Any:
    """The coordinates of the elements that are not zero, in order: (count, dimensions), or a tensor for each dimension.

    The host reads their count, which is a size of the result.

    >>> import netcl as nc
    >>> nc.nonzero(nc.tensor([0, 3, 0, 5]))
    tensor([[1],
            [3]])
    """
    if as_tuple:
        return nonzero_places(input if input.ndim else input.reshape(1))
    return argwhere(input)


def argwhere(input: Tensor) -> Tensor:
    """The coordinates of the elements that are not zero, (count, dimensions), in order. The host reads the count."""
    if not input.ndim:
        return zeros(nonzero_places(input.reshape(1))[0].shape[0], 0, dtype=dtypes.int64, device=input.device)
    return stack(nonzero_places(input), 1)
