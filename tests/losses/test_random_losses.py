"""Losses of random shapes, views, options and numbers against PyTorch: few examples here, many with -m long."""

from __future__ import annotations

import warnings
from typing import Any

import loss_cases as lc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from references import References

import netcl as nc
import netcl.nn.functional as F

SIZES = [(1, 1), (3, 4), (5, 17), (2, 33)]  # few: each is a kernel to compile
VIEWS = ["plain", "transposed", "every second", "reversed", "one row for all"]


def viewed(module: Any, x: np.ndarray, view: str) -> Any:
    """The array as a tensor whose memory is laid out in another way: float32 of netcl, the same numbers as float64 of
    PyTorch, whose float32 may be nothing but rounding where terms cancel."""
    kind = None
    if x.dtype.kind == "f":
        kind, x = (module.float32 if module is nc else module.float64), x.astype(np.float32)
    if view == "transposed" and x.ndim == 2:
        return module.tensor(x.T.copy(), dtype=kind).t()
    if view == "one row for all" and kind is not None:
        return module.tensor(x[:1], dtype=kind).expand(*x.shape)
    if view == "every second":
        return module.tensor(np.repeat(x, 2, 0), dtype=kind)[::2]
    if view == "reversed":
        return module.tensor(x[::-1].copy(), dtype=kind).flip(0)
    return module.tensor(x, dtype=kind)


def check(torch: Any, case: lc.Case, size: tuple[int, int], seed: int, view: str, reduction: str) -> None:
    inputs, options = lc.arrays(case, *size, seed)
    found = []
    for module, functional in ((nc, F), (torch, References(torch))):
        tensors = [viewed(module, x, view) for x in inputs]
        leaves = [x.requires_grad_() if n < case.differentiable and x.is_leaf else x for n, x in enumerate(tensors)]
        made = {k: viewed(module, v, "plain") if isinstance(v, np.ndarray) else v for k, v in options.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = getattr(functional, case.name)(*leaves, **made, reduction=reduction)
        loss.sum().backward()
        found.append([loss.detach().numpy(), *(x.grad.numpy() for x in leaves[: case.differentiable])])
    for ours, theirs in zip(*found, strict=True):
        scale = max(1.0, float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)))
        if case.make in (lc.triplet, lc.layer):  # differences of what is summed over the columns
            scale = max(scale, size[1])
        if case.name == "info_nce":  # what is left of a slope across a vector grows as the vector shrinks
            scale = max(scale, *(1 / np.linalg.norm(x, axis=1).min(initial=np.inf) for x in inputs))
        np.testing.assert_allclose(
            ours, theirs, rtol=3e-5, atol=3e-6 * scale, err_msg=f"{case.label}, {size}, {seed}, {view}, {reduction}"
        )


examples = {
    "case": st.sampled_from([*lc.ALL, *lc.OWN]), "size": st.sampled_from(SIZES), "seed": st.integers(0, 10**6),
    "view": st.sampled_from(VIEWS), "reduction": st.sampled_from(["mean", "sum", "none"]),
}  # fmt: skip
quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


@settings(max_examples=12, **quiet)
@given(**examples)
def test_some_losses_equal_pytorchs(torch, case, size, seed, view, reduction):
    check(torch, case, size, seed, view, reduction)


@pytest.mark.long
@pytest.mark.parametrize("case", [*lc.ALL, *lc.OWN], ids=lambda case: case.label)
def test_each_loss_equals_pytorchs_in_many_examples(torch, case):
    @settings(max_examples=200, **quiet)
    @given(**{name: strategy for name, strategy in examples.items() if name != "case"})
    def many(size: Any, seed: int, view: str, reduction: str) -> None:
        check(torch, case, size, seed, view, reduction)

    many()


# ---- losses of classes: every shape and option -------------------------------------------------------------------

SHAPES = [(5,), (4, 3), (6, 1), (3, 4, 2), (2, 3, 2, 2)]
option = {
    "shape": st.sampled_from(SHAPES), "seed": st.integers(0, 10**6), "weighted": st.booleans(),
    "ignored": st.sampled_from([-100, 0]), "smoothing": st.sampled_from([0.0, 0.1]),
    "reduction": st.sampled_from(["mean", "sum", "none"]), "kind": st.sampled_from(["indices", "probabilities", "nll"]),
}  # fmt: skip


def check_classes(
    torch: Any, shape: tuple, seed: int, weighted: bool, ignored: int, smoothing: float, reduction: str, kind: str
) -> None:
    draws = np.random.default_rng(seed)
    axis = min(1, len(shape) - 1)
    x, weight = (draws.standard_normal(shape) * 3).astype(np.float32), draws.uniform(0.1, 2, shape[axis])
    labels = draws.integers(0, shape[axis], (*shape[:axis], *shape[axis + 1 :]))
    labels = np.where(draws.random(labels.shape) < 0.2, ignored, labels)
    soft = draws.random(shape).astype(np.float32)
    found = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        a = module.tensor(x, requires_grad=True)
        target = module.tensor(soft if kind == "probabilities" else labels)
        options = {"weight": module.tensor(weight.astype(np.float32))} if weighted else {}
        options |= {"reduction": reduction}
        options |= {} if kind == "probabilities" else {"ignore_index": ignored}
        options |= {} if kind == "nll" else {"label_smoothing": smoothing}
        loss = (functional.nll_loss if kind == "nll" else functional.cross_entropy)(a, target, **options)
        arriving = draws.uniform(0.5, 2, tuple(loss.shape)) if module is nc else found[0][2]
        loss.backward(module.tensor(arriving.astype(np.float32)))
        found.append((loss.detach().numpy(), a.grad.numpy(), arriving))
    for ours, theirs in zip(found[0][:2], found[1][:2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=3e-5, atol=3e-6)


@settings(max_examples=8, **quiet)
@given(**option)
def test_some_losses_of_classes_equal_pytorchs(torch, **chosen):
    check_classes(torch, **chosen)


@pytest.mark.long
def test_losses_of_classes_equal_pytorchs_in_many_examples(torch):
    @settings(max_examples=400, **quiet)
    @given(**option)
    def many(**chosen: Any) -> None:
        check_classes(torch, **chosen)

    many()


# ---- ctc and the fused layer -------------------------------------------------------------------------------------


def check_ctc(torch: Any, size: tuple, seed: int, reduction: str, zero: bool, blank: int) -> None:
    times, count, classes = size
    draws = np.random.default_rng(seed)
    x = draws.standard_normal((times, count, classes)).astype(np.float32)
    symbols = [c for c in range(classes) if c != blank]
    targets = draws.choice(symbols, (count, 3))
    given_times, lengths = draws.integers(2, times + 1, count), draws.integers(0, 4, count)
    found = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        a = module.tensor(x, requires_grad=True)
        made = [module.tensor(v) for v in (targets, given_times, lengths)]
        log_p = functional.log_softmax(a, -1)
        loss = functional.ctc_loss(log_p, *made, blank=blank, reduction=reduction, zero_infinity=zero)
        kept = loss[loss < 1e30] if loss.ndim and not zero else loss
        kept.sum().backward()
        found.append((loss.detach().numpy(), a.grad.numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=3e-5, atol=3e-6)
    if np.isfinite(found[1][1]).all():
        np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_ctc_equals_pytorchs_in_many_examples(torch):
    @settings(max_examples=200, **quiet)
    @given(
        st.sampled_from([(7, 4, 5), (3, 2, 3), (9, 1, 4)]), st.integers(0, 10**6),
        st.sampled_from(["mean", "sum", "none"]), st.booleans(), st.integers(0, 2),
    )  # fmt: skip
    def many(size: tuple, seed: int, reduction: str, zero: bool, blank: int) -> None:
        check_ctc(torch, size, seed, reduction, zero, blank)

    many()


@pytest.mark.long
def test_the_fused_layer_equals_pytorchs_chain_in_many_examples(torch, monkeypatch):
    from netcl.ops.losses import linear

    monkeypatch.setattr(linear, "CHUNK", 7 * 32)
    rows = st.sampled_from([1, 32, 70])

    @settings(max_examples=200, **quiet)
    @given(
        rows, st.integers(0, 10**6), st.booleans(), st.booleans(), st.sampled_from([-100, 0]),
        st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.01]), st.sampled_from(["mean", "sum", "none"]),
    )  # fmt: skip
    def many(
        n: int, seed: int, biased: bool, weighted: bool, ignored: int, smoothing: float, z_scale: float, reduction: str
    ) -> None:
        if weighted and z_scale:
            z_scale = 0.0  # the reference has no weights there
        draws = np.random.default_rng(seed)
        arrays = [draws.standard_normal(s).astype(np.float32) for s in ((n, 5), (7, 5), (7,))]
        weight, y = draws.uniform(0.1, 2, 7).astype(np.float32), draws.integers(0, 7, n)
        arriving = draws.uniform(0.5, 2, n if reduction == "none" else ()).astype(np.float32)
        found = []
        for module, functional in ((nc, F), (torch, References(torch))):
            x, w, b = (module.tensor(a, requires_grad=True) for a in arrays)
            options: dict[str, Any] = {"weight": module.tensor(weight)} if weighted else {}
            options |= {"bias": b} if biased else {}
            options |= {"reduction": reduction, "ignore_index": ignored, "label_smoothing": smoothing}
            loss = functional.linear_cross_entropy(x, w, module.tensor(y), lse_square_scale=z_scale, **options)
            loss.backward(module.tensor(arriving))
            grads = [v.grad.numpy() for v in (x, w, *([b] if biased else []))]
            found.append([loss.detach().numpy(), *grads])
        for ours, theirs in zip(*found, strict=True):
            scale = max(1.0, float(np.abs(np.nan_to_num(theirs)).max()))
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * scale)

    many()
