"""Dropout in all its forms.

A mask is a function of (seed, call, position): the way back computes it again instead of storing it.
"""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.tape import apply, apply_composite
from netcl.core import dtypes
from netcl.core.warning import warn
from netcl.graph import primitives
from netcl.graph.value import record_scalar
from netcl.ops.elementwise import literal
from netcl.tensor import Tensor

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]

SELU_FLOOR = -1.7580993408473766  # what SELU tends to: -scale * alpha


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeros with probability p, the rest divided by 1 - p (Srivastava et al., Dropout, JMLR 2014)."""
    return _dropped("dropout", input, p, training, inplace, tuple(input.shape))


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels to zero with probability p. input: (N, C, L) or (C, L)."""
    if input.ndim not in (2, 3):
        raise RuntimeError(f"dropout1d: expected 2D or 3D input, got shape {list(input.shape)}")
    return _dropped("dropout1d", input, p, training, inplace, _channels(input, input.ndim - 1))


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels to zero with probability p. input: (N, C, H, W); three dimensions are (N, C, L), as in PyTorch."""
    if input.ndim < 2:
        raise RuntimeError(f"dropout2d: expected 4D input (N, C, H, W), got shape {list(input.shape)}")
    if input.ndim != 4:
        warn(
            f"dropout2d: {input.ndim}-D input is taken for (N, C, *); use dropout1d or dropout3d, or unsqueeze(0) "
            "where there is no batch"
        )
    return _dropped("dropout2d", input, p, training, inplace, _channels(input, 2))


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels to zero with probability p. input: (N, C, D, H, W) or (C, D, H, W)."""
    if input.ndim not in (4, 5):
        raise RuntimeError(f"dropout3d: expected 4D or 5D input, got shape {list(input.shape)}")
    return _dropped("dropout3d", input, p, training, inplace, _channels(input, input.ndim - 3))


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Sets elements to SELU's floor with probability p, then scales so that mean 0 and variance 1 stay.

    Klambauer et al.: Self-Normalizing Neural Networks, 2017.
    """
    return _alpha_dropped("alpha_dropout", input, p, training, inplace, tuple(input.shape))


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """alpha_dropout of whole channels. input: (N, C, *)."""
    if input.ndim < 2:
        raise RuntimeError(f"feature_alpha_dropout: expected (N, C, *), got shape {list(input.shape)}")
    return _alpha_dropped("feature_alpha_dropout", input, p, training, inplace, _channels(input, 2))


def _channels(input: Tensor, kept: int) -> tuple[int, ...]:
    """The mask's shape: one number for the rest of each of the first dimensions."""
    return tuple(input.shape[:kept]) + (1,) * (input.ndim - kept)


def _check(name: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name}: dropout probability has to be between 0 and 1, but got {p}")


def _draw(input: Tensor, p: float) -> tuple[Tensor, Tensor, Tensor]:
    """The numbers that the next mask is a function of: call, seed, p."""
    from netcl.random import dropout_key, per_sample

    seed, call = dropout_key()
    device = input._value.device
    drawn, key = (Tensor._wrap(record_scalar(number, dtypes.int64, device)) for number in (call, seed))
    return per_sample(drawn), key, Tensor._wrap(record_scalar(float(p), dtypes.float32, device))


def _finished(name: str, input: Tensor, result: Tensor, inplace: bool) -> Tensor:
    if not inplace or result is input:
        return result
    from netcl.ops.inplace import store
    from netcl.storage import check_writable

    check_writable(name, input)
    return store(name, input, result)


def _dropped(name: str, input: Tensor, p: float, training: bool, inplace: bool, shape: tuple[int, ...]) -> Tensor:
    _check(name, p)
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return _finished(name, input, input * 0.0, inplace)
    result = apply_composite("dropout", (input, *_draw(input, p)), shape, _dropout_gradient)
    return _finished(name, input, result, inplace)


def _kept(call: Tensor, seed: Tensor, p: Tensor, shape: tuple[int, ...]) -> Tensor:
    from netcl.ops.creation import iota

    places = iota((prod(shape),), 0, p._value.device).reshape(shape)
    return apply("uniform", (places, call, seed)) >= p


def _dropout(x: Any, call: Any, seed: Any, p: Any, shape: tuple[int, ...]) -> Any:
    x, call, seed, p = (Tensor._wrap(v) for v in (x, call, seed, p))
    return (x / (literal(1.0, p) - p)).where(_kept(call, seed, p, shape), 0.0).to(x.dtype)._value


def _dropout_gradient(g: Tensor, y: Any, x: Any, call: Tensor, seed: Tensor, p: Tensor, arg: Any) -> tuple:
    return apply_composite("dropout", (g, call, seed, p), arg, _dropout_gradient), None, None, None


def _alpha_dropped(name: str, input: Tensor, p: float, training: bool, inplace: bool, shape: tuple[int, ...]) -> Tensor:
    _check(name, p)
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return _finished(name, input, input * 0.0, inplace)
    scale = ((1 - p) * (1 + p * SELU_FLOOR**2)) ** -0.5
    kept = _kept(*_draw(input, p), shape)
    return _finished(name, input, input.where(kept, SELU_FLOOR) * scale - scale * SELU_FLOOR * p, inplace)


primitives.composite("dropout", primitives.as_first, _dropout)
