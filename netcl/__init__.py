"""netcl: deep learning on any OpenCL device."""

from netcl.autograd.tape import Tape, enable_grad, is_grad_enabled, no_grad
from netcl.core.device import current_device, default_device, device, devices
from netcl.core.dtypes import (
    bfloat16, float16, float32, float64, int8, int16, int32, int64, uint8,
)  # fmt: skip
from netcl.core.dtypes import bool_ as bool
from netcl.graph.value import eager
from netcl.ops import methods as _methods
from netcl.ops.creation import arange, full, ones, ones_like, tensor, zeros, zeros_like
from netcl.ops.elementwise import *  # noqa: F403
from netcl.tensor import Size, Tensor
