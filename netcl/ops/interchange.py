"""Tensors to and from other libraries and processes: DLPack, NumPy's functions, pickle, copy.

A device's memory is its own, so all of these copy through the host, except copy.copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.graph.transfer import to_host, upload
from netcl.tensor import Tensor

__all__ = ["from_dlpack"]
METHODS = ["__array_wrap__", "__copy__", "__dlpack__", "__dlpack_device__", "__reduce_ex__"]

_HOST = (1, 0)  # DLPack's name of the host's memory


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor with a copy of what another library's tensor in host memory holds (NumPy, PyTorch on the CPU, ..).

    BufferError for copy=False, for memory of another kind, and for dtypes that DLPack can't carry to NumPy.
    """
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach().to(device=device, copy=bool(copy))
    if not hasattr(ext_tensor, "__dlpack__"):
        raise TypeError(f"from_dlpack: expected a tensor with __dlpack__, got {type(ext_tensor).__name__}")
    if copy is False:
        raise BufferError("from_dlpack: elements are always copied to the device; leave out copy=False")
    try:
        array = np.from_dlpack(ext_tensor)
        dtypes.from_numpy(array.dtype)
    except (RuntimeError, TypeError) as error:
        raise BufferError(f"from_dlpack: {error}") from error
    return Tensor._wrap(upload(np.ascontiguousarray(array).reshape(array.shape), find_device(device)))


def __dlpack__(
    self: Tensor, *, stream: Any = None, max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None, copy: bool | None = None,
) -> Any:  # fmt: skip
    """The elements, copied to the host, as a DLPack capsule: torch.from_dlpack(tensor), np.from_dlpack(tensor).

    BufferError for copy=False, other places than the host, bfloat16, and tensors that require a gradient.
    """
    if self.requires_grad:
        raise BufferError("__dlpack__: can't export a tensor that requires a gradient; use tensor.detach()")
    if self.dtype is dtypes.bfloat16:
        raise BufferError("__dlpack__: bfloat16 can't be exported; convert with .float() first")
    if copy is False or (dl_device is not None and tuple(map(int, dl_device)) != _HOST):
        raise BufferError("__dlpack__: the elements can only be copied, to the host's memory")
    if stream is not None:
        raise BufferError("__dlpack__: the host's memory has no streams; pass stream=None")
    return to_host(self._value).__dlpack__()


def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    """Where __dlpack__ puts the elements: the host's memory."""
    return _HOST


def __array_wrap__(self: Tensor, array: Any, context: Any = None, return_scalar: bool = False) -> Tensor:
    """What NumPy's functions return for a tensor, np.exp(tensor) say: a tensor."""
    return Tensor.from_host(np.asarray(array), device=self.device)


def __copy__(self: Tensor) -> Tensor:
    """copy.copy: another tensor with the same elements, shared, as a leaf."""
    copied = self.detach()
    copied.__class__ = type(self)
    copied.__dict__.update(_attributes(self))
    copied._tracked = self._tracked
    return copied


def __reduce_ex__(self: Tensor, protocol: Any) -> Any:
    """pickle: elements, dtype, requires_grad and attributes; they go to the device that is current on loading."""
    host = to_host(self._value)
    return _rebuilt, (type(self), host.tobytes(), host.shape, self.dtype, self.requires_grad, _attributes(self))


def _attributes(tensor: Tensor) -> dict:
    """What the user has set on a tensor."""
    return {name: value for name, value in tensor.__dict__.items() if name[0] != "_"}


def _rebuilt(kind: type, raw: bytes, shape: tuple, dtype: DType, requires_grad: bool, attributes: dict) -> Tensor:
    """Undo pickling."""
    tensor: Any = object.__new__(kind)
    tensor.__dict__.update(attributes)
    tensor._value = upload(np.frombuffer(raw, dtype.numpy).reshape(shape), find_device())
    tensor._tracked = requires_grad
    return tensor
