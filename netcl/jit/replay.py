"""A call of a recorded function: is the recording still good, and if so, one operation in the place of them all."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any

from netcl.autograd import tape
from netcl.graph.effects import repeat
from netcl.graph.live import Live, evaluator
from netcl.graph.value import Value, record_scalar, record_with_numbers
from netcl.jit.recorded import Recorded
from netcl.tensor import Tensor, from_data, upload

_NONE: set[Any] = set()
MISMATCH = object()  # the recording is not good for this call


class Replay:
    """A recording, and what it takes to see quickly whether it is good for a call."""

    def __init__(self, recorded: Recorded, arguments: Sequence[Tensor], floats: Sequence[float]):
        self.recorded = recorded
        watch = recorded.watch
        self.fixed = [(place, floats[place]) for place in recorded.fixed]
        self.shared = [(number, arguments[number]) for number in watch.shared]
        self.free = [number for number in range(watch.arguments) if number not in watch.shared]
        places = {old: (container, key) for container, key, old, _ in recorded.places}
        self.tensors: list[Any] = []
        self.moving: list[tuple[int, Any, Any]] = []  # (number, container, key): found anew at each call
        for number, tensor in enumerate(watch.tensors[watch.arguments :], watch.arguments):
            gradient_of = watch.gradient_of.get(number)
            if gradient_of is not None:
                self.moving.append((number, None, gradient_of))
            elif number in places:
                self.moving.append((number, *places[number]))
            self.tensors.append(None if gradient_of is not None or number in places else tensor)
        self.own = {id(tensor) for tensor in self.tensors}
        self.gradients, self.states = recorded.missing, recorded.states
        used = [what for kind, what in recorded.sources if kind == "tensor"]
        used += [number for number, _ in recorded.writes]
        self.used = sorted(set(used))
        self.distinct = len({recorded.identities[number] for number in self.used})
        self.volatile: dict[int, set[Any]] = {}
        for container, key, _, _ in recorded.places:
            self.volatile.setdefault(id(container), set()).add(key)
            container.content[container.keys.index(key)] = None
        watch.tensors = []  # gradients and the like would be kept alive

    # ---- whether it is good ----

    def find(self, arguments: list[Tensor], floats: list[float]) -> list[Any] | None:
        """The tensors of this call in the recording's order; None where the recording is not good for it."""
        recorded = self.recorded
        for place, number in self.fixed:
            if floats[place] != number:
                return None
        if recorded.asked and not all(true([floats]) for true in recorded.asked):
            return None
        for number, tensor in self.shared:
            if arguments[number] is not tensor:
                return None
        for number in self.free:
            if id(arguments[number]) in self.own:
                return None
        for container in recorded.watch.containers:
            if not container.managed and not container.same(self.volatile.get(id(container), _NONE)):
                return None
        tensors = arguments + self.tensors
        for number, container, key in self.moving:
            tensors[number] = tensors[key].grad if container is None else container.holder[key]
            if tensors[number] is None:
                return None
        if not all(map(is_, [tensor.grad is None for tensor in tensors], self.gradients)):
            return None
        values = set()
        for number in self.used:
            tensor = tensors[number]
            value = tensor._value
            values.add(id(value))
            state = (value.shape, value.dtype, value.device, tensor._tracked, tensor._node is None)
            if state != self.states[number]:
                return None
        return tensors if len(values) == self.distinct else None

    # ---- doing it ----

    def call(self, arguments: list[Tensor], floats: list[float]) -> Any:
        """The function's result, or MISMATCH with nothing done."""
        tensors = self.find(arguments, floats)
        if tensors is None:
            return MISMATCH
        recorded = self.recorded
        sources = self._effects(floats)
        if sources is None:
            return MISMATCH
        operands = [self._operand(kind, what, tensors, sources) for kind, what in recorded.sources]
        numbers = recorded.compute(sources)
        if recorded.rule is None:
            values = self._record(operands, numbers)
            live: tuple[Tensor, ...] = ()
        else:
            live = self._record_with_graph(tensors, operands, numbers)
            values = tuple(tensor._value for tensor in live)
        return self._settle(tensors, operands, values, live, sources)

    def _effects(self, floats: list[float]) -> list[Any] | None:
        """The numbers of every effect, done again; None, and undone, where one went another way."""
        recorded = self.recorded
        sources: list[Any] = [floats]
        if not recorded.effects:
            return sources
        before = [
            (container.holder, dict(container.holder))
            for container in recorded.watch.containers
            if container.managed and isinstance(container.holder, dict)
        ]
        for effect in recorded.effects:
            if not effect.keys and not effect.args:
                sources.append(effect.function())
                continue
            collected = repeat(effect.function, effect.args, effect.graded)
            if collected.keys != effect.keys:
                for holder, content in before:
                    holder.update((k, item) for k, item in content.items() if not isinstance(item, Tensor))
                return None
            sources.append(collected.numbers)
        return sources

    def _operand(self, kind: str, what: Any, tensors: list[Any], sources: list[Any]) -> Value:
        if kind == "tensor":
            value: Value = tensors[what]._value
            return value
        if kind == "drawn":
            return upload(sources[what], self.recorded.device)
        if kind == "array":
            return from_data(what[0], what[1], self.recorded.device)
        assert kind == "constant"
        constant: Value = what
        return constant

    def _record(self, operands: list[Value], numbers: list[Any]) -> tuple[Value, ...]:
        recorded = self.recorded
        if recorded.device is None or not recorded.metas:
            return ()
        return record_with_numbers("recorded", operands, recorded, numbers, recorded.kinds, recorded.device)

    def _record_with_graph(self, tensors: list[Any], operands: list[Value], numbers: list[Any]) -> tuple[Tensor, ...]:
        """As _record, with the way back."""
        recorded = self.recorded
        wrapped = [Tensor._wrap(value) for value in operands]
        for place in recorded.graph_operands:
            wrapped[place] = tensors[recorded.sources[place][1]]
        wrapped += [
            Tensor._wrap(record_scalar(number, kind, recorded.device))
            for number, kind in zip(numbers, recorded.dtypes, strict=True)
        ]
        values = record_with_numbers(
            "recorded", [t._value for t in wrapped], recorded, (), (), recorded.device
        )
        results = tuple(Tensor._wrap(value) for value in values)
        assert recorded.rule is not None
        tape._connect("recorded", recorded.rule, wrapped, recorded, results)
        for number, result in enumerate(results):
            if number not in recorded.live:
                result._tracked, result._node, result._output = False, None, 0
        return results

    def _settle(
        self, tensors: list[Any], operands: list[Value], values: tuple[Value, ...], live: tuple[Tensor, ...],
        sources: list[Any],
    ) -> Any:  # fmt: skip
        """Put the results where the function put them, and build what it returned."""
        recorded = self.recorded

        def at(where: tuple) -> Value:
            if where[0] == "result":
                return values[where[1]]
            if where[0] == "operand":
                return operands[where[1]]
            number = evaluator(where[1])(sources) if type(where[1]) is Live else where[1]
            return record_scalar(number, where[2], recorded.device)

        made: list[Tensor] = []
        for where, tracked, node in recorded.made:
            if live and where[0] == "result" and where[1] in recorded.live:
                made.append(live[where[1]])
                continue
            tensor = Tensor._wrap(at(where))
            if tracked:
                tensor._tracked, tensor._node = True, node
            made.append(tensor)
        for number, where in recorded.writes:
            tensors[number]._assign(at(where))
        for number, new in recorded.gradients:
            tensors[number].grad = None if new is None else made[new]
        for container, key, _, new in recorded.places:
            container.put(key, made[new])
        return _built(recorded.returns, tensors, made, sources)


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
