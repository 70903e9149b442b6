"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netcl.optim.counts import complement, counted, identity, power, renew
from netcl.optim.optimizer import Optimizer, check_not_negative, record_update, refuse, register_update
from netcl.optim.stepwise import ascended, at_their_steps, check_betas, mixed
from netcl.tensor import Tensor


class NAdam(Optimizer):
    """Dozat (2016): Adam that looks ahead along its momentum. PyTorch's arguments and numbers.

    The momentum of step t is betas[0] * (1 - 0.96 ** (t * momentum_decay) / 2), so it grows from about half of
    betas[0]. With `decoupled_weight_decay`, the decay shrinks the parameters as in AdamW. All parameters are updated
    together, whatever `foreach` says. ValueError for negative options and betas outside [0, 1).

    `optim.NAdam(model.parameters(), lr=2e-3)`
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        })  # fmt: skip

    def _check(self, group: dict[str, Any]) -> None:
        refuse(self, group)
        check_not_negative(lr=group["lr"], epsilon=group["eps"])
        check_betas(group["betas"])
        check_not_negative(weight_decay=group["weight_decay"], momentum_decay=group["momentum_decay"])

    def _update(self, group: dict[str, Any]) -> None:
        lr, decay, (beta1, beta2) = group["lr"], group["weight_decay"], group["betas"]
        decoupled = bool(group["decoupled_weight_decay"])
        flags = (decay != 0, decoupled, bool(group["maximize"]), 1 - beta1 < 0.5)
        # Parameters of one step differ in their product where the options were changed between their first steps.
        kinds = ["exp_avg", "exp_avg_sq"]
        products = at_their_steps(self, group, kinds, lambda own: identity(own.get("mu_product", 1.0)))
        for step, members, states in products:
            now, following = (beta1 * (1 - 0.5 * power(0.96, t * group["momentum_decay"])) for t in (step, step + 1))
            product = counted(self.state[members[0]].setdefault("mu_product", 1.0)) * now
            numbers = [
                1 - beta1, beta1, beta2, 1 - beta2, complement(beta2, step), group["eps"],
                -lr * (1 - now) / (1 - product), -lr * following / (1 - product * following),
            ]  # fmt: skip
            if decay != 0:
                numbers.append(1 - lr * decay if decoupled else decay)
            record_update("nadam", flags, numbers, members, states)
            renew(self.state, members, "mu_product", product)


def _nadam(flags: tuple, numbers: list[Tensor], p: Tensor, g: Tensor, m: Tensor, v: Tensor) -> tuple:
    decays, decoupled, maximize, small_share = flags
    new1, old1, old2, new2, correction, eps, minus_gradient_step, minus_momentum_step = numbers[:8]
    g = ascended(g, maximize, p, numbers[8] if decays and not decoupled else None)
    if decays and decoupled:
        p = p * numbers[8]
    m = mixed(m, g, new1, old1, small_share)
    v = v * old2 + g * g * new2
    denominator = (v / correction).sqrt() + eps
    return p + g / denominator * minus_gradient_step + m / denominator * minus_momentum_step, m, v


register_update("nadam", _nadam)
