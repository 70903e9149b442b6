"""ctc_loss against PyTorch: padded and joined targets, repeats, lengths, what no alignment fits."""

from __future__ import annotations

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


def test_a_longer_sequence_needs_no_more_kernels_and_two_runs_give_the_same_bits():
    from netcl.core import program

    def run(times: int) -> bytes:
        x = nc.tensor(logits(0, times), requires_grad=True)
        nn.CTCLoss()(F.log_softmax(x, 2), nc.tensor(TARGETS), [times] * 4, LENGTHS).backward()
        return x.grad.numpy().tobytes()

    run(11)
    before = program.compile_count
    assert run(15) == run(15)
    assert program.compile_count - before <= 8  # those that read or write the whole length


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
