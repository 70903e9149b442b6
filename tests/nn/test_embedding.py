"""Embedding, EmbeddingBag, one_hot against PyTorch: values, gradients, options, initial values, what is raised."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn

draws = np.random.default_rng(2)
TABLE = draws.standard_normal((7, 5)).astype(np.float32)
INDEX = np.array([[1, 0, 3], [3, 3, 6]])


@pytest.mark.parametrize("options", [{}, {"padding_idx": 3}, {"padding_idx": -1, "scale_grad_by_freq": True}])
def test_embedding_and_its_gradient_equal_pytorchs(place, torch, options):
    found = []
    for lib, functional in ((nc, F), (torch, torch.nn.functional)):
        weight = lib.tensor(TABLE, requires_grad=True)
        rows = functional.embedding(lib.tensor(INDEX), weight, **options)
        (rows * rows).sum().backward()
        found.append((rows.detach(), weight.grad))
    for got, want in zip(*found, strict=True):
        assert tuple(got.shape) == tuple(want.shape)
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-6)


def test_second_derivatives_of_embedding():
    weight, index = nc.tensor(TABLE, requires_grad=True), nc.tensor(INDEX)
    (first,) = nc.autograd.grad((F.embedding(index, weight, padding_idx=0) ** 3).sum(), [weight], create_graph=True)
    (second,) = nc.autograd.grad((first * first).sum(), [weight])
    counts = np.array([0, 1, 0, 3, 0, 0, 1], np.float32)[:, None]
    np.testing.assert_allclose(first.detach().numpy(), 3 * TABLE**2 * counts, rtol=1e-5)
    np.testing.assert_allclose(second.numpy(), 36 * TABLE**3 * counts**2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", [1.0, 2.0])
def test_max_norm_scales_the_rows_that_are_looked_up_in_place(torch, norm):
    weights = []
    for lib, functional in ((nc, F), (torch, torch.nn.functional)):
        weight = lib.tensor(TABLE * 2)
        functional.embedding(lib.tensor(INDEX), weight, max_norm=1.5, norm_type=norm)
        weights.append(weight)
    np.testing.assert_allclose(weights[0].numpy(), weights[1].numpy(), rtol=1e-5)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag_equals_pytorchs(device, torch, mode):
    found = []
    for lib, functional in ((nc, F), (torch, torch.nn.functional)):
        weight = lib.tensor(TABLE, requires_grad=True)
        index, flat = lib.tensor(INDEX), lib.tensor([1, 5, 0, 3, 2, 6])
        results = [
            functional.embedding_bag(index, weight, mode=mode),
            functional.embedding_bag(flat, weight, lib.tensor([0, 2, 2, 5]), mode=mode),
            functional.embedding_bag(flat, weight, lib.tensor([0, 4, 6]), mode=mode, include_last_offset=True),
            functional.embedding_bag(flat, weight, lib.tensor([0, 1, 4]), mode=mode, padding_idx=5),
        ]
        if mode == "sum":
            factors = lib.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 0.0]])
            results.append(functional.embedding_bag(index, weight, mode=mode, per_sample_weights=factors))
        total = sum((result * result).sum() for result in (results if mode != "max" else results[1:]))
        total.backward()
        found.append([*(result.detach() for result in results), weight.grad])
    for got, want in zip(*found, strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-5, atol=1e-6)


def test_modules_start_with_pytorchs_numbers_and_print_as_theirs(torch):
    nc.manual_seed(3)
    torch.manual_seed(3)
    for ours, theirs in (
        (nn.Embedding(6, 4, padding_idx=-2, max_norm=3.0), torch.nn.Embedding(6, 4, padding_idx=-2, max_norm=3.0)),
        (nn.EmbeddingBag(6, 4, mode="sum"), torch.nn.EmbeddingBag(6, 4, mode="sum")),
    ):
        np.testing.assert_array_equal(ours.weight.detach().numpy(), theirs.weight.detach().numpy())
        assert repr(ours) == repr(theirs)
        index = [[0, 5], [4, 1]]
        got, want = ours(nc.tensor(index)), theirs(torch.tensor(index))
        np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-6)


def test_given_rows_are_frozen_unless_asked_otherwise():
    frozen = nn.Embedding.from_pretrained(nc.tensor(TABLE))
    assert not frozen.weight.requires_grad
    np.testing.assert_array_equal(frozen(nc.tensor(2)).numpy(), TABLE[2])
    assert nn.Embedding.from_pretrained(nc.tensor(TABLE), freeze=False).weight.requires_grad
    assert not nn.EmbeddingBag.from_pretrained(nc.tensor(TABLE)).weight.requires_grad


def test_a_training_step_changes_the_rows_that_were_looked_up():
    nc.manual_seed(0)
    table = nn.Embedding(7, 5, padding_idx=0)
    optimizer = nc.optim.SGD(table.parameters(), lr=0.1)
    before = table.weight.detach().numpy()
    table(nc.tensor([[0, 2], [2, 4]])).sum().backward()
    optimizer.step()
    changed = np.abs(table.weight.detach().numpy() - before).max(1)
    np.testing.assert_allclose(changed, [0, 0, 0.2, 0, 0.1, 0, 0], atol=1e-6)


def test_looking_up_is_one_launch_and_its_gradient_another():
    weight, index = nc.tensor(TABLE, requires_grad=True), nc.tensor(INDEX)
    with nc.profiler.count_launches() as launches:
        F.embedding(index, weight).sum().backward()
        weight.grad.numpy()
    assert int(launches) <= 2


def test_one_hot_equals_pytorchs(place, torch):
    for index, classes in ((INDEX, -1), (INDEX, 9), (np.array(2), 4), (np.zeros((0, 2), np.int64), 3)):
        got = F.one_hot(nc.tensor(index), classes)
        want = torch.nn.functional.one_hot(torch.tensor(index), classes)
        assert got.dtype is nc.int64
        np.testing.assert_array_equal(got.numpy(), want.numpy())


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        (lambda i, w: F.embedding(i.float(), w), RuntimeError, "int64.*float32"),
        (lambda i, w: F.embedding(i, w[0]), RuntimeError, r"2 dimensions.*\[5\]"),
        (lambda i, w: F.embedding(i, w, sparse=True), NotImplementedError, "sparse"),
        (lambda i, w: F.embedding(i, w, padding_idx=7), ValueError, "padding_idx 7.*7 rows"),
        (lambda i, w: F.embedding(i + 1, w), IndexError, "embedding.*index 7 at position 5"),
        (lambda i, w: F.embedding(i - 1, w), IndexError, "embedding.*index -1 at position 1"),
        (lambda i, w: F.embedding(i, w[:0]), IndexError, "no rows"),
        (lambda i, w: nn.Embedding(3, 2, sparse=True), NotImplementedError, "sparse"),
        (lambda i, w: nn.Embedding(3, 2, _weight=w), ValueError, r"\[7, 5\].*\[3, 2\]"),
        (lambda i, w: nn.Embedding.from_pretrained(w[0]), ValueError, r"\[5\]"),
        (lambda i, w: F.embedding_bag(i, w, mode="min"), ValueError, "min"),
        (lambda i, w: F.embedding_bag(i[0], w), ValueError, "offsets"),
        (lambda i, w: F.embedding_bag(i[0], w, nc.tensor([1])), IndexError, "offsets that start at 0"),
        (lambda i, w: F.embedding_bag(i, w, per_sample_weights=w), NotImplementedError, "sum"),
        (lambda i, w: F.one_hot(i.int()), RuntimeError, "int64.*int32"),
        (lambda i, w: F.one_hot(i[:0]), RuntimeError, "num_classes"),
        (lambda i, w: F.one_hot(i, 6), IndexError, "one_hot.*index 6"),
    ],
)
def test_what_does_not_fit_raises(wrong, kind, words):
    with pytest.raises(kind, match=words):
        wrong(nc.tensor(INDEX), nc.tensor(TABLE)).numpy()


def test_embeddings_print_as_pytorchs(torch):
    for options in ({}, {"padding_idx": 2}, {"max_norm": 1.0, "padding_idx": 1}, {"norm_type": 1.0}):
        for name in ("Embedding", "EmbeddingBag"):
            ours, theirs = [repr(getattr(lib.nn, name)(5, 3, **options)) for lib in (nc, torch)]
            assert ours == theirs
