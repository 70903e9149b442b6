"""Parametrizations: a module's parameter computed from others each time it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from netcl.autograd.tape import no_grad
from netcl.nn.containers import ModuleDict
from netcl.nn.module import Module
from netcl.nn.parameter import Parameter
from netcl.storage import leave
from netcl.tensor import Tensor

_cache: dict[tuple[int, str], Tensor] | None = None


@contextmanager
def cached() -> Iterator[None]:
    """Within the block each parametrized parameter is computed once."""
    global _cache
    outer = _cache
    _cache = {} if outer is None else outer
    try:
        yield
    finally:
        _cache = outer


class ParametrizationList(Module):
    """The parametrizations of one parameter, applied one after the other, and what they start from: `original`, or
    `original0`, `original1`, .. where the first one's right_inverse gives several."""

    def __init__(self, modules: Sequence[Module], original: Tensor) -> None:
        super().__init__()
        self.steps: list[str] = []
        for number, module in enumerate(modules):
            self.add_module(str(number), module)
            self.steps.append(str(number))
        start = self._inverted(original)
        self.several = not isinstance(start, Tensor)
        self.names = [f"original{n}" for n in range(len(start))] if self.several else ["original"]
        for name, tensor in zip(self.names, start if self.several else [start], strict=True):
            if isinstance(original, Parameter):
                self.register_parameter(name, Parameter(tensor.detach(), original.requires_grad))
            else:
                self.register_buffer(name, tensor.detach())

    def _inverted(self, value: Tensor) -> Any:
        with no_grad():
            start: Any = value.detach()
            for step in reversed(self.steps):
                inverse = getattr(getattr(self, step), "right_inverse", None)
                start = start if inverse is None else inverse(start)
        return start

    def right_inverse(self, value: Tensor) -> None:
        """Give the originals the values from which the parametrizations make `value`."""
        start = self._inverted(value)
        with no_grad():
            for name, tensor in zip(self.names, start if self.several else [start], strict=True):
                getattr(self, name).copy_(tensor)

    def forward(self) -> Tensor:
        first, *others = [getattr(self, step) for step in self.steps]
        result = first(*[getattr(self, name) for name in self.names])
        for module in others:
            result = module(result)
        return result


def _class_of(module: Module) -> type:
    """The module's class with properties in place of parametrized parameters: one for each module."""
    own = type(module)
    if getattr(own, "_is_parametrized", False):
        return own

    def refuse(self: Any) -> Any:
        raise RuntimeError("parametrized modules are saved by their state_dict() only")

    made = type(f"Parametrized{own.__name__}", (own,), {"_is_parametrized": True, "__getstate__": refuse})
    made.__module__ = own.__module__
    made.__deepcopy__ = _deepcopy  # type: ignore[attr-defined]
    return made


def _deepcopy(module: Any, memo: dict) -> Any:
    from copy import deepcopy

    own = type(module)
    twin: type = type(own.__name__, own.__bases__, dict(own.__dict__))
    copied: Any = object.__new__(twin)
    memo[id(module)] = copied
    copied.__dict__.update(deepcopy(dict(module.__dict__), memo))
    return copied


def _property(name: str) -> property:
    def get(self: Any) -> Tensor:
        key = (id(self), name)
        if _cache is None:
            return self.parametrizations[name]()
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    def put(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(get, put)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """From now on module.tensor_name is parametrization(original) each time it is read; original is trained.

    A parametrization may have right_inverse(value), which gives the original of a value. A second one is applied to
    the first one's result. ValueError for what is no parameter or buffer, or where (not `unsafe`) the shape or dtype
    would change.
    """
    if not isinstance(module, Module) or not isinstance(parametrization, Module):
        raise TypeError("register_parametrization: expected a module, a name, and a parametrization that is a Module")
    if is_parametrized(module, tensor_name):
        earlier = module.parametrizations[tensor_name]
        value = getattr(module, tensor_name).detach()
        if not unsafe:
            _check(value, parametrization)
        number = str(len(earlier.steps))
        earlier.add_module(number, parametrization)
        earlier.steps.append(number)
        return module
    if tensor_name not in (*module._parameter_names, *module._buffer_names):
        raise ValueError(
            f"Module '{type(module).__name__}' does not have a parameter, a buffer, or a parametrized element with "
            f"name '{tensor_name}'"
        )
    original = getattr(module, tensor_name)
    made = ParametrizationList([parametrization], original)
    if not unsafe:
        with no_grad():
            _compare(original, made())
    delattr(module, tensor_name)
    module.__class__ = _class_of(module)
    setattr(type(module), tensor_name, _property(tensor_name))
    if "parametrizations" not in module._module_names:
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = made
    return module


def _check(value: Tensor, parametrization: Module) -> None:
    with no_grad():
        _compare(value, parametrization(value))


def _compare(before: Tensor, after: Any) -> None:
    if not isinstance(after, Tensor) or after.shape != before.shape or after.dtype is not before.dtype:
        raise ValueError(
            f"Registering a parametrization may not change the shape or dtype of the tensor: it was "
            f"{list(before.shape)} {before.dtype}, and becomes {getattr(after, 'shape', after)} "
            f"{getattr(after, 'dtype', '')}; pass unsafe=True if it is meant to"
        )


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has a parametrization, or one of that parameter."""
    parts = module.__dict__.get("parametrizations")
    if not isinstance(parts, ModuleDict):
        return False
    return len(parts) > 0 if tensor_name is None else tensor_name in parts


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a parameter an ordinary one again: with its present value, or with the original where
    leave_parametrized=False (ValueError where there are several originals)."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    made = module.parametrizations[tensor_name]
    if made.several and not leave_parametrized:
        raise ValueError("Cannot leave unparametrized (`leave_parametrized=False`) a tensor with several originals")
    original = getattr(made, made.names[0])
    with no_grad():
        value = getattr(module, tensor_name).detach() if leave_parametrized else original.detach()
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if isinstance(original, Parameter):
        kept = original if not made.several else Parameter(value.clone(), original.requires_grad)
        if kept is original and leave_parametrized:
            leave(original)
            original._assign(value._value)
        module.register_parameter(tensor_name, kept)
    else:
        module.register_buffer(tensor_name, value)
    if not len(module.parametrizations):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The module's own class."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)
