"""Operands that a kernel reads by address: the memory under an operand's views."""

from __future__ import annotations

from dataclasses import dataclass

from netcl.codegen import index as ix
from netcl.codegen.ir import Layout, Node
from netcl.codegen.views import operand_coordinates


@dataclass
class Operand:
    """An operand in memory: element (i, j, ..) lies at constant + i*strides[0] + j*strides[1] + .. of `node`."""

    node: Node
    strides: tuple[int, ...]
    constant: int
    dynamic_offset: bool


def operand(node: Node, bindings: dict[Node, Layout]) -> Operand:
    """The memory under an operand's views."""
    shape = node.shape
    coordinates = tuple(ix.variable(f"x{axis}", size) for axis, size in enumerate(shape))
    while node not in bindings:
        assert node.primitive.kind == "view", f"{node} has to be in memory"
        coordinates = operand_coordinates(node, coordinates)[0]
        node = node.src[0]
    layout = bindings[node]
    position = ix.ZERO
    for coordinate, stride in zip(coordinates, layout.strides, strict=True):
        position = position + coordinate * stride
    strides = tuple(position.coefficient(f"x{axis}") for axis in range(len(shape)))
    assert None not in strides, f"{node} has no strides"
    return Operand(node, strides, position.constant, layout.dynamic_offset)  # type: ignore[arg-type]
