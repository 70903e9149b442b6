"""Automatic mixed precision: products in float16 or bfloat16, the rest in float32. See docs/amp.md.

>>> import netcl as nc
>>> model = nc.nn.Linear(4, 2)
>>> with nc.amp.autocast(dtype=nc.bfloat16):
...     output = model(nc.ones(3, 4))
>>> output.dtype, model.weight.dtype
(netcl.bfloat16, netcl.float32)
"""

from typing import Any

from netcl.amp.custom import custom_bwd, custom_fwd
from netcl.amp.grad_scaler import GradScaler
from netcl.autograd.autocast import (
    autocast,
    autocast_state,
    get_autocast_dtype,
    is_autocast_available,
    is_autocast_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
)
from netcl.core.device import device as _device

__all__ = [
    "GradScaler", "autocast", "autocast_state", "custom_bwd", "custom_fwd", "get_autocast_dtype",
    "is_autocast_available", "is_autocast_enabled", "set_autocast_dtype", "set_autocast_enabled", "supports_fp16",
]  # fmt: skip


def supports_fp16(device: Any = None) -> bool:
    """Whether a device computes with float16 itself, found by running a kernel on it.

    float16 and bfloat16 work on every device: where this is False they are storage, and arithmetic is float32.
    """
    return _device(device).supports_fp16
