"""prefetch: a thread reads batches ahead and copies them to the device while its kernels run."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.core.device import Device, current_device
from netcl.core.device import device as find_device
from netcl.core.upload import Uploader
from netcl.data.host import HostTensor, staying_on_host
from netcl.graph.value import Value
from netcl.ops.host_data import host_array
from netcl.tensor import Tensor

BATCH, END, ERROR = range(3)


class prefetch:
    """The batches of a loader, read by a thread up to `depth` ahead and copied to `device` beside its kernels.

    loader: a DataLoader, or anything that gives batches; their NumPy arrays become tensors. device: None for the one
    where the loader's tensors would be. What goes wrong in the thread is raised in the loop, with its traceback; the
    thread ends with the loop, also where that is left early. ValueError for a depth below 1.

    The loader's order is drawn before the loop begins. Samples that draw random numbers themselves do so ahead of the
    loop: give them a generator of their own where that matters, or workers.

    >>> import netcl as nc
    >>> from netcl.data import DataLoader, TensorDataset, prefetch
    >>> loader = DataLoader(TensorDataset(nc.arange(5)), batch_size=2)
    >>> [x.tolist() for (x,) in prefetch(loader)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, loader: Iterable[Any], device: Any = None, depth: int = 2) -> None:
        if not isinstance(depth, int) or depth < 1:
            raise ValueError(f"prefetch: depth is a number of batches, 1 or more; got {depth}")
        self.loader = loader
        self.device = None if device is None else find_device(device)
        self.depth = depth

    def __iter__(self) -> Iterator[Any]:
        # A DataLoader may prefetch by itself; twice would be once too often.
        begin = getattr(self.loader, "_iterated", None) or (lambda: iter(self.loader))
        return Prefetched(begin, self.device, self.depth)

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]


class _Shared:
    """What the loop and its thread both know; the thread knows nothing else, so that an abandoned loop can die."""

    def __init__(self, depth: int) -> None:
        self.arrived: queue.SimpleQueue[tuple[int, Any, list[tuple[Device, Any]]]] = queue.SimpleQueue()
        self.free = threading.Semaphore(depth)
        self.begun = threading.Event()  # the first batch is read: the order of the data is drawn
        self.ended = False
        self.uploaders: dict[Device, Uploader] = {}
        self.spare = depth + 2


class Prefetched:
    """One pass of prefetch; the loop's end of it."""

    def __init__(self, begin: Callable[[], Iterator[Any]], device: Any, depth: int) -> None:
        target = None if device is None else find_device(device)
        self._shared = shared = _Shared(depth)
        with staying_on_host():
            batches = begin()
        thread = threading.Thread(
            target=_read_ahead, args=(shared, batches, target, current_device()), name="netcl prefetch", daemon=True
        )
        self._end = weakref.finalize(self, _end, shared, thread)
        thread.start()
        shared.begun.wait()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._end.alive:
            raise StopIteration
        kind, content, copies = self._shared.arrived.get()
        if kind != BATCH:
            self._end()
            if kind == END:
                raise StopIteration
            raise content
        self._shared.free.release()
        for device, uploader in list(self._shared.uploaders.items()):
            uploader.hand_over([event for where, event in copies if where is device])
        return content

    def close(self) -> None:
        """End the thread, and forget the batches that it has read."""
        self._end()


def _end(shared: _Shared, thread: threading.Thread) -> None:
    shared.ended = True
    shared.free.release()
    if thread is not threading.current_thread():
        thread.join()
    while not shared.arrived.empty():
        shared.arrived.get_nowait()  # a copy that is not done is waited for
    for uploader in shared.uploaders.values():
        uploader.close()


def _read_ahead(shared: _Shared, batches: Iterator[Any], target: Device | None, current: Device) -> None:
    """The thread: read, begin to copy, hand on."""
    try:
        with current, staying_on_host():
            while True:
                shared.free.acquire()
                if shared.ended:
                    break
                try:
                    batch = next(batches)
                except StopIteration:
                    shared.arrived.put((END, None, []))
                    break
                finally:
                    shared.begun.set()
                copies: list[tuple[Device, Any]] = []
                uploaded = _uploaded(batch, target, shared, copies)
                shared.arrived.put((BATCH, uploaded, copies))
                for where, event in copies:
                    if where.kind == "cpu":
                        # A CPU runtime lets threads that wait do the work; Intel's runs the kernels' queue first else.
                        event.wait()
                del batch, uploaded, copies
    except BaseException as error:
        shared.arrived.put((ERROR, error, []))
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()


def _uploaded(item: Any, target: Device | None, shared: _Shared, copies: list[tuple[Device, Any]]) -> Any:
    """A batch with its arrays as tensors whose copies have begun: `copies` gets (device, event)."""
    if isinstance(item, HostTensor):
        place = item.place
        return _upload(np.asarray(item), target or (find_device(place) if place else None), shared, copies)
    if isinstance(item, np.ndarray) and item.dtype.kind in "fiub":
        return _upload(item.copy(), target, shared, copies)  # the loader may fill the same array again
    if isinstance(item, Tensor):
        moved = item if target is None or item.device is target else item.to(target)
        moved._value.realise()  # what this thread has recorded is run by it
        return moved
    if isinstance(item, Mapping):
        return {name: _uploaded(value, target, shared, copies) for name, value in item.items()}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(_uploaded(value, target, shared, copies) for value in item))
    if isinstance(item, (tuple, list)):
        return type(item)(_uploaded(value, target, shared, copies) for value in item)
    return item


def _upload(array: np.ndarray, device: Device | None, shared: _Shared, copies: list[tuple[Device, Any]]) -> Tensor:
    where = device or current_device()
    if array.nbytes == 0:
        return Tensor.from_host(array, device=where)
    array = host_array(array, None)
    dtype = dtypes.from_numpy(array.dtype)
    where.require(dtype)
    uploader = shared.uploaders.get(where)
    if uploader is None:
        uploader = shared.uploaders[where] = Uploader(where, shared.spare)
    buffer, event = uploader.write(array)
    copies.append((where, event))
    return Tensor._wrap(Value.realised(buffer, array.shape, dtype, where))
