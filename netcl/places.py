"""PyTorch's longer names of modules, for import statements: `from netcl.distributions.normal import Normal`.

They are the modules that netcl has, registered under a second name; `nn.modules` has one for each file of PyTorch's.
"""

from __future__ import annotations

import importlib
import sys

_SAME = """
    accelerator utils.accelerator
    autograd.anomaly_mode autograd
    autograd.grad_mode autograd
    autograd.variable autograd
    backends utils.backends
    cuda utils.cuda
    cuda.amp utils.cuda_amp
    distributions.bernoulli distributions
    distributions.categorical distributions
    distributions.distribution distributions
    distributions.kl distributions
    distributions.normal distributions
    distributions.uniform distributions
    nn.utils.spectral_norm nn.utils.norm_hooks
    nn.utils.weight_norm nn.utils.norm_hooks
    optim.adamw optim.adam
    return_types ops.return_types
    utils.data._utils data.collate
    utils.data._utils.collate data.collate
"""


def register() -> None:
    """Enter the names where import statements look first."""
    for line in _SAME.split("\n")[1:-1]:
        name, own = line.split()
        sys.modules[f"netcl.{name}"] = importlib.import_module(f"netcl.{own}")
    backends = importlib.import_module("netcl.utils.backends")
    for name in backends.__all__:
        sys.modules[f"netcl.backends.{name}"] = getattr(backends, name)
    modules = importlib.import_module("netcl.nn.modules")
    for name in modules.FILES:
        sys.modules[f"netcl.nn.modules.{name}"] = getattr(modules, name)
