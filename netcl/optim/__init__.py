"""Optimizers, under PyTorch's names and with PyTorch's numbers."""

from netcl.optim import lr_scheduler
from netcl.optim.adadelta import Adadelta
from netcl.optim.adagrad import Adagrad
from netcl.optim.adam import Adam, AdamW
from netcl.optim.adamax import Adamax
from netcl.optim.lion import Lion
from netcl.optim.nadam import NAdam
from netcl.optim.optimizer import Optimizer
from netcl.optim.radam import RAdam
from netcl.optim.rmsprop import RMSprop
from netcl.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
]
