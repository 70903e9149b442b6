"""What a Trainer calls at its milestones, and two that decide: EarlyStopping and BestModel."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netcl.io import save
from netcl.metrics import TABLE
from netcl.tensor import Tensor
from netcl.trainer.history import HELD_OUT

if TYPE_CHECKING:
    from netcl.trainer.trainer import Trainer


class Callback:
    """The base of callbacks: write the methods that are wanted. `trainer.stop = True` ends the training.

    What state_dict() returns is kept in checkpoints, and given to load_state_dict() when training resumes.
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first epoch, and before the first one after resuming."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before the first batch of an epoch."""

    def on_step_end(self, trainer: Trainer) -> None:
        """After each step of the optimizer. What is read from a tensor here is waited for."""

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """After an epoch and its validation, with what the history has of it."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """At the end of the training, also of one that an error or Ctrl-C ended."""

    def state_dict(self) -> dict[str, Any]:
        """What has to be kept for resuming: tensors, numbers, texts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where state_dict() was called."""


class _Monitor(Callback):
    """Watches one column of the history: which value of it was the best so far."""

    def __init__(self, monitor: str | None, mode: str | None, min_delta: float) -> None:
        if mode not in (None, "min", "max"):
            raise ValueError(f'{type(self).__name__}: mode must be "min" or "max", got {mode!r}')
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(min_delta)
        self.best: float | None = None

    def improved(self, trainer: Trainer, row: dict[str, float]) -> bool:
        """Whether this epoch is the best so far; nan never is. KeyError where the column is missing."""
        name = self.monitor or ("val_loss" if "val_loss" in row else "loss")
        if name not in row:
            raise KeyError(f"{type(self).__name__}: there is no {name!r} to watch; an epoch has {', '.join(row)}")
        sign = 1 if self._highest(trainer, name) else -1
        before = -inf if self.best is None else sign * self.best
        if sign * row[name] > before + (self.min_delta if self.best is not None else 0):
            self.best = row[name]
            return True
        return False

    def _highest(self, trainer: Trainer, name: str) -> bool:
        if self.mode is not None:
            return self.mode == "max"
        plain = name.removeprefix(HELD_OUT)
        if plain == "loss":
            return False
        known = {**TABLE, **{metric.name: metric for metric in trainer.metrics}}
        if plain not in known:
            raise ValueError(f'{type(self).__name__}: is {name!r} better when high or low? Say mode="max" or "min"')
        return known[plain].higher_is_better

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


class EarlyStopping(_Monitor):
    """Stop when `monitor` (default: the validation loss) has not improved by min_delta for `patience` epochs.

    mode: "min" or "max"; known for the loss and netcl's metrics.
    """

    def __init__(
        self, patience: int = 5, monitor: str | None = None, mode: str | None = None, min_delta: float = 0.0
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience must be 1 epoch or more, got {patience}")
        self.patience = patience
        self.waited = 0

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        self.waited = 0 if self.improved(trainer, row) else self.waited + 1
        if self.waited >= self.patience:
            trainer.stop = True

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.waited = state["waited"]


class BestModel(_Monitor):
    """Keep the model of the best epoch: in a file at `path`, or in memory; with `restore` it is the model at the end.

    With `ema` the averaged model is kept, since that is what was measured; restoring gives its numbers to the model.
    """

    def __init__(
        self, path: Any = None, monitor: str | None = None, mode: str | None = None, restore: bool | None = None
    ) -> None:
        super().__init__(monitor, mode, 0.0)
        self.path = None if path is None else Path(path)
        self.restore = path is None if restore is None else restore
        self.epoch: int | None = None
        self.state: dict[str, Tensor] | None = None

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        if not self.improved(trainer, row):
            return
        self.epoch = trainer.epoch
        state = trainer.measured_model.state_dict()
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save(state, self.path)
        if self.restore:
            self.state = {name: value.detach().clone() for name, value in state.items()}

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.restore and self.state is not None and trainer.finished:
            trainer.model.load_state_dict(self.state)
            if trainer.ema is not None:
                trainer.ema.module.load_state_dict(self.state)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "epoch": self.epoch, "state": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.epoch, self.state = state["epoch"], state["state"]
