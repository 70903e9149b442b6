"""What netcl raises when OpenCL fails, and the translation from pyopencl's errors to it."""

from __future__ import annotations

from netcl.core import runtime

# Status codes by number, so that translating needs no lookup in pyopencl.
_MEMORY_CODES = frozenset({
    -4,  # CL_MEM_OBJECT_ALLOCATION_FAILURE
    -5,  # CL_OUT_OF_RESOURCES
    -6,  # CL_OUT_OF_HOST_MEMORY
})


class OutOfMemoryError(RuntimeError, MemoryError):
    """The device has no room for an allocation or a launch; the message carries the sizes in bytes."""


def code_of(error: BaseException) -> int | None:
    """The OpenCL status code of a pyopencl error, or None where `error` is no OpenCL error."""
    if not isinstance(error, runtime.cl().Error):
        return None
    code = getattr(error, "code", None)
    return int(code) if code is not None else 0


def is_memory_error(error: BaseException) -> bool:
    """Whether `error` is OpenCL saying that memory or resources ran out."""
    return code_of(error) in _MEMORY_CODES


def readable(nbytes: int) -> str:
    """`nbytes` as a person reads it: '1.5 GiB'."""
    size = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
