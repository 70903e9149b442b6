"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netcl.ops.elementwise import maximum
from netcl.optim.counts import complement, root
from netcl.optim.optimizer import Optimizer, check_not_negative, record_update, refuse, register_update
from netcl.optim.stepwise import at_their_steps, check_betas
from netcl.tensor import Tensor


class Adam(Optimizer):
    """Kingma and Ba (2015): steps by the mean of gradients over the root of their mean square. PyTorch's numbers.

    All parameters are updated together, whatever `foreach` and `fused` say.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None, maximize: bool = False,
        capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
            "fused": fused, "decoupled_weight_decay": decoupled_weight_decay,
        })  # fmt: skip

    def _check(self, group: dict[str, Any]) -> None:
        refuse(self, group)
        check_not_negative(lr=group["lr"], epsilon=group["eps"], weight_decay=group["weight_decay"])
        check_betas(group["betas"])

    def _update(self, group: dict[str, Any]) -> None:
        kinds = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"][: 3 if group["amsgrad"] else 2]
        for step, members, states in at_their_steps(self, group, kinds):
            flags, numbers = _numbers(group, step)
            record_update("adam", flags, numbers, members, states)


def _numbers(group: dict[str, Any], step: Any) -> tuple[tuple, list[Any]]:
    """What of a group shapes the kernel, and the numbers that it gets."""
    lr, decay, (beta1, beta2) = group["lr"], group["weight_decay"], group["betas"]
    decoupled = bool(group["decoupled_weight_decay"])
    flags = (decay != 0, decoupled, bool(group["amsgrad"]), bool(group["maximize"]), 1 - beta1 < 0.5)
    numbers = [
        1 - beta1, beta1, beta2, 1 - beta2, root(complement(beta2, step)), group["eps"], -lr / complement(beta1, step),
    ]  # fmt: skip
    if decay != 0:
        numbers.append(1 - lr * decay if decoupled else decay)
    return flags, numbers


def _adam(
    flags: tuple, numbers: list[Tensor], p: Tensor, g: Tensor, m: Tensor, v: Tensor, top: Tensor | None = None
) -> tuple:
    decays, decoupled, amsgrad, maximize, small_weight = flags
    new1, old1, old2, new2, root_correction, eps, minus_step = numbers[:7]
    if maximize:
        g = -g
    if decays and decoupled:
        p = p * numbers[7]
    elif decays:
        g = g + p * numbers[7]
    m = m + (g - m) * new1 if small_weight else g - (g - m) * old1  # torch.lerp: each where it rounds less
    v = v * old2 + g * g * new2
    if amsgrad:
        top = maximum(top, v)
    denominator = (top if amsgrad else v).sqrt() / root_correction + eps  # type: ignore[union-attr]
    p = p + m / denominator * minus_step
    return (p, m, v, top) if amsgrad else (p, m, v)


class AdamW(Adam):
    """Loshchilov and Hutter (2019): Adam whose weight decay shrinks the parameters, not the gradients."""

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False, foreach: bool | None = None,
        capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip


register_update("adam", _adam)
