"""Why a node could not join a kernel, or two kernels could not become one: what the scheduler's decisions return."""

from __future__ import annotations

from enum import Enum

from netcl.codegen.ir import Node, Shape

BY_ADDRESS = {"contraction": "matmul", "library": "library"}  # kinds of nodes that read their operands in memory


class Reason(Enum):
    """A refusal. The text takes {reader}, {read}: operations; {own}, {kernel}: what they and the kernel run over;
    {other}: the kernel that the reader is in."""

    SPACE = "{reader} runs over {own}, the kernel that has {read} over {kernel}"
    AXES = "{reader} reduces other axes of {own} than those that the rows of the kernel with {read} run along"
    COORDINATES = "{reader} reads {read} at other places than those it is computed at (transposed, shifted, broadcast)"
    TOTAL = "{read} is known only when the whole array has been reduced, and {reader} runs over its elements again"
    CYCLE = "each kernel would have to wait for the other"
    NEEDED = "one of them needs what the other makes"
    AGAIN = "one of them is computed again, later, to save memory"
    STAGES = "they belong to different stages, which run one after the other to save memory"
    LIMIT = "the kernel holds as many operations as one may"
    PRODUCT_OPERAND = "{reader} is a matrix product, which reads its operands in memory"
    LIBRARY_OPERAND = "{reader} is a library kernel, which reads its operands in memory"
    PRODUCT = "{reader} is a reduction, and {read} a matrix product, whose tiles hold no whole rows"
    LIBRARY = "{read} is the result of a library kernel, which does nothing else"
    KINDS = "the kernels are of different kinds or reduce different axes"
    ELSEWHERE = "{reader} is part of {other}"


def operand_reason(reader: Node) -> Reason | None:
    """Why what a node reads is not in its kernel, where that follows from the node's kind."""
    if reader.primitive.kind not in BY_ADDRESS:
        return None
    return Reason.PRODUCT_OPERAND if reader.primitive.kind == "contraction" else Reason.LIBRARY_OPERAND


def no_place(kind: str, shape: Shape, node: Node, space: Shape) -> Reason:
    """Why there is no place for a node over `space` in a kernel of a kind over `shape`."""
    if kind == "library":
        return Reason.LIBRARY
    if kind == "matmul" and node.primitive.kind == "reduce":
        return Reason.PRODUCT
    return Reason.AXES if space == shape else Reason.SPACE
