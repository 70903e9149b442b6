"""Whole training steps under autocast, bfloat16 and float16 with a scaler, each beside the same in float32.

Here the other side is netcl too: the ratio is float32's time divided by autocast's, and 0.77 means 1.3 times as slow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import harness
import models
from netcl.graph.plan import clear_plans

STEPS = 10  # in one call: a training loop does not read the loss at each step
WANTED = 0.77
NETWORKS = (((64, 128, 128, 10), 32), ((784, 512, 512, 10), 128), ((1024, 1024, 1024, 1024), 256))
PRODUCTS = ((128, 784, 512), (512, 512, 512), (1024, 1024, 1024))


def cases() -> Iterator[harness.Case]:
    import netcl as nc

    for sizes, batch in NETWORKS:
        for dtype in (nc.bfloat16, nc.float16):
            for compiled in (False, True):
                yield _case(sizes, batch, dtype, compiled)
    for sizes in PRODUCTS:
        yield from _products(nc, sizes)
    if nc.current_device().capabilities.bf16_dot:
        with without_dot(nc.current_device()):
            for sizes, batch in NETWORKS:
                yield _case(sizes, batch, nc.bfloat16, compiled=True, note=", without the CPU's dot of bfloat16")


@contextmanager
def without_dot(device: Any) -> Iterator[None]:
    """The device as if its CPU had no instruction for bfloat16: half is storage, all arithmetic is float32."""
    found = device.capabilities
    device._probed = dataclasses.replace(found, bf16_dot=False)
    clear_plans()
    try:
        yield
    finally:
        device._probed = found
        clear_plans()


def training(sizes: tuple[int, ...], batch: int, dtype: Any, compiled: bool) -> Callable[[], Any]:
    """A function that does STEPS training steps; dtype None: in float32."""
    import netcl as nc
    import netcl.nn.functional as F

    nc.manual_seed(0)
    model = models.mlp(nc.nn, sizes)
    optimizer = nc.optim.Adam(model.parameters(), lr=1e-3)
    scaler = nc.amp.GradScaler(enabled=dtype is nc.float16)
    rng = np.random.default_rng(0)
    x = nc.tensor(rng.standard_normal((batch, sizes[0]), dtype=np.float32))
    y = nc.tensor(rng.integers(0, sizes[-1], batch))

    def step() -> Any:
        optimizer.zero_grad()
        with nc.autocast(dtype=dtype, enabled=dtype is not None):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    once = nc.jit_compile(step) if compiled else step

    def train() -> Any:
        for _ in range(STEPS):
            loss = once()
        nc.synchronize()  # here, since the harness waits for one side only, and both are netcl
        return loss

    return train


def _case(sizes: tuple[int, ...], batch: int, dtype: Any, compiled: bool, note: str = "") -> harness.Case:
    import netcl as nc

    low, full = training(sizes, batch, dtype, compiled), training(sizes, batch, None, compiled)
    np.testing.assert_allclose(low().item(), full().item(), rtol=0.05)  # they started from the same numbers
    kind = f"{dtype}".removeprefix("netcl.") + (" and scaler" if dtype is nc.float16 else "")
    name = f"MLP {'-'.join(map(str, sizes))}, batch {batch}, Adam, {kind}{', compiled' if compiled else ''}{note}"
    return harness.Case(name, low, full, WANTED, steps=STEPS)


def _products(nc: Any, sizes: tuple[int, int, int]) -> Iterator[harness.Case]:
    m, k, n = sizes
    rng = np.random.default_rng(0)
    a, b = (nc.tensor(rng.standard_normal(shape, dtype=np.float32)) for shape in ((m, k), (n, k)))
    low_a, low_b = a.bfloat16(), b.bfloat16()

    def product(left: Any, right: Any, enabled: bool) -> Callable[[], Any]:
        def call() -> Any:
            with nc.autocast(dtype=nc.bfloat16, enabled=enabled):
                result = left @ right.t()
            nc.synchronize()  # while it is held: what nobody holds is not computed
            return result

        return call

    title = f"{m} x {k} @ {k} x {n}"
    full = product(a, b, False)
    yield harness.Case(f"{title}, float32 cast to bfloat16", product(a, b, True), full, WANTED)
    yield harness.Case(f"{title}, bfloat16", product(low_a, low_b, False), full, WANTED)


if __name__ == "__main__":
    note = "Both are netcl; a ratio of 0.77 is 1.3 times as slow."
    harness.run("amp", "Training steps under autocast, against float32", cases, note, ("autocast", "float32"))
