"""Adagrad: steps that shrink with all the gradients so far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from netcl.ops.creation import tensor
from netcl.optim.optimizer import Optimizer, check_not_negative, record_update, refuse, register_update
from netcl.optim.stepwise import ascended, at_their_steps
from netcl.tensor import Tensor


class Adagrad(Optimizer):
    """Duchi, Hazan and Singer (2011): divides by the root of the sum of all squared gradients so far.

    The sums start at `initial_accumulator_value`; step t has the learning rate lr / (1 + (t - 1) * lr_decay).
    PyTorch's arguments and numbers. All parameters are updated together, whatever `foreach` and `fused` say.
    ValueError for negative options.

    `optim.Adagrad(model.parameters(), lr=1e-2)`
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
        maximize: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        })  # fmt: skip

    def _check(self, group: dict[str, Any]) -> None:
        refuse(self, group)
        check_not_negative(lr=group["lr"], lr_decay=group["lr_decay"], weight_decay=group["weight_decay"])
        check_not_negative(initial_accumulator_value=group["initial_accumulator_value"], epsilon=group["eps"])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own; options that are left out are the optimizer's."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for parameter in group["params"]:  # now, as in PyTorch: the state_dict of a new optimizer has the sums
            start = np.full(parameter.shape, group["initial_accumulator_value"])
            self.state[parameter] = {
                "step": 0, "sum": tensor(start, dtype=parameter.dtype, device=parameter.device),
            }  # fmt: skip

    def _update(self, group: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        flags = (decay != 0, bool(group["maximize"]))
        for step, members, states in at_their_steps(self, group, ["sum"]):
            numbers = [group["eps"], -group["lr"] / (1 + (step - 1) * group["lr_decay"])]
            if decay != 0:
                numbers.append(decay)
            record_update("adagrad", flags, numbers, members, states)


def _adagrad(flags: tuple, numbers: list[Tensor], p: Tensor, g: Tensor, total: Tensor) -> tuple:
    decays, maximize = flags
    eps, minus_step = numbers[:2]
    g = ascended(g, maximize, p, numbers[2] if decays else None)
    total = total + g * g
    return p + g / (total.sqrt() + eps) * minus_step, total


register_update("adagrad", _adagrad)
