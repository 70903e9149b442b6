"""Losses as modules, and as functions where the documents look for them.

mean divides by the number of elements (mse) or by the sum of the kept weights (cross_entropy), as in PyTorch;
"batchmean" divides by the first size. Value and gradient are one pass over memory when both are pending.
"""

from __future__ import annotations

from typing import Any

from netcl.nn.module import Module
from netcl.ops.fused_ops import cross_entropy
from netcl.ops.reduction import check_reduction, legacy_reduction, mse_loss
from netcl.tensor import Tensor

__all__ = ["CrossEntropyLoss", "MSELoss", "cross_entropy", "mse_loss"]


class MSELoss(Module):
    """`mse_loss` as a module."""

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: Any = "mean"):
        super().__init__()
        self.reduction = check_reduction("MSELoss", legacy_reduction(size_average, reduce, reduction), ("batchmean",))

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return mse_loss(input, target, self.reduction)


class CrossEntropyLoss(Module):
    """`cross_entropy` as a module; `weight` is a buffer."""

    weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100, reduce: Any = None,
        reduction: Any = "mean", label_smoothing: float = 0.0,
    ):  # fmt: skip
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = check_reduction("CrossEntropyLoss", legacy_reduction(size_average, reduce, reduction))
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip
