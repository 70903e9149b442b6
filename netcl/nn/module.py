"""Module: a function with parameters, buffers and parts, under PyTorch's names and rules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from netcl.autograd.tape import no_grad
from netcl.core import dtypes
from netcl.core.device import Device
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.graph.effects import surroundings
from netcl.nn.hooks import RemovableHandle, add_hook, call_with_hooks
from netcl.nn.state import EXTRA_STATE, IncompatibleKeys, load_into
from netcl.nn.tree import Tree
from netcl.ops.creation import full
from netcl.storage import leave
from netcl.tensor import Tensor


class Module(Tree):
    """The base of layers, losses and models: assign Parameters and Modules as attributes, write `forward`.

    >>> import netcl as nc
    >>> class Scale(nc.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = nc.nn.Parameter(nc.ones(1))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> [name for name, _ in Scale().named_parameters()]
    ['factor']
    """

    training: bool
    _hooked = False  # whether a call has to look for hooks

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self) -> None:
        super().__init__()
        values = self.__dict__
        values["training"] = True
        values["_forward_hooks"] = {}
        values["_forward_pre_hooks"] = {}
        values["_backward_hooks"] = {}
        values["_backward_pre_hooks"] = {}
        values["_always_called"] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooked:
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; a subclass writes it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    # ---- changing all of it ----

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call fn with every part, and with this module last."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self, convert: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the elements of every parameter, gradient and buffer; the Parameter objects stay the same."""
        with no_grad():
            for tensor in [*self.parameters(recurse), *self.buffers(recurse)]:
                converted = convert(tensor.detach())
                if converted._value is not tensor._value:
                    leave(tensor)  # whoever shared the old elements keeps them
                    surroundings.changes += 1
                    tensor._assign(converted._value)
                if tensor.grad is not None:
                    tensor.grad = convert(tensor.grad.detach())
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move to a device and/or change the dtype of what is floating: to(device), to(dtype), to(tensor) or both."""
        target, dtype = _parse_to(args, kwargs)
        if dtype is not None and dtype.category != 2:
            raise TypeError(f"Module.to only accepts floating-point dtypes, but got {dtype}")

        def convert(tensor: Tensor) -> Tensor:
            return tensor.to(device=target, dtype=dtype if tensor.is_floating_point() else None)

        return self._apply(convert)

    def float(self) -> Self:
        """Floating parameters and buffers as float32."""
        return self.to(dtypes.float32)

    def double(self) -> Self:
        """Floating parameters and buffers as float64."""
        return self.to(dtypes.float64)

    def half(self) -> Self:
        """Floating parameters and buffers as float16."""
        return self.to(dtypes.float16)

    def bfloat16(self) -> Self:
        """Floating parameters and buffers as bfloat16."""
        return self.to(dtypes.bfloat16)

    def type(self, dst_type: DType) -> Self:
        """Every parameter and buffer in another dtype."""
        return self._apply(lambda tensor: tensor.to(dst_type))

    def cpu(self) -> Self:
        """Move to the CPU device."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Self:
        """Raises NotImplementedError: netcl's devices are OpenCL ones, and .to("gpu") is the way to a GPU."""
        raise NotImplementedError(
            'cuda: netcl runs on OpenCL devices, which have other names: .to("gpu"), .to("opencl:0"); '
            "nc.devices() lists them"
        )

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move to a device without the elements: zeros stand in until they are loaded or drawn anew."""
        target = find_device(device)
        return self._apply(lambda t: full(t.shape, 0, t.dtype, target).clone(), recurse)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: calls are recorded and compiled into fused kernels anyway. Arguments are PyTorch's hints."""

    def share_memory(self) -> Self:
        """Not here: parameters are in device memory, which processes don't share."""
        raise NotImplementedError("share_memory: parameters are in device memory; send a state_dict of NumPy arrays")

    def train(self, mode: bool = True) -> Self:
        """Set training mode here and in every part (dropout is active); `train(False)` is `eval()`."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode here and in every part."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Turn gradients on or off for every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget every gradient, or set it to zeros."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else parameter.grad.detach() * 0

    # ---- hooks ----

    def _hooks_changed(self) -> None:
        self._hooked = bool(
            self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks
        )

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args, result) after forward; what it returns, if not None, replaces the result.

        always_call: also where forward or an earlier hook raises, with None for the result.
        """
        handle = add_hook(self._forward_hooks, hook, prepend, with_kwargs, self._hooks_changed)
        if always_call:
            self._always_called.add(handle.id)
        return handle

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args) before forward; what it returns, if not None, replaces the arguments."""
        return add_hook(self._forward_pre_hooks, hook, prepend, with_kwargs, self._hooks_changed)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_input, grad_output) when the gradients of the positional arguments are there; a tuple
        that it returns replaces grad_input. Both are tuples, with None for what is no tensor or has no gradient."""
        return _add_plain(self._backward_hooks, hook, prepend, self._hooks_changed)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_output) before the way back through the module; a tuple that it returns replaces
        grad_output."""
        return _add_plain(self._backward_pre_hooks, hook, prepend, self._hooks_changed)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """Not here: PyTorch deprecates it for its surprising gradients."""
        raise NotImplementedError("register_backward_hook is deprecated; use register_full_backward_hook")

    # ---- state ----

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters, saved buffers and extra states by dotted name, detached unless keep_vars: an OrderedDict.

        destination: a dict to put them into; prefix: what every name starts with.
        """
        if args:
            raise TypeError("state_dict: pass destination, prefix and keep_vars by keyword")
        state: dict[str, Any] = OrderedDict() if destination is None else destination
        for path, module in self.named_modules(remove_duplicate=False):
            start = f"{prefix}{path}." if path else prefix
            module._save_own(state, start, keep_vars)
        return state

    def _save_own(self, state: dict[str, Any], start: str, keep_vars: bool) -> None:
        for hook in self.__dict__.get("_state_pre_hooks", {}).values():
            hook(self, start, keep_vars)
        saved = [name for name, persistent in self._buffer_names.items() if persistent]
        for name in [*self._parameter_names, *saved]:
            tensor = self.__dict__[name]
            if tensor is not None:
                state[start + name] = tensor if keep_vars else tensor.detach()
        if type(self).get_extra_state is not Module.get_extra_state:
            state[start + EXTRA_STATE] = self.get_extra_state()
        for hook in self.__dict__.get("_state_hooks", {}).values():
            hook(self, state, start, {})

    def get_extra_state(self) -> Any:
        """What else a subclass wants saved in state_dict, under `_extra_state`; set_extra_state gets it back."""
        raise RuntimeError("get_extra_state: a module that has an extra state writes both methods")

    def set_extra_state(self, state: Any) -> None:
        """Take back what get_extra_state gave."""
        raise RuntimeError("set_extra_state: a module that has an extra state writes both methods")

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call hook(module, prefix, keep_vars) before this module's own part of a state_dict is made."""
        return _add_plain(self.__dict__.setdefault("_state_pre_hooks", {}), hook, False, _nothing)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call hook(module, state_dict, prefix, local_metadata) after this module's own part; it may change the dict.
        PyTorch's state_dict has metadata, here it is an empty dict."""
        return _add_plain(self.__dict__.setdefault("_state_hooks", {}), hook, False, _nothing)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        before load_state_dict compares; it may change the (copied) dict and add to the lists."""
        return _add_plain(self.__dict__.setdefault("_load_pre_hooks", {}), hook, False, _nothing)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call hook(module, incompatible_keys) after load_state_dict; it may change the lists of keys."""
        return _add_plain(self.__dict__.setdefault("_load_hooks", {}), hook, False, _nothing)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Take over tensors by name, cast to this module's dtypes and devices (`assign`: as they are).

        RuntimeError lists every missing key, unexpected key and differing shape at once, and nothing is changed then.
        Not `strict`: missing and unexpected keys are returned instead.
        """
        return load_into(self, state_dict, strict, assign)

    # ---- text ----

    def extra_repr(self) -> str:
        """What repr says about this module besides its parts."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        parts = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]
        extra = self.extra_repr()
        if not parts and "\n" not in extra:
            return f"{self._get_name()}({extra})"
        lines = (extra.split("\n") if extra else []) + parts
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


def _add_plain(hooks: dict, hook: Callable, prepend: bool, on_change: Callable[[], None]) -> RemovableHandle:
    """As add_hook, for hooks of one kind only: kept without a mark."""
    handle = add_hook(hooks, hook, prepend, False, on_change)
    hooks[handle.id] = hook
    return handle


def _nothing() -> None:
    """Where nothing depends on whether there are hooks."""


def _parse_to(args: tuple, kwargs: dict[str, Any]) -> tuple[Device | None, DType | None]:
    """The arguments of Module.to as (device, dtype); TypeError for anything else."""
    unknown = set(kwargs) - {"device", "dtype", "non_blocking", "copy"}
    if unknown:
        raise TypeError(f"to() got an unexpected keyword argument {sorted(unknown)[0]!r}")
    target, dtype = kwargs.get("device"), kwargs.get("dtype")
    for arg in args:
        if isinstance(arg, DType):
            dtype = arg
        elif isinstance(arg, Tensor):
            target, dtype = arg.device, arg.dtype
        elif arg is None or isinstance(arg, (str, int, Device)):
            target = arg
        else:
            raise TypeError(f"to() takes a device, a dtype or a tensor, not {type(arg).__name__}")
    return (None if target is None else find_device(target)), dtype
