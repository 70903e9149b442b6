"""Nested objects as flat names with arrays, and JSON that says how they nest. Nothing in a file is executed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from netcl.tensor import Tensor

VERSION = 1


def is_flat(obj: Any) -> bool:
    """Whether an object is names with tensors, which needs no description."""
    if not isinstance(obj, dict) or isinstance(obj, OrderedDict):
        return False
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in obj.items())


def flatten(obj: Any) -> tuple[dict[str, Any], Any]:
    """(tensors and arrays by dotted name, description of the nesting). TypeError names what can't be saved."""
    arrays: dict[str, Any] = {}

    def describe(value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, (Tensor, np.ndarray)):
            name = _free_name(".".join(path) or "value", arrays)
            arrays[name] = value
            return {"tensor" if isinstance(value, Tensor) else "array": name}
        if isinstance(value, dict):
            for key in value:
                if not (key is None or isinstance(key, (str, int, float, bool))):
                    kind = type(key).__name__
                    raise TypeError(f"save: a key at {_spelled(path)} is {kind}; keys must be strings or numbers")
            kind = "ordered" if isinstance(value, OrderedDict) else "dict"
            return {kind: [[key, describe(item, (*path, str(key)))] for key, item in value.items()]}
        if isinstance(value, (list, tuple)):
            kind = "list" if isinstance(value, list) else "tuple"
            return {kind: [describe(item, (*path, str(number))) for number, item in enumerate(value)]}
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(
            f"save: {_spelled(path)} is {type(value).__name__}; tensors, arrays, numbers, strings, None, "
            "and dicts, lists and tuples of those can be saved (of a module or an optimizer its state_dict())"
        )

    return arrays, describe(obj, ())


def _free_name(name: str, taken: dict[str, Any]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    return free


def _spelled(path: tuple[str, ...]) -> str:
    return repr(".".join(path)) if path else "the object"


def restore(description: Any, tensor: Callable[[str], Any], array: Callable[[str], Any]) -> Any:
    """The object that `flatten` described; `tensor` and `array` give what is stored under a name."""
    if not isinstance(description, dict):
        return description
    ((kind, content),) = description.items()
    if kind == "tensor":
        return tensor(content)
    if kind == "array":
        return array(content)
    if kind == "dict":
        return {key: restore(item, tensor, array) for key, item in content}
    if kind == "ordered":
        return OrderedDict((key, restore(item, tensor, array)) for key, item in content)
    items = [restore(item, tensor, array) for item in content]
    if kind == "list":
        return items
    if kind == "tuple":
        return tuple(items)
    raise ValueError(f"unknown kind {kind!r}")
