"""Devices with little: work-groups of 64, 16 or 1 work-items, 32 KiB of local memory, no doubles in totals."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl.codegen.targets import target_for
from netcl.core.device import target_override
from netcl.graph import plan, planner
from netcl.ops import sorting

BYTES = {"uchar": 1, "int": 4, "float": 4, "long": 8, "ulong": 8, "double": 8}


def local_bytes(source: str) -> int:
    """The local memory that a kernel declares."""
    total = 0
    for kind, declared in re.findall(r"__local (\w+)(?: |\*)([^;]*);", source):
        for sizes in re.findall(r"\w+((?:\[\d+\])+)", declared):
            total += BYTES[kind] * int(np.prod([int(n) for n in re.findall(r"\d+", sizes)]))
    return total


def programs(rng: np.random.Generator) -> None:
    """One of each kind of kernel that has work-groups: rows, totals, scans, products, sorts, scatters, alignments."""
    x = rng.standard_normal((5, 300)).astype(np.float32)
    wide, y = x.astype(np.float64), rng.integers(0, 300, 5)
    a = nc.tensor(x, requires_grad=True)
    loss = F.cross_entropy(a, nc.tensor(y), label_smoothing=0.1)
    loss.backward()
    log_p = wide - np.log(np.exp(wide).sum(1, keepdims=True))
    expected = -0.9 * log_p[np.arange(5), y].mean() - 0.1 * log_p.mean()
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-5)
    assert abs(a.grad.sum().item()) < 1e-5
    t = nc.tensor(x)
    np.testing.assert_allclose(t.sum().item(), wide.sum(), rtol=1e-4)
    np.testing.assert_allclose(t.double().sum().item(), wide.sum(), rtol=1e-9)
    np.testing.assert_allclose(t.amax(0).numpy(), x.max(0))
    np.testing.assert_allclose(t.cumsum(1).numpy(), wide.cumsum(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(t.cumsum(0).numpy(), wide.cumsum(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose((t @ t.t()).numpy(), wide @ wide.T, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose((t.double() @ t.t().double()).numpy(), wide @ wide.T, rtol=1e-9)
    values, places = t.sort(1)
    np.testing.assert_array_equal(values.numpy(), np.sort(x, 1))
    np.testing.assert_array_equal(places.numpy(), np.argsort(x, 1, kind="stable"))
    long = rng.standard_normal(5000).astype(np.float32)
    np.testing.assert_array_equal(nc.tensor(long).sort().values.numpy(), np.sort(long))
    at = rng.integers(0, 7, 300)
    added = np.zeros(7)
    np.add.at(added, at, wide[0])
    np.testing.assert_allclose(nc.zeros(7).index_add(0, nc.tensor(at), t[0]).numpy(), added, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(t[t > 0].numpy(), x[x > 0])
    np.testing.assert_array_equal(nc.cat([t, t.flip(0)]).numpy(), np.concatenate([x, x[::-1]]))
    scores = nc.tensor(x.reshape(25, 4, 15), requires_grad=True)
    aligned = F.ctc_loss(F.log_softmax(scores, 2), nc.tensor(rng.integers(1, 15, (4, 9))), [25] * 4, [9, 8, 0, 5])
    aligned.backward()
    assert np.isfinite(aligned.item()) and np.isfinite(scores.grad.numpy()).all()


@pytest.mark.parametrize("size", [64, 16, 1])
def test_every_kind_of_kernel_is_right_in_small_work_groups(size, monkeypatch):
    def small(device):
        return dataclasses.replace(target_for(device), group_size=size, doubles=False)

    monkeypatch.setattr(planner, "target_for", small)
    monkeypatch.setattr(sorting, "target_for", small)
    with target_override("gpu"):
        plan.clear_plans()
        programs(np.random.default_rng(0))
        kernels = [kernel for made in plan._plans.values() for kernel in made.kernels]
        plan.clear_plans()
    assert len(kernels) > 20
    assert {kernel.local_size[0] for kernel in kernels} <= {1, *(n for n in (16, 64) if n <= size)}


def test_no_kernel_takes_more_local_memory_than_every_device_has():
    with target_override("gpu"):
        plan.clear_plans()
        programs(np.random.default_rng(0))
        taken = {kernel.name: local_bytes(kernel.source) for made in plan._plans.values() for kernel in made.kernels}
        plan.clear_plans()
    assert 8192 < max(taken.values()) <= 32768  # OpenCL 1.2: at least 32 KiB
