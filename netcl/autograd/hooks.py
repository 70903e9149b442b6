"""What watches the way back: hooks on tensors and on nodes, kept gradients of results, and the search for NaN."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from netcl.autograd import tape
from netcl.graph.effects import surroundings


def through_hooks(hooks: dict, gradient: Any) -> Any:
    """A gradient past hooks, in the order of their registration; what one returns replaces it."""
    for hook in list(hooks.values()) if gradient is not None else ():
        replaced = hook(gradient)
        if replaced is not None:
            gradient = _checked(replaced, gradient)
    return gradient


def _checked(replaced: Any, gradient: Any) -> Any:
    if not isinstance(replaced, tape.Tensor):
        raise TypeError(f"a gradient's hook must return a Tensor or None, got {type(replaced).__name__}")
    if replaced.shape != gradient.shape:
        raise RuntimeError(
            f"a gradient's hook has changed the shape {list(gradient.shape)} to {list(replaced.shape)}; "
            "what it returns must have the gradient's shape"
        )
    return replaced if replaced.dtype is gradient.dtype else replaced.to(gradient.dtype)


def through_result_hooks(node: Any, gradients: list[Any]) -> None:
    """The gradients of a node's results past their hooks, and then into the `.grad` of results that keep it."""
    for output, hooks in node.hooks.items() if node.hooks else ():
        gradients[output] = through_hooks(hooks, gradients[output])
    for output, keeper in node.retained.items() if node.retained else ():
        tensor = keeper()
        if tensor is not None and gradients[output] is not None:
            before = tensor._grad
            tensor._grad = tape._alias(gradients[output]) if before is None else before + gradients[output]


def watched_gradients(node: Any, gradients: list[Any], create_graph: bool) -> Iterable[Any]:
    """A node's gradients where it has hooks of its own, or where NaN are searched for."""
    before, after = node.node_hooks or ({}, {})
    for hook in list(before.values()):
        replaced = hook(tuple(gradients))
        gradients = gradients if replaced is None else _same_count(node, replaced, len(gradients))
    made = list(node.gradients(gradients, create_graph))
    if tape._state.anomaly and tape._state.check_nan:
        _raise_at_nan(node, made)
    for hook in list(after.values()):
        replaced = hook(tuple(made), tuple(gradients))
        made = made if replaced is None else _same_count(node, replaced, len(made))
    return made


def _same_count(node: Any, replaced: Any, count: int) -> list[Any]:
    if not isinstance(replaced, tuple) or len(replaced) != count:
        raise RuntimeError(f"{node.name()}: a hook of this node must return None or a tuple of {count} gradients")
    return list(replaced)


def _raise_at_nan(node: Any, made: list[Any]) -> None:
    for number, gradient in enumerate(made):
        if gradient is not None and np.isnan(gradient.detach().numpy().astype(np.float64)).any():
            where = (
                f"the operation was recorded at {node.where}"
                if node.where
                else "run the forward inside detect_anomaly() too, to see its line"
            )
            raise RuntimeError(f"Function '{node.name()}' returned nan values in its {number}th output; {where}")


# ---- registering -------------------------------------------------------------------------------------------------


def add(hooks: dict, hook: Callable) -> Any:
    handle = tape.HookHandle(hooks)
    surroundings.changes += 1
    hooks[handle] = hook
    return handle


def on_gradient(tensor: Any, hook: Callable) -> Any:
    """Tensor.register_hook."""
    if not tensor._tracked:
        raise RuntimeError("register_hook: the tensor does not require a gradient, so the hook would never be called")
    if tensor._node is None:
        if tensor._hooks is None:
            tensor._hooks = {}
        return add(tensor._hooks, hook)
    if tensor._node.hooks is None:
        tensor._node.hooks = {}
    return add(tensor._node.hooks.setdefault(tensor._output, {}), hook)


def after_accumulation(tensor: Any, hook: Callable) -> Any:
    """Tensor.register_post_accumulate_grad_hook."""
    if not tensor._tracked or tensor._node is not None:
        raise RuntimeError(
            "register_post_accumulate_grad_hook: only leaf tensors that require a gradient accumulate one; "
            "use register_hook for results"
        )
    if tensor._accumulate_hooks is None:
        tensor._accumulate_hooks = {}
    return add(tensor._accumulate_hooks, hook)


def retain(tensor: Any) -> None:
    """Tensor.retain_grad. The node knows its result weakly: the two must not keep each other alive."""
    if not tensor._tracked:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if tensor._node is not None:
        if tensor._node.retained is None:
            tensor._node.retained = {}
        tensor._node.retained.setdefault(tensor._output, weakref.ref(tensor))


def retains(tensor: Any) -> bool:
    """Whether a result keeps its gradient."""
    node = tensor._node
    keeper = node.retained.get(tensor._output) if node is not None and node.retained else None
    return keeper is not None and keeper() is tensor
