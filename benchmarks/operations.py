"""Single operations, and chains of elementwise ones, over 4 thousand, 1 million and 16 million float32 elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import harness

SIDES = (64, 1024, 4096)  # of square matrices
NAMES = {64: "4K", 1024: "1M", 4096: "16M"}

# (name, what is done with the library, F, matrices x and y, integer indices), the same code for both
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda t, F, x, y, i: x + y,
    "mul": lambda t, F, x, y, i: x * y,
    "exp": lambda t, F, x, y, i: t.exp(x),
    "sum": lambda t, F, x, y, i: x.sum(),
    "sum over columns (dim 0)": lambda t, F, x, y, i: x.sum(0),
    "sum over rows (dim 1)": lambda t, F, x, y, i: x.sum(1),
    "softmax": lambda t, F, x, y, i: t.softmax(x, 1),
    "layer_norm": lambda t, F, x, y, i: F.layer_norm(x, x.shape[1:]),
    "transposed copy": lambda t, F, x, y, i: x.t().contiguous(),
    "gather": lambda t, F, x, y, i: t.gather(x, 1, i),
    "cat": lambda t, F, x, y, i: t.cat([x, y]),
    "cumsum": lambda t, F, x, y, i: t.cumsum(x, 1),
    "sort": lambda t, F, x, y, i: t.sort(x, 1)[0],
    "argmax": lambda t, F, x, y, i: t.argmax(x, 1),
}
CHAINS: dict[str, Callable[..., Any]] = {
    "chain of 3: relu(x * y + 1)": lambda t, F, x, y, i: t.relu(x * y + 1),
    "chain of 5: tanh(x * 2 + y) * x": lambda t, F, x, y, i: t.tanh(x * 2 + y) * x - y,
}


def cases() -> Iterator[harness.Case]:
    for name, operation in OPERATIONS.items():
        for side in SIDES:
            yield _case(f"{name}, {NAMES[side]}", operation, side, 0.8 if side > 64 else None)
    for name, chain in CHAINS.items():
        for side in SIDES:
            yield _case(f"{name}, {NAMES[side]}", chain, side, 2.0 if side > 64 else None)


def _case(name: str, operation: Callable[..., Any], side: int, wanted: float | None) -> harness.Case:
    import torch

    import netcl as nc
    import netcl.nn.functional as F
    from netcl.graph.value import flush_thread

    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((side, side), dtype=np.float32) for _ in range(2))
    i = rng.integers(0, side, (side, side))
    ours = [nc.tensor(a) for a in (x, y, i)]
    theirs = [torch.tensor(a) for a in (x, y, i)]

    def netcl_call():
        result = operation(nc, F, *ours)
        flush_thread()  # enqueued; waited for at the end of the sample
        return result

    def torch_call():
        return operation(torch, torch.nn.functional, *theirs)

    np.testing.assert_allclose(netcl_call().numpy(), torch_call().numpy(), rtol=1e-3, atol=1e-3)
    return harness.Case(name, netcl_call, torch_call, wanted, finish=nc.synchronize)


if __name__ == "__main__":
    note = "A call is one operation; a sample of netcl's ends with waiting for the device."
    harness.run("operations", "Single operations and chains", cases, note)
