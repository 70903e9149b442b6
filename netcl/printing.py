"""Tensors as text, laid out as PyTorch does, and the options for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.core.device import current_device

__all__ = ["get_printoptions", "printoptions", "set_printoptions"]


@dataclass(frozen=True)
class PrintOptions:
    """How tensors are printed."""

    precision: int = 4  # digits after the point
    threshold: float = 1000  # beyond so many elements only the edges are shown
    edgeitems: int = 3  # of each dimension
    linewidth: int = 80
    sci_mode: bool | None = None  # powers of ten always, never, or where the numbers need it


_PROFILES: dict[str, dict[str, Any]] = {
    "default": {},
    "short": {"precision": 2, "edgeitems": 2},
    "full": {"threshold": math.inf},
}
_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed; None keeps what is set, except that sci_mode=None chooses by the numbers again.

    `profile` is "default", "short" or "full". ValueError for another one.

    >>> import netcl as nc
    >>> with nc.printoptions(precision=2):
    ...     nc.tensor([1.2345])
    tensor([1.23])
    """
    global _options
    options = _options
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: profile must be one of {', '.join(_PROFILES)}, not {profile!r}")
        options = PrintOptions(**_PROFILES[profile])
    names = ("precision", "threshold", "edgeitems", "linewidth")
    given: Any = zip(names, (precision, threshold, edgeitems, linewidth), strict=True)
    _options = replace(options, **{name: value for name, value in given if value is not None}, sci_mode=sci_mode)


def get_printoptions() -> dict[str, Any]:
    """The options as a dict: what set_printoptions takes."""
    return asdict(_options)


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """set_printoptions(..) inside, and what was set before afterwards."""
    global _options
    before = _options
    set_printoptions(**options)
    try:
        yield
    finally:
        _options = before


def tensor_text(tensor: Any) -> str:
    """`tensor([..], dtype=.., requires_grad=True)`. Runs what is pending, and waits."""
    kind = type(tensor).__name__
    start = "tensor(" if kind in ("Tensor", "Parameter") else f"{kind}("
    array = tensor.detach().numpy()
    text = start + _array_text(array, len(start))
    length = len(text) - text.rfind("\n") + 1
    for suffix in _suffixes(tensor, array):
        if length + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * len(start) + suffix
            length = len(start) + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text + ")"


def _suffixes(tensor: Any, array: np.ndarray) -> list[str]:
    """What follows the elements: device, size, dtype, gradient, each where it can't be seen from them."""
    suffixes = []
    if tensor.device is not current_device():
        suffixes.append(f"device='{tensor.device}'")
    if (array.size == 0 and array.ndim != 1) or (array.size and not _options.edgeitems):
        suffixes.append(f"size={tuple(array.shape)}")
    if tensor.dtype not in (dtypes.default_float,) + ((dtypes.int64, dtypes.bool_) if array.size else ()):
        suffixes.append(f"dtype={tensor.dtype}")
    if tensor._node is not None:
        suffixes.append(f"grad_fn={tensor._node!r}")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    return suffixes


def _array_text(array: np.ndarray, indent: int) -> str:
    if not array.size:
        return "[]"
    if array.dtype.kind not in "iub":
        array = array.astype(np.float64)
    shown, short, edge = array, array.size > _options.threshold, _options.edgeitems
    if short:
        for axis, size in enumerate(array.shape):
            if size > 2 * edge:
                shown = np.take(shown, [*range(edge), *range(size - edge, size)], axis)
    number, width = _formatter(shown.reshape(-1).tolist(), array.dtype.kind == "f")
    return _nested(array, lambda x: number(x).rjust(width), width, indent, short)


def _nested(array: np.ndarray, number: Callable[[Any], str], width: int, indent: int, short: bool) -> str:
    if array.ndim == 0:
        return number(array.item())
    edge = _options.edgeitems
    cut = short and len(array) > 2 * edge
    rows = [*array[:edge], *array[len(array) - edge :]] if cut else list(array)
    if array.ndim == 1:
        texts = [number(x.item()) for x in rows]
        if cut:
            texts.insert(edge, " ..." if edge else "...")
        per_line = max(1, (_options.linewidth - indent) // (width + 2))
        lines = [", ".join(texts[n : n + per_line]) for n in range(0, len(texts), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = [_nested(row, number, width, indent + 1, short) for row in rows]
    if cut:
        parts.insert(edge, "...")
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _formatter(numbers: list, floating: bool) -> tuple[Callable[[Any], str], int]:
    """How to spell one number, and the width of the column."""
    if not floating:
        return str, max((len(str(x)) for x in numbers), default=1)
    finite = [x for x in numbers if x and math.isfinite(x)]
    point = ""
    if finite and _in_powers_of_ten([abs(x) for x in finite]):
        spec = f".{_options.precision}e"
    elif all(x == math.ceil(x) for x in finite):
        spec, point = ".0f", "."
    else:
        spec = f".{_options.precision}f"
    width = max((len(format(x, spec) + point) for x in finite), default=1)
    return lambda x: format(x, spec) + (point if math.isfinite(x) else ""), width


def _in_powers_of_ten(sizes: list[float]) -> bool:
    """Whether numbers of these absolute values are written as 1.0000e+05."""
    if _options.sci_mode is not None:
        return _options.sci_mode
    largest, smallest = max(sizes), min(sizes)
    return largest / smallest > 1000 or largest > 1e8 or smallest < 1e-4
