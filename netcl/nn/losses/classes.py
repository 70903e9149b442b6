"""Modules of the losses of classes: `CrossEntropyLoss` and its kin."""

from __future__ import annotations

from typing import Any

from netcl.nn.losses.base import WeightedLoss
from netcl.ops.fused_ops import cross_entropy
from netcl.tensor import Tensor


class CrossEntropyLoss(WeightedLoss):
    """`cross_entropy` as a module; `weight` is a buffer."""

    def __init__(
        self, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100, reduce: Any = None,
        reduction: Any = "mean", label_smoothing: float = 0.0,
    ):  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip
