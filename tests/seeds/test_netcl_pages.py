"""netcl's own pages of mse_loss and CrossEntropyLoss: their examples, their training steps on real data."""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import blocks
import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.data import DataLoader, TensorDataset

MSE = """
import netcl as nc
import netcl.nn.functional as F

pred   = nc.Tensor.from_host(numpy_pred)         # shape (N, C)
target = nc.Tensor.from_host(numpy_target)       # shape (N, C)

loss = F.mse_loss(pred, target, reduction="mean")
loss.backward()
"""

MSE_STEP = """
optimizer = opt.Adam(model.parameters(), lr=1e-3)
for x, y in dataloader:
    optimizer.zero_grad()
    pred = model(x)
    loss = F.mse_loss(pred, y)
    loss.backward()
    optimizer.step()
"""

PER_EXAMPLE = """
per_example = F.mse_loss(pred, target, reduction="none")
"""

CROSS_ENTROPY = """
import netcl as nc
import netcl.nn.functional as F

logits = nc.Tensor.from_host(numpy_logits)        # shape (N, C)
target = nc.Tensor.from_host(numpy_target)        # shape (N,), int64

loss = F.cross_entropy(logits, target, reduction="mean")
loss.backward()
"""

CROSS_ENTROPY_STEP = """
optimizer = opt.Adam(model.parameters(), lr=1e-3)
for x, y in dataloader:
    optimizer.zero_grad()
    logits = model(x)
    loss = F.cross_entropy(logits, y)
    loss.backward()
    optimizer.step()
"""

PADDING = """
loss = F.cross_entropy(logits, target,
                       reduction="mean", ignore_index=0)
# examples with target == 0 contribute zero to the loss
"""


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages call backward() on a loss of tensors just uploaded, which has no graph (see the test below). Here those
    have gradients, as a model's predictions do; targets get them too, where they are floats."""
    upload = nc.Tensor.from_host

    def from_host(array: Any, *args: Any, **options: Any) -> nc.Tensor:
        result = upload(array, *args, **options)
        return result.requires_grad_() if result.is_floating_point() else result

    monkeypatch.setattr(nc.Tensor, "from_host", staticmethod(from_host))


def test_backward_without_anything_to_learn_says_so():
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        blocks.run(MSE, {"numpy_pred": np.ones((2, 3), np.float32), "numpy_target": np.ones((2, 3), np.float32)})


def digits(one_hot: bool) -> tuple[Any, np.ndarray, np.ndarray]:
    """A loader over scikit-learn's handwritten digits, and the last 297 images and labels, which are held out."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x, y = (data.data / 16).astype(np.float32), data.target.astype(np.int64)
    targets = np.eye(10, dtype=np.float32)[y] if one_hot else y
    nc.manual_seed(0)
    loader = DataLoader(TensorDataset(nc.tensor(x[:1500]), nc.tensor(targets[:1500])), batch_size=25, shuffle=True)
    return loader, x[1500:], y[1500:]


def trained(step: str, one_hot: bool) -> tuple[list[float], float]:
    """The page's training step, six times over the data: the last loss of each pass, and the accuracy held out."""
    loader, x, y = digits(one_hot)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    losses = []
    for _ in range(6):
        names, _ = blocks.run(step, {"opt": nc.optim, "F": F, "model": model, "dataloader": loader})
        losses.append(names["loss"].item())
    with nc.no_grad():
        return losses, float((model(nc.tensor(x)).argmax(1).numpy() == y).mean())


def test_mse_loss_and_its_gradient(device, predicted):
    draws = np.random.default_rng(0)
    a, b = draws.standard_normal((6, 3)).astype(np.float32), draws.standard_normal((6, 3)).astype(np.float32)
    names, _ = blocks.run(MSE, {"numpy_pred": a, "numpy_target": b})
    np.testing.assert_allclose(names["loss"].item(), ((a - b) ** 2).mean(), rtol=1e-6)
    np.testing.assert_allclose(names["pred"].grad.numpy(), 2 * (a - b) / 18, rtol=1e-5)
    names, _ = blocks.run(PER_EXAMPLE, names)
    # The page says both "of the same shape as the prediction" and "(N,)". netcl takes the first, as PyTorch does.
    assert names["per_example"].shape == (6, 3)
    # Its formula divides by the batch only, its text by the whole shape: "mean" is the second, "batchmean" the first.
    np.testing.assert_allclose(
        F.mse_loss(nc.tensor(a), nc.tensor(b), reduction="batchmean").item(), ((a - b) ** 2).sum() / 6, rtol=1e-6
    )


def test_cross_entropy_and_its_gradient(device, predicted):
    draws = np.random.default_rng(0)
    z, y = draws.standard_normal((6, 4)).astype(np.float32), np.array([0, 1, 2, 3, 0, 2])
    names, _ = blocks.run(CROSS_ENTROPY, {"numpy_logits": z, "numpy_target": y})
    p = np.exp(z.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(names["loss"].item(), -np.log(p[np.arange(6), y]).mean(), rtol=1e-6)
    np.testing.assert_allclose(names["logits"].grad.numpy(), (p - np.eye(4)[y]) / 6, rtol=1e-4, atol=1e-7)
    names, _ = blocks.run(PADDING, names)
    kept = y != 0  # the mean is over those that are kept
    np.testing.assert_allclose(names["loss"].item(), -np.log(p[np.arange(6), y])[kept].mean(), rtol=1e-6)


def test_the_training_step_with_mse_loss_learns_digits(device):
    losses, accuracy = trained(MSE_STEP, one_hot=True)
    assert losses[-1] < 0.05 < losses[0]
    assert accuracy > 0.8


def test_the_training_step_with_cross_entropy_learns_digits(device):
    losses, accuracy = trained(CROSS_ENTROPY_STEP, one_hot=False)
    assert losses[-1] < 0.8 < losses[0]
    assert accuracy > 0.8


def test_everything_is_where_the_pages_say():
    import netcl.autograd.ops
    import netcl.nn.loss
    import netcl.ops.fused_ops
    import netcl.ops.reduction

    for place in (netcl.nn.loss, F, netcl.autograd.ops, netcl.ops.reduction):
        assert unwrap(place.mse_loss) is unwrap(F.mse_loss)
    for place in (netcl.nn.loss, F, netcl.autograd.ops, netcl.ops.fused_ops):
        assert unwrap(place.cross_entropy) is unwrap(F.cross_entropy)
    assert nn.CrossEntropyLoss is netcl.nn.loss.CrossEntropyLoss and nn.MSELoss is netcl.nn.loss.MSELoss
    assert F.nll_loss is not None


def test_the_chain_that_the_page_calls_slow_gives_the_same():
    draws = np.random.default_rng(0)
    logits, y = nc.tensor(draws.standard_normal((6, 4)).astype(np.float32)), nc.tensor([0, 1, 2, 3, 0, 2])
    chain = -F.log_softmax(logits, 1).gather(1, y[:, None]).mean()
    np.testing.assert_allclose(chain.item(), F.cross_entropy(logits, y).item(), rtol=1e-6)


def test_the_tape_holds_the_loss():
    pred = nc.ones(3, requires_grad=True)
    with nc.Tape() as tape:
        F.mse_loss(pred, nc.zeros(3))
    assert [node.op_name for node in tape.nodes] == ["mse_loss"]
