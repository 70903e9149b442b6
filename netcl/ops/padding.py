"""Padding: constants, reflected, repeated and circular edges; negative widths crop."""

from __future__ import annotations

from typing import Any

from netcl.autograd.tape import apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.ops.creation import iota, ones, scalar
from netcl.ops.elementwise import literal
from netcl.ops.shape import clone, narrow, own_copy, pad_with_zeros
from netcl.tensor import Tensor

__all__: list[str] = []  # torch has it in nn.functional only
METHODS: list[str] = []

Widths = tuple[tuple[int, int], ...]


def pad(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """input with more elements around it: pad is (before, after) of the last dimension, then of the one before, ...

    mode: "constant" (value, 0 by default; any dimensions), "reflect" (mirrored at the edge element), "replicate" (the
    edge element again), "circular" (from the other end). The last three take 2-d to 5-d tensors and pad their last
    dimensions, all but the first one or two. Negative widths crop.

    RuntimeError for widths that the shape does not allow, NotImplementedError for other modes and ranks.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.pad(nc.tensor([1, 2]), (1, 2), value=7).tolist()
    [7, 1, 2, 7, 7]
    >>> F.pad(nc.tensor([[1, 2, 3]]), (1, 1), mode="reflect").tolist()
    [[2, 1, 2, 3, 2]]
    """
    widths = _widths(input, pad)
    if mode == "constant":
        return _constant(input, widths, value)
    if value is not None and value != 0:
        raise RuntimeError(f"pad: mode {mode!r} takes no value, got {value}")
    if mode not in _INDICES:
        raise NotImplementedError(f"pad: unknown mode {mode!r}; choose constant, reflect, replicate or circular")
    named = len(pad) // 2
    if not (1 <= named <= 3 and named < input.ndim <= named + 2):
        raise NotImplementedError(
            f"pad: mode {mode!r} pads the last 1, 2 or 3 dimensions, leaving one or two in front; "
            f"got {2 * named} widths for shape {list(input.shape)}"
        )
    more: Widths = tuple((max(low, 0), max(high, 0)) for low, high in widths)
    less: Widths = tuple((min(low, 0), min(high, 0)) for low, high in widths)
    if mode == "circular":
        input = _cropped(input, less)
    _check_edges(mode, input, more)
    if any(low or high for low, high in more):
        input = apply_composite("pad_edges", (input,), (mode, more), _edges_gradient)
    return clone(input if mode == "circular" else _cropped(input, less))


def _widths(input: Tensor, pad: Any) -> Widths:
    given = [int(width) for width in pad]
    if len(given) % 2:
        raise RuntimeError(f"pad: expected pairs (before, after), got {len(given)} widths")
    rank = input.ndim
    if len(given) > 2 * rank:
        raise RuntimeError(
            f"pad: {len(given)} widths are for {len(given) // 2} dimensions, the shape is {list(input.shape)}"
        )
    pairs = [(given[i], given[i + 1]) for i in range(0, len(given), 2)]
    widths = tuple([(0, 0)] * (rank - len(pairs)) + pairs[::-1])
    for size, (low, high) in zip(input._value.shape, widths, strict=True):
        if size + low + high < 0:
            raise RuntimeError(f"pad: widths ({low}, {high}) leave less than nothing of a size of {size}")
    return widths


def _cropped(input: Tensor, widths: Widths) -> Tensor:
    for axis, (low, high) in enumerate(widths):
        if low or high:
            size = input._value.shape[axis]
            start = min(-low, size)
            input = narrow(input, axis, start, max(size - start + high, 0))
    return input


# ---- constants ---------------------------------------------------------------------------------------------------


def _constant(input: Tensor, widths: Widths, value: float | None) -> Tensor:
    more: Widths = tuple((max(low, 0), max(high, 0)) for low, high in widths)
    rest: Widths = tuple((min(low, 0), min(high, 0)) for low, high in widths)
    for size, (low, high) in zip(input._value.shape, rest, strict=True):
        if size + low + high < 0:
            raise RuntimeError(f"pad: there are not {-low - high} elements to crop from a size of {size}")
    inner = _cropped(input, rest)
    if not any(low or high for low, high in more):
        return clone(input) if inner is input else own_copy(inner)
    zeros = pad_with_zeros(inner, more)
    if not value:
        return zeros
    dtype = input.dtype
    number = bool(value) if dtype is dtypes.bool_ else float(value) if dtype.category == 2 else int(value)
    device = input._value.device
    inside = pad_with_zeros(ones(inner._value.shape, dtype=dtypes.bool_, device=device), more)
    return zeros.where(inside, scalar(number, dtype, device))


# ---- edges -------------------------------------------------------------------------------------------------------


def _check_edges(mode: str, input: Tensor, widths: Widths) -> None:
    """How much of the tensor there has to be."""
    for axis, (size, (low, high)) in enumerate(zip(input._value.shape, widths, strict=True)):
        if not low and not high:
            continue
        limit = {"reflect": size - 1, "circular": size, "replicate": max(low, high) if size else -1}[mode]
        if max(low, high) > limit:
            raise RuntimeError(
                f"pad: widths ({low}, {high}) are too large for mode {mode!r} and size {size} of dimension {axis} "
                f"(shape {list(input.shape)}); at most {max(limit, 0)} fit"
            )


def _reflected(place: Tensor, size: int) -> Tensor:
    last = size - 1
    return literal(last, place) - (literal(last, place) - place.abs()).abs()


def _replicated(place: Tensor, size: int) -> Tensor:
    return place.maximum(literal(0, place)).minimum(literal(size - 1, place))


def _circular(place: Tensor, size: int) -> Tensor:
    length = literal(size, place)
    return place.where(place >= 0, place + length).where(place < size, place - length)


_INDICES = {"reflect": _reflected, "replicate": _replicated, "circular": _circular}


def _edges(x: Any, arg: tuple[str, Widths]) -> Any:
    """One dimension after the other, each read at computed places."""
    mode, widths = arg
    result = Tensor._wrap(x)
    for axis, (low, high) in enumerate(widths):
        if low or high:
            shape = list(result._value.shape)
            size, shape[axis] = shape[axis], shape[axis] + low + high
            place = iota(tuple(shape), axis, result._value.device, dtypes.int32)
            result = apply_composite("gather", (result, _INDICES[mode](place - literal(low, place), size)), axis, None)
    return result._value


def _edges_infer(operands: Any, arg: tuple[str, Widths]) -> tuple:
    x = operands[0]
    return tuple(size + low + high for size, (low, high) in zip(x.shape, arg[1], strict=True)), x.dtype


def _edges_gradient(g: Tensor, y: Any, x: Any, arg: tuple[str, Widths]) -> tuple:
    """What went beyond an edge comes back to where it was read."""
    mode, widths = arg
    for axis in reversed(range(len(widths))):
        low, high = widths[axis]
        if low or high:
            size = x.shape[axis]
            total = narrow(g, axis, low, size)
            for start, length, before in ((0, low, True), (low + size, high, False)):
                if length:
                    total = total + _returned(mode, narrow(g, axis, start, length), axis, size, before)
            g = total
    return (g,)


def _returned(mode: str, piece: Tensor, axis: int, size: int, before: bool) -> Tensor:
    """The gradient of the elements added on one side, at the places that they were read from."""
    if mode == "replicate":
        piece = piece.sum(axis, keepdim=True)
    if mode == "reflect":
        piece = piece.flip(axis)
    length = piece._value.shape[axis]
    inset = 1 if mode == "reflect" else 0
    first = before if mode != "circular" else not before
    low = inset if first else size - length - inset
    return piece.pad_with_zeros([(low, size - length - low) if a == axis else (0, 0) for a in range(piece.ndim)])


primitives.composite("pad_edges", _edges_infer, _edges)
