"""WorkerBatches: one pass over the batches that worker processes make, in order."""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Iterator
from typing import Any

from netcl.data.pool import Pool
from netcl.data.worker import END, ERROR, HEAD, RESTART, read_batch, read_error


class WorkerBatches:
    """Give the workers their tasks in turn, `prefetch` each ahead, and hand out the batches in the tasks' order.

    A worker at the end of its IterableDataset gets no more. The processes end with the pass unless they are persistent.
    """

    def __init__(self, pool: Pool, tasks: Iterator[Any], prefetch: int, timeout: float, persistent: bool) -> None:
        self._pool, self._tasks, self._timeout, self._persistent = pool, tasks, timeout, persistent
        self._first_pass = pool.epoch == 0
        pool.epoch += 1
        self._epoch = pool.epoch
        self._turns = itertools.cycle(range(len(pool)))
        self._ended = [False] * len(pool)
        self._worker: dict[int, int] = {}  # whose task is still to be handed out
        self._arrived: dict[int, tuple[int, memoryview]] = {}
        self._sent = self._given = 0
        if not self._first_pass:
            for worker in range(len(pool)):
                pool.send(worker, (self._epoch, RESTART, None))
        for _ in range(prefetch * len(pool)):
            self._send_next()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._pool.epoch != self._epoch:
            raise RuntimeError("a newer iterator of this DataLoader has taken over its persistent workers")
        while self._given < self._sent:
            number = self._given
            if number not in self._arrived:
                self._wait_for(number)
            kind, payload = self._arrived.pop(number)
            del self._worker[number]
            self._given += 1
            self._send_next()
            if kind == ERROR:
                raise read_error(payload)
            if kind != END:
                return read_batch(payload)
        if not self._persistent:
            self._pool.close()
        raise StopIteration

    def _send_next(self) -> None:
        """Give the next task to the next worker that has samples left."""
        worker = next((w for w in itertools.islice(self._turns, len(self._ended)) if not self._ended[w]), None)
        if worker is None:
            return
        for task in self._tasks:
            self._worker[self._sent] = worker
            self._pool.send(worker, (self._epoch, self._sent, task))
            self._sent += 1
            return

    def _wait_for(self, number: int) -> None:
        """Take what arrives until the batch is there."""
        if self._pool.closed:
            raise RuntimeError("the DataLoader's workers have been ended")
        limit = time.monotonic() + self._timeout if self._timeout else None
        while number not in self._arrived:
            try:
                message = self._pool.receive(None if limit is None else max(limit - time.monotonic(), 0))
            except queue.Empty:
                self._pool.close()
                raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds") from None
            except KeyboardInterrupt:
                self._pool.close()
                raise
            epoch, arrived, kind = HEAD.unpack_from(message)
            if epoch != self._epoch:  # asked for by a pass that was abandoned
                continue
            self._arrived[arrived] = (kind, memoryview(message)[HEAD.size :])
            if kind == END:
                self._ended[self._worker[arrived]] = True
