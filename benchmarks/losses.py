"""mse_loss and cross_entropy, forward and backward, from a few thousand elements to 32 million."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import harness

MSE_SIZES = ((4096, "4K"), (65536, "64K"), (1 << 20, "1M"), (32 << 20, "32M"))
MSE_WANTED = {"1M": 3.0, "32M": 3.0}
CROSS_ENTROPY_SIZES = ((64, 1000), (4096, 1000), (2048, 32000), (512, 128256))
CROSS_ENTROPY_WANTED = {(2048, 32000): 4.0}
LINEAR_SIZES = ((1024, 512, 32000),)  # tokens, features, classes


def cases() -> Iterator[harness.Case]:
    import torch
    import torch.nn.functional as TF

    import netcl as nc
    import netcl.nn.functional as F

    rng = np.random.default_rng(0)
    for size, name in MSE_SIZES:
        x, y = (rng.standard_normal(size, dtype=np.float32) for _ in range(2))
        yield _case(f"mse, {name} elements", nc, torch, F.mse_loss, TF.mse_loss, x, y, MSE_WANTED.get(name))
    for shape in CROSS_ENTROPY_SIZES:
        logits = rng.standard_normal(shape, dtype=np.float32)
        classes = rng.integers(0, shape[1], shape[0])
        yield _case(
            f"cross-entropy, {shape[0]} x {shape[1]}", nc, torch, F.cross_entropy, TF.cross_entropy, logits, classes,
            CROSS_ENTROPY_WANTED.get(shape),
        )  # fmt: skip


    for rows, features, classes in LINEAR_SIZES:
        x = rng.standard_normal((rows, features), dtype=np.float32)
        weight = rng.standard_normal((classes, features), dtype=np.float32) * 0.05
        yield _linear_case(nc, torch, F, TF, x, weight, rng.integers(0, classes, rows))


def _linear_case(nc, torch, F, TF, x: np.ndarray, weight: np.ndarray, classes: np.ndarray) -> harness.Case:
    """linear_cross_entropy against PyTorch's linear and cross_entropy."""
    from netcl.graph.value import flush_thread

    ours = [nc.tensor(a, requires_grad=True) for a in (x, weight)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, weight)]
    targets = nc.tensor(classes), torch.tensor(classes)

    def netcl_step() -> None:
        ours[0].grad = ours[1].grad = None
        F.linear_cross_entropy(*ours, targets[0]).backward()
        flush_thread()

    def torch_step() -> None:
        theirs[0].grad = theirs[1].grad = None
        TF.cross_entropy(TF.linear(*theirs), targets[1]).backward()

    netcl_step()
    torch_step()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-3, atol=1e-6)
    (rows, features), count = x.shape, weight.shape[0]
    name = f"linear cross-entropy, {rows} x {features} -> {count}"
    return harness.Case(name, netcl_step, torch_step, 0.91, finish=nc.synchronize)


def _case(name: str, nc, torch, loss, torch_loss, x: np.ndarray, y: np.ndarray, wanted: float | None) -> harness.Case:
    from netcl.graph.value import flush_thread

    ours, our_target = nc.tensor(x, requires_grad=True), nc.tensor(y)
    theirs, their_target = torch.tensor(x, requires_grad=True), torch.tensor(y)

    def netcl_step() -> None:
        ours.grad = None
        value = loss(ours, our_target)
        value.backward()
        flush_thread()  # what optimizer.step() ends with: enqueues, does not wait

    def torch_step() -> None:
        theirs.grad = None
        value = torch_loss(theirs, their_target)
        value.backward()

    netcl_step()
    nc.synchronize()
    torch_step()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-4, atol=1e-7)
    return harness.Case(name, netcl_step, torch_step, wanted, finish=nc.synchronize)


if __name__ == "__main__":
    harness.run(
        "losses", "Losses, forward and backward", cases,
        "A call computes the loss and its gradient; a sample of netcl's ends with waiting for the device, as a "
        "training loop does when it reads a value.",
    )  # fmt: skip
