"""Lion: steps of one size, by sign."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netcl.ops.elementwise import sign
from netcl.optim.optimizer import Optimizer, check_not_negative, record_update, refuse, register_update
from netcl.optim.stepwise import at_their_steps, check_betas
from netcl.tensor import Tensor


class Lion(Optimizer):
    """Chen et al. (2023), "Symbolic Discovery of Optimization Algorithms": moves by the sign of a momentum.

    p -= lr * (sign(betas[0] * m + (1 - betas[0]) * g) + weight_decay * p), then m = betas[1] * m + (1 - betas[1]) * g.
    Every weight moves by lr, so lr is three to ten times smaller than AdamW's and weight_decay as much larger; one
    state tensor instead of Adam's two. PyTorch has no Lion; the arguments are the authors', and `foreach`
    changes nothing. ValueError for negative options and betas outside [0, 1).

    `optim.Lion(model.parameters(), lr=1e-4, weight_decay=0.1)`
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0, *, foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
        differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        })  # fmt: skip

    def _check(self, group: dict[str, Any]) -> None:
        refuse(self, group)
        check_not_negative(lr=group["lr"], weight_decay=group["weight_decay"])
        check_betas(group["betas"])

    def _update(self, group: dict[str, Any]) -> None:
        lr, decay, (beta1, beta2) = group["lr"], group["weight_decay"], group["betas"]
        flags = (decay != 0, bool(group["maximize"]))
        numbers = [beta1, 1 - beta1, beta2, 1 - beta2, -lr]
        if decay != 0:
            numbers.append(decay)
        for _, members, states in at_their_steps(self, group, ["exp_avg"]):
            record_update("lion", flags, numbers, members, states)


def _lion(flags: tuple, numbers: list[Tensor], p: Tensor, g: Tensor, m: Tensor) -> tuple:
    decays, maximize = flags
    old1, new1, old2, new2, minus_lr = numbers[:5]
    if maximize:
        g = -g
    step = sign(m * old1 + g * new1)
    if decays:
        step = step + p * numbers[5]  # not p * (1 - lr * decay): a factor so near 1 has lost lr's digits in float32
    return p + step * minus_lr, m * old2 + g * new2


register_update("lion", _lion)
