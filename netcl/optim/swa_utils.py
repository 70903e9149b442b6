"""Averages of a model's parameters over training: AveragedModel, SWALR, update_bn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from math import cos, pi
from typing import Any

from netcl.autograd.tape import no_grad
from netcl.core import dtypes
from netcl.nn.batchnorm import _BatchNorm
from netcl.nn.module import Module
from netcl.ops.creation import tensor
from netcl.optim.lr_scheduler.base import LRScheduler, for_groups
from netcl.optim.optimizer import Optimizer
from netcl.tensor import Tensor

Average = Callable[[Tensor, Tensor, Any], Tensor]


def get_swa_avg_fn() -> Average:
    """avg_fn of AveragedModel: the plain mean of all models so far."""
    return lambda averaged, current, count: averaged + (current - averaged) / (count + 1)


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """avg_fn of AveragedModel: the mean that forgets, decay * averaged + (1 - decay) * current."""
    _check_decay(decay)
    return lambda averaged, current, count: averaged * decay + current * (1 - decay)


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def _of_lists(average: Average) -> Callable:
    def update(averaged: list[Tensor], current: list[Tensor], count: Any) -> None:
        with no_grad():
            for old, new in zip(averaged, current, strict=True):
                old.copy_(average(old, new.to(old.device), count) if old.is_floating_point() else new)

    return update


def get_swa_multi_avg_fn() -> Callable:
    """multi_avg_fn of AveragedModel: get_swa_avg_fn for lists of tensors, in place."""
    return _of_lists(get_swa_avg_fn())


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable:
    """multi_avg_fn of AveragedModel: get_ema_avg_fn for lists of tensors, in place."""
    return _of_lists(get_ema_avg_fn(decay))


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's over time: update_parameters(model) adds one.

    avg_fn(averaged, current, count) or multi_avg_fn(lists.., count) say how; the plain mean by default. use_buffers
    averages buffers too, else they are copied. Updates are recorded, and nothing is read back after the first.

    >>> import netcl as nc
    >>> model = nc.nn.Linear(1, 1)
    >>> averaged = nc.optim.swa_utils.AveragedModel(model)
    >>> averaged.update_parameters(model)
    >>> averaged.n_averaged.item()
    1
    """

    n_averaged: Tensor

    def __init__(
        self, model: Module, device: Any = None, avg_fn: Average | None = None, multi_avg_fn: Callable | None = None,
        use_buffers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=dtypes.int64, device=device))
        self.use_buffers = use_buffers
        self.update = multi_avg_fn or _of_lists(avg_fn or get_swa_avg_fn())
        self.started = False
        self.register_load_state_dict_post_hook(_forget_start)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def _tensors(self, model: Module) -> list[Tensor]:
        return [*model.parameters(), *(model.buffers() if self.use_buffers else ())]

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Add the present parameters of a model to the averages; the first time they are copied."""
        averaged = [t.detach() for t in self._tensors(self.module)]
        current = [t.detach() for t in self._tensors(model)]
        self.started = self.started or self.n_averaged.item() > 0
        if self.started:
            self.update(averaged, current, self.n_averaged)
        else:
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)
        self.started = True
        if not self.use_buffers:
            for old, new in zip(self.module.buffers(), model.buffers(), strict=True):
                old.copy_(new)
        self.n_averaged.add_(1)


def _forget_start(model: Any, keys: Any) -> None:
    """A loaded model may have been averaged already, or not."""
    model.started = False


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of a model's batch norms anew, as plain means over a loader's batches."""
    layers = {module: module.momentum for module in model.modules() if isinstance(module, _BatchNorm)}
    if not layers:
        return
    training = model.training
    model.train()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    try:
        for batch in loader:
            batch = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(batch if device is None else batch.to(device))
    finally:
        for layer, momentum in layers.items():
            layer.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """Brings the rates to swa_lr within anneal_epochs, along a cosine or a line, and keeps them there."""

    def __init__(
        self, optimizer: Optimizer, swa_lr: float, anneal_epochs: int = 10, anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        for group, rate in zip(optimizer.param_groups, for_groups("swa_lr", optimizer, swa_lr), strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, epoch: int) -> float:
        """How much of swa_lr the rate is made of at an epoch."""
        t = max(0.0, min(1.0, epoch / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - cos(pi * t)) / 2

    def get_lr(self) -> list[float]:
        """The groups' rates at `self.last_epoch`."""
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            first = group["swa_lr"] if before == 1 else (group["lr"] - before * group["swa_lr"]) / (1 - before)
            rates.append(group["swa_lr"] * now + first * (1 - now))
        return rates
