"""HostTensor: what stands for a tensor in a worker process, where no device may be used, and before an upload."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from netcl.core.device import device as find_device
from netcl.data.info import get_worker_info
from netcl.graph.transfer import to_host
from netcl.tensor import Tensor


class HostTensor(np.ndarray):
    """A NumPy array that becomes a tensor when a batch reaches the parent process.

    The tensors of a dataset are these in a worker, and so is what default_collate gives there. Results of NumPy's
    functions keep the kind and the `place`: the name of the tensor's device, or None for the parent's current one.
    """

    place: str | None = None

    def __new__(cls, array: Any, place: str | None = None) -> HostTensor:
        made = np.asarray(array).view(cls)
        made.place = place
        return made

    def __array_finalize__(self, source: Any) -> None:
        self.place = getattr(source, "place", None)

    def __reduce__(self) -> Any:
        return HostTensor, (np.asarray(self), self.place)

    def detach(self) -> HostTensor:
        """Itself: there are no gradients on the host."""
        return self

    def numpy(self) -> np.ndarray:
        """The plain array."""
        return np.asarray(self)

    def numel(self) -> int:
        """The number of elements."""
        return self.size


def from_tensor(tensor: Tensor) -> HostTensor:
    """A copy of a tensor's elements that remembers its device by name."""
    return HostTensor(to_host(tensor._value), str(tensor.device))


def to_tensor(host: HostTensor) -> Any:
    """The tensor it stands for, uploaded, unless batches stay on the host; in the parent."""
    if _local.staying:
        return host
    device = None if host.place is None else find_device(host.place)
    return Tensor.from_host(np.ascontiguousarray(host), device=device)


class _Local(threading.local):
    """Whether this thread's batches stay on the host."""

    def __init__(self) -> None:
        self.staying = False


_local = _Local()


@contextmanager
def staying_on_host() -> Iterator[None]:
    """Batches that are put together inside are of HostTensors, in this thread too: who asks for it uploads them."""
    before, _local.staying = _local.staying, True
    try:
        yield
    finally:
        _local.staying = before


def batch_tensor(array: Any, device: Any = None) -> Any:
    """An array of a batch as a tensor, or where batches stay on the host as what becomes one."""
    if get_worker_info() is None and not _local.staying:
        return Tensor.from_host(array, device=device)
    return HostTensor(array, getattr(array, "place", None) if device is None else str(device))
