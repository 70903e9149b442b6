"""Launches counted, kernels timed, memory measured."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

import netcl as nc
from netcl import profiler
from netcl.core import launch


def test_count_launches_leaves_out_what_was_pending_before() -> None:
    before = nc.ones(100) + nc.rand(100)
    with profiler.count_launches() as n:
        after = before * 2
    assert int(n) == 1
    assert repr(n) == "<1 launches>"
    np.testing.assert_array_equal(after.numpy(), before.numpy() * 2)
    assert int(n) == 1


def test_a_chain_and_its_mean_are_one_launch() -> None:
    a, b = nc.rand(1000), nc.rand(1000)
    with profiler.count_launches() as n:
        mean = ((a - b) ** 2).mean()
    assert int(n) == 1
    assert mean.shape == ()


def test_profile_has_a_row_for_each_kernel_with_its_calls_and_time() -> None:
    x = nc.rand(100_000)
    with profiler.profile() as p:
        for _ in range(3):
            y = x.exp().sum().item()
    assert y > 0
    assert sum(row.calls for row in p.rows) == 3
    row = p.rows[0]
    assert row.seconds > 0
    assert row.bytes_moved >= 3 * 400_000
    text = str(p)
    assert row.kernel in text
    for heading in ("calls", "GFLOP/s", "GB/s", "total"):
        assert heading in text
    assert not launch.observers or launch.observers == [profiler.debug_line]
    assert not nc.current_device().profiling


def test_profile_cleans_up_after_an_error() -> None:
    observers = list(launch.observers)
    try:
        with profiler.profile():
            raise KeyError("inside")
    except KeyError:
        pass
    assert launch.observers == observers
    assert not nc.current_device().profiling


def test_memory_counts_live_tensors_and_the_peak() -> None:
    base = profiler.memory_in_use()
    profiler.reset_peak_memory()
    x = nc.rand(1024, 1024)
    assert profiler.memory_in_use() - base >= 4 * 2**20
    y = x.numpy()
    del x
    assert profiler.memory_in_use() - base < 4 * 2**20
    assert profiler.peak_memory() - base >= 4 * 2**20
    assert y.shape == (1024, 1024)
    assert "peak" in profiler.memory_summary()


def test_debug_level_2_prints_a_line_for_each_launch() -> None:
    code = "import netcl as nc; print((nc.rand(100) * 2).sum().item() > 0)"
    environment = {**os.environ, "NETCL_DEBUG": "2"}
    environment.pop("OCL_ICD_VENDORS", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if "GB/s" in line]
    assert done.stdout.strip() == "True"
    assert len(lines) == 1
    assert " us, " in lines[0]
