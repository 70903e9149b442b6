"""What the modules of losses share: the reduction, chosen when they are made."""

from __future__ import annotations

from typing import Any

from netcl.nn.module import Module
from netcl.ops.losses.arguments import check_reduction, legacy_reduction
from netcl.tensor import Tensor


class Loss(Module):
    """A module with `reduction`: "mean", "sum" or "none" (also None), and what `extra` lists."""

    extra: tuple[str, ...] = ()

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: Any = "mean"):
        super().__init__()
        if any(isinstance(argument, Tensor) for argument in (size_average, reduce, reduction)):
            kind = type(self).__name__
            raise TypeError(f"{kind} is made without tensors and called with them: {kind}()(input, target)")
        reduction = legacy_reduction(size_average, reduce, reduction)
        self.reduction = check_reduction(type(self).__name__, reduction, self.extra)


class WeightedLoss(Loss):
    """A loss with `weight`, a buffer."""

    weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None, reduction: Any = "mean"
    ):
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
