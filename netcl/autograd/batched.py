"""Tensors with a hidden axis in the gradient graph: into a map over a batch, out of it, and past its border.

A node stands inside the maps whose samples have gradients of their own there, whether its value differs between them
or not. An edge that leads out of a map, say to a weight that all samples share, sums the samples' gradients. See
`netcl.graph.batching`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from netcl.autograd import tape
from netcl.autograd.tape import Node
from netcl.core import dtypes
from netcl.graph.batching import hide, levels_of, show, total
from netcl.graph.value import record, record_literal
from netcl.tensor import Tensor


class _Border(Node):
    """A node without a rule in the table: its gradients are written below."""

    def __init__(self, op: str, edge: Any, level: int, size: int) -> None:
        super().__init__(op, _no_rule, None, 1, [edge], [], [])
        self.level, self.size = level, size

    def gradients(self, gradients: list[Any], create_graph: bool) -> Iterable[Any]:
        return (self.way_back(gradients[0]),)

    def way_back(self, g: Tensor) -> Tensor:
        raise NotImplementedError


def _no_rule(g: Any, y: Any) -> None:
    """In place of a rule: a border's gradient is a method."""


def _placed(
    value: Any, kind: type[_Border], op: str, source: Tensor, maps: dict[int, int], level: int, size: int
) -> Tensor:
    """The value as a tensor inside `maps` that leads back to the source."""
    result = Tensor._wrap(value)
    if source._tracked and tape.is_grad_enabled():
        edge = tape.edge_of(source)
        node = kind(op, edge, level, size)
        node.maps = maps
        result._tracked, result._node = True, node
    return result


# ---- in and out --------------------------------------------------------------------------------------------------


def enter(tensor: Tensor, level: int, axis: int = 0) -> Tensor:
    """One sample of the tensor, which has the samples along an axis."""
    if axis:
        tensor = tensor.permute((axis, *[a for a in range(tensor.ndim) if a != axis]))
    size = tensor._value.shape[0]
    maps = _maps_of(tensor) | {level: size}
    return _placed(hide(tensor._value, level), _Entry, "vmap_enter", tensor, maps, level, size)


def leave(tensor: Tensor, level: int, size: int) -> Tensor:
    """All samples along the first axis."""
    maps = _maps_of(tensor)
    if tensor._tracked and level not in maps and tape.is_grad_enabled():
        tensor = _shared(tensor, level, size)
    left = {other: n for other, n in maps.items() if other != level}
    return _placed(show(tensor._value, level, size), _Exit, "vmap_leave", tensor, left, level, size)


class _Entry(_Border):
    def way_back(self, g: Tensor) -> Tensor:
        return leave(g, self.level, self.size)


class _Exit(_Border):
    def way_back(self, g: Tensor) -> Tensor:
        return enter(g, self.level)


# ---- what all samples share --------------------------------------------------------------------------------------


def _maps_of(tensor: Tensor) -> dict[int, int]:
    """The maps that a tensor's place in the graph is inside of."""
    maps = levels_of(tensor._value)
    return maps | tensor._node.maps if tensor._node is not None else maps


def cross(node: Node, results: Sequence[Any], inside: dict[int, int] | None = None) -> None:
    """Put a node inside the maps of its operands and results (and `inside`); its edges that lead out of one sum."""
    targets = [None if edge is None else _edge_maps(edge) for edge in node.edges]
    maps = dict(inside or {})
    for own in (*[levels_of(result._value) for result in results if isinstance(result, Tensor)], *targets):
        maps |= own or {}
    node.maps = maps
    for number, own in enumerate(targets):
        if own is not None:
            for level in sorted(maps.keys() - own.keys()):
                node.edges[number] = _past(node.edges[number], own, level, maps[level])
                own = node.edges[number][0].maps
    node.number = next(tape._numbers)  # behind the borders


def _edge_maps(edge: Any) -> dict[int, int]:
    target, output = edge
    return levels_of(target._value) if output < 0 else target.maps


def _past(edge: Any, maps: dict[int, int], level: int, size: int) -> tuple[Node, int]:
    """An edge that sums over a map's samples on the way."""
    border = _Shared("vmap_shared", edge, level, size)
    border.maps = maps | {level: size}
    return border, 0


def _shared(tensor: Tensor, level: int, size: int) -> Tensor:
    """A tensor from outside a map as one inside it."""
    result = Tensor._wrap(tensor._value)
    result._tracked, (result._node, result._output) = True, _past(tape.edge_of(tensor), _maps_of(tensor), level, size)
    return result


class _Shared(_Border):
    def way_back(self, g: Tensor) -> Tensor:
        level, value = self.level, g._value
        if level in levels_of(value):
            value = total(value, level)
        else:
            count = record_literal(float(self.size), dtypes.float32, value.device)
            value = record("mul", (value, count))
        left = {other: n for other, n in _maps_of(g).items() if other != level}
        return _placed(value, _Summed, "vmap_sum", g, left, level, self.size)


class _Summed(_Border):
    def way_back(self, g: Tensor) -> Tensor:
        return g  # the same for every sample
