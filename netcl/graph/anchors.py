"""Which nodes must exist somewhere: reductions, and what is read by address.

Everything else is evaluated inside the kernels that need it, as long as the scheduler does not find that too costly.
"""

from __future__ import annotations

from netcl.codegen.ir import Node, walk
from netcl.codegen.views import strided, strided_input
from netcl.graph.reasons import BY_ADDRESS

Stages = dict[Node, tuple[int, int]]  # which stage a node belongs to, see value.stage


def is_source(node: Node) -> bool:
    """Nodes that are there before any kernel runs, or cost nothing: inputs, scalars, literals, coordinates."""
    return node.primitive.kind == "source"


def operand_base(node: Node) -> Node:
    """What a contraction reads for an operand: the node in memory under strided views, else the operand itself."""
    found = strided(node, _readable)
    if found is None:
        return node
    base = found[0]
    if base.op == "input":  # it may have strides of its own, in which the views need not be affine
        return base if strided_input(node, base) is not None else node
    return node if is_source(base) else base  # numbers and coordinates are not in memory


def _readable(node: Node) -> bool:
    return node.primitive.kind != "view"


def forced(nodes: list[Node], stages: Stages) -> set[Node]:
    """Nodes that are anchors whatever else is: see the top of the file, and what a stage leaves for others."""
    found: set[Node] = set()
    for node in nodes:
        if _is_kernel(node):
            found.add(node)
        if node.primitive.kind in BY_ADDRESS:
            found.update(base for base in map(operand_base, node.src) if not is_source(base))
        for source in node.src if stages else ():
            made = _under_views(source)
            stage = stages.get(made)
            if stage is not None and stage != stages.get(node) and _is_computed(made):
                found.add(made)  # a stage leaves what others need of it in memory
    return found


def _under_views(node: Node) -> Node:
    while node.primitive.kind == "view":
        node = node.src[0]
    return node


def _is_computed(node: Node) -> bool:
    """Whether an elementwise node is made of reductions or products, not just of what is there."""
    return node.primitive.kind == "elementwise" and any(map(_is_kernel, walk([node], _is_kernel)))


def _is_kernel(node: Node) -> bool:
    return node.primitive.kind in ("reduce", *BY_ADDRESS)


def ranks(nodes: list[Node]) -> dict[Node, int]:
    """For each node the last thing that is computed again before it: its number, 0 for none."""
    found: dict[Node, int] = {}
    for node in nodes:
        found[node] = node.number if node.op == "again" else max([found[source] for source in node.src], default=0)
    return found
