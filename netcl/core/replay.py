"""Plans at run time: ordered launches with bound arguments and planned memory, enqueued in one go.

Every step has a kernel object of its own, so what is set on it stays set: a replay touches only the arguments that
differ from the last one (setting a buffer costs 0.2 us, comparing it 0.03).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netcl.core import fork, launch, runtime
from netcl.core.errors import is_memory_error
from netcl.core.launch import Launch

if TYPE_CHECKING:
    from netcl.core.device import Device


@dataclass
class Step:
    """One launch of a plan: (argument, number) pairs say which slot, scalar or offset each argument is."""

    launch: Launch
    fixed: dict[int, Any] = field(default_factory=dict)  # arguments that never change: Buffers and packed bytes
    slots: list[tuple[int, int]] = field(default_factory=list)
    scalars: list[tuple[int, int]] = field(default_factory=list)  # into the packed numbers
    allocate: list[tuple[int, int]] = field(default_factory=list)  # (slot, bytes) before the launch
    take_over: list[tuple[int, int]] = field(default_factory=list)  # (slot, earlier slot whose memory it gets)
    release: list[int] = field(default_factory=list)  # slots not needed after the launch
    bound: list[Any] = field(default_factory=list)  # what is set on the kernel now

    def bind(self) -> None:
        """Set the fixed arguments, once."""
        kernel = self.launch.kernel
        self.bound = [None] * kernel.num_args
        for argument, item in self.fixed.items():
            if isinstance(item, bytes):
                kernel._set_arg_buf(argument, item)
            else:
                kernel.set_arg(argument, item.mem)


def replay(device: Device, steps: list[Step], slots: list[Any], scalars: list[bytes]) -> None:
    """Enqueue a plan's steps. `slots` holds the inputs' Buffers first; the rest is filled in as memory is needed."""
    if fork.forked:
        fork.check()
    allocate = device.pool.allocate
    observers = launch.observers
    with device.lock:
        queue = device.queue
        for step in steps:
            for slot, size in step.allocate:
                slots[slot] = allocate(size)
            for slot, earlier in step.take_over:
                slots[slot] = slots[earlier]
            bound, work = step.bound, step.launch
            kernel = work.kernel
            for argument, slot in step.slots:
                memory = slots[slot].mem
                if bound[argument] is not memory:
                    kernel.set_arg(argument, memory)
                    bound[argument] = memory
            for argument, number in step.scalars:
                packed = scalars[number]
                if bound[argument] != packed:
                    kernel._set_arg_buf(argument, packed)
                    bound[argument] = packed
            try:
                event = launch._nd_range(queue, kernel, work.global_size, work.local_size)
            except runtime.cl().Error as error:
                event = _again(device, step, error)
            launch.launch_counter.count += 1
            if observers:
                for observe in tuple(observers):
                    observe(device, work, event)
            for slot in step.release:
                slots[slot] = None


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
