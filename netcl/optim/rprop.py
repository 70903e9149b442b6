"""Rprop: steps by sign, of a size that each element learns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from netcl.ops.creation import tensor
from netcl.optim.optimizer import Optimizer, check_not_negative, record_update, refuse, register_update
from netcl.optim.stepwise import ascended, at_their_steps
from netcl.tensor import Tensor


class Rprop(Optimizer):
    """Riedmiller and Braun (1993): each element's step grows by etas[1] while its gradient keeps its sign, and shrinks
    by etas[0] when it turns (then nothing is done); its size stays within step_sizes.

    For whole batches: noise turns signs. PyTorch's arguments and numbers. All parameters are updated together, whatever
    `foreach` says. ValueError for a negative lr and for etas that are not below and above 1.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False, foreach: bool | None = None,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        })  # fmt: skip

    def _check(self, group: dict[str, Any]) -> None:
        refuse(self, group)
        check_not_negative(lr=group["lr"])
        if not 0.0 < group["etas"][0] < 1.0 < group["etas"][1]:
            raise ValueError(f"Invalid eta values: {group['etas'][0]}, {group['etas'][1]}")

    def _update(self, group: dict[str, Any]) -> None:
        for parameter in group["params"]:
            if parameter.grad is not None and "step_size" not in self.state[parameter]:
                start = np.full(parameter.shape, group["lr"])
                self.state[parameter]["step_size"] = tensor(start, dtype=parameter.dtype, device=parameter.device)
        numbers = [*group["etas"], *group["step_sizes"]]
        for _, members, states in at_their_steps(self, group, ["prev", "step_size"]):
            record_update("rprop", bool(group["maximize"]), numbers, members, states)


def _rprop(maximize: bool, numbers: list[Tensor], p: Tensor, g: Tensor, before: Tensor, size: Tensor) -> tuple:
    shrink, grow, least, most = numbers
    g = ascended(g, maximize, p, None)
    agreement = g * before
    size = (size * grow).where(agreement > 0, (size * shrink).where(agreement < 0, size))
    size = size.maximum(least).minimum(most)
    g = g.where((agreement < 0).logical_not(), 0.0)
    return p - g.sign() * size, g, size


register_update("rprop", _rprop)
