"""Losses: netcl, PyTorch eager and torch.compile in turn, beside the device's copy bandwidth; then the others.

    python benchmarks/losses.py                     # every part on every device: the whole page, about 9 minutes
    python benchmarks/losses.py --part memory       # one part: times, captured, elsewhere, memory (may be repeated)
    python benchmarks/losses.py --device intel --only "cross-entropy, 64" --quick
    python benchmarks/losses.py --write             # keeps the page; with --part only those parts of it are replaced

times: loss and gradient together, and forward and backward by themselves. captured: small sizes inside
`nc.jit_compile`. elsewhere: netcl 0.4.4 of PyPI and tinygrad, each in a virtual environment made for the occasion.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import harness
import losses_elsewhere
import memory


class Workload(NamedTuple):
    """One size of one loss. `sizes`: elements; or rows, classes; or rows, features, classes."""

    kind: str
    sizes: tuple[int, ...]
    label: str
    wanted: tuple[float, float, float] | None = None  # PyTorch's time, torch.compile's, share of copy bandwidth

    @property
    def name(self) -> str:
        if self.kind == "linear":
            return f"linear cross-entropy, {self.sizes[0]} x {self.sizes[1]} -> {self.sizes[2]}"
        return f"{self.kind}, {self.label}"

    @property
    def traffic(self) -> int:
        """Bytes of two reads and one write of the predictions or logits; nothing for what is products of matrices."""
        return 0 if self.kind == "linear" else 12 * int(np.prod(self.sizes))

    @property
    def given(self) -> int:
        """Bytes of the inputs and their gradients."""
        if self.kind == "linear":
            rows, features, classes = self.sizes
            return 8 * features * (rows + classes)
        return (12 if self.kind == "mse" else 8) * int(np.prod(self.sizes))

    def arrays(self) -> tuple[np.ndarray, ...]:
        """The tensors that get a gradient, then the target."""
        rng = np.random.default_rng(0)
        if self.kind == "linear":
            rows, features, classes = self.sizes
            x, weight = (rng.standard_normal(s, dtype=np.float32) for s in ((rows, features), (classes, features)))
            return x, weight * np.float32(0.05), rng.integers(0, classes, rows)
        x = rng.standard_normal(self.sizes, dtype=np.float32)
        if self.kind == "mse":
            return x, rng.standard_normal(self.sizes, dtype=np.float32)
        return x, rng.integers(0, self.sizes[1], self.sizes[0])


LARGE = (4.0, 1.5, 0.7)
WORKLOADS = (
    Workload("mse", (4096,), "4K"),
    Workload("mse", (65536,), "64K"),
    Workload("mse", (1 << 20,), "1M", LARGE),
    Workload("mse", (32 << 20,), "32M", LARGE),
    Workload("cross-entropy", (64, 1000), "64 x 1000"),
    Workload("cross-entropy", (4096, 1000), "4096 x 1000", LARGE),
    Workload("cross-entropy", (2048, 32000), "2048 x 32000", LARGE),
    Workload("cross-entropy", (512, 128256), "512 x 128256", LARGE),
    Workload("linear", (1024, 512, 32000), "", (0.91, 0, 0)),
    Workload("linear", (4096, 768, 50257), "", (0.91, 0, 0)),
)
SMALL = 200_000  # elements: what is called small
PARTS = ("times", "captured", "elsewhere", "memory")
SECONDS = 1.5  # of alternating samples for each kind of measurement of a case
MEMORY = {"mse": "mse", "cross-entropy": "cross_entropy", "linear": "linear_cross_entropy"}


class Side:
    """One library's way to the loss and its gradient."""

    def __init__(self, loss: Callable[..., Any], tensors: list[Any], enqueue: Callable, finish: Callable):
        self.loss, self.tensors, self.enqueue, self.finish = loss, tensors, enqueue, finish

    def forward(self) -> Any:
        value = self.loss(*self.tensors)
        self.enqueue()
        return value

    def backward(self, value: Any) -> None:
        for x in self.tensors[:-1]:
            x.grad = None
        value.backward()
        self.enqueue()

    def both(self) -> None:
        for x in self.tensors[:-1]:
            x.grad = None
        self.loss(*self.tensors).backward()
        self.enqueue()


def nothing() -> None:
    pass


def sides_of(work: Workload) -> dict[str, Side]:
    """netcl, PyTorch eager and torch.compile; their gradients agree."""
    import torch
    import torch.nn.functional as TF

    import netcl as nc
    import netcl.nn.functional as F
    from netcl.graph.value import flush_thread

    arrays = work.arrays()

    def tensors(module: Any) -> list[Any]:
        *floats, target = [module.tensor(a) for a in arrays]
        return [*(x.requires_grad_() for x in floats), target]

    def linear(x: Any, weight: Any, y: Any) -> Any:
        return TF.cross_entropy(TF.linear(x, weight), y)

    ours = {"mse": F.mse_loss, "cross-entropy": F.cross_entropy, "linear": F.linear_cross_entropy}[work.kind]
    theirs = {"mse": TF.mse_loss, "cross-entropy": TF.cross_entropy, "linear": linear}[work.kind]
    torch._dynamo.reset()
    compiled = torch.compile(lambda *given: theirs(*given), dynamic=False)
    found = {
        "netcl": Side(ours, tensors(nc), flush_thread, nc.synchronize),
        "torch": Side(theirs, tensors(torch), nothing, nothing),
        "compile": Side(compiled, tensors(torch), nothing, nothing),
    }
    for side in found.values():
        side.both()
        side.finish()
        for a, b in zip(side.tensors[:-1], found["netcl"].tensors[:-1], strict=True):
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-3, atol=1e-6)
    return found


def copies(size: int) -> dict[str, harness.Side]:
    """Two ways to copy so many bytes on the device: the runtime's command, and a kernel. The better one counts."""
    import netcl as nc
    from netcl.core import launch
    from netcl.graph.value import flush_thread

    source = nc.zeros(max(size // 4, 1)) + 1
    source._value.realise()
    device = nc.default_device()
    target = device.pool.allocate(size)

    def kernel() -> None:
        _ = -source  # reads each element once and writes one
        kept.append(_)
        flush_thread()
        kept.clear()

    kept: list[Any] = []
    return {
        "command": (lambda: launch.copy(device, source._value.buffer, 0, target, 0, size), nc.synchronize),
        "kernel": (kernel, nc.synchronize),
    }


# ---- one device


def measured(work: Workload, seconds: float) -> dict[str, Any]:
    """Seconds of loss and gradient together, forward, backward and of a copy that moves as much, by side."""
    sides = sides_of(work)
    if work.kind == "linear":
        return long_calls(work, sides, 2 if work.sizes[0] > 2000 else 5)
    callables: dict[str, harness.Side] = {name: (side.both, side.finish) for name, side in sides.items()}
    callables |= copies(work.traffic // 2)
    both = harness.alternating(callables, seconds)
    parts: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(8):
        for name, side in sides.items():
            harness.time.sleep(harness.PAUSE_SECONDS)
            parts[name].append(apart(side, max(1, min(64, (8 << 20) // work.traffic))))
    return {"name": work.name, "both": both, **by_part(parts)}


def long_calls(work: Workload, sides: dict[str, Side], rounds: int) -> dict[str, Any]:
    """Calls that take up to seconds, few of each. PyTorch's two passes are its loss and gradient together as well."""
    both: dict[str, list[float]] = {name: [] for name in sides}
    parts: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    ours = sides["netcl"]
    for _ in range(rounds):
        start = harness.time.perf_counter()
        ours.both()
        ours.finish()
        both["netcl"].append(harness.time.perf_counter() - start)
        for name, side in sides.items():
            harness.time.sleep(harness.PAUSE_SECONDS)
            parts[name].append(apart(side, 1))
            if side is not ours:
                both[name].append(sum(parts[name][-1]))
    return {"name": work.name, "both": both, **by_part(parts)}


def by_part(parts: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, list[float]]]:
    return {
        part: {name: [pair[number] for pair in pairs] for name, pairs in parts.items()}
        for number, part in enumerate(("forward", "backward"))
    }


def apart(side: Side, count: int) -> tuple[float, float]:
    """Seconds of the forward pass and of the backward pass, each waited for by itself."""
    start = harness.time.perf_counter()
    values = [side.forward() for _ in range(count)]
    side.finish()
    middle = harness.time.perf_counter()
    for value in values:
        side.backward(value)
    side.finish()
    return (middle - start) / count, (harness.time.perf_counter() - middle) / count


def captured(work: Workload, seconds: float) -> dict[str, Any]:
    """Loss and gradient inside nc.jit_compile, against PyTorch's two ways."""
    import netcl as nc

    sides = sides_of(work)
    ours = sides["netcl"]

    @nc.jit_compile
    def step(*tensors: Any) -> tuple:
        loss = ours.loss(*tensors)
        return (loss, *nc.autograd.grad(loss, tensors[:-1]))

    def call() -> None:
        step(*ours.tensors)

    callables: dict[str, harness.Side] = {name: (side.both, side.finish) for name, side in sides.items()}
    callables["netcl"] = (call, ours.finish)
    return {"name": work.name, "both": harness.alternating(callables, seconds)}


def chosen(options: argparse.Namespace) -> list[Workload]:
    return [work for work in WORKLOADS if options.only in work.name]


def child(options: argparse.Namespace) -> None:
    """Measure on the current device; the parent reads the file."""
    import netcl as nc

    rows: dict[str, list[dict[str, Any]]] = {"times": [], "captured": []}
    first = harness.default_devices()[0] == str(nc.default_device())
    for work in chosen(options):
        if "times" in options.part and (first or work.sizes[0] != 4096 or work.kind != "linear"):
            rows["times"].append(measured(work, options.seconds))
            print(f"  {work.name}: {summary(rows['times'][-1])}", file=sys.stderr)
        if "captured" in options.part and work.traffic and work.traffic // 12 <= SMALL:
            rows["captured"].append(captured(work, options.seconds))
            print(f"  {work.name}, captured: {summary(rows['captured'][-1])}", file=sys.stderr)
    Path(options.json).write_text(json.dumps({"device": harness.describe_device(), "rows": rows}))


def summary(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {harness.duration(minimum(row['both'], name))}" for name in ("netcl", "torch", "compile"))


def minimum(times: dict[str, list[float]], name: str) -> float:
    return min(times[name] + times.get(f"{name}_alone", []))


# ---- the page


def table(rows: list[dict[str, Any]], part: str) -> list[str]:
    """A line for each case: minima and medians of the three, ratios, and the share of the copy bandwidth."""
    whole = part == "both" and any("kernel" in row["both"] for row in rows)
    head = ["case", "netcl min", "median", "PyTorch min", "median", "torch.compile min", "median"]
    head += ["PyTorch / netcl", "torch.compile / netcl"]
    head += ["copy GB/s", "netcl GB/s", "of copy", "aimed at"] if whole else []
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    wanted = {work.name: work for work in WORKLOADS}
    for row in rows:
        times = row[part]
        least = [minimum(times, name) for name in ("netcl", "torch", "compile")]
        middle = [statistics.median(times[name]) for name in ("netcl", "torch", "compile")]
        cells = [row["name"]]
        for pair in zip(least, middle, strict=True):
            cells += [harness.duration(seconds) for seconds in pair]
        cells += [f"{least[1] / least[0]:.2f} ({middle[1] / middle[0]:.2f})"]
        cells += [f"{least[2] / least[0]:.2f} ({middle[2] / middle[0]:.2f})"]
        if whole:
            cells += bandwidth(wanted[row["name"]], times, least[0])
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def bandwidth(work: Workload, times: dict[str, list[float]], seconds: float) -> list[str]:
    aim = ""
    if work.wanted:
        eager, compiled, share = work.wanted
        aim = f">= {eager:g}x" + (f", {compiled:g}x, {share:.0%}" if compiled else "")
    if not work.traffic:
        return ["", "", "", aim]
    copy = work.traffic / min(minimum(times, "command"), minimum(times, "kernel")) / 1e9
    own = work.traffic / seconds / 1e9
    return [f"{copy:.1f}", f"{own:.1f}", f"{own / copy:.0%}", aim]


def short(rows: list[dict[str, Any]]) -> list[str]:
    """What misses its aim, by minima, and why where that can be told from the figures."""
    wanted = {work.name: work for work in WORKLOADS}
    lines = []
    for row in rows:
        work, times = wanted[row["name"]], row["both"]
        if not work.wanted:
            continue
        least = [minimum(times, name) for name in ("netcl", "torch", "compile")]
        found = [least[1] / least[0], least[2] / least[0], 1.0]
        if work.traffic:
            found[2] = min(minimum(times, "command"), minimum(times, "kernel")) / least[0]
        names = ("x PyTorch", "x torch.compile", " of the copy bandwidth")
        missed = [
            f"{have:.2f}{name} (aimed at {aim:g})"
            for have, aim, name in zip(found, work.wanted, names, strict=True) if have < aim
        ]  # fmt: skip
        if missed:
            bound = work.traffic and found[2] >= work.wanted[2]
            why = ": netcl is as fast as a copy of as many bytes, the other comes near that" if bound else ""
            if work.kind == "cross-entropy" and not bound:
                each = least[0] / np.prod(work.sizes) * 1e9
                why = (
                    f": {each:.2f} ns an element, as at the sizes where that keeps up with memory; about half of it is "
                    "the exponential (measured by leaving it out), which bounds it where the logits fit in the cache"
                )
            lines.append(f"- {work.name}: {', '.join(missed)}{why}")
    return ["", "Short of the aim:", "", *lines] if lines else ["", "Nothing is short of its aim."]


NOTES = {
    "times": "Loss and gradient, recorded together. Ratios: the other's time divided by netcl's, of minima (and of "
    "medians), so above 1 netcl is faster. Samples alternate in one process; medians are of these, minima also of "
    "samples in which each ran by itself. A sample of netcl's ends with waiting for the device. Copy GB/s: the better "
    "of the runtime's copy command and a kernel, in the same run, moving as many bytes; netcl's is counted as two "
    "reads and one write of the predictions (of the logits), for loss and gradient together.",
    "apart": "Forward and backward, each waited for by itself: the loss is read before the way back begins.",
    "captured": "Loss and gradient of small sizes inside `nc.jit_compile`, against PyTorch's step as above.",
    "memory": memory.__doc__.split("\n\n", 1)[1].replace("\n", " ").strip() + " PyTorch: `linear` and "
    "`cross_entropy` for linear cross-entropy. Ratio: netcl's peak divided by PyTorch's. `without`: without inputs and "
    "gradients, which every library has to hold, so what the loss itself takes; netcl's is the pool's. With them "
    "an eighth is out of reach at 1024 x 512 -> 32000, where they alone are 0.29 of PyTorch's peak.",
}


def device_sections(options: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    """Text by heading: what everybody wants to see, and what comes further down."""
    above: dict[str, str] = {}
    below: dict[str, str] = {}
    for device in options.device or harness.default_devices():
        found = spawned(device, options)
        if found is None:
            continue
        about, rows = found["device"], found["rows"]
        where = f"{about['name']}, {about['platform']}"
        if rows["times"]:
            driver = f"{about['version']}, driver {about['driver']}."
            lines = [f"{driver} {NOTES['times']}", "", *table(rows["times"], "both"), *short(rows["times"])]
            above[where] = "\n".join(lines)
            lines = [NOTES["apart"], "", "Forward:", "", *table(rows["times"], "forward"), "", "Backward:", ""]
            below[f"Forward and backward apart: {where}"] = "\n".join([*lines, *table(rows["times"], "backward")])
        if rows["captured"]:
            above[f"In a compiled step: {where}"] = "\n".join(
                [NOTES["captured"], "", *table(rows["captured"], "both")]
            )
    return above, below


def spawned(device: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """What a process of its own measures on a device."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, __file__, "--json", str(out), "--only", options.only]
        command += ["--seconds", str(options.seconds), *(f"--part={part}" for part in options.part)]
        done = subprocess.run(command, env={**os.environ, "NETCL_DEVICE": device}, check=False)
        if done.returncode:
            print(f"{device}: exit status {done.returncode}", file=sys.stderr)
            return None
        return json.loads(out.read_text())


def memory_section(options: argparse.Namespace) -> str:
    device = (options.device or harness.default_devices())[0]
    head = ["case", "netcl", "its pool", "PyTorch", "ratio", "netcl without", "PyTorch without", "ratio", "aimed at"]
    lines = [NOTES["memory"], "", "| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for work in chosen(options):
        if work.traffic // 12 <= SMALL and work.traffic:
            continue
        ours = memory.measure(device, MEMORY[work.kind], work.sizes, runs=2)  # the first may have compiled
        theirs = memory.measure(None, MEMORY[work.kind], work.sizes, runs=1)
        peaks = [ours["peak"], ours["pool"], theirs["peak"]]
        without = [max(ours["pool"] - work.given, 0), theirs["peak"] - work.given]
        cells = [work.name, *map(memory.megabytes, peaks), f"{peaks[0] / peaks[2]:.3f}"]
        cells += [*map(memory.megabytes, without), f"{without[0] / without[1]:.3f}"]
        lines.append("| " + " | ".join([*cells, "<= 0.125" if work.kind == "linear" else ""]) + " |")
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


TITLE = "Losses, forward and backward"
MORE = "<!-- more -->"  # README.md shows what is above


def main() -> None:
    options = parsed()
    if options.json:
        child(options)
        return
    above, below = device_sections(options) if {"times", "captured"} & set(options.part) else ({}, {})
    if "memory" in options.part:
        above["Peak memory of loss and gradient"] = memory_section(options)
    if "elsewhere" in options.part:
        sizes = [(work.name, work.kind, work.sizes) for work in chosen(options)]
        below["netcl 0.4.4 of PyPI and tinygrad"] = losses_elsewhere.section(sizes, options.seconds)
    text = page(above, below)
    print(text)
    if options.write:
        kept = harness.RESULTS / "losses.md"
        if set(options.part) != set(PARTS) and kept.exists():
            old_above, old_below = (sections(part) for part in kept.read_text().split(MORE))
            text = page(old_above | above, old_below | below)
        harness.keep("losses", text)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--device", action="append", help="a name for NETCL_DEVICE; default: every device")
    parser.add_argument("--write", action="store_true", help="keep the page in benchmarks/results")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--part", action="append", choices=PARTS, help="what to do; default: everything")
    parser.add_argument("--quick", action="store_true", help="a fraction of the samples: does it run at all?")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of alternating samples for each case")
    parser.add_argument("--json", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.part = options.part or list(PARTS)
    options.seconds = 0.2 if options.quick else options.seconds
    return options


def page(above: dict[str, str], below: dict[str, str]) -> str:
    def written(found: dict[str, str]) -> list[str]:
        return [line for heading, body in found.items() for line in (f"## {heading}", "", body, "")]

    return "\n".join([f"# {TITLE}", "", harness.machine() + ".", "", *written(above), MORE, "", *written(below)])


def sections(text: str) -> dict[str, str]:
    """A page's sections by their headings."""
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)[1:]
    return {heading: body.strip() for heading, body in zip(parts[::2], parts[1::2], strict=True)}


if __name__ == "__main__":
    main()
