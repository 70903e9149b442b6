"""Before and between kernels: importing netcl, the first step with a warm cache, recording an operation."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import harness

FIRST_STEP = """
import time, numpy as np
rng = np.random.default_rng(0)
x, y = rng.standard_normal((32, 64), dtype=np.float32), rng.integers(0, 10, 32)
start = time.perf_counter()
import {library} as library
import {library}.nn.functional as F
from {library} import nn, optim
imported = time.perf_counter()
library.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = optim.Adam(model.parameters(), lr=1e-3)
loss = F.cross_entropy(model(library.tensor(x)), library.tensor(y))
optimizer.zero_grad()
loss.backward()
optimizer.step()
loss.item()
print(imported - start, time.perf_counter() - start)
"""


def in_new_process(code: str, device: str | None = None, runs: int = 5) -> list[list[float]]:
    """Each run's printed numbers; one run before them fills caches."""
    environment = os.environ if device is None else {**os.environ, "NETCL_DEVICE": device}
    found = []
    for _ in range(runs + 1):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )  # fmt: skip
        found.append([float(word) for word in done.stdout.split()])
    return found[1:]


def recording() -> list[tuple[str, float]]:
    """Seconds to record one operation; what is recorded is thrown away."""
    import numpy as np

    import netcl as nc
    import netcl.nn.functional as F

    a, b = (nc.tensor(np.ones((32, 64), np.float32)) for _ in range(2))
    w = nc.tensor(np.ones((64, 64), np.float32), requires_grad=True)
    bias = nc.tensor(np.ones(64, np.float32), requires_grad=True)
    g = nc.tensor(np.ones((32, 64), np.float32), requires_grad=True)
    operations: list[tuple[str, Callable[[], object]]] = [
        ("`a + b`", lambda: a + b),
        ("`a * 2.0`", lambda: a * 2.0),
        ("`a.relu()`", lambda: a.relu()),
        ("`a.sum()`", lambda: a.sum()),
        ("`a.reshape(64, 32)`, a view of memory", lambda: a.reshape(64, 32)),
        ("`a @ w`", lambda: a @ w),
        ("`g + b`, with gradient", lambda: g + b),
        ("`g * b`, with gradient", lambda: g * b),
        ("`g.relu()`, with gradient", lambda: g.relu()),
        ("`F.linear(a, w, bias)`, with gradient", lambda: F.linear(a, w, bias)),
        ("`F.mse_loss(g, b)`, with gradient", lambda: F.mse_loss(g, b)),
        ("`F.softmax(a, -1)`", lambda: F.softmax(a, -1)),
    ]
    return [(name, min(_record(call) for _ in range(30))) for name, call in operations]


def _record(call: Callable[[], object], count: int = 100) -> float:
    import netcl as nc

    nc.synchronize()
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def main() -> None:
    options = harness._options("Start-up and recording")
    lines = ["# Start-up and recording", "", harness.machine() + ".", ""]
    lines += ["Each in a new process, 5 runs on each device, with the kernels already in netcl's cache.", ""]
    lines += ["| what | min | median | aimed at |", "|---|---:|---:|---:|"]
    devices = options.device or harness.default_devices()
    ours = {device: in_new_process(FIRST_STEP.format(library="netcl"), device) for device in devices}
    theirs = in_new_process(FIRST_STEP.format(library="torch"))

    def line(name: str, times: list[float], wanted: str = "") -> None:
        lines.append(f"| {name} | {times_text(min(times))} | {times_text(statistics.median(times))} | {wanted} |")

    line("`import netcl`, after NumPy", [run[0] for runs in ours.values() for run in runs], "< 0.3 s")
    line("`import torch`, after NumPy", [run[0] for run in theirs])
    for device, runs in ours.items():
        line(f"import, network, first step of digits' size, netcl on {device}", [run[1] for run in runs], "< 1 s")
    line("the same with PyTorch", [run[1] for run in theirs])
    lines += ["", "Recording one operation (Python time only, nothing is run), float32, (32, 64):", ""]
    lines += ["| operation | min | aimed at |", "|---|---:|---:|"]
    lines += [f"| {name} | {seconds * 1e6:.1f} us | <= 10 us |" for name, seconds in recording()]
    text = "\n".join([*lines, ""])
    print(text)
    if options.write:
        harness.keep("startup", text)


def times_text(seconds: float) -> str:
    return f"{seconds:.3f} s"


if __name__ == "__main__":
    main()
