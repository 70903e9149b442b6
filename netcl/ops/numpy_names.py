"""NumPy's names for two arguments, which PyTorch takes as well: `x.sum(axis=1, keepdims=True)`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

NAMES = {"axis": "dim", "keepdims": "keepdim"}


def accept(modules: tuple[ModuleType, ...]) -> None:
    """Every public function of the modules that has the argument `dim` (or `keepdim`) takes NumPy's name for it too."""
    for module in modules:
        for name in {*getattr(module, "__all__", ()), *getattr(module, "METHODS", ())}:
            function = getattr(module, name)
            code = getattr(function, "__code__", None)
            own = () if code is None else code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            if "dim" in own and not hasattr(function, "__wrapped__"):
                setattr(module, name, _accepting(function))


def _accepting(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        if kwargs and not NAMES.keys().isdisjoint(kwargs):
            for given, meant in NAMES.items():
                if given in kwargs:
                    if meant in kwargs:
                        raise TypeError(f"{function.__name__}: {given} and {meant} are the same argument; give one")
                    kwargs[meant] = kwargs.pop(given)
        return function(*args, **kwargs)

    return renamed
