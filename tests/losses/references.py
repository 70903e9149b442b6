"""What PyTorch has no function for, written in PyTorch's operations; every other name is PyTorch's own."""

from __future__ import annotations

from typing import Any


class References:
    """torch.nn.functional with netcl's further losses."""

    def __init__(self, torch: Any):
        self.torch = torch
        self.functional = torch.nn.functional

    def __getattr__(self, name: str) -> Any:
        return getattr(self.functional, name)

    def _reduced(self, losses: Any, reduction: str) -> Any:
        return losses if reduction == "none" else getattr(losses, reduction)()

    def cross_entropy(
        self, x: Any, y: Any, lse_square_scale: float = 0.0, reduction: str = "mean", **options: Any
    ) -> Any:
        if not lse_square_scale:
            return self.functional.cross_entropy(x, y, reduction=reduction, **options)
        losses = self.functional.cross_entropy(x, y, reduction="none", **options)
        extra = lse_square_scale * x.logsumexp(1) ** 2
        if y.is_floating_point():
            return self._reduced(losses + extra, reduction)
        kept = (y != options.get("ignore_index", -100)).to(x.dtype)
        losses = losses + extra * kept
        return losses.sum() / kept.sum() if reduction == "mean" else self._reduced(losses, reduction)

    def focal_loss(
        self, x: Any, y: Any, gamma: float = 2.0, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> Any:
        losses = self.functional.cross_entropy(x, y, ignore_index=ignore_index, reduction="none")
        kept = (y != ignore_index).to(x.dtype)
        weights = kept if weight is None else weight[y] * kept
        losses = (1 - (-losses).exp()) ** gamma * losses * weights
        return losses.sum() / weights.sum() if reduction == "mean" else self._reduced(losses, reduction)

    def sigmoid_focal_loss(
        self, x: Any, y: Any, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "none"
    ) -> Any:
        p = x.sigmoid()
        right = p * y + (1 - p) * (1 - y)
        bits = self.functional.binary_cross_entropy_with_logits(x, y, reduction="none")
        losses = bits * (1 - right) ** gamma
        return self._reduced(losses * (alpha * y + (1 - alpha) * (1 - y)) if alpha >= 0 else losses, reduction)

    def dice_loss(self, x: Any, y: Any, smooth: float = 1.0, dim: Any = None, reduction: str = "mean") -> Any:
        over = tuple(range(1, x.ndim)) if dim is None else dim
        ratio = (2 * (x * y).sum(over) + smooth) / (x.sum(over) + y.sum(over) + smooth)
        return self._reduced(1 - ratio, reduction)

    def log_cosh_loss(self, x: Any, y: Any, reduction: str = "mean") -> Any:
        return self._reduced((x - y).cosh().log(), reduction)

    def quantile_loss(self, x: Any, y: Any, quantile: float = 0.5, reduction: str = "mean") -> Any:
        return self._reduced(self.torch.maximum((quantile - 1) * (y - x), quantile * (y - x)), reduction)

    def info_nce(
        self, query: Any, positive: Any, negatives: Any = None, temperature: float = 0.1, reduction: str = "mean"
    ) -> Any:
        q, k = (self.functional.normalize(x, dim=1) for x in (query, positive))
        own = self.torch.arange(len(q))
        if negatives is None:
            return self.functional.cross_entropy(q @ k.T / temperature, own, reduction=reduction)
        far = q @ self.functional.normalize(negatives, dim=1).T
        scores = self.torch.cat([(q * k).sum(1, keepdim=True), far], 1) / temperature
        return self.functional.cross_entropy(scores, own * 0, reduction=reduction)

    def linear_mse(self, x: Any, weight: Any, y: Any, bias: Any = None, reduction: str = "mean") -> Any:
        return self.functional.mse_loss(self.functional.linear(x, weight, bias), y, reduction=reduction)

    def linear_cross_entropy(self, x: Any, layer: Any, y: Any, bias: Any = None, **options: Any) -> Any:
        z_scale = options.pop("lse_square_scale", 0.0)
        return self.cross_entropy(self.functional.linear(x, layer, bias), y, lse_square_scale=z_scale, **options)
