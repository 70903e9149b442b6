"""jit_compile: a function is recorded once for each kind of call, and replayed after that without being run."""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from netcl.autograd import tape
from netcl.autograd.autocast import autocast_state
from netcl.core import dtypes
from netcl.core.device import current_device
from netcl.core.warning import warn
from netcl.graph.batching import active
from netcl.graph.value import _pending, flush_thread
from netcl.jit.recorded import Analysis, Recorded
from netcl.jit.recorder import Recorder
from netcl.jit.replay import MISMATCH, Replay
from netcl.jit.signature import Arguments, named_leaves, plain_items, with_floats
from netcl.jit.watch import CannotRepeat, TooMuch, Unsettled, Watch

LIMIT = 16  # kinds of call that are recorded for one function
ATTEMPTS = 3  # calls in which state may still be made before a function is given up


compiled_functions: weakref.WeakSet[Any] = weakref.WeakSet()


class JitWarning(UserWarning):
    """A compiled function can't be replayed, or was recorded too often. Its results are right all the same."""


class CacheInfo(NamedTuple):
    """Counters of compiled functions: calls replayed, calls recorded, calls traced, recordings kept."""

    hits: int
    recorded: int
    traced: int
    recordings: int


class _Entry:
    """What is known for one kind of call."""

    def __init__(self, objects: list[Any]):
        self.objects = objects  # kept alive, so that their identity stays theirs
        self.replays: list[Replay] = []
        self.attempts = 0
        self.full = False
        self.waiting: Any = None  # a recording that a second one has to confirm
        self.reason: str | None = None


class Compiled:
    """A function, or a Module, that is recorded once and replayed. Made by jit_compile."""

    def __init__(self, function: Callable, fullgraph: bool):
        functools.update_wrapper(self, function, updated=())
        self.__wrapped_by_jit__ = function
        self._fullgraph = fullgraph
        self._entries: dict[tuple, _Entry] = {}
        self._lock = threading.RLock()
        self._hits = self._recorded = self._traced = 0
        self._limited = False
        self._lines: set[str] = set()  # where it reads values
        compiled_functions.add(self)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "__wrapped_by_jit__" not in self.__dict__:
            raise AttributeError(name)
        if name == "_orig_mod":  # PyTorch's name of the module that was compiled
            return self.__wrapped_by_jit__
        return getattr(self.__wrapped_by_jit__, name)

    def __repr__(self) -> str:
        return f"jit_compile({self.__wrapped_by_jit__!r})"

    def cache_info(self) -> CacheInfo:
        """Counters of this function's calls."""
        kept = sum(len(entry.replays) for entry in self._entries.values())
        return CacheInfo(self._hits, self._recorded, self._traced, kept)

    def cache_clear(self) -> None:
        """Forget every recording."""
        with self._lock:
            self._entries.clear()
            self._limited = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _must_trace():
            return self.__wrapped_by_jit__(*args, **kwargs)
        arguments = Arguments(args, kwargs)
        state = tape._state
        key = (arguments.key, state.enabled, state.inference, autocast_state(), current_device(), dtypes.default_float)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                replays = entry.replays
                for place in range(len(replays) - 1, -1, -1):
                    result = replays[place].call(arguments.tensors, arguments.floats)
                    if result is not MISMATCH:
                        self._hits += 1
                        if place != len(replays) - 1:
                            replays.append(replays.pop(place))
                        if replays[-1].recorded.flush:
                            flush_thread()
                        return result
            if entry is None:
                entry = self._new_entry(key, arguments, args, kwargs)
            if entry is None or entry.reason is not None or self._full(entry):
                self._traced += 1
                return self.__wrapped_by_jit__(*args, **kwargs)
            return self._record(entry, arguments, args, kwargs)

    # ---- recording ----

    def _full(self, entry: _Entry) -> bool:
        if len(entry.replays) >= LIMIT and not entry.full:
            entry.full = True
            what = entry.replays[-1].guard.changed() or "a number that it looks at"
            self._warn(
                f"has been recorded {LIMIT} times for the same kind of call, and is traced from now on where none of "
                f"that fits: {what} changes"
            )
        return entry.full

    def _new_entry(self, key: tuple, arguments: Arguments, args: tuple, kwargs: dict) -> _Entry | None:
        if arguments.arrays:
            self._refuse("it takes a NumPy array, whose elements may change unseen; pass nc.tensor(array)")
        if len(self._entries) >= LIMIT:
            if not self._limited:
                self._limited = True
                self._warn(
                    f"has been recorded for {LIMIT} kinds of call, and is traced from now on for others; "
                    f"{self._changed(args, kwargs)}"
                )
            return None
        entry = self._entries[key] = _Entry(arguments.objects)
        if arguments.arrays:
            entry.reason = "arrays"
        self._last = named_leaves(args, kwargs, self._names())
        return entry

    def _changed(self, args: tuple, kwargs: dict) -> str:
        now = named_leaves(args, kwargs, self._names())
        for (name, new), (_, old) in zip(now, self._last, strict=False):
            if new != old:
                return f"the argument that changes is {name}: {old}, then {new}"
        return "its arguments differ in number" if len(now) != len(self._last) else "grad mode or autocast changes"

    def _names(self) -> tuple[str, ...]:
        try:
            return tuple(inspect.signature(self.__wrapped_by_jit__).parameters)
        except (TypeError, ValueError):
            return ()

    def _record(self, entry: _Entry, arguments: Arguments, args: tuple, kwargs: dict) -> Any:
        watch = Watch()
        try:
            watch.explore_call(self.__wrapped_by_jit__, arguments.tensors, arguments.objects, {})
        except TooMuch as error:
            self._refuse(str(error), entry)
            return self.__wrapped_by_jit__(*args, **kwargs)
        self._recorded += 1
        recorder = Recorder(watch)
        recorder.begin()
        try:
            count = [0]
            live_args = with_floats(args, recorder.argument, count)
            live_kwargs = with_floats(kwargs, recorder.argument, count)
            results = [self.__wrapped_by_jit__(*live_args, **live_kwargs)]
        except BaseException as error:
            recorder.end()
            recorder.roll_back()
            recorder.roll_back_numbers()
            recorder.plain_numbers()
            if isinstance(error, TypeError) and (recorder.floats or recorder.lines):
                error.add_note(
                    "While jit_compile records a function, something stands for each float that is an argument or is "
                    "read with item(); give float(number) to what takes plain numbers only."
                )
            raise
        recorder.end()
        try:
            replay = self._kept(entry, recorder, results, arguments)
        finally:
            recorder.forget()
        if not results:  # the call was taken back
            sources = recorder.sources(arguments.floats)
            results.append(replay.first(arguments.tensors, sources, recorder.roll_back_numbers))
        if recorder.flush_wanted:
            try:
                flush_thread()
            except BaseException:
                if all([before.restore() for before in reversed(recorder.steps)]) and replay is None:
                    recorder.roll_back_numbers()
                raise
        return plain_items(results[0])

    def _kept(self, entry: _Entry, recorder: Recorder, results: list[Any], arguments: Arguments) -> Any:
        """The replay of a recording, None where there can be none. Takes the call and its result back where the replay
        can do it at once, by the plan of the calls that follow: so that one plan is made, not two."""
        try:
            recorded = Analysis(recorder, results[0]).run()
        except CannotRepeat as reason:
            entry.attempts += 1
            if not isinstance(reason, Unsettled) or entry.attempts > ATTEMPTS:
                self._refuse(str(reason), entry)
            return None
        if not self._confirmed(entry, recorded):
            return None
        for line in recorder.lines:
            self._split_at(line)
        if recorded.directs and not recorder.lines:
            results.clear()
            recorder.roll_back()
            assert recorder.trace is not None
            recorder.trace.truncate(recorder.start)
        replay = Replay(recorded, arguments.tensors, arguments.floats)
        entry.replays.append(replay)
        return replay

    def _confirmed(self, entry: _Entry, recorded: Recorded) -> bool:
        """Whether a recording may be used: at once, or when a second one is like it."""
        if not recorded.confirmed:
            before, entry.waiting = entry.waiting, recorded
            if before is None or not recorded.like(before):
                entry.attempts += 1
                if entry.attempts > ATTEMPTS:
                    self._refuse("it does something else at each call", entry)
                return False
        entry.attempts = 0
        entry.waiting = None
        return True

    def _split_at(self, line: str) -> None:
        """A value is read in a line."""
        if self._fullgraph:
            self._refuse(f"it reads a tensor's value at {line}")
        if line not in self._lines:
            self._lines.add(line)
            self._warn(f"is split at {line}, where it reads a tensor's value: each call waits for the device there")

    def _refuse(self, reason: str, entry: _Entry | None = None) -> None:
        if self._fullgraph:
            raise RuntimeError(f"jit_compile(fullgraph=True): {self.__name__} can't be one graph: {reason}")
        if entry is not None:
            entry.reason = reason
        self._warn(f"is traced at each call: {reason}")

    def _warn(self, text: str) -> None:
        name = getattr(self, "__name__", type(self.__wrapped_by_jit__).__name__)
        warn(f"jit_compile: {name} {text}", JitWarning)


def _must_trace() -> bool:
    """Whether this call is inside something that has to see its operations."""
    pending, state = _pending, tape._state
    return bool(
        pending.recorder is not None
        or pending.expansion is not None
        or pending.eager
        or pending.collector is not None
        or state.tapes
        or state.anomaly
        or state.packing
        or state.rules
        or active.maps
    )


def jit_compile(function: Callable | None = None, *, fullgraph: bool = False) -> Any:
    """A function that is run once for each kind of call, and after that replayed without running its Python code.

    function: any callable of tensors, containers of them, Modules, optimizers and plain values: a loss, a model, a
    whole training step. Tensors, and floats among the arguments, may have other values at each call; for other shapes,
    dtypes, ints or strings it is recorded again. What it reads from closures, globals and attributes is looked at
    before each call. Where it reads a value with item(), it is split; one that can't be replayed (it prints a value, or
    changes a list) is traced at each call. A JitWarning says so; with `fullgraph=True` that is a RuntimeError.

    >>> import netcl as nc
    >>> w = nc.tensor([2.0], requires_grad=True)
    >>> optimizer = nc.optim.SGD([w], lr=0.1)
    >>> @nc.jit_compile
    ... def step(x):
    ...     optimizer.zero_grad()
    ...     loss = (w * x).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> step(nc.tensor([1.0])).item()
    2.0
    >>> round(step(nc.tensor([1.0])).item(), 4)
    1.9
    """
    if function is None:
        return functools.partial(jit_compile, fullgraph=fullgraph)
    if not callable(function):
        raise TypeError(f"jit_compile: expected a function or a Module, got {type(function).__name__}")
    kinds = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    if any(kind(function) for kind in kinds):
        raise TypeError(
            f"jit_compile: {function.__name__} is a generator or a coroutine; compile a function that it calls instead"
        )
    return Compiled(function, fullgraph)


def compile(
    model: Callable | None = None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: str = "inductor",
    mode: str | None = None, options: Any = None, disable: bool = False,
) -> Any:  # fmt: skip
    """jit_compile under the name of torch.compile, for scripts that use it. There is one backend and one mode.

    NotImplementedError for dynamic=True and options; disable=True returns the function itself.
    """
    if dynamic:
        raise NotImplementedError("compile(dynamic=True): shapes are fixed in a recording; leave dynamic out")
    if options is not None:
        raise NotImplementedError("compile(options=...): there are none; leave it out")
    if model is None:
        return functools.partial(compile, fullgraph=fullgraph, backend=backend, mode=mode, disable=disable)
    return model if disable else jit_compile(model, fullgraph=fullgraph)
