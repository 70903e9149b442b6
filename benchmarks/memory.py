"""Peak memory of a few steps, netcl against PyTorch: each measured in a process of its own.

Counted is the process's resident set at its highest during the steps, less what was resident before the inputs were
made; for netcl on a CPU device that holds device memory, compiled code and all. The pool's own peak stands beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import harness
import models

STEPS = 5
CASES = (
    ("mse, 1M elements", "mse", (1 << 20,)),
    ("mse, 32M elements", "mse", (32 << 20,)),
    ("cross-entropy, 4096 x 1000", "cross_entropy", (4096, 1000)),
    ("cross-entropy, 2048 x 32000", "cross_entropy", (2048, 32000)),
    ("linear cross-entropy, 1024 x 512 -> 32000", "linear_cross_entropy", (1024, 512, 32000)),
    ("linear cross-entropy, 4096 x 768 -> 50257", "linear_cross_entropy", (4096, 768, 50257)),
    ("matmul, 1024", "matmul", (1024,)),
    ("matmul, 2048", "matmul", (2048,)),
    ("MLP 64-128-128-10, batch 32, Adam", "mlp", (64, 128, 128, 10, 32)),
    ("MLP 784-512-512-10, batch 128, Adam", "mlp", (784, 512, 512, 10, 128)),
)


def resident(what: str) -> int:
    """VmRSS (now) or VmHWM (highest) of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {what}")


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def work(library, nn, optim, F, kind: str, sizes: tuple[int, ...]) -> Callable[[], object]:
    """One step of the case; host copies of the inputs are gone when this returns."""
    rng = np.random.default_rng(0)
    if kind == "mlp":
        x = library.tensor(rng.standard_normal((sizes[-1], sizes[0]), dtype=np.float32))
        y = library.tensor(rng.integers(0, sizes[-2], sizes[-1]))
        return models.training(library, sizes[:-1], x, y, 20)
    if kind == "matmul":
        a, b = (library.tensor(rng.standard_normal((sizes[0], sizes[0]), dtype=np.float32)) for _ in range(2))
        return lambda: a @ b
    if kind == "linear_cross_entropy":
        return _linear(library, F, rng, *sizes)
    x = library.tensor(rng.standard_normal(sizes, dtype=np.float32), requires_grad=True)
    if kind == "mse":
        loss, y = F.mse_loss, library.tensor(rng.standard_normal(sizes, dtype=np.float32))
    else:
        loss, y = F.cross_entropy, library.tensor(rng.integers(0, sizes[1], sizes[0]))

    def step() -> object:
        x.grad = None
        value = loss(x, y)
        value.backward()
        return value

    return step


def _linear(library, F, rng, rows: int, features: int, classes: int) -> Callable[[], object]:
    x = library.tensor(rng.standard_normal((rows, features), dtype=np.float32), requires_grad=True)
    weight = library.tensor(rng.standard_normal((classes, features), dtype=np.float32), requires_grad=True)
    y = library.tensor(rng.integers(0, classes, rows))

    def step() -> object:
        x.grad = weight.grad = None
        if library.__name__ == "netcl":
            value = F.linear_cross_entropy(x, weight, y)
        else:
            value = F.cross_entropy(F.linear(x, weight), y)
        value.backward()
        return value

    return step


def child(side: str, kind: str, sizes: tuple[int, ...]) -> None:
    """Run the steps, print what they took as JSON."""
    finish: Callable[[], object]
    if side == "netcl":
        import netcl as library
        import netcl.nn.functional as F
        from netcl import nn, optim

        finish, pool = library.synchronize, library.default_device().pool
        library.synchronize()
        _ = (library.tensor([1.0]) + 1).item()  # the device is open, and a kernel was compiled
    else:
        import torch as library
        import torch.nn.functional as F
        from torch import nn, optim

        finish, pool = (lambda: None), None
        _ = (library.tensor([1.0]) + 1).item()
    before = resident("VmRSS")
    step = work(library, nn, optim, F, kind, sizes)
    reset_peak()
    if pool is not None:
        pool.reset_peak()
    for _ in range(2 if kind == "linear_cross_entropy" else STEPS):  # these take seconds each
        result = step()
        finish()
    del result
    found = {"peak": resident("VmHWM") - before, "process": resident("VmHWM")}
    if pool is not None:
        found["pool"] = pool.statistics()["peak"]
    print(json.dumps(found))


def measure(device: str | None, kind: str, sizes: tuple[int, ...], runs: int = 3) -> dict[str, int]:
    """The smallest of several runs in processes of their own."""
    environment = os.environ if device is None else {**os.environ, "NETCL_DEVICE": device}
    command = [sys.executable, __file__, "torch" if device is None else "netcl", kind, *map(str, sizes)]
    found = []
    for _ in range(runs):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    return min(found, key=lambda run: run["peak"])


def main() -> None:
    options = harness._options("Peak memory")
    lines = ["# Peak memory", "", harness.machine() + ".", "", __doc__.split("\n\n", 1)[1].replace("\n", " "), ""]
    devices = options.device or harness.default_devices()
    head = "| case | PyTorch " + "".join(f"| {device} | pool | ratio " for device in devices) + "|"
    lines += [head, "|---|---:" + "|---:" * (3 * len(devices)) + "|"]
    for name, kind, sizes in CASES:
        if options.only not in name:
            continue
        theirs = measure(None, kind, sizes)
        cells = [name, megabytes(theirs["peak"])]
        for device in devices:
            ours = measure(device, kind, sizes)
            cells += [megabytes(ours["peak"]), megabytes(ours["pool"]), f"{ours['peak'] / theirs['peak']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr)
    lines += ["", "Ratio: netcl's peak divided by PyTorch's, so below 1 netcl takes less.", "", *names(devices), ""]
    text = "\n".join(lines)
    print(text)
    if options.write:
        harness.keep("memory", text)


def names(devices: list[str]) -> list[str]:
    import netcl as nc

    found = [(spec, nc.device(spec)) for spec in devices]
    return [f"- {spec}: {d.name}, {d.platform_name}, {d.platform_version}, driver {d.driver}" for spec, d in found]


def megabytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ("netcl", "torch"):
        child(sys.argv[1], sys.argv[2], tuple(map(int, sys.argv[3:])))
    else:
        main()
