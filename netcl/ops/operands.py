"""What is given as a tensor and is none: a TypeError that says so, wherever a function stumbles over it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from types import ModuleType
from typing import Any

from netcl.tensor import Tensor

WANTED = ("Tensor", "Tensor | None")
_made: dict[Callable[..., Any], Callable[..., Any]] = {}  # names of one function stay names of one


def accept_tensors_only(modules: tuple[ModuleType, ...]) -> None:
    """Every public function of the modules that has a parameter `: Tensor` raises TypeErrors for other things."""
    for module in modules:
        for name in getattr(module, "__all__", ()):
            function: Any = getattr(module, name)
            code = getattr(function, "__code__", None)
            if code is None or code.co_name == "function" or hasattr(function, "tensors_only"):
                continue  # a table entry's function is nothing but `apply`, which looks at its operands
            asked = {word for parameter, word in function.__annotations__.items() if parameter != "return"}
            if not asked.isdisjoint(WANTED):
                home = sys.modules[function.__module__]
                trying = _made.get(function) or _made.setdefault(function, _trying(function))
                at_home: Any = vars(home).get(function.__name__)  # where pickle looks for it
                if at_home is function:
                    setattr(home, function.__name__, trying)
                setattr(module, name, trying)
                _replace_elsewhere(name, function, trying)


def _replace_elsewhere(name: str, function: Callable[..., Any], trying: Callable[..., Any]) -> None:
    """Modules that have taken over the function by its name have this one: it is the same wherever it is looked for."""
    for place, module in list(sys.modules.items()):
        if place.startswith("netcl.") and vars(module).get(name) is function:
            setattr(module, name, trying)


def _trying(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def trying(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except AttributeError:
            refuse(function, args, kwargs)
            raise

    trying.tensors_only = True  # type: ignore[attr-defined]
    return trying


def refuse(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> None:
    """TypeError if one of the arguments should be a tensor and is none."""
    parameters = signature(function).parameters
    for name, value in signature(function).bind(*args, **kwargs).arguments.items():
        wanted = parameters[name].annotation
        for given in value if parameters[name].kind is Parameter.VAR_POSITIONAL else (value,):
            if wanted in WANTED and not isinstance(given, Tensor) and (given is not None or wanted == "Tensor"):
                raise TypeError(
                    f"{function.__name__}: expected a tensor as {name}, got {type(given).__name__}; "
                    "nc.tensor(...) makes them of arrays, lists and numbers"
                ) from None
