"""Notes what a function does while it runs: operations, where their operands come from, and what it leaves behind.

The operations go to a trace of their own, as always; what is noted beside it is what a replay needs to do the same
with other tensors. A function that does something that can't be repeated is still run correctly: it is traced at each
call, and `reason` says why.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any
from weakref import ref

import numpy as np

from netcl.autograd import tape
from netcl.graph.effects import surroundings
from netcl.graph.live import Live, peek, plain
from netcl.graph.transfer import to_host
from netcl.graph.value import Trace, Value, _pending, user_line
from netcl.graph.views import LAYOUT
from netcl.jit.segment import Cut, Segment
from netcl.jit.signature import hooks_of
from netcl.jit.watch import LARGEST_ARRAY, MOVES, CannotRepeat, Unsettled, Watch, states_of
from netcl.storage import sharing
from netcl.tensor import Tensor

_tokens = itertools.count(1)
_QUIET = ("input", "scalar", "literal", "item")  # records that effects may add beside their updates, and views


class Effect:
    """Host work that a replay repeats: a function, its arguments, and how it went; or no function, and numbers that
    are read."""

    __slots__ = ("args", "function", "graded", "keys", "numbers")

    def __init__(self, function: Callable | None, args: tuple):
        self.function = function
        self.args = args
        self.keys: list[Any] = []
        self.numbers: list[float] = []
        self.graded: set[int] = set()


class Recorder:
    """Installed as this thread's recorder while the function runs once."""

    def __init__(self, watch: Watch):
        self.watch = watch
        self.token = next(_tokens)
        self.reason: str | None = None  # why a replay would be wrong
        self.unsettled: str | None = None  # why this call is not like the next ones
        self.cuts: list[Cut] = []  # where values were read
        self.lines: list[str] = []  # and in which lines
        self.generators: list[Any] = []  # that random numbers were drawn from
        self.flush_wanted = False
        self.steps: list[Any] = []  # what optimizers' steps began with
        self.effects: list[Effect] = []
        self.current: Effect | None = None
        self.uploads: dict[int, tuple[Value, bytes]] = {}  # memory filled by the host, and a digest of what it got
        self.doubtful: set[int] = set()  # which of those are not just numbers in the function's text
        self.passing: list[tuple[Any, str]] = []  # arrays of its own that tensors are made of: (weak reference, line)
        self.fixed: set[int] = set()  # float arguments whose value was looked at
        self.asked: list[Callable[[list[Any]], bool]] = []  # what has to be true of the float arguments
        self.graded: set[int] = set()
        self.before: list[Value] = []
        self.tracked: list[tuple[bool, Any]] = []  # of each tensor: requires_grad and grad_fn
        self.copied: list[np.ndarray] = []  # arrays that tensors are made of at each call
        self.outside: list[tuple] = []  # tensors that share elements with those: (tensor, value, tracked, node)
        self.hooked: list[list[Any]] = []  # the hooks of each tensor
        self.sharing: list[tuple] = []  # which tensors share elements, before
        self.gradients: list[Tensor | None] = []
        self.floats: list[float] = []  # the arguments
        self.veiled: list[tuple] = []  # numbers of optimizers: (container, key, what stands for it, the number)
        self.lists: dict[int, tuple] = {}  # lists of them, and how a replay finds them
        self.fresh = [True]  # whether what stands for them now is what they are at the end
        self.contents: list[Any] = []  # of arrays, and the states of generators
        self.managed: list[Any] = []  # the effects' own numbers, to see that nobody else changes them
        self.trace: Trace | None = None
        self.start = (0, 0, 0)  # the sizes of the trace before
        self.pending: dict[int, int] = {}  # position in the trace -> tensor, of what was waiting to be computed
        self.first_node = 0
        self._starts: dict[int, tuple[int, int, int]] = {}

    # ---- begin and end ----

    def begin(self) -> None:
        """From here on, what happens in this thread is noted."""
        own: set[int] = set()
        for number, tensor in enumerate(self.watch.tensors):
            value = tensor._value
            # Of two tensors that have one value (one is detached, say), it has to be seen which is read; and a plain
            # number would be recorded as a constant.
            if id(value) in own or value.number is not None:
                tensor._value = value = value.realise().again()
            own.add(id(value))
            if value.origin is None or value.origin[0] != self.token:
                value.origin = (self.token, ("tensor", number))
        self.before = [tensor._value for tensor in self.watch.tensors]
        self.sharing = sharing(self.watch.tensors)
        self.tracked = [(tensor._tracked, tensor._node) for tensor in self.watch.tensors]
        self.gradients = [tensor.grad for tensor in self.watch.tensors]
        self.outside = [
            (member, member._value, member._tracked, member._node)
            for storage in {id(t._storage): t._storage for t in self.watch.tensors if t._storage is not None}.values()
            for member in storage.living()
            if self.watch.number(member) is None
        ]
        self.hooked = [hooks_of(tensor) for tensor in self.watch.tensors]
        self.contents = self._contents()
        self._renew_floats()
        self.managed = self.managed_numbers()
        self._veil()
        self.first_node = next(tape._numbers)
        self._starts = {id(t): t.sizes() for t in _pending.traces.values()}
        _pending.recorder = self

    def end(self) -> None:
        """The end of the function."""
        _pending.recorder = None
        self._unveil()
        traces = self._grown()
        if len(traces) > 1:
            self.give_up("it works on several devices")
        elif traces:
            self.trace = traces[0]
            self.start = self._starts.get(id(self.trace), (0, 0, 0))
            self.pending = self._waiting_in(self.trace)
        self._check_managed()
        self._check_contents()

    def _grown(self) -> list[Trace]:
        """The traces that the function has added records to."""
        return [t for t in _pending.traces.values() if len(t.records) > self._starts.get(id(t), (0, 0, 0))[0]]

    def _waiting_in(self, trace: Trace) -> dict[int, int]:
        """Which positions of a trace are tensors that wait to be computed."""
        found: dict[int, int] = {}
        for number, value in enumerate(self.before):
            if value.trace is trace:
                found.setdefault(value.index, number)
        return found

    def _contents(self) -> list[Any]:
        """What arrays hold, and where generators that are not netcl's are."""
        arrays = [_digest(array) for array in self.watch.arrays.values() if array.nbytes <= LARGEST_ARRAY]
        return [arrays, states_of(self.watch.engines) if self.watch.doubts else []]

    def _check_contents(self) -> None:
        arrays, states = self._contents()
        if arrays != self.contents[0]:
            self.give_up("it changes the elements of a NumPy array")
        if states != self.contents[1]:
            self.give_up("it draws random numbers that are not netcl's")
        for array, line in self.passing:
            if array() is not None:
                self.give_up(f"it makes a tensor of an array that may change, at {line}")

    def _veil(self) -> None:
        """The function finds numbers of optimizers and schedulers as such that tell where they are used."""
        self.fresh = fresh = [True]

        def looked(asked: Any) -> None:
            self.give_up("it looks at a number of an optimizer or scheduler")

        def veil(holder: Any, key: Any, read: Callable[[], Any]) -> None:
            number = holder[key]
            if type(number) in (int, float):
                holder[key] = live = Live(number, _reader(read, fresh), looked)
                self.veiled.append((holder, key, live, number))

        for container in self.watch.containers:
            if container.managed and isinstance(container.holder, dict):
                for key, item in list(container.holder.items()):
                    if type(item) is list:  # rates; it may be another list at the next call
                        self.lists[id(item)] = item, _reader(lambda c=container, k=key: c.get(k), fresh)  # type: ignore[misc]
                        for place in range(len(item)):
                            veil(item, place, lambda c=container, k=key, p=place: c.get(k)[p])  # type: ignore[misc]
                    elif not (isinstance(key, str) and key.startswith("_")):
                        veil(container.holder, key, lambda c=container, k=key: c.get(k))  # type: ignore[misc]

    def list_of_numbers(self, item: Any) -> Live | None:
        """What a replay returns in the place of a list that an optimizer or scheduler holds."""
        known = self.lists.get(id(item))
        return None if known is None else Live(item, known[1], lambda asked: None)

    def _unveil(self) -> None:
        """The numbers themselves again, where the function has not put others."""
        self.fresh[0] = _pending.recorder is None  # at the end
        for holder, key, live, number in self.veiled:
            there = key < len(holder) if type(holder) is list else key in holder
            if there and holder[key] is live:
                holder[key] = number
        self.veiled = []

    def _renew_floats(self) -> None:
        """Numbers of optimizers become objects of their own: what is put there is another, even if it is equal."""
        for container in self.watch.containers:
            if container.managed and isinstance(container.holder, (dict, list)):
                for key, item in zip(*container.now(), strict=True):
                    if type(item) is float:
                        container.put(key, item * 1.0)

    def _check_managed(self) -> None:
        now = self.managed_numbers()
        if len(now) != len(self.managed) or any(new is not old for new, old in zip(now, self.managed, strict=True)):
            self.give_up("it changes the numbers of an optimizer or scheduler by hand")

    def forget(self) -> None:
        """Let go of what the tensors were before, so that results may take over their memory."""
        self.plain_numbers()
        for value in self.before:
            value.origin = None
        self.before, self.gradients, self.tracked, self.uploads, self.trace = [], [], [], {}, None
        self.outside, self.cuts, self.asked = [], [], []

    def plain_numbers(self) -> None:
        """A float that the function put somewhere, or into a list or a dict there, is a plain number there."""
        for container in self.watch.containers:
            for key, item in zip(*container.now(), strict=True):
                if type(item) is Live:
                    container.put(key, peek(item))
                elif type(item) is list and any(type(part) is Live for part in item):
                    item[:] = map(peek, item)
                elif type(item) is dict and any(type(part) is Live for part in item.values()):
                    item.update((name, peek(part)) for name, part in item.items())

    def roll_back(self) -> None:
        """Tensors, gradients and places that hold tensors are again what they were."""
        for tensor, value, gradient, tracked in zip(
            self.watch.tensors, self.before, self.gradients, self.tracked, strict=True
        ):
            if (tensor._tracked, tensor._node) != tracked:
                tensor._tracked, tensor._node = tracked
                surroundings.changes += 1
            if tensor._value is not value:
                tensor._value = value
                tensor._version += 1
            if tensor._grad is not gradient:
                tensor._grad = gradient
        for tensor, value, is_tracked, node in self.outside:
            if tensor._value is not value:
                tensor._value, tensor._tracked, tensor._node = value, is_tracked, node
                tensor._version += 1
        for container in self.watch.containers:
            keys, content = container.now()
            if len(content) != len(container.content):
                if container.managed:
                    container.restore()  # state that was made goes with what it was made for
                continue
            for key, new, old in zip(keys, content, container.content, strict=True):
                if new is not old and isinstance(old, Tensor):
                    container.put(key, old)

    def roll_back_all(self) -> None:
        """Everything that is watched is again what it was."""
        self.roll_back()
        for container in self.watch.containers:
            if not container.same():
                container.restore()
                surroundings.changes += 1

    def roll_back_numbers(self) -> None:
        """The same for the numbers of optimizers and schedulers."""
        for container in self.watch.containers:
            if container.managed and isinstance(container.holder, dict):
                for key, item in zip(container.keys, container.content, strict=True):
                    if item is not MOVES and not isinstance(item, Tensor):
                        container.holder[key] = item

    def sources(self, floats: list[float]) -> list[Any]:
        """What a replay of this very call begins with."""
        return [floats, *(effect.numbers for effect in self.effects)]

    def managed_numbers(self) -> list[Any]:
        """What optimizers and schedulers count and compute; names with an underscore are their own business."""
        return [
            item
            for container in self.watch.containers
            if container.managed
            for key, item in zip(*container.now(), strict=True)
            if isinstance(item, (int, float, str)) and not (isinstance(key, str) and key.startswith("_"))
        ]

    # ---- what happens meanwhile ----

    def give_up(self, reason: str) -> None:
        self.reason = self.reason or reason

    def read(self) -> None:
        """Values are read: what follows may depend on them."""
        self.give_up(f"it reads a tensor's value at {user_line()}")

    def origin(self, value: Value) -> tuple | None:
        """Where a value comes from: ("tensor", number), ("cut", (which, result)), or what a replay makes it of."""
        origin = value.origin
        return origin[1] if origin is not None and origin[0] == self.token else None

    def item(self, value: Value) -> Any:
        """The only element of a value. What has been recorded runs, and what follows is recorded as it goes on: with
        the number as one that a replay reads anew."""
        waits = value.buffer is None
        mine = value.trace is not None and value.trace is _pending.traces.get(value.device) and not value.trace.closed
        if self.reason or self.current is not None or value.level or not (mine if waits else self.origin(value)):
            return to_host(value).reshape(()).item()
        if waits:
            assert value.trace is not None
            self._cut(value.trace)
        elif not self.cuts:
            self.cuts.append(Cut(Segment(self, None, (0, 0, 0), {}), (0, 0, 0), []))
        _pending.recorder = None
        try:
            number = to_host(value).reshape(()).item()
        finally:
            _pending.recorder = self
        for place, (_, reference) in enumerate(self.cuts[-1].outputs) if waits else ():
            output = reference()
            if output is not None:
                output.origin = (self.token, ("cut", (len(self.cuts) - 1, place)))
        source = self.origin(value)
        assert source is not None
        return self._number_read(number, source)

    def _cut(self, trace: Trace) -> None:
        """What has been recorded so far, which is about to run, is work of its own."""
        if any(other is not trace for other in self._grown()):
            self.give_up("it works on several devices")
        start = self._starts.pop(id(trace), (0, 0, 0))
        copy = Trace(trace.device)
        copy.records, copy.inputs, copy.scalars = trace.records.copy(), trace.inputs.copy(), trace.scalars.copy()
        segment = Segment(self, copy, start, self._waiting_in(trace))
        outputs = []
        for position, reference in trace.values.items():
            value = reference()
            if position >= start[0] and value is not None:
                segment.result(position, (value.shape, value.dtype))
                outputs.append((position, reference))
        try:
            segment.fill()
        except Unsettled as reason:
            self.unsettled = str(reason)
        except CannotRepeat as reason:
            self.give_up(str(reason))
        self.cuts.append(Cut(segment, start, outputs))

    def _number_read(self, number: Any, source: tuple) -> Any:
        """A number that is read anew at each call."""
        line, cut = user_line(), self.cuts[-1]
        self.lines.append(line)
        effect = Effect(None, ())
        effect.numbers = [number]
        self.effects.append(effect)
        place = len(self.effects)
        cut.reads.append((place, source))

        def looked(asked: Any) -> None:
            if asked is None and type(number) is float:
                self.give_up(f"it reads a tensor's value at {line}")
            else:
                self._ask(asked or (lambda numbers: numbers[place][0] == number))

        if type(number) is bool:  # there are two: the recording is good for this one
            looked(None)
            return number
        return Live(number, lambda numbers: numbers[place][0], looked)

    def _ask(self, asked: Callable[[list[Any]], bool]) -> None:
        """What follows is so because of this."""
        (self.cuts[-1].asked if self.cuts else self.asked).append(asked)

    def interrupted(self, trace: Trace) -> None:
        """A trace has to run before the function has ended."""
        if trace.owner is _pending.traces and not trace.closed:  # one that is has failed to run before
            self.read()

    def numbers(self, function: Callable[[], Sequence[Any]], generator: Any) -> tuple:
        """Numbers that are drawn from a generator anew at each call."""
        effect = Effect(function, ())
        self.effects.append(effect)
        self._draws_from(generator)
        effect.numbers = list(function())
        return tuple(self._live(len(self.effects), place, number) for place, number in enumerate(effect.numbers))

    def _live(self, source: int, place: int, number: Any) -> Live:
        def looked(asked: Any) -> None:
            self.give_up("it looks at a number that an optimizer, a scheduler or a generator makes at each call")

        return Live(number, lambda numbers: numbers[source][place], looked)

    def argument(self, place: int, number: float) -> Live:
        """A float argument."""

        def looked(asked: Any) -> None:
            if asked is None:
                self.fixed.add(place)
            else:
                self._ask(asked)

        self.floats.append(number)
        return Live(number, lambda numbers: numbers[0][place], looked)

    def effect(self, function: Callable, args: tuple) -> Any:
        """An effect with operations of its own, which go through effect_numbers."""
        if any(isinstance(argument, Tensor) for argument in args):
            self.give_up("an optimizer or scheduler gets a tensor")
        args = tuple(map(plain, args))
        self._unveil()
        self._check_managed()
        self.current = effect = Effect(function, args)
        self.effects.append(effect)
        self.graded = effect.graded
        counts = {id(trace): len(trace.records) for trace in _pending.traces.values()}
        try:
            result = function(*args)
        finally:
            self.current = None
        names = {key[0] for key in effect.keys}
        for trace in _pending.traces.values():
            for op, _, _ in trace.records[counts.get(id(trace), 0) :]:
                if op not in _QUIET and op not in names and op not in LAYOUT:
                    self.unsettled = f"{getattr(function, '__qualname__', function)} computes {op} on its own"
        self.managed = self.managed_numbers()
        self._veil()
        return result

    def effect_numbers(self, key: Any, numbers: Sequence[float]) -> Sequence[Any]:
        effect = self.current
        if effect is None:
            return numbers
        start, source = len(effect.numbers), len(self.effects)
        effect.keys.append(key)
        effect.numbers += numbers
        return [self._live(source, start + place, number) for place, number in enumerate(numbers)]

    def uploaded(self, value: Value, array: np.ndarray) -> None:
        """The host fills memory."""
        self.uploads[id(value)] = value, _digest(array)
        self.doubtful.add(id(value))

    def _known(self, value: Value, origin: tuple | None = None) -> None:
        """A replay uploads what this value is anew, or need not."""
        del self.uploads[id(value)]
        self.doubtful.discard(id(value))
        if origin is not None:
            value.origin = (self.token, origin)

    def _draws_from(self, generator: Any) -> None:
        if not any(generator is other for other in self.generators):
            self.generators.append(generator)

    def drawn(self, value: Value, make: Callable[[], np.ndarray], generator: Any) -> None:
        """Random numbers were drawn on the host."""
        self._draws_from(generator)
        self.effects.append(Effect(make, ()))
        self._known(value, ("drawn", (len(self.effects), value.device)))

    def made_from(self, value: Value, data: Any, dtype: Any) -> None:
        """A tensor was made of host data."""
        if self.current is not None:
            self._known(value)  # state that is made once
        elif isinstance(data, np.ndarray) and id(data) in self.watch.arrays:
            self._known(value, ("array", (data, dtype, value.device)))
            self.copied.append(data)
        elif isinstance(data, np.ndarray):
            self._passing(data)
        elif _holds_arrays(data):
            self.give_up(f"it makes a tensor of an array that may change, at {user_line()}")
        else:
            self.doubtful.discard(id(value))

    def _passing(self, array: np.ndarray) -> None:
        """A tensor is made of an array that is there for this call only, or part of one that is watched."""
        whole: Any = array
        while isinstance(whole, np.ndarray):
            if id(whole) in self.watch.arrays and whole.nbytes > LARGEST_ARRAY:
                self.give_up(f"it makes a tensor of a part of a large array, which may change, at {user_line()}")
            last, whole = whole, whole.base
        if whole is not None:
            self.give_up(f"it makes a tensor of an array that may change, at {user_line()}")
        elif id(last) not in self.watch.arrays:
            self.passing.append((ref(last), user_line()))


def _reader(read: Callable[[], Any], fresh: list[bool]) -> Callable[[Sequence[Any]], Any]:
    """What a replay reads a number of an optimizer by: when all effects have been repeated."""

    def number(sources: Sequence[Any]) -> Any:
        if not fresh[0]:
            raise CannotRepeat("it uses a number of an optimizer or scheduler that is another one afterwards")
        return read()

    return number


def _digest(array: np.ndarray) -> bytes:
    return blake2b(array.tobytes(), digest_size=16).digest()


def _holds_arrays(data: Any) -> bool:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return hasattr(data, "__array__") and not isinstance(data, (Tensor, np.generic)) and type(data) is not Live
