"""A layered layout: boxes with arrows that all point down, few crossings, no overlaps.

The classic steps (Sugiyama, Tagawa, Toda 1981): ranks by the longest way from the top, bends where an arrow passes
other ranks, an order within each rank by the average of the neighbours', then places as near to the neighbours as the
order allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 8
BEND = 2.0  # the width that an arrow takes where it passes a rank
BESIDE = 6.0  # between two arrows that pass side by side


@dataclass
class Placed:
    """Where boxes and arrows lie. Boxes by their centres, arrows by the points that they pass, ends included."""

    boxes: list[tuple[float, float]]
    arrows: list[list[tuple[float, float]]]
    width: float
    height: float


def lay_out(
    sizes: Sequence[tuple[float, float]], arrows: Sequence[tuple[int, int]], gap: float = 16.0, drop: float = 34.0
) -> Placed:
    """Places for boxes of these sizes (width, height); arrows are pairs of box numbers without cycles. `gap` lies
    between boxes side by side, `drop` between ranks."""
    if not sizes:
        return Placed([], [], 0.0, 0.0)
    rank = ranks(len(sizes), arrows)
    chains, rank, widths = _with_bends(rank, [width for width, _ in sizes], arrows)
    above: list[list[int]] = [[] for _ in rank]
    below: list[list[int]] = [[] for _ in rank]
    for chain in chains:
        for upper, lower in pairwise(chain):
            below[upper].append(lower)
            above[lower].append(upper)
    rows = _ordered(rank, above, below)
    x = _places(rows, above, below, widths, gap)
    heights = [max((sizes[n][1] for n in row if n < len(sizes)), default=0.0) for row in rows]
    tops = [sum(heights[:number]) + drop * number for number in range(len(rows))]
    y = [tops[rank[n]] + heights[rank[n]] / 2 for n in range(len(rank))]
    left = min(x[n] - widths[n] / 2 for n in range(len(x)))
    x = [place - left for place in x]
    lines = []
    for chain in chains:
        first, last = chain[0], chain[-1]
        points = [(x[first], y[first] + sizes[first][1] / 2)]
        for bend in chain[1:-1]:
            middle, half = y[bend], heights[rank[bend]] / 2
            points += [(x[bend], middle - half), (x[bend], middle + half)]
        lines.append([*points, (x[last], y[last] - sizes[last][1] / 2)])
    width = max(x[n] + widths[n] / 2 for n in range(len(x)))
    return Placed(list(zip(x, y, strict=True))[: len(sizes)], lines, width, tops[-1] + heights[-1])


def ranks(count: int, arrows: Sequence[tuple[int, int]]) -> list[int]:
    """Each box below all that point to it; what nothing points to is right above the first that it points to."""
    incoming = [0] * count
    targets: list[list[int]] = [[] for _ in range(count)]
    for source, target in arrows:
        targets[source].append(target)
        incoming[target] += 1
    tops = [n for n in range(count) if not incoming[n]]
    rank = [0] * count
    ready = list(tops)
    while ready:
        current = ready.pop()
        for target in targets[current]:
            rank[target] = max(rank[target], rank[current] + 1)
            incoming[target] -= 1
            if not incoming[target]:
                ready.append(target)
    for top in tops:
        if targets[top]:
            rank[top] = min(rank[target] for target in targets[top]) - 1
    return rank


def _with_bends(
    rank: list[int], widths: list[float], arrows: Sequence[tuple[int, int]]
) -> tuple[list[list[int]], list[int], list[float]]:
    """Arrows as chains through each rank that they pass; a place where one only passes is a number behind the boxes."""
    rank, widths = list(rank), list(widths)
    chains = []
    for source, target in arrows:
        chain = [source]
        for passed in range(rank[source] + 1, rank[target]):
            chain.append(len(rank))
            rank.append(passed)
            widths.append(BEND)
        chains.append([*chain, target])
    return chains, rank, widths


def _ordered(rank: list[int], above: list[list[int]], below: list[list[int]]) -> list[list[int]]:
    """The ranks from left to right: each by the average place of its neighbours, from above and below in turn."""
    rows: list[list[int]] = [[] for _ in range(max(rank) + 1)]
    for number, at in enumerate(rank):
        rows[at].append(number)
    place = {number: float(n) for row in rows for n, number in enumerate(row)}
    for sweep in range(SWEEPS):
        neighbours = below if sweep % 2 else above
        for row in reversed(rows) if sweep % 2 else rows:
            wish = {n: _mean([place[m] for m in neighbours[n]], place[n]) for n in row}
            row.sort(key=lambda n: wish[n])
            place.update({number: float(n) for n, number in enumerate(row)})
    return rows


def _places(
    rows: list[list[int]], above: list[list[int]], below: list[list[int]], widths: list[float], gap: float
) -> list[float]:
    """Each as near to the average of its neighbours as its row allows."""
    x = [0.0] * len(widths)
    for row in rows:
        for number, place in zip(row, _apart(row, [0.0] * len(row), widths, gap), strict=True):
            x[number] = place
    for sweep in range(SWEEPS):
        neighbours = below if sweep % 2 else above
        for row in reversed(rows) if sweep % 2 else rows:
            wishes = [_mean([x[m] for m in neighbours[n]], x[n]) for n in row]
            for number, place in zip(row, _apart(row, wishes, widths, gap), strict=True):
                x[number] = place
    return x


def _apart(row: list[int], wishes: list[float], widths: list[float], gap: float) -> list[float]:
    """The places nearest to the wishes (least squares) in which neighbours don't overlap: runs that would are averaged
    until they fit."""
    shift, shifts = 0.0, []
    for left, right in zip([None, *row], row, strict=False):
        if left is not None:
            free = BESIDE if widths[left] == widths[right] == BEND else gap
            shift += (widths[left] + widths[right]) / 2 + free
        shifts.append(shift)
    runs: list[list[float]] = []  # sum of wishes less their shifts, how many
    for wish, shift in zip(wishes, shifts, strict=True):
        runs.append([wish - shift, 1])
        while len(runs) > 1 and runs[-2][0] / runs[-2][1] > runs[-1][0] / runs[-1][1]:
            total, count = runs.pop()
            runs[-1][0] += total
            runs[-1][1] += count
    starts = [total / count for total, count in runs for _ in range(int(count))]
    return [start + shift for start, shift in zip(starts, shifts, strict=True)]


def _mean(numbers: list[float], otherwise: float) -> float:
    return sum(numbers) / len(numbers) if numbers else otherwise
