"""Losses of the error e = input - target: mse, l1, smooth_l1, huber, log_cosh, quantile.

The mean divides by the number of elements; with weight=, as in PyTorch, by the sum of the weights (huber_loss: by the
number of elements). Sums are accumulated in float32 or wider, whatever the inputs.
"""

from __future__ import annotations

from math import log
from typing import Any

from netcl.ops.elementwise import literal
from netcl.ops.losses.arguments import (
    check_reduction,
    check_tensors,
    legacy_reduction,
    reduced,
    warn_of_broadcast,
    weighted,
)
from netcl.ops.losses.pointwise import Pointwise, of_error
from netcl.tensor import Tensor


def _log_cosh(e: Tensor) -> Tensor:
    """log(cosh(e)): |e| + log(1 + exp(-2|e|)) - log 2; near 0, where that cancels, log(1 + 2 sinh(e/2)^2)."""
    a = e.abs()
    near = a.minimum(1.0).expm1()
    small = (near * near * (-a.minimum(1.0)).exp() * 0.5).log1p()
    return small.where(a < 1.0, a + (a * -2.0).exp().log1p() - literal(log(2), a))


def _clamped(e: Tensor, limit: Tensor) -> Tensor:
    return e.maximum(-limit).minimum(limit)


def _smooth_l1(e: Tensor, beta: Tensor) -> Tensor:
    a = e.abs()
    return (a * a * 0.5 / beta).where(a < beta, a - beta * 0.5)


def _huber(e: Tensor, delta: Tensor) -> Tensor:
    a = e.abs()
    return (a * a * 0.5).where(a <= delta, delta * (a - delta * 0.5))


def _quantile_slope(e: Tensor, q: Tensor) -> Tensor:
    return (1.0 - q).where(e > 0, (-q).where(e < 0, 0.0))


_mse = of_error("mse_loss", lambda e: e * e, lambda e: e * 2.0)
_l1 = of_error("l1_loss", lambda e: e.abs(), lambda e: e.sign())
_smooth = of_error("smooth_l1_loss", _smooth_l1, lambda e, beta: _clamped(e, beta) / beta)
_huber_loss = of_error("huber_loss", _huber, _clamped, own=True)
_log_cosh_loss = of_error("log_cosh_loss", _log_cosh, lambda e: e.tanh())
_quantile = of_error("quantile_loss", lambda e, q: (e * (1.0 - q)).maximum(e * -q), _quantile_slope)


def _error_loss(
    loss: Pointwise, input: Tensor, target: Tensor, reduction: Any, weight: Tensor | None = None,
    numbers: tuple[float, ...] = (), extra: tuple[str, ...] = (),
) -> Tensor:  # fmt: skip
    reduction = check_reduction(loss.name, reduction, extra)
    check_tensors(loss.name, input=input, target=target)
    warn_of_broadcast(loss.name, input, target)
    if weight is None:
        return loss((input, target), reduction, numbers)
    check_tensors(loss.name, input=input, weight=weight)
    if weight._value.shape != input._value.shape:
        raise ValueError(
            f"{loss.name}: weight has shape {list(weight.shape)}, input {list(input.shape)}; they must be equal"
        )
    losses = loss((input, target), "wide", numbers)
    if reduction == "mean" and loss is _huber_loss:
        return reduced(losses * weight.to(losses.dtype), "mean")
    return weighted(losses, weight, reduction)


def mse_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: Any = "mean",
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The mean squared error, mean((input - target)^2).

    input, target: one shape (a different one broadcasts, with PyTorch's warning). reduction: "mean" over all
    elements, "sum", "none" (input's shape; also None), "batchmean" (the sum divided by the first size). weight: one
    for each element; the mean then divides by their sum.
    ValueError for another reduction or another shape of weight, RuntimeError for shapes that don't broadcast.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.mse_loss(nc.tensor([1.0, 2.0]), nc.tensor([1.0, 4.0])).item()
    2.0
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    return _error_loss(_mse, input, target, reduction, weight, extra=("batchmean",))


def l1_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: Any = "mean",
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The mean absolute error, mean(|input - target|). Where the two are equal the gradient is 0.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.l1_loss(nc.tensor([1.0, 2.0]), nc.tensor([1.0, 5.0])).item()
    1.5
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    check_tensors("l1_loss", input=input, target=target)
    if weight is None and input.dtype.category == target.dtype.category == 1:
        return _l1_of_integers(input, target, check_reduction("l1_loss", reduction))
    return _error_loss(_l1, input, target, reduction, weight)


def _l1_of_integers(input: Tensor, target: Tensor, reduction: str) -> Tensor:
    """Integers themselves, without a gradient; RuntimeError for their mean, as in PyTorch."""
    warn_of_broadcast("l1_loss", input, target)
    if reduction == "mean":
        raise RuntimeError(
            f"l1_loss: the mean needs floating-point tensors, got {input.dtype} and {target.dtype}; convert them with "
            ".float(), or pass reduction='sum'"
        )
    losses = (input - target).abs()
    return losses.sum() if reduction == "sum" else losses


def smooth_l1_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: Any = "mean",
    beta: float = 1.0,
) -> Tensor:  # fmt: skip
    """0.5 e^2 / beta where |e| < beta, else |e| - 0.5 beta; beta=0 is l1_loss. RuntimeError for a negative beta.

    Girshick: Fast R-CNN, 2015.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return _error_loss(_l1, input, target, reduction)
    return _error_loss(_smooth, input, target, reduction, numbers=(beta,))


def huber_loss(
    input: Tensor, target: Tensor, reduction: Any = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """0.5 e^2 where |e| <= delta, else delta (|e| - 0.5 delta). RuntimeError unless delta > 0.

    Huber: Robust Estimation of a Location Parameter, 1964. As in PyTorch the mean with weight= divides by the number
    of elements, unlike that of mse_loss and l1_loss.
    """
    if not delta > 0:
        raise RuntimeError(f"huber_loss: delta must be greater than 0, got {delta}")
    return _error_loss(_huber_loss, input, target, reduction, weight, (delta,))


def log_cosh_loss(input: Tensor, target: Tensor, reduction: Any = "mean") -> Tensor:
    """log(cosh(e)): e^2 / 2 for small errors, |e| - log 2 for large ones, smooth everywhere."""
    return _error_loss(_log_cosh_loss, input, target, reduction)


def quantile_loss(input: Tensor, target: Tensor, quantile: float = 0.5, reduction: Any = "mean") -> Tensor:
    """The pinball loss: quantile * |e| where the prediction is too low, (1 - quantile) * |e| where it is too high.

    Its minimum is the quantile of the target; 0.5 gives half of l1_loss. ValueError unless 0 < quantile < 1.
    Koenker and Bassett: Regression Quantiles, 1978.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.quantile_loss(nc.tensor([0.0, 4.0]), nc.tensor([2.0, 2.0]), 0.75, "none")
    tensor([1.5000, 0.5000])
    """
    if not 0 < quantile < 1:
        raise ValueError(f"quantile_loss: quantile must be between 0 and 1, got {quantile}")
    return _error_loss(_quantile, input, target, reduction, numbers=(quantile,))
