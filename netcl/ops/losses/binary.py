"""Losses of yes and no: binary cross-entropies, soft margins, focal and dice loss.

Logits are never turned into probabilities on the way to a logarithm: the formulas hold at any magnitude.
"""

from __future__ import annotations

from typing import Any

from netcl.graph.primitives import broadcast_shapes
from netcl.ops.losses.arguments import (
    check_floating,
    check_reduction,
    check_same_shape,
    check_tensors,
    legacy_reduction,
    reduced,
    widest,
)
from netcl.ops.losses.pointwise import Pointwise, checked, logistic, logistic_of_minus, softplus
from netcl.ops.sites import site
from netcl.tensor import Tensor


def _logs(x: Tensor, site: Tensor) -> tuple[Tensor, Tensor]:
    """log x and log(1 - x), held at -100 or above, as in PyTorch."""
    x = checked(x, (x >= 0) & (x <= 1), site)
    return x.log().maximum(-100.0), (-x).log1p().maximum(-100.0)


def _bce(x: Tensor, y: Tensor, site: Tensor) -> Tensor:
    yes, no = _logs(x, site)
    return -(y * yes + (1.0 - y) * no)


def _bce_slopes(x: Tensor, y: Tensor, site: Tensor) -> tuple:
    yes, no = _logs(x, site)
    return (x - y) / ((1.0 - x) * x).maximum(1e-12), no - yes


def _logits(x: Tensor, y: Tensor) -> Tensor:
    """max(x, 0) - x y + log(1 + exp(-|x|)). x (1 - y) or -x y by the sign: nothing cancels where y is 0 or 1."""
    return x.abs() * (1.0 - y).where(x >= 0, y) + (-x.abs()).exp().log1p()


def _logits_slopes(x: Tensor, y: Tensor) -> tuple:
    """sigmoid(x) - y, from what is small: nothing cancels where y is 0 or 1."""
    rest = logistic_of_minus(x)
    return ((1.0 - y) - rest).where(x >= 0, rest - y), -x


def _logits_with_pos_weight(x: Tensor, y: Tensor, p: Tensor) -> Tensor:
    return (1.0 - y) * softplus(x) + p * y * softplus(-x)


def _pos_weight_slopes(x: Tensor, y: Tensor, p: Tensor) -> tuple:
    yes = softplus(-x)
    return (1.0 - y) * logistic(x) - p * y * logistic(-x), p * yes - softplus(x), y * yes


def _soft_margin_slopes(x: Tensor, y: Tensor) -> tuple:
    wrong = logistic(-x * y)
    return -y * wrong, -x * wrong


_probabilities = Pointwise("binary_cross_entropy", _bce, _bce_slopes)
_from_logits = Pointwise("binary_cross_entropy_with_logits", _logits, _logits_slopes)
_pos_weighted = Pointwise(
    "binary_cross_entropy_with_logits_and_pos_weight", _logits_with_pos_weight, _pos_weight_slopes, tensors=3
)
_soft_margin = Pointwise("soft_margin_loss", lambda x, y: softplus(-x * y), _soft_margin_slopes, own=True)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None,
    reduction: Any = "mean",
) -> Tensor:  # fmt: skip
    """-(y log x + (1 - y) log(1 - x)) of probabilities x, the logarithms held at -100 or above.

    target: input's shape. weight: broadcasts to it; the mean still divides by the number of elements.
    ValueError for other shapes; RuntimeError, at the next read of a value, for an input outside 0..1.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.binary_cross_entropy(nc.tensor([0.5, 1.0]), nc.tensor([1.0, 1.0])).item()
    0.3465735912322998
    """
    name = "binary_cross_entropy"
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction))
    check_tensors(name, input=input, target=target)
    check_same_shape(name, input, target)
    check_floating(name, input)
    says = "the input at position {position} is outside 0..1; binary_cross_entropy_with_logits takes any number"
    return _weighed(_probabilities, (input, target), weight, reduction, (site(name, input, says, RuntimeError),))


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None,
    reduction: Any = "mean", pos_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The binary cross-entropy of sigmoid(input): max(x, 0) - x y + log(1 + exp(-|x|)), exact at any magnitude.

    target: input's shape. weight: broadcasts to it. pos_weight: what the positive part counts, broadcasts to it too.
    ValueError for other shapes.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.binary_cross_entropy_with_logits(nc.tensor([0.0, -1000.0]), nc.tensor([1.0, 1.0]), reduction="none")
    tensor([6.9315e-01, 1.0000e+03])
    """
    name = "binary_cross_entropy_with_logits"
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction))
    check_tensors(name, input=input, target=target)
    check_same_shape(name, input, target)
    if pos_weight is None:
        return _weighed(_from_logits, (input, target), weight, reduction)
    check_tensors(name, input=input, pos_weight=pos_weight)
    return _weighed(_pos_weighted, (input, target, pos_weight), weight, reduction)


def _weighed(
    loss: Pointwise, tensors: tuple[Tensor, ...], weight: Tensor | None, reduction: str, numbers: tuple = ()
) -> Tensor:
    """The loss times a weight that broadcasts; the mean divides by the number of elements."""
    if weight is None:
        return loss(tensors, reduction, numbers)
    check_tensors(loss.name, input=tensors[0], weight=weight)
    losses = loss(tensors, "wide", numbers)
    losses = losses * weight.to(losses.dtype)
    return reduced(losses if reduction != "none" else losses.to(tensors[0].dtype), reduction)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: Any = "mean"
) -> Tensor:
    """log(1 + exp(-y x)) for targets y of -1 and 1. RuntimeError for shapes that differ."""
    name = "soft_margin_loss"
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction))
    check_tensors(name, input=input, target=target)
    broadcast_shapes(name, [input._value.shape, target._value.shape])
    return _soft_margin((input, target), reduction)


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None,
    reduction: Any = "mean",
) -> Tensor:  # fmt: skip
    """The binary cross-entropy of the logits of C labels, meaned over the input's last dimension: (*, C) gives (*)."""
    name = "multilabel_soft_margin_loss"
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction))
    check_tensors(name, input=input, target=target)
    if not input.ndim:
        raise IndexError(f"{name}: expected an input with a dimension of labels, got a 0-d tensor")
    losses = _from_logits((input, target), "wide")
    if weight is not None:
        losses = losses * weight.to(losses.dtype)
    axis = input.ndim - 1  # of the input, also where a target with more dimensions or labels broadcasts, as in PyTorch
    return reduced(losses.sum(axis) / float(input._value.shape[axis]), reduction)


def sigmoid_focal_loss(
    inputs: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0, reduction: Any = "none"
) -> Tensor:
    """alpha_t (1 - p_t)^gamma times the binary cross-entropy: what is right already counts little.

    p_t: the probability given to the target. alpha: the weight of the positive targets, 1 - alpha that of the others;
    a negative one weighs nothing. Lin et al.: Focal Loss for Dense Object Detection, 2017 (torchvision's function).
    """
    name = "sigmoid_focal_loss"
    reduction = check_reduction(name, reduction)
    check_tensors(name, inputs=inputs, targets=targets)
    check_same_shape(name, inputs, targets)
    if not (gamma >= 0 and alpha <= 1):
        raise ValueError(f"{name}: gamma must not be negative and alpha at most 1, got {gamma} and {alpha}")
    x, y = (t.to(widest(inputs, targets)) for t in (inputs, targets))
    wrong = y * (-x).sigmoid() + (1.0 - y) * x.sigmoid()  # 1 - p_t
    losses = _from_logits((x, y), "wide") * wrong**gamma
    if alpha >= 0:
        losses = losses * (alpha * y + (1.0 - alpha) * (1.0 - y))
    return reduced(losses, reduction)


def dice_loss(
    input: Tensor, target: Tensor, smooth: float = 1.0, dim: Any = None, reduction: Any = "mean"
) -> Tensor:
    """1 - (2 sum(x y) + smooth) / (sum(x) + sum(y) + smooth), of probabilities x and masks y of one shape.

    dim: what the sums go over, by default all but the first dimension (an image of a batch). smooth: keeps an empty
    mask from dividing by 0. Milletari, Navab, Ahmadi: V-Net, 2016.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.dice_loss(nc.tensor([[1.0, 0.0, 1.0]]), nc.tensor([[1.0, 0.0, 0.0]]), smooth=0.0).item()
    0.3333333134651184
    """
    name = "dice_loss"
    reduction = check_reduction(name, reduction)
    check_tensors(name, input=input, target=target)
    check_same_shape(name, input, target)
    if not smooth >= 0:
        raise ValueError(f"{name}: smooth must not be negative, got {smooth}")
    check_floating(name, input, target)
    x, y = (t.to(widest(input, target)) for t in (input, target))
    over = tuple(range(1, x.ndim)) if dim is None else dim  # () is all: one dimension is one mask
    overlap, size = (x * y).sum(over), (x + y).sum(over)
    return reduced(1.0 - (overlap * 2.0 + smooth) / (size + smooth), reduction)
