"""Questions about dtypes, and which dtype operations on mixed ones have."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.graph.value import flush_all
from netcl.ops.elementwise import plain_number
from netcl.tensor import Tensor

__all__ = """
    can_cast finfo get_default_dtype iinfo is_floating_point is_nonzero is_tensor numel promote_types
    result_type set_default_dtype
""".split()
METHODS = ["is_nonzero", "is_signed"]


class finfo:
    """The limits of a floating-point dtype (float32 without one): bits, eps, max, min, tiny, smallest_normal,
    resolution. TypeError for other dtypes.

    >>> import netcl as nc
    >>> nc.finfo(nc.float16).max
    65504.0
    """

    def __init__(self, dtype: DType | None = None) -> None:
        dtype = dtypes.default_float if dtype is None else _checked("finfo", dtype)
        if dtype.category != 2:
            raise TypeError(f"finfo: expected a floating-point dtype, got {dtype}; use iinfo for integers")
        limits = ml_dtypes.finfo(dtype.numpy)
        self.dtype = dtype.name
        self.bits = 8 * dtype.itemsize
        self.eps, self.max, self.min, self.smallest_normal = (
            float(getattr(limits, name)) for name in ("eps", "max", "min", "smallest_normal")
        )
        self.resolution = 10.0 ** -int(limits.precision)
        self.tiny = self.smallest_normal

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return f"finfo({', '.join(f'{name}={getattr(self, name):g}' for name in names)}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype: bits, max, min. TypeError for other dtypes.

    >>> import netcl as nc
    >>> nc.iinfo(nc.int8)
    iinfo(min=-128, max=127, dtype=int8)
    """

    def __init__(self, dtype: DType) -> None:
        if _checked("iinfo", dtype).category != 1:
            raise TypeError(f"iinfo: expected an integer dtype, got {dtype}; use finfo for floating-point dtypes")
        limits = np.iinfo(dtype.numpy)
        self.dtype = dtype.name
        self.bits = 8 * dtype.itemsize
        self.max, self.min = int(limits.max), int(limits.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def _checked(name: str, dtype: Any) -> DType:
    if not isinstance(dtype, DType):
        raise TypeError(f"{name}: expected a netcl dtype such as nc.float32, got {dtype!r}")
    return dtype


def promote_types(type1: DType, type2: DType) -> DType:
    """The dtype of an operation on tensors of the two dtypes."""
    return dtypes.promote(_checked("promote_types", type1), _checked("promote_types", type2))


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype of an operation on two tensors or numbers: those with dimensions decide, then 0-d ones, then numbers,
    unless what comes later is of a higher category (bool, integer, floating)."""
    levels: list[DType | None] = [None, None, None]
    for operand in (tensor1, tensor2):
        level = 2 if not isinstance(operand, Tensor) else 1 if not operand.shape else 0
        before, dtype = levels[level], operand.dtype if isinstance(operand, Tensor) else _number_dtype(operand)
        levels[level] = dtype if before is None else dtypes.promote(before, dtype)
    result: DType | None = None
    for found in levels:
        if found is not None and (result is None or found.category > result.category):
            result = found
    assert result is not None
    return result


def _number_dtype(number: Any) -> DType:
    number = plain_number(number) if isinstance(number, np.generic) else number
    for kind, dtype in ((bool, dtypes.bool_), (int, dtypes.int64), (float, dtypes.default_float)):
        if isinstance(number, kind):
            return dtype
    raise TypeError(f"result_type: expected tensors or numbers, got {type(number).__name__}")


def can_cast(from_: DType, to: DType) -> bool:
    """Whether PyTorch's rules let results of one dtype be stored as the other: not to a lower category."""
    return _checked("can_cast", from_).category <= _checked("can_cast", to).category


def get_default_dtype() -> DType:
    """The dtype of tensors made of Python floats: float32, unless set_default_dtype said otherwise."""
    return dtypes.default_float


def set_default_dtype(d: DType) -> None:
    """The dtype of tensors made without one (zeros, rand, parameters of layers, ..), of Python floats, and of floating
    results of integer tensors. TypeError for dtypes that are not floating-point. What is pending runs first.

    >>> import netcl as nc
    >>> nc.set_default_dtype(nc.float64)
    >>> nc.tensor([1.5]).dtype
    netcl.float64
    >>> nc.set_default_dtype(nc.float32)
    """
    if _checked("set_default_dtype", d).category != 2:
        raise TypeError(f"set_default_dtype: only floating-point dtypes can be the default, got {d}")
    flush_all()  # what was recorded had the default of its time
    dtypes.default_float = d


def is_tensor(obj: Any) -> bool:
    """Whether something is a netcl tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is one of float16, bfloat16, float32 and float64."""
    return input.dtype.is_floating_point


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return input.dtype.is_signed


def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not zero; RuntimeError for several. Waits for the device."""
    if input.numel() != 1:
        raise RuntimeError(f"is_nonzero: expected one element, got {input.numel()}; use .any() or .all()")
    return bool(input.item() != 0)


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()
