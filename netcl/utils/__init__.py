"""PyTorch's places for `utils.data`, `cuda`, `accelerator` and `backends`."""

from netcl.utils import accelerator, backends, cuda, data

__all__ = ["accelerator", "backends", "cuda", "data"]
