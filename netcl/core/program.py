"""Kernels from source: built once per machine, kept on disk, and held in memory for the process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netcl.core import cache, debug, fork, runtime

if TYPE_CHECKING:
    from netcl.core.device import Device

OPTIONS = {True: "-cl-std=CL1.2", False: "-cl-std=CL1.2 -cl-opt-disable"}
optimize = os.environ.get("NETCL_OPTIMIZE") != "0"  # without: built in a quarter of the time on Intel's runtime
DISK_LIMIT = 512 * 2**20  # bytes of binaries kept; the least recently used go first
MAX_PROGRAMS = int(os.environ.get("NETCL_MAX_PROGRAMS", "256"))  # in memory, the newest; 1 to 3 MB each
_FORMAT = "netcl-program-2"  # change it when what is stored, or how it is built, changes
_MAGIC = b"NETCLBIN1\n"

compile_count = 0  # kernels that were not in memory: taken from disk or built

_lock = threading.Lock()  # held for dictionary work only, never while building
_kernel_lock = threading.Lock()  # pyopencl generates code for each kernel object, and warns if two do so at once
_kernels: dict[tuple[Device, str, str], Any] = {}
_programs: dict[tuple[Device, str], Any] = {}
_building: dict[tuple[Device, str], threading.Lock] = {}
_stored = 0


def get_kernel(device: Device, source: str, name: str) -> Any:
    """The kernel `name` of OpenCL C `source` on `device`, a pyopencl.Kernel; RuntimeError with the build log."""
    kernel = _kernels.get((device, source, name))
    return kernel if kernel is not None else _make_kernel(device, source, name)


def own_kernel(device: Device, source: str, name: str) -> Any:
    """As `get_kernel`, but a kernel object that nobody else sets arguments on."""
    program = None
    while program is None:  # another thread's programs may push it out between the two lines
        get_kernel(device, source, name)
        program = _programs.get((device, source))
    with _kernel_lock:
        return runtime.cl().Kernel(program, name)


def _make_kernel(device: Device, source: str, name: str) -> Any:
    global compile_count
    fork.check()
    with _lock:
        own_turn = _building.setdefault((device, source), threading.Lock())
    # One lock per source: two threads never build the same one twice, and different ones build side by side.
    with own_turn:
        kernel = _kernels.get((device, source, name))
        if kernel is not None:
            return kernel
        program = _programs.get((device, source))
        if program is None:
            program = _load_or_build(device, source)
        cl = runtime.cl()
        try:
            with _kernel_lock:
                kernel = cl.Kernel(program, name)
        except cl.Error as error:
            raise RuntimeError(f"{device}: no kernel {name!r} in this program: {error}\n{_numbered(source)}") from error
        with _lock:
            _programs[device, source] = program
            _kernels[device, source, name] = kernel
            compile_count += 1
            _drop_oldest()
        return kernel


def forget_kernels() -> None:
    """Drop all that is in memory; what plans hold stays."""
    with _lock:
        _kernels.clear()
        _programs.clear()
        _building.clear()


def _drop_oldest() -> None:
    """Forget the oldest programs beyond MAX_PROGRAMS; plans hold what they launch. The lock is held."""
    while len(_programs) > MAX_PROGRAMS:
        oldest = next(iter(_programs))
        del _programs[oldest]
        _building.pop(oldest, None)
        for key in [key for key in _kernels if key[:2] == oldest]:
            del _kernels[key]


def _load_or_build(device: Device, source: str) -> Any:
    """The built program: from disk if there, else built and stored."""
    if not cache.enabled():
        return build(device, source)
    path = _path(device, source)
    program = _load(device, path)
    if program is None:
        program = build(device, source)
        _store(program, path)
    return program


def build(device: Device, source: str) -> Any:
    """Build `source` for `device`, past all caches; RuntimeError with the log and the numbered source."""
    # pyopencl's Program class would add its include path and warn about every non-empty log; this one only builds.
    cl = runtime.cl()
    program = cl._cl._Program(device.context, source)
    try:
        program._build(_options(device).encode(), [device.cl_device])
    except cl.Error as error:
        log = _build_log(device, program)
        raise RuntimeError(
            f"{device} ({device.name}, {device.platform_name}) cannot build this program: {error}\n"
            f"{log}\n{_numbered(source)}"
        ) from error
    if debug.level >= 4:
        log = _build_log(device, program)
        if log:
            debug.log(4, f"netcl: build log of {device}:\n{log}")
    return program


def _options(device: Device) -> str:
    return OPTIONS[optimize] + (" -DNETCL_CPU" if device.kind == "cpu" else "")


def _build_log(device: Device, program: Any) -> str:
    cl = runtime.cl()
    try:
        return str(program.get_build_info(device.cl_device, cl.program_build_info.LOG)).strip()
    except cl.Error as error:
        return f"(the driver gave no build log: {error})"


def _numbered(source: str) -> str:
    return "\n".join(f"{i:4d} | {line}" for i, line in enumerate(source.splitlines(), 1))


# ---- on disk


def _path(device: Device, source: str) -> Path:
    key = f"{_FORMAT}\0{_options(device)}\0{device.fingerprint}\0{source}"
    return cache.cache_dir() / "programs" / (hashlib.sha256(key.encode()).hexdigest() + ".bin")


def _load(device: Device, path: Path) -> Any:
    """The program stored at `path`, or None where there is none that can be used."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        debug.log(1, f"netcl: cannot read {path}: {error}")
        return None
    start = len(_MAGIC) + 32
    binary = data[start:]
    # The drivers do not survive every damaged binary, so it is checked before they see it.
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : start] != hashlib.sha256(binary).digest():
        _discard(path, "it is damaged")
        return None
    cl = runtime.cl()
    try:
        program = cl._cl._Program(device.context, [device.cl_device], [binary])
        program._build(b"", [device.cl_device])
    except cl.Error as error:
        _discard(path, f"the driver refuses it: {error}")
        return None
    with contextlib.suppress(OSError):  # only marks it as used, for the eviction below
        os.utime(path)
    return program


def _discard(path: Path, why: str) -> None:
    debug.log(1, f"netcl: building anew instead of using {path}: {why}")
    with contextlib.suppress(OSError):  # another process may have been faster, or the folder is read-only
        path.unlink()


def _store(program: Any, path: Path) -> None:
    """Keep the program's binary at `path`. A disk that cannot take it costs the next start time, nothing else."""
    global _stored
    binary = program.get_info(runtime.cl().program_info.BINARIES)[0]
    if not binary:
        return
    try:
        cache.write_atomically(path, _MAGIC + hashlib.sha256(binary).digest() + binary)
        _stored += 1
        if _stored % 64 == 1:  # rarely: it looks at every file
            evict(path.parent, DISK_LIMIT)
    except OSError as error:
        debug.log(1, f"netcl: cannot keep a built program in {path.parent}: {error}")


def evict(folder: Path, limit: int) -> None:
    """Remove the least recently used files of `folder` until they are at most `limit` bytes together."""
    files = []
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):  # another process evicts too
            found = entry.stat()
            files.append((found.st_mtime, found.st_size, entry.path))
    total = sum(size for _, size, _ in files)
    for _, size, name in sorted(files):
        if total <= limit:
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        total -= size
