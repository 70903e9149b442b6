"""Whole training steps of small networks: forward, loss, backward, Adam."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

import harness

STEPS = 20  # in one call: a training loop does not read the loss at each step
NETWORKS = (((64, 128, 128, 10), 32, 1.5), ((784, 512, 512, 10), 128, 0.8))


def cases() -> Iterator[harness.Case]:
    for sizes, batch, wanted in NETWORKS:
        yield _case(sizes, batch, wanted)


def network(nn, sizes: tuple[int, ...]):
    """Linear layers with ReLU between them: the same code for netcl.nn and torch.nn."""
    layers = []
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        layers += [nn.ReLU()] * (number > 0) + [nn.Linear(inputs, outputs)]
    return nn.Sequential(*layers)


def training(library, nn, optim, F, sizes: tuple[int, ...], x, y):
    """A function that does STEPS training steps; the same code for both libraries."""
    library.manual_seed(0)
    model = network(nn, sizes)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    def train():
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        return loss

    return train


def _case(sizes: tuple[int, ...], batch: int, wanted: float) -> harness.Case:
    import torch

    import netcl as nc
    import netcl.nn.functional as F

    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, sizes[0]), dtype=np.float32)
    y = rng.integers(0, sizes[-1], batch)
    ours = training(nc, nc.nn, nc.optim, F, sizes, nc.tensor(x), nc.tensor(y))
    theirs = training(torch, torch.nn, torch.optim, torch.nn.functional, sizes, torch.tensor(x), torch.tensor(y))
    np.testing.assert_allclose(ours().item(), theirs().item(), rtol=0.01)  # they started from the same numbers
    name = f"MLP {'-'.join(map(str, sizes))}, batch {batch}, Adam"
    return harness.Case(name, ours, theirs, wanted, finish=nc.synchronize, steps=STEPS)


if __name__ == "__main__":
    note = f"Times are for one step; the device is waited for every {STEPS} steps."
    harness.run("mlp", "Whole training steps", cases, note)
