"""Where an operation at given coordinates reads its operands: views are nothing but this."""

from __future__ import annotations

from collections.abc import Callable

from netcl.codegen import index
from netcl.codegen.index import Index
from netcl.codegen.ir import Node, Shape

Coordinates = tuple[Index, ...]


def operand_coordinates(node: Node, coordinates: Coordinates) -> tuple[Coordinates, ...]:
    """The coordinates at which each operand of a view, an elementwise node or a gather is read."""
    if node.op == "gather":
        source, indices = node.src
        at = coordinates
        while indices.op == "expand":  # an index that all columns of a row share is read once for the row
            indices, at = indices.src[0], _expand(indices, at)
        data = index.term(index.Data(indices, at, source.shape[node.arg]))
        picked = coordinates[: node.arg] + (data,) + coordinates[node.arg + 1 :]
        return picked, coordinates
    if node.primitive.kind == "view":
        return (_VIEW[node.op](node, coordinates),)
    return (coordinates,) * len(node.src)


def _reshape(node: Node, coordinates: Coordinates) -> Coordinates:
    source = node.src[0].shape
    if [s for s in source if s != 1] == [s for s in node.shape if s != 1]:  # only sizes of 1 come or go
        moving = iter([c for c, size in zip(coordinates, node.shape, strict=True) if size != 1])
        return tuple(index.ZERO if size == 1 else next(moving) for size in source)
    return index.unflatten(index.flatten(coordinates, node.shape), source)


def _permute(node: Node, coordinates: Coordinates) -> Coordinates:
    moved = [index.ZERO] * len(coordinates)
    for coordinate, axis in zip(coordinates, node.arg, strict=True):
        moved[axis] = coordinate
    return tuple(moved)


def _expand(node: Node, coordinates: Coordinates) -> Coordinates:
    return tuple(index.ZERO if size == 1 else c for c, size in zip(coordinates, node.src[0].shape, strict=True))


def _slice(node: Node, coordinates: Coordinates) -> Coordinates:
    return tuple(c * step + start for c, (start, _, step) in zip(coordinates, node.arg, strict=True))


def _pad(node: Node, coordinates: Coordinates) -> Coordinates:
    return tuple(
        index.clamp(c + -low, size)
        for c, (low, _), size in zip(coordinates, node.arg, node.src[0].shape, strict=True)
    )


def _diagonal(node: Node, coordinates: Coordinates) -> Coordinates:
    offset, row_axis, column_axis = node.arg
    *rest, place = coordinates
    others = iter(rest)
    moved = {row_axis: place + max(-offset, 0), column_axis: place + max(offset, 0)}
    return tuple(moved[axis] if axis in moved else next(others) for axis in range(len(node.src[0].shape)))


def _windows(node: Node, coordinates: Coordinates) -> Coordinates:
    axis, _, step = node.arg
    *moved, place = coordinates
    moved[axis] = moved[axis] * step + place
    return tuple(moved)


_VIEW = {
    "reshape": _reshape, "permute": _permute, "expand": _expand, "slice": _slice, "pad": _pad,
    "diagonal": _diagonal, "windows": _windows, "again": lambda node, coordinates: coordinates,
}  # fmt: skip


def padding_conditions(node: Node, coordinates: Coordinates) -> list[tuple[Index, int]]:
    """For a pad: (index, extent) pairs; the source is read where every index lies in range(extent)."""
    conditions = []
    for c, (low, _), size in zip(coordinates, node.arg, node.src[0].shape, strict=True):
        shifted = c + -low
        least, most = shifted.bounds()
        if least < 0 or most >= size:
            conditions.append((shifted, size))
    return conditions


def strided(node: Node, stop: Callable[[Node], bool]) -> tuple[Node, tuple[int, ...], int] | None:
    """The node under a chain of views as (base, strides, offset) of the base's contiguous elements.

    `stop(node)` says where the chain ends. None where the views cannot be written with strides.
    """
    variables = tuple(index.variable(f"x{axis}", size) for axis, size in enumerate(node.shape))
    base, coordinates = node, variables
    while not stop(base):
        if base.primitive.kind != "view" or base.op == "pad":
            return None
        coordinates = operand_coordinates(base, coordinates)[0]
        base = base.src[0]
    position = index.flatten(coordinates, base.shape)
    strides = affine_strides(position, node.shape)
    return None if strides is None else (base, strides, position.constant)


def strided_input(node: Node, base: Node) -> tuple[tuple[int, ...], int] | None:
    """A view of an input as (strides, offset) in the input's own memory; None where it has none."""
    coordinates = tuple(index.variable(f"x{axis}", size) for axis, size in enumerate(node.shape))
    current = node
    while current is not base:
        coordinates = operand_coordinates(current, coordinates)[0]
        current = current.src[0]
    position = index.ZERO
    for coordinate, stride in zip(coordinates, base.arg[2], strict=True):
        position = position + coordinate * stride
    strides = affine_strides(position, node.shape)
    return None if strides is None else (strides, position.constant)


def affine_strides(position: Index, shape: Shape) -> tuple[int, ...] | None:
    """Strides over variables x0, x1, .. of an index; None where it is not affine in them."""
    if any(not isinstance(term, index.Variable) for term, _ in position.terms):
        return None
    by_name = {term.name: coefficient for term, coefficient in position.terms if isinstance(term, index.Variable)}
    return tuple(by_name.get(f"x{axis}", 0) for axis in range(len(shape)))
