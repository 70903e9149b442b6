"""Plans: a trace compiled to launches with planned memory, kept under the trace's structure, and replayed.

The key is the trace itself (operations, arguments, shapes, dtypes, aliasing), which of its values are still held, and
which inputs nobody else holds, so that their memory may be taken over. The values of Python numbers are not in it.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from netcl.codegen.ir import KernelSource
from netcl.core import dtypes
from netcl.core.replay import Memory, Run, Steps, forget_scratch
from netcl.graph import flags
from netcl.graph.budget import state as budget
from netcl.graph.live import peek
from netcl.graph.prune import Pruning, prune, pruning
from netcl.graph.value import Trace, Value

MAX_PLANS = int(os.environ.get("NETCL_MAX_PLANS", "256"))  # least recently used plans beyond this are dropped


@dataclass
class Statistics:
    """Counters since the process began."""

    planned: int = 0
    replayed: int = 0


@dataclass
class Plan:
    """Launches in order, and where each live value's result lies: (position, slot, strides, offset)."""

    steps: Steps
    memory: Memory
    results: list[tuple[int, int, tuple[int, ...] | None, int, tuple | None]]  # last: its record as an input
    scalar_packers: list[Callable[[Any], bytes]]
    moved: list[int]  # inputs whose offset is a kernel argument: packed behind the scalars
    kernels: list[KernelSource]
    checks: bool


pack_offset = struct.Struct("q").pack
statistics = Statistics()
_plans: OrderedDict[tuple, Plan | Pruning] = OrderedDict()  # a Pruning: the key of a trace with dead records
_last: dict[Any, tuple[tuple, Plan]] = {}  # the plan that each device ran last
_lock = threading.RLock()
watchers: list[Callable[[Trace], None]] = []  # called with each trace before it runs: see graph.explain


def plan_count() -> int:
    return len(_plans)


def clear_plans() -> None:
    with _lock:
        _plans.clear()
        _last.clear()
        forget_scratch()


def execute(trace: Trace) -> None:
    """Run a trace's live values, by a plan made now or found."""
    held = _held(trace)
    if not held:
        trace.records.clear()
        return
    for watch in tuple(watchers) if watchers else ():
        watch(trace)
    key = _key(trace, held)
    plan = _find(key)
    if plan is None:
        plan = pruning(trace, [position for position, _ in held])
        if plan is not None:
            _keep(key, plan)
    if isinstance(plan, Pruning):
        prune(trace, plan)
        held = _held(trace)
        key = _key(trace, held)
        plan = _find(key)
    if plan is None:
        plan = _make(key, trace)
    else:
        statistics.replayed += 1
    _run(plan, trace)


def plan_for(
    trace: Trace, positions: list[int], free: tuple[int, ...], heirs: tuple[tuple[int, int], ...] = ()
) -> Plan:
    """The plan of a trace for the values at some positions, made now or found; `free` inputs may be overwritten, by
    the results that are their `heirs`, (input, position), if it can be."""
    key = _full_key(trace, positions, free, heirs)
    plan = _find(key)
    if plan is None:
        plan = _make(key, trace)
    assert isinstance(plan, Plan)
    return plan


def _make(key: tuple, trace: Trace) -> Plan:
    """A plan that is not there yet, kept under its key."""
    from netcl.graph.planner import build

    positions, free, heirs = key[3], key[5], key[6]
    plan = build(trace, list(positions), set(free), heirs)
    statistics.planned += 1
    _keep(key, plan)
    return plan


def _key(trace: Trace, held: list[tuple[int, Value]]) -> tuple:
    return _full_key(trace, [position for position, _ in held], _free_inputs(trace))


def _full_key(trace: Trace, positions: list[int], free: tuple[int, ...], heirs: tuple = ()) -> tuple:
    device = trace.device
    return device, settings(device), tuple(trace.records), tuple(positions), trace.sharing(), free, heirs


def settings(device: Any) -> tuple:
    """What plans depend on besides the work: the kind of code, the default dtype, the memory budget."""
    return device.target, dtypes.default_float, budget.limit


def _find(key: tuple) -> Any:
    """The plan of a key. A training loop asks for the same one again and again: comparing costs less than hashing."""
    last = _last.get(key[0])
    if last is not None and last[0] == key:
        return last[1]
    with _lock:
        found = _plans.get(key)
        if found is not None:
            _plans.move_to_end(key)
            if isinstance(found, Plan):
                _last[key[0]] = key, found
        return found


def _keep(key: tuple, plan: Plan | Pruning) -> None:
    with _lock:
        _plans[key] = plan
        while len(_plans) > MAX_PLANS:
            _plans.popitem(last=False)


def _held(trace: Trace) -> list[tuple[int, Value]]:
    """The values of the trace that somebody still holds."""
    held = []
    for position, reference in trace.values.items():
        value = reference()
        if value is not None:
            held.append((position, value))
    return held


def _free_inputs(trace: Trace) -> tuple[int, ...]:
    """Inputs whose memory nobody but this trace holds: it may be given to results.

    Exact in CPython: an input is held by the list and the call, its buffer by the input and the call.
    """
    inputs, count = trace.inputs, sys.getrefcount
    return tuple(
        [
            number
            for number in range(len(inputs))
            if count(inputs[number]) == 2
            and count(inputs[number].buffer) == 2
            and inputs[number].strides is None
            and not inputs[number].offset
        ]
    )


# ---- running -----------------------------------------------------------------------------------------------------


def pack_numbers(plan: Plan, numbers: list[Any], inputs: list[Value]) -> list[bytes]:
    """Kernel arguments: the trace's numbers, and offsets of inputs."""
    packed = [pack(peek(number)) for pack, number in zip(plan.scalar_packers, numbers, strict=True)]
    for number in plan.moved:
        packed.append(pack_offset(inputs[number].offset))
    return packed


def realise(value: Value, inputs: list[Value], slots: list[Any], result: Sequence[Any]) -> None:
    """Realise a result: (slot, strides, offset, its record as an input)."""
    slot, strides, offset, value.input_record = result
    if strides is not None:
        value.strides = strides
    if slot < len(inputs):
        offset += inputs[slot].offset
    if offset:
        value.offset = offset
    value.buffer = slots[slot]
    value.trace = None


def go_on(plan: Plan, run: Run) -> list[Any]:
    """Launch what is left of a run; the memory of every slot."""
    if plan.checks:
        flags.mark_pending(run.device)
    run.go_on()
    return run.slots


def finish(plan: Plan, run: Run, trace: Trace) -> None:
    """Launch what is left of a run, and realise the values of its trace that somebody still holds."""
    slots = go_on(plan, run)
    inputs, values = trace.inputs, trace.values
    for position, *result in plan.results:
        value = values[position]()
        if value is not None and value.buffer is None:
            realise(value, inputs, slots, result)
    trace.rest = None
    trace.records.clear()
    inputs.clear()


def _run(plan: Plan, trace: Trace) -> None:
    inputs = trace.inputs
    run = Run(
        trace.device, plan.steps, plan.memory, [value.buffer for value in inputs],
        pack_numbers(plan, trace.scalars, inputs),
    )  # fmt: skip
    try:
        finish(plan, run, trace)
    except BaseException:
        if run.slots:
            trace.stop(plan, run)
        raise
