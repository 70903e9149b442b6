"""The compiler under the name that its first documents gave it."""

from netcl.jit import jit_compile

__all__ = ["jit_compile"]
