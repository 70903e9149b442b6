"""Normalisation layers with running statistics: BatchNorm and InstanceNorm for 1, 2 and 3 dimensions."""

from __future__ import annotations

from typing import Any

from netcl.autograd.tape import no_grad
from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.nn import functional as F
from netcl.nn.normalization import _Scaled
from netcl.ops.creation import full
from netcl.tensor import Tensor


class _Running(_Scaled):
    """What layers with running statistics share. momentum=None averages over all batches so far."""

    _ranks: tuple[int, ...] = ()
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool,
        device: Any, dtype: DType | None, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self._register((num_features,), affine, affine and bias, device, dtype)
        kinds = (
            ("running_mean", 0.0, (num_features,), dtype or dtypes.default_float),
            ("running_var", 1.0, (num_features,), dtype or dtypes.default_float),
            ("num_batches_tracked", 0, (), dtypes.int64),
        )
        for name, start, shape, kind in kinds:
            self.register_buffer(name, full(shape, start, kind, device) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Mean to zeros, variance to ones, no batches."""
        for name, start in (("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0)):
            buffer = getattr(self, name)
            if buffer is not None:
                with no_grad():
                    buffer.fill_(start)

    def reset_parameters(self) -> None:
        """weight to ones, bias to zeros, and reset_running_stats()."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in self._ranks:
            expected = " or ".join(f"{rank}D" for rank in self._ranks)
            raise ValueError(f"expected {expected} input (got {input.ndim}D input)")

    def _count_batch(self) -> float | Tensor:
        """The momentum of this batch; where it is counted, on the device."""
        if not (self.training and self.track_running_stats and self.num_batches_tracked is not None):
            return 0.0 if self.momentum is None else self.momentum
        with no_grad():
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                return 1.0 / self.num_batches_tracked.to(dtypes.float32)
        return self.momentum

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    """Each channel to mean 0 and variance 1 over the batch, then weight and bias. See F.batch_norm.

    In training the running statistics are updated on the device; in eval() they are what is normalised by (the
    batch's own where track_running_stats=False).
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: DType | None = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        own = self.training or (self.running_mean is None and self.running_var is None)
        used = not self.training or self.track_running_stats
        return F.batch_norm(
            input, self.running_mean if used else None, self.running_var if used else None, self.weight, self.bias,
            own, self._count_batch(), self.eps,
        )  # fmt: skip


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L).

    >>> import netcl as nc
    >>> nc.nn.BatchNorm1d(3)(nc.rand(5, 3)).shape
    netcl.Size([5, 3])
    """

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W)."""

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W)."""

    _ranks = (5,)


class _InstanceNorm(_Running):
    """Each channel of each example to mean 0 and variance 1, then weight and bias if affine. See F.instance_norm."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: DType | None = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        batched = input.ndim == self._ranks[1]
        channels = input.shape[1 if batched else 0]
        if channels != self.num_features and self.affine:
            raise ValueError(
                f"expected input's size at dim={int(batched)} to match num_features ({self.num_features}), "
                f"got {channels}"
            )
        own = self.training or not self.track_running_stats
        result = F.instance_norm(
            input if batched else input.unsqueeze(0), self.running_mean, self.running_var, self.weight, self.bias,
            own, 0.0 if self.momentum is None else self.momentum, self.eps,
        )  # fmt: skip
        return result if batched else result.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (N, C, L) or (C, L)."""

    _ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of (N, C, H, W) or (C, H, W)."""

    _ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of (N, C, D, H, W) or (C, D, H, W)."""

    _ranks = (4, 5)
