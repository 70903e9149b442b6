"""One training step, one plain function: forward, loss, metrics, backward, clipping, the optimizer, the average."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import netcl.nn.functional as F
from netcl import nn
from netcl.amp import GradScaler, autocast, get_autocast_dtype
from netcl.autograd.tape import no_grad
from netcl.core import dtypes
from netcl.graph.value import flush_thread
from netcl.jit import jit_compile
from netcl.metrics import LOSS, Metric, Sums, detached, found, merged
from netcl.nn.utils import clip_grad_norm_
from netcl.tensor import Tensor
from netcl.trainer.batches import call

if TYPE_CHECKING:
    from netcl.trainer.trainer import Trainer

Reading = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

MOST_CLASSES = 1000  # beyond them F1 is left out unless asked for: it compares every sample with every class


class Steps:
    """A Trainer's two functions, compiled: `train` and `measure`. Nothing in them reads a value.

    They know the parts, not the Trainer, whose counters change at each step. The first batch goes uncompiled: it tells
    what shapes the sums have, and chooses the usual metrics where these are wanted.
    """

    def __init__(self, trainer: Trainer, metrics: Sequence[Metric] | None, compiled: bool) -> None:
        self.metrics = list(metrics or ())
        self.choosing = metrics is None
        self._read = reading(trainer.loss_fn)
        self._zeros: list[tuple[np.ndarray, ...]] | None = None
        self._device = trainer.device
        self._first = _train(trainer, self.metrics, self), _measure(trainer, self.metrics, self)
        later = _train(trainer, self.metrics, None), _measure(trainer, self.metrics, None)
        self._later = tuple(map(jit_compile, later)) if compiled else later

    def choose(self, names: Sequence[str]) -> None:
        """Measure these of the usual metrics from now on."""
        self.metrics[:] = [_read_as(self._read, found(name)) for name in names]
        self.choosing = False

    def train(self, inputs: Any, target: Any, sums: Any, *rest: Any) -> Any:
        """(inputs, target, sums or None, size, weight, begin, end) -> sums with this batch's.

        weight: what the loss counts for in the gradient, or None for 1; begin, end: whether a step of the optimizer
        begins and ends with this batch.
        """
        return self._call(0, inputs, target, sums, *rest)

    def measure(self, inputs: Any, target: Any, sums: Any, size: int) -> Any:
        """Sums with this batch's, without gradients."""
        return self._call(1, inputs, target, sums, size)

    def _call(self, which: int, inputs: Any, target: Any, sums: Any, *rest: Any) -> Any:
        if self._zeros is None:
            return self._first[which](inputs, target, sums, *rest)
        return self._later[which](inputs, target, self._nothing() if sums is None else sums, *rest)

    def _nothing(self) -> list[Sums]:
        """The sums of no batch."""
        assert self._zeros is not None
        return [tuple(Tensor.from_host(zero, device=self._device) for zero in part) for part in self._zeros]

    def choose_for(self, prediction: Any, target: Any) -> None:
        """Choose the usual metrics by what the model answered, where they are wanted."""
        if self.choosing:
            self.choose(usual_metrics(self._read, prediction, target))

    def added(self, sums: Any, new: list[Sums]) -> list[Sums]:
        """The first batch's sums added to none, or to those of a checkpoint."""
        self._zeros = [tuple(np.zeros(part.shape, part.dtype.numpy) for part in parts) for parts in new]
        return merged([LOSS, *self.metrics], self._nothing() if sums is None else sums, new)


def _train(trainer: Trainer, metrics: list[Metric], first: Steps | None) -> Callable:
    model, optimizer, loss_fn, ema = trainer.model, trainer.optimizer, trainer.loss_fn, trainer.ema
    precision, scaler, clip = trainer.precision, trainer.scaler, trainer.clip

    def train(inputs: Any, target: Any, sums: Any, size: int, weight: float | None, begin: bool, end: bool) -> Any:
        if begin:
            optimizer.zero_grad()
        with precision():
            prediction = call(model, inputs)
            loss = checked(loss_fn(prediction, target))
        sums = with_batch(first, metrics, sums, loss, prediction, target, size)
        scaled = loss if weight is None else loss * weight
        (scaled if scaler is None else scaler.scale(scaled)).backward()
        del prediction, loss, scaled  # what is held is stored, in float16 with amp; a compiled step holds none of it
        if end:
            if clip is not None:
                if scaler is not None:
                    scaler.unscale_(optimizer)
                clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip)
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
            if ema is not None:
                ema.update_parameters(model)
        flush_thread()  # what a step computes must not depend on who looks at it afterwards
        return sums

    return train


def _measure(trainer: Trainer, metrics: list[Metric], first: Steps | None) -> Callable:
    model, loss_fn, precision = trainer.measured_model, trainer.loss_fn, trainer.precision

    def measure(inputs: Any, target: Any, sums: Any, size: int) -> Any:
        with no_grad(), precision():
            prediction = call(model, inputs)
            loss = checked(loss_fn(prediction, target))
            sums = with_batch(first, metrics, sums, loss, prediction, target, size)
        del prediction, loss  # as in a step
        flush_thread()
        return sums

    return measure


def checked(loss: Any) -> Tensor:
    """The loss; TypeError, ValueError for what is no single number."""
    if not isinstance(loss, Tensor):
        raise TypeError(f"loss_fn(prediction, target) must return a tensor, not {type(loss).__name__}")
    if loss.numel() != 1:
        raise ValueError(
            f"loss_fn must return one number, the mean over the batch, not a tensor of shape {list(loss.shape)}: leave "
            'out reduction="none"'
        )
    return loss


def with_batch(
    first: Steps | None, metrics: list[Metric], sums: Any, loss: Tensor, prediction: Any, target: Any, size: int
) -> list[Sums]:
    """The sums of the loss and the metrics with a batch's added."""
    with no_grad():
        if first is not None:
            first.choose_for(prediction, target)
        new = [LOSS.sums(loss.detach(), size)]
        new += [metric.sums(detached(prediction), detached(target)) for metric in metrics]
        return merged([LOSS, *metrics], sums, new) if first is None else first.added(sums, new)


def usual_metrics(read: Reading | None, prediction: Any, target: Any) -> list[str]:
    """Accuracy and F1 for classes, the mean absolute error and R2 for numbers; none where the shapes fit neither."""
    if not (isinstance(prediction, Tensor) and isinstance(target, Tensor)):
        return []
    if read is not None:
        prediction, target = read(prediction, target)
    elif target.is_floating_point():
        return ["mae", "r2"] if prediction.shape == target.shape and target.ndim > 0 else []
    if read is not None and prediction.shape == target.shape:
        return ["accuracy", "f1"]
    scores = prediction.ndim == target.ndim + 1 and prediction.shape[:1] + prediction.shape[2:] == target.shape
    if not scores or prediction.shape[1] < 2:
        return []
    return ["accuracy", "f1"] if prediction.shape[1] <= MOST_CLASSES else ["accuracy"]


def reading(loss_fn: Any) -> Reading | None:
    """For a loss of classes: what makes scores and classes of its arguments, whose targets may be floating-point. None
    for any other loss, of which the targets' dtype tells whether they are classes."""
    while isinstance(loss_fn, partial):
        loss_fn = loss_fn.func
    for known, read in (
        ((F.cross_entropy, nn.CrossEntropyLoss), _most_likely),
        ((F.binary_cross_entropy, nn.BCELoss), lambda prediction, target: (prediction - 0.5, target)),
        ((F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss), lambda prediction, target: (prediction, target)),
    ):
        if loss_fn is known[0] or isinstance(loss_fn, known[1]):
            return read
    return None


def _most_likely(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities of classes as the most likely one."""
    return prediction, target.argmax(1) if target.is_floating_point() and target.ndim > 1 else target


def _read_as(read: Reading | None, metric: Metric) -> Metric:
    if read is None:
        return metric
    return replace(metric, sums=lambda prediction, target: metric.sums(*read(prediction, target)))


def autocast_and_scaler(amp: Any, device: Any) -> tuple[Callable[[], AbstractContextManager], GradScaler | None]:
    """(what makes a step's context, its GradScaler or None) for Trainer(amp=..). float16 needs the scaler."""
    if amp is None or amp is False:
        return nullcontext, None
    if amp is True:
        amp = get_autocast_dtype(device.kind)
    dtype = getattr(dtypes, amp, None) if isinstance(amp, str) else amp
    if dtype not in (dtypes.float16, dtypes.bfloat16):
        raise ValueError(f"Trainer: amp must be True, nc.float16 or nc.bfloat16, got {amp!r}")
    return partial(autocast, dtype=dtype), GradScaler() if dtype is dtypes.float16 else None
