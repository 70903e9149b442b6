"""The strong Wolfe line search (Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 3.5 and 3.6)."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, sqrt
from typing import Any, NamedTuple

from netcl.tensor import Tensor

SUFFICIENT = 1e-4  # of the decrease that the slope promises
FLATTER = 0.9  # the slope that is left
MOST_TRIALS = 25


class _Point(NamedTuple):
    """A step that was tried: its size, the loss there, the gradient, and the slope along the direction."""

    size: float
    loss: float
    gradient: Any
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], tuple[float, Tensor]], size: float, direction: Tensor, loss: float, gradient: Tensor,
    slope: float, tolerance: float,
) -> tuple[float, Tensor, float, int]:  # fmt: skip
    """(loss, gradient, step size, evaluations) of a step that lowers the loss enough and leaves a flat slope."""
    start = _Point(0.0, loss, gradient, slope)
    widest = float(direction.abs().amax())
    best = before = start
    count = 0
    while count < MOST_TRIALS:
        found = _tried(evaluate, size, direction)
        count += 1
        best = found if found.loss < best.loss else best
        if _too_high(found, start) or (count > 1 and found.loss >= before.loss):
            return _zoom(evaluate, direction, start, before, found, count, tolerance / max(widest, 1e-30))
        if abs(found.slope) <= -FLATTER * slope:
            return found.loss, found.gradient, found.size, count
        if found.slope >= 0:
            return _zoom(evaluate, direction, start, found, before, count, tolerance / max(widest, 1e-30))
        size = _between(before, found, size + 0.01 * (size - before.size), size * 10)
        before = found
    return best.loss, best.gradient, best.size, count


def _zoom(
    evaluate: Callable, direction: Tensor, start: _Point, low: _Point, high: _Point, count: int, narrow: float
) -> tuple[float, Tensor, float, int]:
    """Close in on a good step between two, of which `low` is the better one."""
    while count < MOST_TRIALS and abs(high.size - low.size) > narrow:
        left, right = sorted((low.size, high.size))
        margin = 0.1 * (right - left)
        found = _tried(evaluate, _between(low, high, left + margin, right - margin), direction)
        count += 1
        if _too_high(found, start) or found.loss >= low.loss:
            high = found
            continue
        if abs(found.slope) <= -FLATTER * start.slope:
            low = found
            break
        if found.slope * (high.size - low.size) >= 0:
            high = low
        low = found
    return low.loss, low.gradient, low.size, count


def _tried(evaluate: Callable, size: float, direction: Tensor) -> _Point:
    loss, gradient = evaluate(size)
    return _Point(size, loss, gradient, float((gradient * direction).sum()))


def _too_high(point: _Point, start: _Point) -> bool:
    return not point.loss <= start.loss + SUFFICIENT * point.size * start.slope  # a NaN is too high


def _between(a: _Point, b: _Point, least: float, most: float) -> float:
    """Where the cubic through two points with their slopes is lowest, held within bounds; else their middle."""
    middle = (least + most) / 2
    if a.size == b.size or not all(isfinite(x) for x in (a.loss, b.loss, a.slope, b.slope)):
        return middle
    if a.size > b.size:
        a, b = b, a
    bend = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.size - b.size)
    inside = bend * bend - a.slope * b.slope
    if inside < 0:
        return middle
    root = sqrt(inside)
    below = b.slope - a.slope + 2 * root
    if below == 0:
        return middle
    lowest = b.size - (b.size - a.size) * (b.slope + root - bend) / below
    return min(max(lowest, least), most)
