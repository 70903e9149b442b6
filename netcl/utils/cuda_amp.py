"""torch.cuda.amp: autocast and GradScaler for CUDA, which are switched off, as in PyTorch without CUDA."""

from __future__ import annotations

from typing import Any

from netcl import amp
from netcl.core import dtypes
from netcl.core.dtypes import DType

__all__ = ["GradScaler", "autocast"]


class autocast(amp.autocast):
    """nc.autocast("cuda", ...), which warns and is off: for OpenCL's devices use nc.autocast()."""

    def __init__(self, enabled: bool = True, dtype: DType = dtypes.float16, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(amp.GradScaler):
    """nc.amp.GradScaler("cuda", ...), which warns and is off: for OpenCL's devices use nc.amp.GradScaler()."""

    def __init__(
        self, init_scale: float = 65536.0, growth_factor: float = 2.0, backoff_factor: float = 0.5,
        growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        options: dict[str, Any] = {"init_scale": init_scale, "growth_factor": growth_factor}
        super().__init__(
            "cuda", **options, backoff_factor=backoff_factor, growth_interval=growth_interval, enabled=enabled
        )
