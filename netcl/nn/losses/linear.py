"""The module of the cross-entropy of a linear layer."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.nn.linear import Linear
from netcl.nn.losses.base import WeightedLoss
from netcl.ops.losses.linear import linear_cross_entropy
from netcl.tensor import Tensor


class LinearCrossEntropyLoss(WeightedLoss):
    """A `Linear` to the logits of num_classes, and `linear_cross_entropy`, which never holds all logits.

    Input (N, in_features) or (in_features,), target as for cross_entropy. out_features: the sizes of several labels
    for each row, then the target is (N, *out_features). `weight` is a buffer, `linear.weight` and `linear.bias` are
    parameters. RuntimeError for a weight that is not (num_classes,) and a label_smoothing outside 0..1.

    >>> import netcl as nc
    >>> nc.nn.LinearCrossEntropyLoss(4, 10, bias=True)(nc.ones(3, 4), nc.tensor([0, 9, 5])).shape
    netcl.Size([])
    """

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: tuple[int, ...] = (), bias: bool = False,
        device: Any = None, dtype: Any = None, reduction: Any = "mean", weight: Tensor | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0, options: Any = None,
        lse_square_scale: float = 0.0,
    ):  # fmt: skip
        super().__init__(weight, reduction=reduction)
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(
                f"LinearCrossEntropyLoss: weight must have one entry for each of the {num_classes} classes, got shape "
                f"{list(weight.shape)}"
            )
        if not 0.0 <= label_smoothing <= 1.0:
            raise RuntimeError(
                f"LinearCrossEntropyLoss: label_smoothing must be between 0.0 and 1.0, got {label_smoothing}"
            )
        self.num_classes = num_classes
        self.out_features = tuple(out_features)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.lse_square_scale = lse_square_scale
        self.linear = Linear(in_features, num_classes * prod(out_features), bias=bias, device=device, dtype=dtype)
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        shape, layer = (self.num_classes, *self.out_features), self.linear
        return linear_cross_entropy(
            input, layer.weight.reshape(*shape, layer.in_features), target,
            None if layer.bias is None else layer.bias.reshape(*shape), weight=self.weight, reduction=self.reduction,
            ignore_index=self.ignore_index, label_smoothing=self.label_smoothing, options=self.options,
            lse_square_scale=self.lse_square_scale,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, out_features={self.out_features}, "
            f"bias={self.linear.bias is not None}, reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )
