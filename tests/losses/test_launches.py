"""How many kernels each loss takes. With -s the first test prints the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import loss_cases as lc
import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import profiler

# Forward, and forward with the gradient, where it is not one launch each. A product of matrices is a kernel of its own,
# and so is a recursion.
# linear_cross_entropy: the product, and the loss with the slopes of the logits; two products, and the bias's sum.
# linear_mse: the product, and the loss with both gradients of so small a layer.
# info_nce: the product beside the lengths of all vectors, and the loss of the rows; the products of the way back beside
# what the keys' lengths do (sums over columns), and the keys' gradient of both.
# multilabel_margin_loss: what a class that is right has for a slope depends on which of the others are wrong. That is
# known when the loss is, so it comes from memory; found again for each pair it would cost C^3.
# ctc_loss, with the log_softmax before it: that, the recursion over the times, the mean; the recursion back, and what
# the log_softmax makes of it. So it is for any number of times.
LINEAR, CTC = (2, 4), (3, 4)
SEVERAL = {"info_nce": (2, 4), "linear_mse": (2, 2), "multilabel_margin_loss": (1, 2)}


def uploaded(arrays: tuple, differentiable: int) -> list[nc.Tensor]:
    tensors = [nc.tensor(x, dtype=nc.float32 if x.dtype.kind == "f" else None) for x in arrays]
    for number, x in enumerate(tensors):
        x._value.realise()
        if number < differentiable:
            x.requires_grad_()
    return tensors


def launches(loss: Callable[..., nc.Tensor], tensors: list[nc.Tensor]) -> tuple[int, int]:
    """Of the value alone, and of value and gradient pending together."""
    with profiler.count_launches() as forward, nc.no_grad():
        kept: Any = loss(*tensors)
    with profiler.count_launches() as both:
        kept = loss(*tensors)
        kept.backward()
    del kept
    return int(forward), int(both)


def chain(x: nc.Tensor, y: nc.Tensor) -> nc.Tensor:
    return F.log_softmax(x, 1).gather(1, y[:, None]).neg().mean()


def of(case: lc.Case) -> tuple[Callable[..., nc.Tensor], list[nc.Tensor]]:
    inputs, options = lc.arrays(case, 64, 10)
    options = {k: nc.tensor(v, dtype=nc.float32) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    reduction = "batchmean" if case.name == "kl_div" else "mean"
    return (
        lambda *given: getattr(F, case.name)(*given, **options, reduction=reduction),
        uploaded(inputs, case.differentiable),
    )


def test_every_loss_is_one_launch_and_so_is_it_with_its_gradient(device):
    table = []
    plain = lc.Case("cross_entropy", lc.classes)
    for case in [plain, *lc.ALL, *lc.OWN]:
        table.append((case.label, launches(*of(case)), SEVERAL.get(case.name, (1, 1))))
    tensors = uploaded(lc.classes(np.random.default_rng(0), 64, 10), 1)
    table.append(("log_softmax, gather, neg, mean", launches(chain, tensors), (1, 1)))
    composed = launches(lambda x, y: F.nll_loss(F.log_softmax(x, 1), y), tensors)
    table.append(("nll_loss of log_softmax", composed, (1, 1)))
    table.append(("linear_cross_entropy(bias=..), one chunk of rows", *fused_layer()))
    table.append(("ctc_loss of log_softmax, 7 times", *sequences(7)))
    table.append(("ctc_loss of log_softmax, 100 times", *sequences(100)))
    print(f"\n{'loss':75}forward  with gradient")
    for label, (forward, both), _ in table:
        print(f"{label:75}{forward:7}{both:15}")
    assert [row for row in table if row[1] != row[2]] == []


def fused_layer() -> tuple[tuple[int, int], tuple[int, int]]:
    """The product, and the loss; for the gradients two more products, and the bias's sum."""
    draws = np.random.default_rng(0)
    x, weight, bias = uploaded(tuple(draws.standard_normal(s) for s in ((64, 16), (10, 16), (10,))), 3)
    y = nc.tensor(draws.integers(0, 10, 64))
    y._value.realise()
    return launches(lambda *t: F.linear_cross_entropy(t[0], t[1], y, t[2]), [x, weight, bias]), LINEAR


def sequences(times: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Scores, a log_softmax, the loss."""
    draws = np.random.default_rng(0)
    scores, targets = uploaded((draws.standard_normal((times, 4, 5)), draws.integers(1, 5, (4, 3))), 1)
    found = launches(lambda x, y: F.ctc_loss(F.log_softmax(x, 2), y, [times] * 4, [3] * 4), [scores, targets])
    return found, CTC


def test_over_many_rows_a_mean_of_weights_takes_one_more_launch_at_most(device):
    draws = np.random.default_rng(0)
    tensors = uploaded(lc.classes(draws, 20_000, 16), 1)
    assert max(launches(F.cross_entropy, tensors)) <= 2
    assert max(launches(F.nll_loss, tensors)) <= 2
    assert max(launches(chain, tensors)) <= max(launches(F.cross_entropy, tensors))
    pair = uploaded(lc.pair(draws, 20_000, 16), 1)
    assert launches(F.huber_loss, pair) == (1, 1)
    assert launches(F.binary_cross_entropy_with_logits, pair) == (1, 1)


@pytest.mark.parametrize(
    "loss", [F.cross_entropy, chain, lambda x, y: F.nll_loss(F.log_softmax(x, 1), y)], ids=["fused", "chain", "nll"]
)
def test_after_the_loss_was_read_the_gradient_reads_the_logits_once_and_writes_once(loss):
    """The rows' statistics are kept, not a softmax, and they need no second sweep of the row."""
    n, c = 256, 1000
    x, y = uploaded(lc.classes(np.random.default_rng(0), n, c), 1)
    nc.synchronize()
    with profiler.profile() as forward:
        value = loss(x, y)
        value.item()
    with profiler.profile() as backward:
        value.backward()
        x.grad._value.realise()
    size = n * c * 4
    (one,) = forward.rows
    assert one.bytes_moved < 1.05 * size
    (two,) = backward.rows
    assert two.bytes_moved < 2.05 * size
    assert "max" not in two.kernel and two.calls == 1


def test_a_changed_margin_or_threshold_needs_no_new_kernel():
    from netcl.core import program
    from netcl.graph import plan

    x, y = uploaded(lc.pair(np.random.default_rng(0), 8, 5), 1)

    def step(number: float) -> None:
        loss = F.huber_loss(x, y, delta=number) + F.quantile_loss(x, y, number) + F.smooth_l1_loss(x, y, beta=number)
        loss.backward()
        loss.item()
        x.grad = None

    step(0.5)
    before = plan.statistics.planned, program.compile_count
    step(0.7)
    assert (plan.statistics.planned, program.compile_count) == before


def test_a_loss_in_the_middle_of_a_graph_takes_what_arrives_from_above(place, torch):
    draws = np.random.default_rng(1)
    x, y = draws.standard_normal((6, 5)).astype(np.float32), draws.integers(0, 5, 6)
    t, w = draws.standard_normal((6, 5)).astype(np.float32), draws.uniform(0.5, 2, 6).astype(np.float32)
    grads = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        a, b, c = (module.tensor(v, requires_grad=True) for v in (x, t, w))
        rows = functional.cross_entropy((a * 2).tanh(), module.tensor(y), reduction="none") * c
        errors = functional.smooth_l1_loss(a, b, reduction="none").sum(1) * c
        bits = functional.binary_cross_entropy_with_logits(a * b, b.sigmoid(), reduction="none")
        total = (rows.exp() * errors).sum() + functional.mse_loss(a, b) * rows.max() + (bits * b).sum()
        total.backward()
        grads.append([v.grad.numpy() for v in (a, b, c)])
    for ours, theirs in zip(*grads, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_no_loss_waits_for_the_device(monkeypatch):
    """Neither its value nor its gradient reads anything back, whatever arrives from above."""
    from netcl.core import launch
    from netcl.graph.value import flush_thread

    made = [of(case) for case in [lc.Case("cross_entropy", lc.classes), *lc.ALL, *lc.OWN]]
    draws = np.random.default_rng(0)
    layer = uploaded((*(draws.standard_normal(s) for s in ((8, 4), (5, 4))), draws.integers(0, 5, 8)), 2)
    made.append((lambda x, w, y: F.linear_cross_entropy(x, w, y, ignore_index=1), layer))
    lists = draws.integers(1, 5, (4, 3)), np.array([7, 5, 6, 7]), np.array([3, 1, 0, 2])
    alignments = uploaded((draws.standard_normal((7, 4, 5)), *lists), 1)
    made.append((lambda x, *rest: F.ctc_loss(F.log_softmax(x, 2), *rest, zero_infinity=True), alignments))
    arriving = nc.ones(()) * 2
    nc.synchronize()

    def refused(*arguments: Any) -> None:
        raise AssertionError("something was read")

    with monkeypatch.context() as patch:
        patch.setattr(launch, "read", refused)
        for loss, tensors in made:
            loss(*tensors).backward(arriving)
        flush_thread()
    nc.synchronize()
