"""What all schedulers share: counting epochs, setting rates, saving, and noticing that steps are in the wrong order."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any
from weakref import ref

from netcl.graph.effects import repeated
from netcl.optim.optimizer import Optimizer

ORDER = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in the opposite order: "
    "`optimizer.step()` before `lr_scheduler.step()`. Otherwise the first value of the learning rate schedule is "
    "skipped."
)
OVERRIDDEN = (
    "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. "
    "Please, make sure to call `optimizer.step()` before `lr_scheduler.step()`."
)
EPOCH = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. "
    "Please use `scheduler.step()` to step the scheduler. If epoch is not None, the closed form is used instead of "
    "the chainable form, where available."
)


class LRScheduler:
    """The base of schedulers: a subclass's get_lr() tells the groups' rates at `self.last_epoch`.

    Most tell them from the present rates (the chainable form), so that several schedulers can share an optimizer;
    `_get_closed_form_lr`, where there is one, tells them from the first rates and is used for an epoch given outright.
    TypeError for what is no Optimizer; KeyError for a `last_epoch` that continues without a loaded optimizer.
    """

    _numbers_are_effects = True  # for compiled functions
    _get_lr_called_within_step = False
    _is_initial = False  # the constructor's own step: the rates are there already where training continues

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{number}] when resuming scheduler with "
                    f"last_epoch={last_epoch}: load the optimizer's state_dict first"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        _note_steps(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_last_lr(self) -> list[float]:
        """The groups' rates that this scheduler set last."""
        return self._last_lr

    def get_lr(self) -> list[float]:
        """The groups' rates at `self.last_epoch`. Called by step(); to look at rates, use get_last_lr()."""
        raise NotImplementedError(f"{type(self).__name__} has no get_lr")

    @repeated
    def step(self, epoch: int | None = None) -> None:
        """Go on to the next epoch and set its rates. UserWarning if the optimizer has not made a step yet."""
        if self._step_count == 1:
            if not hasattr(self.optimizer.step, "_noted"):
                warnings.warn(OVERRIDDEN, UserWarning, stacklevel=2)
            elif not getattr(self.optimizer, "_opt_called", False):
                warnings.warn(ORDER, UserWarning, stacklevel=2)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed = None if epoch is None else getattr(self, "_get_closed_form_lr", None)
        self._get_lr_called_within_step = True
        try:
            rates = self.get_lr() if closed is None else closed()
        finally:
            self._get_lr_called_within_step = False
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr: list[float] = self._rates()

    def _rewind(self) -> None:
        """Take one step's count back."""
        self.last_epoch -= 1

    def _restart(self) -> None:
        """Set the rates of epoch 0."""
        self._update_lr(0)

    # ---- for subclasses ----

    def _rates(self) -> list[float]:
        """The groups' rates now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _scaled(self, factor: float) -> list[float]:
        """The groups' rates now, times a factor."""
        return [rate * factor for rate in self._rates()]

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            message = "To get the last learning rate computed by the scheduler, please use `get_last_lr()`."
            warnings.warn(message, UserWarning, stacklevel=3)

    # ---- saving ----

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer. Save the optimizer's beside it: the rates are in there."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where state_dict() was called."""
        self.__dict__.update(state_dict)


def check_optimizer(optimizer: Any) -> None:
    """TypeError for what is no Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def for_groups(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group: the values given, or one for all. ValueError for another number of them."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. "
            f"{name} has {len(value)} values, param_groups has {count}."
        )
    return list(value)


def saved_function(function: Any) -> dict[str, Any] | None:
    """What a state_dict keeps of a function: nothing of a plain one, the attributes of a callable object."""
    return None if isinstance(function, types.FunctionType) else dict(function.__dict__)


# ---- momentum that goes against the rate (CyclicLR, OneCycleLR) ---------------------------------------------------


def uses_beta1(optimizer: Optimizer) -> bool:
    """Whether the optimizer's momentum is the first of its betas. ValueError if it has no momentum at all."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
    return "betas" in optimizer.defaults


def set_momentum(group: dict[str, Any], momentum: float, beta1: bool) -> None:
    """Set a group's momentum, or the first of its betas."""
    if beta1:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


# ---- the order of steps -------------------------------------------------------------------------------------------


def _note_steps(optimizer: Optimizer) -> None:
    """Let an optimizer remember that it has made a step, whatever class has defined its step()."""
    if hasattr(optimizer.step, "_noted"):
        return
    function: Callable[..., Any] = optimizer.step.__func__  # type: ignore[attr-defined]
    weak = ref(optimizer)  # the optimizer holds `noted`: a reference back would keep both until the collector's turn

    @wraps(function)
    def noted(*args: Any, **kwargs: Any) -> Any:
        own = weak()
        own._opt_called = True  # type: ignore[union-attr]
        return function(own, *args, **kwargs)

    noted._noted = True  # type: ignore[attr-defined]
    optimizer.step = noted  # type: ignore[method-assign]
