"""The compiler, and operations of one's own, under the name that its first documents gave it."""

from netcl.jit import jit_compile
from netcl.ops.custom import register_primitive, unregister_primitive

__all__ = ["jit_compile", "register_primitive", "unregister_primitive"]
