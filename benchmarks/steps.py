"""Whole training steps, plain and compiled: netcl, nc.jit_compile, PyTorch eager and torch.compile in turn.

    python benchmarks/steps.py                          # every device
    python benchmarks/steps.py --device intel --only MLP
    python benchmarks/steps.py --write                  # keeps the page

A step is forward, loss, backward and Adam, with the same code and the same first numbers in both libraries. PyTorch's
compiled step compiles the model and the loss; its optimizer stays as it is, as torch.compile's guide has it.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import harness
import models

SOAK = 20_000
STEPS = 20  # in one call: a training loop does not read the loss at each step
SECONDS = 6.0
TITLE = "Whole training steps"
# case: (PyTorch eager's time, torch.compile's time) divided by the compiled step's that are aimed at
AIMS = {"small": (3.0, 1.0), "large": (1.0, 1.0), "transformer": (0.8, None), "chain": (4.0, None)}


# ---- one model, four ways


def repeated(step: Callable[[], Any]) -> Callable[[], Any]:
    def train() -> Any:
        for _ in range(STEPS):
            loss = step()
        return loss

    return train


def steps_of(make: Callable[[Any, Any], Any], x: np.ndarray, y: np.ndarray) -> dict[str, harness.Side]:
    """The four ways of training one model; their first losses agree."""
    import torch

    import netcl as nc

    torch._dynamo.reset()
    found: dict[str, harness.Side] = {}
    first = {}
    for name, library in (("netcl", nc), ("jit", nc), ("torch", torch), ("compile", torch)):
        library.manual_seed(0)
        model = make(library, library.nn)
        forward = torch.compile(model, dynamic=False) if name == "compile" else model
        step = models.trainer(library, model, forward, library.tensor(x), library.tensor(y))
        if name == "jit":
            step = nc.jit_compile(step, fullgraph=True)
        first[name] = [step().item() for _ in range(5)]
        found[name] = repeated(step), nc.synchronize if library is nc else nothing
    for name, losses in first.items():
        np.testing.assert_allclose(losses, first["torch"], rtol=1e-3, err_msg=name)
    assert first["jit"] == first["netcl"], "compiled steps give the bits of plain ones"
    return found


def nothing() -> None:
    pass


# ---- a chain of elementwise operations


def chain(x: Any) -> Any:
    """GELU by tanh, written out: 10 elementwise operations."""
    cubed = x * x * x
    return 0.5 * x * (1.0 + (0.7978845608028654 * (x + 0.044715 * cubed)).tanh())


def chains(size: int) -> dict[str, harness.Side]:
    import torch

    import netcl as nc
    from netcl.core import launch

    x = np.random.default_rng(0).standard_normal(size, dtype=np.float32)
    ours, theirs = nc.tensor(x), torch.tensor(x)
    torch._dynamo.reset()
    compiled, ours_compiled = torch.compile(chain, dynamic=False), nc.jit_compile(chain, fullgraph=True)
    np.testing.assert_allclose(chain(ours).numpy(), chain(theirs).numpy(), rtol=1e-4, atol=1e-6)
    for _ in range(2):
        np.testing.assert_array_equal(ours_compiled(ours).numpy(), chain(ours).numpy())
    device = nc.default_device()
    target = device.pool.allocate(4 * size)
    return {
        "netcl": (lambda: chain(ours)._value.realise(), nc.synchronize),
        "jit": (lambda: ours_compiled(ours)._value.realise(), nc.synchronize),
        "torch": (lambda: chain(theirs), nothing),
        "compile": (lambda: compiled(theirs), nothing),
        "copy": (lambda: launch.copy(device, ours._value.buffer, 0, target, 0, 4 * size), nc.synchronize),
    }


# ---- what recording costs


def recording() -> dict[str, float]:
    """Microseconds on the host for one operation, nothing being run: the least of many rounds."""
    import netcl as nc

    x = nc.ones(8).requires_grad_()
    x._value.realise()
    cases = {
        "add of two tensors": lambda t: t + x,
        "multiplication by a number": lambda t: t * 1.5,
        "relu": lambda t: t.relu(),
        "sum over the last axis": lambda t: t.sum(-1),
    }
    found = {}
    for name, operation in cases.items():
        least = math.inf
        for _ in range(200):
            start = time.perf_counter()
            for _ in range(100):
                operation(x)
            least = min(least, (time.perf_counter() - start) / 100)
            nc.synchronize()
        found[name] = least * 1e6
    return found


def host_work() -> dict[str, float]:
    """Microseconds until a compiled step of the small network returns, with its launches and without; how many."""
    import netcl as nc
    from netcl.core import launch

    rng = np.random.default_rng(0)
    x, y = nc.tensor(rng.standard_normal((32, 64), dtype=np.float32)), nc.tensor(rng.integers(0, 10, 32))
    model = models.mlp(nc.nn, (64, 128, 128, 10))
    step = nc.jit_compile(models.trainer(nc, model, model, x, y), fullgraph=True)
    for _ in range(5):
        step().item()
    with nc.profiler.count_launches() as launches:
        step()
    found = {"launches": float(int(launches))}
    for name, enqueue in (("with", launch._nd_range), ("without", lambda *arguments: None)):
        least = math.inf
        with mock.patch.object(launch, "_nd_range", enqueue):
            for _ in range(200):
                nc.synchronize()
                start = time.perf_counter()
                for _ in range(STEPS):
                    step()
                least = min(least, (time.perf_counter() - start) / STEPS)
        found[name] = least * 1e6
    return found


def soak() -> dict[str, Any]:
    """20,000 steps of the small network, plain and compiled: microseconds a step (medians) after the first thousand
    and in the last one, and by how much the host's and the device's memory grew in between."""
    import netcl as nc

    rng = np.random.default_rng(0)
    x, y = nc.tensor(rng.standard_normal((32, 64), dtype=np.float32)), nc.tensor(rng.integers(0, 10, 32))
    found = {}
    for name in ("plain", "compiled"):
        model = models.mlp(nc.nn, (64, 128, 128, 10))
        step = models.trainer(nc, model, model, x, y)
        train = repeated(nc.jit_compile(step) if name == "compiled" else step)
        times, memory = [], []
        for number in range(SOAK // STEPS):
            if number * STEPS in (1000, SOAK - STEPS):
                gc.collect()
                memory.append((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, nc.profiler.memory_in_use()))
            start = time.perf_counter()
            train()
            nc.synchronize()
            times.append((time.perf_counter() - start) / STEPS * 1e6)
        thousand = 1000 // STEPS
        early, late = times[thousand : 2 * thousand], times[-thousand:]
        grown = [after - before for before, after in zip(*memory, strict=True)]
        found[name] = [statistics.median(early), statistics.median(late), *grown]
    return found


# ---- the table


def cases(only: str) -> Iterator[tuple[str, str, Callable[[], dict[str, harness.Side]], int]]:
    """(key of AIMS, name, how to make the sides, steps in one call)."""
    rng = np.random.default_rng(0)
    for key, sizes, batch in (("small", (64, 128, 128, 10), 32), ("large", (784, 512, 512, 10), 128)):
        name = f"MLP {'-'.join(map(str, sizes))}, batch {batch}, Adam"
        x, y = rng.standard_normal((batch, sizes[0]), dtype=np.float32), rng.integers(0, sizes[-1], batch)
        if only in name:
            yield key, name, lambda sizes=sizes, x=x, y=y: steps_of(lambda lib, nn: models.mlp(nn, sizes), x, y), STEPS
    name = "transformer, 4 pre-norm blocks, d=128, 4 heads, 16 x 64 positions, Adam"
    x, y = rng.standard_normal((16, 64, 128), dtype=np.float32), rng.integers(0, 10, 16)
    if only in name:
        yield "transformer", name, lambda x=x, y=y: steps_of(models.transformer, x, y), STEPS
    if only in (name := "GELU written out, 10 operations, 16M elements"):
        yield "chain", name, lambda: chains(16 << 20), 1


HEAD = ["case", "netcl", "compiled", "PyTorch", "torch.compile", "PyTorch / compiled", "torch.compile / compiled",
        "aimed at", "of copy"]  # fmt: skip


def line(key: str, name: str, times: dict[str, list[float]]) -> list[str]:
    sides = ("netcl", "jit", "torch", "compile")
    least = {side: min(times[side] + times[f"{side}_alone"]) for side in sides}
    middle = {side: statistics.median(times[side]) for side in sides}
    cells = [name, *(f"{harness.duration(least[s])} ({harness.duration(middle[s])})" for s in sides)]
    cells += [f"{least[s] / least['jit']:.2f} ({middle[s] / middle['jit']:.2f})" for s in ("torch", "compile")]
    eager, compiled = AIMS[key]
    cells.append(f">= {eager:g}" + (f", {compiled:g}" if compiled else ""))
    if "copy" in times:
        share = min(times["copy"] + times["copy_alone"]) / least["jit"]
        cells.append(f"{share:.0%} ({statistics.median(times['copy']) / middle['jit']:.0%}; aim: 80 %)")
    else:
        cells.append("")
    return cells


def child(options: argparse.Namespace) -> None:
    rows = []
    for key, name, make, steps in cases(options.only):
        times = harness.alternating(make(), options.seconds, steps)
        rows.append(line(key, name, times))
        print("  " + " | ".join(rows[-1]), file=sys.stderr)
    found = {"device": harness.describe_device(), "rows": rows, "recording": recording(), "host": host_work()}
    found["soak"] = soak()
    Path(options.json).write_text(json.dumps(found))


NOTE = (
    f"Times are for one step, minima (and medians); the device is waited for every {STEPS} steps. Samples alternate in "
    "one process. Ratios: the other's time divided by that of netcl's compiled step, so above 1 netcl is faster. Of "
    "copy: the time of the runtime's copy command for as many bytes, divided by the compiled chain's."
)


def section(found: dict[str, Any]) -> str:
    about = found["device"]
    lines = [f"## {about['name']}, {about['platform']}", ""]
    lines += [f"{about['version']}, driver {about['driver']}. {NOTE}", ""]
    lines += ["| " + " | ".join(HEAD) + " |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in found["rows"]]
    costs = ", ".join(f"{name} {cost:.1f} us" for name, cost in found["recording"].items())
    lines += ["", f"Recording one operation, uncompiled, with its place in the gradient graph: {costs}."]
    host = found["host"]
    count = int(host["launches"])
    lines += [
        "",
        f"The host's work for a compiled step of the first network: {host['without']:.0f} us without its {count} "
        f"launches, {host['with']:.0f} us with them (aim: 15 us + 6 us for each launch, {15 + 6 * count} us).",
    ]
    for name, (early, late, host_memory, device_memory) in found["soak"].items():
        lines += [
            "",
            f"{SOAK:,} steps of the first network, {name}: {early:.0f} us a step in the second thousand, {late:.0f} us "
            f"in the last; the host's memory grew by {host_memory} KiB, the device's by {device_memory} bytes.",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--device", action="append", help="a name for NETCL_DEVICE; default: every device")
    parser.add_argument("--write", action="store_true", help="keep the page in benchmarks/results")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of alternating samples for each case")
    parser.add_argument("--json", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.json:
        child(options)
        return
    sections = []
    for device in options.device or harness.default_devices():
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "rows.json"
            command = [sys.executable, __file__, "--json", str(out), "--only", options.only]
            command += ["--seconds", str(options.seconds)]
            done = subprocess.run(command, env={**os.environ, "NETCL_DEVICE": device}, check=False)
            if done.returncode:
                print(f"{device}: exit status {done.returncode}", file=sys.stderr)
                continue
            sections.append(section(json.loads(out.read_text())))
    text = "\n\n".join([f"# {TITLE}", harness.machine(), *sections]) + "\n"
    print(text)
    if options.write:
        harness.keep("steps", text)


if __name__ == "__main__":
    main()
