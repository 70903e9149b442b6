"""Rates that go up once and come down far."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from netcl.optim.lr_scheduler.base import LRScheduler, check_optimizer, for_groups, set_momentum, uses_beta1
from netcl.optim.optimizer import Optimizer


class OneCycleLR(LRScheduler):
    """Smith and Topin (2019), "Super-Convergence": up to max_lr, then down to almost nothing; step it per batch.

    From max_lr / div_factor, over `pct_start` of the steps, to max_lr, and down to that first rate / final_div_factor
    (with `three_phase`: down to the first rate over as many steps as up, and then there). The steps are `total_steps`
    or `epochs` * `steps_per_epoch`. With `cycle_momentum`, momentum (or beta1) goes the other way between max_momentum
    and base_momentum. Rates and momenta may be lists, one for each group. ValueError for numbers that cannot be, and
    for a step after the last one.

    `OneCycleLR(optimizer, max_lr=0.1, epochs=10, steps_per_epoch=len(loader))`
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: float | list[float], total_steps: int | None = None,
        epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
        anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
        three_phase: bool = False, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        check_optimizer(optimizer)
        self.total_steps = _total(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, (int, float)) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        top = float(pct_start * self.total_steps) - 1
        self._schedule_phases: list[dict[str, Any]] = [_phase(top, "initial", "max")]
        if three_phase:
            self._schedule_phases.append(_phase(2 * top, "max", "initial"))  # 2 * pct_start * total_steps - 2
        self._schedule_phases.append(_phase(self.total_steps - 1, "initial" if three_phase else "max", "min"))
        self._anneal_func_type = anneal_strategy
        for group, rate in zip(optimizer.param_groups, for_groups("max_lr", optimizer, max_lr), strict=True):
            if last_epoch == -1:
                first = rate / div_factor
                group.update(initial_lr=first, max_lr=rate, min_lr=first / final_div_factor)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = uses_beta1(optimizer)
            least = for_groups("base_momentum", optimizer, base_momentum)
            most = for_groups("max_momentum", optimizer, max_momentum)
            for group, low, high in zip(optimizer.param_groups, least, most, strict=True):
                if last_epoch == -1:
                    group.update(base_momentum=low, max_momentum=high)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The groups' rates at step `self.last_epoch`; sets the momenta too."""
        self._warn_outside_step()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"Tried to step {step} times. The specified number of total steps is {self.total_steps}")
        start = 0.0
        for phase in self._schedule_phases:
            end = phase["end_step"]
            if step <= end or phase is self._schedule_phases[-1]:
                break
            start = end
        done = (step - start) / (end - start) if end != start else 1.0
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            for group in groups:
                momentum = self._between(group[phase["start_momentum"]], group[phase["end_momentum"]], done)
                set_momentum(group, momentum, self.use_beta1)
        return [self._between(group[phase["start_lr"]], group[phase["end_lr"]], done) for group in groups]

    def _between(self, start: float, end: float, done: float) -> float:
        if self._anneal_func_type == "linear":
            return start + (end - start) * done
        return end + (start - end) / 2 * (1 + cos(pi * done))


def _total(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is not None:
        return _positive("total_steps", total_steps)
    if epochs is None or steps_per_epoch is None:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    return _positive("epochs", epochs) * _positive("steps_per_epoch", steps_per_epoch)


def _positive(name: str, number: int) -> int:
    if not isinstance(number, int) or number <= 0:
        raise ValueError(f"Expected positive integer {name}, but got {number}")
    return number


def _phase(end_step: float, start: str, end: str) -> dict[str, Any]:
    """A phase by the names of a group's options; momentum is least where the rate is highest."""
    momenta = {"max": "base_momentum", "initial": "max_momentum", "min": "max_momentum"}
    return {
        "end_step": end_step, "start_lr": f"{start}_lr", "end_lr": f"{end}_lr",
        "start_momentum": momenta[start], "end_momentum": momenta[end],
    }  # fmt: skip
