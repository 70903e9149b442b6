"""Tensors from nothing, of one number each, and from what the caller has."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.graph.value import Value, record_iota, record_literal, record_scalar
from netcl.graph.views import view
from netcl.ops.elementwise import fitting, number_dtype, plain_number
from netcl.ops.host_data import from_data
from netcl.ops.interchange import from_dlpack
from netcl.ops.shape import sizes
from netcl.tensor import Tensor

__all__ = """
    as_tensor asarray empty empty_like eye from_numpy frombuffer full full_like ones ones_like scalar_tensor tensor
    zeros zeros_like
""".split()
METHODS = "new_empty new_full new_ones new_tensor new_zeros".split()


def tensor(data: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of data: numbers, nested lists, NumPy arrays, tensors. Floats become float32.

    >>> import netcl as nc
    >>> nc.tensor([1.0, 2.5])
    tensor([1.0000, 2.5000])
    """
    result = Tensor._wrap(from_data(data, dtype, device))
    return result.requires_grad_() if requires_grad else result


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The tensor itself where it has that dtype and device, converted otherwise; of other data, a new tensor.

    Unlike PyTorch's, a tensor of a NumPy array has a copy of its elements: devices don't share memory with NumPy.
    """
    if not isinstance(data, Tensor):
        return tensor(data, dtype, device)
    return data.to(device=device, dtype=dtype)


def asarray(
    obj: Any, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Tensor:  # fmt: skip
    """A tensor of a tensor, NumPy array, DLPack tensor, buffer, number or nested list.

    Tensors are taken as they are unless copy=True; requires_grad=None keeps theirs. ValueError with copy=False for
    what can only be copied: anything that is no tensor of that dtype and device.
    """
    if isinstance(obj, Tensor):
        result = obj.to(device=device, dtype=dtype, copy=bool(copy))
        if copy is False and result is not obj:
            raise ValueError("asarray: another dtype or device needs a copy, which copy=False forbids")
    elif copy is False:
        raise ValueError(f"asarray: the elements of a {type(obj).__name__} have to be copied to the device")
    elif hasattr(obj, "__dlpack__") and not isinstance(obj, (np.ndarray, np.generic)):
        result = from_dlpack(obj, device=device).to(dtype=dtype)
    elif isinstance(obj, (bytes, bytearray, memoryview)):
        result = frombuffer(obj, dtype=dtype or dtypes.default_float).to(device=device)
    else:
        result = tensor(obj, dtype, device)
    if requires_grad is None or requires_grad == result.requires_grad:
        return result
    return result.detach().requires_grad_(requires_grad)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor of a NumPy array, in its dtype, on the current device. TypeError for anything else.

    Unlike PyTorch's, it has a copy of the elements: devices don't share memory with NumPy.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy: expected np.ndarray (got {type(ndarray).__name__}); use nc.tensor(...)")
    return tensor(ndarray)


def frombuffer(
    buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A 1-d tensor with a copy of `count` elements of a bytes-like object, from byte `offset` on.

    ValueError where the buffer has fewer bytes, or, with count=-1, no whole number of elements.
    """
    if not isinstance(dtype, DType):
        raise TypeError(f"dtype must be a netcl dtype such as nc.float32, got {dtype!r}")
    raw = memoryview(buffer).cast("B")[offset:] if offset >= 0 else b""
    size = dtype.itemsize
    if count < 0 and (not len(raw) or len(raw) % size):
        raise ValueError(
            f"frombuffer: the {len(raw)} bytes after offset {offset} are no whole number of {dtype} elements"
        )
    if count == 0 or count * size > len(raw):
        raise ValueError(f"frombuffer: {count} elements of {dtype} are not in {len(raw)} bytes after offset {offset}")
    result = tensor(np.frombuffer(raw, dtype.numpy, count))
    return result.requires_grad_() if requires_grad else result


def scalar_tensor(s: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A 0-d tensor of a number: float32 unless dtype says else."""
    return full((), s, dtype or dtypes.default_float, device, requires_grad)


# ---- of one number -----------------------------------------------------------------------------------------------


def full(
    size: Any, fill_value: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of one number. Takes no memory until something needs it there."""
    shape, dtype = _checked_sizes("full", (size,)), dtypes.of(dtype)
    if isinstance(fill_value, Tensor):
        if fill_value.ndim:
            raise TypeError(f"full: fill_value must be a number, got a tensor of shape {list(fill_value.shape)}")
        return full(shape, fill_value.item(), dtype or fill_value.dtype, device, requires_grad)
    if isinstance(fill_value, np.generic):
        fill_value = plain_number(fill_value)
    if dtype is None:
        dtype = number_dtype(fill_value, dtypes.bool_)
    value = fitting("full", fill_value, dtype)
    target = device if device is not None and hasattr(device, "pool") else find_device(device)
    if target is not None:
        target.require(dtype)
    known = value in (0, 1)  # other numbers may change from call to call: they are no part of the plan's key
    filled = (record_literal if known else record_scalar)(value, dtype, target)
    if shape:
        filled = view("expand", view("reshape", filled, (1,) * len(shape)), shape)
    result = Tensor._wrap(filled)
    return result.requires_grad_() if requires_grad else result


def _checked_sizes(name: str, size: tuple) -> tuple[int, ...]:
    shape = sizes(name, size)
    if any(length < 0 for length in shape):
        raise RuntimeError(f"{name}: sizes must not be negative, got {list(shape)}")
    return shape


def zeros(
    *args: Any, size: Any = None, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of zeros."""
    shape = _checked_sizes("zeros", args if size is None else (size,))
    return full(shape, 0.0, dtype or dtypes.default_float, device, requires_grad)


def ones(
    *args: Any, size: Any = None, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of ones."""
    shape = _checked_sizes("ones", args if size is None else (size,))
    return full(shape, 1.0, dtype or dtypes.default_float, device, requires_grad)


def empty(
    *args: Any, size: Any = None, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of arbitrary elements: whatever its memory held before. Launches nothing."""
    shape, dtype = _checked_sizes("empty", args if size is None else (size,)), dtypes.of(dtype) or dtypes.default_float
    if not isinstance(dtype, DType):
        raise TypeError(f"dtype must be a netcl dtype such as nc.float32, got {dtype!r}")
    target = find_device(device)
    target.require(dtype)
    buffer = target.pool.allocate(prod(shape) * dtype.itemsize)
    result = Tensor._wrap(Value.realised(buffer, shape, dtype, target))
    return result.requires_grad_() if requires_grad else result


def full_like(
    input: Tensor, fill_value: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """One number in input's shape, dtype and device."""
    return full(input.shape, fill_value, dtype or input.dtype, _place(device, input), requires_grad)


def zeros_like(
    input: Tensor, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros in input's shape, dtype and device."""
    return full(input.shape, 0.0, dtype or input.dtype, _place(device, input), requires_grad)


def ones_like(
    input: Tensor, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Ones in input's shape, dtype and device."""
    return full(input.shape, 1.0, dtype or input.dtype, _place(device, input), requires_grad)


def empty_like(
    input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Arbitrary elements in input's shape, dtype and device."""
    return empty(input.shape, dtype=dtype or input.dtype, device=_place(device, input), requires_grad=requires_grad)


def _place(device: Any, like: Tensor) -> Any:
    return like.device if device is None else device


def new_zeros(
    input: Tensor, *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of another shape in input's dtype, on its device."""
    return full(_checked_sizes("new_zeros", size), 0.0, dtype or input.dtype, _place(device, input), requires_grad)


def new_ones(
    input: Tensor, *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Ones of another shape in input's dtype, on its device."""
    return full(_checked_sizes("new_ones", size), 1.0, dtype or input.dtype, _place(device, input), requires_grad)


def new_full(
    input: Tensor, size: Sequence[int], fill_value: Any, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """One number in another shape, in input's dtype, on its device."""
    return full(size, fill_value, dtype or input.dtype, _place(device, input), requires_grad)


def new_empty(
    input: Tensor, *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Arbitrary elements of another shape in input's dtype, on its device."""
    place = _place(device, input)
    return empty(*size, dtype=dtype or input.dtype, device=place, requires_grad=requires_grad)


def new_tensor(
    input: Tensor, data: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of data in input's dtype, on its device."""
    return tensor(data, dtype or input.dtype, _place(device, input), requires_grad)


# ---- coordinates -------------------------------------------------------------------------------------------------


def iota(shape: tuple[int, ...], axis: int, device: Any, dtype: DType = dtypes.int64) -> Tensor:
    """The coordinates along one axis of a shape."""
    return Tensor._wrap(record_iota(device, tuple(shape), axis, dtype))


def eye(
    n: int, m: int | None = None, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Ones on the diagonal of an n x m matrix (n x n without m), zeros elsewhere."""
    rows, columns = _checked_sizes("eye", (n, n if m is None else m))
    dtype, target = dtypes.of(dtype) or dtypes.default_float, find_device(device)
    target.require(dtype)
    shape = (rows, columns)
    result = (iota(shape, 0, target) == iota(shape, 1, target)).to(dtype)
    return result.requires_grad_() if requires_grad else result


def scalar(number: Any, dtype: DType, device: Any) -> Tensor:
    """A Python number as a 0-d tensor that is a kernel argument."""
    return Tensor._wrap(record_scalar(number, dtype, device))
