"""Adafactor: Adam's mean square from its rows' and columns' alone."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.graph.effects import has_gradient
from netcl.ops.creation import tensor
from netcl.optim.counts import root as root_of
from netcl.optim.counts import smaller
from netcl.optim.optimizer import Optimizer, check_not_negative, record_update, register_update
from netcl.optim.stepwise import at_their_steps
from netcl.tensor import Tensor


class Adafactor(Optimizer):
    """Shazeer and Stern (2018): for matrices, the mean squares of rows and columns stand for those of all elements.

    Steps are relative to the size of a parameter and clipped at the size d. PyTorch's arguments and numbers.
    ValueError for options out of range.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
        foreach: bool | None = None, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize,
        })  # fmt: skip

    def _check(self, group: dict[str, Any]) -> None:
        check_not_negative(lr=group["lr"], weight_decay=group["weight_decay"])
        if group["beta2_decay"] > 0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {group['beta2_decay']}")
        if group["eps"][0] is not None and not group["eps"][0] >= 0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {group['eps'][0]}")
        if not group["eps"][1] >= 0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {group['eps'][1]}")
        if not group["d"] >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {group['d']}")

    def _update(self, group: dict[str, Any]) -> None:
        eps1, eps2 = group["eps"]
        parts: dict[tuple[bool, float], list[Tensor]] = {}
        for parameter in group["params"]:
            if has_gradient(parameter):
                self._start(parameter)
                least = _spacing(parameter.dtype) if eps1 is None else eps1
                parts.setdefault((parameter.ndim > 1, least), []).append(parameter)
        for (factored, least), members in parts.items():
            kinds = ["row_var", "col_var"] if factored else ["variance"]
            for step, batch, states in at_their_steps(self, {"params": members}, kinds):
                share = step ** group["beta2_decay"]
                rate = smaller(group["lr"], 1 / root_of(step))
                kept = 1 - group["lr"] * group["weight_decay"]
                numbers = [kept, share, 1 - share, least, least * least, eps2, rate, group["d"]]
                record_update("adafactor", (factored, bool(group["maximize"])), numbers, batch, states)

    def _start(self, parameter: Tensor) -> None:
        """The states that do not have the parameter's shape."""
        own, shape = self.state[parameter], tuple(parameter.shape)
        if len(shape) > 1 and "row_var" not in own:
            for kind, size in (("row_var", (*shape[:-1], 1)), ("col_var", (*shape[:-2], 1, *shape[-1:]))):
                own[kind] = tensor(np.zeros(size), dtype=parameter.dtype, device=parameter.device)


def _spacing(dtype: dtypes.DType) -> float:
    """The distance from 1 to the next number of a dtype."""
    narrow = {dtypes.float16: 2.0**-10, dtypes.bfloat16: 2.0**-7}
    return narrow[dtype] if dtype in narrow else float(np.finfo(dtype.numpy).eps)


def _adafactor(flags: tuple, numbers: list[Tensor], p: Tensor, g: Tensor, *states: Tensor) -> tuple:
    factored, maximize = flags
    shrink, share, rest, eps1, eps1_squared, eps2, rate, limit = numbers
    g = -g if maximize else g
    root = sqrt(p.numel())
    alpha = ((p * p).sum().sqrt() / root).maximum(eps2) * rate
    p = p * shrink
    squares = g * g
    if factored:
        rows = states[0] * rest + squares.mean(-1, keepdim=True) * share
        columns = states[1] * rest + squares.mean(-2, keepdim=True) * share
        variance = rows * columns / rows.mean(-2, keepdim=True).maximum(eps1)
        kept: tuple[Tensor, ...] = (rows, columns)
    else:
        variance = states[0] * rest + squares * share
        kept = (variance,)
    update = variance.maximum(eps1_squared).rsqrt() * g
    size = ((update * update).sum().sqrt() / (limit * root)).maximum(1.0)
    return (p - update * (alpha / size), *kept)


register_update("adafactor", _adafactor)
