"""Tensors as text, laid out as PyTorch does (precision 4, lines of 80, edges of 3 beyond 1000 elements)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from netcl.core import dtypes

LINE, EDGE, THRESHOLD = 80, 3, 1000
_START = "tensor("


def tensor_text(tensor: Any) -> str:
    """`tensor([..], dtype=.., requires_grad=True)`. Runs what is pending, and waits."""
    array, dtype = tensor.detach().numpy(), tensor.dtype
    suffixes = []
    if array.size == 0 and array.ndim != 1:
        suffixes.append(f"size={tuple(array.shape)}")
    if dtype not in (dtypes.float32,) + ((dtypes.int64, dtypes.bool_) if array.size else ()):
        suffixes.append(f"dtype={dtype}")
    if tensor._node is not None:
        suffixes.append(f"grad_fn={tensor._node!r}")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    text = _START + _array_text(array)
    length = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if length + len(suffix) + 2 > LINE:
            text += ",\n" + " " * len(_START) + suffix
            length = len(_START) + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text + ")"


def _array_text(array: np.ndarray) -> str:
    if not array.size:
        return "[]"
    if array.dtype.kind not in "iub":
        array = array.astype(np.float64)
    shown = array
    if array.size > THRESHOLD:
        for axis, size in enumerate(array.shape):
            if size > 2 * EDGE:
                shown = np.take(shown, [*range(EDGE), *range(size - EDGE, size)], axis)
    number, width = _formatter(shown.reshape(-1).tolist(), array.dtype.kind == "f")
    return _nested(array, lambda x: number(x).rjust(width), width, len(_START), array.size > THRESHOLD)


def _nested(array: np.ndarray, number: Callable[[Any], str], width: int, indent: int, short: bool) -> str:
    if array.ndim == 0:
        return number(array.item())
    cut = short and len(array) > 2 * EDGE
    rows = [*array[:EDGE], *array[-EDGE:]] if cut else list(array)
    if array.ndim == 1:
        texts = [number(x.item()) for x in rows]
        if cut:
            texts.insert(EDGE, " ...")
        per_line = max(1, (LINE - indent) // (width + 2))
        lines = [", ".join(texts[n : n + per_line]) for n in range(0, len(texts), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = [_nested(row, number, width, indent + 1, short) for row in rows]
    if cut:
        parts.insert(EDGE, "...")
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _formatter(numbers: list, floating: bool) -> tuple[Callable[[Any], str], int]:
    """How to spell one number, and the width of the column."""
    if not floating:
        return str, max(len(str(x)) for x in numbers)
    finite = [x for x in numbers if x and math.isfinite(x)]
    largest, smallest = max(map(abs, finite), default=1.0), min(map(abs, finite), default=1.0)
    whole = all(x == math.ceil(x) for x in finite)
    if largest / smallest > 1000 or largest > 1e8 or (not whole and smallest < 1e-4):
        spec = ".4e"
    elif whole:
        spec = ".0f"
    else:
        spec = ".4f"
    point = "." if spec == ".0f" else ""
    width = max((len(format(x, spec) + point) for x in finite), default=1)
    return lambda x: format(x, spec) + (point if math.isfinite(x) else ""), width
