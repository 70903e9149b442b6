"""The tree of a module: its parameters, buffers and parts by name, the rules for assigning them, and walking them.

Parameters, buffers and children live in the instance's own `__dict__`, so that reading `self.weight` costs no call;
the module remembers only their names and order. `_parameters`, `_buffers` and `_modules` are read-only pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from netcl.graph.effects import surroundings
from netcl.jit.compiler import Compiled
from netcl.nn.parameter import Buffer, Parameter
from netcl.tensor import Tensor


class Tree:
    """What Module is before it computes anything."""

    _announces_changes = True  # compiled functions need not compare its attributes at each call

    _parameter_names: dict[str, None]
    _buffer_names: dict[str, bool]  # name -> whether it is saved in state_dict
    _module_names: dict[str, None]

    def __init__(self) -> None:
        values = self.__dict__
        values["_parameter_names"] = {}
        values["_buffer_names"] = {}
        values["_module_names"] = {}

    # ---- attributes ----

    def __setattr__(self, name: str, value: Any) -> None:
        values = self.__dict__
        surroundings.changes += 1
        if isinstance(value, Parameter):
            self.register_parameter(name, value, _replace=True)
        elif isinstance(value, Buffer):
            self._require_init("buffer")
            if name not in values["_buffer_names"]:
                self._forget(name)
                values.pop(name, None)
            self.register_buffer(name, value, value.persistent)
        elif isinstance(value, Tree):
            self._require_init("module")
            if name not in values["_module_names"]:  # a replaced part keeps its place
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
        elif isinstance(value, Compiled) and isinstance(value.__wrapped_by_jit__, Tree):
            raise NotImplementedError(
                f"{type(self).__name__}.{name}: a compiled module is no part of another, which would not find its "
                "parameters; compile the outermost module, or the training step"
            )
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        surroundings.changes += 1
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
        surroundings.changes += 1
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

    def add_module(self, name: str, module: Any | None) -> None:
        """Add a part under a name; None for one that is absent in this configuration."""
        self._check_name("module", name, "_module_names")
        if module is not None and not isinstance(module, Tree):
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
    def _modules(self) -> Mapping[str, Any | None]:
        return self._pictured("_module_names")

    # ---- walking ----

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
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

    def modules(self) -> Iterator[Any]:
        """This module and every part below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """The direct parts with their names."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Any]:
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

    def get_submodule(self, target: str) -> Any:
        """The part with a dotted name; AttributeError naming what is missing."""
        module: Any = self
        for part in target.split(".") if target else ():
            if not hasattr(module, part):
                raise AttributeError(f"{type(module).__name__} has no attribute `{part}`")
            module = getattr(module, part)
            if not isinstance(module, Tree):
                raise AttributeError(f"`{part}` is not a Module")
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with a dotted name; AttributeError naming what is missing."""
        path, _, name = target.rpartition(".")
        found = getattr(self.get_submodule(path), name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not a Parameter")
        return found


    def get_buffer(self, target: str) -> Tensor:
        """The buffer with a dotted name; AttributeError naming what is missing."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = getattr(module, name)
        if name not in module._buffer_names:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    def set_submodule(self, target: str, module: Any, strict: bool = False) -> None:
        """Put a part in the place of another, by dotted name. `strict`: AttributeError where there is none yet."""
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Tree):
            raise ValueError(f"`module` is not a Module, found {type(module).__name__}")
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if strict or hasattr(owner, name):
            owner.get_submodule(name)
        setattr(owner, name, module)


def _wrong_kind(role: str, name: str, value: Any, expected: str) -> TypeError:
    return TypeError(f"cannot assign '{type(value).__name__}' {role} '{name}' ({expected} or None expected)")
