"""Module: a function with parameters, buffers and parts, under PyTorch's names and rules.

Parameters, buffers and children live in the instance's own `__dict__`, so that reading `self.weight` costs no call;
the module remembers only their names and order. `_parameters`, `_buffers` and `_modules` are read-only pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from netcl.autograd.tape import no_grad
from netcl.core import dtypes
from netcl.core.device import Device, device as find_device
from netcl.core.dtypes import DType
from netcl.nn.hooks import RemovableHandle, add_hook, call_with_hooks
from netcl.nn.parameter import Parameter
from netcl.nn.state import IncompatibleKeys, load_into
from netcl.tensor import Tensor


class Module:
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
        values = self.__dict__
        values["training"] = True
        values["_parameter_names"] = {}
        values["_buffer_names"] = {}  # name -> whether it is saved in state_dict
        values["_module_names"] = {}
        values["_forward_hooks"] = {}
        values["_forward_pre_hooks"] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooked:
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; a subclass writes it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    # ---- attributes ----

    def __setattr__(self, name: str, value: Any) -> None:
        values = self.__dict__
        if isinstance(value, Parameter):
            self.register_parameter(name, value, _replace=True)
        elif isinstance(value, Module):
            self._require_init("module")
            self._forget(name)
            values["_module_names"][name] = None
            values[name] = value
        elif name in values.get("_parameter_names", ()):
            if value is not None:
                raise _wrong_kind("as parameter", name, value, "Parameter")
            values[name] = None
        elif name in values.get("_module_names", ()):
            if value is not None:
                raise _wrong_kind("as child module", name, value, "Module")
            values[name] = None
        elif name in values.get("_buffer_names", ()):
            if value is not None and not isinstance(value, Tensor):
                raise _wrong_kind("as buffer", name, value, "Tensor")
            values[name] = value
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._forget(name)

    def __dir__(self) -> list[str]:
        return sorted(set(dir(type(self))) | {name for name in self.__dict__ if name.isidentifier()})

    def _forget(self, name: str) -> None:
        for kind in ("_parameter_names", "_buffer_names", "_module_names"):
            self.__dict__.get(kind, {}).pop(name, None)

    def _require_init(self, what: str) -> None:
        if "_parameter_names" not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call; call super().__init__() first")

    def _check_name(self, what: str, name: Any, known: str, replace: bool = False) -> None:
        self._require_init(what)
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string, got {type(name).__name__}")
        if "." in name:
            raise KeyError(f"{what} name can't contain '.', got {name!r}")
        if name == "":
            raise KeyError(f"{what} name can't be empty string ''")
        if not replace and hasattr(self, name) and name not in self.__dict__[known]:
            raise KeyError(f"attribute {name!r} already exists")

    def register_parameter(self, name: str, param: Parameter | None, *, _replace: bool = False) -> None:
        """Add a parameter, or None for one that is absent in this configuration."""
        self._check_name("parameter", name, "_parameter_names", _replace)
        if param is not None:
            if not isinstance(param, Parameter):
                raise _wrong_kind("as parameter", name, param, "Parameter")
            if param._node is not None:
                raise ValueError(f"cannot assign a tensor with a history to parameter '{name}'; parameters are leaves")
        if name not in self._parameter_names:
            self._forget(name)
            self._parameter_names[name] = None
        self.__dict__[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that moves and is saved with the module but is not trained."""
        self._check_name("buffer", name, "_buffer_names")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise _wrong_kind("as buffer", name, tensor, "Tensor")
        self._buffer_names[name] = persistent
        self.__dict__[name] = tensor

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a part under a name; None for one that is absent in this configuration."""
        self._check_name("module", name, "_module_names")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._module_names[name] = None
        self.__dict__[name] = module

    register_module = add_module

    def _pictured(self, names: str) -> Mapping[str, Any]:
        values = self.__dict__
        return MappingProxyType({name: values[name] for name in values[names]})

    @property
    def _parameters(self) -> Mapping[str, Parameter | None]:
        return self._pictured("_parameter_names")

    @property
    def _buffers(self) -> Mapping[str, Tensor | None]:
        return self._pictured("_buffer_names")

    @property
    def _modules(self) -> Mapping[str, Module | None]:
        return self._pictured("_module_names")

    # ---- walking ----

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and every part below it, with dotted names; one that occurs twice is given once."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and every part below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct parts with their names."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The direct parts."""
        return (child for _, child in self.named_children())

    def _named_members(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name in module.__dict__[kind]:
                member = module.__dict__[name]
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its dotted name; a shared one is given once."""
        return self._named_members("_parameter_names", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Every parameter; a shared one is given once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Every buffer with its dotted name."""
        return self._named_members("_buffer_names", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Every buffer."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The part with a dotted name; AttributeError naming what is missing."""
        module: Any = self
        for part in target.split(".") if target else ():
            if not hasattr(module, part):
                raise AttributeError(f"{type(module).__name__} has no attribute `{part}`")
            module = getattr(module, part)
            if not isinstance(module, Module):
                raise AttributeError(f"`{part}` is not a Module")
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with a dotted name; AttributeError naming what is missing."""
        path, _, name = target.rpartition(".")
        found = getattr(self.get_submodule(path), name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not a Parameter")
        return found

    # ---- changing all of it ----

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call fn with every part, and with this module last."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self, convert: Callable[[Tensor], Tensor]) -> Self:
        """Replace the elements of every parameter, gradient and buffer; the Parameter objects stay the same."""
        with no_grad():
            for tensor in [*self.parameters(), *self.buffers()]:
                converted = convert(tensor.detach())
                if converted._value is not tensor._value:
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
        self._hooked = bool(self._forward_hooks or self._forward_pre_hooks)

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args, result) after forward; what it returns, if not None, replaces the result."""
        return add_hook(self._forward_hooks, hook, prepend, with_kwargs, self._hooks_changed)

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args) before forward; what it returns, if not None, replaces the arguments."""
        return add_hook(self._forward_pre_hooks, hook, prepend, with_kwargs, self._hooks_changed)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Not here: use Tensor.register_hook on the module's parameters."""
        raise NotImplementedError("register_full_backward_hook is not in netcl; use Tensor.register_hook on parameters")

    # ---- state ----

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Parameters and saved buffers by dotted name, detached unless keep_vars."""
        state: dict[str, Tensor] = {}
        for path, module in self.named_modules(prefix=prefix.rstrip("."), remove_duplicate=False):
            saved = [name for name, persistent in module._buffer_names.items() if persistent]
            for name in [*module._parameter_names, *saved]:
                tensor = module.__dict__[name]
                if tensor is not None:
                    state[f"{path}.{name}" if path else name] = tensor if keep_vars else tensor.detach()
        return state

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
        if not parts:
            return f"{self._get_name()}({extra})"
        lines = (extra.split("\n") if extra else []) + parts
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


def _wrong_kind(role: str, name: str, value: Any, expected: str) -> TypeError:
    return TypeError(f"cannot assign '{type(value).__name__}' {role} '{name}' ({expected} or None expected)")


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
