"""Tiny training steps, reductions, products and sorts of both targets under Oclgrind: it watches every memory access.

Run by `make oclgrind`: out-of-bounds accesses and data races between work-items end up in Oclgrind's log, which has to
stay empty. (Its check for uninitialised memory crashes in version 19.10, so it is off.) At the end every writer of
kernels has to have been at work, for each target that it writes for: `WRITERS`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import netcl as nc
import netcl.nn.functional as F
from netcl import nn, optim
from netcl.codegen import (
    contraction,
    contraction_cpu,
    contraction_dot,
    contraction_gpu,
    horizontal,
    library,
    rows,
    rows_cpu,
    rows_gpu,
    tiles,
)  # fmt: skip
from netcl.core.device import target_override
from netcl.ops.losses import linear

rng = np.random.default_rng(0)

# Not among them: contraction_bf16, which is one instruction of some CPUs that Oclgrind does not have.
BOTH, CPU, GPU = {"cpu", "gpu"}, {"cpu"}, {"gpu"}
WRITERS: dict[tuple[Any, str], set[str]] = {
    (rows_cpu.CpuRows, "_all_rows"): CPU, (rows_gpu.GpuRows, "_all_rows"): GPU,
    (rows_cpu.CpuRows, "_columns"): CPU, (rows_cpu.CpuRows, "_narrower"): CPU, (rows_cpu.CpuRows, "_tiles"): CPU,
    (rows_cpu.CpuRows, "_side_by_side"): CPU, (rows_cpu.CpuRows, "_long_loop"): CPU,
    (rows_gpu.GpuRows, "_group_fold"): GPU, (rows_gpu.GpuRows, "_strided"): GPU,
    (rows.Rows, "_before"): BOTH, (rows, "partials_in"): BOTH,
    (horizontal, "_merge"): CPU,
    (contraction, "plain"): CPU, (contraction_dot, "generate"): CPU, (contraction_gpu, "generate"): GPU,
    (contraction_cpu, "generate"): CPU, (contraction_cpu, "packing"): CPU, (contraction_cpu, "unpacking"): CPU,
    (contraction_cpu, "_finish"): CPU, (contraction_cpu, "_transposing"): CPU,
}  # fmt: skip
ONE_TARGET = {
    "digit_counts": CPU, "place_by_digit": CPU, "sort_rows": CPU, "top_words": CPU, "merge_runs": GPU,
    "sort_blocks": GPU,
}  # fmt: skip
seen: dict[str, set[str]] = {}


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


def rows_of_all_kinds() -> None:
    """Columns side by side, long rows, what is left over, maps that transpose, indices in memory, small totals."""
    x, wide = host(20, 70), host(3, 1500)
    places = nc.tensor(rng.integers(0, 70, (20, 33)))
    np.testing.assert_allclose(x.sum(0).numpy(), x.numpy().sum(0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose((wide * 2).sum(1).numpy(), wide.numpy().sum(1) * 2, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(x.t().contiguous().numpy(), x.numpy().T)
    np.testing.assert_array_equal(x.gather(1, places).numpy(), np.take_along_axis(x.numpy(), places.numpy(), 1))
    for result in (wide.softmax(1), wide.log_softmax(1), F.embedding(places, x.t()), F.pad(x, (3, 0, 1, 2)), x.var()):
        result.numpy()


def lose() -> None:
    """Losses: of classes with all options, a class that does not exist, chunks of a layer, labels by lists."""
    x, y, weight = host(40, 7, requires_grad=True), nc.tensor(rng.integers(0, 7, 40)), host(7).abs()
    for options in ({"weight": weight}, {"reduction": "none"}, {"lse_square_scale": 0.1, "label_smoothing": 0.2}):
        F.cross_entropy(x, y, ignore_index=1, **options).sum().backward()
    loss = F.cross_entropy(x, y)
    loss.item(), loss.backward()  # the way back by itself
    F.cross_entropy(x, host(40, 7).softmax(1)).backward()
    F.nll_loss(x.reshape(5, 7, 8), y.reshape(5, 8)).backward()
    F.binary_cross_entropy_with_logits(x, host(40, 7).sigmoid(), pos_weight=weight).backward()
    F.multilabel_margin_loss(x[:3], nc.tensor([[3, 0, -1, 1, 1, 1, 1]] * 3)).backward()
    F.multi_margin_loss(x, y).backward()
    layer, bias = host(7, 5, requires_grad=True), host(7, requires_grad=True)
    F.linear_cross_entropy(x[:, :5], layer, y, bias).backward()
    for found in (x, layer, bias):
        assert np.isfinite(found.grad.numpy()).all()
    try:
        F.cross_entropy(x, y + 5).item()
    except IndexError:
        pass
    else:
        raise AssertionError("class 11 of 7")


def multiply() -> None:
    b = host(3, 20, 18)
    expected = (b.numpy().astype(np.float64) @ b.numpy().swapaxes(1, 2)).sum()
    np.testing.assert_allclose((b @ b.mT).sum().item(), expected, rtol=1e-4)
    (b.half() @ b.half().mT).float().sum().item()
    (b.bfloat16() * 2).sum().item()
    whole = (b * 9).long()
    np.testing.assert_array_equal((whole @ whole.mT).numpy(), whole.numpy() @ whole.numpy().swapaxes(1, 2))
    few, other = host(2, 40), host(5, 40)
    np.testing.assert_allclose((few @ other.t()).numpy(), few.numpy() @ other.numpy().T, rtol=1e-3, atol=1e-4)
    (b.bfloat16() @ b.bfloat16().mT).sum().item()


def multiply_in_blocks() -> None:
    """As large products are: in parts of k, packed, transposed in registers, with work for every core."""
    for m, k, n in ((13, 37, 70), (9, 24, 5), (6, 70, 48)):
        for a in (host(m, k), host(k, m).t(), host(m, k).half()):
            for b in (host(k, n), host(n, k).t()):
                exact = a.double().numpy() @ b.to(a.dtype).double().numpy()
                product = (a @ b.to(a.dtype)).float().numpy()
                np.testing.assert_allclose(product, exact, rtol=2e-3, atol=2e-2)


def scan_and_sort() -> None:
    x = host(3, 45, requires_grad=True)
    x.cumprod(1).sum().backward()
    x.grad.numpy()
    x = x.detach()
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


# ---- what has been at work -----------------------------------------------------------------------------------------


def watched(name: str, function: Callable, target: list[str]) -> Callable:
    def write(*arguments: Any, **options: Any) -> Any:
        seen.setdefault(name, set()).add(target[0])
        return function(*arguments, **options)

    return write


@contextmanager
def blocks_of_a_few() -> Iterator[None]:
    """Tiles and blocks so small that small products are cut as large ones are."""
    shapes = (2, 2), (3, 1), (1, 2)
    small = tiles.CpuTile(16, shapes, depth=12, column_depth=8, block_rows=4, pack_rows=4, pack_depth=8)
    before = tiles.CPU.copy(), contraction_cpu._worth_transposing, linear.CHUNK
    tiles.CPU.update(dict.fromkeys(tiles.CPU, small))
    contraction_cpu._worth_transposing = lambda product, plan: True
    linear.CHUNK = 1  # 32 rows
    try:
        yield
    finally:
        tiles.CPU.update(before[0])
        contraction_cpu._worth_transposing, linear.CHUNK = before[1:]


def missing(wanted: dict[str, set[str]]) -> list[str]:
    return [f"{name} for {target}" for name, kinds in wanted.items() for target in kinds - seen.get(name, set())]


def main(device: str) -> None:
    now = [""]
    wanted = {name: ONE_TARGET.get(name, BOTH) for name in library.WRITERS}
    for name, writer in library.WRITERS.items():
        library.WRITERS[name] = watched(name, writer, now)
    for (where, name), kinds in WRITERS.items():
        label = f"{where.__name__.split('.')[-1]}.{name}"
        setattr(where, name, watched(label, getattr(where, name), now))
        wanted[label] = kinds
    for target in ("cpu", "gpu"):
        now[0] = target
        with nc.device(device), target_override(target):
            nc.manual_seed(0)
            for case in (train, reduce, rows_of_all_kinds, multiply, scan_and_sort, index, align):
                case()
            with blocks_of_a_few():
                multiply_in_blocks()
                lose()
        print(f"{target}: done")
    if missing(wanted):
        sys.exit(f"no case for: {', '.join(missing(wanted))}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "oclgrind")
