"""A DataLoader's worker process: it reads batches as NumPy arrays and sends them to the parent. It has no OpenCL."""

from __future__ import annotations

import io
import pickle
import random
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from netcl import random as netcl_random
from netcl.data.fetch import Fetcher
from netcl.data.host import HostTensor, from_tensor, to_tensor
from netcl.data.info import WorkerInfo, set_worker_info
from netcl.tensor import Tensor

HEAD = struct.Struct("<qqB")  # epoch, number of the batch, what follows
BATCH, END, ERROR = range(3)
RESTART = "restart"  # sent instead of a batch's number: a new pass over the dataset begins


class Job:
    """What a worker is told at its start: pickled when the process is started, read in the worker by `load`.

    The dataset's tensors travel as HostTensors, so that reading them does not need a device.
    """

    def __init__(
        self, dataset: Any, collate: Callable, batched: bool, drop_last: bool, init: Callable | None, seed: int,
        worker: int, workers: int,
    ) -> None:  # fmt: skip
        self.user = (dataset, collate, init)
        self.batched, self.drop_last = batched, drop_last
        self.seed, self.worker, self.workers = seed, worker, workers

    def __getstate__(self) -> dict[str, Any]:
        buffer = io.BytesIO()
        _JobPickler(buffer, 5).dump(self.user)
        return {**self.__dict__, "user": buffer.getvalue()}

    def load(self) -> tuple[Any, Callable, Callable | None]:
        """(dataset, collate_fn, worker_init_fn). Whatever the user's classes raise."""
        user: tuple[Any, Callable, Callable | None] = pickle.loads(self.user)  # type: ignore[arg-type]
        return user


class _JobPickler(ForkingPickler):
    def reducer_override(self, obj: Any) -> Any:
        return from_tensor(obj).__reduce__() if isinstance(obj, Tensor) else NotImplemented


class _BatchPickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return (np.ascontiguousarray(obj), obj.place) if isinstance(obj, HostTensor) else None


class _BatchUnpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Tensor:
        return to_tensor(HostTensor(*pid))


def read_batch(payload: Any) -> Any:
    """A batch that a worker sent, its tensors uploaded; in the parent."""
    return _BatchUnpickler(io.BytesIO(payload)).load()


def run(job: Job, connection: Connection) -> None:
    """The worker's life: answer each task in turn until the parent closes its end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    sys.meta_path.insert(0, _NoOpenCL())
    failure: bytes | None = None
    fetcher: Fetcher | None = None
    make: Callable[[], Fetcher] | None = None
    try:
        make = _prepared(job)
        fetcher = make()
    except Exception as error:
        failure = _described(error, job.worker)
    while True:
        try:
            epoch, number, task = connection.recv()
        except (EOFError, OSError):  # the parent has closed the pipe, or is gone
            return
        if number == RESTART:
            if make is not None:
                try:
                    fetcher, failure = make(), None
                except Exception as error:
                    failure = _described(error, job.worker)
            continue
        kind, payload = (ERROR, failure) if failure is not None else _answer(fetcher, task, job.worker)
        try:
            connection.send_bytes(HEAD.pack(epoch, number, kind) + payload)
        except (BrokenPipeError, ConnectionResetError):  # the parent has stopped listening
            return


def _prepared(job: Job) -> Callable[[], Fetcher]:
    """Seed everything and run worker_init_fn; returns what makes the fetcher of a pass."""
    seed = job.seed + job.worker
    random.seed(seed)
    netcl_random.manual_seed(seed)
    # PyTorch's entropy for NumPy's global generator: four words, so that neighbouring workers have unlike streams.
    entropy = [job.worker, job.seed & 0xFFFFFFFF, job.seed >> 32, 0]
    np.random.seed(np.random.SeedSequence(entropy).generate_state(4))  # noqa: NPY002  (the user's code may use it)
    set_worker_info(WorkerInfo(job.worker, job.workers, seed, None))
    dataset, collate, init = job.load()
    set_worker_info(WorkerInfo(job.worker, job.workers, seed, dataset))
    if init is not None:
        init(job.worker)
    return lambda: Fetcher(dataset, collate, job.batched, job.drop_last)


def _answer(fetcher: Fetcher | None, task: Any, worker: int) -> tuple[int, bytes]:
    assert fetcher is not None
    try:
        batch = fetcher.fetch(task)
    except StopIteration as error:
        return (END, b"") if fetcher.rest is not None else (ERROR, _described(error, worker))
    except Exception as error:
        return ERROR, _described(error, worker)
    buffer = io.BytesIO()
    try:
        _BatchPickler(buffer, 5).dump(batch)
    except Exception as error:  # a batch may hold what cannot be pickled
        return ERROR, _described(error, worker)
    return BATCH, buffer.getvalue()


# ---- errors --------------------------------------------------------------------------------------------------------


def _described(error: Exception, worker: int) -> bytes:
    """An error and its traceback as bytes."""
    text = "".join(traceback.format_exception(error))
    message = f"Caught {type(error).__name__} in DataLoader worker process {worker}.\nOriginal {text}"
    try:
        return pickle.dumps((type(error), message))
    except Exception:  # a class made inside a function, say: only its name can travel
        return pickle.dumps((RuntimeError, message))


class _Text(str):
    """A message whose repr is itself: KeyError shows its argument's repr, which would hide the lines."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def read_error(payload: Any) -> Exception:
    """The error that a worker sent: of the same class where that takes a message, else a RuntimeError."""
    kind, message = pickle.loads(payload)
    if issubclass(kind, StopIteration):  # would end the caller's loop without a word
        return RuntimeError(message)
    try:
        error = kind(_Text(message) if issubclass(kind, KeyError) else message)
    except Exception:  # its constructor wants something else
        return RuntimeError(message)
    return error if isinstance(error, Exception) else RuntimeError(message)


class _NoOpenCL:
    """Refuses to import pyopencl: a worker that used a device would fight with its parent over it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == "pyopencl":
            raise RuntimeError(
                "a DataLoader worker makes batches on the host: use NumPy arrays in the dataset and in collate_fn "
                "(they become tensors in the parent), or num_workers=0"
            )
