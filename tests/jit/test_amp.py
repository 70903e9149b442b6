"""Compiled training steps with autocast and a GradScaler: the same bits as without jit_compile."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((12, 5, 6)).astype(np.float32), RNG.integers(0, 3, (12, 5))


def trained(compiled: bool, name: str, clip: bool):
    """Twelve steps, two of them skipped; every loss, the parameters, the scaler's state, and how it was compiled."""
    nc.manual_seed(0)
    model = nc.nn.Sequential(nc.nn.Linear(6, 8), nc.nn.ReLU(), nc.nn.Linear(8, 3))
    optimizer = getattr(nc.optim, name)(model.parameters(), lr=1e-2)
    scaler = nc.amp.GradScaler(init_scale=256.0, growth_interval=3)
    scheduler = nc.optim.lr_scheduler.StepLR(optimizer, 2, 0.7)

    def step(x, y, factor):
        optimizer.zero_grad()
        with nc.autocast(dtype=nc.float16):
            loss = F.cross_entropy(model(x), y) * factor
        scaler.scale(loss).backward()
        if clip:
            scaler.unscale_(optimizer)
            nc.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    run = nc.jit_compile(step) if compiled else step
    losses = []
    for number in range(12):
        factor = nc.tensor(float("inf") if number in (3, 7) else 1.0)
        losses.append(run(nc.tensor(X[number]), nc.tensor(Y[number]), factor).item())
        scheduler.step()
    info = run.cache_info() if compiled else None
    return losses, [p.detach().numpy() for p in model.parameters()], scaler.state_dict(), info


@pytest.mark.parametrize(("name", "clip"), [("SGD", False), ("Adam", True), ("RAdam", False)])
def test_a_scaled_step_is_replayed_with_the_same_bits(device, name, clip):
    plain, compiled = trained(False, name, clip), trained(True, name, clip)
    assert compiled[0] == plain[0]
    assert compiled[2] == plain[2]
    for a, b in zip(compiled[1], plain[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert compiled[3].hits >= 9
    assert compiled[3].traced == 0


def test_each_autocast_has_a_recording_of_its_own(device):
    w = nc.tensor(RNG.standard_normal((4, 4)).astype(np.float32))
    product = nc.jit_compile(lambda x: x @ w)
    x = nc.tensor(RNG.standard_normal((4, 4)).astype(np.float32))
    for _ in range(3):
        assert product(x).dtype is nc.float32
        for dtype in (nc.bfloat16, nc.float16):
            with nc.autocast(dtype=dtype):
                assert product(x).dtype is dtype
    assert product.cache_info().recordings == 3


def test_autocast_inside_of_a_compiled_function_does_not_leak(device):
    @nc.jit_compile
    @nc.autocast(dtype=nc.bfloat16)
    def product(x):
        return x @ x

    x = nc.ones(3, 3)
    for _ in range(3):
        assert product(x).dtype is nc.bfloat16
        assert (x @ x).dtype is nc.float32
