"""Where PyTorch has these names too."""

from netcl.data import DistributedSampler

__all__ = ["DistributedSampler"]
