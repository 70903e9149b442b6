"""Whether and how often: all, any, count_nonzero."""

from __future__ import annotations

from netcl.core import dtypes
from netcl.graph.primitives import reduced_shape
from netcl.ops.creation import full
from netcl.ops.reduction import Dim, axes_of, reduce
from netcl.ops.reduction import sum as total
from netcl.ops.shape import is_whole
from netcl.tensor import Tensor

__all__ = ["all", "any", "count_nonzero"]
METHODS = __all__


def all(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether every element over dim is true (not 0; a NaN is true). Of no elements: true.

    The result is bool, for uint8 tensors uint8.
    """
    return _truth("all", "min", input, dim, keepdim)


def any(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether some element over dim is true (not 0; a NaN is true). Of no elements: false.

    The result is bool, for uint8 tensors uint8.
    """
    return _truth("any", "max", input, dim, keepdim)


def _truth(name: str, op: str, input: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    dtype = dtypes.uint8 if input.dtype is dtypes.uint8 else dtypes.bool_
    axes = () if dim is not None and not is_whole(dim) and not len(dim) else axes_of(name, dim, input.ndim)
    truth = input.detach().to(dtypes.bool_)
    if 0 in [input._value.shape[axis] for axis in axes]:
        return full(reduced_shape(input._value.shape, axes, keepdim), name == "all", dtype, input.device)
    return (reduce(op, truth, axes, keepdim) if axes else truth).to(dtype)


def count_nonzero(input: Tensor, dim: Dim = None) -> Tensor:
    """How many elements over dim are not 0 (a NaN is not 0), as int64.

    >>> import netcl as nc
    >>> nc.tensor([[0, 1], [2, 3]]).count_nonzero(0)
    tensor([1, 2])
    """
    return total(input.detach().to(dtypes.bool_), dim)
