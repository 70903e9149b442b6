"""Functions of neural networks: each reads like its formula."""

from __future__ import annotations

from typing import Any

from netcl.autograd.tape import apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.nn.attention import scaled_dot_product_attention
from netcl.nn.dropping import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from netcl.nn.lookup import embedding, embedding_bag, one_hot
from netcl.nn.normalize import batch_norm, group_norm, instance_norm, layer_norm, local_response_norm, rms_norm
from netcl.ops import elementwise, reduction
from netcl.ops.activations import (
    celu,
    celu_,
    elu,
    elu_,
    gelu,
    glu,
    gumbel_softmax,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    hardtanh_,
    leaky_relu,
    leaky_relu_,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    relu_,
    rrelu,
    rrelu_,
    selu,
    selu_,
    silu,
    softplus,
    softshrink,
    softsign,
    tanhshrink,
    threshold,
    threshold_,
)
from netcl.ops.distances import cosine_similarity, normalize, pdist
from netcl.ops.elementwise import check_devices
from netcl.ops.fused_ops import cross_entropy, log_softmax, softmax, softmin
from netcl.ops.losses.arguments import check_tensors, widest
from netcl.ops.losses.binary import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    dice_loss,
    multilabel_soft_margin_loss,
    sigmoid_focal_loss,
    soft_margin_loss,
)
from netcl.ops.losses.classes import focal_loss, nll_loss
from netcl.ops.losses.ctc import ctc_loss
from netcl.ops.losses.likelihood import gaussian_nll_loss, kl_div, poisson_nll_loss
from netcl.ops.losses.linear import linear_cross_entropy
from netcl.ops.losses.margins import multi_margin_loss, multilabel_margin_loss
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
from netcl.ops.padding import pad
from netcl.ops.patches import channel_shuffle, pixel_shuffle, pixel_unshuffle
from netcl.ops.patches import col2im as fold
from netcl.ops.patches import im2col as unfold
from netcl.ops.products import bilinear
from netcl.ops.public import publish
from netcl.tensor import Tensor

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
    return apply_composite("linear", operands, None, _linear_gradient)


def _linear_infer(operands: Any, arg: Any) -> tuple:
    x, weight = operands[0], operands[1]
    if x.dtype is dtypes.bool_:
        raise NotImplementedError("linear: not defined for bool tensors; convert them with .int() or .float()")
    for other in operands[1:]:
        if other.dtype is not x.dtype:
            raise RuntimeError(
                f"linear: expected one dtype, got input {x.dtype} and parameters {other.dtype}; convert with .to()"
            )
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
    """mse_loss(linear(input, weight, bias), target): the last layer of a regression and its loss.

    Both are computed in float32 or wider: the outputs of narrow floats are not rounded on their way to the loss.
    """
    given = {"input": input, "weight": weight, "target": target, **({} if bias is None else {"bias": bias})}
    check_tensors("linear_mse", **given)
    dtype = widest(input, weight)
    output = linear(input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))
    return mse_loss(output, target, reduction=reduction)


__all__ = [
    "alpha_dropout",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "celu_",
    "channel_shuffle",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dice_loss",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "embedding",
    "embedding_bag",
    "feature_alpha_dropout",
    "focal_loss",
    "fold",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "hinge_embedding_loss",
    "huber_loss",
    "info_nce",
    "instance_norm",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "linear",
    "linear_cross_entropy",
    "linear_mse",
    "local_response_norm",
    "log_cosh_loss",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "quantile_loss",
    "reduction",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "rrelu",
    "rrelu_",
    "scaled_dot_product_attention",
    "selu",
    "selu_",
    "sigmoid",
    "sigmoid_focal_loss",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
]

publish(globals(), __all__)
