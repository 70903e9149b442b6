"""Windows that fade a signal out at its ends: hann, hamming, bartlett, blackman, kaiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.ops.creation import tensor
from netcl.tensor import Tensor

__all__ = "bartlett_window blackman_window hamming_window hann_window kaiser_window".split()


def _made(
    name: str, length: int, periodic: bool, shape: Callable[[np.ndarray, int], np.ndarray], dtype: DType | None,
    device: Any, requires_grad: bool,
) -> Tensor:  # fmt: skip
    """shape(places, last place), of one element more than the length where the window is periodic; on the host."""
    if length < 0:
        raise RuntimeError(f"{name}: window_length must be non-negative, got {length}")
    dtype = dtypes.of(dtype) or dtypes.default_float
    if dtype.category != 2:
        raise RuntimeError(f"{name}: expected a floating-point dtype, got {dtype}")
    last = length if periodic else length - 1
    elements = shape(np.arange(length, dtype=np.float64), last) if length > 1 else np.ones(length)
    return tensor(elements.astype(dtype.numpy), None, find_device(device), requires_grad)


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """0.5 - 0.5 * cos(2 pi n / N), with N = window_length, or one less if not periodic."""
    return hamming_window(
        window_length, periodic, 0.5, 0.5, dtype=dtype, device=device, requires_grad=requires_grad
    )


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: DType | None = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """alpha - beta * cos(2 pi n / N), with N = window_length, or one less if not periodic."""

    def shape(places: np.ndarray, last: int) -> np.ndarray:
        return alpha - beta * np.cos(2 * np.pi * places / last)

    return _made("hamming_window", window_length, periodic, shape, dtype, device, requires_grad)


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A triangle from 0 to 1 and back."""

    def shape(places: np.ndarray, last: int) -> np.ndarray:
        return 1 - np.abs(2 * places / last - 1)

    return _made("bartlett_window", window_length, periodic, shape, dtype, device, requires_grad)


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """0.42 - 0.5 * cos(2 pi n / N) + 0.08 * cos(4 pi n / N), with N = window_length, or one less if not periodic."""

    def shape(places: np.ndarray, last: int) -> np.ndarray:
        angle = 2 * np.pi * places / last
        return 0.42 - 0.5 * np.cos(angle) + 0.08 * np.cos(2 * angle)

    return _made("blackman_window", window_length, periodic, shape, dtype, device, requires_grad)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Bessel function I0 along a half ellipse: the larger beta, the narrower."""

    def shape(places: np.ndarray, last: int) -> np.ndarray:
        return np.i0(beta * np.sqrt(1 - (2 * places / last - 1) ** 2)) / np.i0(beta)

    return _made("kaiser_window", window_length, periodic, shape, dtype, device, requires_grad)
