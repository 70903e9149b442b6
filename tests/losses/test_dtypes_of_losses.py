"""What dtype a loss has, and which dtypes of inputs and targets are refused, is as in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F

x, y = [[0.2, 0.9, 0.4], [0.1, 0.3, 0.6]], [[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]]


@pytest.mark.parametrize("name", ["huber_loss", "soft_margin_loss", "hinge_embedding_loss"])
def test_a_target_of_another_dtype_does_not_change_the_losses(torch, name):
    """huber, soft_margin and hinge_embedding have the input's dtype; other losses have what both promote to."""
    for own in ("float16", "float32", "float64"):
        for other in ("float16", "float32", "float64"):
            for reduction in ("none", "mean"):
                found = []
                for module, functional in ((nc, F), (torch, torch.nn.functional)):
                    a = module.tensor(x, dtype=getattr(module, own), requires_grad=True)
                    target = module.tensor(y, dtype=getattr(module, other))
                    loss = getattr(functional, name)(a, target, reduction=reduction)
                    numbers = [loss.detach().numpy()]
                    if own == other or module is nc:  # PyTorch's huber_loss has no gradient of two dtypes
                        loss.sum().backward()
                        numbers.append(a.grad.numpy())
                    found.append((str(loss.dtype).split(".")[1], *numbers))
                expected = "float32" if own == "float16" and reduction == "mean" else own
                assert found[0][0] == expected, (own, other, reduction)
                assert expected == found[1][0] or own == "float16"
                assert found[0][2].dtype == own
                for ours, theirs in zip(found[0][1:], found[1][1:], strict=False):
                    np.testing.assert_allclose(ours, theirs, rtol=2e-3 if "float16" in (own, other) else 1e-6)


def test_probabilities_in_float64_give_a_loss_in_float64(torch):
    found = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        a = module.tensor(x, requires_grad=True)
        loss = functional.cross_entropy(a, module.tensor(np.abs(y) / 3), label_smoothing=0.1)
        loss.backward()
        assert str(loss.dtype).endswith("float64") and str(a.grad.dtype).endswith("float32")
        found.append((loss.item(), a.grad.numpy()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-7)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5, atol=1e-8)


def test_losses_of_integers_where_pytorch_has_them(torch):
    draws = np.random.default_rng(0)
    a, b = draws.integers(0, 9, (2, 3)), draws.integers(0, 9, (2, 3))
    for kind in ("int8", "uint8", "int32", "int64"):
        for options in ({"reduction": "none"}, {"reduction": "sum"}):
            found = []
            for module, functional in ((nc, F), (torch, torch.nn.functional)):
                given = module.tensor(a, dtype=getattr(module, kind)), module.tensor(b, dtype=module.int64)
                losses = functional.l1_loss(*given, **options), functional.poisson_nll_loss(*given, **options)
                found.append([(str(loss.dtype).split(".")[1], loss.numpy()) for loss in losses])
            for ours, theirs in zip(*found, strict=True):
                assert ours[0] == theirs[0]
                np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)


def refused():
    whole, floats = nc.ones(2, 3, dtype=nc.int64), nc.tensor(x)
    labels = nc.tensor([0, 1])
    yield lambda: F.l1_loss(whole, whole), RuntimeError, "mean needs floating"
    for name in ("mse_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits"):
        yield lambda name=name: getattr(F, name)(whole, whole), NotImplementedError, name
    for name in ("cross_entropy", "nll_loss", "multi_margin_loss"):
        yield lambda name=name: getattr(F, name)(whole, labels), NotImplementedError, name
        yield lambda name=name: getattr(F, name)(floats, labels.float()), RuntimeError, f"{name}.*int64|target.long"
    yield lambda: F.cross_entropy(floats, whole), RuntimeError, "holds probabilities.*int64"
    yield lambda: F.cross_entropy(floats, floats[:1]), ValueError, r"probabilities have shape \[1, 3\], logits \[2, 3\]"
    yield lambda: F.cross_entropy(floats, floats, ignore_index=1), RuntimeError, "ignore_index=1.*probabilities"
    for name in ("cross_entropy", "nll_loss", "focal_loss"):
        yield lambda name=name: getattr(F, name)(floats, labels, ignore_index=1.0), TypeError, f"{name}.*int.*float"
    yield lambda: F.nll_loss(floats[0], labels), ValueError, r"\[3\].*\[\].*\[2\]"
    yield lambda: F.nll_loss(floats[0], whole), RuntimeError, r"\[3\].*\[\].*\[2, 3\]"
    log_p = nc.zeros(3, 1, 2, dtype=nc.float16)
    yield lambda: F.ctc_loss(log_p, nc.ones(1, 1, dtype=nc.int64), [3], [1]), NotImplementedError, "ctc_loss.*float16"
    yield lambda: F.multilabel_soft_margin_loss(floats[0, 0], floats[0, 0]), IndexError, "0-d"


def test_dtypes_and_shapes_that_do_not_fit_are_refused():
    for wrong, kind, words in refused():
        with pytest.raises(kind, match=words):
            wrong()
