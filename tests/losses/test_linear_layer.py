"""linear_cross_entropy and its module: several labels for each row, PyTorch's numbers, what does not fit."""

from __future__ import annotations

import re

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.ops.losses import linear

N, C, LABELS, FEATURES = 7, 5, (2, 3), 4


def layer(module):
    draws = np.random.default_rng(0)
    shapes = (N, FEATURES), (C, *LABELS, FEATURES), (C, *LABELS)
    arrays = [draws.standard_normal(shape).astype(np.float32) for shape in shapes]
    indices = draws.integers(0, C, (N, *LABELS))
    shares = np.moveaxis(draws.dirichlet(np.ones(C), (N, *LABELS)), -1, 1).astype(np.float32)
    weight = draws.uniform(0.2, 2.0, C).astype(np.float32)
    tensors = [module.tensor(a, requires_grad=True) for a in arrays]
    return tensors, module.tensor(indices), module.tensor(np.ascontiguousarray(shares)), module.tensor(weight)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_several_labels_for_each_row_equal_pytorchs(torch, device, reduction, monkeypatch):
    monkeypatch.setattr(linear, "CHUNK", 1)  # 32 rows at a time are the least
    found = []
    for module, functional in ((nc, F), (torch, torch.nn.functional)):
        numbers = []
        for kind in ("indices", "probabilities"):
            (x, w, b), indices, shares, weight = layer(module)
            options = {"weight": weight, "label_smoothing": 0.1, "reduction": reduction}
            options |= {"ignore_index": 1} if kind == "indices" else {}
            target = indices if kind == "indices" else shares
            loss = functional.linear_cross_entropy(x, w, target, linear_bias=b, **options)
            (loss * loss).sum().backward()
            numbers += [loss.detach().numpy(), x.grad.numpy(), w.grad.numpy(), b.grad.numpy()]
        found.append(numbers)
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5 * max(1.0, float(np.abs(theirs).max())))


def test_the_module_draws_and_computes_what_pytorchs_does(torch):
    found = []
    for module in (nc, torch):
        (x, _, _), indices, _, weight = layer(module)
        module.manual_seed(3)
        loss = module.nn.LinearCrossEntropyLoss(
            FEATURES, C, out_features=(2,), bias=True, weight=weight, label_smoothing=0.1, ignore_index=1
        )
        value = loss(x, indices[:, :, 0])
        value.backward()
        layers = [loss.linear.weight, loss.linear.bias]
        found.append([value.detach().numpy(), x.grad.numpy(), *(p.grad.numpy() for p in layers)])
        assert sorted(loss.state_dict()) == ["linear.bias", "linear.weight", "weight"]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert repr(nn.LinearCrossEntropyLoss(4, 5)) == repr(torch.nn.LinearCrossEntropyLoss(4, 5))


(x, w, b), indices, shares, class_weight = layer(nc)
WRONG = [
    (lambda: F.linear_cross_entropy(x[0], w, indices[0]), RuntimeError, r"needs an input \(N, features\).*\[4\]"),
    (lambda: F.linear_cross_entropy(x, w, indices[:, 0]), RuntimeError, r"\[7, 2, 3\], got \[7, 3\]"),
    (lambda: F.linear_cross_entropy(x, w, indices[:6]), ValueError, r"\[7, 2, 3\], got \[6, 2, 3\]"),
    (lambda: F.linear_cross_entropy(x[0], w[:, 0, 0], indices[:, 0]), RuntimeError, r"shape \[\], got \[7, 3\]"),
    (lambda: F.linear_cross_entropy(x, w, indices, b[:, 0]), RuntimeError, r"linear_bias.*\[5, 3\].*\[5, 2, 3, 4\]"),
    (lambda: F.linear_cross_entropy(x[None], w, indices), RuntimeError, r"\[1, 7, 4\]; flatten"),
    (lambda: F.linear_cross_entropy(x[:, :3], w, indices), RuntimeError, "last size"),
    (lambda: F.linear_cross_entropy(x, w, shares, ignore_index=-100), RuntimeError, "ignore_index.*probabilities"),
    (lambda: F.linear_cross_entropy(x, w, indices, ignore_index=1.0), TypeError, "ignore_index.*int.*float"),
    (lambda: F.linear_cross_entropy(x, w, indices, bias=b, linear_bias=b), TypeError, "bias.*linear_bias"),
    (lambda: F.linear_cross_entropy(x, w, indices, options=1), NotImplementedError, "options"),
    (lambda: nn.LinearCrossEntropyLoss(4, 5, weight=nc.ones(3)), RuntimeError, r"5 classes.*\[3\]"),
    (lambda: nn.LinearCrossEntropyLoss(4, 5, label_smoothing=-1.0), RuntimeError, "label_smoothing.*-1"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_a_layer_that_does_not_fit_is_refused(number):
    wrong, kind, words = WRONG[number]
    with pytest.raises(kind) as caught:
        wrong()
    assert re.search(words, str(caught.value), re.DOTALL), str(caught.value)


def test_a_class_out_of_range_is_told_by_its_place_in_the_whole_target(monkeypatch):
    monkeypatch.setattr(linear, "CHUNK", 1)  # chunks of 24 rows
    rows, weight, many = nc.ones(70, 3), nc.ones(5, 3, requires_grad=True), np.zeros(70, np.int64)
    for wrong in (9, -1):
        many[45] = wrong
        with pytest.raises(IndexError, match=rf"linear_cross_entropy.*layer\.py:\d+.*index {wrong} at position 45"):
            F.linear_cross_entropy(rows, weight, nc.tensor(many)).item()
        F.linear_cross_entropy(rows, weight, nc.tensor(many)).backward()
        with pytest.raises(IndexError, match=rf"index {wrong} at position 45"):
            weight.grad.numpy()
    F.linear_cross_entropy(rows, weight, nc.tensor(many), ignore_index=-1).item()
    several = indices.numpy().copy()
    several[6, 1, 2] = 5
    with pytest.raises(IndexError, match="index 5 at position 41"):
        F.linear_cross_entropy(x, w, nc.tensor(several), reduction="none").detach().numpy()
