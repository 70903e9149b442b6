"""Running sums and their kin along one dimension."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.tape import apply
from netcl.core.dtypes import DType
from netcl.ops.elementwise import cast
from netcl.ops.shape import axis_of
from netcl.tensor import Tensor

__all__ = ["cumsum"]
METHODS = [*__all__, "scan"]


def scan(input: Tensor, op: str) -> Tensor:
    """The running sum, prod, max or min along the middle of three dimensions."""
    return apply("scan", (input,), op)


def cumsum(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """The running sum along dim. Integers and bools add up as int64.

    >>> import netcl as nc
    >>> nc.tensor([1.0, 2.0, 4.0]).cumsum(0)
    tensor([1., 3., 7.])
    """
    input = input if dtype is None else cast(input, dtype)
    axis = axis_of("cumsum", dim, input.ndim)
    return _along(input, axis, "sum")


def _along(input: Tensor, axis: int, op: str) -> Tensor:
    shape: Any = input._value.shape
    if not shape:
        return scan(input.reshape(1, 1, 1), op).reshape(())
    folded = input.reshape(prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))
    return scan(folded, op).reshape(shape)
