"""checkpoint: the same gradients, bit for bit, in less memory."""

from __future__ import annotations

import gc
from importlib import import_module

import numpy as np
import pytest

import netcl as nc
from netcl.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential

X = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)


def network(depth: int = 8, width: int = 32, drop: float = 0.0) -> nc.nn.Sequential:
    nc.manual_seed(0)
    layers: list = []
    for _ in range(depth):
        layers += [nc.nn.Linear(width, width), nc.nn.GELU(), nc.nn.Dropout(drop)]
    return nc.nn.Sequential(*layers)


def gradients(model: nc.nn.Sequential, x: nc.Tensor, segments: int) -> list[np.ndarray]:
    y = checkpoint_sequential(model, segments, x, use_reentrant=False) if segments else model(x)
    (y**2).mean().backward()
    found = [p.grad.numpy() for p in model.parameters()]
    model.zero_grad()
    return found


def peak_bytes(step, device) -> int:
    """What a step needs beyond what is there before it: the second one, which has its plan."""
    step()
    nc.synchronize()
    gc.collect()
    nc.profiler.reset_peak_memory(device)
    before = nc.profiler.memory_in_use(device)
    step()
    nc.synchronize()
    return nc.profiler.peak_memory(device) - before


@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_gradients_are_the_same_bits(place, drop):
    model, x = network(drop=drop), nc.tensor(X)
    found = []
    for segments in (0, 1, 4):
        nc.manual_seed(1)
        found.append(gradients(model, x, segments))
        after = nc.random.dropout_key()[1]
        assert after == (9 if drop else 1)  # the second run draws nothing of its own
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_deep_networks_step_needs_a_third_of_the_memory(device):
    model = network(depth=12, width=64)
    x = nc.tensor(np.random.default_rng(0).standard_normal((4096, 64)).astype(np.float32))
    activation = 4096 * 64 * 4

    def step(segments):
        y = checkpoint_sequential(model, segments, x) if segments else model(x)
        model.zero_grad()
        (y**2).mean().backward()
        nc.synchronize()

    whole = peak_bytes(lambda: step(0), x.device)
    saved = peak_bytes(lambda: step(4), x.device)
    assert 24 * activation <= whole <= 36 * activation  # of each layer the product, the GELU, and a part of it
    assert saved <= 12 * activation  # the ends of three segments, and what one of them keeps
    assert 3 * saved <= whole


def test_a_forward_that_has_run_is_computed_again(device):
    """Where the loss is read before backward, nothing of the network is kept in between."""
    model, x = network(depth=6), nc.tensor(X)
    wanted = gradients(model, x, 0)
    loss = (checkpoint(model, x) ** 2).mean()
    loss.item()
    gc.collect()
    before = nc.profiler.memory_in_use(x.device)
    loss.backward()
    for p, g in zip(model.parameters(), wanted, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), g)
    model.zero_grad()
    kept = (model(x) ** 2).mean()
    kept.item()
    gc.collect()
    assert nc.profiler.memory_in_use(x.device) >= before + 6 * X.nbytes


def test_as_pytorchs(torch, device):
    results = []
    for m in (nc, torch):
        ck = import_module(f"{m.__name__}.utils.checkpoint").checkpoint
        a, b = m.tensor(X[:4], requires_grad=True), m.tensor(X[4:8], requires_grad=True)
        scale = m.tensor(2.0, requires_grad=True)

        def function(a, pair, *, power, m=m, scale=scale):
            return (a * pair["b"]).sin() * scale, [pair["b"].exp() ** power, 3]

        first, (second, three) = ck(function, a, {"b": b}, power=2, use_reentrant=False)
        assert three == 3
        found = m.autograd.grad((first.sum() + (second * first).sum()), [a, b, scale], create_graph=True)
        again = m.autograd.grad(sum((g**2).sum() for g in found), [a, b, scale])
        results.append([t.detach().numpy() for t in (first, second, *found, *again)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def noisy(x):
    return (x * nc.rand(64, 32) + nc.nn.functional.dropout(nc.randn(64, 32)) * x.sin()) ** 2


def test_random_tensors_are_the_same_and_drawn_once(mode):
    x = nc.tensor(X, requires_grad=True)
    ways = (noisy, lambda x: checkpoint(noisy, x), lambda x: checkpoint(lambda x: checkpoint(noisy, x), x))
    found, after = [], []
    for call in ways:
        nc.manual_seed(5)
        call(x).sum().backward()
        found.append(x.grad.numpy())
        after.append(nc.rand(1).item())
        x.grad = None
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    assert len(set(after)) == 1
    nc.manual_seed(5)
    checkpoint(noisy, x, preserve_rng_state=False).sum().backward()
    assert not np.array_equal(x.grad.numpy(), found[0])


def test_in_a_compiled_function_with_dropout(device):
    steps = []
    for compiled in (False, True):
        model, x = network(depth=4, drop=0.3), nc.tensor(X)
        optimizer = nc.optim.Adam(model.parameters(), lr=1e-2)

        def step(x, model=model, optimizer=optimizer):
            loss = (checkpoint_sequential(model, 2, x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = nc.jit_compile(step) if compiled else step
        nc.manual_seed(2)
        steps.append([run(x).item() for _ in range(4)])
    assert steps[0] == steps[1]


def test_retain_graph_and_two_ways_back():
    x = nc.tensor(X, requires_grad=True)
    y = checkpoint(lambda x: x.exp().sin(), x).sum()
    y.backward(retain_graph=True)
    first = x.grad.numpy()
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * first, rtol=1e-6)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_context_fn_and_autocast_hold_in_both_runs():
    seen = []

    class Note:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            seen.append(self.name)

        def __exit__(self, *_error):
            return None

    dtypes = []

    def function(x):
        y = x @ x
        dtypes.append(y.dtype)
        return y

    x = nc.tensor(X[:8, :8], requires_grad=True)
    with nc.autocast(dtype=nc.bfloat16):
        y = checkpoint(function, x, context_fn=lambda: (Note("first"), Note("second")))
    y.float().sum().backward()
    assert seen == ["first", "second"] and dtypes == [nc.bfloat16, nc.bfloat16]


def test_without_gradients_the_function_is_just_called():
    with nc.no_grad():
        assert not checkpoint(lambda x: x * 2, nc.ones(2, requires_grad=True)).requires_grad
    assert not checkpoint(lambda x: x * 2, nc.ones(2)).requires_grad


def test_what_checkpoint_refuses():
    x = nc.tensor(X, requires_grad=True)
    runs = []

    def changing(x):
        runs.append(1)
        return x.exp() if len(runs) == 1 else x.exp().exp()

    with pytest.raises(CheckpointError, match="different number of tensors"):
        checkpoint(changing, x).sum().backward()
    runs.clear()

    def reshaped(x):
        runs.append(1)
        return (x.exp() if len(runs) == 1 else x[:2].exp()).sum()

    with pytest.raises(CheckpointError, match="different metadata"):
        checkpoint(reshaped, x).backward()
    changed = nc.tensor(X)
    y = checkpoint(lambda x, c: (x * c).exp(), x, changed).sum()
    changed.add_(1)
    with pytest.raises(RuntimeError, match="changed in place before the way back"):
        y.backward()
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(nc.exp, x, determinism_check="some")
    with pytest.raises(NotImplementedError, match="nc.draw"):
        checkpoint(nc.exp, x, debug=True)
    with pytest.raises(ValueError, match="use_reentrant=False"):
        checkpoint(lambda x, k: x, x, use_reentrant=True, k=1)
    with pytest.raises(ValueError, match="Unexpected keyword arguments: k"):
        checkpoint_sequential([nc.exp], 1, x, k=1)
