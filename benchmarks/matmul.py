"""Square float32 matrix products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import harness

SIZES = (64, 128, 256, 512, 1024, 1536, 2048)


def cases() -> Iterator[harness.Case]:
    import torch

    import netcl as nc

    rng = np.random.default_rng(0)
    for n in SIZES:
        a, b = (rng.standard_normal((n, n), dtype=np.float32) for _ in range(2))
        yield _case(n, nc, torch, a, b)


def _case(n: int, nc, torch, a: np.ndarray, b: np.ndarray) -> harness.Case:
    ours, theirs = (nc.tensor(a), nc.tensor(b)), (torch.tensor(a), torch.tensor(b))

    def netcl_step():
        product = ours[0] @ ours[1]
        nc.synchronize()
        return product

    def torch_step():
        return theirs[0] @ theirs[1]

    np.testing.assert_allclose(netcl_step().numpy(), torch_step().numpy(), rtol=1e-3, atol=1e-3)
    return harness.Case(f"{n} x {n} x {n}", netcl_step, torch_step, 0.8 if n >= 512 else None, 2.0 * n**3)


if __name__ == "__main__":
    harness.run("matmul", "Matrix products, float32", cases, "A call is one product, and waiting for it.")
