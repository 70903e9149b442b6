"""Trainer: fit, evaluate, predict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from netcl.autograd.tape import no_grad
from netcl.data.prefetch import Prefetched
from netcl.io import load, save
from netcl.metrics import LOSS, Metric, Sums, distinct, read
from netcl.nn.module import Module
from netcl.ops.joining import cat
from netcl.optim import LBFGS, Optimizer
from netcl.optim.lr_scheduler import ReduceLROnPlateau
from netcl.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from netcl.random import fork_rng
from netcl.tensor import Tensor
from netcl.trainer import batches as batching
from netcl.trainer.callbacks import Callback
from netcl.trainer.checkpoint import (
    check_fits,
    check_rereadable,
    random_state,
    restore,
    restore_random_state,
    skipped,
    state_of,
)
from netcl.trainer.history import HELD_OUT, History
from netcl.trainer.interrupts import Interrupts
from netcl.trainer.loggers import Progress
from netcl.trainer.step import Steps, autocast_and_scaler


class Trainer:
    """Train a model: Trainer(model, optimizer, loss_fn).fit(train, val, epochs) returns a History.

    loss_fn: any function of (prediction, target) that gives the mean over a batch. A batch is (x, y), (x1, x2, y), or a
    dict with an entry named target, label or y, whose others are the model's keywords; `unpack(batch)`, giving
    (inputs, target), reads any other.
    metrics: names of netcl.metrics.TABLE, Metrics, or functions; by default accuracy and F1 for classes (integers, or
    what a cross-entropy takes), MAE and R2 for other numbers. amp: float16, bfloat16 or True, for netcl.amp.autocast;
    float16 gets a GradScaler. clip: the greatest norm of the gradients. accumulate: how many batches make a step; their
    samples count alike. ema: the decay of an average of the weights, which is then what evaluate and predict use.
    scheduler: stepped after each "epoch" or "step", as scheduler_every says.

    A step is one function, compiled by nc.jit_compile unless compile=False says otherwise: a model that changes Python
    objects of its own needs that. Nothing is read from the device within an epoch: losses and metrics add up there.

    >>> import netcl as nc
    >>> _ = nc.manual_seed(0)
    >>> x = nc.randn(64, 3)
    >>> data = [(x, x.sum(1, keepdim=True))] * 50
    >>> model = nc.nn.Linear(3, 1)
    >>> trainer = nc.Trainer(model, nc.optim.Adam(model.parameters(), lr=0.1), nc.nn.MSELoss())
    >>> history = trainer.fit(data, epochs=2, progress=False)
    >>> history["r2"][-1] > 0.99
    True
    """

    def __init__(
        self, model: Module, optimizer: Optimizer, loss_fn: Callable[[Any, Any], Tensor], metrics: Any = None,
        amp: Any = None, clip: float | None = None, accumulate: int = 1, ema: float | None = None,
        callbacks: Sequence[Callback] = (), *, scheduler: Any = None, scheduler_every: str = "epoch",
        unpack: Callable[[Any], tuple[Any, Any]] = batching.unpack, compile: bool = True,
    ) -> None:  # fmt: skip
        _check(model, optimizer, loss_fn, clip, accumulate, callbacks)
        if scheduler is not None:
            _check_scheduler(scheduler, optimizer)
        if scheduler_every not in ("epoch", "step"):
            raise ValueError(f'Trainer: scheduler_every must be "epoch" or "step", got {scheduler_every!r}')
        if scheduler_every == "step" and isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError('Trainer: ReduceLROnPlateau goes by the loss of an epoch; use scheduler_every="epoch"')
        self.model = model
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.precision: Callable[[], AbstractContextManager]
        self.precision, self.scaler = autocast_and_scaler(amp, self.device)
        self.clip = clip
        self.accumulate = accumulate
        self.callbacks = list(callbacks)
        self.scheduler = scheduler
        self.scheduler_every = scheduler_every
        self.unpack = unpack
        self.ema: AveragedModel | None = None
        if ema is not None:
            self.ema = AveragedModel(model, self.device, multi_avg_fn=get_ema_multi_avg_fn(ema))
            self.ema.update_parameters(model)  # the average begins with the first weights
        self.history = History()
        self.epoch = self.batch = self.steps = 0  # epochs done, batches of the present one, the optimizer's steps
        self.stop = False  # set it to end the training
        self.finished = False  # the last call of fit came to its end
        self._sums: list[Sums] | None = None
        self._order: dict[str, Any] = {}  # the random state that the epoch began with
        self._began = 0  # the epoch that the present call of fit began with
        self._steps = Steps(self, None if metrics is None else distinct(_listed(metrics), LOSS), compile)

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimizer trains."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    @property
    def device(self) -> Any:
        """Where the model is."""
        return self.parameters[0].device

    @property
    def metrics(self) -> list[Metric]:
        """What is measured beside the loss; the usual metrics are there after the first batch."""
        return self._steps.metrics

    @property
    def measured_model(self) -> Module:
        """What evaluate and predict use: the average with `ema`, else the model."""
        return self.model if self.ema is None else self.ema.module

    # ---- training ----

    def fit(
        self, train: Iterable[Any], val: Iterable[Any] | None = None, epochs: int = 1, *, checkpoint: Any = None,
        checkpoint_every: int | None = None, resume: bool = False, progress: bool = True,
    ) -> History:  # fmt: skip
        """Train for `epochs` more epochs, each followed by a look at the validation data.

        checkpoint: a file for all that the training is (weights, optimizer, scheduler, scaler, random numbers, data
        order), written after each epoch, after every `checkpoint_every` steps, and at Ctrl-C, which ends the training
        after the step in hand (`history.interrupted`). With `resume` the training goes on from that file, if it is
        there, and comes to the same bits as one that was never stopped.
        progress: print a line for each epoch, and on a terminal a bar.
        """
        if checkpoint_every is not None and (checkpoint is None or checkpoint_every < 1):
            raise ValueError("checkpoint_every is a number of steps, 1 or more, and needs checkpoint=path")
        if not isinstance(epochs, int) or epochs < 0:
            raise ValueError(f"epochs is a number of epochs, 0 or more; got {epochs!r}")
        if isinstance(val, (int, float)):
            raise TypeError(f"val is validation data, not a number: write fit(train, epochs={val})")
        if resume and checkpoint is None:
            raise ValueError("resume=True needs checkpoint=path")
        check_rereadable(train, epochs, checkpoint is not None)
        path = None if checkpoint is None else Path(checkpoint)
        self._began = self.epoch
        self.stop = self.finished = self.history.interrupted = False
        within: dict[str, Any] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(f"checkpoint is a file to write; {str(path)!r} is a folder")
            for unfinished in path.parent.glob(f".{path.name}.*.tmp"):
                unfinished.unlink()  # a run was killed while it wrote
            if resume and path.exists():
                within = self._resume(path, train)
        goal = self._began + epochs
        callbacks = [*self.callbacks, *([Progress(goal, _length(train))] if progress else ())]
        training = self.model.training
        try:
            with Interrupts() as interrupts:
                for callback in callbacks:
                    callback.on_fit_begin(self)
                while self.epoch < goal and not self.stop and not interrupts.seen:
                    self._fit_epoch(train, val, callbacks, path, checkpoint_every, interrupts, within)
                    within = None
                    if path is not None:
                        self.save_checkpoint(path, train)
                if path is not None and not path.exists():  # Ctrl-C was faster than the first epoch
                    self.save_checkpoint(path, train)
                self.history.interrupted = interrupts.seen
                self.finished = not interrupts.seen
        finally:
            self.model.train(training)
            with ExitStack() as ends:  # each is told, also where one of them raises
                for callback in reversed(callbacks):
                    ends.callback(callback.on_fit_end, self)
        if self.history.interrupted and progress:
            saved = "; without checkpoint= it can't be resumed" if path is None else f"; saved as {path}"
            print(f"interrupted in epoch {self.epoch + 1} after {self.batch} batches{saved}", flush=True)
        return self.history

    def _fit_epoch(
        self, train: Iterable[Any], val: Iterable[Any] | None, callbacks: list[Callback], path: Path | None,
        every: int | None, interrupts: Interrupts, within: dict[str, Any] | None,
    ) -> None:  # fmt: skip
        """One epoch, or the rest of it, or what there is of it when Ctrl-C ends it."""
        began = time.perf_counter()
        self.model.train()
        if within is None:
            self._order, self._sums, self.batch = random_state(train), None, 0
        set_epoch = getattr(getattr(train, "sampler", None), "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self.epoch)
        iterator = iter(train)
        if within is not None:
            skipped(iterator, self.batch)
            restore_random_state(within["random"], train, self._order if isinstance(iterator, Prefetched) else None)
        for callback in callbacks:
            callback.on_epoch_begin(self)
        with batching.closed_after(iterator):
            for group in batching.groups(iterator, self.accumulate):
                self._train_on(group)
                for callback in callbacks:
                    callback.on_step_end(self)
                if interrupts.seen or self.stop:
                    break
                if path is not None and every is not None and self.steps % every == 0:
                    self.save_checkpoint(path, train)
        if self.batch == 0:
            raise ValueError("the training data has no batches")
        held_out: dict[str, float] = {}
        if val is not None and not interrupts.seen:
            with fork_rng():  # the training is the same with and without validation
                held_out = self._evaluated(val, interrupts)
        if not interrupts.seen:
            self._end_epoch(callbacks, held_out, time.perf_counter() - began)

    def _train_on(self, group: list[Any]) -> None:
        """One step of the optimizer, from one or several batches."""
        unpacked = [batching.on_device(self.unpack(batch), self.device) for batch in group]
        sizes = [batching.size_of(target, inputs) for inputs, target in unpacked]
        for number, ((inputs, target), size) in enumerate(zip(unpacked, sizes, strict=True)):
            weight = None if len(group) == 1 else size / sum(sizes)
            begin, end = number == 0, number == len(group) - 1
            self._sums = self._steps.train(inputs, target, self._sums, size, weight, begin, end)
        self.batch += len(group)
        self.steps += 1
        if self.scheduler is not None and self.scheduler_every == "step":
            self.scheduler.step()

    def _end_epoch(self, callbacks: list[Callback], held_out: dict[str, float], seconds: float) -> None:
        row = self.running()
        row |= {HELD_OUT + name: value for name, value in held_out.items()}
        row |= {"lr": float(self.optimizer.param_groups[0]["lr"]), "seconds": round(seconds, 3)}
        self.history.append(row)
        self.epoch += 1
        self.batch = 0
        self._sums = None
        if self.scheduler is not None and self.scheduler_every == "epoch":
            if isinstance(self.scheduler, ReduceLROnPlateau):
                self.scheduler.step(row.get("val_loss", row["loss"]))
            else:
                self.scheduler.step()
        for callback in callbacks:
            callback.on_epoch_end(self, row)

    def running(self) -> dict[str, float]:
        """The loss and the metrics over the epoch so far. Waits for the device."""
        return read([LOSS, *self.metrics], self._sums)

    # ---- using the model ----

    def evaluate(self, data: Iterable[Any]) -> dict[str, float]:
        """The loss and the metrics over a loader, by name, without training."""
        return self._evaluated(data, Interrupts())

    def _evaluated(self, data: Iterable[Any], interrupts: Interrupts) -> dict[str, float]:
        model = self.measured_model
        training = model.training
        model.eval()
        sums = None
        try:
            for batch in data:
                inputs, target = batching.on_device(self.unpack(batch), self.device)
                sums = self._steps.measure(inputs, target, sums, batching.size_of(target, inputs))
                if interrupts.seen:
                    break
        finally:
            model.train(training)
        if sums is None:
            raise ValueError("evaluate: the data has no batches")
        return read([LOSS, *self.metrics], sums)

    def predict(self, data: Any) -> Any:
        """What the model answers: to a tensor of inputs, or to all batches of a loader, put together.

        The loader's batches are what fit takes, whose targets are not used, or inputs alone.
        """
        model = self.measured_model
        training = model.training
        model.eval()
        single = isinstance(data, (Tensor, np.ndarray))
        try:
            with no_grad(), self.precision():
                answers = []
                for batch in [data] if single else data:
                    inputs = batching.on_device(batching.inputs_alone(batch, self.unpack), self.device)
                    answers.append(batching.call(model, inputs))
        finally:
            model.train(training)
        if not answers:
            raise ValueError("predict: the data has no batches")
        return answers[0] if len(answers) == 1 else _joined(answers)

    def save_results(
        self, folder: Any, name: str, figure: Any = None, about: str = "learning curves", **plot: Any
    ) -> dict[str, str]:  # fmt: skip
        """Write the weights of the measured model and the curves as NAME.safetensors and NAME.png, and tell where.

        figure: a matplotlib figure to write in the place of `history.plot(**plot)`. Without any epoch there is none.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        checkpoint, picture = Path(folder) / f"{name}.safetensors", Path(folder) / f"{name}.png"
        save(self.measured_model.state_dict(), checkpoint)
        print(f"checkpoint: {checkpoint}")
        if figure is None and not self.history.epochs:
            return {"checkpoint": str(checkpoint)}
        (figure or self.history.plot(**plot)).savefig(picture, dpi=120)
        print(f"{about}: {picture}")
        return {"checkpoint": str(checkpoint), "curves": str(picture)}

    # ---- checkpoints ----

    def save_checkpoint(self, path: Any, train: Any) -> None:
        """Write all that the training is; the file is complete or the one before it stays. Waits for the device."""
        save(state_of(self, train), path)

    def _resume(self, path: Path, train: Any) -> dict[str, Any] | None:
        """Go on from a checkpoint; what it holds, if that is in the middle of an epoch."""
        state = load(path, device=self.device)
        check_fits(self, state, str(path))
        restore(self, state)
        if self.batch == 0:
            restore_random_state(state["random"], train)
            return None
        restore_random_state(self._order, train)
        return state


def _check(model: Any, optimizer: Any, loss_fn: Any, clip: Any, accumulate: Any, callbacks: Any) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"Trainer: the model must be a Module, not {type(model).__name__}")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"Trainer: the optimizer must be an Optimizer, not {type(optimizer).__name__}")
    if isinstance(optimizer, LBFGS):
        raise NotImplementedError("Trainer: LBFGS computes the loss several times a step; write its loop by hand")
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not any(id(parameter) in trained for parameter in model.parameters()):
        raise ValueError("Trainer: the optimizer has none of the model's parameters; make it of model.parameters()")
    if not callable(loss_fn):
        raise TypeError(f"Trainer: loss_fn must be a function of (prediction, target), not {type(loss_fn).__name__}")
    if clip is not None and not clip > 0:
        raise ValueError(f"Trainer: clip is the greatest norm of the gradients, above 0; got {clip}")
    if not isinstance(accumulate, int) or accumulate < 1:
        raise ValueError(f"Trainer: accumulate is a number of batches, 1 or more; got {accumulate}")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"Trainer: callbacks must be netcl.trainer.Callback objects, not {type(callback).__name__}")


def _check_scheduler(scheduler: Any, optimizer: Optimizer) -> None:
    if not hasattr(scheduler, "step"):
        raise TypeError(f"Trainer: the scheduler must be one of nc.optim.lr_scheduler, not {type(scheduler).__name__}")
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ValueError("Trainer: the scheduler was made with another optimizer than this one")


def _listed(metrics: Any) -> list[Any]:
    return [metrics] if isinstance(metrics, (str, Metric)) or callable(metrics) else list(metrics)


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except TypeError:
        return None


def _joined(parts: list[Any]) -> Any:
    """Answers of the same form, each of their tensors put together."""
    first = parts[0]
    if isinstance(first, Tensor):
        return cat(parts)
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, (tuple, list)):
        return type(first)(_joined(list(column)) for column in zip(*parts, strict=True))
    raise TypeError(f"predict: cannot put together answers of type {type(first).__name__}")
