"""Initial values for parameters: PyTorch's functions, with PyTorch's numbers for the same seed.

Each fills a tensor in place, outside the gradient graph, and returns it.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from netcl import draws
from netcl.autograd.tape import no_grad
from netcl.draws import Engine
from netcl.graph.transfer import to_host, upload
from netcl.ops.sampling import normal_fill, uniform_fill
from netcl.random import Generator, permutation, stream_of
from netcl.tensor import Tensor

__all__ = """
    calculate_gain constant constant_ dirac dirac_ eye eye_ kaiming_normal kaiming_normal_ kaiming_uniform
    kaiming_uniform_ normal normal_ ones_ orthogonal orthogonal_ sparse sparse_ trunc_normal_ uniform uniform_
    xavier_normal xavier_normal_ xavier_uniform xavier_uniform_ zeros_
""".split()


def _fill(tensor: Tensor, array: Any) -> Tensor:
    """The tensor with the elements of a host array or number, cast to its dtype."""
    host = np.ascontiguousarray(np.broadcast_to(np.asarray(array), tensor.shape).astype(tensor.dtype.numpy))
    with no_grad():
        return tensor.copy_(Tensor._wrap(upload(host, tensor.device)))


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

    Warns where the mean lies more than 2 std outside a and b, as in PyTorch.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "trunc_normal_: mean is more than 2 std from [a, b]; the distribution of values may be incorrect",
            stacklevel=2,
        )
    inside = 0.5 * (math.erf((b - mean) / (std * math.sqrt(2.0))) - math.erf((a - mean) / (std * math.sqrt(2.0))))
    stream = stream_of(generator)
    with stream.lock:
        draw = _from_the_middle if inside > 0.3 else _from_the_tail
        drawn = draw(stream.engine, tensor.numel(), mean, std, a, b, tensor.dtype.numpy)
    return _fill(tensor, drawn.reshape(tensor.shape))


def _from_the_middle(engine: Engine, count: int, mean: float, std: float, a: float, b: float, dtype: Any) -> np.ndarray:
    """Normal numbers between a and b, where many lie: the others are drawn again."""
    low, high = np.asarray(a).astype(dtype), np.asarray(b).astype(dtype)
    drawn = draws.normal(engine, count, mean, std, dtype)
    while (outside := (drawn < low) | (drawn > high)).any():
        drawn = np.where(outside, draws.normal(engine, count, mean, std, dtype), drawn)
    return drawn


def _from_the_tail(engine: Engine, count: int, mean: float, std: float, a: float, b: float, dtype: Any) -> np.ndarray:
    """Normal numbers between a and b, where few lie: uniform ones, kept with a chance in proportion to the density."""
    mode = max(a, min(mean, b))
    peak = -0.5 * ((mode - mean) / std) ** 2
    number = dtype.type
    result, pending = None, np.ones(count, bool)
    while result is None or pending.any():
        candidates = draws.uniform(engine, count, a, b, dtype)
        result = candidates if result is None else np.where(pending, candidates, result)
        density = ((candidates - number(mean)) / number(std)) ** 2 * number(-0.5) - number(peak)
        with np.errstate(divide="ignore"):
            pending &= np.log(draws.uniform(engine, count, 0.0, 1.0, dtype)) > density
    return result


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


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution's weight (out, in, ..) that leaves its input as it is: 1 at the middle where out equals in."""
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    each = tensor.shape[0] // groups
    weight = np.zeros(tensor.shape)
    middle = tuple(size // 2 for size in tensor.shape[2:])
    for group in range(groups):
        for channel in range(min(each, tensor.shape[1])):
            weight[(group * each + channel, channel, *middle)] = 1
    return _fill(tensor, weight)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Saxe et al. (2013): rows (or columns, where there are more rows) of length gain, orthogonal to each other.

    The rows of (out, in, ..) are its flattened slices. Computed on the host.
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if 0 in tensor.shape:
        return tensor
    rows = tensor.shape[0]
    wide = np.float64 if tensor.dtype.numpy == np.float64 else np.float32
    stream = stream_of(generator)
    with stream.lock:
        drawn = draws.normal(stream.engine, tensor.numel(), 0.0, 1.0, tensor.dtype.numpy).reshape(rows, -1).astype(wide)
    tall: Any = drawn if rows >= drawn.shape[1] else drawn.T
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return _fill(tensor, (q if tall is drawn else q.T).reshape(tensor.shape) * wide(gain))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Martens (2010): a matrix from N(0, std**2) with that share of each column 0.

    As in PyTorch, which elements are 0 is drawn from the default generator.
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    weight = to_host(normal_fill(tensor, 0.0, std, generator)._value)
    for column in range(columns):
        weight[permutation(rows)[: math.ceil(sparsity * rows)], column] = 0
    return _fill(tensor, weight)


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


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs and outputs each element of a weight (out, in, ..) connects."""
    if tensor.ndim < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Glorot and Bengio (2010): U(-a, a) with a = gain * sqrt(6 / (fan_in + fan_out))."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    bound = math.sqrt(3.0) * (gain * math.sqrt(2.0 / float(fan_in + fan_out)))
    return uniform_fill(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Glorot and Bengio (2010): N(0, gain**2 * 2 / (fan_in + fan_out))."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_fill(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode.lower() not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan = _calculate_fan_in_and_fan_out(tensor)[0 if mode.lower() == "fan_in" else 1]
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


def _older(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function under the name that it had before PyTorch 0.4: it warns, and does the same."""
    name = function.__name__.removesuffix("_")

    @functools.wraps(function)
    def older(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(f"nn.init.{name} is the older name of nn.init.{name}_", FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    older.__name__ = older.__qualname__ = name
    return older


constant, dirac, eye = _older(constant_), _older(dirac_), _older(eye_)
normal, orthogonal = _older(normal_), _older(orthogonal_)
kaiming_normal, kaiming_uniform = _older(kaiming_normal_), _older(kaiming_uniform_)
sparse, uniform = _older(sparse_), _older(uniform_)
xavier_normal, xavier_uniform = _older(xavier_normal_), _older(xavier_uniform_)
