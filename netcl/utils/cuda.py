"""What scripts ask of torch.cuda: netcl has no CUDA, its GPUs are OpenCL devices.

What PyTorch answers without CUDA is answered; the rest raises and says where to look.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netcl.utils import cuda_amp

__all__ = """
    amp device_count empty_cache get_arch_list get_rng_state_all is_available is_bf16_supported is_initialized
    is_tf32_supported manual_seed manual_seed_all max_memory_allocated max_memory_reserved memory_allocated
    memory_reserved memory_stats seed seed_all set_rng_state_all
""".split()


amp = cuda_amp


def is_available() -> bool:
    """False. `nc.devices()` lists the OpenCL devices, and .to("gpu") is the way to a GPU."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False: netcl computes bfloat16 on any device, but not with CUDA."""
    return False


def is_tf32_supported() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def get_arch_list() -> list[str]:
    """[]: what CUDA would be compiled for."""
    return []


def empty_cache() -> None:
    """Nothing, as in PyTorch without CUDA."""


def memory_allocated(device: Any = None) -> int:
    """0, as in PyTorch without CUDA: `nc.profiler.memory_in_use()` tells what tensors take."""
    return 0


def memory_stats(device: Any = None) -> dict[str, Any]:
    """{}, as in PyTorch without CUDA: `nc.profiler.memory_in_use()` tells what tensors take."""
    return {}


max_memory_allocated = max_memory_reserved = memory_reserved = memory_allocated


def manual_seed(seed: int) -> None:
    """Nothing, as in PyTorch without CUDA: nc.manual_seed seeds every device."""


def manual_seed_all(seed: int) -> None:
    """Nothing, as in PyTorch without CUDA: nc.manual_seed seeds every device."""


def seed() -> None:
    """Nothing, as in PyTorch without CUDA: nc.seed seeds every device."""


def seed_all() -> None:
    """Nothing, as in PyTorch without CUDA: nc.seed seeds every device."""


def get_rng_state_all() -> list[Any]:
    """[], a state for each device of CUDA: nc.get_rng_state() is netcl's."""
    return []


def set_rng_state_all(new_states: Iterable[Any]) -> None:
    """Set the states of get_rng_state_all, of which there are none; RuntimeError for any."""
    if list(new_states):
        raise RuntimeError("cuda.set_rng_state_all: CUDA has no devices here; nc.set_rng_state() sets netcl's state")


def __getattr__(name: str) -> Any:
    from netcl.core.absent import AbsentError

    if name.startswith("_"):
        raise AttributeError(f"module 'netcl.cuda' has no attribute {name!r}")
    raise AbsentError(
        f"torch.cuda.{name} is not in netcl, whose GPUs are OpenCL devices: see nc.devices(), nc.accelerator, "
        "nc.synchronize, nc.amp and nc.profiler"
    )
