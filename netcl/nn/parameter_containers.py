"""ParameterList and ParameterDict: parameters that count as the owner's, by number and by name."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from netcl.nn.module import Module
from netcl.nn.parameter import Parameter
from netcl.tensor import Tensor


def _as_entry(value: Any) -> Any:
    """Tensors become parameters; other things stay as they are."""
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def _described(key: Any, value: Any, named: bool = False) -> str:
    if not isinstance(value, Tensor):
        return f"  ({key}): Object of type: {type(value).__name__}"
    kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
    size = "x".join(str(size) for size in value.shape)
    return f"  ({key}): {kind} containing: [{value.type() if named else value.dtype} of size {size}]"


class ParameterList(Module):
    """A list of parameters (and of other things, which are kept as they are); tensors become parameters.

    >>> import netcl as nc
    >>> len(list(nc.nn.ParameterList([nc.zeros(2), nc.zeros(3)]).parameters()))
    2
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.__dict__["_size"] = 0
        self.extend(values or ())

    def _at(self, index: Any) -> str:
        place = operator.index(index)
        if not -self._size <= place < self._size:
            raise IndexError(f"index {place} is out of range")
        return str(place % self._size)

    def __len__(self) -> int:
        return int(self._size)

    def __iter__(self) -> Iterator[Any]:
        return iter([getattr(self, str(n)) for n in range(self._size)])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return getattr(self, self._at(index))

    def __setitem__(self, index: int, value: Any) -> None:
        name = self._at(index)
        if not isinstance(value, Tensor) and name in self._parameter_names:
            delattr(self, name)
        setattr(self, name, _as_entry(value))

    def append(self, value: Any) -> Self:
        """Add one at the end."""
        self.__dict__["_size"] += 1
        self[self._size - 1] = value
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Add several at the end. TypeError for a tensor: it is iterable, but that is rarely meant."""
        if isinstance(values, Tensor) or not isinstance(values, Iterable):
            raise TypeError(
                f"ParameterList.extend should be called with an iterable, but got {type(values).__name__}; use append"
            )
        for value in list(values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def extra_repr(self) -> str:
        return "\n".join(_described(n, value) for n, value in enumerate(self))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ParameterList should not be called.")


class ParameterDict(Module):
    """A dict of parameters (and of other things, which are kept as they are); tensors become parameters."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self.__dict__["_keys"] = {}
        self.update(parameters or {})

    def __getitem__(self, key: str) -> Any:
        self._require(key)
        return getattr(self, key)

    def _require(self, key: Any) -> None:
        if key not in self._keys:
            raise KeyError(key)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"a ParameterDict's keys are strings, got {type(key).__name__}")
        if key not in self._keys and hasattr(self, key):
            raise KeyError(f"attribute {key!r} already exists")
        if not isinstance(value, Tensor) and key in self._parameter_names:
            delattr(self, key)
        self._keys[key] = None
        setattr(self, key, _as_entry(value))

    def __delitem__(self, key: str) -> None:
        self._require(key)
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._keys))

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self._keys))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def keys(self) -> list[str]:
        """The names."""
        return list(self._keys)

    def values(self) -> list[Any]:
        """The parameters."""
        return [getattr(self, key) for key in self._keys]

    def items(self) -> list[tuple[str, Any]]:
        """Names with parameters."""
        return [(key, getattr(self, key)) for key in self._keys]

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter of that name, or default."""
        return getattr(self, key) if key in self._keys else default

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The parameter of that name; added first where there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        """Take one out and return it."""
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take the last one out and return it with its name."""
        key = next(reversed(self))
        return key, self.pop(key)

    def clear(self) -> None:
        """Take everything out."""
        for key in list(self._keys):
            del self[key]

    def copy(self) -> ParameterDict:
        """Another dict of the same parameters."""
        return ParameterDict(self.items())

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """A new dict with one value under all the keys."""
        return ParameterDict([(key, default) for key in keys])

    def update(self, parameters: Any) -> None:
        """Add or replace parameters from a mapping or pairs. A plain dict's come by name, as in PyTorch."""
        if isinstance(parameters, (OrderedDict, ParameterDict)):
            parameters = parameters.items()
        elif isinstance(parameters, Mapping):
            parameters = sorted(parameters.items())
        elif not isinstance(parameters, Iterable):
            raise TypeError(
                "ParametersDict.update should be called with an iterable of key/value pairs, but got "
                + type(parameters).__name__
            )
        for key, value in list(parameters):
            self[key] = value

    def __or__(self, other: ParameterDict) -> ParameterDict:
        result = self.copy()
        result.update(other)
        return result

    def __ior__(self, other: ParameterDict) -> Self:
        self.update(other)
        return self

    def extra_repr(self) -> str:
        return "\n".join(_described(key, value, named=True) for key, value in self.items())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ParameterDict should not be called.")
