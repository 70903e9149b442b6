"""Normalisations as functions: layer, group, instance, batch and root-mean-square norm are one operation.

`_normalized` views its input in some shape, takes mean and variance over some of its axes, and scales by weight and
bias. Its gradient computes the statistics again from the input: pending with the forward pass, they are the same nodes
and cost nothing. Statistics and sums are float32 or wider.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from netcl.autograd.tape import apply_composite, no_grad
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.ops.elementwise import check_devices, literal
from netcl.tensor import Tensor

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]


def layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last dimensions.

    Ba, Kiros, Hinton: Layer Normalization, 2016.
    """
    shape = _ending("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    axes = tuple(range(input.ndim - len(shape), input.ndim))
    return _normalized("layer_norm", input, weight, bias, (tuple(input.shape), axes, shape, float(eps), True))


def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimensions; eps is the dtype's own where None.

    Zhang, Sennrich: Root Mean Square Layer Normalization, 2019.
    """
    shape = _ending("rms_norm", input, normalized_shape, weight=weight)
    axes = tuple(range(input.ndim - len(shape), input.ndim))
    if not input.is_floating_point():
        raise RuntimeError(f"rms_norm: expected a floating-point tensor, got {input.dtype}; convert it with .float()")
    eps = _smallest(input) if eps is None else float(eps)
    return _normalized("rms_norm", input, weight, None, (tuple(input.shape), axes, shape, eps, False))


def _smallest(input: Tensor) -> float:
    """The distance from 1 to the next number, in the dtype that is computed in."""
    return float(np.finfo(dtypes.accumulator(input.dtype).numpy).eps)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Each example's channels, in num_groups groups, to mean 0 and variance 1; then weight and bias by channel.

    input: (N, C, *). Wu, He: Group Normalization, 2018.
    """
    if input.ndim < 2:
        raise RuntimeError(f"group_norm: expected at least 2 dimensions (N, C, *), got shape {list(input.shape)}")
    examples, channels, *rest = input.shape
    if num_groups <= 0 or channels % num_groups:
        raise RuntimeError(
            f"group_norm: expected the number of channels to be divisible by num_groups, got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    _check_channels("group_norm", channels, weight=weight, bias=bias)
    count = channels // num_groups * prod(rest)
    if examples * count == 1 and num_groups == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(input.shape)}")
    each = channels // num_groups
    arg = ((examples, num_groups, each, prod(rest)), (2, 3), (num_groups, each, 1), float(eps), True)
    return _normalized("group_norm", input, weight, bias, arg)


def instance_norm(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Tensor | None = None,
    bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Each channel of each example to mean 0 and variance 1, then weight and bias by channel. input: (N, C, *).

    running_mean, running_var: updated in place where given; used in place of the input's own without use_input_stats.
    Ulyanov, Vedaldi, Lempitsky: Instance Normalization, 2016.
    """
    _check_rank("instance_norm", input)
    examples, channels, *rest = input.shape
    count = prod(rest)
    _check_channels(
        "instance_norm", channels, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var
    )
    if not use_input_stats:
        return _by_running("instance_norm", input, running_mean, running_var, weight, bias, eps)
    if count == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {list(input.shape)}")
    view = (examples, channels, count)
    if running_mean is not None and running_var is not None:
        mean, variance = _moments(input, view, (2,))
        update_running(running_mean, running_var, mean.mean(0), variance.mean(0), count, momentum)
    return _normalized("instance_norm", input, weight, bias, (view, (2,), (channels, 1), float(eps), True))


def batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float | Tensor = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Each channel to mean 0 and variance 1 over the batch, then weight and bias by channel. input: (N, C, *).

    In training the running statistics are updated in place, where given: (1 - momentum) * old + momentum * new, with
    the variance divided by count - 1. Otherwise they are what is normalised by. Nothing is read back.
    ValueError for a single value per channel in training. Ioffe, Szegedy: Batch Normalization, 2015.
    """
    _check_rank("batch_norm", input)
    examples, channels, *rest = input.shape
    count = examples * prod(rest)
    _check_channels(
        "batch_norm", channels, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var
    )
    if not training:
        return _by_running("batch_norm", input, running_mean, running_var, weight, bias, eps)
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(input.shape)}")
    view = (examples, channels, prod(rest))
    if running_mean is not None and running_var is not None:
        mean, variance = _moments(input, view, (0, 2))
        update_running(running_mean, running_var, mean, variance, count, momentum)
    return _normalized("batch_norm", input, weight, bias, (view, (0, 2), (channels, 1), float(eps), True))


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha * mean of the squares of `size` neighbouring channels) ** beta. input: (N, C, *).

    Krizhevsky, Sutskever, Hinton: ImageNet Classification, 2012.
    """
    if input.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions); it has to be (N, C, *)"
        )
    squares = input * input
    channels = input.shape[1]
    widths = [(0, 0)] * input.ndim
    widths[1] = (size // 2, (size - 1) // 2)
    padded = squares.pad_with_zeros(widths)
    total = padded.narrow(1, 0, channels)
    for place in range(1, size):
        total = total + padded.narrow(1, place, channels)
    whole = not total.is_floating_point()  # PyTorch's mean of integers is an integer
    mean = total // size * alpha if whole else total * (alpha / size)
    return input / (mean + k).pow(beta)


# ---- checks ------------------------------------------------------------------------------------------------------


def _ending(name: str, input: Tensor, normalized_shape: Any, **parameters: Tensor | None) -> tuple[int, ...]:
    """normalized_shape as a tuple that ends the input's shape and is that of the parameters."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(f"{name}: normalized_shape {list(shape)} does not end the input's shape {list(input.shape)}")
    for kind, parameter in parameters.items():
        if parameter is not None and tuple(parameter.shape) != shape:
            raise RuntimeError(f"{name}: {kind} has shape {list(parameter.shape)}, expected {list(shape)}")
    return shape


def _check_rank(name: str, input: Tensor) -> None:
    if input.ndim < 2:
        raise RuntimeError(f"{name}: expected at least 2 dimensions (N, C, *), got shape {list(input.shape)}")


def _check_channels(name: str, channels: int, **tensors: Tensor | None) -> None:
    for kind, tensor in tensors.items():
        if tensor is not None and tuple(tensor.shape) != (channels,):
            raise RuntimeError(
                f"{name}: {kind} should contain {channels} elements, one for each channel, got shape "
                f"{list(tensor.shape)}"
            )


# ---- by the input's own statistics -------------------------------------------------------------------------------


def _normalized(name: str, input: Tensor, weight: Tensor | None, bias: Tensor | None, arg: tuple) -> Tensor:
    """arg: (shape of the view, axes of the statistics, shape of weight and bias in the view, eps, whether centred)."""
    if input.dtype.category != 2:
        raise RuntimeError(f"{name}: expected a floating-point tensor, got {input.dtype}; convert it with .float()")
    operands = tuple([t for t in (input, weight, bias) if t is not None])
    check_devices(name, *operands)
    given = (weight is not None, bias is not None)
    op = "normalize_channels" if name in ("batch_norm", "instance_norm") else "normalize"
    return apply_composite(op, operands, (*arg, *given), _normalize_gradient)


def _parts(operands: Sequence[Tensor], arg: tuple) -> tuple:
    """The input's normalised view, 1 / its standard deviation, and the weight and bias in that view."""
    view, axes, affine, eps, centred, has_weight, has_bias = arg
    wide = dtypes.accumulator(operands[0].dtype)
    x = operands[0].reshape(view).to(wide)
    if centred:
        x = x - x.mean(axes, keepdim=True)
    scale = ((x * x).mean(axes, keepdim=True) + literal(eps, x)).rsqrt()
    parameters = [p.to(wide).reshape(affine) for p in operands[1:]]
    weight = parameters[0] if has_weight else None
    return x * scale, scale, weight, parameters[-1] if has_bias else None


def _normalize(*values_and_arg: Any) -> Any:
    *values, arg = values_and_arg
    operands = [Tensor._wrap(value) for value in values]
    result, _, weight, bias = _parts(operands, arg)
    if weight is not None:
        result = result * weight
    if bias is not None:
        result = result + bias
    return result.to(operands[0].dtype).reshape(operands[0]._value.shape)._value


def _normalize_gradient(g: Tensor, y: Any, x: Tensor, *rest: Any) -> tuple:
    """d x = (h - mean(h) - n mean(h n)) / std with n the normalised x and h = g weight; d weight = sum of g n."""
    *parameters, arg = rest
    _, axes, affine, _, centred, has_weight, has_bias = arg
    n, scale, weight, _ = _parts([x, *parameters], arg)
    g = g.reshape(n.shape).to(n.dtype)
    h = g if weight is None else g * weight
    change = h - n * (h * n).mean(axes, keepdim=True)
    if centred:
        change = change - h.mean(axes, keepdim=True)
    found = [(change * scale).reshape(x.shape)]
    if has_weight:
        found.append((g * n).sum_to_shape(affine).reshape(parameters[0].shape))
    if has_bias:
        found.append(g.sum_to_shape(affine).reshape(parameters[-1].shape))
    return tuple(found)


primitives.composite("normalize", primitives.as_first, _normalize, autocast="float32")
# As in PyTorch, autocast leaves the input's dtype.
primitives.composite("normalize_channels", primitives.as_first, _normalize)


# ---- running statistics ------------------------------------------------------------------------------------------


def _moments(input: Tensor, view: tuple[int, ...], axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and variance over axes of the input's view, without them."""
    with no_grad():
        x = input.detach().reshape(view).to(dtypes.accumulator(input.dtype))
        mean = x.mean(axes, keepdim=True)
        centred = x - mean
        variance = (centred * centred).mean(axes, keepdim=True)
        shape = tuple([size for axis, size in enumerate(view) if axis not in axes])
        return mean.reshape(shape), variance.reshape(shape)


def update_running(
    running_mean: Tensor, running_var: Tensor, mean: Tensor, variance: Tensor, count: int, momentum: float | Tensor
) -> None:
    """Mix new statistics into the running ones, in place."""
    with no_grad():
        unbiased = variance * (count / (count - 1))
        for running, new in ((running_mean, mean), (running_var, unbiased)):
            running.copy_(running * (1 - momentum) + new.to(running.dtype) * momentum)


def _by_running(
    name: str, input: Tensor, mean: Tensor | None, variance: Tensor | None, weight: Tensor | None,
    bias: Tensor | None, eps: float,
) -> Tensor:  # fmt: skip
    """Normalised by given statistics of each channel."""
    if mean is None or variance is None:
        raise RuntimeError(f"{name}: expected running_mean and running_var to be defined outside training")
    if input.dtype.category != 2:
        raise RuntimeError(f"{name}: expected a floating-point tensor, got {input.dtype}; convert it with .float()")
    operands = tuple([t for t in (input, mean.detach(), variance.detach(), weight, bias) if t is not None])
    check_devices(name, *operands)
    arg = (float(eps), weight is not None, bias is not None)
    return apply_composite("normalize_by", operands, arg, _by_running_gradient)


def _running_parts(operands: Sequence[Tensor], arg: tuple) -> tuple:
    eps, has_weight, has_bias = arg
    x = operands[0]
    wide = dtypes.accumulator(x.dtype)
    spread = (x._value.shape[1], *(1,) * (x.ndim - 2))
    mean, variance, *parameters = [t.to(wide).reshape(spread) for t in operands[1:]]
    scale = (variance + literal(eps, variance)).rsqrt()
    weight = parameters[0] if has_weight else None
    return x.to(wide) - mean, scale, weight, parameters[-1] if has_bias else None


def _normalize_by(*values_and_arg: Any) -> Any:
    *values, arg = values_and_arg
    operands = [Tensor._wrap(value) for value in values]
    centred, scale, weight, bias = _running_parts(operands, arg)
    result = centred * (scale if weight is None else scale * weight)
    return (result if bias is None else result + bias).to(operands[0].dtype)._value


def _by_running_gradient(g: Tensor, y: Any, x: Tensor, *rest: Any) -> tuple:
    *others, arg = rest
    _, has_weight, has_bias = arg
    centred, scale, weight, _ = _running_parts([x, *others], arg)
    g = g.to(centred.dtype)
    found: list[Any] = [g * (scale if weight is None else scale * weight), None, None]
    affine = tuple(scale.shape)
    if has_weight:
        found.append((g * centred * scale).sum_to_shape(affine).reshape(-1))
    if has_bias:
        found.append(g.sum_to_shape(affine).reshape(-1))
    return tuple(found)


primitives.composite("normalize_by", primitives.as_first, _normalize_by)
