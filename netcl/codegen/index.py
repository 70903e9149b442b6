"""Index arithmetic: sums of loop variables times constants, with division and remainder where a view needs them.

A kernel's loads and stores are addressed by `Index` objects built from the loop variables. Views compose by
substitution, so a chain of permutes, slices and reshapes costs no code as long as it stays affine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any


@dataclass(frozen=True)
class Variable:
    """A loop variable running over range(extent)."""

    name: str
    extent: int


@dataclass(frozen=True)
class Quotient:
    """floor(index / divisor) of a non-negative index."""

    index: Index
    divisor: int


@dataclass(frozen=True)
class Remainder:
    """index mod divisor of a non-negative index."""

    index: Index
    divisor: int


@dataclass(frozen=True)
class Data:
    """An index read from memory (gather): a node of the graph evaluated at coordinates; 0 <= value < extent."""

    node: Any
    coordinates: tuple[Index, ...]
    extent: int
    loop_variables: frozenset[str] | None = None  # once substituted: what the value depends on in the kernel's text


@dataclass(frozen=True)
class Clamped:
    """An index held inside range(extent): what a load outside the source of a padding reads instead."""

    index: Index
    extent: int


Term = Variable | Quotient | Remainder | Data | Clamped


@dataclass(frozen=True)
class Index:
    """sum(coefficient * term) + constant."""

    terms: tuple[tuple[Term, int], ...] = ()
    constant: int = 0
    _hash = 0  # made once: the scheduler looks coordinates up again and again

    def __hash__(self) -> int:
        if not self._hash:
            object.__setattr__(self, "_hash", hash((self.terms, self.constant)) or 1)
        return self._hash

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.terms, self.constant + other)
        if not other.terms:
            return Index(self.terms, self.constant + other.constant)
        if not self.terms:
            return Index(other.terms, self.constant + other.constant)
        total = dict(self.terms)
        for term, coefficient in other.terms:
            total[term] = total.get(term, 0) + coefficient
        kept = tuple((term, coefficient) for term, coefficient in total.items() if coefficient)
        return Index(_merge_division(kept), self.constant + other.constant)

    def __mul__(self, factor: int) -> Index:
        if factor == 1:
            return self
        if factor == 0:
            return ZERO
        return Index(tuple((term, c * factor) for term, c in self.terms), self.constant * factor)

    def bounds(self) -> tuple[int, int]:
        """The smallest and the largest value."""
        low = high = self.constant
        for term, coefficient in self.terms:
            reach = (extent_of(term) - 1) * coefficient
            low, high = low + min(reach, 0), high + max(reach, 0)
        return low, high

    def variables(self) -> frozenset[str]:
        """Names of the loop variables that the value depends on."""
        names: frozenset[str] = frozenset()
        for term, _ in self.terms:
            names |= term_variables(term)
        return names

    def coefficient(self, name: str) -> int | None:
        """The factor of loop variable `name`; None where the dependence is not affine."""
        factor = 0
        for term, coefficient in self.terms:
            if isinstance(term, Variable):
                if term.name == name:
                    factor = coefficient
            elif name in term_variables(term):
                return None
        return factor

    def emit(self, spell: Callable[[Term], str]) -> str:
        """OpenCL text, each term spelled by `spell`."""
        parts = []
        for term, coefficient in self.terms:
            text = spell(term)
            parts.append(text if coefficient == 1 else f"{text}*{coefficient}")
        if self.constant or not parts:
            parts.append(str(self.constant))
        return parts[0] if len(parts) == 1 else "(" + " + ".join(parts).replace("+ -", "- ") + ")"


ZERO = Index()


def constant(value: int) -> Index:
    return Index((), value)


def variable(name: str, extent: int) -> Index:
    """The loop variable as an index; a loop of one turn is the constant 0."""
    return ZERO if extent == 1 else Index(((Variable(name, extent), 1),))


def term(value: Term) -> Index:
    return Index(((value, 1),))


def extent_of(value: Term) -> int:
    if isinstance(value, Quotient):
        return value.index.bounds()[1] // value.divisor + 1
    if isinstance(value, Remainder):
        return value.divisor
    return value.extent


def term_variables(value: Term) -> frozenset[str]:
    if isinstance(value, Variable):
        return frozenset((value.name,))
    if isinstance(value, Data):
        if value.loop_variables is not None:
            return value.loop_variables
        names: frozenset[str] = frozenset()
        for coordinate in value.coordinates:
            names |= coordinate.variables()
        return names
    return value.index.variables()


def _merge_division(terms: tuple[tuple[Term, int], ...]) -> tuple[tuple[Term, int], ...]:
    """(x / d) * d*c + (x % d) * c is x * c: what splitting and merging the same dimension leaves behind."""
    by_term = dict(terms)
    for value, coefficient in terms:
        if not isinstance(value, Remainder):
            continue
        quotient, *others = divide(value.index, value.divisor).terms or (None,)
        if quotient and not others and by_term.get(quotient[0]) == coefficient * value.divisor * quotient[1]:
            del by_term[value], by_term[quotient[0]]
            rest = Index(tuple(by_term.items()))
            return (rest + value.index * coefficient).terms if not value.index.constant else terms
    return terms


def divide(index: Index, divisor: int) -> Index:
    """floor(index / divisor) for a non-negative index."""
    if divisor == 1:
        return index
    low, high = index.bounds()
    if low >= 0 and high < divisor:
        return ZERO
    whole, rest = _split(index, divisor)
    low, high = rest.bounds()
    if low >= 0 and high < divisor:
        return whole
    if len(rest.terms) == 1 and isinstance(rest.terms[0][0], Quotient) and rest.terms[0][1] == 1 and not rest.constant:
        inner = rest.terms[0][0]
        return whole + term(Quotient(inner.index, inner.divisor * divisor))
    if low < 0:
        whole, rest = ZERO, index
    shared = gcd(divisor, *(c for _, c in rest.terms), rest.constant)
    for step in sorted({shared, *(gcd(divisor, c) for _, c in rest.terms)} - {1}, reverse=True):
        coarse, fine = _split(rest, step)  # what is less than a step does not matter
        low, high = fine.bounds()
        if low >= 0 and high < step:
            return whole + divide(coarse, divisor // step)
    return whole + term(Quotient(rest, divisor))


def modulo(index: Index, divisor: int) -> Index:
    """index mod divisor for a non-negative index."""
    if divisor == 1:
        return ZERO
    _, rest = _split(index, divisor)
    low, high = rest.bounds()
    if low < 0:
        rest = index
        low, high = rest.bounds()
    if low >= 0 and high < divisor:
        return rest
    return term(Remainder(rest, divisor))


def _split(index: Index, divisor: int) -> tuple[Index, Index]:
    """index = whole * divisor + rest, whole taking the terms that the divisor divides."""
    whole = tuple((t, c // divisor) for t, c in index.terms if c % divisor == 0)
    rest = tuple((t, c) for t, c in index.terms if c % divisor)
    return Index(whole, index.constant // divisor), Index(rest, index.constant % divisor)


def flatten(coordinates: Sequence[Index], shape: Sequence[int]) -> Index:
    """The row-major position of coordinates in an array of this shape."""
    position = ZERO
    for coordinate, size in zip(coordinates, shape, strict=True):
        position = position * size + coordinate
    return position


def unflatten(position: Index, shape: Sequence[int]) -> tuple[Index, ...]:
    """The coordinates of a row-major position."""
    coordinates = []
    step = 1
    for size in reversed(shape):
        coordinates.append(modulo(divide(position, step), size) if size != 1 else ZERO)
        step *= size
    return tuple(reversed(coordinates))


def clamp(index: Index, extent: int) -> Index:
    """The index held inside range(extent)."""
    low, high = index.bounds()
    if low >= 0 and high < extent:
        return index
    return term(Clamped(index, extent)) if extent > 1 else ZERO


def substitute(index: Index, replacements: dict[str, Index]) -> Index:
    """The index with loop variables replaced by other indices."""
    result = constant(index.constant)
    for value, coefficient in index.terms:
        result = result + _substitute_term(value, replacements) * coefficient
    return result


def _substitute_term(value: Term, replacements: dict[str, Index]) -> Index:
    if isinstance(value, Variable):
        return replacements.get(value.name, term(value))
    if isinstance(value, Quotient):
        return divide(substitute(value.index, replacements), value.divisor)
    if isinstance(value, Remainder):
        return modulo(substitute(value.index, replacements), value.divisor)
    if isinstance(value, Clamped):
        return clamp(substitute(value.index, replacements), value.extent)
    names: frozenset[str] = frozenset()
    for coordinate in value.coordinates:
        names |= substitute(coordinate, replacements).variables()
    return term(Data(value.node, value.coordinates, value.extent, names))
