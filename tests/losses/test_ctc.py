"""ctc_loss against PyTorch: padded and joined targets, repeats, lengths, what no alignment fits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn

TIMES, COUNT, CLASSES = 7, 4, 5
TARGETS = np.array([[1, 2, 2], [3, 3, 0], [4, 1, 3], [2, 0, 0]])
LENGTHS = [3, 2, 3, 1]
GIVEN = [7, 5, 4, 6]


def logits(seed: int = 0, times: int = TIMES) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((times, COUNT, CLASSES)).astype(np.float32)


def both(torch, x, targets, given, lengths, **options):
    """Losses and gradients by the logits: netcl's and PyTorch's."""
    found = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        a = module.tensor(x, requires_grad=True)
        b = module.tensor(targets)
        made = [module.tensor(v) if isinstance(v, np.ndarray) else v for v in (given, lengths)]
        loss = functional.ctc_loss(functional.log_softmax(a, -1), b, *made, **options)
        start = np.arange(1.0, 1.0 + max(1, loss.numel()), dtype=np.float32).reshape(tuple(loss.shape))
        loss.backward(module.tensor(start))
        found += [loss.detach().numpy(), a.grad.numpy()]
    return found


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_and_gradients_equal_pytorchs(place, torch, reduction):
    ours, slope, theirs, expected = both(torch, logits(), TARGETS, GIVEN, LENGTHS, reduction=reduction)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)


def test_targets_one_after_the_other_and_lengths_in_tensors(torch):
    joined = np.concatenate([row[:n] for row, n in zip(TARGETS, LENGTHS, strict=True)])
    lengths, given = np.array(LENGTHS), np.array(GIVEN)
    ours, slope, theirs, expected = both(torch, logits(1), joined, given, lengths, reduction="none")
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)


def test_another_blank_and_no_symbols(torch):
    targets = np.array([[0, 1], [1, 1], [3, 0], [0, 0]])
    ours, slope, theirs, expected = both(torch, logits(2), targets, GIVEN, [2, 2, 1, 0], blank=4, reduction="none")
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)


def test_what_no_alignment_fits_is_infinite_or_zero(torch):
    given = [2, 2, 7, 7]  # two times are too few for three symbols, and for twice the same
    ours, _, theirs, _ = both(torch, logits(), TARGETS, given, LENGTHS, reduction="none")
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert np.isinf(ours[:2]).all()
    ours, slope, theirs, expected = both(
        torch, logits(), TARGETS, given, LENGTHS, reduction="none", zero_infinity=True
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)
    assert (ours[:2] == 0).all() and (slope[:, :2] == 0).all()


def test_one_sequence_without_a_batch(torch):
    ours, slope, theirs, expected = both(torch, logits()[:, 0], TARGETS[0], np.array(7), np.array(3))
    assert ours.shape == ()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_the_derivative_by_the_log_probabilities():
    x = nc.tensor(logits(3, 4).astype(np.float64), requires_grad=True)
    given, lengths = [4, 3, 4, 4], [2, 1, 2, 1]
    targets = nc.tensor(TARGETS[:, :2])
    nc.autograd.gradcheck(lambda a: F.ctc_loss(a, targets, given, lengths, reduction="none"), x)
    loss = F.ctc_loss(x, targets, given, lengths)
    with pytest.raises(RuntimeError, match="second derivatives"):
        nc.autograd.grad(loss, x, create_graph=True)


@pytest.mark.parametrize(("times", "count", "classes", "size"), [(200, 5, 12, 40), (37, 16, 30, 9), (50, 1, 3, 16)])
def test_random_lengths_repeats_and_upstream_gradients_in_the_middle_of_a_graph(
    torch, target, times, count, classes, size
):
    draws = np.random.default_rng(times)
    x = (draws.standard_normal((times, count, classes)) * 2).astype(np.float32)
    targets = draws.integers(1, classes, (count, size))  # with 3 classes every other symbol is a repeat
    lengths = draws.integers(0, size + 1, count)
    given = np.minimum(2 * lengths + draws.integers(1, times, count), times)
    if count > 1:
        lengths[-1], given[-1] = size, size - 1  # no alignment fits
    weights = draws.uniform(-2, 2, count).astype(np.float32)
    found = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        a, w = (module.tensor(v, requires_grad=True) for v in (x, weights))
        arguments = [module.tensor(v) for v in (targets, given, lengths)]
        log_p = functional.log_softmax(a.tanh() * 3, 2)
        losses = functional.ctc_loss(log_p, *arguments, reduction="none", zero_infinity=True)
        ((losses / 50).tanh() * w + log_p[0, :, 0]).sum().backward()
        found.append([v.detach().numpy() for v in (losses, a.grad, w.grad)])
    for ours, theirs, near in zip(*found, (1e-5, 2e-6, 1e-6), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4 if near < 1e-5 else 1e-5, atol=near)


def by_enumeration(log_p: np.ndarray, symbols: list[int], blank: int) -> float:
    """All alignments of a short sequence, one by one."""
    times, classes = log_p.shape
    total = 0.0
    for path in itertools.product(range(classes), repeat=times):
        kept = [c for c, _ in itertools.groupby(path) if c != blank]
        if kept == symbols:
            total += np.exp(sum(log_p[t, c] for t, c in enumerate(path)))
    return -np.log(total)


def test_the_loss_is_that_of_all_alignments_listed_one_by_one(place):
    draws = np.random.default_rng(5)
    log_p = np.log(draws.dirichlet(np.ones(3), (5, 4)))  # (T, N, C)
    symbols = [[0, 2], [2, 2], [0], []]
    expected = [by_enumeration(log_p[:, n], s, 1) for n, s in enumerate(symbols)]
    targets = nc.tensor([s + [0] * (2 - len(s)) for s in symbols])
    for dtype, near in ((nc.float32, 1e-5), (nc.float64, 1e-12)):
        losses = F.ctc_loss(nc.tensor(log_p, dtype=dtype), targets, [5] * 4, [2, 2, 1, 0], 1, "none")
        assert losses.dtype is dtype
        np.testing.assert_allclose(losses.numpy(), expected, rtol=near)


def test_impossible_symbols_and_nan_stay_in_their_sequences(place):
    x = np.log(np.random.default_rng(2).dirichlet(np.ones(5), (6, 4))).astype(np.float32)
    x[:, 0, 4] = -np.inf  # a class that is not among the targets: masked
    x[:, 1, 3] = -np.inf  # one that is: nothing fits
    x[2, 2, 1] = np.nan
    a = nc.tensor(x, requires_grad=True)
    losses = F.ctc_loss(a, nc.tensor([[1, 2], [3, 1], [1, 1], [2, 0]]), [6] * 4, [2, 2, 2, 1], reduction="none")
    assert list(np.isfinite(losses.detach().numpy())) == [True, False, False, True]
    losses.sum().backward()
    slope = a.grad.numpy()
    assert np.isposinf(losses[1].item()) and (slope[:, 1] == 0).all()
    assert np.isnan(losses[2].item()) and np.isnan(slope[:, 2]).all()
    assert np.isfinite(slope[:, [0, 3]]).all() and (slope[:, 0, 4] == 0).all()
    np.testing.assert_allclose(slope[:, [0, 3]].sum(2), -1, rtol=1e-5)  # at each time the shares add up to 1


def test_strided_scores_and_targets_of_any_integer(place):
    x, y = F.log_softmax(nc.tensor(logits(4)), 2), nc.tensor(TARGETS)
    plain = F.ctc_loss(x, y, GIVEN, LENGTHS, reduction="none").numpy()
    turned = nc.tensor(np.ascontiguousarray(x.numpy().transpose(2, 1, 0)[:, ::-1])).permute(2, 1, 0).flip(1)
    wide = nc.tensor(np.repeat(TARGETS, 2, 1).astype(np.uint8))[:, ::2]
    given, lengths = nc.tensor(GIVEN, dtype=nc.int32), nc.tensor(LENGTHS, dtype=nc.int16)
    np.testing.assert_allclose(F.ctc_loss(turned, wide, given, lengths, reduction="none").numpy(), plain, rtol=1e-6)


def test_a_map_over_batches_is_one_batch():
    x, y = F.log_softmax(nc.tensor(np.stack([logits(6), logits(7)])), 3), nc.tensor(TARGETS)
    given, lengths = nc.tensor(GIVEN), nc.tensor(LENGTHS)

    def loss(scores):
        return F.ctc_loss(scores, y, given, lengths)

    values, slopes = nc.vmap(loss)(x), nc.vmap(nc.func.grad(loss))(x)
    for n in range(2):
        np.testing.assert_allclose(values[n].item(), loss(x[n]).item(), rtol=1e-6)
        np.testing.assert_allclose(slopes[n].numpy(), nc.func.grad(loss)(x[n]).numpy(), rtol=1e-5, atol=1e-7)


def test_a_longer_sequence_needs_no_more_launches_and_two_runs_give_the_same_bits(device):
    def run(times: int) -> tuple[bytes, int]:
        x = nc.tensor(logits(0, times), requires_grad=True)
        y = nc.tensor(TARGETS)
        with nc.profiler.count_launches() as launches:
            nn.CTCLoss()(F.log_softmax(x, 2), y, [times] * 4, LENGTHS).backward()
            bits = x.grad.numpy().tobytes()
        return bits, int(launches)

    assert run(60) == run(60)
    assert run(60)[1] == run(7)[1]


def test_what_does_not_fit_is_refused():
    x, y = F.log_softmax(nc.tensor(logits()), 2), nc.tensor(TARGETS)
    for arguments, words in (
        ((x, y, [8, 7, 7, 7], LENGTHS), "input_lengths is 8"), ((x, y, GIVEN, [4, 1, 1, 1]), "target_lengths is 4"),
        ((x, y[:3], GIVEN, LENGTHS), "4 sequences"), ((x, y, GIVEN[:3], LENGTHS), "4 input_lengths"),
        ((x, y.float(), GIVEN, LENGTHS), "integer"), ((x, y, GIVEN, LENGTHS, 5), "blank"),
        ((x, nc.tensor([1, 2]), GIVEN, LENGTHS), "add up"),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=words):
            F.ctc_loss(*arguments)
    loss = F.ctc_loss(x, y, nc.tensor([9, 7, 7, 7]), nc.tensor(LENGTHS))
    with pytest.raises(RuntimeError, match=r"test_ctc\.py.*input_lengths is 9"):
        loss.item()
    loss = F.ctc_loss(x, nc.tensor(TARGETS + 2), GIVEN, LENGTHS)
    with pytest.raises(RuntimeError, match="symbol 5|symbol 6"):
        loss.item()
