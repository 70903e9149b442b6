"""The same losses in netcl 0.4.4 of PyPI and in tinygrad, each in a virtual environment made for the occasion.

They cannot run in one process with netcl and PyTorch, so their samples don't alternate with theirs. Both get the OpenCL
runtime that netcl found; where tinygrad cannot use it, its own CPU backend. This file is also the script that these
environments run, so at its top it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGES = {"netcl 0.4.4": ["netcl==0.4.4"], "tinygrad": ["tinygrad", "numpy"]}
LIMIT = 12  # seconds for one case
NOTE = (
    "In processes of their own, so these samples don't alternate with those above; minima (and medians), each waited "
    "for. netcl 0.4.4: `autograd.mse_loss` (a sum, there is no mean) and `autograd.cross_entropy`, whose targets are "
    "one-hot and as large as the logits; it has no fused linear cross-entropy, so that is `matmul_op` and "
    "`cross_entropy`. tinygrad: inside `TinyJit`, linear cross-entropy as `x @ weight.T` and `cross_entropy`. Backward "
    f"is not timed by itself. A case that takes longer than {LIMIT} s is given up."
)


# ---- the parent ---------------------------------------------------------------------------------------------------


def section(cases: list[tuple[str, str, tuple[int, ...]]], seconds: float) -> str:
    """The text of the page's section: what ran, what did not and why."""
    found: dict[str, dict[str, Any]] = {}
    lines = [NOTE, ""]
    for package, wanted in PACKAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            error = install(folder, wanted)
            if error:
                lines.append(f"- {package}: not installed ({error})")
                continue
            python = str(Path(folder) / "bin" / "python")
            backend = "OpenCL"
            if package == "tinygrad" and not runs_on_opencl(python):
                backend = "its CPU backend"
            version = subprocess.run(
                [python, "-m", "pip", "show", package.split()[0]], capture_output=True, text=True, check=False
            ).stdout.split("\n")[1:2]
            lines.append(f"- {package}: {' '.join(version).lower()}, on {backend}")
            for name, kind, sizes in cases:
                found.setdefault(name, {})[package] = one(python, package, backend, kind, sizes, seconds)
                print(f"  {package}, {name}: {found[name][package]}", file=sys.stderr)
    head = ["case", *(f"{package}, {part}" for package in PACKAGES for part in ("forward", "loss and gradient"))]
    lines += ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    failed: list[str] = []
    for name, by_package in found.items():
        cells = [name]
        for package in PACKAGES:
            result = by_package.get(package, {"error": "not installed"})
            cells += [shown(result.get(part)) for part in ("forward", "both")]
            if "error" in result:
                failed.append(f"- {package}, {name}: {result['error']}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *failed])


def install(folder: str, packages: list[str]) -> str:
    """Make the environment; what went wrong, or nothing."""
    made = subprocess.run([sys.executable, "-m", "venv", folder], capture_output=True, text=True, check=False)
    if made.returncode == 0:
        command = [str(Path(folder) / "bin" / "python"), "-m", "pip", "install", "-q", *packages]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if made.returncode == 0 else (made.stderr or made.stdout).strip().split("\n")[-1]


def environment() -> dict[str, str]:
    """Where the OpenCL runtimes are that netcl found, and a loader that both packages can open."""
    import netcl as nc

    nc.default_device()
    library = Path(sys.prefix) / "lib"
    given = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if (library / "libOpenCL.so.1").exists():  # the one that comes with Intel's runtime
        given["OPENCL_PATH"] = str(library / "libOpenCL.so.1")
        given["LD_LIBRARY_PATH"] = f"{library}:{given.get('LD_LIBRARY_PATH', '')}"
    return given


def runs_on_opencl(python: str) -> bool:
    code = "from tinygrad import Tensor; assert (Tensor([1.0]) + 1).item() == 2.0"
    tried = subprocess.run(
        [python, "-c", code], env={**environment(), "DEV": "CL"}, capture_output=True, timeout=120, check=False
    )
    return tried.returncode == 0


def one(python: str, package: str, backend: str, kind: str, sizes: tuple[int, ...], seconds: float) -> dict[str, Any]:
    """Times of one case, or the error that it ended with."""
    given = {**environment(), "DEV": "CL" if backend == "OpenCL" else "CPU"}
    command = [python, __file__, package, kind, json.dumps(sizes), str(seconds)]
    try:
        done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"more than {LIMIT} s"}
    if done.returncode:
        last = (done.stderr.strip() or f"exit status {done.returncode}").split("\n")[-1]
        return {"error": last[:120].replace("|", "/")}
    return json.loads(done.stdout.strip().split("\n")[-1])


def shown(times: list[float] | None) -> str:
    return f"{duration(times[0])} ({duration(times[1])})" if times else "failed"


def duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"


# ---- the script that runs in those environments ---------------------------------------------------------------------


def main(package: str, kind: str, sizes: list[int], seconds: float) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    shape = sizes[:1] + sizes[2:] if kind == "linear" else sizes
    if kind == "linear":
        arrays = [rng.standard_normal(s, dtype=np.float32) for s in (sizes[:2], sizes[:0:-1])]
    else:
        arrays = [rng.standard_normal(shape, dtype=np.float32)]
    if kind == "mse":
        arrays.append(rng.standard_normal(shape, dtype=np.float32))
    else:
        arrays.append(rng.integers(0, shape[1], shape[0]).astype(np.int32))
    make = old_netcl if package.startswith("netcl") else tinygrad
    forward, both, finish = make(kind, arrays)
    print(json.dumps({"forward": timed(forward, finish, seconds), "both": timed(both, finish, seconds)}))


def timed(call: Callable, finish: Callable, seconds: float) -> tuple[float, float]:
    """Minimum and median of calls, each waited for; after three that compile."""
    for _ in range(3):
        call()
        finish()
    found = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 5:
        start = time.perf_counter()
        call()
        finish()
        found.append(time.perf_counter() - start)
    return min(found), statistics.median(found)


def old_netcl(kind: str, arrays: list) -> tuple[Callable, Callable, Callable]:
    import numpy as np
    from netcl.core.tensor import Tensor

    from netcl import autograd as ag
    from netcl.core.device import manager

    queue = manager.default(device="auto").queue  # "cpu" would be NumPy
    if kind != "mse":
        classes, rows = arrays[-1], arrays[0].shape[0]
        arrays[-1] = np.zeros((rows, arrays[0].shape[1] if kind == "cross-entropy" else arrays[1].shape[0]), np.float32)
        arrays[-1][np.arange(rows), classes] = 1
    if kind == "linear":
        arrays[1] = np.ascontiguousarray(arrays[1].T)
    tensors = [Tensor.from_host(queue, a) for a in arrays]

    def forward() -> Any:
        *given, target = [ag.tensor(t, requires_grad=n < len(tensors) - 1) for n, t in enumerate(tensors)]
        x = ag.matmul_op(*given) if kind == "linear" else given[0]
        return (ag.mse_loss if kind == "mse" else ag.cross_entropy)(x, target)

    def both() -> None:
        ag.Tape().backward(forward())

    return forward, both, queue.finish


def tinygrad(kind: str, arrays: list) -> tuple[Callable, Callable, Callable]:
    from tinygrad import Device, Tensor, TinyJit

    tensors = [Tensor(a).realize() for a in arrays]

    def loss(*given: Any) -> Any:
        if kind == "mse":
            return (given[0] - given[1]).square().mean()
        return (given[0] @ given[1].T if kind == "linear" else given[0]).cross_entropy(given[-1])

    @TinyJit
    def value(*given: Any) -> Any:
        return loss(*given).realize()

    @TinyJit
    def step(*given: Any) -> Any:
        result = loss(*given)
        changes = result.gradient(*given[:-1] if kind != "mse" else given[:1])
        Tensor.realize(result, *changes)
        return result, *changes

    return lambda: value(*tensors), lambda: step(*tensors), Device[Device.DEFAULT].synchronize


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), float(sys.argv[4]))
