"""Replays of a plan: what is set on its kernels is what this replay's slots and numbers are."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from netcl.core import launch, program
from netcl.core.launch import Launch, launch_counter
from netcl.core.replay import Interrupted, Memory, Step, Steps, replay

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
    return replay(dev, steps, memory, inputs, [struct.pack("f", number) for number in numbers])


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
    with pytest.raises(Interrupted, match="refused") as caught:
        run(dev, steps, memory, [filled(dev, 5.0)], [3.0])
    assert caught.value.launched == 0
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
