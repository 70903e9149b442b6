"""Saving and loading tensors, models and optimizers as safetensors."""

from netcl.io.checkpoint import load, save

__all__ = ["load", "save"]
