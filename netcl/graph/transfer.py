"""Elements between the host and a device."""

from __future__ import annotations

from math import prod

import numpy as np

from netcl.core import dtypes, launch
from netcl.core.device import Device
from netcl.graph import flags
from netcl.graph.value import Value, _pending


def upload(array: np.ndarray, device: Device) -> Value:
    """A realised value with a copy of a C-contiguous array of one of netcl's dtypes."""
    dtype = dtypes.from_numpy(array.dtype)
    device.require(dtype)
    buffer = device.pool.allocate(array.nbytes)
    launch.write(device, buffer, array)
    value = Value.realised(buffer, array.shape, dtype, device)
    if _pending.recorder is not None:
        _pending.recorder.uploaded(value, array)
    return value


def to_host(value: Value) -> np.ndarray:
    """A value's elements as a new array. Runs what is pending, waits, and raises what the device found wrong."""
    if _pending.recorder is not None:
        _pending.recorder.read()
    value.realise()
    device, dtype = value.device, value.dtype
    if prod(value.shape) == 0:
        return np.empty(value.shape, dtype.numpy)
    if value.strides is None:
        array = np.empty(value.shape, dtype.numpy)
        launch.read_into(device, value.buffer, array, value.offset * dtype.itemsize)
        flags.raise_if_set(device)
        return array
    reach = [(size - 1) * stride for size, stride in zip(value.shape, value.strides, strict=True)]
    low, high = sum(r for r in reach if r < 0), sum(r for r in reach if r > 0)
    flat = np.empty(high - low + 1, dtype.numpy)
    launch.read_into(device, value.buffer, flat, (value.offset + low) * dtype.itemsize)
    flags.raise_if_set(device)
    strides = [stride * dtype.itemsize for stride in value.strides]
    return np.lib.stride_tricks.as_strided(flat[-low:], value.shape, strides).copy()
