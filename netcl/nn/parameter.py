"""Parameter: a tensor that belongs to a module and is trained."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.graph.value import Value
from netcl.storage import share_detached
from netcl.tensor import Tensor


class Parameter(Tensor):
    """A leaf tensor that a Module registers when it is assigned as an attribute.

    Parameter(data, requires_grad=True) takes over data's elements without a copy. TypeError unless data is a Tensor.

    >>> import netcl as nc
    >>> nc.nn.Parameter(nc.zeros(2)).requires_grad
    True
    """

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True):
        if data is None:
            data = Tensor()
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: expected a Tensor, got {type(data).__name__}; wrap it in nc.tensor(...)")
        self._value = data._value
        share_detached(self, data)
        if requires_grad:
            self.requires_grad_()

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that a Module registers as a buffer when it is assigned as an attribute.

    Buffer(data, persistent=True) takes over data's elements without a copy. TypeError unless data is a Tensor.
    """

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        if data is None:
            data = Tensor()
        if not isinstance(data, Tensor):
            raise TypeError(f"Buffer: expected a Tensor, got {type(data).__name__}; wrap it in nc.tensor(...)")
        self._value = data._value
        share_detached(self, data)
        self.persistent = persistent


def unset(*size: int, device: Any = None, dtype: DType | None = None) -> Parameter:
    """A parameter with arbitrary elements, to be filled at once by a function of `netcl.nn.init`. Records nothing."""
    target, dtype = find_device(device), dtype or dtypes.default_float
    buffer = target.pool.allocate(prod(size) * dtype.itemsize)
    return Parameter(Tensor._wrap(Value.realised(buffer, size, dtype, target)))
