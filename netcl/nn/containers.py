"""Modules that hold modules: Sequential, ModuleList, ModuleDict."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from netcl.nn.module import Module


class _Numbered(Module):
    """Children under the names '0', '1', ..: what Sequential and ModuleList share."""

    def _at(self, index: Any) -> int:
        """A position counted from the front; IndexError out of range."""
        length, position = len(self), operator.index(index)
        if not -length <= position < length:
            raise IndexError(f"index {position} is out of range for {length} modules")
        return position % length

    def _list(self) -> list[Module]:
        values = self.__dict__
        return [values[name] for name in self._module_names]

    def _set_list(self, modules: Iterable[Module]) -> None:
        """Replace all children, numbered anew."""
        kept = list(modules)
        for name in list(self._module_names):
            delattr(self, name)
        for number, module in enumerate(kept):
            self.add_module(str(number), module)

    def __len__(self) -> int:
        return len(self._module_names)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._list())

    @overload
    def __getitem__(self, index: slice) -> Self: ...
    @overload
    def __getitem__(self, index: int) -> Module: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._slice(index)
        return self._list()[self._at(index)]

    def _slice(self, index: slice) -> Self:
        result = type(self)()
        result._set_list(self._list()[index])
        return result

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, list(self._module_names)[self._at(index)], module)

    def __delitem__(self, index: int | slice) -> None:
        modules = self._list()
        del modules[index if isinstance(index, slice) else self._at(index)]
        self._set_list(modules)

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before a position."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        modules = self._list()
        modules.insert(index, module)
        self._set_list(modules)
        return self

    def pop(self, index: int = -1) -> Module:
        """Take a module out and return it."""
        module = self[index]
        del self[index]
        return module


    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)


class Sequential(_Numbered):
    """Modules applied one after the other: Sequential(a, b) or Sequential({"first": a, "second": b}).

    >>> import netcl as nc
    >>> len(nc.nn.Sequential(nc.nn.Linear(4, 8), nc.nn.ReLU()))
    2
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            for number, module in enumerate(modules):
                self.add_module(str(number), module)

    def forward(self, input: Any) -> Any:
        values = self.__dict__
        for name in self._module_names:
            input = values[name](input)
        return input

    def _slice(self, index: slice) -> Self:
        return type(self)({name: self.__dict__[name] for name in list(self._module_names)[index]})

    def _set_list(self, modules: Iterable[Module]) -> None:
        kept = list(modules)
        names = list(self._module_names)
        if any(not name.isdecimal() for name in names) and len(kept) < len(names):  # names given by the user stay
            by_id = {id(self.__dict__[name]): name for name in names}
            for name in names:
                delattr(self, name)
            for module in kept:
                self.add_module(by_id[id(module)], module)
        else:
            super()._set_list(kept)

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(f"add operator supports only objects of Sequential class, got {type(other).__name__}")
        return Sequential(*self, *other)

    def __mul__(self, times: int) -> Sequential:
        """The same modules again and again, `times` times in all."""
        if not isinstance(times, int):
            raise TypeError(f"unsupported operand type(s) for *: Sequential and {type(times).__name__}")
        if times <= 0:
            raise ValueError(f"Non-positive multiplication factor {times} for Sequential")
        return Sequential(*(list(self) * times))

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Self:
        modules = list(self)
        for module in list(self * times)[len(modules) :]:
            self.append(module)
        return self


class ModuleList(_Numbered):
    """A list of modules whose parameters count as the owner's. It has no forward: index or iterate it."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        """Equal modules that follow each other are shown once, as in PyTorch."""
        texts = [repr(module) for module in self]
        if not texts:
            return f"{self._get_name()}()"
        runs: list[list[int]] = []
        for number, text in enumerate(texts):
            if runs and texts[runs[-1][0]] == text:
                runs[-1][1] = number
            else:
                runs.append([number, number])
        lines = []
        for first, last in runs:
            label, times = (f"({first})", "") if first == last else (f"({first}-{last})", f"{last - first + 1} x ")
            lines.append(f"{label}: {times}" + texts[first].replace("\n", "\n  "))
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


class ModuleDict(Module):
    """A dict of modules whose parameters count as the owner's. It has no forward."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Module:
        return self._modules[key]  # type: ignore[return-value]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        if key not in self._module_names:
            raise KeyError(key)
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._module_names)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._module_names))

    def __contains__(self, key: str) -> bool:
        return key in self._module_names

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self._modules.values()  # type: ignore[return-value]

    def items(self) -> Iterable[tuple[str, Module]]:
        """Names with modules."""
        return self._modules.items()  # type: ignore[return-value]

    def clear(self) -> None:
        """Take everything out."""
        for name in list(self._module_names):
            delattr(self, name)

    def pop(self, key: str) -> Module:
        """Take a module out and return it."""
        module = self[key]
        del self[key]
        return module

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules from a mapping or pairs."""
        pairs = modules.items() if isinstance(modules, Mapping) else modules
        for name, module in pairs:
            self[name] = module
