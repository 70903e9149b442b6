"""One training step, one plain function: forward, loss, metrics, backward, clipping, the optimizer, the average."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from netcl.autograd.tape import no_grad
from netcl.graph.value import flush_thread
from netcl.metrics import LOSS, Metric, Sums, detached, found, merged
from netcl.nn.utils import clip_grad_norm_
from netcl.tensor import Tensor
from netcl.trainer.batches import call

if TYPE_CHECKING:
    from netcl.trainer.trainer import Trainer

MOST_CLASSES = 1000  # beyond them F1 is left out unless asked for: it compares every sample with every class


def make_step(trainer: Trainer) -> Callable:
    """step(inputs, target, sums, size, weight, begin, end) -> sums with this batch's. Nothing in it reads a value.

    weight: what the loss counts for in the gradient, or None for 1; begin, end: whether a step of the optimizer begins
    and ends with this batch.
    """
    optimizer = trainer.optimizer

    def step(inputs: Any, target: Any, sums: Any, size: int, weight: float | None, begin: bool, end: bool) -> Any:
        scaler = trainer.scaler
        if begin:
            optimizer.zero_grad()
        with trainer.precision():
            prediction = call(trainer.model, inputs)
            loss = checked(trainer.loss_fn(prediction, target))
        sums = with_batch(chosen(trainer, prediction, target), sums, loss, prediction, target, size)
        scaled = loss if weight is None else loss * weight
        (scaled if scaler is None else scaler.scale(scaled)).backward()
        if end:
            if trainer.clip is not None:
                if scaler is not None:
                    scaler.unscale_(optimizer)
                clip_grad_norm_(trainer.parameters, trainer.clip)
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
            if trainer.ema is not None:
                trainer.ema.update_parameters(trainer.model)
        flush_thread()  # what a step computes must not depend on who looks at it afterwards
        return sums

    return step


def make_measurement(trainer: Trainer) -> Callable:
    """measure(inputs, target, sums, size) -> sums with this batch's, without gradients."""

    def measure(inputs: Any, target: Any, sums: Any, size: int) -> Any:
        with no_grad(), trainer.precision():
            prediction = call(trainer.measured_model, inputs)
            loss = checked(trainer.loss_fn(prediction, target))
            sums = with_batch(chosen(trainer, prediction, target), sums, loss, prediction, target, size)
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
    metrics: Sequence[Metric], sums: Any, loss: Tensor, prediction: Any, target: Any, size: int
) -> list[Sums]:
    """The sums of the loss and the metrics with a batch's added."""
    with no_grad():
        new = [LOSS.sums(loss.detach(), size)]
        new += [metric.sums(detached(prediction), detached(target)) for metric in metrics]
        return merged([LOSS, *metrics], sums, new)


def chosen(trainer: Trainer, prediction: Any, target: Any) -> list[Metric]:
    """The Trainer's metrics; the usual ones are chosen here, by the first batch."""
    if trainer.usual_metrics:
        trainer.metrics, trainer.usual_metrics = usual_metrics(prediction, target), False
    return trainer.metrics


def usual_metrics(prediction: Any, target: Any) -> list[Metric]:
    """Accuracy and F1 for classes, the mean absolute error and R2 for numbers; none where the shapes fit neither."""
    if not (isinstance(prediction, Tensor) and isinstance(target, Tensor)):
        return []
    if target.is_floating_point():
        fits = prediction.shape == target.shape and target.ndim > 0
        return [found("mae"), found("r2")] if fits else []
    scores = prediction.ndim == target.ndim + 1 and prediction.shape[:1] + prediction.shape[2:] == target.shape
    if not scores or prediction.shape[1] < 2:
        return []
    return [found("accuracy")] + ([found("f1")] if prediction.shape[1] <= MOST_CLASSES else [])


def autocast_and_scaler(amp: Any) -> tuple[Callable[[], AbstractContextManager], Any]:
    """(what makes a step's context, its GradScaler or None) for Trainer(amp=..)."""
    if amp is None or amp is False:
        return nullcontext, None
    raise NotImplementedError("Trainer(amp=..) needs netcl.amp, which is not there yet; leave amp out")
