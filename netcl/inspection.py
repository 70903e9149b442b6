"""What a function records and runs: `netcl inspect FILE:FUNCTION`."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.graph.explain import explain_call
from netcl.graph.reports import Explanation
from netcl.tensor import Tensor


class InspectError(ValueError):
    """What was asked for can't be called; the message says what to give."""


class UserError(Exception):
    """The file or the function raised: `error` is what."""

    def __init__(self, error: BaseException):
        super().__init__(str(error))
        self.error = error


def inspect_function(
    place: str, shapes: Mapping[str, str] | None = None, values: Mapping[str, str] | None = None, calls: int = 1
) -> Explanation:
    """What FUNCTION of "FILE:FUNCTION" runs in the last of some calls, and what it leaves pending.

    FUNCTION may be a function, a Module, a class that is called without arguments (its object is then called), or a
    method of such an object ("file.py:Net.loss"). shapes: tensors for its arguments, "32,64" or "32:int64": normal
    random numbers, and zeros for integers and bools. values: Python literals for other arguments.
    """
    path, _, name = place.rpartition(":")
    if not path or not name:
        raise InspectError(f"expected FILE:FUNCTION, such as train.py:step, got {place!r}")
    with _of_the_user():
        module = _load(Path(path))
    function = _find(module, name, path)
    arguments = _arguments(function, name, shapes or {}, values or {})
    names = {**_named(function, module), **{k: value for k, value in arguments.items() if isinstance(value, Tensor)}}
    with _of_the_user():
        for _ in range(calls - 1):
            function(**arguments)
        return explain_call(lambda: function(**arguments), names)[1]


@contextmanager
def _of_the_user() -> Iterator[None]:
    """What is raised inside is the user's own affair."""
    try:
        yield
    except InspectError:
        raise
    except Exception as error:
        raise UserError(error) from error


def _load(path: Path) -> Any:
    """The file as a module, which is not __main__: what only a script does is not done."""
    if not path.is_file():
        raise InspectError(f"there is no file {path}")
    name = f"inspected_{path.stem}"  # a file may be called random.py
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise InspectError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))  # as `python FILE` does it
    arguments, sys.argv = sys.argv, [str(path)]
    try:
        specification.loader.exec_module(module)
    finally:
        sys.argv = arguments
    return module


def _find(module: Any, name: str, path: str) -> Callable[..., Any]:
    found = module
    for part in name.split("."):
        if inspect.isclass(found):
            with _of_the_user():
                found = found()
        if not hasattr(found, part):
            there = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            near = difflib.get_close_matches(part, there, 3) or sorted(there)[:8]
            raise InspectError(f"{path} has no {name}; there are {', '.join(near) or 'no functions'}")
        found = getattr(found, part)
    if inspect.isclass(found):
        with _of_the_user():
            found = found()
    found = getattr(found, "__wrapped_by_jit__", found)  # a replay would show one operation
    if not callable(found):
        raise InspectError(f"{name} of {path} is of type {type(found).__name__}, not a function")
    return found


def _named(function: Any, module: Any) -> dict[str, Any]:
    """What tensors are called: those of the file, and the parameters of its Modules and of the function's own."""
    names: dict[str, Any] = {}
    for key, value in vars(module).items():
        if isinstance(value, Tensor):
            names[key] = value
        elif hasattr(value, "named_parameters") and not inspect.isclass(value):
            names.update({f"{key}.{name}": parameter for name, parameter in value.named_parameters()})
    owner: Any = function if hasattr(function, "named_parameters") else getattr(function, "__self__", None)
    if hasattr(owner, "named_parameters"):
        names.update(owner.named_parameters())
    return names


def _arguments(function: Any, name: str, shapes: Mapping[str, str], values: Mapping[str, str]) -> dict[str, Any]:
    """Keyword arguments for a call; InspectError naming those that are missing or that it does not take."""
    called = function.forward if hasattr(function, "forward") else function
    parameters = inspect.signature(called).parameters
    draws = np.random.default_rng(0)
    given: dict[str, Any] = {key: _tensor(key, text, draws) for key, text in shapes.items()}
    given.update({key: _literal(key, text) for key, text in values.items()})
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    wrong = [key for key in given if key not in parameters and not anything]
    missing = [
        key for key, p in parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and key not in given
    ]  # fmt: skip
    if wrong:
        listed = ", ".join(parameters) or "nothing"
        raise InspectError(f"{name} does not take {', '.join(wrong)}; it takes {listed}")
    if missing:
        raise InspectError(
            f"{name} needs {', '.join(missing)}: give sizes for tensors, --shape {missing[0]}=32,64 (or =32:int64 for "
            f"integers), or a Python value, --value {missing[0]}=0.1"
        )
    return given


def _tensor(key: str, text: str, draws: np.random.Generator) -> Tensor:
    sizes, _, kind = text.partition(":")
    try:
        shape = tuple(int(size) for size in sizes.split(",") if size.strip())
        dtype = dtypes.by_name(kind or "float32")
    except (ValueError, KeyError):
        wanted = "expected sizes and maybe a dtype, such as 32,64 or 32:int64"
        raise InspectError(f"--shape {key}={text}: {wanted}") from None
    if dtype.category < 2:
        return Tensor(np.zeros(shape, dtype.numpy), dtype=dtype)
    return Tensor(draws.standard_normal(shape), dtype=dtype)


def _literal(key: str, text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
