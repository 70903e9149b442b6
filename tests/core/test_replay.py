"""Replays of a plan: what is set on its kernels is what this replay's slots and numbers are."""

from __future__ import annotations

import signal
import struct

import numpy as np
import pytest

from netcl.core import launch, program
from netcl.core.launch import Launch, launch_counter
from netcl.core.replay import Memory, Run, Step, Steps

SOURCE = """
kernel void affine(global const float *x, float a, float b, global float *y) {
    int i = get_global_id(0);
    y[i] = x[i] * a + b;
}
"""
SIZE = 64


def affine(dev, x, y, a, b):
    """y = x * numbers[a] + b."""
    kernel = program.own_kernel(dev, SOURCE, "affine")
    work = Launch(kernel, (SIZE,), (SIZE,), "affine")
    return Step(work, {2: struct.pack("f", b)}, [(0, x), (3, y)], [(1, a)])


def filled(dev, value):
    buffer = dev.pool.allocate(4 * SIZE)
    launch.write(dev, buffer, np.full(SIZE, value, np.float32))
    return buffer


def first(dev, buffer):
    return float(launch.read(dev, buffer, 0, 4).view(np.float32)[0])


def run(dev, steps, memory, inputs, numbers):
    one = Run(dev, steps, memory, inputs, [struct.pack("f", number) for number in numbers])
    one.go_on()
    return one.slots


def test_each_replay_has_its_own_memory_and_numbers(dev):
    # y = 3 (2 x + 1) + 5, by way of scratch; the second number is both steps' in the second plan
    steps = Steps([affine(dev, 0, 2, 0, 1.0), affine(dev, 2, 1, 1, 5.0)])
    memory = Memory(results=[4 * SIZE], scratch=[4 * SIZE])
    x, other = filled(dev, 1.0), filled(dev, 10.0)
    calls = [(x, 2.0, 3.0), (other, 2.0, 3.0), (x, -1.0, 3.0), (x, -1.0, 0.5), (x, 2.0, 3.0)]
    results = [run(dev, steps, memory, [source], [a, b])[1] for source, a, b in calls]
    assert len({id(result.mem) for result in results}) == len(results)
    for (source, a, b), result in zip(calls, results, strict=True):
        assert first(dev, result) == (first(dev, source) * a + 1) * b + 5


def test_a_slot_and_a_number_reach_every_kernel_that_takes_them(dev):
    steps = Steps([affine(dev, 0, 1, 0, 0.0), affine(dev, 0, 2, 0, 1.0)])
    memory = Memory(results=[4 * SIZE, 4 * SIZE])
    for value, factor in ((1.0, 2.0), (4.0, 2.0), (4.0, 3.0)):
        _, y, z = run(dev, steps, memory, [filled(dev, value)], [factor])
        assert (first(dev, y), first(dev, z)) == (value * factor, value * factor + 1)


@pytest.mark.parametrize("what", ["_slots", "_scalars"])
def test_what_could_not_be_set_is_set_next_time(dev, what):
    steps = Steps([affine(dev, 0, 1, 0, 0.0), affine(dev, 0, 2, 0, 1.0)])
    memory = Memory(results=[4 * SIZE, 4 * SIZE])
    old = filled(dev, 1.0)
    run(dev, steps, memory, [old], [2.0])
    arguments = getattr(steps, what)[0]

    def failing(*_args):
        raise ValueError("refused")

    arguments.insert(1, (failing, 0))  # the first kernel has the new one, the second still the old one
    before = launch_counter.count
    with pytest.raises(ValueError, match="refused"):
        run(dev, steps, memory, [filled(dev, 5.0)], [3.0])
    assert launch_counter.count == before
    del arguments[1]
    _, y, z = run(dev, steps, memory, [old], [2.0])
    assert (first(dev, y), first(dev, z)) == (2.0, 3.0)


def test_observers_and_the_counter_see_each_launch(dev, monkeypatch):
    steps = Steps([affine(dev, 0, 1, 0, 0.0), affine(dev, 0, 2, 0, 1.0)])
    seen = []
    monkeypatch.setattr(launch, "observers", [lambda device, work, event: seen.append((device, work, event is None))])
    before = launch_counter.count
    run(dev, steps, Memory(results=[4 * SIZE, 4 * SIZE]), [filled(dev, 1.0)], [2.0])
    assert launch_counter.count == before + 2 == before + len(steps)
    assert seen == [(dev, step.launch, False) for step in steps.steps]


def stopped(dev, monkeypatch, steps, memory, inputs, numbers, after):
    """A run whose launch behind `after` others fails."""
    one = Run(dev, steps, memory, inputs, [struct.pack("f", number) for number in numbers])
    real, made = launch._nd_range, []

    def failing(*args):
        if len(made) == after:
            raise ValueError("refused")
        made.append(args)
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(launch, "_nd_range", failing)
        with pytest.raises(ValueError, match="refused"):
            one.go_on()
    assert one.launched == after
    return one


def test_a_run_goes_on_where_it_stopped_whatever_ran_meanwhile(dev, monkeypatch):
    # x = 3 (2 x + 1) + 5 in x's own place, by way of scratch, then y = x
    steps = Steps([affine(dev, 0, 2, 0, 1.0), affine(dev, 2, 0, 1, 5.0), affine(dev, 0, 1, 2, 0.0)])
    memory = Memory(results=[4 * SIZE], scratch=[4 * SIZE], taken=[(0, 4 * SIZE, 1)])
    for after, overwrites in ((0, False), (1, False), (2, True)):
        x, other = filled(dev, 1.0), filled(dev, 7.0)
        one = stopped(dev, monkeypatch, steps, memory, [x], [2.0, 3.0, 1.0], after)
        assert one.overwrites is overwrites
        before = launch_counter.count
        assert first(dev, run(dev, steps, memory, [other], [-1.0, 4.0, 2.0])[1]) == 2 * ((7 * -1 + 1) * 4 + 5)
        if overwrites:
            one.go_on()
            assert launch_counter.count == before + 4
            assert (first(dev, x), first(dev, one.slots[1])) == (14.0, 14.0)
        else:
            assert not one.slots
            assert first(dev, x) == 1.0


def test_scratch_of_a_run_that_stopped_is_its_own(dev, monkeypatch):
    # x = 0 x + 1, scratch = x + 5, x = scratch: it stops between the last two
    steps = Steps([affine(dev, 0, 0, 0, 1.0), affine(dev, 0, 1, 1, 5.0), affine(dev, 1, 0, 1, 0.0)])
    memory = Memory(scratch=[4 * SIZE], taken=[(0, 4 * SIZE, 0)])
    x = filled(dev, 9.0)
    run(dev, steps, memory, [filled(dev, 0.0)], [0.0, 1.0])  # its scratch is kept
    one = stopped(dev, monkeypatch, steps, memory, [x], [0.0, 1.0], 2)
    for _ in range(3):
        run(dev, steps, memory, [filled(dev, 100.0)], [1.0, 1.0])
    one.go_on()
    assert first(dev, x) == 6.0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no such signals here")
def test_a_signal_at_any_time_leaves_the_count_of_launches_right(dev):
    """Each launch adds one: a launch that was not counted would be made again."""
    steps = Steps([affine(dev, 0, 0, 0, 1.0) for _ in range(20)])
    memory = Memory(taken=[(0, 4 * SIZE, 0)])
    one = struct.pack("f", 1.0)
    armed, stops, delays = [False], 0, np.random.default_rng(0).uniform(2e-6, 150e-6, 300)

    def alarm(*_args):
        if armed[0]:
            armed[0] = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        for delay in delays:
            x = filled(dev, 0.0)
            current = Run(dev, steps, memory, [x], [one])
            try:
                armed[0] = True
                signal.setitimer(signal.ITIMER_REAL, delay)
                current.go_on()
                armed[0] = False
            except KeyboardInterrupt:
                if not current.overwrites:
                    continue
                stops += current.launched < len(steps)
                current.go_on()
            assert first(dev, x) == len(steps)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stops > 10
