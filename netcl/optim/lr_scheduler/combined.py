"""Schedulers of schedulers: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from netcl.graph.effects import repeated
from netcl.optim.lr_scheduler.base import LRScheduler
from netcl.optim.lr_scheduler.plateau import ReduceLROnPlateau
from netcl.optim.optimizer import Optimizer


class _Combined(LRScheduler):
    """What holds other schedulers, and saves them with itself."""

    _schedulers: list[LRScheduler]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, with the schedulers' state_dicts in their place."""
        return {**super().state_dict(), "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where state_dict() was called."""
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "_schedulers"})
        for scheduler, saved in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(saved)


class SequentialLR(_Combined):
    """One scheduler after the other: the next one starts, at its epoch 0, at each of `milestones`.

    ValueError for no scheduler, schedulers of another optimizer, one that needs a metric, and a number of milestones
    that is not one less than that of the schedulers.

    `SequentialLR(optimizer, [LinearLR(optimizer), CosineAnnealingLR(optimizer, 95)], milestones=[5])`
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        _check("SequentialLR", "scheduler", schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than the number of "
                f"milestone points, but got number of schedulers {len(schedulers)} and the number of milestones to be "
                f"equal to {len(milestones)}"
            )
        self.optimizer = optimizer
        self._schedulers = schedulers
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        # Every scheduler has set its first rates when it was made: undo that, and let the first one do it alone.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in schedulers:
            scheduler._rewind()
        schedulers[0]._initial_step()
        self._last_lr = schedulers[0].get_last_lr()

    def _rewind(self) -> None:
        for scheduler in self._schedulers:
            scheduler._rewind()

    def _initial_step(self) -> None:
        self._schedulers[0]._initial_step()
        self._last_lr = self._schedulers[0].get_last_lr()

    def _restart(self) -> None:
        self.last_epoch = 0
        self._schedulers[0]._restart()
        self._last_lr = self._schedulers[0].get_last_lr()

    @repeated
    def step(self) -> None:  # type: ignore[override]
        """Go on to the next epoch, with the scheduler whose turn it is."""
        self.last_epoch += 1
        turn = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[turn]
        if turn > 0 and self._milestones[turn - 1] == self.last_epoch:
            scheduler._restart()
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Combined):
    """Several schedulers at once, each changing the rates that the one before it has set.

    ValueError for no scheduler, schedulers of different optimizers, and one that needs a metric.

    `ChainedScheduler([ConstantLR(optimizer), ExponentialLR(optimizer, 0.9)])`
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        _check("ChainedScheduler", "scheduler to be chained", schedulers, optimizer)
        self._schedulers = list(schedulers)
        self.optimizer = optimizer or schedulers[0].optimizer
        self._last_lr = self._rates()

    def _rewind(self) -> None:
        for scheduler in self._schedulers:
            scheduler._rewind()

    def _initial_step(self) -> None:
        for scheduler in self._schedulers:
            scheduler._initial_step()
        self._last_lr = self._rates()

    def _restart(self) -> None:
        for scheduler in self._schedulers:
            scheduler._restart()
        self._last_lr = self._rates()

    @repeated
    def step(self) -> None:  # type: ignore[override]
        """Go on to the next epoch with every scheduler, in their order."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._rates()


def _check(name: str, what: str, schedulers: Sequence[Any], optimizer: Optimizer | None) -> None:
    if len(schedulers) < 1:
        raise ValueError(f"{name} expects at least one {what}, but got no scheduler.")
    for number, scheduler in enumerate(schedulers):
        kind = type(scheduler).__name__
        if not hasattr(scheduler, "optimizer"):
            raise TypeError(f"{name} at index {number} should have `optimizer` as its attribute.")
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError(
                f"{name} does not support `ReduceLROnPlateau` scheduler as it requires additional kwargs to be "
                f"specified when calling `step`, but got one at index {number} in the given schedulers sequence."
            )
        if scheduler.optimizer is not (optimizer or schedulers[0].optimizer):
            raise ValueError(
                f"{name} expects all schedulers to belong to the same optimizer, but got scheduler {kind} at index "
                f"{number} of another {type(scheduler.optimizer).__name__}"
            )
