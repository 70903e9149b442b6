"""PyTorch's places for `utils.data`, `checkpoint`, `cuda`, `accelerator` and `backends`."""

from netcl.utils import accelerator, backends, checkpoint, cuda, data

__all__ = ["accelerator", "backends", "checkpoint", "cuda", "data"]
