"""A call of a recorded function: one operation in the place of them all, where the recording is good (`jit.guard`).

Where every operand is in memory and no gradient graph leaves the function, its plan is run at once (`_direct`): the
operands' layouts stand for the trace that is not made. Otherwise one composite is recorded (`_record`), which is
computed with whatever surrounds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from sys import getrefcount
from typing import Any

from netcl.autograd import tape
from netcl.core.replay import Run
from netcl.graph.effects import repeat, surroundings
from netcl.graph.live import Live, evaluator
from netcl.graph.plan import go_on, plan_for, realise, settings, statistics
from netcl.graph.transfer import to_host, upload
from netcl.graph.value import Trace, Value, record_scalar, record_with_numbers, scalar_records
from netcl.jit.direct import Direct
from netcl.jit.guard import Guard
from netcl.jit.recorded import Recorded
from netcl.jit.segment import Work
from netcl.ops.host_data import from_data
from netcl.storage import joined, seen_by_others, seen_through
from netcl.tensor import Tensor

_value_of, _buffer_of, _layout_of = attrgetter("_value"), attrgetter("buffer"), attrgetter("input_record")
MISMATCH = object()  # the recording is not good for this call


class Replay:
    """A recording, and what it takes to use it again quickly."""

    def __init__(self, recorded: Recorded, arguments: Sequence[Tensor], floats: Sequence[float]):
        self.recorded = recorded
        self.work = work = recorded.work
        self.operands = [what for kind, what in work.sources if kind == "tensor"]
        written = {number for number, _ in recorded.writes}
        where = [*(where for _, where in recorded.writes), *(where for where, _, _ in recorded.made)]
        passed_on = {what[1] for what in where if what[0] == "operand"}  # its elements are also what something becomes
        self.takeable = [k for k, number in enumerate(self.operands) if number in written and k not in passed_on]
        self.written = [self.operands[k] for k in self.takeable]
        self.viewed = True  # whether other tensors may share elements with those
        replaced = self._replaced_gradients()
        self.replaced, self.heirs = list(replaced), list(replaced.values())
        self.operands_and_old = self.operands + self.replaced
        self.everything = self.takeable + [len(self.operands) + k for k in range(len(replaced))]
        self.guard = Guard(recorded, arguments, floats, replaced)
        self.loose = not set(self.guard.roaming).isdisjoint(self.written)  # who is written to is another at each call
        self.managed = [
            container.holder
            for container in recorded.watch.containers
            if container.managed and isinstance(container.holder, dict) and recorded.effects
        ]
        effects = [(place, effect) for place, effect in enumerate(recorded.effects, 1) if effect.function is not None]
        self.unmade = [None] * len(recorded.effects)
        self.making = [(place, effect) for place, effect in effects if not effect.keys and not effect.args]
        self.repeated = [item for item in effects if item not in self.making]
        self.directs = recorded.directs
        self.last: Direct | None = None
        self.simple: list[tuple[int, bool, Any]] | None
        simple = [(where[1], tracked, node) for where, tracked, node in recorded.made if where[0] == "result"]
        overwritten = {where[1] for _, where in recorded.writes if where[0] == "result"}
        self.simple = None if recorded.live or len(simple) < len(recorded.made) else simple
        returned = {number for number, _, _ in simple}.union(result for _, result in recorded.reads)
        self.asks_for_operands = self.simple is None or not returned.isdisjoint(overwritten)
        recorded.watch.tensors = []  # gradients and the like would be kept alive

    def _replaced_gradients(self) -> dict[int, int]:
        """The gradients that are not used and have another one in their place afterwards: by number, that result."""
        recorded, used = self.recorded, self.recorded.used
        found = {}
        for gradient, number in recorded.watch.gradient_of.items():
            new = dict(recorded.gradients).get(number)
            if new is not None and gradient not in used and recorded.made[new][0][0] == "result":
                found[gradient] = recorded.made[new][0][1]
        return found

    # ---- doing it ----

    def call(self, arguments: list[Tensor], floats: list[float]) -> Any:
        """The function's result, or MISMATCH with nothing done."""
        tensors = self.guard.find(arguments, floats)
        if tensors is None:
            return MISMATCH
        found = self._direct_plan(tensors) if self.directs else None
        if found is None and not self.guard.fits(tensors):
            return MISMATCH
        numbers = [holder.copy() for holder in self.managed]
        drawn_from = self.recorded.generators if self.recorded.cuts else ()
        states = [(generator, generator._state()) for generator in drawn_from]
        return self._done(found, tensors, None, floats, self._restore, numbers, states)

    def first(self, arguments: list[Tensor], sources: list[Any], undo: Callable[[], None]) -> Any:
        """The call that was recorded, taken back, done by the plan. Its effects have happened: `sources`."""
        tensors = self.guard.look_up(arguments)
        assert tensors is not None, "they have just been there"
        try:
            found = self._direct_plan(tensors) if self.directs else None
        except BaseException:
            undo()
            raise
        return self._done(found, tensors, sources, [], undo)

    def _done(
        self, found: Any, tensors: list[Any], sources: Any, floats: list[float], undo: Callable[..., None], *state: Any
    ) -> Any:
        """Do the call, at once or recorded. Where that fails, what effects have done is undone; unless launches have
        written over operands: then the call has happened, and whoever reads what it leaves has the rest done first."""
        run = None
        try:
            if sources is None:
                sources = self._effects(floats)
            parts = self._parts(tensors, sources) if self.recorded.cuts and sources is not None else ()
            if sources is None or parts is None:  # nothing is written to before
                undo(*state)
                return MISMATCH
            if found is None:
                values, made = self._lazily(tensors, sources, parts)
            else:
                direct, operands, buffers = found
                plan, packed = direct.plan, direct.numbers(sources, operands)
                run = Run(self.work.device, plan.steps, plan.memory, buffers, packed)
                values, made = self._run(run, direct, operands, tensors, sources)
        except BaseException:
            if run is not None and run.slots:
                self._settle_later(run, direct, operands, tensors, sources)
            else:
                undo(*state)
            raise
        for place, result in self.recorded.reads:
            sources[place] = [_number(values[result])]
        returns = self.recorded.returns
        return made[returns[1]] if returns[0] == "new" else _built(returns, tensors, made, sources)

    def _parts(self, tensors: list[Any], sources: list[Any]) -> list[Sequence[Value]] | None:
        """The results of what comes before each reading, with the numbers put among the sources; None where one of them
        asks for another recording."""
        parts: list[Sequence[Value]] = []
        for cut in self.recorded.cuts:
            operands = [self._operand(source, tensors, sources, parts) for source in cut.work.sources]
            parts.append(_record(cut.work, operands, sources))
            for place, source in cut.reads:
                sources[place] = [_number(self._operand(source, tensors, sources, parts))]
            if not all(true(sources) for true in cut.asked):
                return None
        return parts

    def _restore(self, numbers: list[dict], states: list[tuple]) -> None:
        """Put the numbers of optimizers and schedulers back, and generators: the call did not happen."""
        for holder, content in zip(self.managed, numbers, strict=True):
            holder.update((key, item) for key, item in content.items() if not isinstance(item, Tensor))
        for generator, state in states:
            generator._restore(state)

    def _effects(self, floats: list[float]) -> list[Any] | None:
        """The numbers of every effect, done again; None where one went another way."""
        sources: list[Any] = [floats, *self.unmade]
        for place, effect in self.repeated:
            collected = repeat(effect.function, effect.args, effect.graded, len(effect.keys))
            if collected.keys != effect.keys:
                return None
            sources[place] = collected.numbers
        for place, effect in self.making:  # last: random numbers that were drawn are not given back without cuts
            sources[place] = effect.function()
        return sources

    # ---- at once ----

    def _direct_plan(self, tensors: list[Any]) -> tuple[Direct, list[Value], list[Any]] | None:
        """The plan for operands that lie where these do, the operands and their memory; None where they are not all in
        memory of their own. Behind the operands are gradients that new ones are put in the place of, if nobody else
        holds one: their memory may be taken."""
        values = list(map(_value_of, [tensors[number] for number in self.operands_and_old]))
        buffers = list(map(_buffer_of, values))
        if self.guard.news or self.viewed or self.loose:
            self.guard.news = False
            self.viewed = any([seen_by_others(tensors[number]) for number in self.written])
        if not self.viewed and _alone(values, 3) and _alone(buffers, 3) and self._old_alone(tensors):
            free = self.everything
        else:
            del values[len(self.operands) :], buffers[len(self.operands) :]
            if len(set(buffers)) != len(buffers) or None in buffers:
                return None
            free = self._free(values, buffers, tensors)
        layouts = list(map(_layout_of, values))
        if None in layouts:
            layouts = [value.input_record or value.make_input_record() for value in values]
        now = settings(self.work.device)
        direct = self.last
        if direct is None or direct.free != free or direct.layouts != layouts or direct.settings != now:
            if not self.guard.fits(tensors):
                return None
            self.last = direct = self._find_plan(layouts, free)
            direct.layouts, direct.free, direct.settings = layouts, free, now
        return direct, values, buffers

    def _free(self, values: list[Value], buffers: list[Any], tensors: list[Any]) -> list[int]:
        """The operands that are written over and that nobody else holds: their memory may be taken for results.

        Exact in CPython: a value is held by its tensor, the list and the call; its buffer by itself, the list and the
        call. What shares elements has to be told of a write, even where it lies in memory of its own.
        """
        held, of_buffers = list(map(getrefcount, values)), list(map(getrefcount, buffers))
        free = [k for k in self.takeable if held[k] == 3 and of_buffers[k] == 3]
        return [k for k in free if not seen_by_others(tensors[self.operands[k]])] if self.viewed else free

    def _old_alone(self, tensors: list[Any]) -> bool:
        """Whether nobody else holds the gradients that go: each is held by its tensor, both lists and the call."""
        return not self.replaced or _alone([tensors[number] for number in self.replaced], 4)

    def _find_plan(self, layouts: list[tuple], free: list[int]) -> Direct:
        trace, first, results = self._as_trace(layouts)
        operands = len(self.operands)
        trace.inputs = [_Layout() for _ in layouts]  # type: ignore[misc]  # all that is asked of them: are they one
        whole = tuple([k for k in free if layouts[k][1][2] is None and not layouts[k][1][3]])
        heirs = tuple([(operands + k, first + new) for k, new in enumerate(self.heirs) if operands + k in whole])
        plan = plan_for(trace, [first + k for k in range(len(results))], whole, heirs)
        return Direct(plan, len(layouts), first, self.recorded, heirs)

    def _as_trace(self, layouts: list[tuple]) -> tuple[Trace, int, Sequence[Value]]:
        """A call as a trace of its own, the position of its first result, and the results."""
        work, operands = self.work, len(self.operands)
        trace = Trace(work.device)
        trace.records = [*layouts[:operands], *(scalar_records[kind] for kind in work.kinds), *layouts[operands:]]
        first = len(trace.records) + 1
        arguments = range(operands + len(work.kinds))
        return trace, first, trace.add_results("recorded", arguments, work.forward, work.metas)

    def _run(
        self, run: Run, direct: Direct, operands: list[Value], tensors: list[Any], sources: list[Any]
    ) -> tuple[Sequence[Value], list[Tensor]]:
        device = self.work.device
        statistics.replayed += 1
        slots = go_on(direct.plan, run)
        values: list[Any] = [None] * len(self.work.metas)
        for k, source in direct.in_place if self.asks_for_operands or direct.passed_on else ():
            values[k] = operands[source]
        for k, source in direct.gradients:
            values[k] = operands[source]
        for k, shape, dtype, slot, record in direct.whole:
            values[k] = value = Value(shape, dtype, device)
            value.buffer = slots[slot]
            value.input_record = record
        for k, shape, dtype, result in direct.new:
            values[k] = value = Value(shape, dtype, device)
            realise(value, operands, slots, result)
        return values, self._settle(tensors, operands, values, (), sources, direct.writes)

    def _settle_later(
        self, run: Run, direct: Direct, operands: list[Value], tensors: list[Any], sources: list[Any]
    ) -> None:
        """Put results that wait for the rest of a run where the function put them."""
        trace, _, values = self._as_trace(direct.layouts)
        trace.inputs, trace.scalars = operands, self.work.compute(sources)
        trace.stop(direct.plan, run)
        self._settle(tensors, operands, values, (), sources, self.recorded.writes)

    # ---- as one operation among others ----

    def _lazily(
        self, tensors: list[Any], sources: list[Any], parts: Sequence[Sequence[Value]]
    ) -> tuple[Sequence[Value], list[Tensor]]:
        recorded = self.recorded
        operands = [self._operand(source, tensors, sources, parts) for source in self.work.sources]
        if recorded.rule is not None:
            live = self._record_with_graph(tensors, operands, self.work.compute(sources))
            values: Sequence[Value] = [tensor._value for tensor in live]
            made = self._settle(tensors, operands, values, live, sources, recorded.writes)
            _own_writes_are_known(live[next(iter(recorded.live))]._node)
            return values, made
        values = _record(self.work, operands, sources)
        return values, self._settle(tensors, operands, values, (), sources, recorded.writes)

    def _operand(
        self, source: tuple, tensors: list[Any], sources: list[Any], parts: Sequence[Sequence[Value]]
    ) -> Value:
        kind, what = source
        if kind == "tensor":
            value: Value = tensors[what]._value
            return value
        if kind == "cut":
            return parts[what[0]][what[1]]
        if kind == "drawn":
            return upload(sources[what[0]], what[1])
        if kind == "array":
            return from_data(*what)
        assert kind == "constant"
        constant: Value = what
        return constant

    def _record_with_graph(self, tensors: list[Any], operands: list[Value], numbers: list[Any]) -> tuple[Tensor, ...]:
        """The composite, with the way back."""
        recorded = self.recorded
        wrapped = [Tensor._wrap(value) for value in operands]
        for place in recorded.graph_operands:
            wrapped[place] = tensors[self.work.sources[place][1]]
        wrapped += [
            Tensor._wrap(record_scalar(number, kind, self.work.device))
            for number, kind in zip(numbers, self.work.dtypes, strict=True)
        ]
        forward = self.work.forward
        values = record_with_numbers("recorded", [t._value for t in wrapped], forward, (), (), self.work.device)
        results = tuple(Tensor._wrap(value) for value in values)
        assert recorded.rule is not None
        tape._connect("recorded", recorded.rule, wrapped, forward, results)
        for number, result in enumerate(results):
            if number not in recorded.live:
                result._tracked, result._node, result._output = False, None, 0
        return results

    # ---- afterwards ----

    def _settle(
        self, tensors: list[Any], operands: Sequence[Value], values: Sequence[Value], live: Sequence[Tensor],
        sources: list[Any], writes: list[tuple[int, tuple]],
    ) -> list[Tensor]:  # fmt: skip
        """Put the results where the function put them; the tensors that it made."""
        recorded = self.recorded
        made: list[Tensor] = []
        if self.simple is not None:
            for number, tracked, node in self.simple:
                tensor = Tensor._wrap(values[number])
                if tracked:
                    tensor._tracked, tensor._node = True, node
                made.append(tensor)
        else:
            made = [self._make(*what, operands, values, live, sources) for what in recorded.made]
        for number, shape, chain in recorded.views:
            seen_through(made[number], shape, chain)
        for number, where in writes:
            value = values[where[1]] if where[0] == "result" else self._elsewhere(where, operands, sources)
            tensors[number]._assign(value)
        for number, new in recorded.gradients:
            tensors[number]._grad = None if new is None else made[new]
        for number, base, chain, family in recorded.joins:
            joined(made[number], tensors[base], chain, family)
        for container, key, _, new in recorded.places:
            container.put(key, made[new] if new >= 0 else tensors[~new])
        for container, key, flag in recorded.flags:
            container.put(key, flag)
            surroundings.changes += 1
        return made

    def _make(
        self, where: tuple, tracked: bool, node: Any, operands: Sequence[Value], values: Sequence[Value],
        live: Sequence[Tensor], sources: list[Any],
    ) -> Tensor:  # fmt: skip
        if live and where[0] == "result" and where[1] in self.recorded.live:
            return live[where[1]]
        tensor = Tensor._wrap(values[where[1]] if where[0] == "result" else self._elsewhere(where, operands, sources))
        if tracked:
            tensor._tracked, tensor._node = True, node
        return tensor

    def _elsewhere(self, where: tuple, operands: Sequence[Value], sources: list[Any]) -> Value:
        if where[0] == "operand":
            return operands[where[1]]
        number = evaluator(where[1])(sources) if type(where[1]) is Live else where[1]
        return record_scalar(number, where[2], where[3])


def _record(work: Work, operands: Sequence[Value], sources: list[Any]) -> Sequence[Value]:
    """The results of some work, as one operation."""
    if work.device is None or not work.metas:
        return ()
    return record_with_numbers("recorded", operands, work.forward, work.compute(sources), work.kinds, work.device)


def _number(value: Value) -> Any:
    return to_host(value).reshape(()).item()


def _alone(objects: list[Any], references: int) -> bool:
    """Whether there are no other references to the objects: the list and the call are two."""
    return list(map(getrefcount, objects)).count(references) == len(objects)


def _own_writes_are_known(node: Any) -> None:
    """What a node saved is not stale by what the same call wrote to it: it saved the elements of before."""
    node.saved = [(t, value[0], t._version) if isinstance(t, Tensor) else (t, *value) for t, *value in node.saved]


class _Layout:
    """Stands for an operand where a plan is made before there is one."""

    def __init__(self) -> None:
        self.buffer = object()


def _built(spec: tuple, tensors: list[Any], made: list[Tensor], sources: list[Any]) -> Any:
    kind, what = spec[0], spec[1]
    if kind == "new":
        return made[what]
    if kind == "tensor":
        return tensors[what]
    if kind == "same":
        return what
    if kind == "live":
        return evaluator(what)(sources)
    parts = [_built(part, tensors, made, sources) for part in spec[2]]
    if kind == "dict":
        return dict(zip(what, parts, strict=True))
    return what(*parts) if hasattr(what, "_fields") else what(parts)
