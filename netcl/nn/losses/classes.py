"""Modules of the losses of classes: `CrossEntropyLoss` and its kin."""

from __future__ import annotations

from typing import Any

from netcl.nn.losses.base import Loss, WeightedLoss
from netcl.ops.fused_ops import cross_entropy
from netcl.ops.losses import classes as losses
from netcl.ops.losses import margins
from netcl.tensor import Tensor


class CrossEntropyLoss(WeightedLoss):
    """`cross_entropy` as a module; `weight` is a buffer."""

    def __init__(
        self, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100, reduce: Any = None,
        reduction: Any = "mean", label_smoothing: float = 0.0, lse_square_scale: float = 0.0,
    ):  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.lse_square_scale = lse_square_scale

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing, lse_square_scale=self.lse_square_scale,
        )  # fmt: skip


class NLLLoss(WeightedLoss):
    """`nll_loss` as a module; `weight` is a buffer."""

    def __init__(
        self, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100, reduce: Any = None,
        reduction: Any = "mean",
    ):  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class FocalLoss(WeightedLoss):
    """`focal_loss` as a module; `weight` is a buffer."""

    def __init__(
        self, gamma: float = 2.0, weight: Tensor | None = None, ignore_index: int = -100, reduction: Any = "mean"
    ):
        super().__init__(weight, reduction=reduction)
        self.gamma = gamma
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.focal_loss(input, target, self.gamma, self.weight, self.ignore_index, self.reduction)


class MultiMarginLoss(WeightedLoss):
    """`multi_margin_loss` as a module; `weight` is a buffer. ValueError unless p is 1 or 2."""

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, size_average: Any = None,
        reduce: Any = None, reduction: Any = "mean",
    ):  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, got {p}")
        self.p = p
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return margins.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class MultiLabelMarginLoss(Loss):
    """`multilabel_margin_loss` as a module."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return margins.multilabel_margin_loss(input, target, reduction=self.reduction)
