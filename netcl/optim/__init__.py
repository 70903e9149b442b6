"""Optimizers, under PyTorch's names and with PyTorch's numbers."""

from netcl.optim import lr_scheduler, swa_utils
from netcl.optim.adadelta import Adadelta
from netcl.optim.adafactor import Adafactor
from netcl.optim.adagrad import Adagrad
from netcl.optim.adam import Adam, AdamW
from netcl.optim.adamax import Adamax
from netcl.optim.asgd import ASGD
from netcl.optim.lbfgs import LBFGS
from netcl.optim.lion import Lion
from netcl.optim.nadam import NAdam
from netcl.optim.optimizer import Optimizer
from netcl.optim.radam import RAdam
from netcl.optim.rmsprop import RMSprop
from netcl.optim.rprop import Rprop
from netcl.optim.sgd import SGD
from netcl.optim.sparse_adam import SparseAdam

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
    "lr_scheduler",
    "swa_utils",
]
