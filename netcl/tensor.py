"""Tensor: PyTorch's surface over a lazy value.

Methods that compute live in `netcl.ops` and are attached from the table in `netcl.ops.methods`; here is what a tensor
is: a value, its place in the gradient graph, and the ways to get it to the host.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from netcl.core import dtypes
from netcl.core.device import Device
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.graph.batching import active
from netcl.graph.effects import surroundings
from netcl.graph.transfer import to_host
from netcl.graph.value import Value, _pending

_new = object.__new__


class Size(tuple):
    """A shape: a tuple of ints with `numel()`. Its parts, sums and multiples are shapes too."""

    __slots__ = ()

    def numel(self) -> int:
        """How many elements an array of this shape has."""
        return prod(self)

    def __getitem__(self, index: Any) -> Any:
        part = tuple.__getitem__(self, index)
        return Size(part) if type(index) is slice else part

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: tuple) -> Size:
        return Size(other + tuple(self))

    def __mul__(self, times: Any) -> Size:
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"netcl.Size({list(self)})"


class HookHandle:
    """What registering a hook returns: `remove()` takes the hook out again."""

    __slots__ = ("_hooks",)

    def __init__(self, hooks: dict):
        self._hooks = hooks

    def remove(self) -> None:
        """Take the hook out; a second time does nothing."""
        self._hooks.pop(self, None)
        surroundings.changes += 1


class Tensor:
    """An array on an OpenCL device that remembers how it was made.

    Tensor(data) is a copy of nested lists or of a NumPy array in the default dtype, float32, even of integers
    (nc.tensor keeps those). Tensor(2, 3) has arbitrary elements of that shape. Tensor(tensor) shares its elements.

    >>> import netcl as nc
    >>> nc.Tensor([[1, 2]])
    tensor([[1., 2.]])
    """

    # What most tensors have is kept on the class: making a tensor is the hot path of recording.
    _tracked = False  # requires_grad, without the check on setting it
    _grad: Tensor | None = None
    _node: Any = None
    _output = 0
    _version = 0
    _hooks: dict | None = None
    _storage: Any = None  # who shares its elements, see netcl.storage; None: nobody
    _chain: tuple = ()  # the views that lead to it from the whole storage
    _family = 0  # those of a storage that are in one gradient graph
    _quiet = False  # writes to it do not count for what was saved for a gradient (`.data`)
    _accumulate_hooks: dict | None = None
    _watched = False  # by a compiled function: see netcl.jit
    __array_priority__ = 1000  # NumPy leaves `array * tensor` to the tensor

    if TYPE_CHECKING:  # attached by netcl.ops.methods

        def __getattr__(self, name: str) -> Any: ...
        def __eq__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __getitem__(self, index: Any) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...

    def __init__(self, *data: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False):
        from netcl.ops.host_data import from_data
        from netcl.storage import share_detached

        first = data[0] if data else 0
        if isinstance(first, (Size, int)) and not isinstance(first, bool):
            shape = first if isinstance(first, Size) else data or (0,)
            self._value = _arbitrary(shape, dtype or dtypes.default_float, find_device(device))
        elif len(data) > 1 or isinstance(first, (bool, float, np.generic)):
            raise TypeError(
                f"Tensor: expected one sequence, array or tensor, or sizes, got {data}; nc.tensor(...) takes numbers"
            )
        elif isinstance(first, Tensor) and dtype is None and device is None:
            self._value = first._value
            share_detached(self, first)
        else:
            self._value = from_data(first, dtype or dtypes.default_float, device)
        if requires_grad:
            self.requires_grad_()

    @classmethod
    def _wrap(cls, value: Value) -> Tensor:
        tensor = _new(Tensor)
        tensor._value = value
        return tensor

    @staticmethod
    def from_host(array: Any, device: Any = None, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
        """A tensor with a copy of a host array (anything NumPy takes), on the current device."""
        from netcl.ops.host_data import from_data

        tensor = Tensor._wrap(from_data(np.asarray(array), dtype, device))
        return tensor.requires_grad_() if requires_grad else tensor

    # ---- what it is ----

    @property
    def shape(self) -> Size:
        return Size(self._value.shape)

    @property
    def dtype(self) -> DType:
        return self._value.dtype

    @property
    def device(self) -> Device:
        return self._value.device

    @property
    def ndim(self) -> int:
        return len(self._value.shape)

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self._value.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension; IndexError where there is no such."""
        return self.shape if dim is None else self._value.shape[dim]

    def numel(self) -> int:
        """How many elements there are."""
        return prod(self._value.shape)

    nelement = numel

    def element_size(self) -> int:
        """How many bytes an element takes."""
        return self._value.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self.element_size()

    def is_floating_point(self) -> bool:
        """Whether the dtype is float16, bfloat16, float32 or float64."""
        return self._value.dtype.category == 2

    @property
    def is_leaf(self) -> bool:
        return self._node is None

    @property
    def grad_fn(self) -> Any:
        return self._node

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are asked of this tensor. Setting it is requires_grad_()."""
        return self._tracked

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        self.requires_grad_(requires_grad)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for gradients of this tensor; RuntimeError for dtypes that have none."""
        if requires_grad and self._value.dtype.category != 2:
            raise RuntimeError(
                f"only floating-point tensors can require gradients, this one is {self.dtype}; "
                "convert it with .float() first"
            )
        if requires_grad and self._node is None and active.maps:
            raise RuntimeError(
                "requires_grad_ inside vmap: what arrives in .grad would belong to all samples; take derivatives there "
                "with nc.func.grad, vjp or jacrev, or call it outside"
            )
        if not requires_grad and self._node is not None:
            raise RuntimeError("only leaf tensors can have requires_grad turned off; use .detach() for a result")
        self._tracked = bool(requires_grad)
        if self._watched:
            surroundings.changes += 1
        return self

    # ---- gradients ----

    @property
    def grad(self) -> Tensor | None:
        """What backward() has added up for this leaf. Setting it to another shape, dtype or device raises."""
        return self._grad

    @grad.setter
    def grad(self, gradient: Tensor | None) -> None:
        if gradient is not None:
            if not isinstance(gradient, Tensor):
                raise TypeError(f"grad: expected a Tensor or None, got {type(gradient).__name__}")
            own, given = self._value, gradient._value
            if (own.shape, own.dtype, own.device) != (given.shape, given.dtype, given.device):
                raise RuntimeError(
                    f"grad: a gradient of shape {list(given.shape)}, {given.dtype} on {given.device} does not fit a "
                    f"tensor of shape {list(own.shape)}, {own.dtype} on {own.device}"
                )
        self._grad = gradient

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False,
        inputs: Any = None,
    ) -> None:  # fmt: skip
        """Add the gradients of this tensor to the `.grad` of the leaves it was computed from, or just of `inputs`.

        `gradient` (this tensor's shape) is what to start from; a scalar needs none. RuntimeError without a graph, or
        the second time without `retain_graph`.
        """
        from netcl.autograd.gradients import backward

        backward(self, None if gradient is None else (gradient,), retain_graph, create_graph, inputs=inputs)

    def detach(self) -> Tensor:
        """The same elements, outside the gradient graph: what is written to one is seen in the other."""
        from netcl.storage import share_detached

        return share_detached(Tensor._wrap(self._value), self)

    @property
    def data(self) -> Tensor:
        """The same elements, outside the gradient graph, which does not notice writes to them."""
        tensor = self.detach()
        tensor._quiet = True
        return tensor

    @data.setter
    def data(self, tensor: Tensor) -> None:
        from netcl.storage import leave, share_detached

        if not isinstance(tensor, Tensor):
            raise TypeError(f"data: expected a Tensor, got {type(tensor).__name__}; wrap it in nc.tensor(...)")
        leave(self)
        surroundings.changes += 1
        self._value = tensor._value
        share_detached(self, tensor)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call `hook(gradient)` with this tensor's whole gradient; what it returns replaces the gradient.

        RuntimeError for a tensor that requires none. The handle's `remove()` takes the hook out again.
        """
        from netcl.autograd.hooks import on_gradient

        return on_gradient(self, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> HookHandle:
        """Call `hook(tensor)` after a gradient has been added to this leaf's `.grad`. RuntimeError for results."""
        from netcl.autograd.hooks import after_accumulation

        return after_accumulation(self, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of a result in its `.grad` too (leaves do so anyway). Hooks come before that."""
        from netcl.autograd.hooks import retain

        retain(self)

    @property
    def retains_grad(self) -> bool:
        """Whether this is a result that keeps its gradient."""
        from netcl.autograd.hooks import retains

        return retains(self)

    def is_inference(self) -> bool:
        """False: tensors made in inference_mode are ordinary ones here, outside the gradient graph."""
        return False

    # ---- to the host ----

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The values as a new NumPy array. Runs what is pending, and waits. force=True detaches first."""
        if self.requires_grad and not force:
            raise RuntimeError("can't call numpy() on a tensor that requires a gradient; use tensor.detach().numpy()")
        return to_host(self._value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a tensor's elements are on a device: they can only be copied to an array")
        array = self.numpy()
        return array if dtype is None else array.astype(dtype)

    def item(self) -> Any:
        """The only element as a Python number. Runs what is pending, and waits."""
        if self.numel() != 1:
            raise RuntimeError(
                f"a tensor with {self.numel()} elements cannot be converted to a scalar; index or reduce it first"
            )
        recorder = _pending.recorder
        return to_host(self._value).reshape(()).item() if recorder is None else recorder.item(self._value)

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers, or one number. Runs what is pending, and waits."""
        return to_host(self._value).tolist()

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise RuntimeError(
                f"the truth of a tensor with {self.numel()} elements is ambiguous; use .any() or .all()"
            )
        return bool(self.item())

    def _only(self) -> Any:
        if self.numel() != 1:
            raise ValueError(
                f"a tensor with {self.numel()} elements cannot be converted to a Python number; "
                "index or reduce it first"
            )
        return self.item()

    def __float__(self) -> float:
        return float(self._only())

    def __int__(self) -> int:
        return int(self._only())

    def __index__(self) -> int:
        if self.dtype.category == 2:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return operator.index(self._only())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if not self.shape and type(self) is Tensor else object.__format__(self, spec)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter([self[i] for i in range(self.shape[0])])

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        from netcl.printing import tensor_text

        return tensor_text(self)

    def __deepcopy__(self, memo: dict) -> Tensor:
        if self._node is not None:
            raise RuntimeError("only leaf tensors can be deep-copied; detach() a result first")
        from netcl.storage import share_copied

        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied._value = self._value
        share_copied(copied, self, memo)
        own = {name: value for name, value in self.__dict__.items() if name[0] != "_"}  # what the user has set on it
        copied.__dict__.update(copy.deepcopy(own, memo))
        copied._tracked = self._tracked
        copied._grad = None if self._grad is None else copy.deepcopy(self._grad.detach(), memo)
        return copied

    # ---- new values under the same name (optimizers, in-place operations) ----

    def _assign(self, value: Value) -> None:
        """The tensor, and all that share its elements, become `value`, outside the gradient graph."""
        if self._storage is None and self._node is None and not value.level:
            self._value = value
            self._version += 1
            return
        from netcl.storage import assign

        assign(self, value)


def _arbitrary(shape: Sequence[int], dtype: DType, device: Device) -> Value:
    """Whatever the memory held before."""
    if not all(isinstance(size, int) for size in shape):
        raise TypeError(f"Tensor: expected sizes that are integers, got {tuple(shape)}")
    if any(size < 0 for size in shape):
        raise RuntimeError(f"Tensor: sizes must not be negative, got {list(shape)}")
    device.require(dtype)
    return Value.realised(device.pool.allocate(prod(shape) * dtype.itemsize), tuple(shape), dtype, device)
