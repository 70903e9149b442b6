"""Make PoCL build on CPUs that are newer than the compiler inside it.

PoCL 3.0 (the build on PyPI) has LLVM 14. On a CPU that LLVM 14 does not know (AMD Zen 5, for one) LLVM names the
host "generic", PoCL hands that name to clang, and clang refuses it on x86-64: every build fails with
"error: unknown target CPU 'generic'". No setting overrides it. The name lies in PoCL's device structure, `llvm_cpu`,
directly after the pointer to the target triple; we point it at the best CPU that the flags cover.

PoCL also picks the precompiled library of OpenCL built-ins by that name, and knows names of CPUs only: a level such as
"x86-64-v4" gets the SSE2 library, compiled for other registers than the kernel. A float32 matmul of 512 runs at 100
GFLOP/s with it, and at 400 with "skylake-avx512".

The structure's layout is not public, so nothing is assumed about offsets: we look for a pointer to "x86_64-..."
followed by a pointer to exactly "generic", reading through /proc/self/mem, where a bad address is an error and not
a crash. Where that pair is not found, nothing is changed (and the device's probe reports PoCL's own error).
"""

from __future__ import annotations

import ctypes
import itertools
import os
import struct

_STRUCT_BYTES = 8192  # the structure is about 3 KB in 3.0; reading stops early at an unmapped page
_AVX2 = {"avx2", "fma", "bmi1", "bmi2"}
_AVX512 = {*_AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}


def cpu_flags() -> frozenset[str]:
    """The instruction sets that /proc/cpuinfo names for the first core; empty where there is no such file."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    return frozenset(line.partition(":")[2].split())
    except FileNotFoundError:
        return frozenset()
    return frozenset()


def x86_name(flags: frozenset[str]) -> bytes:
    """The best CPU that the flags cover, of those that LLVM 14 knows and PoCL has a library of built-ins for."""
    if flags >= _AVX512:
        return b"skylake-avx512"
    return b"haswell" if flags >= _AVX2 else b"x86-64"


def repair(platform_name: str, device_pointer: int) -> bool:
    """Replace PoCL's target CPU "generic" in the device at `device_pointer`; whether it was replaced."""
    if platform_name != "Portable Computing Language" or not os.path.exists("/proc/self/mem"):
        return False
    memory = os.open("/proc/self/mem", os.O_RDWR)
    try:
        address = _find_cpu_pointer(memory, device_pointer)
        if address is None:
            return False
        os.pwrite(memory, struct.pack("@P", _copy_string(x86_name(cpu_flags()))), address)
        return True
    finally:
        os.close(memory)


def _find_cpu_pointer(memory: int, start: int) -> int | None:
    """The address of the word that points to "generic", after a word that points to an x86-64 triple."""
    size = struct.calcsize("@P")
    data = _read(memory, start, _STRUCT_BYTES)
    words = struct.unpack(f"@{len(data) // size}P", data[: len(data) // size * size])
    for i, (triple, cpu) in enumerate(itertools.pairwise(words)):
        if _read(memory, triple, 7) == b"x86_64-" and _read(memory, cpu, 8) == b"generic\0":
            return start + (i + 1) * size
    return None


def _read(memory: int, address: int, count: int) -> bytes:
    """Up to `count` bytes at `address`; empty where nothing is mapped."""
    try:
        return os.pread(memory, count, address)
    except (OSError, OverflowError):  # not an address: most words of the structure are not
        return b""


def _copy_string(text: bytes) -> int:
    """A C string that lives as long as the process, allocated as PoCL allocates its own."""
    strdup = ctypes.CDLL(None).strdup
    strdup.restype = ctypes.c_void_p
    strdup.argtypes = [ctypes.c_char_p]
    return int(strdup(text))
