"""What a script hands over, numbers in lists or arrays, as an array of the dtype that PyTorch would choose."""

from __future__ import annotations

import functools
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
    kinds: set[Any] = set()
    data = _unwrapped(data, kinds)
    given = any([isinstance(kind, np.dtype) for kind in kinds])  # the dtypes of arrays are kept
    if type(None) in kinds:
        raise RuntimeError("can't make a tensor of NoneType: its dtype is not known; nc.nan stands for what is missing")
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"expected sequences of equal length at each depth: {error}") from error
    if array.size and array.dtype.kind not in "bi" and kinds <= {int, bool}:
        raise ValueError(f"can't make a tensor of {max(array.flat, key=abs)}: it is outside the range of int64")
    if not dtypes.known(array.dtype) and array.dtype.kind not in "iuf":
        raise TypeError(f"can't make a tensor from {type(data).__name__} data of NumPy dtype {array.dtype}")
    if dtype is None and given and isinstance(data, list):
        dtype = _common_dtype(kinds)
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
    low = limits.min if limits.min else -limits.max  # negative numbers wrap around, as in PyTorch
    fits = (array >= low) & (array <= limits.max)
    if not fits.all():
        raise RuntimeError(
            f"can't make a tensor of {array[~fits].flat[0]} as {dtype}: the range is {limits.min} to {limits.max}"
        )


def _common_dtype(kinds: set[Any]) -> DType:
    """The dtype of a list that holds arrays and tensors of these dtypes, and Python numbers of these classes."""
    numbers = {bool: dtypes.bool_, int: dtypes.int64}
    known = [
        dtypes.from_numpy(kind) if isinstance(kind, np.dtype) else numbers.get(kind, dtypes.default_float)
        for kind in kinds
    ]
    return functools.reduce(dtypes.promote, known)


_PLAIN = {bool, int, float}


def _unwrapped(data: Any, kinds: set[Any]) -> Any:
    """Nested lists with their tensors replaced by numbers and lists.

    Adds the dtypes of the arrays and tensors in it to kinds, and the classes of everything else.
    """
    if isinstance(data, (list, tuple)):
        own = set(map(type, data))
        if own <= _PLAIN:  # what is long is nothing but numbers
            kinds |= own
            return data
        return [_unwrapped(item, kinds) for item in data]
    if isinstance(data, Tensor):
        kinds.add(data.dtype.numpy)
        return data.tolist()
    kind: Any = type(data)
    if not isinstance(data, (int, float)) and hasattr(data, "__array__") and not isinstance(data, np.generic):
        data = np.asarray(data)
    kinds.add(data.dtype if isinstance(data, (np.ndarray, np.generic)) else kind)
    return data
