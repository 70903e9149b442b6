"""Which operations are methods and operators of Tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from netcl.autograd import tape
from netcl.core import dtypes
from netcl.core.device import Device
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.graph.primitives import Primitive, register
from netcl.ops import creation, elementwise, indexing, inplace, linalg, reduction, scans, shape
from netcl.tensor import Tensor, to_host, upload


def to(input: Tensor, *args: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The tensor in another dtype and/or on another device: to(dtype), to(device), to(device, dtype), to(other)."""
    for arg in args:
        if isinstance(arg, DType):
            dtype = arg
        elif isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, (str, Device, int)) and not isinstance(arg, bool):
            device = arg
        elif arg is not None:
            raise TypeError(f"to: expected a dtype, a device or a tensor, got {arg!r}; dtypes are nc.float32 and so on")
    result = input
    if device is not None:
        target = find_device(device)
        if target is not input._value.device:
            result = Tensor._wrap(upload(to_host(input._value), target))
            if input.requires_grad and tape.is_grad_enabled():
                tape._connect("to_device", _to_device_gradient, (input,), None, (result,))
    return result if dtype is None else elementwise.cast(result, dtype)


def _to_device_gradient(g: Tensor, y: Any, x: Any) -> tuple:
    return (g.to(x.device),)


register(
    Primitive("to_device", "transfer", lambda operands, arg: (operands[0].shape, operands[0].dtype))
)  # done at once, by `to`


def _where(input: Tensor, condition: Tensor, other: Any) -> Tensor:
    return elementwise.where(condition, input, other)


def _reflected(function: Any) -> Any:
    return lambda self, other: function(other, self)


def _unless_foreign(function: Any) -> Any:
    """== and != with something that is no number or array: Python says that the two differ."""

    def compare(self: Tensor, other: Any) -> Any:
        known = isinstance(other, (Tensor, int, float, np.generic, np.ndarray, list, tuple))
        return function(self, other) if known else NotImplemented

    return compare


def new_zeros(input: Tensor, *size: Any) -> Tensor:
    """Zeros of another shape in input's dtype, on its device."""
    return creation.zeros(*size, dtype=input.dtype, device=input.device)


_METHODS: dict[str, Any] = {
    "to": to, "where": _where, "new_zeros": new_zeros,
    "float": lambda x: elementwise.cast(x, dtypes.float32), "double": lambda x: elementwise.cast(x, dtypes.float64),
    "half": lambda x: elementwise.cast(x, dtypes.float16), "bfloat16": lambda x: elementwise.cast(x, dtypes.bfloat16),
    "int": lambda x: elementwise.cast(x, dtypes.int32), "long": lambda x: elementwise.cast(x, dtypes.int64),
    "bool": lambda x: elementwise.cast(x, dtypes.bool_),
    "__add__": elementwise.add, "__radd__": elementwise.add, "__sub__": elementwise.sub,
    "__rsub__": _reflected(elementwise.sub), "__mul__": elementwise.mul, "__rmul__": elementwise.mul,
    "__truediv__": elementwise.div, "__rtruediv__": _reflected(elementwise.div),
    "__pow__": elementwise.pow, "__rpow__": _reflected(elementwise.pow), "__neg__": elementwise.neg,
    "__abs__": elementwise.abs, "__matmul__": linalg.matmul, "__eq__": _unless_foreign(elementwise.eq),
    "__ne__": _unless_foreign(elementwise.ne),
    "__lt__": elementwise.lt, "__le__": elementwise.le, "__gt__": elementwise.gt, "__ge__": elementwise.ge,
    "__and__": elementwise.bitwise_and, "__or__": elementwise.bitwise_or, "__xor__": elementwise.bitwise_xor,
    "__rand__": _reflected(elementwise.bitwise_and), "__ror__": _reflected(elementwise.bitwise_or),
    "__rxor__": _reflected(elementwise.bitwise_xor), "__invert__": elementwise.bitwise_not,
    "__getitem__": indexing.getitem, "__setitem__": inplace.setitem,
    "T": property(lambda x: x.permute(tuple(range(x.ndim))[::-1])), "mT": property(shape.matrix_transpose),
}  # fmt: skip

_MODULES = (elementwise, reduction, scans, linalg, shape, indexing, inplace)


def attach() -> None:
    """Give Tensor its methods: those above, and what each module of operations lists under METHODS."""
    for name, function in _METHODS.items():
        setattr(Tensor, name, function)
    for module in _MODULES:
        for name in module.METHODS:
            setattr(Tensor, name, getattr(module, name))
        for name in getattr(module, "IN_PLACE", ()):
            setattr(Tensor, f"{name}_", inplace.in_place(getattr(module, name), f"{name}_"))
    for operator, name in inplace.OPERATORS.items():
        if hasattr(Tensor, name):
            setattr(Tensor, operator, getattr(Tensor, name))


attach()
