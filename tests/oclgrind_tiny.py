"""Tiny training steps, reductions, products and sorts of both targets under Oclgrind: it watches every memory access.

Run by `make oclgrind`: out-of-bounds accesses and data races between work-items end up in Oclgrind's log, which has to
stay empty. (Its check for uninitialised memory crashes in version 19.10, so it is off.)
"""

from __future__ import annotations

import numpy as np

import netcl as nc
import netcl.nn.functional as F
from netcl import nn, optim
from netcl.core.device import target_override

rng = np.random.default_rng(0)


def host(*shape: int, requires_grad: bool = False) -> nc.Tensor:
    return nc.Tensor.from_host(rng.standard_normal(shape).astype(np.float32), requires_grad=requires_grad)


def train() -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.LayerNorm(7), nn.Dropout(0.5), nn.Linear(7, 3))
    optimizer = optim.Adam(model.parameters())
    x, y = host(4, 5), nc.tensor([0, 1, 2, 1])
    for _ in range(2):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        assert np.isfinite(loss.item())


def reduce() -> None:
    a = host(6, 37, requires_grad=True)
    F.mse_loss(a, host(6, 37)).backward()
    a.grad.numpy()
    a = a.detach()
    strided = (a.t()[::2].exp().sum(), a[1:4, ::3].std(1), a.flip(1).amax(0))
    for result in (F.softmax(a, 0), a.sum(0), a.argmax(1), *strided):
        result.numpy()
    np.testing.assert_allclose(host(70_000).mean().item(), 0, atol=0.02)


def multiply() -> None:
    b = host(3, 20, 18)
    expected = (b.numpy().astype(np.float64) @ b.numpy().swapaxes(1, 2)).sum()
    np.testing.assert_allclose((b @ b.mT).sum().item(), expected, rtol=1e-4)
    (b.half() @ b.half().mT).float().sum().item()
    (b.bfloat16() * 2).sum().item()


def scan_and_sort() -> None:
    x = host(3, 45)
    x.cumsum(0).numpy(), x.t().cumsum(0).numpy(), x.abs().cumprod(1).numpy(), x.cummax(1).indices.numpy()
    host(8_200).cumsum(0).numpy()  # in two blocks
    for tensor in (x, host(2, 20), host(3_000), (x * 9).long(), x.t().half()):
        found = tensor.sort(-1)
        np.testing.assert_array_equal(found.values.numpy(), np.sort(tensor.numpy(), -1))
        found.indices.numpy()
    host(17_000).sort().values.numpy()  # in two chunks
    host(17_000).topk(3).values.numpy(), x.topk(4).values.numpy()
    values, _, counts = (x * 2).int().unique(return_inverse=True, return_counts=True)
    values.numpy(), counts.numpy(), nc.searchsorted(values, nc.tensor([0, 5], dtype=nc.int32)).numpy()


def index() -> None:
    """Fewer and more columns than work-items, several blocks of indices, sums in parts, pieces with strides."""
    x, places = host(9, 37, requires_grad=True), nc.tensor(rng.integers(-9, 9, 40))
    (x[places] * 2).sum().backward()
    x.grad.numpy()
    x = x.detach()
    flat = nc.tensor(rng.integers(0, 1500, 2100))
    rows = host(1500).index_add(0, flat, host(2100)), host(2).index_add(0, flat % 2, host(2100))
    joined = nc.cat([x, x[:4], x.flip(0)]), nc.cat([x.t(), x.t()[:, :2]], 1), nc.stack([x, x], -1)
    mask = nc.tensor(x.numpy() > 0)  # Oclgrind stores 255 for true where vectors are compared
    for result in (*rows, *joined, x[mask], x.scatter(1, nc.tensor([[3], [36]]), 1.0), x.masked_scatter(mask, x)):
        result.numpy()


def align() -> None:
    """Sequences of several lengths, one without symbols, one that no alignment fits; targets padded and joined."""
    x = host(5, 4, 3, requires_grad=True)
    for targets in (nc.tensor([[1, 1], [2, 0], [0, 0], [1, 2]]), nc.tensor([1, 1, 2, 1, 2])):
        loss = F.ctc_loss(F.log_softmax(x, 2), targets, [5, 4, 3, 1], [2, 1, 0, 2], reduction="none")
        loss.sum().backward()
        assert np.isfinite(x.grad.numpy()).all()
    F.ctc_loss(host(3, 1, 40), nc.tensor(rng.integers(1, 40, (1, 300))), [3], [300]).item()  # more states than items


if __name__ == "__main__":
    for target in ("cpu", "gpu"):
        with nc.device("oclgrind"), target_override(target):
            nc.manual_seed(0)
            train()
            reduce()
            multiply()
            scan_and_sort()
            index()
            align()
        print(f"{target}: done")
