"""What a compiled function finds outside of its arguments may change in every way that Python has."""

from __future__ import annotations

import random
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl import nn

X = nc.tensor([1.0, 2.0, 3.0])


def flat(item: Any) -> Any:
    """Something that is equal for equal bits."""
    if isinstance(item, nc.Tensor):
        return item.dtype, tuple(item.shape), item.stride(), item.requires_grad, item.detach().numpy().tobytes()
    if isinstance(item, (list, tuple)):
        return [type(item).__name__, *map(flat, item)]
    return repr(item)


def outcomes(make: Callable, jit: Callable) -> tuple[list[Any], Any]:
    nc.manual_seed(3)
    random.seed(3)
    call, left, compiled = make(jit)
    found = []
    for number in range(7):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nc.JitWarning)
            try:
                found.append(flat(call(number)))
            except (NameError, AttributeError) as error:
                found.append(type(error))
        found.append(flat(left()))
    return found, compiled


def changing_defaults(jit: Callable) -> tuple:
    def helper(x: Any, k: float = 2.0, *, m: float = 1.0) -> Any:
        return x * k + m

    step = jit(lambda x: helper(x))

    def call(number: int) -> Any:
        if number == 2:
            helper.__defaults__ = (5.0,)
        if number == 3:
            helper.__kwdefaults__ = {"m": 7.0}
        if number == 4:
            helper.__kwdefaults__["m"] = 8.0
        if number == 5:
            helper.__code__ = (lambda x, k=1.0, *, m=1.0: x - k - m).__code__
        if number == 6:
            helper.bonus = 1
        return step(X)

    return call, lambda: 0, step


def changing_attributes_of_a_function(jit: Callable) -> tuple:
    def helper(x: Any) -> Any:
        return x * getattr(helper, "bonus", 1)

    step = jit(lambda x: helper(x))

    def call(number: int) -> Any:
        if number == 2:
            helper.bonus = 3
        return step(X)

    return call, lambda: 0, step


class Thing:
    factor = 2.0


def changing_classes(jit: Callable) -> tuple:
    class Base:
        factor = 2.0
        weight = nc.ones(3)

        def go(self, x: Any) -> Any:
            return x * self.factor + self.weight

    class Derived(Base):
        pass

    thing = Derived()
    step = jit(lambda x: thing.go(x))

    def call(number: int) -> Any:
        if number == 1:
            Base.go = lambda self, x: x - self.factor * self.weight
        if number == 2:
            Base.factor = 3.0
        if number == 3:
            Derived.factor = 4.0
        if number == 4:
            Base.weight = nc.full((3,), 5.0)
        if number == 5:
            Derived.go = lambda self, x: x * 100
        if number == 6:
            thing.__class__ = type("Other", (Base,), {"go": lambda self, x: x * 1000})
        return step(X)

    return call, lambda: 0, step


def changing_a_modules_class(jit: Callable) -> tuple:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            return self.layer(x)

    model = Model()
    step = jit(model)

    def call(number: int) -> Any:
        if number == 2:
            Model.forward = lambda self, x: self.layer(x) * 2
        if number == 4:
            model.forward = lambda x: model.layer(x) * 3
        return step(X)

    return call, lambda: 0, step


def what_properties_and_static_methods_read(jit: Callable) -> tuple:
    class Reader:
        @property
        def scale(self) -> float:
            return Thing.factor

        @staticmethod
        def shifted(x: Any) -> Any:
            return x + Thing.factor

        @classmethod
        def raised(cls, x: Any) -> Any:
            return x**Thing.factor

    reader = Reader()
    step = jit(lambda x: (x * reader.scale, reader.shifted(x), reader.raised(x)))

    def call(number: int) -> Any:
        Thing.factor = float(number // 2)
        return step(X)

    return call, lambda: 0, step


def a_module_of_the_users(jit: Callable) -> tuple:
    settings = types.ModuleType("settings_of_a_user")
    sys.modules[settings.__name__] = settings
    settings.scale, settings.total = 2.0, nc.ones(3)
    settings.function = lambda x: x * settings.scale

    def function(x: Any) -> Any:
        import settings_of_a_user as inner

        settings.total = settings.total + x
        return settings.function(x) * inner.scale + settings.total

    step = jit(function)

    def call(number: int) -> Any:
        if number == 2:
            settings.scale = 3.0
        if number == 4:
            settings.total = nc.zeros(3)
        if number == 6:
            settings.function = lambda x: x - 1
        return step(X)

    return call, lambda: settings.total, step


def slots(jit: Callable) -> tuple:
    class State:
        __slots__ = ("scale", "steps", "total")

    state = State()
    state.total, state.scale, state.steps = nc.ones(3), 2.0, 0

    def function(x: Any) -> Any:
        state.total = state.total + 1
        return x * state.total * state.scale

    step = jit(function)

    def call(number: int) -> Any:
        if number == 3:
            state.scale = 3.0
        return step(X)

    return call, lambda: state.total, step


def counting_in_slots(jit: Callable) -> tuple:
    class State:
        __slots__ = ("steps",)

    state = State()
    state.steps = 0

    def function(x: Any) -> Any:
        state.steps += 1
        return x * 2

    step = jit(function)
    return lambda number: step(X), lambda: state.steps, step


def counting_in_an_array(jit: Callable) -> tuple:
    counts = np.zeros(1)

    def function(x: Any) -> Any:
        counts[0] += 1
        return x * float(counts[0])

    step = jit(function)
    return lambda number: step(X), counts.tolist, step


def an_array_with_many_elements(jit: Callable, size: int = 5000) -> tuple:
    table = np.zeros(size)

    step = jit(lambda x: x * float(table[4000]))

    def call(number: int) -> Any:
        table[4000] = number // 2
        return step(X)

    return call, lambda: 0, step


def a_huge_array(jit: Callable) -> tuple:
    return an_array_with_many_elements(jit, 1 << 18)


def a_part_of_an_array(jit: Callable) -> tuple:
    table = np.zeros(50)

    step = jit(lambda x: x * nc.tensor(table[3:6]))

    def call(number: int) -> Any:
        table[4] = number // 2
        return step(X)

    return call, lambda: 0, step


def pythons_random_numbers(jit: Callable) -> tuple:
    step = jit(lambda x: x * random.choice([1.0, 1.0, 2.0]))
    return lambda number: step(X), lambda: 0, step


def a_generator_of_the_users(jit: Callable) -> tuple:
    mine = random.Random(1)
    step = jit(lambda x: x * mine.choice([1.0, 1.0, 2.0]))
    return lambda number: step(X), lambda: 0, step


def tensors_of_random_numbers(jit: Callable) -> tuple:
    step = jit(lambda x: x + nc.tensor([random.random(), 1.0, 2.0]) + nc.nn.init.orthogonal_(nc.empty(3, 3)))
    return lambda number: step(X), lambda: nc.rand(1), step


def zeros_of_both_signs(jit: Callable) -> tuple:
    held = [1.0]
    step = jit(lambda x: x * held[0])

    def call(number: int) -> Any:
        held[0] = (1.0, 0.0, -0.0, 0.0, -0.0, 1, True)[number]
        return step(X)

    return call, lambda: 0, step


def a_closure_that_is_emptied(jit: Callable) -> tuple:
    weight = nc.ones(3)
    step = jit(lambda x: x * weight)

    def call(number: int) -> Any:
        nonlocal weight
        if number == 5:
            del weight
        return step(X)

    return call, lambda: 0, step


def tensors_that_change_places(jit: Callable) -> tuple:
    thing, entries, items = Thing(), {"a": nc.ones(3), "b": nc.zeros(3)}, [nc.ones(3) * k for k in range(3)]
    thing.a, thing.b = nc.ones(3), nc.zeros(3)

    def function(x: Any) -> Any:
        thing.a.mul_(2.0)
        thing.a, thing.b = thing.b, thing.a
        entries["a"], entries["b"] = entries["b"] + x, entries["a"]
        items[0], items[1], items[2] = items[1], items[2], items[0]
        return thing.a + x, thing.b, items[0] + entries["b"]

    step = jit(function)

    def call(number: int) -> Any:
        if number == 5:
            thing.a = thing.b
        return step(X)

    return call, lambda: (thing.a, thing.b, *entries.values(), *items), step


def the_last_arguments_are_kept(jit: Callable) -> tuple:
    thing = Thing()
    thing.last, thing.former = nc.ones(3), nc.zeros(3)

    def function(x: Any) -> Any:
        thing.former, thing.last = thing.last, x
        return x - thing.former

    step = jit(function)
    return lambda number: step(X * number if number < 5 else X), lambda: (thing.last, thing.former), step


def results_that_are_views(jit: Callable) -> tuple:
    weight, kept = nc.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), []

    def function(x: Any) -> Any:
        return weight[1], x.view(3, 1), weight.T, weight.detach(), x.expand(2, 3) + weight

    step = jit(function)

    def call(number: int) -> Any:
        mine = X * (number + 1)
        results = step(mine)
        results[1].add_(1.0)  # seen by mine
        results[2].mul_(2.0)  # and by the weight
        weight[0] += 1.0
        kept.extend([mine, *results])
        return results

    return call, lambda: (weight, *kept), step


def results_that_are_views_of_what_is_written(jit: Callable) -> tuple:
    weight, kept = nc.ones(2, 3), []

    def function(x: Any) -> Any:
        weight.mul_(2.0)
        weight[1].add_(x)
        return weight[1], weight.sum()

    step = jit(function)

    def call(number: int) -> Any:
        kept.append(step(X)[0])
        if number == 4:
            kept.clear()
        return kept[-1:]

    return call, lambda: (weight, *kept), step


def views_of_views(jit: Callable) -> tuple:
    whole = nc.ones(4, 3)
    rows = [whole[1:]]
    step = jit(lambda: rows[0][1])

    def call(number: int) -> Any:
        result = step()
        result.add_(number)
        if number == 2:
            rows[0] = whole[:3]
        if number == 3:
            rows[0] = whole.T[:, :3]
        if number == 5:
            rows[0] = nc.ones(3, 4).T[:3]
        return result

    return call, lambda: (whole, rows[0]), step


def views_of_parameters_outside(jit: Callable) -> tuple:
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = nc.optim.Adam(model.parameters(), lr=0.1)
    weight = model[0].weight
    kept = [weight.detach()[1], weight.detach().T, weight[2:4]]

    def function(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    step = jit(function)

    def call(number: int) -> Any:
        if number == 4:
            kept.append(weight.detach().view(24)[::2])
            kept[0].add_(1.0)
        if number == 5:
            del kept[1]
        return step(X.expand(4, 3))

    return call, lambda: (weight, *kept), step


def a_view_of_a_parameter_inside(jit: Callable) -> tuple:
    weight = nn.Parameter(nc.ones(4, 3))
    optimizer = nc.optim.SGD([weight], lr=0.1, momentum=0.9)
    row = weight.detach()[1]

    def function(x: Any) -> Any:
        optimizer.zero_grad()
        loss = ((weight @ x) ** 2).mean() + row.sum()
        loss.backward()
        optimizer.step()
        return loss.detach() + row[0]

    step = jit(function)

    def call(number: int) -> Any:
        row.add_(0.5)
        return step(X)

    return call, lambda: (weight, row), step


def a_buffer_with_views_outside(jit: Callable) -> tuple:
    state = nc.ones(4, 3)
    outside = [state[1], state[2:], state.T]

    def function(x: Any) -> Any:
        state[1:3].add_(x)
        state.mul_(0.5)
        return state.sum()

    step = jit(function)
    return lambda number: step(X), lambda: (state, *outside), step


VIEWS = [
    results_that_are_views, results_that_are_views_of_what_is_written, views_of_parameters_outside,
    a_view_of_a_parameter_inside, a_buffer_with_views_outside,
]  # fmt: skip
CASES = [
    *VIEWS, views_of_views,
    tensors_that_change_places, the_last_arguments_are_kept,
    changing_defaults, changing_attributes_of_a_function, changing_classes, changing_a_modules_class,
    what_properties_and_static_methods_read, a_module_of_the_users, slots, counting_in_slots, counting_in_an_array,
    an_array_with_many_elements, a_huge_array, a_part_of_an_array, pythons_random_numbers, a_generator_of_the_users,
    tensors_of_random_numbers, zeros_of_both_signs, a_closure_that_is_emptied,
]  # fmt: skip


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_a_compiled_function_follows(make: Callable) -> None:
    plain, _ = outcomes(make, lambda function: function)
    compiled, function = outcomes(make, nc.jit_compile)
    assert compiled == plain
    assert function.cache_info().recorded > 0


def test_values_that_are_no_tensors_are_returned_by_a_replay() -> None:
    step = nc.jit_compile(lambda x: (x * 2, x.shape, x.dtype, x.device, np.float32(3), range(2), slice(3)))
    first, *others = step(X), step(X), step(X)
    assert step.cache_info().hits == 1  # it uses NumPy, so two recordings have to agree
    assert all(flat(other) == flat(first) for other in others)
    assert isinstance(others[-1][1], nc.Size)


def test_tensors_that_are_counted_on_the_host_are_constants() -> None:
    def function(x: Any) -> Any:
        counted = nc.arange(0.0, 3.0) + nc.linspace(0, 1, 3) + nc.hann_window(3)
        return x + counted + nc.tensor(np.arange(3.0)) + x[[0, 2]].sum()

    step = nc.jit_compile(function)
    for _ in range(4):
        assert flat(step(X)) == flat(function(X))
    assert step.cache_info().hits == 2  # after two recordings that agree


@pytest.mark.parametrize("make", [tensors_that_change_places, the_last_arguments_are_kept, *VIEWS])
def test_what_changes_places_or_is_a_view_is_replayed(make: Callable) -> None:
    _, function = outcomes(make, nc.jit_compile)
    assert function.cache_info().hits >= 4
    assert function.cache_info().traced == 0
