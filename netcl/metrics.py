"""Metrics as sums: added up on the device batch by batch, with a formula that is applied to them once at the end.

So nothing is read per batch, and batches of unequal size give what one large batch would. `TABLE` lists them by name.

>>> import netcl as nc
>>> meter = nc.metrics.Meter("mae", "r2")
>>> for x, y in (([1.0, 2.0], [1.0, 3.0]), ([4.0], [4.0])):
...     meter.update(nc.tensor(x), nc.tensor(y))
>>> {name: round(value, 3) for name, value in meter.values().items()}
{'mae': 0.333, 'r2': 0.786}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from netcl.autograd.tape import no_grad
from netcl.core import dtypes
from netcl.nn.functional import cross_entropy
from netcl.ops.creation import full
from netcl.ops.ranges import arange
from netcl.tensor import Tensor

__all__ = ["TABLE", "Meter", "Metric", "accuracy", "f1", "mae", "mse", "of_function", "perplexity", "r2", "top_k"]

Sums = tuple[Tensor, ...]


def _added(old: Sums, new: Sums) -> Sums:
    return tuple(a + b for a, b in zip(old, new, strict=True))


@dataclass(frozen=True)
class Metric:
    """`sums(prediction, target)` of a batch as tensors, `merge` of two parts (they are added), and `value(*arrays)`."""

    name: str
    sums: Callable[[Any, Any], Sums]
    value: Callable[..., float]
    higher_is_better: bool = True
    merge: Callable[[Sums, Sums], Sums] = _added

    def __call__(self, prediction: Tensor, target: Tensor) -> float:
        """The metric of these alone. Waits for the device."""
        with no_grad():
            return self.value(*(part.numpy() for part in self.sums(prediction.detach(), target.detach())))


# ---- accumulating ----------------------------------------------------------------------------------------------------


def add_batch(metrics: Sequence[Metric], sums: Sequence[Sums] | None, prediction: Any, target: Any) -> list[Sums]:
    """The metrics' sums with a batch's added; `sums` is None before the first. It is recorded, not yet computed."""
    with no_grad():
        return merged(metrics, sums, [metric.sums(detached(prediction), detached(target)) for metric in metrics])


def merged(metrics: Sequence[Metric], old: Sequence[Sums] | None, new: list[Sums]) -> list[Sums]:
    """The sums of two parts together."""
    return new if old is None else [metric.merge(*parts) for metric, *parts in zip(metrics, old, new, strict=True)]


def detached(values: Any) -> Any:
    """A tensor without its history; anything else as it is."""
    return values.detach() if isinstance(values, Tensor) else values


def read(metrics: Sequence[Metric], sums: Sequence[Sums] | None) -> dict[str, float]:
    """Each metric's value by name; nan for all where no batch was added. Waits for the device."""
    if sums is None:
        return {metric.name: float("nan") for metric in metrics}
    return {
        metric.name: float(metric.value(*(part.numpy() for part in parts)))
        for metric, parts in zip(metrics, sums, strict=True)
    }


class Meter:
    """Metrics (or their names) over many batches: update(prediction, target) for each, values() at the end."""

    def __init__(self, *metrics: Metric | str) -> None:
        self.metrics = distinct(metrics)
        self._sums: list[Sums] | None = None

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch. Nothing is read from the device."""
        self._sums = add_batch(self.metrics, self._sums, prediction, target)

    def values(self) -> dict[str, float]:
        """By name. Waits for the device."""
        return read(self.metrics, self._sums)

    def reset(self) -> None:
        """Begin anew."""
        self._sums = None


def found(metric: Any) -> Metric:
    """A Metric, one of TABLE by its name, or a function of (prediction, target) made one. ValueError, TypeError."""
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        if metric not in TABLE:
            raise ValueError(f"there is no metric {metric!r}; there are {', '.join(TABLE)}, and any function")
        return TABLE[metric]
    if callable(metric):
        return of_function(metric)
    raise TypeError(f"a metric is a name, a Metric or a function, not {type(metric).__name__}")


def distinct(metrics: Iterable[Any], *others: Metric) -> list[Metric]:
    """Each as a Metric. ValueError where two, or one and one of the others, have the same name."""
    listed = [found(metric) for metric in metrics]
    names = [metric.name for metric in (*others, *listed)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"two metrics are named {name!r}: name one by nc.metrics.of_function(function, name) or "
                "dataclasses.replace(metric, name=..)"
            )
    return listed


# ---- classes ---------------------------------------------------------------------------------------------------------


def _labels(name: str, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(predicted classes, true ones), flat. Scores have their classes in dimension 1; a score for each target is a
    logit of two classes."""
    if prediction.ndim == target.ndim + 1 and prediction.shape[:1] + prediction.shape[2:] == target.shape:
        if prediction.shape[1] == 1:
            raise ValueError(
                f"{name}: there is one score for each target, in shape {list(prediction.shape)}: squeeze(1) for two "
                "classes"
            )
        return prediction.argmax(1).reshape(-1), target.reshape(-1)
    if prediction.shape != target.shape:
        raise ValueError(
            f"{name}: expected scores (N, C, ..) for classes (N, ..), or equal shapes; got {list(prediction.shape)} "
            f"and {list(target.shape)}"
        )
    guesses = prediction > 0 if prediction.is_floating_point() else prediction
    truth = target > 0.5 if target.is_floating_point() else target
    return guesses.to(dtypes.int64).reshape(-1), truth.to(dtypes.int64).reshape(-1)


def _accuracy_sums(prediction: Tensor, target: Tensor) -> Sums:
    guesses, truth = _labels("accuracy", prediction, target)
    counted = truth >= 0
    return (counted & (guesses == truth)).sum(), counted.sum()


def _ratio(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else float("nan")


def accuracy() -> Metric:
    """The share of right answers.

    Scores (N, C, ..) with classes (N, ..), logits with 0 and 1 of the same shape, or classes with classes. Negative
    classes (cross_entropy's ignore_index) don't count.
    """
    return Metric("accuracy", _accuracy_sums, _ratio)


def top_k(k: int = 5) -> Metric:
    """The share of targets (N,) that are among the k highest scores of (N, C). Its name is top_5."""
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"top_k: k must be a positive integer, got {k}")

    def sums(prediction: Tensor, target: Tensor) -> Sums:
        if prediction.ndim != 2 or prediction.shape[:1] != target.shape:
            shapes = f"{list(prediction.shape)} and {list(target.shape)}"
            raise ValueError(f"top_k: expected scores (N, C) and classes (N,), got {shapes}")
        classes = arange(prediction.shape[1], device=prediction.device)
        wanted = target.clamp(min=0).reshape(-1, 1)
        score = prediction.gather(1, wanted)
        # Of equal scores the later class ranks higher, as in scikit-learn.
        above = (prediction > score) | ((prediction == score) & (classes > wanted))
        counted = target >= 0
        hit = (above.sum(1) < k) & (score == score).reshape(-1)  # a score that is nan is not among the highest
        return (hit & counted).sum(), counted.sum()

    return Metric(f"top_{k}", sums, _ratio)


def _perplexity_sums(prediction: Tensor, target: Tensor) -> Sums:
    surprise = cross_entropy(prediction, target, reduction="sum")
    return _wide(surprise), (target >= 0).sum()


def perplexity() -> Metric:
    """Among how many classes the model hesitates: e to the mean cross-entropy of scores (N, C, ..) and classes."""
    return Metric(
        "perplexity", _perplexity_sums, lambda total, count: float(np.exp(_ratio(total, count))), higher_is_better=False
    )


def f1(average: str = "macro", classes: int | None = None) -> Metric:
    """The harmonic mean of precision and recall of each class, averaged: "macro" (each class that occurs counts the
    same), "weighted" (by how often it is true) or "micro" (all together). For logits of the shape of the targets it is
    the score of class 1. Its name is f1, f1_weighted or f1_micro.

    classes: how many there are, needed where predictions are classes, not scores.
    """
    if average not in ("macro", "weighted", "micro"):
        raise ValueError(f'f1: average must be "macro", "weighted" or "micro", got {average!r}')

    def sums(prediction: Tensor, target: Tensor) -> Sums:
        guesses, truth = _labels("f1", prediction, target)
        if prediction.shape != target.shape:
            which = arange(prediction.shape[1], device=target.device)
        elif prediction.is_floating_point():
            which = arange(1, 2, device=target.device)
        elif classes is None:
            raise ValueError("f1: say how many classes there are, as in f1(classes=10), or give scores (N, C)")
        else:
            which = arange(classes, device=target.device)
        counted = truth >= 0
        guessed = (guesses.reshape(-1, 1) == which) & counted.reshape(-1, 1)
        true = truth.reshape(-1, 1) == which
        return (guessed & true).sum(0), guessed.sum(0), true.sum(0)

    def value(hits: np.ndarray, guessed: np.ndarray, true: np.ndarray) -> float:
        if average == "micro":
            return _ratio(2 * hits.sum(), guessed.sum() + true.sum())
        occurs = guessed + true > 0
        if not occurs.any():
            return float("nan")
        scores = 2 * hits[occurs] / (guessed + true)[occurs]
        return float(np.average(scores, weights=true[occurs] if average == "weighted" and true.any() else None))

    return Metric("f1" if average == "macro" else f"f1_{average}", sums, value)


# ---- numbers ---------------------------------------------------------------------------------------------------------


def _wide(tensor: Tensor) -> Tensor:
    """In float64 where the device has it: sums over millions of samples stay exact."""
    return tensor.to(_wide_dtype(tensor))


def _wide_dtype(tensor: Tensor) -> dtypes.DType:
    return dtypes.float64 if tensor.device.capabilities.fp64 else dtypes.float32


def _count(number: int, like: Tensor) -> Tensor:
    return full((), float(number), dtype=_wide_dtype(like), device=like.device)


def _errors(name: str, prediction: Tensor, target: Tensor) -> Tensor:
    if prediction.shape != target.shape:
        raise ValueError(
            f"{name}: prediction and target must have one shape, got {list(prediction.shape)} and {list(target.shape)}"
        )
    return _wide(prediction) - _wide(target)


def mae() -> Metric:
    """The mean absolute error over all elements."""
    return Metric(
        "mae",
        lambda p, t: (_errors("mae", p, t).abs().sum(), _count(t.numel(), t)),
        _ratio,
        higher_is_better=False,
    )


def mse() -> Metric:
    """The mean squared error over all elements."""
    return Metric(
        "mse",
        lambda p, t: (_errors("mse", p, t).square().sum(), _count(t.numel(), t)),
        _ratio,
        higher_is_better=False,
    )


def _r2_sums(prediction: Tensor, target: Tensor) -> Sums:
    """Count, and by column the mean of the targets, the squares around it, the squared errors."""
    columns = prod(target.shape[1:])
    errors = _errors("r2", prediction, target).reshape(-1, columns)
    truth = _wide(target).reshape(-1, columns)
    mean = truth.mean(0)
    return _count(len(target), target), mean, (truth - mean).square().sum(0), errors.square().sum(0)


def _r2_merged(old: Sums, new: Sums) -> Sums:
    """Chan's formula for the squares around a common mean: nothing large is subtracted from something large."""
    count, mean, squares, errors = old
    count_new, mean_new, squares_new, errors_new = new
    total = count + count_new
    apart = mean_new - mean
    share = count_new / total
    return total, mean + apart * share, squares + squares_new + apart * apart * count * share, errors + errors_new


def _r2_value(count: np.ndarray, mean: np.ndarray, squares: np.ndarray, errors: np.ndarray) -> float:
    if count < 2:
        return float("nan")
    flat = squares == 0
    scores = np.where(flat, np.where(errors == 0, 1.0, 0.0), 1 - errors / np.where(flat, 1, squares))
    return float(scores.mean())


def r2() -> Metric:
    """The share of the targets' variance that is explained: 1 - squared errors / squares around the mean. Of targets
    with several columns the mean of the columns' scores; a column without variance gives 1 if it is met, else 0."""
    return Metric("r2", _r2_sums, _r2_value, merge=_r2_merged)


def of_function(function: Callable[[Tensor, Tensor], Tensor], name: str | None = None) -> Metric:
    """A metric of any function that gives a batch's mean as a tensor of one element: the mean over all samples."""

    def sums(prediction: Any, target: Any) -> Sums:
        result = function(prediction, target)
        if not isinstance(result, Tensor) or result.numel() != 1:
            raise TypeError(f"metric {label}: expected a tensor of one element from the function, got {result!r}")
        return weighted(result, len(target))

    label = name or str(getattr(function, "__name__", type(function).__name__))
    return Metric(label, sums, _ratio)


def weighted(mean: Tensor, count: int) -> Sums:
    """The sums of a mean over `count` samples."""
    return _wide(mean.reshape(())) * float(count), _count(count, mean)


LOSS = Metric("loss", weighted, _ratio, higher_is_better=False)  # of a mean and a number of samples


TABLE = {metric.name: metric for metric in (accuracy(), f1(), mae(), mse(), perplexity(), r2(), top_k())}
