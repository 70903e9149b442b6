"""RAdam: Adam that waits until it knows the gradients' spread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netcl.optim.counts import OfStep, choose, complement, larger, power, root
from netcl.optim.optimizer import Optimizer, check_not_negative, record_update, refuse, register_update
from netcl.optim.stepwise import ascended, at_their_steps, check_betas, mixed
from netcl.tensor import Tensor


class RAdam(Optimizer):
    """Liu et al. (2020): Adam whose steps are rectified for how few gradients its mean square is of.

    The first steps (5 with the default betas) follow the mean gradient alone, later ones are Adam's with a factor
    that grows to 1; so two kernels are compiled in all. PyTorch's arguments and numbers. All parameters are updated
    together, whatever `foreach` says. ValueError for negative options and betas outside [0, 1).

    `optim.RAdam(model.parameters(), lr=1e-3)`
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, decoupled_weight_decay: bool = False, *, foreach: bool | None = None,
        maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "foreach": foreach, "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        })  # fmt: skip

    def _check(self, group: dict[str, Any]) -> None:
        refuse(self, group)
        check_not_negative(lr=group["lr"], epsilon=group["eps"])
        check_betas(group["betas"])
        check_not_negative(weight_decay=group["weight_decay"])

    def _update(self, group: dict[str, Any]) -> None:
        lr, decay, (beta1, beta2) = group["lr"], group["weight_decay"], group["betas"]
        decoupled = bool(group["decoupled_weight_decay"])
        for step, members, states in at_their_steps(self, group, ["exp_avg", "exp_avg_sq"]):
            rectified, factor = _rectification(beta2, step)
            scale = -lr / complement(beta1, step) * factor
            unknown = isinstance(rectified, OfStep)  # the device counts the steps
            flags = (
                decay != 0, decoupled, bool(group["maximize"]), 1 - beta1 < 0.5, None if unknown else rectified
            )  # fmt: skip
            numbers = [1 - beta1, beta1, beta2, 1 - beta2, group["eps"], scale]
            if decay != 0:
                numbers.append(1 - lr * decay if decoupled else decay)
            if unknown:
                numbers.append(rectified)
            record_update("radam", flags, numbers, members, states)


def _rectification(beta2: float, step: Any) -> tuple:
    """Whether the mean square is of enough gradients to have a variance (more than 5), and what the step is multiplied
    by: then the paper's r_t and the mean square's correction, else 1."""
    longest = 2 / (1 - beta2) - 1
    if longest <= 5:
        return False, 1.0
    length = longest - 2 * step * power(beta2, step) / complement(beta2, step)
    rectified, length = length > 5, larger(5, length)
    factor = root((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
    factor = factor * root(complement(beta2, step))
    return rectified, choose(rectified, factor, 1.0)


def _radam(flags: tuple, numbers: list[Tensor], p: Tensor, g: Tensor, m: Tensor, v: Tensor) -> tuple:
    decays, decoupled, maximize, small_share, rectified = flags
    new1, old1, old2, new2, eps, minus_step = numbers[:6]
    g = ascended(g, maximize, p, numbers[6] if decays and not decoupled else None)
    if decays and decoupled:
        p = p * numbers[6]
    m = mixed(m, g, new1, old1, small_share)
    v = v * old2 + g * g * new2
    direction = m
    if rectified is not False:
        direction = m / (v.sqrt() + eps)
    if rectified is None:
        direction = direction.where(numbers[-1] > 0, m)
    return p + direction * minus_step, m, v


register_update("radam", _radam)
