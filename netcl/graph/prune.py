"""Dead records out of a trace: what was recorded and dropped before anything needed it.

A trace's key is all that it recorded, so leftovers (a tensor made during set-up, a metric that nobody read) would give
the same work another plan. They are found once for each key, and taken out by a recipe after that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netcl.graph.value import Trace


@dataclass
class Pruning:
    """How to take the dead records out of a trace: the records that stay, and where each thing moves."""

    records: list[tuple]  # renumbered
    kept: list[int]  # old positions
    inputs: list[int]
    scalars: list[int]


def pruning(trace: Trace, held: list[int]) -> Pruning | None:
    """The recipe for a trace of which the values at `held` are wanted; None where nothing is dead."""
    records = trace.records
    needed = set(held)
    for position in range(len(records) - 1, -1, -1):
        if position in needed:
            needed.update(records[position][2])
    if len(needed) == len(records):
        return None
    kept = sorted(needed)
    moved = {old: new for new, old in enumerate(kept)}
    inputs: list[int] = []
    scalars: list[int] = []
    seen = {"input": 0, "scalar": 0}
    for position, (op, _, _) in enumerate(records):
        if op in seen:
            if position in needed:
                (inputs if op == "input" else scalars).append(seen[op])
            seen[op] += 1
    staying = [records[position] for position in kept]
    renumbered = [(op, arg, tuple([moved[o] for o in operands])) for op, arg, operands in staying]
    return Pruning(renumbered, kept, inputs, scalars)


def prune(trace: Trace, recipe: Pruning) -> None:
    """Take the dead records out."""
    references = [(new, trace.values[old]) for new, old in enumerate(recipe.kept) if old in trace.values]
    trace.values = dict(references)
    for position, reference in references:
        value: Any = reference()
        if value is not None:
            value.index = position
    trace.records = list(recipe.records)
    trace.inputs = [trace.inputs[number] for number in recipe.inputs]
    trace.scalars = [trace.scalars[number] for number in recipe.scalars]
