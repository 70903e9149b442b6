"""skip_init: a module whose parameters are not drawn."""

from __future__ import annotations

import inspect
from typing import Any

from netcl.nn.module import Module


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """A module with zeros for parameters, to be loaded or filled. Drawing them is fast, so they are drawn and dropped:
    the random numbers that follow are those after module_cls(...)."""
    if not (isinstance(module_cls, type) and issubclass(module_cls, Module)):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", None)
    module = module_cls(*args, **kwargs)
    return module.to_empty(device=device)
