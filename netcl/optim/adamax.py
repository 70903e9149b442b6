"""Adamax: Adam with the largest gradient in place of the mean square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netcl.ops.elementwise import abs, maximum
from netcl.optim.counts import complement
from netcl.optim.optimizer import Optimizer, check_not_negative, record_update, refuse, register_update
from netcl.optim.stepwise import ascended, at_their_steps, check_betas, mixed
from netcl.tensor import Tensor


class Adamax(Optimizer):
    """Kingma and Ba (2015), section 7.1: Adam that divides by the largest recent gradient (the infinity norm).

    PyTorch's arguments and numbers. All parameters are updated together, whatever `foreach` says. ValueError for
    negative options and betas outside [0, 1).

    `optim.Adamax(model.parameters(), lr=2e-3)`
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        })  # fmt: skip

    def _check(self, group: dict[str, Any]) -> None:
        refuse(self, group)
        check_not_negative(lr=group["lr"], epsilon=group["eps"])
        check_betas(group["betas"])
        check_not_negative(weight_decay=group["weight_decay"])

    def _update(self, group: dict[str, Any]) -> None:
        decay, (beta1, beta2) = group["weight_decay"], group["betas"]
        flags = (decay != 0, bool(group["maximize"]), 1 - beta1 < 0.5)
        for step, members, states in at_their_steps(self, group, ["exp_avg", "exp_inf"]):
            numbers = [1 - beta1, beta1, beta2, group["eps"], -group["lr"] / complement(beta1, step)]
            if decay != 0:
                numbers.append(decay)
            record_update("adamax", flags, numbers, members, states)


def _adamax(flags: tuple, numbers: list[Tensor], p: Tensor, g: Tensor, m: Tensor, largest: Tensor) -> tuple:
    decays, maximize, small_share = flags
    new1, old1, old2, eps, minus_step = numbers[:5]
    g = ascended(g, maximize, p, numbers[5] if decays else None)
    m = mixed(m, g, new1, old1, small_share)
    largest = maximum(largest * old2, abs(g) + eps)
    return p + m / largest * minus_step, m, largest


register_update("adamax", _adamax)
