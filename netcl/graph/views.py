"""Views of values: free on realised ones where strides allow, recorded otherwise."""

from __future__ import annotations

from typing import Any

from netcl.codegen.ir import Shape, contiguous_strides
from netcl.graph import value as tracing
from netcl.graph.primitives import diagonal_shape, windows_shape
from netcl.graph.value import Value, record

Strides = tuple[int, ...]


def view(op: str, value: Value, arg: Any) -> Value:
    """reshape, permute, expand, slice or pad of a value."""
    if value.buffer is not None and _at_once() and op in LAYOUT:
        strides = contiguous_strides(value.shape) if value.strides is None else value.strides
        found = LAYOUT[op](value.shape, strides, arg)
        if found is not None:
            shape, strides, shift = found
            kept = None if strides == contiguous_strides(shape) else strides
            return Value.realised(value.buffer, shape, value.dtype, value.device, kept, value.offset + shift)
    return record(op, (value,), arg)


def _at_once() -> bool:
    """Whether a view of memory is made now: not in a composite's body, nor where a function is recorded."""
    pending = tracing._pending
    return pending.expansion is None and pending.recorder is None


def _permute(shape: Shape, strides: Strides, axes: tuple[int, ...]) -> tuple[Shape, Strides, int]:
    return tuple(shape[axis] for axis in axes), tuple(strides[axis] for axis in axes), 0


def _expand(shape: Shape, strides: Strides, wanted: Shape) -> tuple[Shape, Strides, int]:
    return wanted, tuple(0 if size == 1 else s for size, s in zip(shape, strides, strict=True)), 0


def _slice(shape: Shape, strides: Strides, arg: tuple) -> tuple[Shape, Strides, int]:
    sizes, steps, shift = [], [], 0
    for (start, stop, step), stride in zip(arg, strides, strict=True):
        sizes.append(stop - start if step == 1 and stop > start else len(range(start, stop, step)))
        steps.append(step * stride)
        shift += start * stride
    return tuple(sizes), tuple(steps), 0 if 0 in sizes else shift


def _diagonal(shape: Shape, strides: Strides, arg: tuple[int, int, int]) -> tuple[Shape, Strides, int]:
    offset, row_axis, column_axis = arg
    result = diagonal_shape(shape, arg)
    kept = tuple(stride for axis, stride in enumerate(strides) if axis not in (row_axis, column_axis))
    shift = max(-offset, 0) * strides[row_axis] + max(offset, 0) * strides[column_axis]
    return result, (*kept, strides[row_axis] + strides[column_axis]), 0 if 0 in result else shift


def _windows(shape: Shape, strides: Strides, arg: tuple[int, int, int]) -> tuple[Shape, Strides, int]:
    axis, _, step = arg
    moved = strides[:axis] + (strides[axis] * step,) + strides[axis + 1 :]
    return windows_shape(shape, arg), (*moved, strides[axis]), 0


def _reshape(shape: Shape, strides: Strides, wanted: Shape) -> tuple[Shape, Strides, int] | None:
    """Strides for the new shape, or None where elements would have to move."""
    if 0 in shape:
        return wanted, contiguous_strides(wanted), 0
    runs: list[list[int]] = []  # [elements, stride of the last]: dimensions that lie evenly behind each other
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if runs and runs[-1][1] == size * stride:
            runs[-1] = [runs[-1][0] * size, stride]
        else:
            runs.append([size, stride])
    result: list[int] = []
    step = 1  # what the stride of the next dimension would be if the elements lay evenly
    for size in reversed(wanted):
        if size == 1:
            result.append(step)
            continue
        if not runs or runs[-1][0] % size:
            return None
        run = runs[-1]
        result.append(run[1])
        run[0] //= size
        run[1] *= size
        step = run[1]
        if run[0] == 1:
            runs.pop()
    return wanted, tuple(reversed(result)), 0


LAYOUT = {
    "permute": _permute, "expand": _expand, "slice": _slice, "reshape": _reshape, "diagonal": _diagonal,
    "windows": _windows,
}  # fmt: skip
