"""Command buffers: recorded launches do what single ones do, and what they are worth is measured."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from click.testing import CliRunner

from netcl import cli
from netcl.core import command_buffer, launch, program, runtime
from netcl.core.command_buffer import Comparison, Recording, compare

SOURCE = """
kernel void affine(global float *x, float a, float b) {
    int i = get_global_id(0);
    x[i] = x[i] * a + b;
}
kernel void slow(global float *x) {
    int i = get_global_id(0);
    float y = x[i];
    for (int k = 0; k < 200000; ++k) y = y * 0.5f + 1.0f;
    x[i] = y;
}
"""
SIZE = 256


@pytest.fixture
def recorder(dev):
    if command_buffer.functions(dev) is None:
        pytest.skip(f"{dev.name} on {dev.platform_name} has no command buffers of version 1")
    return dev


def affine(dev, buffer, a, b):
    kernel = program.own_kernel(dev, SOURCE, "affine")
    kernel.set_arg(0, buffer.mem)
    kernel._set_arg_buf(1, struct.pack("f", a))
    kernel._set_arg_buf(2, struct.pack("f", b))
    return kernel, (SIZE,), (64,)


def enqueue(dev, kernel, size, group):
    runtime.cl().enqueue_nd_range_kernel(dev.queue, kernel, size, group)


def numbers(dev, seed=0):
    x = np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)
    buffer = dev.pool.allocate(x.nbytes)
    launch.write(dev, buffer, x)
    return x, buffer


def read(dev, buffer):
    return launch.read(dev, buffer, 0, 4 * SIZE).view(np.float32)


def test_recorded_launches_have_the_bits_of_single_ones_and_run_in_order(recorder):
    x, one_by_one = numbers(recorder)
    _, recorded = numbers(recorder)
    factors = [(1.5, 0.25), (-0.7, 3.0), (0.1, -1.0)]
    for a, b in factors:
        enqueue(recorder, *affine(recorder, one_by_one, a, b))
    with Recording(recorder, [affine(recorder, recorded, a, b) for a, b in factors]) as recording:
        np.testing.assert_array_equal(read(recorder, recorded), x)  # recording launches nothing
        recording.enqueue()
        expected = read(recorder, one_by_one)
        assert not np.array_equal(expected, x)
        np.testing.assert_array_equal(read(recorder, recorded), expected)


def test_arguments_set_afterwards_change_nothing(recorder):
    x, buffer = numbers(recorder)
    _, other = numbers(recorder, 1)
    kernel, *sizes = affine(recorder, buffer, 2.0, 0.0)
    with Recording(recorder, [(kernel, *sizes)]) as recording:
        kernel.set_arg(0, other.mem)
        kernel._set_arg_buf(1, struct.pack("f", 100.0))
        before = read(recorder, other)
        recording.enqueue()
        np.testing.assert_array_equal(read(recorder, buffer), x * 2)
        np.testing.assert_array_equal(read(recorder, other), before)
        enqueue(recorder, kernel, *sizes)  # and the recording none of the kernel's
        np.testing.assert_array_equal(read(recorder, other), before * 100)


def test_a_recording_may_be_enqueued_again_while_it_waits_and_released_while_it_runs(recorder):
    _, busy = numbers(recorder)
    _, buffer = numbers(recorder)
    launch.write(recorder, buffer, np.zeros(SIZE, np.float32))
    slow = program.own_kernel(recorder, SOURCE, "slow")
    slow.set_arg(0, busy.mem)
    recording = Recording(recorder, [affine(recorder, buffer, 2.0, 1.0), affine(recorder, buffer, 1.0, 3.0)])
    enqueue(recorder, slow, (SIZE,), (64,))
    expected = 0.0
    for _ in range(12):
        recording.enqueue()
        expected = expected * 2 + 4
    recording.release()
    np.testing.assert_array_equal(read(recorder, buffer), np.full(SIZE, expected, np.float32))


def test_what_cannot_be_recorded_is_an_error_and_launches_nothing(recorder):
    x, buffer = numbers(recorder)
    unset = program.own_kernel(recorder, SOURCE, "affine")
    with pytest.raises(RuntimeError, match="a command buffer failed with OpenCL's error -"):
        Recording(recorder, [affine(recorder, buffer, 3.0, 0.0), (unset, (SIZE,), (64,))])
    np.testing.assert_array_equal(read(recorder, buffer), x)


def test_a_device_without_the_extension_says_so(dev, monkeypatch):
    monkeypatch.setattr(command_buffer, "version", lambda device: None)
    with pytest.raises(RuntimeError, match="has no cl_khr_command_buffer"):
        Recording(dev, [])
    assert compare(dev) is None


def test_provisional_versions_are_left_alone(dev, monkeypatch):
    monkeypatch.setattr(command_buffer, "version", lambda device: "0.9.5")
    assert command_buffer.functions(dev) is None


def test_the_comparison_measures(recorder):
    found = compare(recorder)
    assert found is not None
    assert found.version.startswith("1.")
    assert 0.05 < found.host < 20
    assert 0.05 < found.total < 20
    assert found.lost is None or found.lost >= -100


def test_a_comparison_in_words():
    assert str(Comparison("1.0.0", 0.5, 0.801, 3.0)) == "command buffers 1.0.0: 20 launches in 0.80 of the time"
    assert str(Comparison("1.0.0", 0.5, 0.8, 1935.2)).endswith("in 0.80 of the time, 1935 bytes lost by each")
    assert str(Comparison("1.0.0", 0.5, 0.8, None)).endswith("in 0.80 of the time")


def test_the_list_of_devices_tells_it(recorder):
    result = CliRunner().invoke(cli.main, ["devices"], terminal_width=200)
    assert result.exit_code == 0
    assert "command buffers 1." in result.output
