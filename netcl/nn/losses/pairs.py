"""Modules of the losses of pairs and triplets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netcl.nn.losses.base import Loss
from netcl.nn.module import Module
from netcl.ops.losses import pairs as losses
from netcl.tensor import Tensor


class HingeEmbeddingLoss(Loss):
    """`hinge_embedding_loss` as a module."""

    def __init__(self, margin: float = 1.0, size_average: Any = None, reduce: Any = None, reduction: Any = "mean"):
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return losses.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(Loss):
    """`margin_ranking_loss` as a module."""

    def __init__(self, margin: float = 0.0, size_average: Any = None, reduce: Any = None, reduction: Any = "mean"):
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return losses.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(Loss):
    """`cosine_embedding_loss` as a module."""

    def __init__(self, margin: float = 0.0, size_average: Any = None, reduce: Any = None, reduction: Any = "mean"):
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return losses.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class PairwiseDistance(Module):
    """`pairwise_distance` as a module."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False):
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return losses.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class TripletMarginLoss(Loss):
    """`triplet_margin_loss` as a module. ValueError unless margin > 0."""

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, size_average: Any = None,
        reduce: Any = None, reduction: Any = "mean",
    ):  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        if not margin > 0:
            raise ValueError(f"TripletMarginLoss: margin must be greater than 0, got {margin}")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return losses.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class TripletMarginWithDistanceLoss(Loss):
    """`triplet_margin_with_distance_loss` as a module. ValueError unless margin > 0."""

    def __init__(
        self, *, distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0,
        swap: bool = False, reduction: Any = "mean",
    ):  # fmt: skip
        super().__init__(reduction=reduction)
        if not margin > 0:
            raise ValueError(f"TripletMarginWithDistanceLoss: margin must be greater than 0, got {margin}")
        self.distance_function = distance_function or PairwiseDistance()
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return losses.triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=self.distance_function, margin=self.margin, swap=self.swap,
            reduction=self.reduction,
        )  # fmt: skip


class InfoNCELoss(Loss):
    """`info_nce` as a module."""

    def __init__(self, temperature: float = 0.1, reduction: Any = "mean"):
        super().__init__(reduction=reduction)
        self.temperature = temperature

    def forward(self, query: Tensor, positive_key: Tensor, negative_keys: Tensor | None = None) -> Tensor:
        return losses.info_nce(query, positive_key, negative_keys, self.temperature, self.reduction)
