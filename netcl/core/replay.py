"""Plans at run time: ordered launches with bound arguments and planned memory, enqueued in one go.

Every step has a kernel object of its own, so what is set on it stays set. A replay compares each slot and each number
with the last replay's (0.05 us), however many arguments it is, and sets them where it differs (0.2 us each).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import compress, count, starmap
from operator import attrgetter, is_not, ne
from typing import TYPE_CHECKING, Any

from netcl.core import fork, launch, runtime
from netcl.core.errors import is_memory_error
from netcl.core.launch import Launch

if TYPE_CHECKING:
    from netcl.core.device import Device


_mem_of = attrgetter("mem")
_TO_BE_DONE = (
    "results had begun to replace what they are computed from: who reads one of them has the rest done first, so that "
    "all of them are whole, or raise"
)
KEPT_SCRATCH = 1 << 20  # bytes of intermediate results that stay allocated for the plan that a device ran last


@dataclass
class Memory:
    """What a plan's values lie in, by slot: the inputs' memory, then that of results, then scratch. All of it is there
    before the first launch: a plan that does not fit changes nothing."""

    results: list[int] = field(default_factory=list)  # bytes of what outlives the plan
    scratch: list[int] = field(default_factory=list)  # bytes of what does not
    taken: list[tuple[int, int, int]] = field(default_factory=list)  # (slot, bytes, first launch that writes to it) of
    # inputs that results lie in

    @property
    def slots(self) -> int:
        """How many there are besides those of the inputs."""
        return len(self.results) + len(self.scratch)

    @property
    def keeps_scratch(self) -> bool:
        """Whether its scratch is small enough to stay allocated."""
        return 0 < sum(self.scratch) <= KEPT_SCRATCH


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
        self._slots = [slots[number] for number in range(max(slots, default=-1) + 1)]
        self._scalars = [scalars[number] for number in range(max(scalars, default=-1) + 1)]
        self._places: list[Any] = [None] * len(self._slots)  # what is set now
        self._packed: list[Any] = [None] * len(self._scalars)
        self._queue: Any = None
        self._calls: list[tuple] = []

    def __len__(self) -> int:
        return len(self.steps)

    def calls(self, queue: Any, first: int) -> list[tuple]:
        """What the launches from one on are enqueued with."""
        if queue is not self._queue:
            launches = [step.launch for step in self.steps]
            self._calls = [(queue, work.kernel, work.global_size, work.local_size) for work in launches]
            self._queue = queue
        return self._calls[first:] if first else self._calls

    def set(self, slots: list[Any], scalars: list[bytes]) -> None:
        """Set the arguments that differ from the last time: memory, and numbers."""
        places, now = list(map(_mem_of, slots)), self._places
        for slot in compress(count(), map(is_not, places, now)):
            _set(self._slots[slot], places[slot], now, slot)
        for number in compress(count(), map(ne, scalars, self._packed)):
            _set(self._scalars[number], scalars[number], self._packed, number)


def _set(arguments: list[tuple], item: Any, now: list[Any], number: int) -> None:
    now[number] = None  # should one of them fail
    for set_argument, argument in arguments:
        set_argument(argument, item)
    now[number] = item


_kept: dict[Device, tuple[Memory, list[Any]]] = {}  # the scratch of the plan that each device ran last


def forget_scratch() -> None:
    """Give back the memory that is kept for the plans that ran last."""
    _kept.clear()


class Run:
    """One replay of a plan: its memory, its numbers, and how many launches are made. Where one fails, the others can be
    made later: nobody else has the memory, and what is set on the kernels meanwhile is set again."""

    __slots__ = ("device", "launched", "memory", "scalars", "slots", "steps")

    def __init__(self, device: Device, steps: Steps, memory: Memory, inputs: list[Any], scalars: list[bytes]):
        self.device = device
        self.steps = steps
        self.memory = memory
        self.slots = inputs  # Buffers; of every slot, from the first launch on
        self.scalars = scalars
        self.launched = 0

    @property
    def overwrites(self) -> bool:
        """Whether launches have written over inputs: there is no way back then."""
        return any([self.launched > first for _, _, first in self.memory.taken])

    def go_on(self) -> None:
        """Enqueue what is left. OutOfMemoryError before anything is launched; where a launch fails, its error."""
        if fork.forked:
            fork.check()
        device, before = self.device, self.launched
        with device.lock:
            try:
                if before:
                    launch.make_room(device)
                else:
                    self.slots = _placed(device, self.memory, self.slots)
                self.steps.set(self.slots, self.scalars)
                self._enqueue()
            except BaseException as error:  # Ctrl-C as well
                _kept.pop(device, None)  # what lies in scratch is needed again
                if self.overwrites:
                    error.add_note(_TO_BE_DONE)
                else:
                    self.slots = []  # given back now: the error's traceback leads here
                raise
            finally:
                launch.launch_counter.count += self.launched - before

    def _enqueue(self) -> None:
        device, steps, failed = self.device, self.steps, -1
        launched, observers = self.launched, launch.observers
        try:
            while True:
                try:
                    # In C: no signal can come between a launch and counting it.
                    for event in starmap(launch._nd_range, steps.calls(device.queue, launched)):
                        launched += 1
                        if observers:
                            _tell(device, steps.steps[launched - 1].launch, event)
                    return
                except runtime.cl().Error as error:
                    if launched == failed or not is_memory_error(error):
                        name = steps.steps[launched].launch.name
                        raise launch._translated(device, f"kernel {name}", error) from error
                    failed = launched
                    launch.make_room(device)  # drivers allocate late
        finally:
            self.launched = launched


def _tell(device: Device, work: Launch, event: Any) -> None:
    """Show a launch to those who watch."""
    try:
        for observe in tuple(launch.observers):
            observe(device, work, event)
    except runtime.cl().Error as error:
        raise launch._translated(device, f"watching kernel {work.name}", error) from error


def _placed(device: Device, memory: Memory, inputs: list[Any]) -> list[Any]:
    """Buffers for the slots of a plan. The queue is in order, so that one plan's scratch can serve it again at once."""
    slots = inputs + device.pool.allocate_all(memory.results)
    if not memory.scratch:
        return slots
    kept = _kept.get(device)
    if kept is not None and kept[0] is memory:
        return slots + kept[1]
    _kept.pop(device, None)
    scratch = device.pool.allocate_all(memory.scratch)
    if memory.keeps_scratch:
        _kept[device] = memory, scratch
    return slots + scratch
