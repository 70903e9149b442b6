"""Every optimizer's state goes to PyTorch and comes from there: the steps after it are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netcl as nc

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}), ("Adam", {"amsgrad": True}),
    ("AdamW", {"maximize": True}), ("NAdam", {"weight_decay": 0.1}), ("RAdam", {"decoupled_weight_decay": True}),
    ("Adamax", {}), ("Adagrad", {"lr_decay": 0.1}), ("Adadelta", {}), ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("ASGD", {"lambd": 0.01}), ("Rprop", {}), ("Adafactor", {}),
]  # fmt: skip
SHAPES = ((4, 3), (5,), ())


def numbers(seed: int) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.standard_normal(shape).astype(np.float32) for shape in SHAPES]


def made(t: Any, name: str, options: dict, start: list[np.ndarray]) -> tuple[list, Any]:
    """Two groups of parameters, one with a learning rate of its own, and their optimizer."""
    p = [t.nn.Parameter(t.tensor(x)) for x in start]
    groups = [{"params": p[:2]}, {"params": p[2:], "lr": 0.02}]
    return p, getattr(t.optim, name)(groups, **options)


def stepped(t: Any, parameters: list, optimizer: Any, first: int, count: int) -> None:
    for number in range(first, first + count):
        for p, g in zip(parameters, numbers(number), strict=True):
            p.grad = t.tensor(g)
        optimizer.step()


def converted(state: Any, to: Any) -> Any:
    """A state_dict with its tensors made another library's."""
    if isinstance(state, dict):
        return {key: converted(value, to) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(converted(value, to) for value in state)
    return to.tensor(np.asarray(state)) if hasattr(state, "numpy") else state


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda x: x if isinstance(x, str) else "")
@pytest.mark.parametrize("direction", ["from PyTorch", "to PyTorch"])
def test_training_goes_on_in_the_other_library(torch, name: str, options: dict, direction: str):
    here, there = (torch, nc) if direction == "from PyTorch" else (nc, torch)
    p, a = made(here, name, options, numbers(0))
    stepped(here, p, a, 1, 20)
    q, b = made(there, name, {}, [x.detach().numpy() for x in p])
    b.load_state_dict(converted(a.state_dict(), there))
    assert [group["lr"] for group in b.param_groups] == [group["lr"] for group in a.param_groups]
    stepped(here, p, a, 21, 20)
    stepped(there, q, b, 21, 20)
    for x, y in zip(p, q, strict=True):
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-6, atol=1e-6)
