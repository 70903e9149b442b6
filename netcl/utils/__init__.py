"""PyTorch's place for `utils.data`."""

from netcl.utils import data

__all__ = ["data"]
