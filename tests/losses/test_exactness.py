"""Losses at the edges: every magnitude, infinities and NaN, no rows, one class, narrow floats, strides, equal bits."""

from __future__ import annotations

from typing import Any

import loss_cases as lc
import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F

inf, nan = np.inf, np.nan
SCALES = np.array([1e-30, 1e-20, 1e-10, 1e-4, 1e-2, 1.0, 30.0, 1e2, 1e4, 1e10, 1e20, 1e30])


def spread(draws: Any, *shape: int) -> np.ndarray:
    """Numbers of both signs over all magnitudes, as float32 holds them."""
    scales = draws.choice(SCALES, shape)
    return (scales * draws.uniform(1, 2, shape) * draws.choice([-1, 1], shape)).astype(np.float32)


def close(actual: Any, expected: Any, what: str = "", rtol: float = 1e-6, atol: float = 1e-37) -> None:
    """Equal but for float32's rounding; what float32 cannot hold is infinite, or 0."""
    with np.errstate(over="ignore"):
        want = np.asarray(expected, np.float64).astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(np.asarray(actual, np.float64), want, rtol=rtol, atol=atol, equal_nan=True, err_msg=what)


def gradient(loss: nc.Tensor, x: nc.Tensor) -> np.ndarray:
    (found,) = nc.autograd.grad(loss.sum(), x)
    return found.numpy()


def test_losses_of_errors_hold_at_any_magnitude(device):
    x, y = spread(np.random.default_rng(0), 400), np.zeros(400, np.float32)
    a, b = nc.tensor(x, requires_grad=True), nc.tensor(y)
    e = x.astype(np.float64)
    size = np.abs(e)
    small, log_size = np.minimum(size, 1.0), size - np.log(2) + np.log1p(np.exp(-2 * size))
    series = np.where(size < 1e-2, small**2 / 2 - small**4 / 12, np.log(np.cosh(small)))
    wanted = {
        F.l1_loss: (size, np.sign(e)),
        F.smooth_l1_loss: (np.where(size < 1, e * e / 2, size - 0.5), np.clip(e, -1, 1)),
        F.huber_loss: (np.where(size <= 1, e * e / 2, size - 0.5), np.clip(e, -1, 1)),
        F.mse_loss: (e * e, 2 * e),
        F.log_cosh_loss: (np.where(size < 1, series, log_size), np.tanh(e)),
    }
    found = {}
    for loss in wanted:
        value = loss(a, b, reduction="none")
        found[loss] = value, nc.autograd.grad(value.sum(), a)[0]
    for loss, (value, slope) in wanted.items():
        close(found[loss][0].detach().numpy(), value, loss.__name__, 1e-6, 1e-36)
        close(found[loss][1].numpy(), slope, loss.__name__, 1e-6, 1e-36)


def test_binary_losses_hold_at_any_magnitude(device):
    mp = pytest.importorskip("mpmath")
    draws = np.random.default_rng(1)
    x = np.concatenate([spread(draws, 60), np.float32([-1e4, 1e4, -104.0, 104.0, 88.0, -88.0, 17.0, -17.0])])
    a = nc.tensor(x, requires_grad=True)
    yes, no = nc.ones(len(x)), nc.zeros(len(x))
    with mp.workdps(60):
        softplus = np.array([float(mp.log1p(mp.exp(mp.mpf(float(v))))) if v < 1e9 else float(v) for v in x])
        minus = np.array([float(mp.log1p(mp.exp(-mp.mpf(float(v))))) if v > -1e9 else -float(v) for v in x])
        logistic = np.array([float(1 / (1 + mp.exp(-mp.mpf(float(v))))) if v > -1e9 else 0.0 for v in x])
        other = np.array([float(1 / (1 + mp.exp(mp.mpf(float(v))))) if v < 1e9 else 0.0 for v in x])
    cases = [
        (F.binary_cross_entropy_with_logits(a, no, reduction="none"), softplus, logistic),
        (F.binary_cross_entropy_with_logits(a, yes, reduction="none"), minus, -other),
        (F.binary_cross_entropy_with_logits(a, yes, pos_weight=yes * 2, reduction="none"), 2 * minus, -2 * other),
        (F.soft_margin_loss(a, yes, reduction="none"), minus, -other),
        (F.soft_margin_loss(a, -yes, reduction="none"), softplus, logistic),
    ]
    gradients = [nc.autograd.grad(loss.sum(), a)[0] for loss, _, _ in cases]
    for number, ((loss, value, slope), found) in enumerate(zip(cases, gradients, strict=True)):
        close(loss.detach().numpy(), value, f"case {number}", 1e-6, 1e-37)
        close(found.numpy(), slope, f"case {number}", 1e-6, 1e-37)


def test_probabilities_of_0_and_1_cost_100_at_most_as_in_pytorch(device, torch):
    x = np.float32([0, 1, 0, 1, 0, 1, 1e-45, 1e-38, 1 - 2**-24, 0.5])
    y = np.float32([0, 0, 1, 1, 0.5, 0.5, 1, 1, 0, 1])
    found = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        a = module.tensor(x, requires_grad=True)
        losses = functional.binary_cross_entropy(a, module.tensor(y), reduction="none")
        losses.sum().backward()
        found.append((losses.detach().numpy(), a.grad.numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6)
    np.testing.assert_array_equal(found[0][0][:4], [0, 100, 100, 0])


def test_where_two_formulas_meet_the_slope_is_pytorchs(device, torch):
    """At a kink, a threshold, a margin that is just kept, a variance of just eps, a probability of 0."""
    e, margin = np.float32([-2, -1, -0.5, 0, 0.5, 1, 2]), {"margin": 0.5}
    signs = np.float32([1, -1, 1, -1, 1, -1, 1])
    found = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        numbers = []

        def add(name, *others, module=module, functional=functional, numbers=numbers, given=e, **options):
            x = module.tensor(given, requires_grad=True)
            rest = [module.tensor(np.float32(other) + 0 * given) for other in others]
            losses = getattr(functional, name)(x, *rest, **options, reduction="none")
            (slope,) = module.autograd.grad(losses.sum(), x)
            numbers.append((name, losses.detach().numpy(), slope.numpy()))

        add("l1_loss", 0)
        for number in (0.5, 1.0):
            add("smooth_l1_loss", 0, beta=number)
            add("huber_loss", 0, delta=number)
        for kind in (signs, -signs, 0):
            add("hinge_embedding_loss", kind, **margin)
        add("margin_ranking_loss", 0, signs, **margin)
        add("margin_ranking_loss", 0, -signs, **margin)
        add("gaussian_nll_loss", 0, np.abs(e), eps=0.5)
        add("kl_div", np.maximum(e, 0))
        add("poisson_nll_loss", np.abs(e), full=True)
        add("soft_margin_loss", signs)
        add("binary_cross_entropy_with_logits", e > 0, given=np.float32([-1e4, -104, -1, 0, 1, 104, 1e4]))
        rows = module.tensor([[1.0, 0.0, 0.5, 1.5]], requires_grad=True)
        for p in (1, 2):
            losses = functional.multi_margin_loss(rows, module.tensor([0]), p=p, margin=0.5, reduction="none")
            (slope,) = module.autograd.grad(losses.sum(), rows)
            numbers.append(("multi_margin_loss", losses.detach().numpy(), slope.numpy()))
        found.append(numbers)
    for ours, theirs in zip(*found, strict=True):
        for mine, wanted in zip(ours[1:], theirs[1:], strict=True):
            np.testing.assert_allclose(mine, wanted, rtol=1e-6, atol=1e-12, err_msg=ours[0])


def test_rows_of_huge_infinite_and_missing_logits(place, torch):
    rows = np.float32(
        [
            [1e4, -1e4, 0], [-1e4, 1e4, 1e4], [1e30, -1e30, 1e30], [1e-30, -1e-30, 0], [-inf, 0, 1], [0, -inf, -inf],
            [nan, 0, 1], [inf, 0, 0], [3e38, -3e38, 0],
        ]
    )  # fmt: skip
    labels = np.array([0, 1, 2, 0, 1, 0, 1, 0, 0])

    def chain(module: Any, functional: Any, x: Any, y: Any) -> Any:
        return functional.nll_loss(functional.log_softmax(x, 1), y, reduction="none")

    def fused(module: Any, functional: Any, x: Any, y: Any) -> Any:
        return functional.cross_entropy(x, y, reduction="none")

    for loss in (chain, fused):
        found = []
        for module, functional in ((nc, F), (torch, torch.nn.functional)):
            x = module.tensor(rows, requires_grad=True)
            value = loss(module, functional, x, module.tensor(labels))
            value.sum().backward()
            found.append((value.detach().numpy(), x.grad.numpy()))
        for ours, theirs in zip(*found, strict=True):
            close(ours, theirs, loss.__name__, 1e-5, 1e-6)
        value, slope = found[0]
        assert np.isfinite(value[[4, 5]]).all()  # -inf is how classes are masked
        np.testing.assert_array_equal(np.isnan(slope).any(1), [False] * 6 + [True, True, False])


def test_a_nan_stays_in_its_row(device):
    for case in [*lc.REGRESSION, *lc.LIKELIHOOD, *lc.PAIRS]:
        inputs, options = lc.arrays(case, 6, 5)
        inputs[0][3] = nan
        loss, given = lc.run(nc, F, case, inputs, options, "none", "float32")
        slope = gradient(loss, given[0])
        missing = np.isnan(loss.detach().numpy()).reshape(6, -1).any(1)
        assert missing.tolist() == [False, False, False, True, False, False], case.label
        assert np.isfinite(np.delete(slope, 3, axis=0)).all(), case.label


def test_no_rows_give_nan_for_the_mean_and_0_for_the_sum(torch):
    for case in [*lc.CLASSES, *lc.REGRESSION, *lc.BINARY, *lc.LIKELIHOOD, *lc.PAIRS]:
        inputs, options = lc.arrays(case, 6, 5)
        options = {k: v[:0] if isinstance(v, np.ndarray) and len(v) == 6 else v for k, v in options.items()}
        empty = tuple(x[:0] for x in inputs)
        for reduction in ("mean", "sum", "none"):
            ours, given = lc.run(nc, F, case, empty, options, reduction, "float32")
            if case.name in ("multi_margin_loss", "multilabel_margin_loss"):  # PyTorch's mean of nothing is 0 there
                expected = {"mean": nan, "sum": 0.0}.get(reduction, np.zeros(0))
            else:
                theirs, _ = lc.run(torch, torch.nn.functional, case, empty, options, reduction, "float32")
                expected = theirs.detach().numpy()
            np.testing.assert_array_equal(ours.detach().numpy(), expected, err_msg=f"{case.label}, {reduction}")
            ours.sum().backward()
            assert given[0].grad.shape == given[0].shape


def test_one_class_one_row_and_all_rows_ignored(torch):
    cases = (((4, 1), [0, 0, 0, 0]), ((1, 5), [2]), ((3, 4), [-100] * 3), ((2, 3, 2), [[0, 1], [-100, 2]]))
    for shape, labels in cases:
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        for name in ("cross_entropy", "nll_loss"):
            for reduction in ("mean", "sum", "none"):
                found = []
                for module, functional in ((nc, F), (torch, torch.nn.functional)):
                    a = module.tensor(x, requires_grad=True)
                    loss = getattr(functional, name)(a, module.tensor(labels), reduction=reduction)
                    loss.sum().backward()
                    found.append((loss.detach().numpy(), a.grad.numpy()))
                for ours, theirs in zip(*found, strict=True):
                    what = f"{name} {shape} {reduction}"
                    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7, err_msg=what)


def test_narrow_floats_are_summed_in_float32(device):
    sums_of_narrow_floats([*lc.CLASSES[:3], lc.REGRESSION[2], lc.BINARY[2], lc.LIKELIHOOD[4], lc.PAIRS[0]])


@pytest.mark.long
def test_narrow_floats_are_summed_in_float32_in_each_loss(device):
    sums_of_narrow_floats([*lc.ALL, *lc.OWN])


def sums_of_narrow_floats(cases: list[lc.Case]) -> None:
    """The loss is that of the same numbers in float64, rounded to float32; the gradient has the input's dtype."""
    for name, step in (("float16", 2.0**-10), ("bfloat16", 2.0**-7)):
        kind = getattr(nc, name)
        for case in cases:
            inputs, options = lc.arrays(case, 40, 50)
            options = {
                k: nc.tensor(v, dtype=nc.float32) if isinstance(v, np.ndarray) else v for k, v in options.items()
            }
            narrow = [nc.tensor(x, dtype=kind) if x.dtype.kind == "f" else nc.tensor(x) for x in inputs]
            wide = [x.double() if x.is_floating_point() else x for x in narrow]
            doubled = {k: v.double() if isinstance(v, nc.Tensor) else v for k, v in options.items()}
            narrow[0].requires_grad_()
            wide[0].requires_grad_()
            chosen = {"reduction": "batchmean" if case.name == "kl_div" else "mean"}
            loss = getattr(F, case.name)(*narrow, **options, **chosen)
            exact = getattr(F, case.name)(*wide, **doubled, **chosen)
            assert loss.dtype is nc.float32, case.label
            loss.backward()
            exact.backward()
            np.testing.assert_allclose(loss.item(), exact.item(), rtol=1e-6, err_msg=case.label)
            largest = wide[0].grad.abs().max().item()
            ours, theirs = narrow[0].grad.double().numpy(), wide[0].grad.numpy()
            np.testing.assert_allclose(ours, theirs, rtol=step, atol=largest * step / 8, err_msg=case.label)
            assert narrow[0].grad.dtype is kind


def test_elementwise_losses_keep_a_narrow_dtype_without_a_reduction():
    x = nc.ones(3, dtype=nc.float16)
    assert F.l1_loss(x, x, reduction="none").dtype is nc.float16
    assert F.l1_loss(x, x, reduction="sum").dtype is nc.float32


def test_strided_and_broadcast_inputs(place):
    draws = np.random.default_rng(3)
    x, y = draws.uniform(0.1, 0.9, (10, 7)).astype(np.float32), draws.uniform(0.1, 0.9, (10, 7)).astype(np.float32)
    a, b = nc.tensor(x), nc.tensor(y)
    views = (
        (a.t(), b.t(), x.T, y.T), (a[1::2, 2:], b[::2, 2:], x[1::2, 2:], y[::2, 2:]),
        (a.flip(0), b, x[::-1], y), (a[:, :1].expand(10, 7), b, np.repeat(x[:, :1], 7, 1), y),
    )  # fmt: skip
    losses = (F.l1_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.poisson_nll_loss)
    found = [
        (loss, loss(p, q), loss(nc.tensor(u.copy()), nc.tensor(v.copy()))) for loss in losses for p, q, u, v in views
    ]
    for loss, viewed, copied in found:
        np.testing.assert_allclose(viewed.item(), copied.item(), rtol=1e-6, err_msg=loss.__name__)


def test_two_runs_give_the_same_bits(device):
    draws = np.random.default_rng(4)
    x = draws.standard_normal((300, 1000)).astype(np.float32)
    y, labels = draws.uniform(0, 1, (300, 1000)).astype(np.float32), draws.integers(0, 1000, 300)

    def run() -> list[bytes]:
        results = []
        for loss, target in (
            (F.cross_entropy, labels), (F.l1_loss, y), (F.binary_cross_entropy_with_logits, y), (F.huber_loss, y),
        ):  # fmt: skip
            a = nc.tensor(x, requires_grad=True)
            value = loss(a, nc.tensor(target))
            value.backward()
            results += [value.detach().numpy().tobytes(), a.grad.numpy().tobytes()]
        return results

    assert run() == run()


def test_an_eps_of_0_and_labels_that_broadcast_give_what_they_give_in_pytorch(torch):
    found = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        v = module.tensor([1e-9, 0.5, 2.0], requires_grad=True)
        rows = functional.gaussian_nll_loss(module.ones(3), module.tensor([2.0, 2.0, 1.0]), v, eps=0, reduction="none")
        rows.sum().backward()
        found.append([rows.detach().numpy(), v.grad.numpy()])
        for shape, other in (((3,), (2, 3)), ((2, 1), (2, 3)), ((2, 3), (2, 1)), ((1,), (3, 1)), ((2, 0), (2, 0))):
            x, y = module.full(shape, 0.3), module.ones(*other)
            found[-1].append(functional.multilabel_soft_margin_loss(x, y, reduction="none").numpy())
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.long
def test_two_runs_of_each_loss_give_the_same_bits(device):
    for case in [*lc.ALL, *lc.OWN]:
        inputs, options = lc.arrays(case, 300, 100)
        runs = []
        for _ in range(2):
            loss, given = lc.run(nc, F, case, inputs, options, "sum", "float32")
            loss.backward()
            gradients = [x.grad.numpy().tobytes() for x in given[: case.differentiable]]
            runs.append([loss.detach().numpy().tobytes(), *gradients])
        assert runs[0] == runs[1], case.label


def test_what_the_z_loss_and_focal_loss_add_up_to(device):
    draws = np.random.default_rng(5)
    x, y = draws.standard_normal((6, 4)) * 3, draws.integers(0, 4, 6)
    lse = np.log(np.exp(x).sum(1))
    rows = lse - x[np.arange(6), y]
    a = nc.tensor(x, dtype=nc.float32)
    losses = F.cross_entropy(a, nc.tensor(y), lse_square_scale=0.25, reduction="none")
    np.testing.assert_allclose(losses.numpy(), rows + 0.25 * lse**2, rtol=1e-5)
    focal = F.focal_loss(a, nc.tensor(y), gamma=2.0, reduction="none")
    np.testing.assert_allclose(focal.numpy(), (1 - np.exp(-rows)) ** 2 * rows, rtol=1e-4)
    p, t = 1 / (1 + np.exp(-x)), (x > 0.5) * 1.0
    right = p * t + (1 - p) * (1 - t)
    expected = (0.25 * t + 0.75 * (1 - t)) * (1 - right) ** 2 * -np.log(right)
    found = F.sigmoid_focal_loss(a, nc.tensor(t, dtype=nc.float32))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)
    dice = F.dice_loss(nc.tensor(p, dtype=nc.float32), nc.tensor(t, dtype=nc.float32), reduction="none")
    np.testing.assert_allclose(
        dice.numpy(), 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1), rtol=1e-5, atol=1e-6
    )
    e = x - t
    found = F.quantile_loss(a, nc.tensor(t, dtype=nc.float32), 0.9, "none")
    np.testing.assert_allclose(found.numpy(), np.maximum(-0.9 * e, 0.1 * e), rtol=1e-5, atol=1e-7)
    q, k = x / np.linalg.norm(x, axis=1, keepdims=True), t + 1
    k = k / np.linalg.norm(k, axis=1, keepdims=True)
    scores = q @ k.T / 0.5
    expected = (np.log(np.exp(scores).sum(1)) - np.diag(scores)).mean()
    found = F.info_nce(a, nc.tensor(t + 1, dtype=nc.float32), temperature=0.5)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    near = (q * k).sum(1) / 0.5
    far = q @ (x[::-1] / np.linalg.norm(x[::-1], axis=1, keepdims=True)).T / 0.5
    expected = (np.log(np.exp(near) + np.exp(far).sum(1)) - near).mean()
    negatives = nc.tensor(x[::-1].copy(), dtype=nc.float32)
    found = F.info_nce(a, nc.tensor(t + 1, dtype=nc.float32), negatives, temperature=0.5)
    assert found.item() == pytest.approx(expected, rel=1e-5)
