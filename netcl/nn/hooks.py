"""Hooks of modules: what runs before and after a module's forward."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from netcl.graph.effects import surroundings

_ids = itertools.count()


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook out again; a `with` block does so at its end."""

    def __init__(self, hooks: dict[int, Any], on_change: Callable[[], None]):
        self.id = next(_ids)
        self._hooks = hooks
        self._on_change = on_change

    def remove(self) -> None:
        """Take the hook out; a second time does nothing."""
        self._hooks.pop(self.id, None)
        surroundings.changes += 1
        self._on_change()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_error: object) -> None:
        self.remove()


def add_hook(
    hooks: dict[int, tuple[Callable, bool]],
    hook: Callable,
    prepend: bool,
    with_kwargs: bool,
    on_change: Callable[[], None],
) -> RemovableHandle:
    """Put a hook at the end of `hooks`, or at their beginning."""
    handle = RemovableHandle(hooks, on_change)
    surroundings.changes += 1
    later = dict(hooks) if prepend else {}
    if prepend:
        hooks.clear()
    hooks[handle.id] = (hook, with_kwargs)
    hooks.update(later)
    on_change()
    return handle


def call_with_hooks(module: Any, args: tuple, kwargs: dict) -> Any:
    """A module's forward between its hooks, under PyTorch's rules for what they may return."""
    for hook, with_kwargs in tuple(module._forward_pre_hooks.values()):
        if with_kwargs:
            changed = hook(module, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(f"forward pre-hook must return None or (new_args, new_kwargs), got {changed!r}")
                args, kwargs = changed
        else:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    watch = None
    if module._backward_hooks or module._backward_pre_hooks:
        from netcl.nn.backward_hooks import Watch

        watch = Watch(module)
        args = watch.arguments(args)
    waiting = dict(module._forward_hooks)
    try:
        result = module.forward(*args, **kwargs)
        for number in tuple(waiting):
            result = _through(waiting.pop(number), module, args, kwargs, result)
    except Exception:
        for number in [n for n in waiting if n in module._always_called]:
            _through(waiting[number], module, args, kwargs, None)
        raise
    return result if watch is None else watch.results(result)


def _through(entry: tuple[Callable, bool], module: Any, args: tuple, kwargs: dict, result: Any) -> Any:
    hook, with_kwargs = entry
    replaced = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
    return result if replaced is None else replaced
