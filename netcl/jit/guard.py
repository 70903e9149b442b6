"""Whether a recording is good for a call: everything that it depends on is what it was."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import is_
from types import CellType
from typing import Any

from netcl.graph.effects import surroundings
from netcl.jit.recorded import Recorded
from netcl.jit.watch import MOVES, Container, equal, is_plain
from netcl.storage import seen_as_before, sharing
from netcl.tensor import Tensor

_NONE: set[Any] = set()


class Guard:
    """What is looked at before a recording is used again. `going`: gradients that are replaced, whoever they are."""

    def __init__(
        self, recorded: Recorded, arguments: Sequence[Tensor], floats: Sequence[float], going: Collection[int]
    ):
        self.recorded = recorded
        watch = recorded.watch
        self.fixed = [(place, floats[place]) for place in recorded.fixed]
        self.shared = [(number, arguments[number]) for number in watch.shared]
        self._sort_tensors()
        self._sort_containers()
        self.used = sorted(recorded.used)
        matters = recorded.writes or recorded.joins
        self.sharing = sharing([watch.tensors[number] for number in self.used]) if matters else None
        with_gradient = watch.gradient_of.values()  # these are looked up, so that they are there
        self.graded = [
            (number, missing)
            for number, missing in enumerate(recorded.missing)
            if (not missing or recorded.states[number][3]) and number not in with_gradient
        ]
        self.looked_up = [number for number, _, _ in self.moving if number not in going]
        self.roaming = [number for number in range(watch.arguments) if number not in watch.shared] + self.looked_up
        self.seen = -1  # how many changes had been announced
        self.news = True  # whether there have been any since somebody asked

    def _sort_tensors(self) -> None:
        """Tensors that stay who they are, and those that are looked up at each call."""
        recorded, watch = self.recorded, self.recorded.watch
        places = {old: (container, key) for container, key, old, _ in recorded.places}
        self.tensors: list[Any] = []
        self.moving: list[tuple[int, Any, Any]] = []  # (number, container, key), or (number, None, whose gradient)
        for number, tensor in enumerate(watch.tensors[watch.arguments :], watch.arguments):
            gradient_of = watch.gradient_of.get(number)
            if gradient_of is not None:
                self.moving.append((number, None, gradient_of))
            elif number in places:
                self.moving.append((number, *places[number]))
            self.tensors.append(None if gradient_of is not None or number in places else tensor)
        self.own = {id(tensor) for tensor in self.tensors if tensor is not None}
        first = {number: (container, key) for number, container, key in self.moving}
        self.likewise = [(c, key, old) for c, key, old, _ in recorded.places if first[old] != (c, key)]

    def _sort_containers(self) -> None:
        """Cells are compared at each call, modules when something has changed, optimizers' numbers not at all."""
        recorded = self.recorded
        self.volatile: dict[int, set[Any]] = {}
        for container, key, _, _ in recorded.places:
            self.volatile.setdefault(id(container), set()).add(key)
            container.content[container.keys.index(key)] = MOVES
        managed = [c for c in recorded.watch.containers if c.managed]
        self.structures = [
            (
                c,
                [
                    (k, item)
                    for k, item in zip(c.keys, c.content, strict=True)
                    if item is not MOVES and not is_plain(item)
                ],
            )
            for c in managed
        ]
        self.states = [(c.holder, c.content) for c in managed if c.keys and all(isinstance(k, Tensor) for k in c.keys)]
        watched = [c for c in recorded.watch.containers if not c.managed]
        self.announced = [c for c in watched if c.announced]
        rest = [c for c in watched if not c.announced]
        self.cells = [
            (c.holder, c.content[0]) for c in rest if isinstance(c.holder, CellType) and id(c) not in self.volatile
        ]
        self.containers = [c for c in rest if not isinstance(c.holder, CellType) or id(c) in self.volatile]

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
        for array, content in recorded.arrays:
            if array.tobytes() != content:
                return None
        for holder, owned in self.states:
            if len(holder) != len(owned) or not all(map(is_, holder.values(), owned)):
                return None
        if not self._same_code():
            return None
        for cell, content in self.cells:
            try:
                now = cell.cell_contents
            except ValueError:  # nothing is bound any more
                return None
            if now is not content and not equal(now, content):
                return None
        for container in self.containers:
            if not container.same(self.volatile.get(id(container), _NONE)):
                return None
        tensors = self.look_up(arguments)
        if tensors is None or not self._apart(tensors):
            return None
        for number, chain, shape in recorded.bases:
            if not seen_as_before(tensors[number], chain, shape):
                return None
        for number, missing in self.graded:
            if (tensors[number]._grad is None) is not missing:
                return None
        if self.seen != surroundings.changes:
            if not self._unchanged(tensors):
                return None
            self.seen = surroundings.changes
            self.news = True
        return tensors

    def changed(self) -> str | None:
        """What is not as it was, by the name that a person would give it: the first such global or attribute."""
        for container in self.recorded.watch.containers:
            volatile = self.volatile.get(id(container), _NONE)
            if container.managed or container.same(volatile):
                continue
            held = dict(zip(container.keys, container.content, strict=True))
            for key, item in zip(*container.now(), strict=True):
                if key not in volatile and not (key in held and (item is held[key] or equal(item, held[key]))):
                    return container.describe(key)
            return container.label
        return None

    def look_up(self, arguments: list[Tensor]) -> list[Any] | None:
        """The tensors of this call in the recording's order; None where one is missing."""
        tensors = arguments + self.tensors
        for number, container, key in self.moving:
            tensors[number] = tensors[key]._grad if container is None else container.get(key)
            if tensors[number] is None:
                return None
        return tensors

    def _same_code(self) -> bool:
        """Whether functions and classes are made of what they were made of."""
        watch = self.recorded.watch
        for function, code, defaults, keywords in watch.functions:
            if function.__code__ is not code or function.__defaults__ is not defaults:
                return False
            if function.__kwdefaults__ is not keywords:
                return False
        if watch.objects and list(map(type, watch.objects)) != watch.kinds:
            return False
        for space, size, getter, methods in watch.classes:
            if len(space) != size or not all(map(is_, getter(space), methods)):
                return False
        return not any([function.__dict__ for function, _ in watch.bare])

    def _apart(self, tensors: list[Any]) -> bool:
        """Whether tensors that were different ones still are, and those found twice are still one."""
        for container, key, number in self.likewise:
            if container.get(key) is not tensors[number]:
                return False
        for number, gradient in self.recorded.gradient_pairs:
            if tensors[number]._grad is not tensors[gradient]:
                return False
        for number in self.looked_up:
            if not self._as_before(number, tensors[number]):
                return False
        if not self.roaming:
            return not self.sharing or self._shares_as_before(tensors)
        roaming = {id(tensors[number]) for number in self.roaming}
        if len(roaming) != len(self.roaming) or not roaming.isdisjoint(self.own):
            return False
        if self.sharing is None:
            return True
        if self.sharing or any([tensors[number]._storage is not None for number in self.roaming]):
            return self._shares_as_before(tensors)
        return True

    def _shares_as_before(self, tensors: list[Any]) -> bool:
        return sharing([tensors[number] for number in self.used]) == self.sharing

    def _unchanged(self, tensors: list[Any]) -> bool:
        """Compare what announces its changes."""
        for container in self.announced:
            if not container.same(self.volatile.get(id(container), _NONE)):
                return False
        if not all([self._holds(container, items) for container, items in self.structures]):
            return False
        if self.sharing is not None and not self._shares_as_before(tensors):
            return False
        return all(self._as_before(number, tensor) for number, tensor in enumerate(tensors))

    def _holds(self, container: Container, items: list[tuple]) -> bool:
        """Whether an optimizer or scheduler holds the objects that it held: numbers are computed anew, tensors not."""
        keys, content = container.now()
        held = dict(zip(keys, content, strict=True))
        return len(held) == len(container.keys) and all(held.get(key) is item for key, item in items)

    def _as_before(self, number: int, tensor: Tensor) -> bool:
        hooked = bool(tensor._hooks or tensor._accumulate_hooks)
        return (tensor._value.device, tensor._tracked, tensor._node is None, hooked) == self.recorded.states[number][2:]

    def fits(self, tensors: list[Any]) -> bool:
        """Whether the tensors have the shapes, dtypes and devices that they had."""
        for number in self.used:
            value = tensors[number]._value
            if (value.shape, value.dtype, value.device) != self.recorded.states[number][:3]:
                return False
        return True
