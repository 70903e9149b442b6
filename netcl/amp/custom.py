"""custom_fwd and custom_bwd: what an autograd.Function does under autocast."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from netcl.autograd.autocast import autocast, get_autocast_dtype, is_autocast_enabled
from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.tensor import Tensor


def custom_fwd(fwd: Callable | None = None, *, device_type: Any = None, cast_inputs: DType | None = None) -> Callable:
    """For the forward of an autograd.Function: its backward (with custom_bwd) runs as autocast was in forward.

    With `cast_inputs`, where autocast is on, floating-point arguments are cast to that dtype and autocast is off in it.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def called(*args: Any, **kwargs: Any) -> Any:
        ctx = args[0]
        enabled = is_autocast_enabled(device_type)
        ctx._autocast_dtype = get_autocast_dtype(device_type)
        ctx._autocast_in_forward = enabled and cast_inputs is None
        if not enabled or cast_inputs is None:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(*_cast(args, cast_inputs), **_cast(kwargs, cast_inputs))

    return called


def custom_bwd(bwd: Callable | None = None, *, device_type: Any = None) -> Callable:
    """For the backward of an autograd.Function whose forward has custom_fwd: autocast is on or off as it was there."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def called(*args: Any, **kwargs: Any) -> Any:
        ctx = args[0]
        with autocast(device_type, dtype=ctx._autocast_dtype, enabled=ctx._autocast_in_forward):
            return bwd(*args, **kwargs)

    return called


def _cast(value: Any, dtype: DType) -> Any:
    """Floating-point tensors in a dtype (float64 stays), also inside of containers."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() and value.dtype is not dtypes.float64 else value
    if isinstance(value, Mapping):
        return {_cast(key, dtype): _cast(one, dtype) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(one, dtype) for one in value)
    return value
