"""Plans at run time: ordered launches with bound arguments and planned memory, enqueued in one go.

Every step has a kernel object of its own, so what is set on it stays set. A replay compares each slot and each number
with the last replay's (0.05 us), however many arguments it is, and sets them where it differs (0.2 us each).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netcl.core import fork, launch, runtime
from netcl.core.errors import is_memory_error
from netcl.core.launch import Launch

if TYPE_CHECKING:
    from netcl.core.device import Device


KEPT_SCRATCH = 1 << 20  # bytes of intermediate results that stay allocated for the plan that a device ran last


@dataclass
class Memory:
    """Where a plan's values lie, by slot. All of it is there before the first launch: a plan that does not fit changes
    nothing."""

    results: list[tuple[int, int]] = field(default_factory=list)  # (slot, bytes) of what outlives the plan
    scratch: list[tuple[int, int]] = field(default_factory=list)  # (slot, bytes) of what does not
    taken: list[tuple[int, int, int]] = field(default_factory=list)  # (slot, bytes, first launch that writes to it) of
    # inputs that results lie in

    @property
    def slots(self) -> int:
        """How many there are besides those of the inputs."""
        return len(self.results) + len(self.scratch)

    @property
    def scratch_bytes(self) -> int:
        return sum(size for _, size in self.scratch)


@dataclass
class Step:
    """One launch of a plan: (argument, number) pairs say which slot, scalar or offset each argument is."""

    launch: Launch
    fixed: dict[int, Any] = field(default_factory=dict)  # arguments that never change: Buffers and packed bytes
    slots: list[tuple[int, int]] = field(default_factory=list)
    scalars: list[tuple[int, int]] = field(default_factory=list)  # into the packed numbers


class Steps:
    """The launches of a plan in order, and what is set on their kernels."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.ranges = [(step.launch.kernel, step.launch.global_size, step.launch.local_size) for step in steps]
        slots: defaultdict[int, list[tuple]] = defaultdict(list)  # (what sets it, argument) for each
        scalars: defaultdict[int, list[tuple]] = defaultdict(list)
        for step in steps:
            kernel = step.launch.kernel
            for argument, item in step.fixed.items():
                if isinstance(item, bytes):
                    kernel._set_arg_buf(argument, item)
                else:
                    kernel.set_arg(argument, item.mem)
            for argument, slot in step.slots:
                slots[slot].append((kernel.set_arg, argument))
            for argument, number in step.scalars:
                scalars[number].append((kernel._set_arg_buf, argument))
        self._slots, self._scalars = list(slots.items()), list(scalars.items())
        self._places: list[Any] = [None] * (max(slots, default=-1) + 1)  # what is set now
        self._packed: list[Any] = [None] * (max(scalars, default=-1) + 1)

    def __len__(self) -> int:
        return len(self.steps)

    def set(self, slots: list[Any], scalars: list[bytes]) -> None:
        """Set the arguments that differ from the last time: memory, and numbers."""
        now = self._places
        for slot, arguments in self._slots:
            place = slots[slot].mem
            if now[slot] is not place:
                now[slot] = None  # should one of them fail
                for set_argument, argument in arguments:
                    set_argument(argument, place)
                now[slot] = place
        packed = self._packed
        for number, arguments in self._scalars:
            scalar = scalars[number]
            if packed[number] != scalar:
                packed[number] = None
                for set_argument, argument in arguments:
                    set_argument(argument, scalar)
                packed[number] = scalar


class Interrupted(Exception):
    """A launch failed after `launched` others."""

    def __init__(self, error: BaseException, launched: int):
        super().__init__(str(error))
        self.error = error
        self.launched = launched


_kept: dict[Device, tuple[Memory, list[Any]]] = {}  # the scratch of the plan that each device ran last


def forget_scratch() -> None:
    """Give back the memory that is kept for the plans that ran last."""
    _kept.clear()


def replay(device: Device, steps: Steps, memory: Memory, slots: list[Any], scalars: list[bytes]) -> None:
    """Enqueue a plan's steps. `slots` holds the inputs' Buffers first; the rest is filled in.

    OutOfMemoryError before anything is launched; Interrupted where a launch fails.
    """
    if fork.forked:
        fork.check()
    observers = launch.observers
    with device.lock:
        _place(device, memory, slots)
        queue, enqueue = device.queue, launch._nd_range
        launched = 0
        try:
            steps.set(slots, scalars)
            for kernel, size, group in steps.ranges:
                try:
                    event = enqueue(queue, kernel, size, group)
                except runtime.cl().Error as error:
                    event = _again(device, steps.steps[launched], error)
                launched += 1
                if observers:
                    for observe in tuple(observers):
                        observe(device, steps.steps[launched - 1].launch, event)
        except BaseException as error:  # Ctrl-C as well
            raise Interrupted(error, launched) from error
        finally:
            launch.launch_counter.count += launched


def _place(device: Device, memory: Memory, slots: list[Any]) -> None:
    """Buffers for the slots of a plan. The queue is in order, so that one plan's scratch can serve it again at once."""
    allocate = device.pool.allocate_all
    results = memory.results
    for (slot, _), buffer in zip(results, allocate([size for _, size in results]), strict=True):
        slots[slot] = buffer
    kept = _kept.get(device)
    if kept is not None and kept[0] is memory:
        for (slot, _), buffer in zip(memory.scratch, kept[1], strict=True):
            slots[slot] = buffer
    else:
        _kept.pop(device, None)
        for (slot, _), buffer in zip(memory.scratch, allocate([size for _, size in memory.scratch]), strict=True):
            slots[slot] = buffer
        if memory.scratch_bytes <= KEPT_SCRATCH:
            _kept[device] = memory, [slots[slot] for slot, _ in memory.scratch]


def _again(device: Device, step: Step, error: Exception) -> Any:
    """Enqueue again with the pool's unused memory given back (drivers allocate late), or raise what went wrong."""
    work = step.launch
    if not is_memory_error(error):
        raise launch._translated(device, f"kernel {work.name}", error) from error
    device.queue.finish()
    device.pool.trim()
    try:
        return launch._nd_range(device.queue, work.kernel, work.global_size, work.local_size)
    except runtime.cl().Error as again:
        raise launch._translated(device, f"kernel {work.name}", again) from again
