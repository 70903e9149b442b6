"""Optimizers, under PyTorch's names and with PyTorch's numbers."""

from netcl.optim.adam import Adam, AdamW
from netcl.optim.optimizer import Optimizer
from netcl.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
