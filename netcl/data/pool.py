"""Pool: a DataLoader's worker processes, seen from the parent: start, send tasks, take results, end."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

GRACE = 1.0  # seconds that a worker has to finish its batch before it is terminated


class Pool:
    """Processes with a pipe each, and a thread that takes what they send, so that they never wait for the training.

    The processes end when `close` is called, when the pool is collected, and at the interpreter's exit.
    """

    def __init__(self, context: Any, run: Callable, jobs: list[Any]) -> None:
        self.epoch = 0
        self._processes: list[Any] = []
        self._connections: list[Connection] = []
        self._arrived: queue.SimpleQueue[tuple[int, bytes | None]] = queue.SimpleQueue()
        awake, self._wake = context.Pipe(duplex=False)
        thread = threading.Thread(
            target=_receive, args=(self._connections, awake, self._arrived), name="netcl DataLoader", daemon=True
        )
        self._finalizer = weakref.finalize(
            self, _end, os.getpid(), self._processes, self._connections, self._wake, awake, thread
        )
        try:
            for job in jobs:
                self._start(context, run, job)
        except BaseException:
            self.close()
            raise
        thread.start()

    def _start(self, context: Any, run: Callable, job: Any) -> None:
        here, there = context.Pipe()
        self._connections.append(here)
        process = context.Process(target=run, args=(job, there), name=f"DataLoader worker {job.worker}", daemon=True)
        try:
            with _interrupts_blocked():
                process.start()
        except (AttributeError, TypeError, ValueError) as error:
            error.add_note(
                "DataLoader: the dataset, collate_fn and worker_init_fn are pickled for worker processes; define them "
                "at a module's top level, or use num_workers=0"
            )
            raise
        finally:
            there.close()
        self._processes.append(process)

    def __len__(self) -> int:
        return len(self._processes)

    @property
    def pids(self) -> list[int]:
        """The processes' ids."""
        return [process.pid for process in self._processes]

    @property
    def closed(self) -> bool:
        """Whether the processes have been ended."""
        return not self._finalizer.alive

    def send(self, worker: int, message: Any) -> None:
        """Give a worker a task."""
        try:
            self._connections[worker].send(message)
        except (BrokenPipeError, ConnectionResetError):
            return  # the worker is gone, which `receive` reports

    def receive(self, timeout: float | None) -> bytes:
        """What arrived next. queue.Empty after timeout seconds, RuntimeError if a worker has died."""
        worker, message = self._arrived.get(timeout=timeout)
        if message is None:
            process = self._processes[worker]
            process.join(GRACE)
            pid, code = process.pid, process.exitcode
            self.close()
            raise RuntimeError(f"DataLoader worker (pid(s) {pid}) exited unexpectedly: {_meaning(code)}")
        return message

    def close(self) -> None:
        """End the processes; a second time does nothing."""
        self._finalizer()


def _meaning(code: int | None) -> str:
    if code is not None and code < 0:
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{hint}"
    return (
        f"exit code {code}. Its own message is above. A script that uses workers is imported by them: start its work "
        "under `if __name__ == '__main__':`, and keep it in a file"
    )


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process started here never sees Ctrl-C, not even while it imports; one that comes meanwhile comes after."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # multiprocessing's own helper; starting it unblocks the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _receive(connections: list[Connection], awake: Connection, arrived: queue.SimpleQueue) -> None:
    """The thread: everything the workers send goes to the queue; None once for a worker that has gone."""
    listening: dict[Any, int] = {connection: number for number, connection in enumerate(connections)}
    while listening:
        try:
            ready = wait([*listening, awake])
        except OSError:  # closed: the pool was collected while this thread ran the collector
            return
        if awake in ready:
            return
        for connection in ready:
            try:
                arrived.put((listening[connection], connection.recv_bytes()))  # type: ignore[union-attr]
            except (EOFError, OSError):
                arrived.put((listening.pop(connection), None))


def _shut_down(connection: Connection) -> None:
    """End both directions of a pipe at once: a blocked read or write on either side returns."""
    with socket.socket(fileno=os.dup(connection.fileno())) as end, contextlib.suppress(OSError):  # already ended
        end.shutdown(socket.SHUT_RDWR)


def _end(
    owner: int, processes: list[Any], connections: list[Connection], wake: Connection, awake: Connection,
    thread: threading.Thread,
) -> None:  # fmt: skip
    """Stop the thread, close the pipes (a worker ends when its next read or write fails), and wait for the processes.

    It knows nothing of the pool: it runs when that is being collected.
    """
    if os.getpid() != owner:  # a fork of the parent has the same pool, but the processes are not its own
        return
    for connection in connections:
        _shut_down(connection)
    wake.send_bytes(b"end")
    # The collector may run this in the thread itself, which then ends by itself.
    if thread.is_alive() and thread is not threading.current_thread():
        thread.join()
    for connection in (*connections, wake, awake):
        connection.close()
    limit = time.monotonic() + GRACE
    for ended in (lambda process: None, lambda process: process.terminate(), lambda process: process.kill()):
        for process in processes:
            if process.is_alive():
                ended(process)
        for process in processes:
            process.join(max(limit - time.monotonic(), 0.01))
        limit = time.monotonic() + GRACE
    for process in processes:
        if process.exitcode is not None:
            process.close()
