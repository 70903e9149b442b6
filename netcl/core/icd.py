"""Tell the OpenCL loader where the runtimes lie, before pyopencl is imported.

Intel's pip runtime ships an .icd file which holds a placeholder instead of its library's path. We write a correct
one into a folder of our own, beside copies of the others, and point OCL_ICD_VENDORS there. PoCL needs no entry:
pyopencl's loader finds the one that was installed with it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from netcl.core import cache

_VARIABLE = "OCL_ICD_VENDORS"


def prepare() -> str | None:
    """Set OCL_ICD_VENDORS if Intel's pip runtime needs it; the folder chosen, or None where nothing was to do."""
    if not sys.platform.startswith("linux") or os.environ.get(_VARIABLE):
        return None  # the user's own setting is respected
    library = find_intel_library()
    if library is None:
        return None
    entries = collect_entries(library)
    folder = str(write_folder(entries)) + os.sep  # the loader takes it for a folder only with the separator
    os.environ[_VARIABLE] = folder
    return folder


def find_intel_library(prefix: str | None = None) -> Path | None:
    """Where pip put libintelocl.so for this interpreter, or None."""
    usual = Path(prefix or sys.prefix) / "lib" / "libintelocl.so"
    if usual.is_file():
        return usual
    if prefix is not None:
        return None
    import importlib.metadata  # 25 ms, hence only where the usual place is empty (a user install)

    try:
        files = importlib.metadata.files("intel-opencl-rt") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == "libintelocl.so":
            found = Path(str(file.locate())).resolve()
            if found.is_file():
                return found
    return None


def collect_entries(intel_library: Path, folders: list[Path] | None = None) -> dict[str, str]:
    """The .icd files to write, name -> library: the repaired Intel one, and every usable one of `folders`."""
    if folders is None:
        folders = [
            Path(os.environ.get("OPENCL_VENDOR_PATH") or "/etc/OpenCL/vendors"),
            Path(sys.prefix) / "etc" / "OpenCL" / "vendors",
        ]
    entries = {"netcl-intel-cpu.icd": str(intel_library)}
    for folder in folders:
        if not folder.is_dir():
            continue
        for file in sorted(folder.glob("*.icd")):
            library = file.read_text(errors="replace").strip()
            # A bare name is looked up by the dynamic linker; a path must exist, which the placeholder does not.
            usable = bool(library) and ("/" not in library or Path(library).is_file())
            if usable and library not in entries.values():
                name = file.name if file.name not in entries else f"{len(entries)}-{file.name}"
                entries[name] = library
    return entries


def write_folder(entries: dict[str, str]) -> Path:
    """Write `entries` to a folder named by their content (each virtual env gets its own), and return it."""
    digest = hashlib.sha256(repr(sorted(entries.items())).encode()).hexdigest()[:16]
    folder = cache.cache_dir() / "icd" / digest
    for name, library in entries.items():
        file = folder / name
        if not file.is_file() or file.read_text() != library + "\n":
            cache.write_atomically(file, (library + "\n").encode())
    return folder
