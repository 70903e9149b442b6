"""What scripts ask of torch.cuda before they choose a device: netcl has no CUDA, its GPUs are OpenCL devices."""

from __future__ import annotations

__all__ = ["device_count", "is_available", "manual_seed", "manual_seed_all"]


def is_available() -> bool:
    """False. `nc.devices()` lists the OpenCL devices, and .to("gpu") is the way to a GPU."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Nothing, as in PyTorch without CUDA: nc.manual_seed seeds every device."""


def manual_seed_all(seed: int) -> None:
    """Nothing, as in PyTorch without CUDA: nc.manual_seed seeds every device."""
