"""What the device does: launches counted, kernels timed, memory in use."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netcl.core import debug, launch
from netcl.core.device import device as find_device
from netcl.core.device import devices
from netcl.core.errors import readable
from netcl.graph.value import flush_thread

__all__ = [
    "Row", "Span", "count_launches", "count_reads", "memory_in_use", "memory_summary", "peak_memory", "profile",
    "reset_peak_memory", "timeline",
]  # fmt: skip

_MOST_EVENTS = 4096  # beyond this the oldest events are read, which waits for them


class count_launches:
    """Count the kernels that are enqueued inside. What was pending before runs first; what is pending at the end, too.

    >>> import netcl as nc
    >>> a, b = nc.ones(8), nc.ones(8)
    >>> with nc.profiler.count_launches() as n:
    ...     loss = ((a - b) ** 2).mean()
    >>> int(n)
    1
    """

    def __init__(self) -> None:
        self._start = 0
        self._count: int | None = 0

    def __enter__(self) -> count_launches:
        flush_thread()
        self._start = launch.launch_counter.count
        self._count = None
        return self

    def __exit__(self, *_error: object) -> None:
        flush_thread()
        self._count = launch.launch_counter.count - self._start

    def __int__(self) -> int:
        return launch.launch_counter.count - self._start if self._count is None else self._count

    __index__ = __int__

    def __repr__(self) -> str:
        return f"<{int(self)} launches>"


class count_reads:
    """Count how often the host reads from a device inside, which waits for it each time.

    >>> import netcl as nc
    >>> with nc.profiler.count_reads() as n:
    ...     total = nc.ones(8).sum().item() + nc.ones(8).mean().item()
    >>> int(n)
    2
    """

    def __init__(self) -> None:
        self._start = 0
        self._count: int | None = 0

    def __enter__(self) -> count_reads:
        self._start = launch.launch_counter.reads
        self._count = None
        return self

    def __exit__(self, *_error: object) -> None:
        self._count = launch.launch_counter.reads - self._start

    def __int__(self) -> int:
        return launch.launch_counter.reads - self._start if self._count is None else self._count

    __index__ = __int__

    def __repr__(self) -> str:
        return f"<{int(self)} reads>"


# ---- times -------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """One kernel in a profile: how often it ran, for how many seconds, and what it did in them."""

    kernel: str
    device: str
    calls: int = 0
    seconds: float = 0.0
    flops: int = 0
    bytes_moved: int = 0
    source: str = field(default="", repr=False)

    @property
    def gflops(self) -> float:
        """Arithmetic in 1e9 operations per second."""
        return self.flops / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def gbytes(self) -> float:
        """Memory read and written in 1e9 bytes per second."""
        return self.bytes_moved / self.seconds / 1e9 if self.seconds else 0.0


class profile:
    """Time every kernel that is enqueued inside, on all devices or those given; print it for a table.

    The queues are made anew at both ends, which waits for them; timing itself costs about 1 us per launch.

    >>> import netcl as nc
    >>> with nc.profiler.profile() as p:
    ...     total = nc.ones(1000).sum().item()
    >>> [row.calls for row in p.rows]
    [1]
    """

    def __init__(self, *only: Any) -> None:
        self._only = [find_device(one) for one in only] or devices()
        self._before: list[bool] = []
        self._events: list[tuple[Any, launch.Launch, Any]] = []
        self._rows: dict[tuple[Any, str, str], Row] = {}

    def __enter__(self) -> profile:
        flush_thread()
        self._before = [one.profiling for one in self._only]
        for one in self._only:
            one.profiling = True
        launch.observers.append(self._observe)
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            flush_thread()
        finally:
            launch.observers.remove(self._observe)
            self._read(len(self._events))
            for one, before in zip(self._only, self._before, strict=True):
                one.profiling = before

    def _observe(self, device: Any, launched: launch.Launch, event: Any) -> None:
        if device in self._only:
            self._events.append((device, launched, event))
            if len(self._events) > _MOST_EVENTS:
                self._read(_MOST_EVENTS // 2)

    def _read(self, count: int) -> None:
        """Add the first `count` events to the rows."""
        for device, launched, event in self._events[:count]:
            key = (device, launched.name, launched.source)
            row = self._rows.get(key)
            if row is None:
                row = self._rows[key] = Row(launched.name, str(device), source=launched.source)
            row.calls += 1
            row.seconds += event_seconds(event)
            row.flops += launched.flops
            row.bytes_moved += launched.bytes_moved
        del self._events[:count]

    @property
    def rows(self) -> list[Row]:
        """The kernels, those that took longest first."""
        return sorted(self._rows.values(), key=lambda row: -row.seconds)

    def __str__(self) -> str:
        rows = self.rows
        total = sum(row.seconds for row in rows)
        width = max([6, *(len(row.kernel) for row in rows)])
        heads = f"{'calls':>7} {'total ms':>10} {'mean us':>10} {'share':>6} {'GFLOP/s':>8} {'GB/s':>7}"
        lines = [f"{'kernel':{width}} {'device':>9} {heads}"]
        for row in rows:
            times = f"{row.seconds * 1e3:10.3f} {row.seconds / row.calls * 1e6:10.1f}"
            share = row.seconds / total if total else 0
            rates = f"{share:6.1%} {row.gflops:8.1f} {row.gbytes:7.1f}"
            lines.append(f"{row.kernel:{width}} {row.device:>9} {row.calls:7d} {times} {rates}")
        lines.append(f"{'total':{width}} {'':9} {sum(row.calls for row in rows):7d} {total * 1e3:10.3f}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Span:
    """A kernel or a copy on the timeline: `start` and `end` are seconds of the device's clock."""

    kind: str  # "kernel", "upload" or "read"
    name: str
    device: str
    start: float
    end: float
    nbytes: int = 0


class timeline:
    """When each kernel and each copy between host and device began and ended, on all devices or those given.

    `spans` has them in the order in which they were enqueued; `save(path)` writes a trace that Perfetto and
    chrome://tracing show.

    >>> import netcl as nc
    >>> with nc.profiler.timeline() as line:
    ...     total = (nc.tensor([1.0, 2.0]) * 2).sum().item()
    >>> [span.kind for span in line.spans]
    ['upload', 'kernel', 'read']
    """

    def __init__(self, *only: Any) -> None:
        self._only = [find_device(one) for one in only] or devices()
        self._before: list[bool] = []
        self._seen: list[tuple[str, str, Any, int, Any]] = []
        self.spans: list[Span] = []

    def __enter__(self) -> timeline:
        flush_thread()
        self._before = [one.profiling for one in self._only]
        for one in self._only:
            one.profiling = True
        launch.observers.append(self._kernel)
        launch.copy_observers.append(self._copy)
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            flush_thread()
        finally:
            launch.observers.remove(self._kernel)
            launch.copy_observers.remove(self._copy)
            self.spans += [_span(*seen) for seen in self._seen]
            self._seen.clear()
            for one, before in zip(self._only, self._before, strict=True):
                one.profiling = before

    def _kernel(self, device: Any, launched: launch.Launch, event: Any) -> None:
        if device in self._only:
            self._seen.append(("kernel", launched.name, device, launched.bytes_moved, event))

    def _copy(self, device: Any, kind: str, nbytes: int, event: Any) -> None:
        if device in self._only:
            self._seen.append((kind, kind, device, nbytes, event))

    def save(self, path: Any) -> None:
        """Write the spans as a trace in JSON, each kind on a line of its own."""
        begin = min((span.start for span in self.spans), default=0.0)
        events = [
            {
                "name": span.name, "ph": "X", "pid": span.device, "tid": f"{span.kind}s",
                "ts": (span.start - begin) * 1e6, "dur": (span.end - span.start) * 1e6, "args": {"bytes": span.nbytes},
            }
            for span in self.spans
        ]  # fmt: skip
        Path(path).write_text(json.dumps({"traceEvents": events}))


def _span(kind: str, name: str, device: Any, nbytes: int, event: Any) -> Span:
    """The span of an event, waited for."""
    event.wait()
    start = event.profile.start
    return Span(kind, name, str(device), start * 1e-9, max(event.profile.end, start) * 1e-9, nbytes)


def event_seconds(event: Any) -> float:
    """How long the device worked on a launch whose queue was profiling. Waits for it."""
    event.wait()
    start, end = event.profile.start, event.profile.end
    return max(end - start, 0) * 1e-9


def debug_line(device: Any, launched: launch.Launch, event: Any) -> None:
    """NETCL_DEBUG=2: one line for a launch, with its time. Waits for each launch."""
    seconds = event_seconds(event)
    rate = 1e-9 / seconds if seconds else 0.0
    rates = f"{launched.flops * rate:.1f} GFLOP/s, {launched.bytes_moved * rate:.1f} GB/s"
    debug.log(2, f"{device} {launched.name} {launched.global_size}: {seconds * 1e6:.1f} us, {rates}")


if debug.level >= 2:  # devices time their launches then from the start: see Device
    launch.observers.append(debug_line)


# ---- memory ------------------------------------------------------------------------------------------------------


def memory_in_use(device: Any = None) -> int:
    """Bytes that live tensors hold on a device, rounded up as the pool does it. What is pending runs first."""
    flush_thread()
    return find_device(device).pool.in_use


def peak_memory(device: Any = None) -> int:
    """The highest memory_in_use since the process began or reset_peak_memory, in bytes."""
    flush_thread()
    return find_device(device).pool.peak


def reset_peak_memory(device: Any = None) -> None:
    """Start counting the peak anew."""
    flush_thread()
    find_device(device).pool.reset_peak()


def memory_summary(device: Any = None) -> str:
    """In use, peak and reserved memory of a device, in a sentence."""
    found = find_device(device)
    statistics = found.pool.statistics()
    return f"{found} ({found.name}): " + ", ".join(
        f"{name.replace('_', ' ')} {readable(statistics[name])}" for name in ("in_use", "peak", "reserved")
    )
