"""Hooks on a module's way back: what arrives for its results, and what leaves for its arguments."""

from __future__ import annotations

import warnings
from typing import Any

from netcl.autograd.function import Function
from netcl.autograd.tape import is_grad_enabled
from netcl.tensor import Tensor


class _Watch(Function):
    """Passes tensors on; on the way back their gradients go through a function of the owner's."""

    @staticmethod
    def forward(ctx: Any, watcher: Any, *tensors: Tensor) -> tuple:
        ctx.set_materialize_grads(False)
        ctx.watcher = watcher
        return tensors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple:
        return (None, *ctx.watcher(gradients))


class Watch:
    """One call of a module with backward hooks: `arguments` before its forward, `results` after."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.before = list(module._backward_pre_hooks.values())
        self.after = list(module._backward_hooks.values())
        self.arriving: tuple | None = None
        self.places: list[int] = []
        self.count = 0

    def arguments(self, args: tuple) -> tuple:
        """The positional arguments, their tensors watched."""
        self.count = len(args)
        places = [n for n, arg in enumerate(args) if isinstance(arg, Tensor)]
        tensors = [args[n] for n in places]
        if not is_grad_enabled() or not any(t.requires_grad for t in tensors):
            return args
        self.places = places
        return _put(args, places, _Watch.apply(self._leaving, *tensors))

    def results(self, result: Any) -> Any:
        """What forward returned, its tensors watched."""
        listed = (result,) if isinstance(result, Tensor) else result
        if not isinstance(listed, tuple):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but received "
                f"{type(result)}",
                stacklevel=5,
            )
            return result
        places = [n for n, item in enumerate(listed) if isinstance(item, Tensor)]
        tensors = [listed[n] for n in places]
        if not is_grad_enabled() or not any(t.requires_grad for t in tensors):
            return result
        watched = _put(listed, places, _Watch.apply(lambda g: self._arrived(g, places, len(listed)), *tensors))
        return watched[0] if isinstance(result, Tensor) else watched

    def _arrived(self, gradients: tuple, places: list[int], count: int) -> tuple:
        self.arriving = _put((None,) * count, places, gradients)
        for hook in self.before:
            replaced = hook(self.module, self.arriving)
            if replaced is not None:
                self.arriving = _same("pre-hook", replaced, self.arriving)
        if not self.places:  # no argument has a gradient: this is the last chance to call the hooks
            for hook in self.after:
                replaced = hook(self.module, (None,) * self.count, self.arriving)
                if replaced is not None and any(g is not None for g in replaced):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None or None "
                        "for all gradients."
                    )
        return tuple([self.arriving[n] for n in places])

    def _leaving(self, gradients: tuple) -> tuple:
        leaving = _put((None,) * self.count, self.places, gradients)
        for hook in self.after:
            replaced = hook(self.module, leaving, self.arriving)
            if replaced is not None:
                leaving = _same("hook", replaced, leaving)
        self.arriving = None
        return tuple([leaving[n] for n in self.places])


def _put(items: tuple, places: list[int], values: tuple) -> tuple:
    changed = list(items)
    for place, value in zip(places, values, strict=True):
        changed[place] = value
    return tuple(changed)


def _same(kind: str, replaced: Any, before: tuple) -> tuple:
    made = replaced if isinstance(replaced, tuple) else (replaced,)
    if len(made) != len(before):
        raise RuntimeError(
            f"Backward {kind} returned an invalid number of grad, got {len(made)}, expected {len(before)}"
        )
    return made
