"""Tensors as text, in PyTorch's style."""

from __future__ import annotations

from typing import Any

import numpy as np

from netcl.core import dtypes


def tensor_text(tensor: Any) -> str:
    """`tensor([..], dtype=.., requires_grad=True)`. Runs what is pending, and waits."""
    array = tensor.detach().numpy()
    dtype = tensor.dtype
    if dtype is dtypes.bfloat16:
        array = array.astype(np.float32)
    text = _array_text(array, dtype)
    suffix = "" if dtype in (dtypes.float32, dtypes.int64, dtypes.bool_) else f", dtype={dtype}"
    if tensor._node is not None:
        suffix += f", grad_fn={tensor._node!r}"
    elif tensor.requires_grad:
        suffix += ", requires_grad=True"
    if 0 in array.shape and array.ndim > 1:
        suffix = f", size={tuple(array.shape)}" + suffix
    return f"tensor({text}{suffix})"


def _array_text(array: np.ndarray, dtype: Any) -> str:
    if 0 in array.shape:
        return "[]"
    formatted: Any
    if array.dtype.kind != "f":
        formatted = {"int": str, "bool": str}
        if array.ndim == 0:
            return str(array.item())
    else:
        formatted = {"float": _float_format(array)}
        if array.ndim == 0:
            return formatted["float"](array)
    return np.array2string(array, separator=", ", prefix="tensor(", formatter=formatted, threshold=1000, edgeitems=3)


def _float_format(array: np.ndarray) -> Any:
    finite = np.abs(array[np.isfinite(array)].astype(np.float64))
    nonzero = finite[finite > 0]
    if np.all(finite == np.floor(finite)) and (not nonzero.size or nonzero.max() < 1e8):
        text = [f"{x:.0f}." if np.isfinite(x) else str(float(x)) for x in array.ravel()]
        width = max(map(len, text))
        return lambda x: (f"{x:.0f}." if np.isfinite(x) else str(float(x))).rjust(width if array.ndim else 0)
    scientific = nonzero.size and (nonzero.max() / nonzero.min() > 1000 or nonzero.max() >= 1e8 or nonzero.min() < 1e-4)
    spec = ".4e" if scientific else ".4f"
    width = max((len(format(float(x), spec)) for x in array.ravel()), default=0) if array.size <= 1000 else 0
    return lambda x: format(float(x), spec).rjust(width if array.ndim else 0)
