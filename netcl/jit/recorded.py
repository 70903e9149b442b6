"""A recorded function as one operation: what it computes, and where the results go.

What a `Recorder` saw is sorted here; a replay (`netcl.jit.replay`) records one composite in the place of all those
operations. Its gradient, where something outside the function may ask for one, was recorded with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from sys import getrefcount
from typing import Any

import numpy as np

from netcl.autograd import engine, tape
from netcl.autograd.rules import reads
from netcl.core.device import Device
from netcl.core.dtypes import DType
from netcl.graph import value as tracing
from netcl.graph.live import Live, evaluator, peek, plain
from netcl.graph.value import Value
from netcl.jit.recorder import Recorder
from netcl.jit.segment import Cut, Segment, Template, Work
from netcl.jit.signature import hooks_of
from netcl.jit.watch import CONSTANTS, LARGEST_ARRAY, CannotRepeat, Container, Unsettled, Watch
from netcl.storage import sharing
from netcl.tensor import Size, Tensor


@dataclass(eq=False)
class Recorded:
    """One recording of a function. Where something is: ("result", k), ("operand", k), ("number", number, dtype, device)
    or ("constant", value)."""

    watch: Watch
    effects: list[Any]
    cuts: list[Cut]  # where values are read
    work: Work  # what comes after that
    reads: list[tuple[int, int]] = field(default_factory=list)  # results that are read in the end: (place of the
    # number, result)
    writes: list[tuple[int, tuple]] = field(default_factory=list)  # (tensor, where its elements are)
    gradients: list[tuple[int, int | None]] = field(default_factory=list)  # (tensor, new tensor)
    places: list[tuple[Container, Any, int, int]] = field(default_factory=list)  # (container, key, old, new tensor);
    # where the new one was there before, ~ its number
    flags: list[tuple[Container, Any, bool]] = field(default_factory=list)  # (container, key, what is put there)
    made: list[tuple[tuple, bool, Any]] = field(default_factory=list)  # new tensors: (where, tracked, graph node)
    views: list[tuple[int, tuple, tuple]] = field(default_factory=list)  # new tensors with strides: see storage
    joins: list[tuple[int, int, tuple, bool]] = field(default_factory=list)  # (new tensor, tensor that it shares
    # elements with, its chain of views, whether they are of one family)
    bases: list[tuple[int, tuple, tuple]] = field(default_factory=list)  # (tensor that is shared with, chain, shape)
    sharers: set[int] = field(default_factory=set)  # all that new tensors share elements with
    returns: Any = None
    fixed: set[int] = field(default_factory=set)  # floats whose value was looked at
    asked: list[Callable[[list[Any]], bool]] = field(default_factory=list)  # what has to be true of the floats
    states: list[tuple] = field(default_factory=list)  # (shape, dtype, device, tracked, leaf, hooks) of each before
    arrays: list[tuple[Any, bytes]] = field(default_factory=list)  # small NumPy arrays, and what was in them
    missing: list[bool] = field(default_factory=list)  # which of them had no gradient
    gradient_pairs: list[tuple[int, int]] = field(default_factory=list)  # (tensor, its gradient, also found elsewhere)
    generators: list[Any] = field(default_factory=list)  # what random numbers are drawn from
    flush: bool = False
    rule: Callable | None = None
    graph_operands: list[int] = field(default_factory=list)  # those that get gradients
    live: set[int] = field(default_factory=set)  # results with a graph that is not used up
    uploaded: list[bytes] = field(default_factory=list)  # digests of what tensors were made of, inside
    confirmed: bool = True

    @property
    def works(self) -> list[Work]:
        """All of it, in order."""
        return [*(cut.work for cut in self.cuts), self.work]

    @property
    def used(self) -> set[int]:
        """The tensors whose elements it reads, writes or shares."""
        read = {what for work in self.works for kind, what in work.sources if kind == "tensor"}
        return read.union(self.sharers, [number for number, _ in self.writes])

    def like(self, other: Recorded) -> bool:
        """Whether two recordings are of the same work."""
        return (
            len(self.cuts) == len(other.cuts)
            and all(mine.like(its) for mine, its in zip(self.works, other.works, strict=True))
            and self.writes == other.writes
            and self.uploaded == other.uploaded
        )

    @property
    def directs(self) -> bool:
        """Whether a plan can be run with the tensors as they are: no gradient graph leaves, nothing is uploaded, and no
        value is read on the way."""
        plain = all(kind == "tensor" for kind, _ in self.work.sources)
        return self.rule is None and plain and not self.cuts and self.work.device is not None and bool(self.work.metas)

    def operand_of(self, tensor: int) -> int | None:
        """The number of a tensor among the operands."""
        return next((k for k, source in enumerate(self.work.sources) if source == ("tensor", tensor)), None)


class Analysis:
    """Sorts what a recorder saw."""

    def __init__(self, recorder: Recorder, function_result: Any):
        self.recorder = recorder
        self.watch = recorder.watch
        self.cuts = recorder.cuts.copy()
        self.last, self.segment = self._last()
        self.trace = self.segment.trace
        self.recorded = Recorded(
            self.watch, recorder.effects, self.cuts, self.segment.work, generators=recorder.generators,
            flush=recorder.flush_wanted,
        )  # fmt: skip
        self.kept: set[int] = set()  # ids of values that the function leaves behind
        self.new: dict[int, int] = {}  # id of a tensor that was made -> its number
        self.tensors: list[Tensor] = []  # those, kept alive so that ids stay theirs
        self.result = function_result

    def _last(self) -> tuple[Cut | None, Segment]:
        """What is computed at the end. Where nothing follows what is read, and nothing is asked of it, the values are
        read when all is done: the work before them is the last, not one to be followed."""
        recorder, cuts = self.recorder, self.cuts
        if recorder.trace is None and cuts and not cuts[-1].asked:
            cut, number = cuts[-1], len(cuts) - 1
            if all(kind == "cut" and what[0] == number for _, (kind, what) in cut.reads):
                cuts.pop()
                segment = Segment(recorder, cut.segment.trace, cut.start, cut.segment.pending)
                segment.ran = {id(value()): place for place, value in cut.outputs}
                return cut, segment
        return None, Segment(recorder, recorder.trace, recorder.start, recorder.pending)

    def run(self) -> Recorded:
        """The recording. CannotRepeat where there can be none."""
        recorded, recorder = self.recorded, self.recorder
        if recorder.reason is not None:
            raise CannotRepeat(recorder.reason)
        if recorder.unsettled is not None:
            raise Unsettled(recorder.unsettled)
        recorded.states = [
            (v.shape, v.dtype, v.device, tracked, node is None, bool(hooks))
            for v, (tracked, node), hooks in zip(recorder.before, recorder.tracked, recorder.hooked, strict=True)
        ]
        self._unseen()
        recorded.missing = [gradient is None for gradient in recorder.gradients]
        pairs = [(n, self.watch.number(gradient)) for n, gradient in enumerate(recorder.gradients)]
        recorded.gradient_pairs = [
            (n, other) for n, other in pairs if other is not None and self.watch.gradient_of.get(other) != n
        ]
        self._writes()
        carried = self._carried()
        if recorded.writes and sharing(self.watch.tensors) != recorder.sharing:
            raise CannotRepeat("it makes tensors share elements, or makes them share no more")
        self._containers()
        self._held_once()
        recorded.returns = self._returned(self.result)
        self._leaks(carried)
        self._reads()
        self._templates()
        recorded.fixed, recorded.asked = recorder.fixed, recorder.asked
        constants = [what for work in recorded.works for kind, what in work.sources if kind == "constant"]
        uploads = [id(what) for what in constants if id(what) in recorder.uploads]
        recorded.uploaded = [recorder.uploads[key][1] for key in uploads]
        recorded.confirmed = not self.watch.doubts and recorder.doubtful.isdisjoint(uploads)
        return recorded

    def _unseen(self) -> None:
        """What is not in a container, and may not change."""
        for number, tensor in enumerate(self.watch.tensors):
            if hooks_of(tensor) != self.recorder.hooked[number]:
                raise CannotRepeat(f"it changes the hooks of {self.watch.names[number]}")
        for function, name in self.watch.bare:
            if function.__dict__:
                raise CannotRepeat(f"it changes {name}")
        copied = self.recorder.copied
        read = [array for array in self.watch.arrays.values() if not any(array is other for other in copied)]
        if any(array.nbytes > LARGEST_ARRAY for array in read):
            raise CannotRepeat("it can reach a large NumPy array, whose elements may change unseen; make it a tensor")
        self.recorded.arrays = [(array, array.tobytes()) for array in read]

    def where(self, value: Value) -> tuple:
        self.kept.add(id(value))
        where = self.segment.where(value)
        if self.last is not None and where[0] == "number" and type(where[1]) is Live:
            raise CannotRepeat("it puts a number into a tensor at the end that it has read")
        return where

    # ---- what the function left behind ----

    def _writes(self) -> None:
        recorder, recorded = self.recorder, self.recorded
        for number, (tensor, before) in enumerate(zip(self.watch.tensors, recorder.before, strict=True)):
            tracked, node = recorder.tracked[number]
            if tensor._tracked is not tracked if tensor._node is node else tensor._value is before:
                raise CannotRepeat(f"it changes whether {self.watch.names[number]} requires a gradient")
            if tensor._value is not before:
                if tensor._node is not None and tensor._node.number > recorder.first_node:
                    raise CannotRepeat(f"it changes {self.watch.names[number]} in place, with its gradient graph")
                recorded.writes.append((number, self.where(tensor._value)))
            gradient = tensor.grad
            if gradient is not recorder.gradients[number]:
                recorded.gradients.append((number, None if gradient is None else self._made(gradient)))

    def _carried(self) -> list[Tensor]:
        """The tensors that have got other elements because they share them with one that is written to."""
        recorder, tensors = self.recorder, self.watch.tensors
        written = {id(tensors[n]._storage) for n, _ in self.recorded.writes if tensors[n]._storage is not None}
        return [
            member
            for member, before, tracked, node in recorder.outside
            if member._value is not before
            and id(member._storage) in written
            and (member._tracked, member._node) == (tracked, node)
        ]

    def _containers(self) -> None:
        unsettled = False
        for container in self.watch.containers:
            keys, content = container.now()
            if len(keys) != len(container.keys) or any(a is not b for a, b in zip(keys, container.keys, strict=True)):
                before = set(map(id, container.keys))
                added = [item for key, item in zip(keys, content, strict=True) if id(key) not in before]
                if container.managed or (added and all(isinstance(item, Tensor) for item in added)):
                    unsettled = True  # state that is made at the first call
                    continue
                raise CannotRepeat(f"it changes {container.label.rstrip('.') or 'a global'}")
            for key, new, old in zip(keys, content, container.content, strict=True):
                if new is not old:
                    self._changed(container, key, new, old)
        if unsettled:
            raise Unsettled("it makes new state at each call")

    def _changed(self, container: Container, key: Any, new: Any, old: Any) -> None:
        if isinstance(new, Tensor) and isinstance(old, Tensor):
            before, known = self.watch.number(old), self.watch.number(new)
            assert before is not None, "what a container held was watched"
            self.recorded.places.append((container, key, before, self._made(new) if known is None else ~known))
            return
        if type(new) is Live:
            container.put(key, plain(new))
        if container.managed or (type(new) is type(old) and type(new) in CONSTANTS and new == old):
            return
        if type(new) is type(old) is bool:  # model.train(), say; a call that finds it so is another recording's
            self.recorded.flags.append((container, key, new))
            return
        raise CannotRepeat(f"it changes {container.describe(key)}")

    def _held_once(self) -> None:
        """A tensor that the function puts another in the place of must not be found elsewhere too."""
        places = Counter(old for _, _, old, _ in self.recorded.places)
        for old, count in places.items():
            if self.watch.holders[old] > count or old < self.watch.arguments:
                raise Unsettled(f"it puts another tensor in one place of {self.watch.names[old]}, which has several")

    def _made(self, tensor: Tensor) -> int:
        """The number of a tensor that the function made."""
        number = self.new.get(id(tensor))
        if number is None:
            self.new[id(tensor)] = number = len(self.tensors)
            self.tensors.append(tensor)
            if tensor._storage is not None and tensor._storage.others(tensor):
                self._join(number, tensor)
            elif tensor._chain and tensor._storage is not None:
                self.recorded.views.append((number, tensor._storage.shape, tensor._chain))
            where = self.where(tensor._value)
            node = tensor._node
            if node is not None and not node.released:
                if where[0] != "result" or tape.is_grad_enabled() is False:
                    raise CannotRepeat("it returns an argument's elements with a gradient graph")
                if self.last is not None:
                    raise CannotRepeat("it reads a value last and returns a gradient graph")
                self.recorded.live.add(where[1])
            self.recorded.made.append((where, tensor._tracked, node if node is not None and node.released else None))
        return number

    def _join(self, number: int, tensor: Tensor) -> None:
        """A new tensor shares elements with one that was there: a replay's will, too."""
        known = [(self.watch.number(other), other) for other in tensor._storage.others(tensor)]
        base, other = next(((n, other) for n, other in known if n is not None), (None, None))
        if base is None or other is None or tensor._node is not None:
            raise CannotRepeat("a result of it is a view of another tensor that is still there")
        self.recorded.sharers.update(number for number, _ in known if number is not None)
        self.recorded.joins.append((number, base, tensor._chain, tensor._family == other._family))
        self.recorded.bases.append((base, other._chain, tensor._storage.shape))

    def _returned(self, item: Any) -> tuple:
        """How to build the function's result again."""
        if isinstance(item, Tensor):
            number = self.watch.number(item)
            return ("tensor", number) if number is not None else ("new", self._made(item))
        if type(item) is list:
            item = self.recorder.list_of_numbers(item) or item
        if type(item) is Live:
            evaluator(item)(self.recorder.sources(self.recorder.floats))  # raises where a replay can't
            return "live", item
        if isinstance(item, (*CONSTANTS, DType, Device, np.generic, Size)):
            return "same", item
        if type(item) in (list, tuple) or (isinstance(item, tuple) and hasattr(item, "_fields")):
            return "list", type(item), [self._returned(part) for part in item]
        if type(item) is dict:
            return "dict", [peek(key) for key in item], [self._returned(part) for part in item.values()]
        if id(item) in self.watch._seen:
            return "same", item
        raise CannotRepeat(f"it returns a {type(item).__name__}")

    # ---- the records ----

    def _leaks(self, carried: list[Tensor]) -> None:
        """Every result that is still held must be one that a replay makes too."""
        saved = self.kept.union([id(tensor._value) for tensor in carried])
        waiting = [tensor._node for tensor in self.tensors if tensor._node is not None]
        seen = set(map(id, waiting))
        while waiting:
            node = waiting.pop()
            if node.number <= self.recorder.first_node:
                continue
            saved.update(id(entry[1]) for entry in node.saved if isinstance(entry[0], Tensor))
            saved.update(id(entry) for entry in node.result or ())
            for edge in node.edges:
                if edge is not None and edge[1] >= 0 and id(edge[0]) not in seen:
                    seen.add(id(edge[0]))
                    waiting.append(edge[0])
        traces = [self.recorder.trace, *(cut.segment.trace for cut in self.recorder.cuts)]
        inputs = Counter(id(value) for trace in traces if trace is not None for value in trace.inputs)
        made = [reference for place, reference in self.trace.values.items() if place >= self.segment.first]
        made += [reference for cut in self.recorder.cuts for _, reference in cut.outputs]
        for reference in made:
            value = reference()
            if value is not None and id(value) not in saved and getrefcount(value) > 2 + inputs[id(value)]:
                raise Unsettled("it keeps a result where netcl does not look for it, or changes what has views")

    def _reads(self) -> None:
        """What is read in the end is a result too."""
        if self.last is not None:
            for place, (_, (_, k)) in self.last.reads:
                result = self.segment.result(self.last.outputs[k][0], self.last.work.metas[k])
                self.recorded.reads.append((place, result))

    def _templates(self) -> None:
        sizes = self.trace.sizes()
        starts: dict[int, int] = {}
        gradients: list[Value] = []
        recorded, segment = self.recorded, self.segment
        try:
            segment.add_inputs()
            if recorded.live:
                gradients = self._backward(starts)
            segment.fill()
            if recorded.live:
                backward = segment.template(
                    [v.index for v in gradients], [(v.shape, v.dtype) for v in gradients], starts
                )
                total = len(segment.work.sources) + len(segment.work.numbers)
                recorded.rule = rule_of(backward, recorded.graph_operands, total)
            for cut in self.cuts:  # once more, in the end
                cut.work.compute(self.recorder.sources(self.recorder.floats))
        finally:
            self.trace.truncate(sizes)

    def _backward(self, starts: dict[int, int]) -> list[Value]:
        """Record the way back from the results with a graph. `starts` gets the records where it begins."""
        recorded, trace = self.recorded, self.trace
        tracked = [(n, t) for n, t in enumerate(self.watch.tensors) if t._tracked and t._value.dtype.category == 2]
        tracing._pending.recorder = self.recorder
        tensors = {made[0][1]: tensor for made, tensor in zip(recorded.made, self.tensors, strict=True)}
        roots = []
        try:
            for number in sorted(recorded.live):
                tensor = tensors[number]
                start = Value(tensor._value.shape, tensor._value.dtype, trace.device)
                start.trace, start.index = trace, len(trace.records)
                starts[start.index] = -1 - number
                trace.records.append(("start", None, ()))
                roots.append((tensor, Tensor._wrap(start)))
            found = engine.backward(roots, True, False, [t for _, t in tracked], since=self.recorder.first_node)
        except RuntimeError as error:  # something that its graph needs was written to: for whoever goes back to find
            raise CannotRepeat(f"it returns a tensor through whose graph there is no way back: {error}") from None
        finally:
            tracing._pending.recorder = None
        if self.recorder.reason is not None:
            raise CannotRepeat(self.recorder.reason)
        reached = [(n, found[engine.place_of(t)]) for n, t in tracked if engine.place_of(t) in found]
        if any(gradient._value.number is not None for _, gradient in reached):
            raise CannotRepeat("one of its gradients is a plain number")
        recorded.graph_operands = [self.segment.operand(self.recorder.before[n]) for n, _ in reached]
        return [gradient._value for _, gradient in reached]


def rule_of(backward: Template, targets: list[int], total: int) -> Callable:
    """The gradient rule of a recording: `targets` are the operands that get gradients."""

    def rule(g: Any, y: Any, *operands_and_arg: Any) -> list[Any]:
        *operands, _ = operands_and_arg
        if tracing._pending.expansion is None:
            raise RuntimeError(
                "jit_compile: second derivatives through a compiled function are not there; take the first one inside "
                "the function, or call it uncompiled"
            )
        starts = g if isinstance(g, tuple) else (g,)
        leaves = [starts[-1 - leaf]._value if leaf < 0 else operands[leaf]._value for leaf in backward.leaves.values()]
        numbered = Template(
            backward.records, dict(zip(backward.leaves, range(len(leaves)), strict=True)), backward.outputs,
            backward.metas,
        )  # fmt: skip
        made = dict(zip(targets, numbered.expand(leaves), strict=True))
        return [Tensor._wrap(made[k]) if k in made else None for k in range(len(operands))]

    needed = {leaf for leaf in backward.leaves.values() if leaf >= 0}
    reads[rule, total] = False, tuple(k in needed for k in range(total))
    return rule
