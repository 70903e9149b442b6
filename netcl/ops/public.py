"""Functions as users get them: in `nc`, `nc.linalg`, `nc.special`, `nc.nn.functional`, and as methods of tensors.

Inside netcl functions are called as they were written. Where they become public they also take arguments by other
names (NumPy's `axis`, see `spelling`), `out=` and words about memory (`formats`), and what is given as a tensor and is
none raises a TypeError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import Parameter, Signature, signature
from types import FunctionType
from typing import Any

from netcl.ops.formats import check_word, words_of
from netcl.ops.out import NAMES as WITH_OUT
from netcl.ops.out import write_to
from netcl.ops.spelling import Respell, respelled
from netcl.tensor import Tensor

_TENSORS = ("Tensor", "Tensor | None")
_made: dict[tuple[FunctionType, bool], Callable[..., Any]] = {}  # names of one function stay names of one


def publish(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Put the public form of functions in the place of the functions. There pickle and help() find them."""
    own = namespace["__name__"]
    for name in names:
        function = namespace[name]
        home = function.__module__ if isinstance(function, FunctionType) else ""
        if home == own or home.startswith(("netcl.ops.", "netcl.nn.")):
            public = namespace[name] = public_form(function, name, name in WITH_OUT)
            if public is not function:
                first = function.__name__
                public.__module__ = own
                public.__qualname__ = first if namespace.get(first) in (function, public) else name


def public_form(function: Callable[..., Any], name: str, takes_out: bool = False) -> Callable[..., Any]:
    """The function itself, if there is nothing to add to it."""
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        return function
    asked = {annotation for parameter, annotation in function.__annotations__.items() if parameter != "return"}
    respell = respelled(name, function)
    words = tuple(word for word in words_of(name) if word not in signature(function).parameters)
    if respell is None and not takes_out and not words and asked.isdisjoint(_TENSORS):
        return function
    if (function, takes_out) not in _made:
        _made[function, takes_out] = _form(function, respell, takes_out, words)
    return _made[function, takes_out]


def _form(
    function: Callable[..., Any], respell: Respell | None, takes_out: bool, words: tuple[str, ...]
) -> Callable[..., Any]:
    def by_keywords(args: tuple, kwargs: dict[str, Any]) -> Any:
        for word in words:
            if word in kwargs:
                check_word(function.__name__, word, kwargs.pop(word))
        if respell is not None:
            args = respell(args, kwargs)
        out = kwargs.pop("out", None) if takes_out else None
        try:
            return function(*args, **kwargs) if out is None else write_to(out, function, args, kwargs)
        except AttributeError:
            refuse(function, args, kwargs)
            raise

    @wraps(function)
    def public(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            return by_keywords(args, kwargs)
        try:
            return function(*args)
        except AttributeError:
            refuse(function, args, kwargs)
            raise

    added = ("out", *words) if takes_out else words
    if added:
        public.__signature__ = _with_words(signature(function), added)  # type: ignore[attr-defined]
    return public


def _with_words(own: Signature, words: tuple[str, ...]) -> Signature:
    *others, last = own.parameters.values()
    ahead, behind = (others, [last]) if last.kind is Parameter.VAR_KEYWORD else ([*others, last], [])
    added = [Parameter(word, Parameter.KEYWORD_ONLY, default=None, annotation="Any") for word in words]
    return own.replace(parameters=[*ahead, *added, *behind])


def refuse(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> None:
    """TypeError if one of the arguments should be a tensor and is none."""
    parameters = signature(function).parameters
    for name, value in signature(function).bind(*args, **kwargs).arguments.items():
        wanted = parameters[name].annotation
        for given in value if parameters[name].kind is Parameter.VAR_POSITIONAL else (value,):
            if wanted in _TENSORS and not isinstance(given, Tensor) and (given is not None or wanted == "Tensor"):
                raise TypeError(
                    f"{function.__name__}: expected a tensor as {name}, got {type(given).__name__}; "
                    "nc.tensor(...) makes them of arrays, lists and numbers"
                ) from None
