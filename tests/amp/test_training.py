"""Trained with autocast, models get where float32 gets; float16 without a scaler may not."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F

PRECISIONS = {"float32": (None, False), "bfloat16": (nc.bfloat16, False), "float16": (nc.float16, True)}


def standardized(x: np.ndarray) -> np.ndarray:
    return ((x - x.mean(0)) / (x.std(0) + 1e-6)).astype(np.float32)


def fit(model, loss_of, x, y, precision, epochs, batch, lr):
    """Trains with Adam in the order of a fixed seed."""
    dtype, scaled = PRECISIONS[precision]
    optimizer, scaler = nc.optim.Adam(model.parameters(), lr=lr), nc.amp.GradScaler(enabled=scaled)
    rng = np.random.default_rng(0)

    @nc.jit_compile
    def step(inputs, targets):
        optimizer.zero_grad()
        with nc.autocast(dtype=dtype, enabled=dtype is not None):
            loss = loss_of(model(inputs), targets)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    for _ in range(epochs):
        order = rng.permutation(len(x))
        for first in range(0, len(x) - batch + 1, batch):
            chosen = order[first : first + batch]
            step(nc.tensor(x[chosen]), nc.tensor(y[chosen]))
    return scaler


def test_digits_are_told_apart_as_well_as_in_float32(device):
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    train, test = slice(0, 1400), slice(1400, None)
    accuracy = {}
    for precision, (dtype, _) in PRECISIONS.items():
        nc.manual_seed(0)
        model = nc.nn.Sequential(nc.nn.Linear(64, 64), nc.nn.ReLU(), nc.nn.Linear(64, 10))
        fit(model, F.cross_entropy, x[train], y[train], precision, epochs=8, batch=100, lr=1e-2)
        with nc.no_grad(), nc.autocast(dtype=dtype, enabled=dtype is not None):
            found = model(nc.tensor(x[test])).argmax(1).numpy()
        accuracy[precision] = (found == y[test]).mean()
    assert accuracy["float32"] > 0.88
    assert accuracy["bfloat16"] > accuracy["float32"] - 0.015
    assert accuracy["float16"] > accuracy["float32"] - 0.015


def test_a_regression_fits_as_well_as_in_float32(device):
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_diabetes(return_X_y=True)
    x, y = standardized(x), standardized(y[:, None])
    train, test = slice(0, 352), slice(352, None)
    scores = {}
    for precision in PRECISIONS:
        nc.manual_seed(0)
        model = nc.nn.Sequential(nc.nn.Linear(10, 32), nc.nn.Tanh(), nc.nn.Linear(32, 1))
        fit(model, F.mse_loss, x[train], y[train], precision, epochs=20, batch=32, lr=3e-3)
        error = (model(nc.tensor(x[test])).detach().numpy() - y[test]) ** 2
        scores[precision] = 1 - error.sum() / ((y[test] - y[test].mean()) ** 2).sum()
    assert scores["float32"] > 0.4
    assert scores["bfloat16"] > scores["float32"] - 0.02
    assert scores["float16"] > scores["float32"] - 0.02


@pytest.mark.parametrize("scaled", [False, True])
def test_small_gradients_vanish_in_float16_without_a_scaler(device, scaled):
    """Gradients of about 1e-9, which float16 rounds to 0; Adam does not mind how small they are."""
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((64, 8)).astype(np.float32), rng.standard_normal((8, 1)).astype(np.float32)
    inputs, targets = nc.tensor(x), nc.tensor(x @ w)
    model = nc.nn.Linear(8, 1, bias=False)
    start = model.weight.detach().numpy().copy()
    optimizer = nc.optim.Adam(model.parameters(), lr=0.05, eps=1e-20)
    scaler = nc.amp.GradScaler(init_scale=2.0**24, enabled=scaled)
    for _ in range(120):
        optimizer.zero_grad()
        with nc.autocast(dtype=nc.float16):
            loss = F.mse_loss(model(inputs), targets) * 1e-8
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    found = model.weight.detach().numpy()
    if scaled:
        np.testing.assert_allclose(found, w.T, atol=0.05)
    else:
        np.testing.assert_array_equal(found, start)


def test_a_scale_that_is_too_large_comes_down_until_it_fits(device):
    w = nc.tensor(np.ones((4, 4), np.float32), requires_grad=True)
    x = nc.tensor(np.ones((2, 4), np.float32))
    optimizer, scaler = nc.optim.SGD([w], lr=1e-3), nc.amp.GradScaler(init_scale=2.0**24)
    for _ in range(12):
        optimizer.zero_grad()
        with nc.autocast(dtype=nc.float16):
            loss = (x @ w).float().sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 2.0**15  # the largest power of 2 that float16 holds, after 9 skipped steps
    np.testing.assert_allclose(w.detach().numpy(), 1 - 3 * 1e-3 * 2, atol=1e-6)
