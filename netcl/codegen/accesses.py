"""Which memory a kernel touches, and where: found by walking from its results, before any text is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netcl.codegen import index as ix
from netcl.codegen.index import Index
from netcl.codegen.ir import Layout, Node, contiguous_strides, reached
from netcl.codegen.views import Coordinates, operand_coordinates

Pair = tuple[Node, Coordinates]


def position(coordinates: Coordinates, strides: tuple[int, ...]) -> Index:
    """Where the element at the coordinates lies."""
    found = ix.ZERO
    for coordinate, stride in zip(coordinates, strides, strict=True):
        found = found + coordinate * stride
    return found


def reach(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """How far from the first element of an array all of it lies."""
    return sum(abs(stride) * size for stride, size in zip(strides, shape, strict=True))


def operands_at(node: Node, coordinates: Coordinates, bindings: Mapping[Node, Layout]) -> list[Pair]:
    """What has to be known before a node can be evaluated at coordinates: its operands, or the indices of its load."""
    if node in bindings:
        return data_operands(coordinates)
    if node.primitive.kind in ("elementwise", "compare", "view", "index"):
        pairs = list(zip(node.src, operand_coordinates(node, coordinates), strict=True))
        return pairs[::-1] if node.op == "gather" else pairs
    return []


def data_operands(coordinates: Coordinates) -> list[Pair]:
    """The nodes that coordinates are read from."""
    found: list[Pair] = []
    pending = [term for c in coordinates for term, _ in c.terms]
    while pending:
        term = pending.pop()
        if isinstance(term, ix.Data):
            found.append((term.node, term.coordinates))
        elif not isinstance(term, ix.Variable):
            pending.extend(inner for inner, _ in term.index.terms)
    return found


def loads(roots: Iterable[Pair], known: set[Node], bindings: Mapping[Node, Layout]) -> list[tuple[Node, Index]]:
    """Every load that evaluating the roots takes, `known` nodes being there already."""
    pairs = reached(roots, lambda pair: () if pair[0] in known else operands_at(*pair, bindings))
    return [(node, position(at, bindings[node].strides)) for node, at in pairs if node in bindings]


def overwritable(outputs: Iterable[Pair], reads: list[tuple[Node, Index]]) -> set[tuple[Node, Node]]:
    """(operand, result) pairs such that the result may lie in the operand's memory: the operand is read nowhere but
    at the element that is being written."""
    positions: dict[Node, set[Index]] = {}
    for node, at in reads:
        positions.setdefault(node, set()).add(at)
    return {
        (operand, node)
        for node, at in outputs
        for operand, read_at in positions.items()
        if read_at == {position(at, contiguous_strides(node.shape))} and operand.dtype.itemsize == node.dtype.itemsize
    }
