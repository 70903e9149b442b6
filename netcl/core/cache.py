"""The folder that netcl keeps files in between runs, and writing there safely."""

from __future__ import annotations

import functools
import logging
import os
import stat
import tempfile
from pathlib import Path


def enabled() -> bool:
    """Whether built programs and probe results may be kept on disk: not with NETCL_CACHE=0."""
    return os.environ.get("NETCL_CACHE") != "0"


def cache_dir() -> Path:
    """netcl's writable cache folder: NETCL_CACHE_DIR, else the user's, else a private temporary one."""
    return _resolve(os.environ.get("NETCL_CACHE_DIR") or None)


@functools.lru_cache(maxsize=8)
def _resolve(asked: str | None) -> Path:
    wanted = Path(asked).expanduser() if asked else _user_cache_dir()
    problem = _why_unwritable(wanted)
    if problem is None:
        return wanted
    folder = _temporary_dir()
    # Cached, so said once per process: a read-only home is a normal thing in containers.
    logging.getLogger("netcl").warning(
        "netcl cannot write to its cache folder %s (%s); using %s instead. Set NETCL_CACHE_DIR to choose another",
        wanted, problem, folder,
    )
    return folder


def _user_cache_dir() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("netcl"))


def _why_unwritable(folder: Path) -> str | None:
    """Why a file cannot be made in `folder` (making the folder if need be), or None where it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Trying is the only sure test: os.access() is wrong on read-only mounts and for root.
        handle, name = tempfile.mkstemp(dir=folder, prefix=".probe-")
        os.close(handle)
        os.unlink(name)
    except OSError as error:
        return str(error)
    return None


def _temporary_dir() -> Path:
    """A folder in the system's temporary place which only this user can write to."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"netcl-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="netcl-"))
    # We load compiled code from here: a folder that someone else could have prepared is not ours to trust.
    private = stat.S_ISDIR(found.st_mode) and not (hasattr(os, "getuid") and found.st_uid != user)
    if private and not found.st_mode & 0o022 and _why_unwritable(folder) is None:
        return folder
    return Path(tempfile.mkdtemp(prefix="netcl-"))


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that no reader ever sees a part of it; OSError if that cannot be done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:32]}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
