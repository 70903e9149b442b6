"""Rates by functions of the epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netcl.optim.lr_scheduler.base import LRScheduler, check_optimizer, saved_function
from netcl.optim.optimizer import Optimizer

Function = Callable[[int], float]


class _ByFunctions(LRScheduler):
    """A function of the epoch for each group, or one for all. ValueError for another number of functions.

    A state_dict keeps the attributes of functions that are objects, and nothing of plain functions.
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Function | Sequence[Function], last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        count = len(optimizer.param_groups)
        many = isinstance(lr_lambda, (list, tuple))
        self.lr_lambdas: list[Any] = list(lr_lambda) if many else [lr_lambda] * count  # type: ignore[arg-type]
        if len(self.lr_lambdas) != count:
            raise ValueError(f"Expected {count} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and plain functions."""
        return {**super().state_dict(), "lr_lambdas": [saved_function(function) for function in self.lr_lambdas]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where state_dict() was called; the functions are this scheduler's own."""
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "lr_lambdas"})
        for function, saved in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if saved is not None:
                function.__dict__.update(saved)


class LambdaLR(_ByFunctions):
    """The first rate times lr_lambda(epoch). `lr_lambda`: a function, or one for each group.

    `LambdaLR(optimizer, lambda epoch: 0.95**epoch)`
    """

    def get_lr(self) -> list[float]:
        """The groups' rates at `self.last_epoch`."""
        self._warn_outside_step()
        return [base * function(self.last_epoch) for base, function in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(_ByFunctions):
    """The last rate times lr_lambda(epoch). `lr_lambda`: a function, or one for each group.

    `MultiplicativeLR(optimizer, lambda epoch: 0.95)`
    """

    def get_lr(self) -> list[float]:
        """The groups' rates at `self.last_epoch`."""
        self._warn_outside_step()
        if self._is_initial:
            return self._rates()
        return [rate * function(self.last_epoch) for rate, function in zip(self._rates(), self.lr_lambdas, strict=True)]
