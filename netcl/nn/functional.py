"""Functions of neural networks: each reads like its formula."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.tape import apply, apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.graph.value import record_scalar
from netcl.ops import elementwise, reduction
from netcl.ops.elementwise import check_devices, literal
from netcl.ops.fused_ops import cross_entropy, log_softmax, softmax, softmin
from netcl.ops.losses.binary import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    dice_loss,
    multilabel_soft_margin_loss,
    sigmoid_focal_loss,
    soft_margin_loss,
)
from netcl.ops.losses.likelihood import gaussian_nll_loss, kl_div, poisson_nll_loss
from netcl.ops.losses.pairs import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    info_nce,
    margin_ranking_loss,
    pairwise_distance,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from netcl.ops.losses.regression import (
    huber_loss,
    l1_loss,
    log_cosh_loss,
    mse_loss,
    quantile_loss,
    smooth_l1_loss,
)
from netcl.tensor import Tensor

relu = elementwise.relu
sigmoid = elementwise.sigmoid
tanh = elementwise.tanh


# ---- linear ------------------------------------------------------------------------------------------------------


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias: (*, in) with weight (out, in) and bias (out,) gives (*, out).

    RuntimeError where the sizes or dtypes don't fit.
    """
    own, size = input._value.shape, weight._value.shape
    if not own or len(size) != 2 or own[-1] != size[1]:
        raise RuntimeError(
            f"linear: input of shape {list(own)} and weight of shape {list(size)} don't fit: "
            "the input's last size must equal the weight's second"
        )
    if bias is not None and bias._value.shape != (size[0],):
        raise RuntimeError(f"linear: bias of shape {list(bias.shape)} does not fit weight of shape {list(size)}")
    operands = (input, weight) if bias is None else (input, weight, bias)
    for other in operands[1:]:
        if other._value.device is not input._value.device:
            check_devices("linear", *operands)
        if other._value.dtype is not input._value.dtype:
            raise RuntimeError(
                f"linear: expected one dtype, got input {input.dtype} and parameters {other.dtype}; convert with .to()"
            )
    return apply_composite("linear", operands, None, _linear_gradient)


def _linear_infer(operands: Any, arg: Any) -> tuple:
    x, weight = operands[0], operands[1]
    return (*x.shape[:-1], weight.shape[0]), x.dtype


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    x, weight = Tensor._wrap(x), Tensor._wrap(weight)
    product = x @ weight.t()
    return (product if bias is None else product + Tensor._wrap(bias))._value


def _linear_gradient(g: Tensor, y: Any, x: Tensor, weight: Tensor, *rest: Any) -> tuple:
    columns = g.reshape(-1, g.shape[-1])
    rows = x.reshape(-1, x.shape[-1])
    found = (g @ weight, columns.t() @ rows)
    return found if len(rest) == 1 else (*found, columns.sum(0))


primitives.composite("linear", _linear_infer, _linear, autocast="lower")


def linear_mse(
    input: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None = None, reduction: Any = "mean"
) -> Tensor:
    """mse_loss(linear(input, weight, bias), target): the last layer of a regression and its loss."""
    return mse_loss(linear(input, weight, bias), target, reduction=reduction)


# ---- activations -------------------------------------------------------------------------------------------------

ROOT_HALF = 0.7071067811865476
ROOT_TWO_OVER_PI = 0.7978845608028654


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x), Phi the normal distribution function; approximate="tanh" for the tanh formula.

    Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
    """
    if approximate == "none":
        return input * 0.5 * ((input * ROOT_HALF).erf() + 1)
    if approximate != "tanh":
        raise RuntimeError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    inner = (input + input * input * input * 0.044715) * ROOT_TWO_OVER_PI
    return input * 0.5 * (inner.tanh() + 1)


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    return input.where(input > 0, input * negative_slope)


def silu(input: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    return input * input.sigmoid()


def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold."""
    scaled = input * beta
    return input.where(scaled > threshold, scaled.minimum(threshold).exp().log1p() / beta)


# ---- normalisation -----------------------------------------------------------------------------------------------


def layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last dimensions.

    Ba, Kiros, Hinton: Layer Normalization, 2016.
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"layer_norm: normalized_shape {list(shape)} does not end the input's shape {list(input.shape)}"
        )
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and tuple(parameter.shape) != shape:
            raise RuntimeError(f"layer_norm: {name} has shape {list(parameter.shape)}, expected {list(shape)}")
    axes = tuple(range(input.ndim - len(shape), input.ndim))
    result = apply_composite("normalize", (input,), (axes, float(eps)), _normalize_gradient)
    if weight is not None:
        result = result * weight
    return result if bias is None else result + bias


def _normalize(x: Any, arg: tuple) -> Any:
    x = Tensor._wrap(x)
    return _normalized(x, *arg)[0]._value


def _normalized(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """The normalised tensor and 1 / standard deviation, in two sweeps: the mean, then the mean square around it."""
    centred = x - x.mean(axes, keepdim=True)
    scale = ((centred * centred).mean(axes, keepdim=True) + literal(eps, x)).rsqrt()
    return centred * scale, scale


def _normalize_gradient(g: Tensor, y: Tensor, x: Tensor, arg: tuple) -> tuple:
    """d x = (g - mean(g) - y mean(g y)) / std."""
    axes, eps = arg
    y, scale = _normalized(x, axes, eps)
    return ((g - g.mean(axes, keepdim=True) - y * (g * y).mean(axes, keepdim=True)) * scale,)


def _same(operands: Any, arg: Any) -> tuple:
    return operands[0].shape, operands[0].dtype


primitives.composite("normalize", _same, _normalize, autocast="float32")


# ---- dropout -----------------------------------------------------------------------------------------------------


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeros with probability p, the rest divided by 1 - p (Srivastava et al., Dropout, JMLR 2014).

    The mask is a function of (seed, call, position): the way back computes it again instead of storing it.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: probability has to be between 0 and 1, got {p}")
    if inplace:
        raise NotImplementedError("dropout: inplace=True is not here; use the result")
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return input * 0.0
    from netcl.random import dropout_key

    seed, call = dropout_key()
    device = input._value.device
    numbers = [record_scalar(number, dtypes.int64, device) for number in (call, seed)]
    chance = record_scalar(float(p), dtypes.float32, device)
    operands = (input, *(Tensor._wrap(number) for number in (*numbers, chance)))
    return apply_composite("dropout", operands, None, _dropout_gradient)


def _dropout(x: Any, call: Any, seed: Any, p: Any) -> Any:
    from netcl.ops.creation import iota

    x, call, seed, p = (Tensor._wrap(v) for v in (x, call, seed, p))
    count = prod(x._value.shape)
    places = iota((count,), 0, x._value.device).reshape(x._value.shape)
    kept = apply("uniform", (places, call, seed)) >= p
    return (x / (literal(1.0, p) - p)).where(kept, 0.0).to(x.dtype)._value


def _dropout_gradient(g: Tensor, y: Any, x: Any, call: Tensor, seed: Tensor, p: Tensor, arg: Any) -> tuple:
    return apply_composite("dropout", (g, call, seed, p), None, _dropout_gradient), None, None, None


primitives.composite("dropout", _same, _dropout)

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss", "cross_entropy",
    "dice_loss", "dropout", "gaussian_nll_loss", "gelu", "hinge_embedding_loss", "huber_loss", "info_nce", "kl_div",
    "l1_loss", "layer_norm", "leaky_relu", "linear", "linear_mse", "log_cosh_loss", "log_softmax",
    "margin_ranking_loss", "mse_loss", "multilabel_soft_margin_loss", "pairwise_distance", "poisson_nll_loss",
    "quantile_loss", "reduction", "relu", "sigmoid", "sigmoid_focal_loss", "silu", "smooth_l1_loss",
    "soft_margin_loss", "softmax", "softmin", "softplus", "tanh", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]  # fmt: skip
