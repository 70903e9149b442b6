"""Where the values of a plan lie: which share memory, which lie in an input's that nobody needs any more."""

from __future__ import annotations

import itertools
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
    sources: list[KernelSource], made_at: dict[Node, int], wanted: set[Node], slot_of: dict[Node, int], inputs: int,
    free: set[Node], heirs: dict[Node, Node],
) -> Memory:  # fmt: skip
    """The memory of a plan; every value made is given a slot, behind those of the inputs. `made_at`: the launch that
    writes each value; `wanted`: the values that outlive the plan; `free`: inputs that nothing else holds; `heirs`:
    whose memory a result should get."""
    last_use = {node: n for n, source in enumerate(sources) for kind, node in source.arguments if kind == "buffer"}
    memory = Memory()
    pieces = _pieces(sources, made_at, wanted, last_use)
    by_number = sorted(free, key=lambda node: slot_of[node])
    taken = _inputs_to_take(pieces, sources, wanted, by_number, heirs, last_use)
    idle: list[tuple[int, int, int]] = []  # (bytes, slot, the launch that uses it last)
    results = [piece for piece in pieces if piece.nodes[0] not in taken and piece.nodes[-1] in wanted]
    new_result, new_scratch = itertools.count(inputs), itertools.count(inputs + len(results))
    for piece in pieces:
        owner = taken.get(piece.nodes[0])
        if owner is not None:
            slot = slot_of[owner]
            memory.taken.append((slot, piece.size, piece.first))
        elif piece.nodes[-1] in wanted:
            slot = next(new_result)
            memory.results.append(piece.size)
        else:
            place = min((p for p in idle if piece.size <= p[0] <= 2 * piece.size and p[2] < piece.first), default=None)
            if place is None:
                place = piece.size, next(new_scratch), piece.last
                memory.scratch.append(piece.size)
            else:
                idle.remove(place)
            slot = place[1]
            idle.append((place[0], slot, piece.last))
        slot_of.update(dict.fromkeys(piece.nodes, slot))
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


def _inputs_to_take(
    pieces: list[Piece], sources: list[KernelSource], wanted: set[Node], free: list[Node], heirs: dict[Node, Node],
    last_use: dict[Node, int],
) -> dict[Node, Node]:  # fmt: skip
    """Inputs whose memory results get: nobody else holds it, no later launch reads it, and the launch that writes it
    reads it, if at all, at the very element. Heirs come first; then the nearest result goes into the memory of its
    origin, so that a tensor that is updated stays where it is."""

    def fits(owner: Node, piece: Piece) -> bool:
        last = last_use.get(owner, -1)
        if nbytes(owner) != piece.size or last > piece.first:
            return False
        return last < piece.first or (owner, piece.nodes[0]) in sources[piece.first].same_element

    taken: dict[Node, Node] = {}

    def take(piece: Piece, owners: list[Node]) -> None:
        result = piece.nodes[0]
        owner = None if result in taken else next((owner for owner in owners if fits(owner, piece)), None)
        if owner is not None:
            taken[result] = owner
            free.remove(owner)

    results = [piece for piece in pieces if piece.nodes[-1] in wanted and len(piece.nodes) == 1]
    for piece in results:
        owner = heirs.get(piece.nodes[0])
        take(piece, [owner] if owner in free else [])
    origins = [(*_origin(piece.nodes[0]), piece) for piece in results]
    for _, origin, piece in sorted(origins, key=lambda item: item[0]):
        take(piece, [origin] if origin in free else [])
    for piece in results:
        take(piece, free)
    return taken


def _origin(node: Node) -> tuple[int, Node]:
    """What a value begins with, and how many steps away it is: p and 1, for `p + rate * m`."""
    steps = 0
    while node.src:
        node = node.src[0]
        steps += 1
    return steps, node
