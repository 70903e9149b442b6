"""PyTorch's places for `utils.data` and `cuda`."""

from netcl.utils import cuda, data

__all__ = ["cuda", "data"]
