"""Sites: what a check on the device is told, for its error to name the operation, the user's line and what is wrong."""

from __future__ import annotations

from netcl.core import dtypes
from netcl.graph import flags
from netcl.graph.value import record_scalar, user_line
from netcl.tensor import Tensor


def site(name: str, tensor: Tensor, says: str, error: type[Exception] = IndexError) -> Tensor:
    """The site of a check on the tensor's device. `says` may name the {value} and its {position}."""
    device = tensor._value.device
    number = flags.new_site(device, f"{name} ({user_line()})", says, error)
    return Tensor._wrap(record_scalar(number, dtypes.int32, device))


def index_site(name: str, tensor: Tensor, bound: str) -> Tensor:
    """The site of a check of indices; `bound`, as "size 3", is what they don't fit."""
    return site(name, tensor, f"{flags.OUT_OF_RANGE} for {bound}")
