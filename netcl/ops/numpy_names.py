"""Arguments by other names: NumPy's, which PyTorch takes as well (`x.sum(axis=1, keepdims=True)`), and those of sizes
and dimensions that may be given one by one (`x.flip(0, 1)` is `x.flip(dims=(0, 1))`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from types import ModuleType
from typing import Any

NAMES = {"axis": "dim", "keepdims": "keepdim"}
_PARTS = {"indices": "indices_or_sections", "sections": "indices_or_sections"}
OF_ONE = {
    "split": {"split_size": "split_size_or_sections"}, "tensor_split": _PARTS, "hsplit": _PARTS, "vsplit": _PARTS,
    "dsplit": _PARTS,
}  # fmt: skip
ONE_BY_ONE = {
    "expand": ("size",), "flip": ("dims",), "new_empty": ("size",), "new_ones": ("size",), "new_zeros": ("size",),
    "permute": ("dims",), "repeat": ("repeats",), "reshape": ("shape",), "sum_to_size": ("size",), "tile": ("dims",),
    "view": ("size", "dtype"),
}  # fmt: skip


def accept(modules: tuple[ModuleType, ...]) -> None:
    """Let the public functions of the modules take their arguments by these names too."""
    made: dict[tuple, Callable[..., Any]] = {}  # two names of one function stay two names of one
    for module in modules:
        for name in {*getattr(module, "__all__", ()), *getattr(module, "METHODS", ())}:
            function = getattr(module, name)
            code = getattr(function, "__code__", None)
            own = () if code is None else code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            if hasattr(function, "__wrapped__"):
                continue
            if name in ONE_BY_ONE:
                setattr(module, name, _one_by_one(function, ONE_BY_ONE[name]))
            elif "dim" in own or name in OF_ONE:
                names = {**(NAMES if "dim" in own else {}), **OF_ONE.get(name, {})}
                key = (function, *names)
                if key not in made:
                    made[key] = _accepting(function, names)
                setattr(module, name, made[key])


def _accepting(function: Callable[..., Any], names: Mapping[str, str]) -> Callable[..., Any]:
    @wraps(function)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        if kwargs and not names.keys().isdisjoint(kwargs):
            for given, meant in names.items():
                if given in kwargs:
                    if meant in kwargs:
                        raise TypeError(f"{function.__name__}: {given} and {meant} are the same argument; give one")
                    kwargs[meant] = kwargs.pop(given)
        return function(*args, **kwargs)

    return renamed


def _one_by_one(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    @wraps(function)
    def named(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            for name in names:
                if name in kwargs:
                    if len(args) > ("input" not in kwargs):
                        raise TypeError(f"{function.__name__}: {name} is given twice")
                    args = *args, kwargs.pop(name)
            if "input" in kwargs:
                args = kwargs.pop("input"), *args
        return function(*args, **kwargs)

    return named
