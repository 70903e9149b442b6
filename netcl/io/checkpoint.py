"""nc.save and nc.load: safetensors files, written whole or not at all, read without executing anything."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes  # noqa: F401  (gives NumPy the name bfloat16, which safetensors asks for)
import numpy as np
import safetensors
from safetensors.numpy import save as save_bytes
from safetensors.numpy import save_file

from netcl.core.device import device as find_device
from netcl.graph.transfer import to_host, upload
from netcl.io.structure import VERSION, flatten, is_flat, restore
from netcl.tensor import Tensor

_KEY = "netcl"  # the metadata entry that says how the tensors nest


def save(obj: Any, path: str | os.PathLike | BinaryIO, metadata: dict[str, str] | None = None) -> None:
    """Write a state_dict, or nested dicts, lists and tuples of tensors and numbers, as safetensors.

    The file is complete or absent: it is written beside `path` and renamed. (`path` may be a file that is opened for
    writing bytes, too, or an io.BytesIO; then it is just written to.) A plain state_dict becomes a plain
    safetensors file that PyTorch reads. TypeError for what can't be saved, OSError where the folder can't be written.

    >>> import netcl as nc, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "state.safetensors")
    >>> nc.save({"step": 3, "w": nc.ones(2)}, path)
    >>> nc.load(path)
    {'step': 3, 'w': tensor([1., 1.])}
    """
    if is_flat(obj):
        arrays, texts = obj, {}
    else:
        arrays, description = flatten(obj)
        texts = {_KEY: json.dumps({"version": VERSION, "content": description})}
    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str) or key == _KEY:
            raise TypeError(f"save: metadata must map strings to strings, other than {_KEY!r}; got {key!r}: {text!r}")
        texts[key] = text
    hosts = {name: _contiguous(value) for name, value in arrays.items()}
    if isinstance(path, (str, os.PathLike)):
        _write_atomically(hosts, texts, Path(path))
    else:
        path.write(save_bytes(hosts, metadata=texts or None))


def _contiguous(value: Any) -> np.ndarray:
    """A tensor or array on the host as safetensors 0.8 needs it: it writes wrong numbers for any other strides."""
    array = to_host(value._value) if isinstance(value, Tensor) else value
    return np.ascontiguousarray(array).reshape(array.shape)


def _write_atomically(arrays: dict[str, np.ndarray], metadata: dict[str, str], path: Path) -> None:
    folder = path.parent
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=folder)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"save: there is no folder {str(folder)!r}") from error
    try:
        os.close(handle)
        save_file(arrays, temporary, metadata=metadata or None)
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(path))
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename itself has to reach the disk, too
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _mode(path: Path) -> int:
    """The permissions of the file that is replaced, or what a new file gets."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def load(
    path: str | os.PathLike | BinaryIO, map_location: Any = None, *, device: Any = None,
    weights_only: bool | None = None,
) -> Any:  # fmt: skip
    """What was saved, with its tensors on the device `map_location` (default: the current one).

    Any safetensors file gives a state_dict. `path` may be a file that is opened for reading bytes, too. `device` is
    another name of map_location. `weights_only` may be given as in PyTorch, and changes nothing: the files hold no
    code.

    FileNotFoundError; ValueError for a file that is no complete safetensors file. A pickle (what torch.save writes)
    is refused: reading one can run any code.
    """
    if callable(map_location) or isinstance(map_location, dict):
        raise NotImplementedError("load: map_location as a function or a dict is not there; give a device for all")
    if map_location is not None and device is not None:
        raise TypeError("load: map_location and device are the same argument; give one")
    target = find_device(device if map_location is None else map_location)
    if not isinstance(path, (str, os.PathLike)):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "file"
            copy.write_bytes(path.read())
            return load(copy, target)
    path = Path(path)
    _refuse_pickle(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:

            def array(name: str) -> np.ndarray:
                return file.get_tensor(name)

            def tensor(name: str) -> Tensor:
                value = array(name)
                return Tensor._wrap(upload(np.ascontiguousarray(value).reshape(value.shape), target))

            text = (file.metadata() or {}).get(_KEY)
            if text is None:
                return {name: tensor(name) for name in file.offset_keys()}
            return restore(_description(text, path), tensor, array)
    except safetensors.SafetensorError as error:
        raise ValueError(f"load: {str(path)!r} is not a complete safetensors file: {error}") from error


def _description(text: str, path: Path) -> Any:
    try:
        outer = json.loads(text)
        version = outer["version"]
        content = outer["content"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"load: {str(path)!r} has a damaged description of its content: {error!r}") from error
    if version != VERSION:
        raise ValueError(f"load: {str(path)!r} has format {version}; this version of netcl reads format {VERSION}")
    return content


def _refuse_pickle(path: Path) -> None:
    with open(path, "rb") as file:
        head = file.read(4)
    if head[:2] == b"PK" or (head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5):
        raise ValueError(
            f"load: {str(path)!r} is a pickle (what torch.save writes); netcl never reads those, because that can run "
            "any code. Convert it where it was made: safetensors.torch.save_file(model.state_dict(), 'm.safetensors')"
        )
