"""What scripts ask of torch.cuda: netcl has no CUDA, its GPUs are OpenCL devices.

What PyTorch answers without CUDA is answered; the rest raises and says where to look.
"""

from __future__ import annotations

from typing import Any

__all__ = """
    device_count empty_cache is_available is_bf16_supported is_initialized manual_seed manual_seed_all
    max_memory_allocated max_memory_reserved memory_allocated memory_reserved
""".split()


def is_available() -> bool:
    """False. `nc.devices()` lists the OpenCL devices, and .to("gpu") is the way to a GPU."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False: netcl computes bfloat16 on any device, but not with CUDA."""
    return False


def device_count() -> int:
    """0."""
    return 0


def empty_cache() -> None:
    """Nothing, as in PyTorch without CUDA."""


def memory_allocated(device: Any = None) -> int:
    """0, as in PyTorch without CUDA: `nc.profiler.memory_in_use()` tells what tensors take."""
    return 0


max_memory_allocated = max_memory_reserved = memory_reserved = memory_allocated


def manual_seed(seed: int) -> None:
    """Nothing, as in PyTorch without CUDA: nc.manual_seed seeds every device."""


def manual_seed_all(seed: int) -> None:
    """Nothing, as in PyTorch without CUDA: nc.manual_seed seeds every device."""


def __getattr__(name: str) -> Any:
    from netcl.core.absent import AbsentError

    if name.startswith("_"):
        raise AttributeError(f"module 'netcl.cuda' has no attribute {name!r}")
    raise AbsentError(
        f"torch.cuda.{name} is not in netcl, whose GPUs are OpenCL devices: see nc.devices(), nc.accelerator, "
        "nc.synchronize, nc.amp and nc.profiler"
    )
