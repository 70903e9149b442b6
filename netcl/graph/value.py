"""Values and traces: what recording an operation makes.

A `Value` is a handle: either realised (a buffer and a layout) or pending (a position in a trace). A `Trace` is the
linear record of one thread's pending operations on one device: tuples of plain data, never references between
values, so a value that nobody holds any more is simply not computed, and freeing a long chain recurses nowhere.
The tuple of records is the plan's key. Nothing here touches the device.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from netcl.codegen.ir import Shape
from netcl.core import launch
from netcl.core.dtypes import ALL, DType
from netcl.core.warning import user_frame
from netcl.graph.live import plain
from netcl.graph.primitives import TABLE

MAX_PENDING = int(os.environ.get("NETCL_MAX_PENDING", "1000"))  # records after which a trace runs by itself


class Value:
    """An array on a device, computed or still to be."""

    # What most values have is kept on the class: making a value is the hot path of recording.
    buffer: Any = None
    strides: tuple[int, ...] | None = None  # None: contiguous
    offset = 0
    number: tuple[str, Any] | None = (
        None  # (op, number) of a scalar or literal: an operand in any trace, never an output
    )
    trace: Trace | None = None
    index = -1
    origin: Any = None  # where a recording found it, see netcl.jit.recorder
    level = 0  # above 0: of a map over a batch, see graph.batching
    input_record: tuple | None = None  # what a trace records where this value is an input

    def __init__(self, shape: Shape, dtype: DType, device: Any):
        self.shape = shape
        self.dtype = dtype
        self.device = device

    @classmethod
    def realised(
        cls, buffer: Any, shape: Shape, dtype: DType, device: Any, strides: tuple[int, ...] | None = None,
        offset: int = 0,
    ) -> Value:  # fmt: skip
        value = cls(shape, dtype, device)
        value.buffer = buffer
        value.strides = strides
        value.offset = offset
        return value

    def again(self) -> Value:
        """Another handle to the same elements, which are in memory."""
        return Value.realised(self.buffer, self.shape, self.dtype, self.device, self.strides, self.offset)

    def make_input_record(self) -> tuple:
        """("input", (dtype, shape, strides, whether it has an offset), ())."""
        self.input_record = record = ("input", (self.dtype.name, self.shape, self.strides, self.offset != 0), ())
        return record

    def realise(self) -> Value:
        """Run whatever this value waits for. Enqueues; does not wait for the device."""
        if self.buffer is None:
            if self.number is not None:
                self.buffer = self.device.pool.allocate(self.dtype.itemsize)
                launch.write(self.device, self.buffer, np.asarray(plain(self.number[1])).astype(self.dtype.numpy))
            else:
                assert self.trace is not None
                self.trace.flush()
        return self


class NotRealised(Exception):
    """An operand is pending in another trace: it has to run before this operation can be recorded."""

    def __init__(self, value: Value):
        super().__init__()
        self.value = value


scalar_records = {dtype.name: ("scalar", (dtype.name,), ()) for dtype in ALL}


class Trace:
    """The pending operations of one thread on one device, in program order.

    Another thread may run a trace (it reads a value of it) while its own thread records: `lock` guards the records,
    and a trace that has run is `closed`. A thread never waits for one trace's lock while it holds another's.
    """

    __slots__ = (
        "__weakref__", "closed", "device", "input_refs", "inputs", "lock", "owner", "records", "rest",
        "scalars", "values",
    )  # fmt: skip

    def __init__(self, device: Any):
        self.device = device
        self.records: list[tuple] = []  # (op, arg, operand positions)
        self.values: dict[int, weakref.ref[Value]] = {}  # by position: the Value of each operation
        self.inputs: list[Value] = []
        self.input_refs: dict[int, int] = {}  # id(realised value) -> position
        self.scalars: list[Any] = []
        self.lock = threading.RLock()
        self.closed = False
        self.owner: dict[Any, Trace] | None = None  # its thread's open traces
        self.rest: tuple[Any, Any] | None = None  # see stop()

    def position(self, value: Value) -> int:
        """The position of an operand; a realised value becomes an input."""
        if value.trace is self:
            return value.index
        if value.buffer is None:
            if value.number is not None:
                return self.constant(*value.number, value.dtype).index
            raise NotRealised(value)
        found = self.input_refs.get(id(value))
        if found is None:
            self.input_refs[id(value)] = found = len(self.records)
            self.records.append(value.input_record or value.make_input_record())
            self.inputs.append(value)
        return found

    def sharing(self) -> tuple[int, ...]:
        """Each input's buffer number, where some have one buffer: the key tells shared buffers from different ones."""
        buffers = [id(value.buffer) for value in self.inputs]
        if len(set(buffers)) == len(buffers):
            return ()
        numbers: dict[int, int] = {}
        return tuple([numbers.setdefault(buffer, len(numbers)) for buffer in buffers])

    def add(self, op: str, operands: Sequence[Value], arg: Any, shape: Shape, dtype: DType) -> Value:
        value = Value(shape, dtype, self.device)
        operand_positions = tuple([v.index if v.trace is self else self.position(v) for v in operands])
        value.trace = self
        value.index = index = len(self.records)
        self.records.append((op, arg, operand_positions))
        self.values[index] = weakref.ref(value)
        return value

    def add_many(
        self, op: str, operands: Sequence[Value], arg: Any, metas: Sequence[tuple], numbers: Sequence[float] = (),
        kind: str = "",
    ) -> tuple[Value, ...]:  # fmt: skip
        """One record with several results, and a record for each of them. `numbers` are scalars of dtype `kind` that
        follow the operands."""
        records = self.records
        positions = [v.index if v.trace is self else self.position(v) for v in operands]
        if numbers:
            positions += range(len(records), len(records) + len(numbers))
            records += [scalar_records[kind]] * len(numbers)
            self.scalars += numbers
        return self.add_results(op, positions, arg, metas)

    def add_results(self, op: str, positions: Sequence[int], arg: Any, metas: Sequence[tuple]) -> tuple[Value, ...]:
        """A record with several results, and a record for each of them."""
        device, records, values = self.device, self.records, self.values
        index = len(records)
        source = (index,)
        records.append((op, arg, tuple(positions)))
        results = []
        for number, (shape, dtype) in enumerate(metas):
            index += 1
            value = Value(shape, dtype, device)
            value.trace = self
            value.index = index
            records.append(("item", number, source))
            values[index] = weakref.ref(value)
            results.append(value)
        return tuple(results)

    def constant(self, op: str, number: Any, dtype: DType) -> Value:
        """A number: as a kernel argument (scalar) or as part of the plan's key (literal)."""
        if op == "literal":
            number = plain(number)
        value = Value((), dtype, self.device)
        value.trace, value.index = self, len(self.records)
        value.number = (op, number)
        if op == "scalar":
            self.records.append((op, (dtype.name,), ()))
            self.scalars.append(number)
        else:
            self.records.append((op, (dtype.name, number), ()))
        return value

    def sizes(self) -> tuple[int, int, int]:
        """How much is recorded: for truncate."""
        return len(self.records), len(self.inputs), len(self.scalars)

    def truncate(self, sizes: tuple[int, int, int]) -> None:
        """Forget what was recorded since it had these sizes; nobody may hold results of that."""
        records = sizes[0]
        del self.records[records:], self.inputs[sizes[1] :], self.scalars[sizes[2] :]
        self.values = {position: value for position, value in self.values.items() if position < records}
        self.input_refs = {key: position for key, position in self.input_refs.items() if position < records}

    def flush(self) -> None:
        """Run the pending operations. On an error they stay pending, and asking again tries again, from the launch that
        failed where those before it have overwritten inputs."""
        from netcl.graph.plan import execute, finish

        recorder = _pending.recorder
        if recorder is not None:
            recorder.interrupted(self)
        with self.lock:
            self.closed = True
            if self.owner is not None and self.owner.get(self.device) is self:
                del self.owner[self.device]
            if self.rest is not None:
                finish(*self.rest, self)
            elif self.records:
                execute(self)

    def stop(self, plan: Any, run: Any) -> None:
        """A launch has failed when others had overwritten inputs. Values wait for the rest of the run: who asks for one
        has it done first."""
        self.rest = plan, run
        _open.add(self)


class _Pending(threading.local):
    """Each thread's traces, and the trace that recording is diverted to while a composite is expanded."""

    def __init__(self) -> None:
        self.traces: dict[Any, Trace] = {}
        self.expansion: Trace | None = None
        self.recorder: Any = None  # notes what a function does, for jit_compile
        self.collector: Any = None  # takes the numbers of effects that are repeated, in the place of operations
        self.eager = os.environ.get("NETCL_EAGER", "0") not in ("", "0")


_pending = _Pending()
record_batched: Any = None  # set by graph.batching where operands may be batched
record_many_batched: Any = None
_open: weakref.WeakSet[Trace] = weakref.WeakSet()


def trace_for(device: Any) -> Trace:
    """The calling thread's open trace on `device`."""
    if _pending.expansion is not None:
        return _pending.expansion
    trace = _pending.traces.get(device)
    if trace is None or trace.closed:
        trace = _pending.traces[device] = Trace(device)
        trace.owner = _pending.traces
        _open.add(trace)
    return trace


def record(op: str, operands: Sequence[Value], arg: Any = None) -> Value:
    """Record one operation: checks shapes and dtypes now, computes later."""
    if record_batched is not None and any([value.level for value in operands]):
        return record_batched(op, operands, arg)
    shape, dtype = TABLE[op].infer(operands, arg)
    trace = _pending.expansion
    if trace is not None:
        return trace.add(op, operands, arg, shape, dtype)
    device = operands[0].device
    if 0 in shape:
        return _empty(shape, dtype, device)
    while True:
        trace = _pending.traces.get(device) or trace_for(device)
        try:
            with trace.lock:
                if trace.closed:
                    continue
                value = trace.add(op, operands, arg, shape, dtype)
            break
        except NotRealised as pending:
            pending.value.realise()
    if len(trace.records) >= MAX_PENDING or _pending.eager:
        _full(trace)
    return value


def _full(trace: Trace) -> None:
    """Run a trace that has grown long enough. What is being recorded for jit_compile may be longer."""
    if _pending.recorder is None or _pending.eager or len(trace.records) >= 100 * MAX_PENDING:
        trace.flush()


def _empty(shape: Shape, dtype: DType, device: Any) -> Value:
    """A value without elements: there is nothing to compute, so it is there at once."""
    return Value.realised(device.pool.allocate(0), shape, dtype, device)


def _locked(device: Any, add: Callable[[Trace], Value]) -> Value:
    while True:
        trace = trace_for(device)
        with trace.lock:
            if not trace.closed:
                return add(trace)


def record_iota(device: Any, shape: Shape, axis: int, dtype: DType) -> Value:
    """The coordinates along one axis of a shape."""
    if 0 in shape and _pending.expansion is None:
        return _empty(shape, dtype, device)
    return _locked(device, lambda trace: trace.add("iota", (), (shape, axis, dtype.name), shape, dtype))


def stage(number: int) -> None:
    """In a composite's body: what follows is work of stage `number`. Stages run one after the other and share no
    kernel, so that the intermediate results of one can lie where those of the one before were."""
    if _pending.expansion is not None:
        _pending.expansion.records.append(("stage", number, ()))


def record_literal(number: Any, dtype: DType, device: Any) -> Value:
    """A constant of a formula: its value is part of the plan's key."""
    return _locked(device, lambda trace: trace.constant("literal", number, dtype))


def record_scalar(number: Any, dtype: DType, device: Any) -> Value:
    """A Python number as a kernel argument: its value is not part of the plan's key."""
    return _locked(device, lambda trace: trace.constant("scalar", number, dtype))


def record_many(
    op: str, operands: Sequence[Value], arg: Any = None, numbers: Sequence[float] = (), kind: str = ""
) -> tuple[Value, ...]:
    """Record a composite with several results. `numbers` are kernel arguments of dtype `kind` behind the operands."""
    if record_many_batched is not None and any([value.level for value in operands]):
        return record_many_batched(op, operands, arg, numbers)
    metas: Any = TABLE[op].infer(operands, arg)
    while True:
        trace = trace_for(operands[0].device)
        try:
            with trace.lock:
                if trace.closed:
                    continue
                results = trace.add_many(op, operands, arg, metas, numbers, kind)
            break
        except NotRealised as pending:
            pending.value.realise()
    if _pending.expansion is not None:
        return results
    if any([0 in value.shape for value in results]):
        results = tuple(_empty(v.shape, v.dtype, v.device) if 0 in v.shape else v for v in results)
    if _pending.eager or len(trace.records) >= MAX_PENDING:
        _full(trace)
    return results


def record_with_numbers(
    op: str, operands: Sequence[Value], arg: Any, numbers: Sequence[Any], kinds: Sequence[str], device: Any
) -> tuple[Value, ...]:
    """As record_many, with numbers of several dtypes behind the operands."""
    metas: Any = TABLE[op].infer(operands, arg)
    while True:
        trace = trace_for(device)
        try:
            with trace.lock:
                if trace.closed:
                    continue
                positions = [v.index if v.trace is trace else trace.position(v) for v in operands]
                positions += range(len(trace.records), len(trace.records) + len(numbers))
                trace.records += [scalar_records[kind] for kind in kinds]
                trace.scalars += numbers
                return trace.add_results(op, positions, arg, metas)
        except NotRealised as pending:
            pending.value.realise()


def user_line() -> str:
    """`file:line` of the innermost frame outside netcl."""
    frame, _ = user_frame()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def open_traces() -> list[Trace]:
    """What this thread has recorded and not run."""
    return [trace for trace in _pending.traces.values() if trace.records]


def flush_thread() -> None:
    """Run everything that this thread has recorded."""
    if _pending.recorder is not None:
        _pending.recorder.flush_wanted = True  # at the end: what jit_compile records is run as a whole
        return
    for trace in list(_pending.traces.values()):
        trace.flush()


def flush_all() -> None:
    """Run everything that any thread has recorded."""
    for trace in list(_open):
        trace.flush()


def is_expanding() -> bool:
    """Whether a composite's body is being read."""
    return _pending.expansion is not None


@contextmanager
def expansion(trace: Trace) -> Iterator[None]:
    """Recording goes to `trace` inside: how a composite's body is read."""
    outer = _pending.expansion
    _pending.expansion = trace
    try:
        yield
    finally:
        _pending.expansion = outer


@contextmanager
def eager(enabled: bool = True) -> Iterator[None]:
    """Run each operation at once, unfused: for debugging, and as the reference for fused results."""
    outer = _pending.eager
    flush_thread()
    _pending.eager = enabled
    try:
        yield
    finally:
        _pending.eager = outer
