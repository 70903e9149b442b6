"""Initial values for parameters: PyTorch's functions, with PyTorch's numbers for the same seed.

Each fills a tensor in place, outside the gradient graph, and returns it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from netcl.draws import normal
from netcl.random import Generator, default_generator, normal_fill, uniform_fill
from netcl.tensor import Tensor, upload


def _fill(tensor: Tensor, array: Any) -> Tensor:
    """The tensor with the elements of a host array or number, cast to its dtype."""
    whole = np.broadcast_to(np.asarray(array), tensor.shape).astype(tensor.dtype.numpy)
    tensor._assign(upload(np.ascontiguousarray(whole).reshape(tensor.shape), tensor.device))
    return tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """From U(a, b)."""
    return uniform_fill(tensor, a, b, generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """From N(mean, std**2)."""
    return normal_fill(tensor, mean, std, generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """From N(mean, std**2), what lies outside a and b drawn again.

    NotImplementedError where less than 30 % lies inside: PyTorch draws those in another way.
    """
    inside = 0.5 * (math.erf((b - mean) / (std * math.sqrt(2.0))) - math.erf((a - mean) / (std * math.sqrt(2.0))))
    if not inside > 0.3:
        raise NotImplementedError(f"trunc_normal_: only {inside:.0%} of N({mean}, {std}**2) lies between {a} and {b}")
    stream = generator or default_generator
    numpy_dtype = tensor.dtype.numpy
    low, high = np.asarray(a).astype(numpy_dtype), np.asarray(b).astype(numpy_dtype)
    with stream.lock:
        drawn = normal(stream.engine, tensor.numel(), mean, std, numpy_dtype)
        while (outside := (drawn < low) | (drawn > high)).any():
            drawn = np.where(outside, normal(stream.engine, tensor.numel(), mean, std, numpy_dtype), drawn)
    return _fill(tensor, drawn.reshape(tensor.shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """The number val everywhere."""
    return _fill(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """1 everywhere."""
    return _fill(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """0 everywhere."""
    return _fill(tensor, 0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return _fill(tensor, np.eye(*tensor.shape))


_UNCHANGING = ("linear", "sigmoid", *(f"conv{kind}{rank}d" for kind in ("", "_transpose") for rank in (1, 2, 3)))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through a nonlinearity."""
    if nonlinearity in _UNCHANGING:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is not None and (isinstance(param, bool) or not isinstance(param, (int, float))):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs and outputs each element of a weight (out, in, ..) connects."""
    if tensor.ndim < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Glorot and Bengio (2010): U(-a, a) with a = gain * sqrt(6 / (fan_in + fan_out))."""
    fan_in, fan_out = _fans(tensor)
    bound = math.sqrt(3.0) * (gain * math.sqrt(2.0 / float(fan_in + fan_out)))
    return uniform_fill(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Glorot and Bengio (2010): N(0, gain**2 * 2 / (fan_in + fan_out))."""
    fan_in, fan_out = _fans(tensor)
    return normal_fill(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode.lower() not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan = _fans(tensor)[0 if mode.lower() == "fan_in" else 1]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """He et al. (2015): U(-bound, bound) with bound = gain * sqrt(3 / fan). An empty tensor stays as it is."""
    if 0 in tensor.shape:
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_fill(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """He et al. (2015): N(0, gain**2 / fan). A tensor without elements stays as it is."""
    if 0 in tensor.shape:
        return tensor
    return normal_fill(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)
