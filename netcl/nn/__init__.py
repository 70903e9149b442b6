"""Modules, losses and initial values, under PyTorch's names."""

from netcl.nn import functional, init
from netcl.nn.activation import GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
from netcl.nn.containers import ModuleDict, ModuleList, Sequential
from netcl.nn.dropout import Dropout
from netcl.nn.linear import Flatten, Identity, Linear
from netcl.nn.loss import CrossEntropyLoss, MSELoss
from netcl.nn.module import Module
from netcl.nn.normalization import LayerNorm
from netcl.nn.parameter import Parameter

__all__ = [
    "GELU", "CrossEntropyLoss", "Dropout", "Flatten", "Identity", "LayerNorm", "LeakyReLU", "Linear", "LogSoftmax",
    "MSELoss", "Module", "ModuleDict", "ModuleList", "Parameter", "ReLU", "Sequential", "SiLU", "Sigmoid", "Softmax",
    "Tanh", "functional", "init",
]  # fmt: skip
