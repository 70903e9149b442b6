"""RMSprop: gradients over their root mean square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netcl.optim.optimizer import Optimizer, check_not_negative, record_update, refuse, register_update
from netcl.optim.stepwise import ascended, at_their_steps, mixed
from netcl.tensor import Tensor


class RMSprop(Optimizer):
    """Hinton (2012, lecture 6e): divides by the root mean square of recent gradients; `alpha` is how much it keeps.

    `centered` (Graves 2013) divides by their standard deviation instead. With `momentum` the steps are summed up
    before the learning rate. PyTorch's arguments and numbers. All parameters are updated together, whatever `foreach`
    says. ValueError for negative options.

    `optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.9, centered=True)`
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
        momentum: float = 0, centered: bool = False, capturable: bool = False, foreach: bool | None = None,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable,
        })  # fmt: skip

    def _check(self, group: dict[str, Any]) -> None:
        refuse(self, group)
        check_not_negative(lr=group["lr"], epsilon=group["eps"], momentum=group["momentum"])
        check_not_negative(weight_decay=group["weight_decay"], alpha=group["alpha"])

    def _update(self, group: dict[str, Any]) -> None:
        alpha, momentum, decay = group["alpha"], group["momentum"], group["weight_decay"]
        centered = bool(group["centered"])
        flags = (decay != 0, bool(group["maximize"]), centered, momentum != 0, 1 - alpha < 0.5)
        kinds = ["square_avg"] + ["grad_avg"] * centered + ["momentum_buffer"] * (momentum != 0)
        numbers = [alpha, 1 - alpha, group["eps"], -group["lr"]]
        if decay != 0:
            numbers.append(decay)
        if momentum != 0:
            numbers.append(momentum)
        for _, members, states in at_their_steps(self, group, kinds):
            record_update("rmsprop", flags, numbers, members, states)


def _rmsprop(flags: tuple, numbers: list[Tensor], p: Tensor, g: Tensor, squares: Tensor, *others: Tensor) -> tuple:
    decays, maximize, centered, has_momentum, small_share = flags
    alpha, rest, eps, minus_lr = numbers[:4]
    g = ascended(g, maximize, p, numbers[4] if decays else None)
    states = [squares * alpha + g * g * rest]
    variance = states[0]
    if centered:
        mean = mixed(others[0], g, rest, alpha, small_share)
        states.append(mean)
        variance = variance - mean * mean
    step = g / (variance.sqrt() + eps)
    if has_momentum:
        step = others[-1] * numbers[-1] + step
        states.append(step)
    return (p + step * minus_lr, *states)


register_update("rmsprop", _rmsprop)
