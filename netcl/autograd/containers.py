"""Tensors in nested tuples, lists and dicts: taken out in order, and put back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

CONTAINERS = (tuple, list, dict)


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """(what lies in the containers, in order; the containers with None in its place). A thing of its own is a leaf."""
    leaves: list[Any] = []
    return leaves, _emptied(tree, leaves)


def _emptied(tree: Any, leaves: list[Any]) -> Any:
    if type(tree) in (dict, OrderedDict):
        return type(tree)((key, _emptied(item, leaves)) for key, item in tree.items())
    if type(tree) is list:
        return [_emptied(item, leaves) for item in tree]
    if isinstance(tree, tuple):
        return _as_tuple(tree, [_emptied(item, leaves) for item in tree])
    leaves.append(tree)
    return None


def unflatten(structure: Any, leaves: Any) -> Any:
    """The containers with the leaves in their places."""
    return _filled(structure, iter(leaves))


def _filled(structure: Any, leaves: Iterator[Any]) -> Any:
    if type(structure) in (dict, OrderedDict):
        return type(structure)((key, _filled(item, leaves)) for key, item in structure.items())
    if type(structure) is list:
        return [_filled(item, leaves) for item in structure]
    if isinstance(structure, tuple):
        return _as_tuple(structure, [_filled(item, leaves) for item in structure])
    return next(leaves)


def _as_tuple(like: tuple, items: list[Any]) -> tuple:
    return like._make(items) if hasattr(like, "_make") else tuple(items)  # a named tuple stays one


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same containers with function(leaf) for each leaf."""
    leaves, structure = flatten(tree)
    return unflatten(structure, [function(leaf) for leaf in leaves])


def spread(prefix: Any, structure: Any) -> list[Any] | None:
    """One entry of `prefix` for each leaf: an entry may stand for all that lies in its place. None where the two
    don't fit. Lists and tuples may stand for each other only where they are the same."""
    if type(structure) in (dict, OrderedDict):
        if not isinstance(prefix, dict):
            return [prefix] * len(_places(structure)) if not isinstance(prefix, CONTAINERS) else None
        if prefix.keys() != structure.keys():
            return None
        return _joined([spread(prefix[key], item) for key, item in structure.items()])
    if isinstance(structure, (list, tuple)):
        if not isinstance(prefix, CONTAINERS):
            return [prefix] * len(_places(structure))
        if isinstance(prefix, dict) or isinstance(prefix, list) != isinstance(structure, list):
            return None
        if len(prefix) != len(structure):
            return None
        return _joined([spread(one, item) for one, item in zip(prefix, structure, strict=True)])
    return None if isinstance(prefix, CONTAINERS) else [prefix]


def _places(structure: Any) -> list[None]:
    """A None for each leaf."""
    if isinstance(structure, dict):
        return [place for item in structure.values() for place in _places(item)]
    if isinstance(structure, (list, tuple)):
        return [place for item in structure for place in _places(item)]
    return [None]


def _joined(parts: list[list[Any] | None]) -> list[Any] | None:
    found: list[Any] = []
    for part in parts:
        if part is None:
            return None
        found += part
    return found
