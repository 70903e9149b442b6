"""Compiled functions: recorded once, replayed without being run. See `jit_compile`."""

from netcl.jit.compiler import CacheInfo, Compiled, JitWarning, jit_compile

__all__ = ["CacheInfo", "Compiled", "JitWarning", "jit_compile"]
