"""The arguments of a call, taken apart: what a recording is good for, and what it gets anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netcl.graph.live import Live, peek
from netcl.tensor import Tensor

_STATIC = (int, bool, str, bytes, complex, type(None))


class Arguments:
    """One call's arguments: tensors, each once, and floats in order, and the key of everything else."""

    __slots__ = ("arrays", "floats", "key", "objects", "paths", "tensors")

    def __init__(self, args: tuple, kwargs: dict[str, Any]):
        self.tensors: list[Tensor] = []
        self.floats: list[float] = []
        self.objects: list[Any] = []  # modules, optimizers and the like: known by identity
        self.arrays = False
        key: list[Any] = []
        for item in args:
            self._take(item, key)
        for name, item in kwargs.items():
            key.append(name)
            self._take(item, key)
        self.key = tuple(key)

    def _take(self, item: Any, key: list[Any]) -> None:
        kind = type(item)
        if isinstance(item, Tensor):
            value = item._value
            alias = next((n for n, other in enumerate(self.tensors) if other is item), -1)
            key += (value.shape, value.dtype, value.device, item._tracked, item._node is None, alias)
            if alias < 0:
                self.tensors.append(item)
            if item._hooks or item._accumulate_hooks:
                for hook in hooks_of(item):
                    key.append(_Identity(hook))
                    self.objects.append(hook)
        elif kind is float or isinstance(item, np.floating):
            key.append(float)
            self.floats.append(float(item))
        elif isinstance(item, _STATIC):
            key += (kind, item)
        elif kind in (tuple, list) or (isinstance(item, tuple) and hasattr(item, "_fields")):
            key += (kind, len(item))
            for part in item:
                self._take(part, key)
        elif kind is dict:
            key += (dict, len(item))
            for name, part in item.items():
                key.append(name)
                self._take(part, key)
        else:
            self.arrays = self.arrays or isinstance(item, np.ndarray)
            key.append(_Identity(item))
            self.objects.append(item)


def hooks_of(tensor: Tensor) -> list[Any]:
    """The functions that see a leaf's gradient."""
    return [*(tensor._hooks or {}).values(), *(tensor._accumulate_hooks or {}).values()]


class _Identity:
    """An object that is equal to itself only."""

    __slots__ = ("item",)

    def __init__(self, item: Any):
        self.item = item

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.item is self.item

    def __hash__(self) -> int:
        return id(self.item)

    def __repr__(self) -> str:
        return f"<{type(self.item).__name__}>"


def with_floats(item: Any, make: Callable[[int, float], Any], count: list[int]) -> Any:
    """The same containers with make(place, number) for each float, in the order of Arguments."""
    kind = type(item)
    if kind is float or isinstance(item, np.floating):
        count[0] += 1
        return make(count[0] - 1, float(item))
    if kind in (tuple, list):
        return kind(with_floats(part, make, count) for part in item)
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return kind(*(with_floats(part, make, count) for part in item))
    if kind is dict:
        return {name: with_floats(part, make, count) for name, part in item.items()}
    return item


def plain_items(item: Any) -> Any:
    """The same containers with plain numbers in the place of Live ones."""
    kind = type(item)
    if kind is Live:
        return peek(item)
    if kind in (tuple, list) and any(type(part) in (Live, tuple, list, dict) for part in item):
        return kind(plain_items(part) for part in item)
    if kind is dict:
        return {peek(name): plain_items(part) for name, part in item.items()}
    if not isinstance(item, Tensor):  # an object of the user's own: its attributes
        attributes = getattr(item, "__dict__", None)
        if type(attributes) is dict:
            attributes.update((name, peek(part)) for name, part in attributes.items() if type(part) is Live)
    return item


def named_leaves(args: tuple, kwargs: dict[str, Any], names: tuple[str, ...]) -> list[tuple[str, str]]:
    """(name, description) of each leaf of the arguments, to say which one changed."""
    found: list[tuple[str, str]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, Tensor):
            grad = ", requires_grad" if item._tracked else ""
            found.append((name, f"a tensor of shape {list(item._value.shape)}, {item._value.dtype}{grad}"))
        elif isinstance(item, (list, tuple)):
            found.append((name, f"{len(item)} items"))
            for place, part in enumerate(item):
                visit(f"{name}[{place}]", part)
        elif isinstance(item, dict):
            found.append((name, f"{len(item)} entries"))
            for key, part in item.items():
                visit(f"{name}[{key!r}]", part)
        elif not isinstance(item, float):
            found.append((name, repr(item) if isinstance(item, _STATIC) else f"a {type(item).__name__}"))

    for place, item in enumerate(args):
        visit(names[place] if place < len(names) else f"argument {place}", item)
    for name, item in kwargs.items():
        visit(name, item)
    return found
