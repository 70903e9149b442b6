"""The losses as operations with a gradient, where the documents name them."""

from netcl.ops.fused_ops import cross_entropy
from netcl.ops.losses.regression import mse_loss

__all__ = ["cross_entropy", "mse_loss"]
