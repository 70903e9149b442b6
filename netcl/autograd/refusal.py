"""Operations without a derivative: their results require a gradient like any others, and raise where backward gets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from netcl.autograd import tape
from netcl.autograd.tape import Node, TapeNode, edge_of


class _NoWayBack(Node):
    """Stands behind the results of an operation without a gradient."""

    __slots__ = ()

    def gradients(self, gradients: list[Any], create_graph: bool) -> Iterable[Any]:
        raise NotImplementedError(
            f"the derivative of {self.op} is not implemented; call it under no_grad, or on x.detach(), where none is "
            "wanted"
        )


def refuse_way_back(name: str, result: Any, operands: Sequence[Any]) -> Any:
    """The result of an operation without a gradient: NotImplementedError where backward gets to it, as in PyTorch.
    Left out of the graph, it would silently be taken for a constant."""
    tracked = tape.is_grad_enabled() and any([operand._tracked for operand in operands])
    if tracked and result.is_floating_point():
        node = _NoWayBack(name, refuse_way_back, None, 1, [edge_of(operand) for operand in operands], [], [])
        result._tracked, result._node, result._output = True, node, 0
        for listener in tape._state.tapes:
            listener._nodes.append(TapeNode(name, tuple(operands)))
    return result
