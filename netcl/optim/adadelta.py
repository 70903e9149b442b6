"""Adadelta: steps in the parameters' own units."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netcl.optim.optimizer import Optimizer, check_not_negative, record_update, refuse, register_update
from netcl.optim.stepwise import ascended, at_their_steps
from netcl.tensor import Tensor


class Adadelta(Optimizer):
    """Zeiler (2012): scales gradients by the mean square of recent steps over that of recent gradients.

    Both means forget with the rate `rho`. PyTorch's arguments and numbers. All parameters are updated together,
    whatever `foreach` says. ValueError for negative options and rho outside [0, 1].

    `optim.Adadelta(model.parameters())`
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0,
        foreach: bool | None = None, *, capturable: bool = False, maximize: bool = False,
        differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        })  # fmt: skip

    def _check(self, group: dict[str, Any]) -> None:
        refuse(self, group)
        check_not_negative(lr=group["lr"])
        if not 0.0 <= group["rho"] <= 1.0:
            raise ValueError(f"Invalid rho value: {group['rho']}")
        check_not_negative(epsilon=group["eps"], weight_decay=group["weight_decay"])

    def _update(self, group: dict[str, Any]) -> None:
        rho, decay = group["rho"], group["weight_decay"]
        flags = (decay != 0, bool(group["maximize"]))
        numbers = [rho, 1 - rho, group["eps"], -group["lr"]]
        if decay != 0:
            numbers.append(decay)
        for _, members, states in at_their_steps(self, group, ["square_avg", "acc_delta"]):
            record_update("adadelta", flags, numbers, members, states)


def _adadelta(flags: tuple, numbers: list[Tensor], p: Tensor, g: Tensor, squares: Tensor, steps: Tensor) -> tuple:
    decays, maximize = flags
    rho, rest, eps, minus_lr = numbers[:4]
    g = ascended(g, maximize, p, numbers[4] if decays else None)
    squares = squares * rho + g * g * rest
    step = (steps + eps).sqrt() / (squares + eps).sqrt() * g
    steps = steps * rho + step * step * rest
    return p + step * minus_lr, squares, steps


register_update("adadelta", _adadelta)
