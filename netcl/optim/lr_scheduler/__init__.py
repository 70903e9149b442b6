"""Learning rate schedulers, under PyTorch's names and with PyTorch's learning rates.

A scheduler changes the learning rates of an optimizer's groups on the host; they reach the kernels as operands, so
that nothing is compiled for a new one. Call `scheduler.step()` after `optimizer.step()`.
"""

from netcl.optim.lr_scheduler.base import LRScheduler
from netcl.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from netcl.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from netcl.optim.lr_scheduler.cyclic import CyclicLR
from netcl.optim.lr_scheduler.functions import LambdaLR, MultiplicativeLR
from netcl.optim.lr_scheduler.one_cycle import OneCycleLR
from netcl.optim.lr_scheduler.plateau import ReduceLROnPlateau
from netcl.optim.lr_scheduler.ramps import LinearLR, PolynomialLR
from netcl.optim.lr_scheduler.stairs import ConstantLR, ExponentialLR, MultiStepLR, StepLR

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

_LRScheduler = LRScheduler  # the older name, which scripts with schedulers of their own still use
