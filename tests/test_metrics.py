"""Metrics added up over batches of unequal size, against scikit-learn's on the whole."""

from __future__ import annotations

from itertools import pairwise
from math import isnan

import numpy as np
import pytest

import netcl as nc
from netcl import metrics

CUTS = (0, 5, 6, 30, 100)  # batches of unequal size, one of a single sample


def over_batches(metric: metrics.Metric, prediction: np.ndarray, target: np.ndarray) -> float:
    meter = metrics.Meter(metric)
    for start, stop in pairwise(CUTS):
        meter.update(nc.tensor(prediction[start:stop]), nc.tensor(target[start:stop]))
    return meter.values()[metric.name]


@pytest.fixture
def classes() -> tuple[np.ndarray, np.ndarray]:
    """Scores (100, 4) and classes (100,); class 3 is never true."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, 100)
    scores = rng.normal(size=(100, 4)) + 1.5 * np.eye(4)[target]
    return scores.astype(np.float32), target


def test_metrics_of_classes_are_those_of_scikit_learn(device, classes) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, target = classes
    guesses = scores.argmax(1)
    assert over_batches(metrics.accuracy(), scores, target) == sklearn.accuracy_score(target, guesses)
    for average in ("macro", "weighted", "micro"):
        ours = over_batches(metrics.f1(average), scores, target)
        assert ours == pytest.approx(sklearn.f1_score(target, guesses, average=average, zero_division=0), abs=1e-12)
    assert over_batches(metrics.f1("micro", classes=4), guesses, target) == pytest.approx(
        sklearn.f1_score(target, guesses, average="micro"), abs=1e-12
    )
    rounded = scores.round()  # many are equal
    for k in (1, 2, 3):
        wanted = sklearn.top_k_accuracy_score(target, rounded, k=k, labels=range(4))
        assert over_batches(metrics.top_k(k), rounded, target) == wanted


def test_metrics_of_numbers_are_those_of_scikit_learn_also_far_from_zero(device) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for shape in ((100,), (100, 3)):
        target = (rng.normal(size=shape) + 10_000).astype(np.float32)
        prediction = (target + 0.3 * rng.normal(size=shape)).astype(np.float32)
        assert over_batches(metrics.mae(), prediction, target) == pytest.approx(
            sklearn.mean_absolute_error(target, prediction), rel=1e-6
        )
        assert over_batches(metrics.mse(), prediction, target) == pytest.approx(
            sklearn.mean_squared_error(target, prediction), rel=1e-6
        )
        assert over_batches(metrics.r2(), prediction, target) == pytest.approx(
            sklearn.r2_score(target.astype(np.float64), prediction.astype(np.float64)), rel=1e-6
        )


def test_r2_without_float64_does_not_subtract_large_numbers(monkeypatch) -> None:
    monkeypatch.setattr(metrics, "_wide_dtype", lambda tensor: nc.float32)
    target = (np.random.default_rng(0).normal(size=100) + 10_000).astype(np.float32)
    wanted = 1 - np.square(np.float64(0.5)) / target.astype(np.float64).var()
    assert over_batches(metrics.r2(), target + np.float32(0.5), target) == pytest.approx(wanted, rel=1e-3)


def test_r2_of_columns_that_do_not_vary() -> None:
    column = nc.ones(4, 1)
    assert metrics.r2()(column, column) == 1
    assert metrics.r2()(column + 1, column) == 0
    assert isnan(metrics.r2()(column[:1], column[:1]))


def test_logits_of_two_classes_and_their_targets(device) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 100)
    logits = (rng.normal(size=100) + target - 0.5).astype(np.float32)
    for kind in (np.float32, np.int64, np.bool_):
        truth = target.astype(kind)
        assert over_batches(metrics.accuracy(), logits, truth) == sklearn.accuracy_score(target, logits > 0)
        assert over_batches(metrics.f1(), logits, truth) == pytest.approx(sklearn.f1_score(target, logits > 0))


def test_ignored_classes_do_not_count() -> None:
    scores = nc.tensor([[2.0, 1.0], [2.0, 1.0], [1.0, 2.0]])
    target = nc.tensor([0, -100, 0])
    assert metrics.accuracy()(scores, target) == 0.5
    assert metrics.top_k(1)(scores, target) == 0.5
    assert metrics.f1()(scores, target) == pytest.approx((2 / 3 + 0) / 2)
    assert isnan(metrics.accuracy()(scores, nc.full((3,), -100)))


def test_perplexity_is_e_to_the_mean_cross_entropy(device, classes) -> None:
    scores, target = classes
    target = np.where(np.arange(100) % 7 == 0, -100, target)
    rows = scores[target >= 0].astype(np.float64)
    true = rows[np.arange(len(rows)), target[target >= 0]]
    wanted = np.exp((np.log(np.exp(rows).sum(1)) - true).mean())
    assert over_batches(metrics.perplexity(), scores, target) == pytest.approx(wanted, rel=1e-6)


def test_a_score_that_is_nan_is_no_hit() -> None:
    assert metrics.top_k(2)(nc.tensor([[float("nan"), 1.0, 2.0]]), nc.tensor([0])) == 0


def test_scores_of_pixels_have_classes_in_dimension_1() -> None:
    scores = nc.zeros(2, 3, 4, 4)
    scores[:, 1] = 1.0
    target = nc.ones(2, 4, 4, dtype=nc.int64)
    target[0, 0, 0] = 2
    assert metrics.accuracy()(scores, target) == 31 / 32


def test_a_function_is_a_metric_by_its_mean_over_samples() -> None:
    def largest(prediction: nc.Tensor, target: nc.Tensor) -> nc.Tensor:
        return prediction.amax()

    meter = metrics.Meter(metrics.of_function(largest), metrics.of_function(largest, "other"))
    meter.update(nc.tensor([1.0, 2.0, 3.0]), nc.zeros(3))
    meter.update(nc.tensor([7.0]), nc.zeros(1))
    assert meter.values() == {"largest": 4.0, "other": 4.0}
    meter.reset()
    assert isnan(meter.values()["other"])


def test_nothing_is_read_until_the_end() -> None:
    meter = metrics.Meter("accuracy", "f1", "top_5")
    scores, target = nc.randn(10, 6), nc.zeros(10, dtype=nc.int64)
    counts = []
    for batches in (1, 5):
        with nc.profiler.count_reads() as reads:
            for _ in range(batches):
                meter.update(scores, target)
            assert int(reads) == 0
            meter.values()
        counts.append(int(reads))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: metrics.accuracy()(nc.zeros(3, 2), nc.zeros(4)), r"\[3, 2\] and \[4\]"),
        (lambda: metrics.accuracy()(nc.zeros(3, 1), nc.zeros(3)), "squeeze"),
        (lambda: metrics.f1("other"), "macro"),
        (lambda: metrics.f1()(nc.zeros(3, dtype=nc.int64), nc.zeros(3, dtype=nc.int64)), "classes=10"),
        (lambda: metrics.top_k(0), "positive"),
        (lambda: metrics.top_k()(nc.zeros(3), nc.zeros(3)), "top_k"),
        (lambda: metrics.mae()(nc.zeros(3, 1), nc.zeros(3)), "one shape"),
        (lambda: metrics.Meter("f2"), "accuracy, f1"),
    ],
)
def test_what_does_not_fit_is_told(make, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_a_metric_of_another_kind_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="name"):
        metrics.Meter(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="one element"):
        metrics.of_function(lambda p, t: p)(nc.zeros(2), nc.zeros(2))
