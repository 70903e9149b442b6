"""Compiled functions: recorded once, replayed without being run. See `jit_compile`."""

from typing import Any

from netcl.core.absent import AbsentError
from netcl.jit.compiler import CacheInfo, Compiled, JitWarning, compile, jit_compile
from netcl.jit.explaining import cache_info, explain

__all__ = ["CacheInfo", "Compiled", "JitWarning", "cache_info", "compile", "explain", "jit_compile"]

_SCRIPTED = frozenset("export freeze fork ignore load save script script_method trace trace_module unused wait".split())


def __getattr__(name: str) -> Any:
    if name in _SCRIPTED:
        raise AbsentError(f"torch.jit.{name} is in PyTorch and not in netcl; leave it out: kernels are fused anyway")
    raise AttributeError(f"module 'netcl.jit' has no attribute {name!r}")
