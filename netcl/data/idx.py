"""idx files: the format of MNIST's images and labels."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from netcl.data.dataset import TensorDataset

# The third byte of a file names the type of its elements, all big-endian.
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> np.ndarray:
    """The array of an idx file, gzipped or not: images (n, rows, columns) or labels (n,), uint8 in MNIST.

    ValueError, naming the file, for one that is no idx file, is cut short, or has bytes left over.
    """
    raw = Path(path).read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: the gzip data are damaged ({error})") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _TYPES:
        raise ValueError(f"{path} is not an idx file: it begins with {raw[:4].hex(' ') or 'nothing'}")
    dtype, rank = np.dtype(_TYPES[raw[2]]), raw[3]
    start = 4 + 4 * rank
    if len(raw) < start:
        raise ValueError(f"{path} is cut short: its header says {rank} dimensions, it has {len(raw)} bytes")
    shape = struct.unpack(f">{rank}I", raw[4:start])
    wanted = math.prod(shape) * dtype.itemsize
    if len(raw) - start != wanted:
        raise ValueError(f"{path}: {wanted} bytes of elements for shape {shape} expected, got {len(raw) - start}")
    return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


class IdxDataset(TensorDataset):
    """MNIST's pair of files: sample i is (image float32 (rows, columns) from 0 to 1, label int64).

    ValueError where there are not as many labels as images, or the images are not uint8.
    """

    def __init__(self, images: str | Path, labels: str | Path) -> None:
        pixels = read_idx(images)
        if pixels.dtype != np.uint8:
            raise ValueError(f"{images}: images of uint8 expected, got {pixels.dtype}")
        super().__init__(pixels.astype(np.float32) / np.float32(255), read_idx(labels).astype(np.int64))
