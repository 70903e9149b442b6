"""PyTorch's switches of cuDNN, CUDA and MPS, which netcl does not run on: they are off, and can be set without effect,
as in PyTorch on a CPU. `nc.devices()` lists what netcl runs on."""

from __future__ import annotations

__all__ = ["cuda", "cudnn", "mps"]


class _Absent:
    """A backend that is not there."""

    __slots__ = ()

    def is_available(self) -> bool:
        """False."""
        return False

    def is_built(self) -> bool:
        """False."""
        return False


class _Products:
    __slots__ = ("allow_bf16_reduced_precision_reduction", "allow_fp16_reduced_precision_reduction", "allow_tf32")

    def __init__(self) -> None:
        self.allow_tf32 = self.allow_fp16_reduced_precision_reduction = False
        self.allow_bf16_reduced_precision_reduction = False


class _Cuda(_Absent):
    __slots__ = ("matmul",)

    def __init__(self) -> None:
        self.matmul = _Products()


class _Cudnn(_Absent):
    __slots__ = ("allow_tf32", "benchmark", "deterministic", "enabled")

    def __init__(self) -> None:
        self.enabled = self.allow_tf32 = True
        self.benchmark = self.deterministic = False

    def version(self) -> None:
        """None."""


cuda, cudnn, mps = _Cuda(), _Cudnn(), _Absent()
