"""What compiled functions do about state, Python effects, reads, changed surroundings and errors."""

from __future__ import annotations

import copy
import gc
import threading
import time
import warnings
from typing import Any

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.graph.value import flush_thread

SCALE = 2.0
SETTINGS = {"power": 2}
LOG: list[float] = []


def times(x: Any) -> Any:
    return x * SCALE


def test_globals_and_closures_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    offset = nc.tensor([1.0])
    factor = 3

    @nc.jit_compile
    def function(x: Any) -> Any:
        return times(x) ** SETTINGS["power"] + offset * factor

    x = nc.tensor([1.0])
    assert [function(x).item() for _ in range(3)] == [7.0] * 3
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert function(x).item() == 12.0
    monkeypatch.setitem(SETTINGS, "power", 1)
    assert function(x).item() == 6.0
    factor = 5
    assert function(x).item() == 8.0
    offset.fill_(2.0)
    assert function(x).item() == 13.0
    offset = nc.tensor([0.0])
    assert function(x).item() == 3.0


def test_attributes_are_watched() -> None:
    class Scaled(nn.Module):
        power = 1

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(nc.tensor([2.0]))
            self.factors = [1.0, 2.0]
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Any) -> Any:
            return (self.drop(x * self.weight) * self.factors[0]) ** self.power

    module = Scaled().eval()
    function = nc.jit_compile(module)
    x = nc.tensor([1.0])
    assert [function(x).item() for _ in range(3)] == [2.0] * 3
    module.factors[0] = 4.0
    assert function(x).item() == 8.0
    with nc.no_grad():
        module.weight.fill_(1.0)
    assert function(x).item() == 4.0
    module.weight = nn.Parameter(nc.tensor([3.0]))
    assert function(x).item() == 12.0
    Scaled.power = 2
    assert function(x).item() == 144.0
    module.train()
    assert {function(x).item() for _ in range(12)} == {0.0, 576.0}
    assert function.cache_info().traced == 0


def test_a_read_ends_the_recording_with_one_warning() -> None:
    @nc.jit_compile
    def function(x: Any) -> Any:
        y = x * 2
        if y.sum().item() > 3:
            return y + 1
        return y - 1

    with pytest.warns(nc.JitWarning, match=r"split at .*test_state.py:\d+, where it reads a tensor's value") as seen:
        assert function(nc.tensor([1.0])).item() == 1.0
    assert len(seen) == 1
    assert function(nc.tensor([2.0])).item() == 5.0
    assert function(nc.tensor([1.0])).item() == 1.0
    assert function(nc.tensor([2.5])).item() == 6.0
    assert function.cache_info()[:3] == (2, 2, 0)


def test_fullgraph_makes_a_split_an_error() -> None:
    @nc.jit_compile(fullgraph=True)
    def function(x: Any) -> Any:
        return x * x.sum().item()

    with pytest.raises(RuntimeError, match="fullgraph=True.*reads a tensor's value"):
        function(nc.tensor([1.0]))


def test_changing_a_global_list_is_kept() -> None:
    @nc.jit_compile
    def function(x: Any) -> Any:
        LOG.append(1.0)
        return x * 2

    LOG.clear()
    with pytest.warns(nc.JitWarning, match="it changes LOG"):
        function(nc.tensor([1.0]))
    for _ in range(3):
        assert function(nc.tensor([1.0])).item() == 2.0
    assert len(LOG) == 4


def test_counting_in_python_is_kept() -> None:
    class Steps:
        count = 0

    steps = Steps()
    steps.count = 0

    @nc.jit_compile
    def function(x: Any) -> Any:
        steps.count += 1
        return x * steps.count

    with pytest.warns(nc.JitWarning, match="it changes steps.count"):
        found = [function(nc.tensor([1.0])).item() for _ in range(4)]
    assert found == [1.0, 2.0, 3.0, 4.0]


def test_host_random_numbers_are_noticed() -> None:
    rng = np.random.default_rng(0)

    @nc.jit_compile
    def function(x: Any) -> Any:
        return x * rng.random()

    with pytest.warns(nc.JitWarning, match="draws random numbers"):
        found = [function(nc.tensor([1.0])).item() for _ in range(8)]
    assert len(set(found)) == 8


def test_floats_stay_arguments() -> None:
    @nc.jit_compile
    def function(x: Any, a: float, b: float = 1.0) -> Any:
        return (x * (a * 2 + 1) - b) / a, a + b

    for a in (1.0, 2.0, 3.0, 4.0):
        y, total = function(nc.tensor([1.0]), a, b=0.5)
        assert y.item() == pytest.approx(((a * 2 + 1) - 0.5) / a)
        assert total == a + 0.5
        assert type(total) is float
    assert function.cache_info().recordings == 1
    assert function.cache_info().hits >= 2


def test_a_float_that_decides_is_looked_at() -> None:
    import math

    @nc.jit_compile
    def function(x: Any, a: float) -> Any:
        if a > 1:
            return x * a
        return x - math.floor(a)

    values = [2.0, 3.0, 0.5, 4.0, 0.25, 5.0, 0.5]
    assert [function(nc.tensor([1.0]), a).item() for a in values] == [2.0, 3.0, 1.0, 4.0, 1.0, 5.0, 1.0]


def test_exceptions_half_way_leave_everything_as_it_was() -> None:
    model = nn.Linear(2, 1)
    optimizer = nc.optim.Adam(model.parameters(), lr=0.1)
    fail = [False]

    @nc.jit_compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        if x.shape[0] == 3:
            raise ValueError("half-way")
        return loss

    step(nc.ones(1, 2))
    step(nc.ones(1, 2))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    steps = [state["step"] for state in optimizer.state.values()]
    gradients = [p.grad.tolist() for p in model.parameters()]
    with pytest.raises(ValueError, match="half-way"):
        step(nc.ones(3, 2))
    for name, tensor in model.state_dict().items():
        assert tensor.tolist() == before[name].tolist()
    assert [state["step"] for state in optimizer.state.values()] == steps
    assert [p.grad.tolist() for p in model.parameters()] == gradients
    assert not fail[0]
    step(nc.ones(1, 2))


def test_shapes_that_change_at_every_call() -> None:
    @nc.jit_compile
    def function(x: Any) -> Any:
        return (x * 2).sum()

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for size in range(1, 24):
            assert function(nc.ones(size)).item() == 2.0 * size
    texts = [str(w.message) for w in seen if issubclass(w.category, nc.JitWarning)]
    assert len(texts) == 1
    assert "the argument that changes is x: a tensor of shape [16]" in texts[0]
    assert function.cache_info().recordings <= 16


def test_arguments_of_every_kind() -> None:
    @nc.jit_compile
    def function(*pairs: Any, scale: int = 1, **named: Any) -> dict:
        total = sum(a * b for a, b in pairs)
        return {"total": total * scale, "named": [named["z"]["w"] + 1, None, "text"], "pairs": pairs[0]}

    x, y = nc.tensor([2.0]), nc.tensor([3.0])
    for scale in (1, 1, 1, 2):
        found = function((x, y), (y, y), scale=scale, z={"w": x})
        assert found["total"].item() == 15.0 * scale
        assert found["named"][0].item() == 3.0
        assert found["named"][1:] == [None, "text"]
        assert found["pairs"][0] is x
    assert function.cache_info().hits >= 1


def test_the_same_tensor_twice() -> None:
    function = nc.jit_compile(lambda a, b: a * 10 + b)
    x, y = nc.tensor([1.0]), nc.tensor([2.0])
    assert [function(x, x).item() for _ in range(3)] == [11.0] * 3
    assert [function(x, y).item() for _ in range(3)] == [12.0] * 3
    assert function(y, y).item() == 22.0


def test_an_argument_that_is_a_parameter() -> None:
    weight = nc.tensor([5.0])
    function = nc.jit_compile(lambda a: a + weight)
    assert [function(nc.tensor([1.0])).item() for _ in range(3)] == [6.0] * 3
    assert function(weight).item() == 10.0
    assert function(nc.tensor([2.0])).item() == 7.0


def test_generators_are_refused() -> None:
    def numbers(x: Any) -> Any:
        yield x

    with pytest.raises(TypeError, match="generator"):
        nc.jit_compile(numbers)
    with pytest.raises(TypeError, match="expected a function"):
        nc.jit_compile(3)


def test_recursion_and_nesting() -> None:
    @nc.jit_compile
    def power(x: Any, n: int) -> Any:
        return x if n == 1 else x * power(x, n - 1)

    @nc.jit_compile
    def outer(x: Any) -> Any:
        return power(x, 3) + 1

    assert [outer(nc.tensor([2.0])).item() for _ in range(3)] == [9.0] * 3
    assert outer.cache_info().hits == 2


def test_two_threads_at_once() -> None:
    weight = nc.tensor([3.0])
    function = nc.jit_compile(lambda x: (x * weight).exp().sum())
    wrong: list[Any] = []

    def work(start: int) -> None:
        for k in range(20):
            value = 0.01 * (start + k)
            found = function(nc.tensor([value])).item()
            if found != pytest.approx(float(np.exp(3 * value)), rel=1e-5):
                wrong.append((value, found))

    threads = [threading.Thread(target=work, args=(n,)) for n in (0, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_steps_of_two_threads_are_done_one_after_the_other() -> None:
    weight = nn.Parameter(nc.zeros(4))
    optimizer = nc.optim.Adam([weight], lr=0.5)
    active: list[int] = []
    together: list[int] = []

    @nc.jit_compile
    def step(x: Any) -> None:
        active.append(1)
        together.append(len(active))
        time.sleep(0.02)  # another thread comes
        optimizer.zero_grad()
        (weight * x).sum().backward()
        optimizer.step()
        active.pop()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nc.JitWarning)
        threads = [threading.Thread(target=lambda: [step(nc.ones(4)) for _ in range(2)]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert max(together) == 1
    assert optimizer.state[weight]["step"] == 6


def test_each_grad_mode_has_a_recording_of_its_own() -> None:
    weight = nn.Parameter(nc.ones(2))
    function = nc.jit_compile(lambda x: weight * x)
    for _ in range(3):
        assert function(nc.ones(2)).requires_grad
        with nc.no_grad():
            assert not function(nc.ones(2)).requires_grad
    assert function.cache_info().recordings == 2


def test_warnings_name_the_users_line() -> None:
    with pytest.warns(nc.JitWarning) as caught:
        nc.jit_compile(lambda x: x.item())(nc.tensor(1.0))
    assert caught[0].filename == __file__
    with pytest.warns(nc.JitWarning) as caught:
        nc.jit_compile(lambda x: x)(np.ones(1))
    assert caught[0].filename == __file__


def test_a_read_inside_of_netcl_names_the_users_line() -> None:
    weight = nn.Parameter(nc.ones(2))
    optimizer = nc.optim.LBFGS([weight], lr=0.1)

    def loss() -> Any:
        optimizer.zero_grad()
        found = (weight**2).sum()
        found.backward()
        return found

    with pytest.warns(nc.JitWarning, match=r"reads a tensor's value at .*test_state\.py"):
        nc.jit_compile(lambda: optimizer.step(loss))()


def test_a_tensor_that_is_one_number_is_an_input() -> None:
    """It waits as a number, without memory of its own, when the function is recorded."""
    for make in (lambda: nc.zeros(()), lambda: nc.full((), 3.0), lambda: nc.zeros((), dtype=nc.int64)):
        held = {"count": make()}
        function = nc.jit_compile(lambda x, held=held: (held["count"].detach(), held["count"] + x))
        first = held["count"].item()
        for k in range(4):
            alone, added = function(nc.ones(()))
            assert (alone.item(), added.item()) == (first + k, first + k + 1)
            held["count"].add_(1)
        assert function.cache_info().hits == 3


def test_who_a_new_tensor_shares_with_is_looked_at() -> None:
    """When it was recorded, what was there before shared elements with the argument; at the last call it does not."""

    def training(wrap: Any) -> list[Any]:
        weight, other, held = nc.zeros(2), nc.zeros(2), {"view": nc.ones(2), "same": nc.ones(2)}

        def function(y: Any) -> None:
            held["view"] = held["same"] = y.detach()

        function = wrap(function)
        for _ in range(4):
            function(weight.detach())
        function(other)
        other.add_(1)
        return [held["view"].tolist(), weight.tolist(), other.tolist()]

    assert training(nc.jit_compile) == training(lambda function: function) == [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]


def test_a_global_with_the_name_of_an_attribute_may_change() -> None:
    """`for step in range(..)` beside `optimizer.step()`; a function within the function reads its globals as well."""
    source = """
@nc.jit_compile
def train(x):
    optimizer.zero_grad()
    loss = (lambda: (weight * x * scale).sum())()
    loss.backward()
    optimizer.step()
    return loss

found = []
for step in range(6):
    scale = 2.0 if step < 4 else 3.0
    found.append(train(nc.ones(2)).item())
"""
    weight = nn.Parameter(nc.zeros(2))
    space = {"nc": nc, "weight": weight, "optimizer": nc.optim.SGD([weight], lr=0.5), "__name__": "__main__"}
    exec(source, space)
    # the gradient is scale, so each step takes scale / 2 from both weights, and the loss is 2 * weight * scale
    assert space["found"] == [0.0, -4.0, -8.0, -12.0, -24.0, -33.0]
    info = space["train"].cache_info()
    assert info.traced == 0
    assert info.hits >= 2


def test_modes_that_a_function_sets_are_set_again() -> None:
    """A step that begins with train() and an evaluation that begins with eval(), in turn."""

    def training(wrap: Any) -> tuple[list[Any], Any, Any]:
        nc.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        optimizer = nc.optim.SGD(model.parameters(), lr=0.1)

        def step(x: Any) -> Any:
            model.train()
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        def evaluate(x: Any) -> Any:
            model.eval()
            with nc.no_grad():
                return model(x).sum()

        step, evaluate = wrap(step), wrap(evaluate)
        found = []
        x = nc.arange(12.0).view(4, 3) / 12
        for _ in range(4):
            found += [step(x).item(), step(x).item(), [m.training for m in model.modules()]]
            found += [evaluate(x).item(), [m.training for m in model.modules()]]
        return found, step, evaluate

    expected, _, _ = training(lambda function: function)
    found, step, evaluate = training(nc.jit_compile)
    assert found == expected
    assert step.cache_info().traced == evaluate.cache_info().traced == 0
    assert step.cache_info().hits >= 4
    assert evaluate.cache_info().hits >= 2


def test_a_flag_that_goes_on_and_off_is_replayed() -> None:
    state = {"on": True}

    def function(x: Any) -> Any:
        state["on"] = not state["on"]
        return x + 1 if state["on"] else x - 1

    function = nc.jit_compile(function)
    assert [function(nc.zeros(1)).item() for _ in range(6)] == [-1.0, 1.0] * 3
    assert state["on"] is True
    assert function.cache_info() == (4, 2, 0, 2)


def test_the_warning_names_the_attribute_that_changes() -> None:
    class Loop:
        def __init__(self) -> None:
            self.weight, self.best = nc.ones(1), 0.0

        @nc.jit_compile
        def step(self, x: Any) -> Any:
            return self.weight * x

    loop = Loop()
    with pytest.warns(nc.JitWarning, match=r"recorded 16 times .* fits: Loop\.best changes"):  # noqa: PT031
        for number in range(18):
            loop.best = float(number)
            assert loop.step(nc.tensor([2.0])).item() == 2.0


def test_numbers_are_plain_where_a_function_puts_them() -> None:
    weight = nn.Parameter(nc.ones(3))
    optimizer = nc.optim.SGD([weight], lr=0.1)
    schedule = nc.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    kept: dict[str, Any] = {}

    def step(lr: float) -> Any:
        optimizer.param_groups[0]["lr"] = lr
        kept["lr"], kept["all"], kept["named"] = lr, [lr * 2], {"lr": lr}
        weight.sum().backward()
        optimizer.step()
        schedule.step()
        return weight.sum()

    with pytest.warns(nc.JitWarning):
        nc.jit_compile(step)(0.2)
    numbers = [schedule.get_last_lr()[0], kept["lr"], kept["all"][0], kept["named"]["lr"]]
    assert [type(number) for number in numbers] == [float] * 4
    assert numbers[1:] == [0.2, 0.4, 0.2]


def test_numpy_arguments_are_traced() -> None:
    function = nc.jit_compile(lambda a: nc.tensor(a) * 2)
    array = np.ones(2, np.float32)
    with pytest.warns(nc.JitWarning, match="NumPy array"):
        assert function(array).tolist() == [2.0, 2.0]
    array[:] = 5
    assert function(array).tolist() == [10.0, 10.0]


def test_a_watched_array_is_read_anew() -> None:
    array = np.ones(2, np.float32)
    function = nc.jit_compile(lambda x: x * nc.tensor(array))
    assert [function(nc.ones(2)).tolist() for _ in range(3)] == [[1.0, 1.0]] * 3
    array[:] = 4
    assert function(nc.ones(2)).tolist() == [4.0, 4.0]


def test_results_are_fresh_tensors() -> None:
    function = nc.jit_compile(lambda x: x + 1)
    first = function(nc.tensor([1.0]))
    found = [function(nc.tensor([float(k)])) for k in range(4)]
    assert [t.item() for t in found] == [1.0, 2.0, 3.0, 4.0]
    assert first.item() == 2.0


def test_learning_rates_set_by_hand_outside() -> None:
    w = nc.tensor([1.0], requires_grad=True)
    optimizer = nc.optim.SGD([w], lr=0.5)

    @nc.jit_compile
    def step() -> Any:
        optimizer.zero_grad()
        loss = (w * 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    for rate in (0.5, 0.25, 0.125, 0.0625):
        optimizer.param_groups[0]["lr"] = rate
        step()
    assert w.item() == 1 - 2 * (0.5 + 0.25 + 0.125 + 0.0625)
    assert step.cache_info().hits >= 2


def test_learning_rates_set_by_hand_inside() -> None:
    w = nc.tensor([1.0], requires_grad=True)
    optimizer = nc.optim.SGD([w], lr=0.5)

    @nc.jit_compile
    def step() -> None:
        optimizer.param_groups[0]["lr"] *= 0.5
        optimizer.zero_grad()
        (w * 2).sum().backward()
        optimizer.step()

    with pytest.warns(nc.JitWarning, match="numbers of an optimizer"):
        step()
    step()
    step()
    assert w.item() == 1 - 2 * (0.25 + 0.125 + 0.0625)


def test_parameters_are_updated_where_they_are() -> None:
    """A replayed step has no second copy of the parameters at any time."""
    model = nn.Linear(512, 512, bias=False)
    optimizer = nc.optim.SGD(model.parameters(), lr=0.1)
    x = nc.ones(1, 512)

    @nc.jit_compile
    def step(x: Any) -> None:
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step(x)
    step(x)
    nc.synchronize()
    gc.collect()
    in_use = nc.profiler.memory_in_use()
    nc.profiler.reset_peak_memory()
    step(x)
    assert nc.profiler.peak_memory() - in_use < 512 * 512 * 4
    assert step.cache_info().hits >= 1


def test_index_errors_name_the_line() -> None:
    function = nc.jit_compile(lambda x, y: F.cross_entropy(x, y))
    x = nc.zeros(2, 3)
    for _ in range(3):
        function(x, nc.tensor([0, 2])).item()
    with pytest.raises(IndexError, match=r"cross_entropy.*test_state.py"):
        function(x, nc.tensor([0, 3])).item()


COUNT = 16


def test_a_sum_that_begins_as_a_plain_number_is_an_argument() -> None:
    @nc.jit_compile
    def add(x: Any, total: Any) -> Any:
        count = nc.full((), float(COUNT))
        return x * 2, count if total is None else total + count

    total = None
    for _ in range(5):
        _, total = add(nc.ones(2), total)
        flush_thread()
    assert total.item() == 5 * COUNT


def test_what_comes_from_elsewhere_is_confirmed_by_a_second_recording() -> None:
    """A function that uses only tensors, numbers and its surroundings is recorded once; one that uses another module
    twice, to see that it does the same again."""
    import random
    from time import perf_counter

    def own(x: Any) -> Any:
        return nn.utils.clip_grad_norm_([], 1.0) + (x * 0.125 + 1e-3).sum() / max(2, 3)

    def library(x: Any) -> Any:
        return x * random.Random(3).random()

    def clock(x: Any) -> Any:
        return x + perf_counter() % 1e-3 * 1e3

    for function, recorded in ((own, 1), (library, 2)):
        compiled = nc.jit_compile(function)
        for _ in range(4):
            compiled(nc.ones(2))
        assert compiled.cache_info() == (4 - recorded, recorded, 0, 1)
    compiled = nc.jit_compile(clock)
    found = [compiled(nc.ones(1)).item() for _ in range(3)]
    assert len(set(found)) == 3
    with pytest.warns(nc.JitWarning, match="something else at each call"):
        compiled(nc.ones(1))


def test_results_that_share_elements_go_on_sharing_them() -> None:
    function = nc.jit_compile(lambda x: x[0])
    x = nc.zeros(2, 2)
    for _ in range(3):
        function(x).add_(1.0)
    assert x.tolist() == [[3.0, 3.0], [0.0, 0.0]]
    assert function.cache_info().hits == 2


def test_results_that_share_elements_with_one_another_only_are_traced() -> None:
    def function(x: Any) -> Any:
        whole = x * 1.0
        return whole[0], whole[0]

    compiled = nc.jit_compile(function)
    with pytest.warns(nc.JitWarning, match="is a view of another tensor"):
        compiled(nc.zeros(2, 2))
    one, other = compiled(nc.zeros(2, 2))
    one.add_(1.0)
    assert other.tolist() == [1.0, 1.0]


def test_a_tensor_passed_twice_leaves_state_where_it_is() -> None:
    a, b = nc.tensor([2.0, 3.0]), nc.tensor([10.0, 20.0])
    step = nc.jit_compile(lambda x, y: x * a + y * b)
    for _ in range(3):
        x = nc.tensor([1.0, 1.0])
        assert step(x, x).tolist() == [12.0, 23.0]


def test_an_argument_that_shares_elements_with_state() -> None:
    weight = nc.tensor([1.0, 2.0])
    shadow = nc.tensor([5.0, 5.0])

    @nc.jit_compile
    def step(x):
        weight.mul_(2)
        return x + weight * shadow

    expected = nc.tensor([1.0, 2.0])
    for make, shared in [
        (weight.detach, True), (lambda: nc.tensor([1.0, 1.0]), False), (weight.detach, True),
        (lambda: nc.tensor([3.0, 0.0]), False), (lambda: weight[:], True), (shadow.detach, False),
        (lambda: nc.tensor([3.0, 0.0]), False),
    ]:  # fmt: skip
        x = make()
        expected = expected * 2
        first = expected if shared else x.clone()
        assert step(x).tolist() == (first + expected * shadow).tolist()


def test_tensors_in_two_places_that_are_exchanged() -> None:
    state = {"one": nc.zeros(2), "two": nc.ones(2)}
    kept = nc.zeros(2)

    @nc.jit_compile
    def step(x):
        nonlocal kept
        before = state["one"] + state["two"]
        state["one"] = kept = before + x
        return before

    def plain(one, two, x):
        return one + two, one + two + x

    one, two = nc.zeros(2), nc.ones(2)
    for call in range(8):
        if call == 3:
            state["two"] = two = kept  # now one and two are the same tensor
        if call == 6:
            state["one"] = one = nc.tensor([7.0, 7.0])  # and no longer the one in the closure
        x = nc.tensor([1.0, float(call)])
        before, after = plain(one, two, x)
        assert step(x).tolist() == before.tolist()
        assert state["one"].tolist() == kept.tolist() == after.tolist()
        one = after
        two = two if call < 3 or state["two"] is not state["one"] else after


def test_a_gradient_that_is_kept_elsewhere_too() -> None:
    weight = nc.nn.Parameter(nc.tensor([1.0, 2.0]))
    kept = [nc.zeros(2)]

    def step(x):
        weight.grad = None
        (weight * x).sum().backward()
        kept[0].add_(weight.grad)
        return kept[0] * 2

    compiled = nc.jit_compile(step)
    weight.grad = kept[0]
    total = nc.zeros(2)
    for call in range(5):
        x = nc.tensor([1.0, float(call)])
        if call == 2:
            kept[0] = weight.grad
            total = weight.grad.clone()
        total = total + x
        assert compiled(x).tolist() == (total * 2).tolist()


def test_a_float_argument_that_is_put_somewhere_is_a_plain_number_there() -> None:
    kept = {"rate": 0.0}

    def step(x, rate):
        kept["rate"] = rate
        return x * rate

    compiled = nc.jit_compile(step)
    with pytest.warns(nc.jit.JitWarning, match="changes kept"):
        compiled(nc.ones(1), 0.75)
    assert type(kept["rate"]) is float
    assert compiled(nc.ones(1), 0.25).item() == kept["rate"] == 0.25


def test_a_learning_rate_that_is_set_to_what_it_is() -> None:
    weight = nc.nn.Parameter(nc.ones(1))
    optimizer = nc.optim.SGD([weight], lr=0.5)

    def step(rate):
        optimizer.param_groups[0]["lr"] = rate
        return weight * 2

    compiled = nc.jit_compile(step)
    with pytest.warns(nc.jit.JitWarning, match="by hand"):
        compiled(0.5)
    for rate in (0.5, 0.25, 0.5):
        compiled(rate)
        assert optimizer.param_groups[0]["lr"] == rate


def test_requires_grad_that_a_function_changes() -> None:
    weight = nc.nn.Parameter(nc.ones(1))

    def step(x, train):
        weight.requires_grad_(train)
        return x * 2

    compiled = nc.jit_compile(step)
    compiled(nc.ones(1), True)
    with pytest.warns(nc.jit.JitWarning, match="requires a gradient"):
        compiled(nc.ones(1), False)
    for train in (False, False):
        compiled(nc.ones(1), train)
        assert weight.requires_grad is train
    with pytest.warns(nc.jit.JitWarning, match="requires a gradient"):
        compiled(nc.ones(1), True)
    assert weight.requires_grad


def test_strides_of_results_are_those_of_the_function() -> None:
    compiled = nc.jit_compile(lambda x: (x * 2).T)
    for _ in range(3):
        result = compiled(nc.ones(2, 3))
        assert result.stride() == (1, 3)
        assert not result.is_contiguous()


def test_a_graph_without_a_way_back_is_told_to_whom_goes_back() -> None:
    weight = nc.nn.Parameter(nc.ones(2, 2))
    optimizer = nc.optim.SGD([weight], lr=0.5)
    weight.grad = nc.ones(2, 2)

    def step(x):
        result = x * weight * weight
        optimizer.step()
        return result

    compiled = nc.jit_compile(step)
    with pytest.warns(nc.jit.JitWarning, match="no way back"):
        assert compiled(nc.ones(2, 2))[0, 0].item() == 1.0
    assert [compiled(nc.ones(2, 2))[0, 0].item() for _ in range(2)] == [0.25, 0.0]


def test_what_a_tensor_gets_from_a_gradient_outlives_the_gradient() -> None:
    weight = nn.Parameter(nc.ones(2))
    kept = nc.zeros(2)

    @nc.jit_compile
    def step(x):
        kept.copy_(weight.grad)
        weight.grad.zero_()
        (weight * x).sum().backward()
        return x * 2

    weight.grad = nc.zeros(2)
    for number in range(6):
        step(nc.full((2,), float(number)))
        assert kept.tolist() == [max(number - 1.0, 0.0)] * 2
        assert weight.grad.tolist() == [float(number)] * 2


def test_hooks_are_watched() -> None:
    weight = nn.Parameter(nc.ones(2))

    @nc.jit_compile
    def step(x, scale):
        weight.grad = None
        (weight * x * scale).sum().backward()
        return weight.grad * 1

    x, seen = nc.ones(2), []
    assert [step(x, nc.ones(2)).tolist() for _ in range(3)] == [[1.0, 1.0]] * 3
    handle = weight.register_hook(lambda gradient: gradient * 10)
    assert [step(x, nc.ones(2)).tolist() for _ in range(3)] == [[10.0, 10.0]] * 3
    handle.remove()
    assert step(x, nc.ones(2)).tolist() == [1.0, 1.0]
    for factor in (3.0, 5.0):
        scale = nc.ones(2).requires_grad_()
        scale.register_hook(lambda gradient, factor=factor: gradient * factor)
        step(x, scale)
        assert scale.grad.tolist() == [factor, factor]
    weight.register_post_accumulate_grad_hook(lambda parameter: seen.append(1))
    with pytest.warns(nc.jit.JitWarning, match="changes seen"):
        step(x, nc.ones(2))
    step(x, nc.ones(2))
    assert len(seen) == 2


def test_attributes_of_functions_are_watched() -> None:
    def step(x):
        step.calls = getattr(step, "calls", 0) + 1
        return x * step.calls

    compiled = nc.jit_compile(step)
    with pytest.warns(nc.jit.JitWarning, match="changes step"):
        assert compiled(nc.ones(1)).item() == 1
    assert [compiled(nc.ones(1)).item() for _ in range(2)] == [2, 3]


def test_numbers_of_a_small_array_are_watched() -> None:
    table = np.ones(3, np.float32)
    compiled = nc.jit_compile(lambda x: x * float(table[0]))
    assert [compiled(nc.ones(1)).item() for _ in range(3)] == [1.0] * 3
    table[0] = 5
    assert [compiled(nc.ones(1)).item() for _ in range(3)] == [5.0] * 3


def test_numbers_in_a_result_of_a_users_class_are_plain() -> None:
    class Result:
        def __init__(self, value, rate):
            self.value, self.rate = value, rate

    compiled = nc.jit_compile(lambda x, rate: Result(x * rate, rate * 2))
    with pytest.warns(nc.jit.JitWarning, match="returns a Result"):
        result = compiled(nc.ones(1), 0.5)
    assert type(result.rate) is float


def test_a_tensor_outside_that_shares_elements_with_an_argument() -> None:
    step = nc.jit_compile(lambda x, y: y.add_(x))
    for number in range(4):
        outside = nc.ones(2)
        step(nc.full((2,), float(number)), outside.detach())
        assert outside.tolist() == [number + 1.0] * 2


def test_a_view_in_memory_of_its_own_is_told_of_a_step(device) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = nc.optim.Adam(model.parameters(), lr=0.1)
    weight, x = model[0].weight, nc.ones(16, 8)

    @nc.jit_compile
    def step(x: Any) -> None:
        optimizer.zero_grad()
        (model(x) ** 2).sum().backward()
        optimizer.step()

    for _ in range(3):
        step(x)  # by now it writes to the memory that the parameters lie in
    row = weight.detach()[1]
    row.add_(1.0)
    assert row.tolist() == weight.detach()[1].tolist()
    for _ in range(3):
        step(x)
        assert row.tolist() == weight.detach()[1].tolist()
    assert step.cache_info().traced == 0


@pytest.mark.parametrize("use", ["returned", "in a result", "before the step", "asked", "by hand"])
def test_numbers_of_optimizers_that_a_function_reads(use: str) -> None:
    def run(jit: Any) -> tuple[list[Any], Any]:
        weight = nn.Parameter(nc.ones(2))
        optimizer = nc.optim.Adam([weight], lr=0.5)
        schedule = nc.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)

        @jit
        def step(x: Any) -> Any:
            group = optimizer.param_groups[0]
            optimizer.zero_grad()
            loss = (weight * x).sum()
            if use == "before the step":
                loss = loss * group["lr"]
            loss.backward()
            if use == "by hand":
                with nc.no_grad():
                    weight.sub_(weight.grad * group["lr"])
            else:
                optimizer.step()
            schedule.step()
            if use == "in a result":
                return weight * schedule.get_last_lr()[0]
            if use == "asked" and schedule.last_epoch > 4:
                return weight.detach() * 2
            return schedule.get_last_lr(), group["lr"], schedule.last_epoch

        found = []
        for number in range(9):
            if number == 7:
                optimizer.param_groups[0]["lr"] = 0.25
            result = step(nc.ones(2))
            found += [result.tolist() if isinstance(result, nc.Tensor) else result, weight.tolist()]
        return found, step

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled, step = run(nc.jit_compile)
        assert compiled == run(lambda function: function)[0]
    if use == "returned":
        assert step.cache_info().hits >= 6


def _exchange_state(how: str, optimizer: Any, weight: Any, saved: dict) -> None:
    if how == "load_state_dict":
        optimizer.load_state_dict(saved)
    elif how == "clear":
        optimizer.state.clear()
    elif how == "one parameter's":
        optimizer.state[weight] = {}
    elif how == "one tensor":
        optimizer.state[weight]["exp_avg"] = nc.ones(*weight.shape)
    elif how == "betas":
        optimizer.param_groups[0]["betas"] = (0.5, 0.5)
    else:
        optimizer.add_param_group({"params": [], "lr": 1.0})
        optimizer.param_groups[0]["weight_decay"] = 0.5


@pytest.mark.parametrize(
    "how", ["load_state_dict", "clear", "one parameter's", "one tensor", "betas", "add_param_group"]
)
def test_state_of_an_optimizer_is_exchanged_between_calls(how: str) -> None:
    def run(jit: Any) -> list[list[float]]:
        nc.manual_seed(2)
        model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
        optimizer = nc.optim.Adam(model.parameters(), lr=0.05)
        x, found = nc.randn(6, 4), []

        @jit
        def step(x: Any) -> None:
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()

        for number in range(8):
            if number == 2:
                saved = copy.deepcopy(optimizer.state_dict())
            if number == 5:
                _exchange_state(how, optimizer, model[0].weight, saved)
            step(x)
            found.append([p.detach().sum().item() for p in model.parameters()])
        found += [own["exp_avg"].sum().item() for own in optimizer.state.values()]
        return found

    assert run(nc.jit_compile) == run(lambda function: function)


def test_functions_of_which_only_numbers_remain(device) -> None:
    def plain(x):
        x.normal_()
        return nc.tensor(3.0), nc.full((), 4.0), nc.randn(2)

    found = []
    for function in (plain, nc.jit_compile(plain)):
        nc.manual_seed(0)
        x = nc.zeros(2)
        found.append([[t.tolist() for t in (*function(x), x)] for _ in range(4)])
    assert found[0] == found[1]


def test_recording_reads_nothing() -> None:
    model = nn.Linear(3, 2)
    optimizer = nc.optim.Adam(model.parameters(), lr=0.1)

    @nc.jit_compile
    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    with nc.profiler.count_reads() as reads:
        for _ in range(4):
            step(nc.ones(4, 3))
    assert int(reads) == 0
