"""ASGD: averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netcl.optim.counts import counted, identity, larger, renew
from netcl.optim.optimizer import Optimizer, check_not_negative, record_update, refuse, register_update
from netcl.optim.stepwise import ascended, at_their_steps
from netcl.tensor import Tensor


class ASGD(Optimizer):
    """Polyak and Juditsky (1992): gradient descent with shrinking steps; state["ax"] is the mean of the parameters
    since step t0.

    The step size is lr / (1 + lambd * lr * step) ** alpha, and every step shrinks the parameters by lambd times it.
    PyTorch's arguments and numbers. All parameters are updated together, whatever `foreach` says. ValueError for a
    negative lr or weight_decay.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
        weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        })  # fmt: skip

    def _check(self, group: dict[str, Any]) -> None:
        refuse(self, group)
        check_not_negative(lr=group["lr"], weight_decay=group["weight_decay"])

    def _update(self, group: dict[str, Any]) -> None:
        lr, lambd, decay = group["lr"], group["lambd"], group["weight_decay"]

        def rates(own: dict) -> tuple:
            return identity(own.get("eta", lr)), identity(own.get("mu", 1.0))

        for step, members, states in at_their_steps(self, group, ["ax"], rates):
            own = self.state[members[0]]
            eta, mu = counted(own.setdefault("eta", lr)), counted(own.setdefault("mu", 1.0))
            numbers = [1 - lambd * eta, -eta, mu, 1 - mu, *([decay] if decay != 0 else [])]
            record_update("asgd", (decay != 0, bool(group["maximize"])), numbers, members, states)
            renew(self.state, members, "eta", lr / (1 + lambd * lr * step) ** group["alpha"])
            renew(self.state, members, "mu", 1 / larger(1, step - group["t0"]))


def _asgd(flags: tuple, numbers: list[Tensor], p: Tensor, g: Tensor, mean: Tensor) -> tuple:
    decays, maximize = flags
    shrink, minus_step, share, rest = numbers[:4]
    g = ascended(g, maximize, p, numbers[4] if decays else None)
    p = p * shrink + g * minus_step
    return p, p * share + mean * rest


register_update("asgd", _asgd)
