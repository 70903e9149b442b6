"""The dtypes: their NumPy twins, how OpenCL stores and computes them, and PyTorch's promotion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np


@dataclass(frozen=True, eq=False)
class DType:
    """One element type. Identity is equality: there is one object per dtype."""

    name: str
    numpy: np.dtype
    storage: str  # OpenCL type in memory
    compute: str  # OpenCL type in registers
    category: int  # 0 bool, 1 integer, 2 floating: PyTorch promotes between categories first
    rank: int  # order inside the category

    @property
    def itemsize(self) -> int:
        return self.numpy.itemsize

    @property
    def is_floating_point(self) -> bool:
        return self.category == 2

    @property
    def is_signed(self) -> bool:
        return self.category == 2 or self.numpy.kind == "i"

    @property
    def is_complex(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"netcl.{self.name}"

    def __reduce__(self) -> tuple:
        return (by_name, (self.name,))


def _make(name: str, numpy_type: object, storage: str, compute: str, category: int, rank: int) -> DType:
    return DType(name, np.dtype(numpy_type), storage, compute, category, rank)  # type: ignore[call-overload]


bool_ = _make("bool", np.bool_, "uchar", "int", 0, 0)
uint8 = _make("uint8", np.uint8, "uchar", "uchar", 1, 0)
int8 = _make("int8", np.int8, "char", "char", 1, 1)
int16 = _make("int16", np.int16, "short", "short", 1, 2)
int32 = _make("int32", np.int32, "int", "int", 1, 3)
int64 = _make("int64", np.int64, "long", "long", 1, 4)
float16 = _make("float16", np.float16, "half", "float", 2, 0)
bfloat16 = _make("bfloat16", ml_dtypes.bfloat16, "ushort", "float", 2, 0)
float32 = _make("float32", np.float32, "float", "float", 2, 1)
float64 = _make("float64", np.float64, "double", "double", 2, 2)

ALL = (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64)
_BY_NAME = {dtype.name: dtype for dtype in ALL}
_BY_NUMPY = {dtype.numpy: dtype for dtype in ALL}
default_float = float32  # what Python's floats become; set by nc.set_default_dtype


def category_default(category: int) -> DType:
    """The dtype of Python's bools, ints and floats."""
    return (bool_, int64, default_float)[category]


_OF_PYTHON = {bool: bool_, int: int64, float: float64}


def of(dtype: Any) -> Any:
    """Python's bool, int and float as the dtypes that PyTorch takes them for; anything else as it is."""
    return _OF_PYTHON.get(dtype, dtype) if type(dtype) is type else dtype


def by_name(name: str) -> DType:
    return _BY_NAME[name]


def known(numpy_dtype: np.dtype) -> bool:
    return numpy_dtype.newbyteorder("=") in _BY_NUMPY


def from_numpy(numpy_dtype: np.dtype) -> DType:
    """The DType of a NumPy dtype; TypeError for one that netcl does not have."""
    found = _BY_NUMPY.get(np.dtype(numpy_dtype).newbyteorder("="))
    if found is None:
        raise TypeError(
            f"can't make a netcl tensor of NumPy dtype {numpy_dtype}; supported are: "
            + ", ".join(dtype.name for dtype in ALL)
        )
    return found


def promote(a: DType, b: DType) -> DType:
    """The dtype of an operation on tensors of dtypes a and b, both with dimensions (torch.promote_types)."""
    if a is b:
        return a
    if a.category != b.category:
        return a if a.category > b.category else b
    if a.category == 2:
        if a.rank == b.rank:  # float16 with bfloat16: neither holds the other
            return float32
        return a if a.rank > b.rank else b
    if uint8 in (a, b):  # int8 does not hold uint8
        other = b if a is uint8 else a
        return int16 if other is int8 else other
    return a if a.rank > b.rank else b


def accumulator(dtype: DType) -> DType:
    """What sums of this dtype are accumulated in: float32 or wider for floats, int64 for integers."""
    if dtype.category == 2:
        return float64 if dtype is float64 else float32
    return int64
