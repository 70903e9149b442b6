"""explain and cache_info: looking at what jit_compile does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from netcl.graph.explain import explain_call
from netcl.graph.reports import Explanation
from netcl.jit.compiler import CacheInfo, Compiled, compiled_functions
from netcl.jit.recorded import Analysis
from netcl.jit.recorder import Recorder
from netcl.jit.signature import Arguments
from netcl.jit.watch import CannotRepeat, TooMuch, Watch
from netcl.random import fork_rng
from netcl.tensor import Tensor


def explain(function: Callable, *args: Any, **kwargs: Any) -> Explanation:
    """Print what a call would record and run: operations, kernels, launches, and why kernels are not one.

    The function is run, but what it would change (tensors, gradients, optimizers' and generators' numbers) stays as it
    is, and nothing is launched unless the function reads a value. Returns what is printed, as data.

    >>> import netcl as nc
    >>> report = nc.jit.explain(lambda x: (x * 2 + 1).exp(), nc.ones(4))
    recorded on ...
    >>> report.launches
    1
    """
    function = function.__wrapped_by_jit__ if isinstance(function, Compiled) else function
    arguments = Arguments(args, kwargs)
    watch = Watch()
    try:
        watch.explore_call(function, arguments.tensors, arguments.objects, _names(function, args, kwargs))
    except TooMuch as error:
        print(f"not replayed: {error}")
    found, lines, reason = _recorded(function, watch, args, kwargs)
    print(found)
    for line in lines:
        print(f"\nsplit at {line}, where it reads a tensor's value")
    if reason:
        print(f"\nnot replayed: {reason}")
    return found


def _names(function: Callable, args: tuple, kwargs: dict) -> dict[int, str]:
    """What the function calls the tensors that it is given."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):  # a builtin, or arguments that do not fit: calling it will say so
        return {}
    return {id(item): name for name, item in bound.items() if isinstance(item, Tensor)}


def _recorded(function: Callable, watch: Watch, args: tuple, kwargs: dict) -> tuple[Explanation, list[str], str]:
    """What a call does, the lines that read values, and why it is not replayed, if it is not."""
    recorder = Recorder(watch)
    names = {name: tensor for name, tensor in zip(watch.names, watch.tensors, strict=True) if ".grad" not in name}
    reason: list[str] = []

    def run() -> Any:
        recorder.begin()
        try:
            result = function(*args, **kwargs)
        finally:
            recorder.end()
        try:
            Analysis(recorder, result).run()
        except CannotRepeat as error:
            reason.append(str(error))
        return result

    with fork_rng():
        try:
            _, found = explain_call(run, names)
        finally:
            recorder.roll_back_all()
    return found, recorder.lines, reason[0] if reason else ""


def cache_info(function: Any = None) -> CacheInfo:
    """The counters of one compiled function, or the sums of all: calls replayed, recorded and traced, recordings kept.

    TypeError for a function that is not compiled.
    """
    if function is not None:
        if not isinstance(function, Compiled):
            raise TypeError(f"cache_info: expected a compiled function, got {type(function).__name__}")
        return function.cache_info()
    infos = [each.cache_info() for each in list(compiled_functions)]
    return CacheInfo(*(sum(column) for column in zip(*infos, strict=True))) if infos else CacheInfo(0, 0, 0, 0)
