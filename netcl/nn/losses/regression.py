"""Modules of the losses of an error: `MSELoss` and its kin."""

from __future__ import annotations

from typing import Any

from netcl.nn.losses.base import Loss
from netcl.ops.losses import regression as losses
from netcl.tensor import Tensor


class MSELoss(Loss):
    """`mse_loss` as a module."""

    extra = ("batchmean",)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.mse_loss(input, target, reduction=self.reduction)


class L1Loss(Loss):
    """`l1_loss` as a module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(Loss):
    """`smooth_l1_loss` as a module."""

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: Any = "mean", beta: float = 1.0):
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Loss):
    """`huber_loss` as a module."""

    def __init__(self, reduction: Any = "mean", delta: float = 1.0):
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.huber_loss(input, target, self.reduction, self.delta)


class LogCoshLoss(Loss):
    """`log_cosh_loss` as a module."""

    def __init__(self, reduction: Any = "mean"):
        super().__init__(reduction=reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.log_cosh_loss(input, target, self.reduction)


class QuantileLoss(Loss):
    """`quantile_loss` as a module."""

    def __init__(self, quantile: float = 0.5, reduction: Any = "mean"):
        super().__init__(reduction=reduction)
        self.quantile = quantile

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.quantile_loss(input, target, self.quantile, self.reduction)
