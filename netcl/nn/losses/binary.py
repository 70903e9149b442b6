"""Modules of the losses of yes and no."""

from __future__ import annotations

from typing import Any

from netcl.nn.losses.base import Loss, WeightedLoss
from netcl.ops.losses import binary as losses
from netcl.tensor import Tensor


class BCELoss(WeightedLoss):
    """`binary_cross_entropy` as a module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(WeightedLoss):
    """`binary_cross_entropy_with_logits` as a module; `weight` and `pos_weight` are buffers."""

    pos_weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None, reduction: Any = "mean",
        pos_weight: Tensor | None = None,
    ):  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class SoftMarginLoss(Loss):
    """`soft_margin_loss` as a module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(WeightedLoss):
    """`multilabel_soft_margin_loss` as a module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class SigmoidFocalLoss(Loss):
    """`sigmoid_focal_loss` as a module."""

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, reduction: Any = "none"):
        super().__init__(reduction=reduction)
        self.alpha = alpha
        self.gamma = gamma

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return losses.sigmoid_focal_loss(inputs, targets, self.alpha, self.gamma, self.reduction)


class DiceLoss(Loss):
    """`dice_loss` as a module."""

    def __init__(self, smooth: float = 1.0, dim: Any = None, reduction: Any = "mean"):
        super().__init__(reduction=reduction)
        self.smooth = smooth
        self.dim = dim

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.dice_loss(input, target, self.smooth, self.dim, self.reduction)
