"""How the benchmarks measure: netcl and PyTorch in turn, in one process, on one device; minima and medians.

A case gives two callables that do the same work and leave nothing running. They are timed in turn, sample by sample,
so that a slow spell of the machine meets both; a sample repeats short calls until it is long enough to time. Then each
is timed by itself for a while, when the worker threads of the other have gone to sleep: if one disturbs the other, the
minima, which are taken over all samples, don't show it. Medians are those of the alternating samples. Each device has
its own process (NETCL_DEVICE). Ratios are PyTorch's time divided by netcl's: above 1 netcl is faster.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
SAMPLE_SECONDS = 0.01  # a sample lasts at least this long, or one call
PAUSE_SECONDS = 0.02  # between samples: worker threads of the library that ran before stop spinning
IDLE_SECONDS = 0.3  # before one side is timed by itself
CASE_SECONDS = 6.0  # of alternating samples for one case; each side has a quarter of that for itself


Side = tuple[Callable[[], Any], Callable[[], Any] | None]  # a unit of work, and what waits for all of it


@dataclass
class Case:
    """One line of a table. The callables do one unit of work each; `wanted` is the ratio that is aimed at."""

    name: str
    netcl: Callable[[], Any]
    torch: Callable[[], Any]
    wanted: float | None = None
    flops: float = 0.0
    finish: Callable[[], Any] | None = None  # waits for netcl's device; called once at the end of each sample
    steps: int = 1  # units of work that one call does


@dataclass
class Row:
    """What was measured for a case: seconds for one unit of work."""

    name: str
    netcl: list[float]
    torch: list[float]
    wanted: float | None
    flops: float = 0.0
    netcl_alone: list[float] = field(default_factory=list)
    torch_alone: list[float] = field(default_factory=list)

    @property
    def minima(self) -> tuple[float, float]:
        """netcl's and PyTorch's shortest time, over all samples."""
        return min(self.netcl + self.netcl_alone), min(self.torch + self.torch_alone)

    @property
    def medians(self) -> tuple[float, float]:
        """netcl's and PyTorch's median, of the alternating samples."""
        return statistics.median(self.netcl), statistics.median(self.torch)


@dataclass
class Report:
    """Everything that one process measured on one device."""

    device: dict[str, str]
    rows: list[Row] = field(default_factory=list)


def measure(case: Case, seconds: float = CASE_SECONDS) -> Row:
    """Time both sides of a case in alternating samples."""
    sides: dict[str, Side] = {"netcl": (case.netcl, case.finish), "torch": (case.torch, None)}
    times = alternating(sides, seconds, case.steps)
    return Row(name=case.name, wanted=case.wanted, flops=case.flops, **times)


def alternating(sides: dict[str, Side], seconds: float, steps: int = 1, at_least: int = 5) -> dict[str, list[float]]:
    """Seconds for one unit of work: of alternating samples by the side's name, of those by itself by NAME_alone."""
    repeats = {name: _calibrate(call, finish) for name, (call, finish) in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    gc.collect()
    gc.disable()
    end = time.perf_counter() + seconds
    try:
        while time.perf_counter() < end or len(times[order[0]]) < at_least:
            for name in order:
                time.sleep(PAUSE_SECONDS)
                times[name].append(_sample(*sides[name], repeats[name]) / steps)
            order.reverse()
        for name in list(sides):
            alone = times[f"{name}_alone"] = []
            time.sleep(IDLE_SECONDS)
            end = time.perf_counter() + seconds / 4
            while time.perf_counter() < end or len(alone) < at_least:
                alone.append(_sample(*sides[name], repeats[name]) / steps)
    finally:
        gc.enable()
    return times


def _sample(call: Callable[[], Any], finish: Callable[[], Any] | None, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    if finish is not None:
        finish()
    return (time.perf_counter() - start) / repeats


def _calibrate(call: Callable[[], Any], finish: Callable[[], Any] | None) -> int:
    """How many calls make a sample, after warming up (compiling, filling pools)."""
    first = min(_sample(call, finish, 1) for _ in range(2))
    if first > SAMPLE_SECONDS * 10:
        return 1
    _sample(call, finish, 1)
    return max(1, round(SAMPLE_SECONDS / max(min(_sample(call, finish, 2) for _ in range(3)), 1e-7)))


# ---- one process for each device


Sides = tuple[str, str]  # what the first and the second side of each case are called

OURS_AND_PYTORCH = ("netcl", "PyTorch")


def run(
    name: str, title: str, cases: Callable[[], Iterable[Case]], note: str = "", sides: Sides = OURS_AND_PYTORCH
) -> None:
    """The main function of a benchmark: cases on every device asked for, a table each, `--write` keeps them."""
    options = _options(title)
    if options.json:
        _child(cases, options)
        return
    reports = [report for chosen in options.device or default_devices() if (report := _spawn(chosen, options))]
    if not reports:
        sys.exit("no device could be measured")
    text = page(title, note, reports, sides)
    print(text)
    if options.write:
        keep(name, text)


def keep(name: str, text: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text(text)
    print(f"written to {path.relative_to(HERE.parent)}", file=sys.stderr)


def _options(title: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--device", action="append", help="a name for NETCL_DEVICE; default: every device")
    parser.add_argument("--write", action="store_true", help="keep the table in benchmarks/results")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--quick", action="store_true", help="a fraction of the samples: does it run at all?")
    parser.add_argument("--seconds", type=float, default=CASE_SECONDS, help="of alternating samples for each case")
    parser.add_argument("--json", help=argparse.SUPPRESS)
    return parser.parse_args()


def default_devices() -> list[str]:
    """Every device that works, best first, simulators left out."""
    code = (
        "import netcl as nc\n"
        "print(*[d for d in nc.devices() if d.kind != 'accelerator' and d.error is None])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return found.stdout.split()


def _spawn(chosen: str, options: argparse.Namespace) -> Report | None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, sys.argv[0], "--json", str(out), "--only", options.only]
        command += ["--quick"] if options.quick else ["--seconds", str(options.seconds)]
        done = subprocess.run(command, env={**os.environ, "NETCL_DEVICE": chosen}, check=False)
        if done.returncode:
            print(f"{chosen}: exit status {done.returncode}", file=sys.stderr)
            return None
        found = json.loads(out.read_text())
    return Report(found["device"], [Row(**row) for row in found["rows"]])


def _child(cases: Callable[[], Iterable[Case]], options: argparse.Namespace) -> None:
    rows = []
    for case in cases():
        if options.only in case.name:
            row = measure(case, 0.3 if options.quick else options.seconds)
            print(f"  {row.name}: {ratio(row.minima)}x by minima, {ratio(row.medians)}x by medians", file=sys.stderr)
            rows.append(asdict(row))
    Path(options.json).write_text(json.dumps({"device": describe_device(), "rows": rows}))


def describe_device() -> dict[str, str]:
    import netcl as nc

    chosen = nc.default_device()
    return {
        "name": chosen.name,
        "platform": chosen.platform_name,
        "version": chosen.platform_version,
        "driver": chosen.driver,
    }


# ---- tables


def machine() -> str:
    """CPU, cores, Python, libraries, date and load in one line."""
    import torch

    import netcl as nc

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = models[0] if models else cpu
    flags = info.read_text() if info.exists() else ""
    simd = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cpu}{f' ({simd})' if simd else ''}, {cores} cores; Python {platform.python_version()}, "
        f"netcl {nc.__version__}, PyTorch {torch.__version__} eager with {torch.get_num_threads()} threads; "
        f"{datetime.date.today().isoformat()}, load before {_load_before:.2f}"
    )


_load_before = os.getloadavg()[0]


def page(title: str, note: str, reports: list[Report], sides: Sides) -> str:
    """Markdown: a table for each device."""
    ours, other = sides
    lines = [f"# {title}", "", machine() + ".", ""]
    lines += [
        f"Ratio: {other}'s time divided by {ours}'s, so above 1 {ours} is faster. "
        "Samples of the two alternate in one process; medians are of these, minima also of samples in which each ran "
        "by itself. " + note,
        "",
    ]
    for report in reports:
        lines += [f"## {report.device['name']}, {report.device['platform']}", ""]
        lines += [f"{report.device['version']}, driver {report.device['driver']}", "", *table(report.rows, sides), ""]
    return "\n".join(lines)


def table(rows: list[Row], sides: Sides) -> list[str]:
    rates = any(row.flops for row in rows)
    head = ["case", *(f"{side} {what}" for side in sides for what in ("min", "median"))]
    head += ["ratio of minima", "ratio of medians"]
    head += [f"{side} GFLOP/s" for side in sides] if rates else []
    head += ["aimed at"] if any(row.wanted for row in rows) else []
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for row in rows:
        pairs = zip(row.minima, row.medians, strict=True)
        cells = [row.name, *(duration(seconds) for pair in pairs for seconds in pair)]
        cells += [ratio(row.minima), ratio(row.medians)]
        if rates:
            cells += [f"{row.flops / seconds / 1e9:.0f}" for seconds in row.minima]
        if "aimed at" in head:
            cells.append(f">= {row.wanted}" if row.wanted else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def ratio(pair: tuple[float, float]) -> str:
    """PyTorch's time divided by netcl's."""
    return f"{pair[1] / pair[0]:.2f}"


def duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"
