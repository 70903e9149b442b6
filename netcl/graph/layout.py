"""Where the values of a plan lie: which share memory, which lie in an input's that nobody needs any more."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from netcl.codegen.ir import KernelSource, Node
from netcl.core.replay import Memory


@dataclass
class Piece:
    """Memory for values that follow each other: each is written where the one before it is read for the last time,
    element by element."""

    nodes: list[Node]
    size: int
    first: int  # the launch that writes it first
    last: int  # and the one that reads it last


def nbytes(node: Node) -> int:
    return prod(node.shape) * node.dtype.itemsize


def lay_out(
    sources: list[KernelSource], made_at: dict[Node, int], wanted: set[Node], slot_of: dict[Node, int], free: set[Node]
) -> Memory:
    """The memory of a plan. `made_at`: the launch that writes each value; `wanted`: the values that outlive the plan;
    `free`: inputs that nothing else holds."""
    last_use = {node: n for n, source in enumerate(sources) for kind, node in source.arguments if kind == "buffer"}
    memory = Memory()
    available = sorted(free, key=lambda node: slot_of[node])
    idle: list[tuple[int, int, int]] = []  # (bytes, slot, the launch that uses it last)
    for piece in _pieces(sources, made_at, wanted, last_use):
        slot = slot_of[piece.nodes[0]]
        if piece.nodes[-1] in wanted:
            taken = _input_to_take(piece, sources, available, last_use) if len(piece.nodes) == 1 else None
            if taken is None:
                memory.results.append((slot, piece.size))
            else:
                available.remove(taken)
                memory.same.append((slot, slot_of[taken]))
                before = memory.overwrites_from
                memory.overwrites_from = piece.first if before is None else min(before, piece.first)
        else:
            place = min((p for p in idle if piece.size <= p[0] <= 2 * piece.size and p[2] < piece.first), default=None)
            if place is None:
                memory.scratch.append((slot, piece.size))
                place = (piece.size, slot, piece.last)
            else:
                idle.remove(place)
                memory.same.append((slot, place[1]))
            idle.append((place[0], place[1], piece.last))
        memory.same += [(slot_of[node], slot) for node in piece.nodes[1:]]
    return memory


def _pieces(
    sources: list[KernelSource], made_at: dict[Node, int], wanted: set[Node], last_use: dict[Node, int]
) -> list[Piece]:
    """Values in chains that can share memory, in the order of the launches that write them first."""
    piece_of: dict[Node, Piece] = {}
    pieces = []
    for node, number in sorted(made_at.items(), key=lambda item: item[1]):
        ended = max(number, last_use.get(node, number))
        for earlier, result in sources[number].same_element:
            piece = piece_of.get(earlier)
            if result is not node or piece is None or piece.nodes[-1] is not earlier or earlier in wanted:
                continue
            if last_use[earlier] == number and piece.size == nbytes(node):
                piece.nodes.append(node)
                piece.last = ended
                piece_of[node] = piece
                break
        if node not in piece_of:
            piece_of[node] = Piece([node], nbytes(node), number, ended)
            pieces.append(piece_of[node])
    return pieces


def _input_to_take(
    piece: Piece, sources: list[KernelSource], available: list[Node], last_use: dict[Node, int]
) -> Node | None:
    """An input's memory for a result: nobody else holds it, no later launch reads it, and this launch reads it, if at
    all, at the very element that it writes."""
    for owner in available:
        last = last_use.get(owner, -1)
        fits = nbytes(owner) == piece.size and last <= piece.first
        if fits and (last < piece.first or (owner, piece.nodes[0]) in sources[piece.first].same_element):
            return owner
    return None
