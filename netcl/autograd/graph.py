"""The graph itself: its nodes, and hooks on the tensors that it saves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netcl.autograd import tape
from netcl.autograd.tape import Node, _GradMode
from netcl.graph.primitives import TABLE
from netcl.graph.transfer import upload
from netcl.tensor import Tensor


class saved_tensors_hooks:
    """In the block, what an operation saves for its gradient is pack_hook(tensor), and unpack_hook brings it back.

    Both run without gradients; unpack_hook must return a tensor of the shape, dtype and device that pack_hook got.
    Python numbers are not packed.

    >>> import netcl as nc
    >>> x = nc.tensor([3.0], requires_grad=True)
    >>> with nc.autograd.graph.saved_tensors_hooks(lambda t: t.numpy(), nc.tensor):
    ...     y = x * x
    >>> y.backward()
    >>> x.grad
    tensor([6.])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if tape._state.packing_refused is not None:
            raise RuntimeError(tape._state.packing_refused)
        tape._state.packing.append(self)

    def __exit__(self, *_error: object) -> None:
        tape._state.packing.pop()

    def pack(self, node: Any) -> None:
        """Replace the values that a node saved by what the hook makes of them."""
        with _GradMode(False), _unhooked():
            saved = [self._packed_entry(*entry) for entry in node.saved]
            result = [item if isinstance(item, tuple) or item is None else self._packed(item) for item in node.result]
        if any(type(item) is _Packed for entry in (*saved, result) for item in entry):
            node.saved, node.result, node.packing = saved, result, self

    def _packed_entry(self, tensor: Any, value: Any, version: Any) -> tuple:
        if tensor is None or isinstance(tensor, tuple) or value.number is not None:  # nothing, a shape, a Python number
            return tensor, value, version
        if type(tensor) is int:  # a Function's own result
            return tensor, self._packed(value), version
        return self._packed(value, tape.edge_of(tensor)), None, None

    def _packed(self, value: Any, edge: Any = None) -> _Packed:
        return _Packed(self.pack_hook(Tensor._wrap(value)), value.shape, value.dtype, value.device, edge)

    def unpack(self, node: Any) -> tuple[list[Any], list[Any]]:
        """(saved, result) as the gradient's rule wants them."""
        with _unhooked():
            saved = [self._unpacked_entry(node, *entry) for entry in node.saved]
            return saved, [self._unpacked(node, r) if type(r) is _Packed else r for r in node.result]

    def _unpacked_entry(self, node: Any, tensor: Any, value: Any, version: Any) -> tuple:
        if type(value) is _Packed:
            return tensor, self._unpacked(node, value), version
        if type(tensor) is not _Packed:
            return tensor, value, version
        value = self._unpacked(node, tensor)
        return _stand_in(tensor.edge, value), value, 0

    def _unpacked(self, node: Any, item: _Packed) -> Any:
        with _GradMode(False):
            tensor = self.unpack_hook(item.content)
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{node.op}: unpack_hook must return a Tensor, got {type(tensor).__name__}")
        if (tuple(tensor.shape), tensor.dtype, tensor.device) != (tuple(item.shape), item.dtype, item.device):
            raise RuntimeError(
                f"{node.op}: unpack_hook returned shape {list(tensor.shape)}, {tensor.dtype} on {tensor.device}; "
                f"what was packed had {list(item.shape)}, {item.dtype} on {item.device}"
            )
        return tensor._value


class _Packed:
    """What pack_hook made of a value, and the value's place in the graph: the tensor itself is not kept."""

    __slots__ = ("content", "device", "dtype", "edge", "shape")

    def __init__(self, content: Any, shape: Any, dtype: Any, device: Any, edge: Any) -> None:
        self.content = content
        self.shape = shape
        self.dtype = dtype
        self.device = device
        self.edge = edge


class _unhooked:
    """What the hooks themselves compute is not packed."""

    def __enter__(self) -> None:
        self.outer, tape._state.packing = tape._state.packing, []

    def __exit__(self, *_error: object) -> None:
        tape._state.packing = self.outer


def _stand_in(edge: Any, value: Any) -> Any:
    """An unpacked value at its place in the graph."""
    tensor = Tensor._wrap(value)
    if edge is not None and edge[1] >= 0:
        tensor._tracked, (tensor._node, tensor._output) = True, edge
    elif edge is not None:
        rule = TABLE["copy"].gradient
        assert rule is not None
        tape._connect("copy", rule, edge[:1], None, (tensor,))
    return tensor


class save_on_cpu(saved_tensors_hooks):
    """In the block, what is saved for gradients is kept in host memory. Each tensor is read when it is saved, which
    runs what is pending and waits: it takes time to save device memory. pin_memory and device_type are without
    effect."""

    def __init__(self, pin_memory: bool = False, device_type: str | None = None) -> None:
        def to_host(tensor: Tensor) -> tuple[np.ndarray, Any]:
            return tensor.numpy(), tensor.device

        def to_device(kept: tuple[np.ndarray, Any]) -> Tensor:
            array, device = kept
            return Tensor._wrap(upload(array, device))

        super().__init__(to_host, to_device)


class disable_saved_tensors_hooks:
    """In the block, entering saved_tensors_hooks raises RuntimeError with the given text."""

    def __init__(self, error_message: str) -> None:
        self.error_message = error_message

    def __enter__(self) -> None:
        if tape._state.packing:
            raise RuntimeError("disable_saved_tensors_hooks: hooks are active already; leave their block first")
        self.outer, tape._state.packing_refused = tape._state.packing_refused, self.error_message

    def __exit__(self, *_error: object) -> None:
        tape._state.packing_refused = self.outer


__all__ = ["Node", "disable_saved_tensors_hooks", "save_on_cpu", "saved_tensors_hooks"]
