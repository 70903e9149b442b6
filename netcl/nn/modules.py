"""PyTorch's longer names of the modules: nn.modules.linear.Linear and nn.modules.Linear are nn.Linear."""

from typing import Any

from netcl import nn
from netcl.nn import activation, batchnorm, distance, dropout, linear, loss, module, normalization, padding
from netcl.nn import containers as container
from netcl.nn import embedding as sparse
from netcl.nn import patches as pixelshuffle
from netcl.nn.module import Module

__all__ = [
    "Module", "activation", "batchnorm", "container", "distance", "dropout", "linear", "loss", "module",
    "normalization", "padding", "pixelshuffle", "sparse",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in nn.__all__:
        return getattr(nn, name)
    raise AttributeError(f"module 'netcl.nn.modules' has no attribute {name!r}")
