"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netcl.optim.counts import counted, identity, on_device, renew, skipping
from netcl.optim.optimizer import (
    Optimizer,
    batches,
    check_not_negative,
    record_update,
    refuse,
    register_update,
    zeros_for,
)  # fmt: skip
from netcl.tensor import Tensor


class SGD(Optimizer):
    """p -= lr * g; with momentum, g is the running sum of gradients. PyTorch's arguments and numbers.

    All parameters are updated together, whatever `foreach` and `fused` say.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0, dampening: float = 0,
        weight_decay: float = 0, nesterov: bool = False, *, maximize: bool = False, foreach: bool | None = None,
        differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
        })  # fmt: skip

    def _check(self, group: dict[str, Any]) -> None:
        refuse(self, group)
        check_not_negative(lr=group["lr"], momentum=group["momentum"], weight_decay=group["weight_decay"])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def _update(self, group: dict[str, Any]) -> None:
        momentum, decay = group["momentum"], group["weight_decay"]
        flags = (decay != 0, momentum != 0, bool(group["nesterov"]), bool(group["maximize"]))

        def at(parameter: Tensor) -> tuple:
            started = self.state[parameter].get("momentum_started") if momentum != 0 else None
            return momentum != 0 and self._buffer(parameter) is None, identity(started)

        for (first, _), members in batches(group["params"], at):
            numbers = [-group["lr"]]
            if decay != 0:
                numbers.append(decay)
            buffers = []
            if momentum != 0:
                # The first buffer is the gradient itself: nothing is dampened, and zeros are carried over.
                numbers += [momentum, self._share(group["dampening"], first, members)]
                buffers = [zeros_for(p) if first else self._buffer(p) for p in members]
            record_update("sgd", flags, numbers, members, [buffers] if momentum != 0 else [])
            if momentum != 0 and "momentum_started" in self.state[members[0]]:
                renew(self.state, members, "momentum_started", 1.0)
            for parameter, buffer in zip(members, buffers, strict=False):  # kept once the update is recorded
                self.state[parameter]["momentum_buffer"] = buffer

    def _share(self, dampening: float, first: bool, members: list[Tensor]) -> Any:
        """The gradient's share in the new buffer: all of it the first time. If that step may be skipped, only the
        device knows whether there was one."""
        own = self.state[members[0]]
        if first and dampening != 0 and skipping():
            own["momentum_started"] = on_device(0.0, members[0])
        if "momentum_started" not in own:
            return 1.0 if first else 1 - dampening
        return 1 - counted(own["momentum_started"]) * dampening

    def _buffer(self, parameter: Tensor) -> Any:
        return self.state[parameter].get("momentum_buffer")


def _sgd(flags: tuple, numbers: list[Tensor], p: Tensor, g: Tensor, buffer: Tensor | None = None) -> tuple:
    decays, has_momentum, nesterov, maximize = flags
    minus_lr, *rest = numbers
    if maximize:
        g = -g
    if decays:
        g = g + p * rest.pop(0)
    if not has_momentum:
        return (p + g * minus_lr,)
    momentum, kept = rest
    buffer = buffer * momentum + g * kept
    g = g + buffer * momentum if nesterov else buffer
    return p + g * minus_lr, buffer


register_update("sgd", _sgd)
