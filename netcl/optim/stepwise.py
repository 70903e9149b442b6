"""What optimizers with running averages share: state made on the first step, step counts, averages, weight decay."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any

from netcl.graph.effects import repeating, updates_expected, with_gradients
from netcl.optim.counts import counted, identity, on_device, renew, skipping
from netcl.optim.optimizer import Optimizer, batches, zeros_for
from netcl.tensor import Tensor


def check_betas(betas: tuple[float, float]) -> None:
    """ValueError for a decay rate of an average outside [0, 1)."""
    for number, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {number}: {beta}")


def at_their_steps(
    optimizer: Optimizer, group: dict[str, Any], kinds: list[str], at: Callable[[dict], Hashable] | None = None
) -> Iterator[tuple[Any, list[Tensor], list[list[Tensor]]]]:
    """(step, parameters, their states by kind) for each set of a group's parameters that one record can update.

    `step` counts from 1: a Python number, or a tensor where the device decides whether steps happen. State that is
    missing starts as zeros. A step is counted once its update has been recorded, so an update that raised (a gradient's
    shape) has not happened. `at` tells parameters of one step apart.
    """
    state = optimizer.state
    if at is None and repeating() and not skipping():
        owns = [state[parameter] for parameter in with_gradients(group["params"])]
        steps = {own["step"] for own in owns}
        step = steps.pop() if len(steps) == 1 else None
        if updates_expected() == 1 and type(step) is int:
            yield step + 1, [], []
            for own in owns:
                own["step"] = step + 1
            return

    def key(parameter: Tensor) -> Hashable:
        own = state[parameter]
        return identity(own.get("step", 0)), None if at is None else at(own)

    for _, members in batches(group["params"], key):
        step = state[members[0]].get("step", 0)
        if skipping():
            step = on_device(step, members[0])
        for parameter in members:
            own = state[parameter]
            own.setdefault("step", step)
            for kind in kinds:
                if own.get(kind) is None:
                    own[kind] = zeros_for(parameter)
        following = counted(step) + 1
        yield following, members, [[state[parameter][kind] for parameter in members] for kind in kinds]
        renew(state, members, "step", following)


def ascended(gradient: Tensor, maximize: bool, parameter: Tensor, decay: Tensor | None) -> Tensor:
    """The gradient to go down: turned round if the aim is a maximum, with the penalty's share if there is one."""
    if maximize:
        gradient = -gradient
    return gradient if decay is None else gradient + parameter * decay


def mixed(average: Tensor, new: Tensor, share: Tensor, rest: Tensor, small_share: bool) -> Tensor:
    """rest * average + share * new, where share + rest = 1, from the end that rounds less (as torch.lerp does)."""
    return average + (new - average) * share if small_share else new - (new - average) * rest
