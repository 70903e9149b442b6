"""Compiled functions: recorded once, replayed without being run. See `jit_compile`."""

from netcl.jit.compiler import CacheInfo, Compiled, JitWarning, compile, jit_compile
from netcl.jit.explaining import cache_info, explain

__all__ = ["CacheInfo", "Compiled", "JitWarning", "cache_info", "compile", "explain", "jit_compile"]
