"""Tensors in another dtype or on another device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netcl.autograd import tape
from netcl.core import dtypes
from netcl.core.device import Device
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.graph.primitives import Primitive, register
from netcl.graph.transfer import to_host, upload
from netcl.ops import creation
from netcl.ops.elementwise import cast, check_devices
from netcl.ops.host_data import from_data
from netcl.ops.shape import clone
from netcl.tensor import Size, Tensor

METHODS = ["cpu", "cuda", "is_complex", "is_same_size", "to", "type_as"]


def to(
    input: Tensor,
    *args: Any,
    dtype: DType | None = None,
    device: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
) -> Tensor:
    """The tensor in another dtype and/or on another device; itself where it has them already, unless copy=True.

    to(dtype), to(device, dtype), to(other), each with non_blocking and copy after it. Devices work through their
    queues in order, so non_blocking changes nothing that can be seen.
    """
    rest = list(args)
    if rest:
        first = dtypes.of(rest.pop(0))
        if isinstance(first, DType) and dtype is None:
            dtype = first
        elif isinstance(first, Tensor) and dtype is None and device is None:
            dtype, device = first.dtype, first.device
        elif (first is None or _names_device(first)) and device is None:
            device = first
            if rest and dtype is None and (rest[0] is None or isinstance(rest[0], DType)):
                dtype = rest.pop(0)
        else:
            raise TypeError(f"to: expected a dtype such as nc.float32, a device or a tensor, got {first!r}")
    if len(rest) > 2 or not all(type(flag) is bool for flag in rest):
        raise TypeError(f"to: expected at most non_blocking and copy (bools) after dtype or device, got {rest}")
    copy = rest[1] if len(rest) == 2 else copy
    result = input
    if device is not None:
        target = find_device(device)
        if target is not input._value.device:
            result = Tensor._wrap(upload(to_host(input._value), target))
            if input.requires_grad and tape.is_grad_enabled():
                tape._connect("to_device", _to_device_gradient, (input,), None, (result,))
    if dtype is not None:
        result = cast(result, dtype)
    return clone(result) if copy and result is input else result


def _names_device(argument: Any) -> bool:
    return isinstance(argument, (str, Device, int)) and not isinstance(argument, bool)


def _to_device_gradient(g: Tensor, y: Any, x: Any) -> tuple:
    return (g.to(x.device),)


register(
    Primitive("to_device", "transfer", lambda operands, arg: (operands[0].shape, operands[0].dtype))
)  # done at once, by `to`


def cpu(input: Tensor) -> Tensor:
    """The tensor on an OpenCL device for the CPU: itself if it is on one. RuntimeError where there is none.

    `.numpy()` gives the elements in any case, from any device.
    """
    return input if input.device.kind == "cpu" else to(input, "cpu")


def cuda(input: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """Raises NotImplementedError: netcl's devices are OpenCL ones, and .to("gpu") is the way to a GPU."""
    raise NotImplementedError(
        'cuda: netcl runs on OpenCL devices, which have other names: .to("gpu"), .to("opencl:0"); '
        "nc.devices() lists them"
    )


def is_complex(input: Tensor) -> bool:
    """False: netcl has no complex dtypes."""
    check_devices("is_complex", input)
    return False


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape."""
    return input.shape == other.shape


def _caster(name: str, dtype: DType) -> Callable[[Tensor], Tensor]:
    def function(input: Tensor) -> Tensor:
        return cast(input, dtype)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The same values in {dtype.name}."
    return function


_CASTS = {
    "bfloat16": dtypes.bfloat16, "bool": dtypes.bool_, "byte": dtypes.uint8, "char": dtypes.int8,
    "double": dtypes.float64, "float": dtypes.float32, "half": dtypes.float16, "int": dtypes.int32,
    "long": dtypes.int64, "short": dtypes.int16,
}  # fmt: skip
# Methods with names that Python itself has too.
METHODS_BY_NAME: dict[str, Any] = {name: _caster(name, dtype) for name, dtype in _CASTS.items()}


# ---- dtypes by the names of PyTorch's older tensor classes ------------------------------------------------------


class _TensorClass(type):
    """Makes FloatTensor and the like: isinstance() asks for the dtype, a call makes a tensor of it."""

    dtype: DType

    def __instancecheck__(cls, instance: Any) -> Any:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:
        if len(args) == 1 and isinstance(args[0], Tensor):
            if args[0].dtype is not cls.dtype:
                raise TypeError(f"{cls.__name__}: expected {cls.dtype}, got {args[0].dtype}; use .to(dtype)")
            return args[0].detach().to(device)
        if not args or isinstance(args[0], (Size, int)):
            return creation.empty(*(args or (0,)), dtype=cls.dtype, device=device)
        if len(args) == 1 and (hasattr(args[0], "__array__") or isinstance(args[0], (list, tuple))):
            return Tensor._wrap(from_data(args[0], cls.dtype, device))
        raise TypeError(f"{cls.__name__}: expected sizes, a sequence or an array, got {args}")


_CLASSES = {
    "BFloat16Tensor": dtypes.bfloat16, "BoolTensor": dtypes.bool_, "ByteTensor": dtypes.uint8,
    "CharTensor": dtypes.int8, "DoubleTensor": dtypes.float64, "FloatTensor": dtypes.float32,
    "HalfTensor": dtypes.float16, "IntTensor": dtypes.int32, "LongTensor": dtypes.int64, "ShortTensor": dtypes.int16,
}  # fmt: skip


def _class(name: str) -> _TensorClass:
    dtype = _CLASSES[name]
    text = f"{name}(sequence) or {name}(*sizes): a {dtype.name} tensor. isinstance(x, {name}) asks for that dtype."
    return _TensorClass(name, (), {"dtype": dtype, "__doc__": text, "__module__": "netcl"})


BFloat16Tensor, BoolTensor, ByteTensor = _class("BFloat16Tensor"), _class("BoolTensor"), _class("ByteTensor")
CharTensor, DoubleTensor, FloatTensor = _class("CharTensor"), _class("DoubleTensor"), _class("FloatTensor")
HalfTensor, IntTensor, LongTensor = _class("HalfTensor"), _class("IntTensor"), _class("LongTensor")
ShortTensor = _class("ShortTensor")

__all__ = [*_CLASSES, "is_complex", "is_same_size"]


def change_type(input: Tensor, dtype: Any = None, non_blocking: Any = False) -> Any:
    """Without dtype, a name such as 'netcl.FloatTensor'; else the tensor in that dtype.

    dtype is nc.int32, nc.IntTensor or 'torch.IntTensor'. ValueError for another name.
    """
    if dtype is None:
        return next(f"netcl.{name}" for name, own in _CLASSES.items() if own is input.dtype)
    if isinstance(dtype, str):
        package, _, name = dtype.rpartition(".")
        if package not in ("torch", "netcl") or name not in _CLASSES:
            raise ValueError(f"type: invalid type {dtype!r}; names are netcl.{', netcl.'.join(_CLASSES)}")
        dtype = _CLASSES[name]
    elif isinstance(dtype, _TensorClass):
        dtype = dtype.dtype
    if not isinstance(dtype, DType):
        raise ValueError(f"type: invalid type {dtype!r}; expected a dtype such as nc.float32")
    return cast(input, dtype)


METHODS_BY_NAME["type"] = change_type
METHODS_BY_NAME["is_cuda"] = property(lambda input: False, doc="False: netcl's devices are OpenCL ones.")
METHODS_BY_NAME["is_cpu"] = property(lambda input: input.device.kind == "cpu", doc="Whether it is on a CPU's device.")


def type_as(input: Tensor, other: Tensor) -> Tensor:
    """input in other's dtype, on its device."""
    if not isinstance(other, Tensor):
        raise TypeError(f"type_as: expected a tensor, got {type(other).__name__}; .to(dtype) takes dtypes")
    return to(input, other)
