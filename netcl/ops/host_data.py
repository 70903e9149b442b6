"""What a script hands over, numbers in lists or arrays, as an array of the dtype that PyTorch would choose."""

from __future__ import annotations

from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.graph.transfer import upload
from netcl.graph.value import Value, _pending
from netcl.tensor import Tensor


def from_data(data: Any, dtype: DType | None, device: Any) -> Value:
    """A realised value with a copy of host data; TypeError and ValueError as PyTorch raises them."""
    target = find_device(device)
    if isinstance(data, Tensor):
        data = data.detach().numpy() if dtype is None else data.detach().to(dtype).numpy()
    value = upload(host_array(data, dtype), target)
    if _pending.recorder is not None:
        _pending.recorder.made_from(value, data, dtype)
    return value


def host_array(data: Any, dtype: DType | None) -> np.ndarray:
    """Host data as a C-contiguous array of the dtype that PyTorch would choose."""
    dtype = dtypes.of(dtype)
    if dtype is not None and not isinstance(dtype, DType):
        raise TypeError(
            f"dtype must be a netcl dtype such as nc.float32, got {dtype!r}; a shape goes to nc.zeros() or nc.full()"
        )
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    given = hasattr(first, "__array__") and not isinstance(first, Tensor)  # dtypes of arrays are kept
    if isinstance(data, (list, tuple)):
        data = _unwrapped(data)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"expected sequences of equal length at each depth: {error}") from error
    if not given and array.size and array.dtype.kind in "Ou" and isinstance(array.flat[0], (int, np.integer)):
        raise ValueError(f"can't make a tensor of {array.flat[0]}: it is outside the range of int64")
    if not dtypes.known(array.dtype) and array.dtype.kind not in "iuf":
        raise TypeError(f"can't make a tensor from {type(data).__name__} data of NumPy dtype {array.dtype}")
    if dtype is not None:
        if not given and dtype.category == 1:
            _check_range(array, dtype)
        with np.errstate(invalid="ignore", over="ignore"):
            array = array.astype(dtype.numpy)
    elif not given and array.dtype == np.float64:
        array = array.astype(dtypes.default_float.numpy)
    elif array.dtype.kind == "u" and array.dtype != np.uint8:
        raise TypeError(f"can't make a tensor of NumPy dtype {array.dtype}; convert it to a signed type first")
    dtypes.from_numpy(array.dtype)
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False)).reshape(array.shape)


def _check_range(array: np.ndarray, dtype: DType) -> None:
    """RuntimeError where Python numbers don't fit an integer dtype."""
    limits = np.iinfo(dtype.numpy)
    fits = (array >= limits.min) & (array <= limits.max)
    if not fits.all():
        raise RuntimeError(
            f"can't make a tensor of {array[~fits].flat[0]} as {dtype}: the range is {limits.min} to {limits.max}"
        )


def _unwrapped(data: Any) -> Any:
    """Nested lists with their tensors replaced by numbers and lists."""
    if isinstance(data, Tensor):
        return data.tolist()
    if isinstance(data, (list, tuple)):
        return [_unwrapped(item) for item in data]
    return data
