"""What a row of the table is: an operation's public name, and a call of it whose tensors are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Numbers:
    """A tensor to be drawn: uniform numbers from low to high.

    follows: it takes the dtype that is asked for. constant: nobody asks for its gradient. spreads: its first row may
    stand in for all of them.
    """

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    dtype: str = "float32"
    follows: bool = True
    constant: bool = False
    spreads = True

    def draw(self, position: int, dtype: str | None = None) -> np.ndarray:
        """The array, the same each time; in a dtype NumPy has (bfloat16 is drawn as float32)."""
        name = dtype if dtype is not None and self.follows else self.dtype
        draws = np.random.default_rng([position, len(self.shape), *self.shape])
        if name == "bool":
            return draws.integers(0, 2, self.shape).astype(bool)
        if name.startswith(("int", "uint")):
            low = max(int(np.ceil(self.low)), 0 if name == "uint8" else -128)
            high = int(self.high) if self.dtype == name else max(int(self.high), low + 3)
            return draws.integers(low, high, self.shape).astype(name)
        array = draws.uniform(self.low, self.high, self.shape)
        return array.astype(np.float32 if name == "bfloat16" else name)


@dataclass(frozen=True)
class Named:
    """Something that both libraries have under one name, such as a dtype."""

    name: str


@dataclass(frozen=True, eq=False)
class Row:
    """`name` is under nc, or begins with Tensor, F, linalg or special; methods take their tensor as first argument."""

    name: str
    args: tuple
    kwargs: dict[str, Any]
    number: int

    @property
    def where(self) -> str:
        return f"{self.name}, row {self.number}"

    @property
    def writes(self) -> bool:
        """Whether it writes to its first tensor."""
        return (self.name.endswith("_") and not self.name.endswith("__")) or bool(self.kwargs.get("inplace"))

    def numbers(self) -> list[Numbers]:
        """The tensors to draw, in order."""
        return [leaf for leaf in leaves((self.args, self.kwargs)) if isinstance(leaf, Numbers)]

    def call(self, library: Any, tensors: list[Any]) -> Any:
        """The operation of this library on these tensors, one for each of `numbers`."""
        given = iter(tensors)

        def fill(leaf: Any) -> Any:
            if isinstance(leaf, Numbers):
                return next(given)
            return getattr(library, leaf.name) if isinstance(leaf, Named) else leaf

        args, kwargs = mapped(fill, self.args), mapped(fill, self.kwargs)
        place, _, method = self.name.rpartition(".")
        if place == "Tensor":
            found = getattr(args[0], method)
            return found(*args[1:], **kwargs) if callable(found) else found
        return function(library, self.name)(*args, **kwargs)


PLACES = {"F": "nn.functional"}


def function(library: Any, name: str) -> Any:
    """What a library has under a row's name."""
    for part in ".".join(PLACES.get(part, part) for part in name.split(".")).split("."):
        library = getattr(library, part)
    return library


def leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, (list, tuple)):
        for branch in tree:
            yield from leaves(branch)
    elif isinstance(tree, dict):
        yield from leaves(list(tree.values()))
    else:
        yield tree


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, (list, tuple)):
        return type(tree)(mapped(function, branch) for branch in tree)
    if isinstance(tree, dict):
        return {name: mapped(function, branch) for name, branch in tree.items()}
    return function(tree)


ROWS: list[Row] = []


def row(names: str, *args: Any, **kwargs: Any) -> None:
    """Add a row for each of the names."""
    for name in names.split():
        ROWS.append(Row(name, args, kwargs, sum(1 for other in ROWS if other.name == name)))


# ---- tensors -----------------------------------------------------------------------------------------------------


def real(*shape: int) -> Numbers:
    """From -2 to 2."""
    return Numbers(shape)


def within(low: float, high: float, *shape: int) -> Numbers:
    return Numbers(shape, low, high)


def constant(low: float, high: float, *shape: int) -> Numbers:
    """Without a gradient."""
    return Numbers(shape, low, high, constant=True)


def whole(*shape: int, low: int = -5, high: int = 6) -> Numbers:
    """Integers, in the dtype that is asked for."""
    return Numbers(shape, low, high, "int64")


def index(limit: int, *shape: int) -> Numbers:
    """int64 from 0 to limit - 1, always."""
    return Numbers(shape, 0, limit, "int64", follows=False)


def flags(*shape: int) -> Numbers:
    """bool, always."""
    return Numbers(shape, 0, 1, "bool", follows=False)
