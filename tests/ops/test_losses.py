"""mse_loss and cross_entropy with every option, at every magnitude, in every dtype, against PyTorch."""

import itertools
import warnings

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F


def agree(actual, expected, rtol=2e-5, atol=2e-6) -> None:
    assert tuple(actual.shape) == tuple(expected.shape)
    got, want = actual.detach().double().numpy(), expected.detach().double().numpy()
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, equal_nan=True)


def compare(ours, theirs, a, b, **tolerance) -> None:
    """Values and gradients; starts from numbers other than 1 so that the incoming gradient counts."""
    agree(ours, theirs, **tolerance)
    start = np.random.default_rng(9).uniform(0.5, 2, tuple(theirs.shape))
    ours.backward(nc.tensor(start).to(ours.dtype))
    theirs.backward(theirs.new_tensor(start))
    agree(a.grad, b.grad, **tolerance)
    assert a.grad.dtype is a.dtype


SHAPES = [((5, 3), (5,)), ((3,), ()), ((4, 3, 2), (4, 2)), ((2, 3, 2, 5), (2, 2, 5)), ((40, 67), (40,)), ((3, 1), (3,))]


def test_cross_entropy_of_indices_with_every_option_equals_pytorch(place, torch):
    draws = np.random.default_rng(0)
    for shape, own in SHAPES:
        x = (draws.standard_normal(shape) * 3).astype(np.float32)
        classes = shape[0] if len(shape) == 1 else shape[1]
        labels = draws.integers(0, classes, own)
        weight = draws.uniform(0.1, 2, classes).astype(np.float32)
        cases = list(itertools.product(("mean", "sum", "none"), (None, weight), (-100, 1), (0.0, 0.2)))
        cases = cases[:: 2 if shape == (5, 3) else 7]
        for reduction, w, ignore, smoothing in cases:
            a, b = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
            options = {"reduction": reduction, "ignore_index": ignore, "label_smoothing": smoothing}
            ours = F.cross_entropy(a, nc.tensor(labels), None if w is None else nc.tensor(w), **options)
            theirs = torch.nn.functional.cross_entropy(
                b, torch.tensor(labels), None if w is None else torch.tensor(w), **options
            )
            compare(ours, theirs, a, b)


def test_cross_entropy_of_probabilities_equals_pytorch(place, torch):
    draws = np.random.default_rng(1)
    for shape, _ in SHAPES[:5]:
        x = (draws.standard_normal(shape) * 3).astype(np.float32)
        axis = 0 if len(shape) == 1 else 1
        q = draws.uniform(0, 1, shape)
        q = (q / q.sum(axis, keepdims=True)).astype(np.float32)
        w = draws.uniform(0.1, 2, shape[axis]).astype(np.float32)
        for reduction, weight, smoothing in (("mean", w, 0.0), ("sum", None, 0.3), ("none", w, 0.3)):
            a, b = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
            p, r = nc.tensor(q, requires_grad=True), torch.tensor(q, requires_grad=True)
            options = {"reduction": reduction, "label_smoothing": smoothing}
            ours = F.cross_entropy(a, p, None if weight is None else nc.tensor(weight), **options)
            theirs = torch.nn.functional.cross_entropy(
                b, r, None if weight is None else torch.tensor(weight), **options
            )
            compare(ours, theirs, a, b)
            agree(p.grad, r.grad)


def test_cross_entropy_is_exact_at_any_magnitude_and_lets_nan_through(target, mode, torch):
    inf = np.inf
    rows = np.array(
        [
            [1e4, -1e4, 0],
            [-1e4, 1e4, 1e4],
            [1e4, 1e4, 1e4],
            [-inf, 0, 1],
            [0, -inf, -inf],
            [np.nan, 0, 1],
            [inf, 0, 0],
            [88, -88, 3],
            [-inf, -inf, -inf],
            [1e-8, 0, 0],
            [3e38, -3e38, 0],
        ],
        np.float32,
    )
    for labels in (np.zeros(11, np.int64), np.ones(11, np.int64), np.full(11, 2), np.arange(11) % 3):
        for smoothing in (0.0, 0.1):
            a, b = nc.tensor(rows, requires_grad=True), torch.tensor(rows, requires_grad=True)
            ours = F.cross_entropy(a, nc.tensor(labels), reduction="none", label_smoothing=smoothing)
            theirs = torch.nn.functional.cross_entropy(
                b, torch.tensor(labels), reduction="none", label_smoothing=smoothing
            )
            agree(ours, theirs)
            ours.sum().backward()
            theirs.sum().backward()
            agree(a.grad, b.grad)


def test_rows_that_are_ignored_count_nothing_and_none_kept_gives_nan(torch):
    x = np.random.default_rng(2).standard_normal((4, 3)).astype(np.float32)
    for labels in ([0, -100, 2, -100], [-100] * 4):
        for reduction in ("mean", "sum", "none"):
            a, b = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
            ours = F.cross_entropy(a, nc.tensor(labels), reduction=reduction)
            theirs = torch.nn.functional.cross_entropy(b, torch.tensor(labels), reduction=reduction)
            agree(ours, theirs)
            ours.sum().backward()
            theirs.sum().backward()
            agree(a.grad, b.grad)


def test_losses_of_narrow_floats_accumulate_in_float32(device, torch):
    draws = np.random.default_rng(3)
    x, y, labels = draws.standard_normal((64, 50)), draws.standard_normal((64, 50)), draws.integers(0, 50, 64)
    for name, limit in (("float16", 2e-3), ("bfloat16", 1.6e-2), ("float64", 1e-12)):
        a, target = nc.tensor(x).to(getattr(nc, name)).requires_grad_(), nc.tensor(y).to(getattr(nc, name))
        b, goal = a.detach().double().numpy(), target.double().numpy()
        b, goal = torch.tensor(b, requires_grad=True), torch.tensor(goal)
        wide = nc.float64 if name == "float64" else nc.float32
        loss = F.mse_loss(a, target)
        assert loss.dtype is wide
        exact = torch.nn.functional.mse_loss(b, goal)
        agree(loss, exact, rtol=min(limit, 1e-6), atol=0)  # exact in the given numbers: only the gradients are rounded
        loss.backward()
        exact.backward()
        agree(a.grad, b.grad, rtol=limit, atol=limit * 1e-2)
        a.grad = b.grad = None
        loss, exact = F.cross_entropy(a, nc.tensor(labels)), torch.nn.functional.cross_entropy(b, torch.tensor(labels))
        assert loss.dtype is wide
        agree(loss, exact, rtol=min(limit, 1e-6), atol=0)
        loss.backward()
        exact.backward()
        agree(a.grad, b.grad, rtol=limit, atol=limit * 1e-2)
        assert a.grad.dtype is a.dtype
    ones = nc.full((70_000,), 2.0, dtype=nc.float16)
    assert F.mse_loss(ones, ones * 0, reduction="sum").item() == 280_000.0  # float16 ends at 65504


def test_mse_loss_with_every_reduction_and_broadcast_equals_pytorch(place, torch):
    draws = np.random.default_rng(4)
    for shape, other in (((6, 5), (6, 5)), ((7,), (7,)), ((), ()), ((3, 4), (4,)), ((3, 1), (3,)), ((2, 3, 17), (1,))):
        x, y = draws.standard_normal(shape).astype(np.float32), draws.standard_normal(other).astype(np.float32)
        for reduction in ("mean", "sum", "none"):
            a, b = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
            p, r = nc.tensor(y, requires_grad=True), torch.tensor(y, requires_grad=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compare(F.mse_loss(a, p, reduction), torch.nn.functional.mse_loss(b, r, reduction=reduction), a, b)
            agree(p.grad, r.grad)
    x, y = draws.standard_normal((6, 5)).astype(np.float32), draws.standard_normal((6, 5)).astype(np.float32)
    assert F.mse_loss(nc.tensor(x), nc.tensor(y), reduction=None).shape == (6, 5)
    assert F.mse_loss(nc.tensor(x), nc.tensor(y), "batchmean").item() == pytest.approx(
        ((x - y) ** 2).sum() / 6, rel=1e-6
    )
    assert F.cross_entropy(nc.tensor(x), nc.tensor([0] * 6), reduction=None).shape == (6,)
    mixed = F.mse_loss(nc.tensor(x), nc.tensor(y.astype(np.float64)))
    assert mixed.dtype is nc.float64
    np.testing.assert_allclose(mixed.item(), ((x - y.astype(np.float64)) ** 2).mean(), rtol=1e-12)
    with pytest.warns(UserWarning, match="broadcast"):
        wide = F.mse_loss(nc.tensor(x), nc.tensor(np.float64(1)))
    assert wide.dtype is nc.float64
    np.testing.assert_allclose(wide.item(), ((x.astype(np.float64) - 1) ** 2).mean(), rtol=1e-12)


def test_dropout_keeps_the_expectation_and_its_gradient_uses_the_same_mask(place):
    nc.manual_seed(0)
    x = nc.ones(400, 257, requires_grad=True)
    y = F.dropout(x, 0.25)
    y.sum().backward()
    kept = y.detach().numpy() != 0
    assert abs(kept.mean() - 0.75) < 0.005
    np.testing.assert_allclose(y.detach().numpy()[kept], 1 / 0.75, rtol=1e-6)
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())
    assert (F.dropout(x, 0.25).detach().numpy() != y.detach().numpy()).any()
    nc.manual_seed(0)
    np.testing.assert_array_equal(F.dropout(x, 0.25).detach().numpy(), y.detach().numpy())
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(nc.zeros(0, 3)).shape == (0, 3)
    assert F.dropout(x, 1.0).sum().item() == 0
