"""PyTorch's longer names of the modules: nn.modules.linear.Linear and nn.modules.Linear are nn.Linear."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from netcl import nn
from netcl.nn import batchnorm as _batchnorm
from netcl.nn import dropout as _dropout
from netcl.nn.losses import base as _loss
from netcl.nn.module import Module

FILES = """
    activation adaptive batchnorm channelshuffle container conv distance dropout flatten fold instancenorm lazy linear
    loss module normalization padding pixelshuffle pooling rnn sparse transformer upsampling
""".split()
__all__ = ["FILES", "Module", *FILES]
__path__: list[str] = []  # a package for import statements, as in PyTorch

# Base classes that scripts ask isinstance() for, under PyTorch's names.
_BASES: dict[str, dict[str, Any]] = {
    "batchnorm": {"_BatchNorm": _batchnorm._BatchNorm, "_NormBase": _batchnorm._Running},
    "dropout": {"_DropoutNd": _dropout._Dropout},
    "instancenorm": {"_InstanceNorm": _batchnorm._InstanceNorm},
    "loss": {"_Loss": _loss.Loss, "_WeightedLoss": _loss.WeightedLoss},
}


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        return getattr(nn, name)  # raises what to do instead of what is not there
    raise AttributeError(f"module 'netcl.nn.modules' has no attribute {name!r}")


def _file(name: str) -> ModuleType:
    """What PyTorch has in one file of nn.modules: any class of nn is found in any of them."""
    made = ModuleType(f"netcl.nn.modules.{name}", f"PyTorch's place of some of nn's modules: {name}.")
    vars(made).update(_BASES.get(name, {}), __getattr__=__getattr__, __path__=[])
    return made


for _name in FILES:
    globals()[_name] = _file(_name)
