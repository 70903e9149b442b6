"""Compiled functions that read values: they are split there, and right whatever is read."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn

pytestmark = pytest.mark.usefixtures("device")


@pytest.fixture(autouse=True)
def splits_are_expected() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "jit_compile: .* is split", nc.JitWarning)
        yield


def compiled(function: Any) -> Any:
    return nc.jit_compile(function)


def plain(function: Any) -> Any:
    return function


def train(wrap: Any, after: Any) -> tuple[list[Any], Any]:
    """Ten steps of a small network; `after(loss, model)` is done before the way back, and is returned."""
    nc.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.25), nn.ReLU(), nn.Linear(16, 3))
    optimizer = nc.optim.Adam(model.parameters(), lr=0.05)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        result = after(loss, model)
        (result if isinstance(result, nc.Tensor) else loss).backward()
        optimizer.step()
        return result.item() if isinstance(result, nc.Tensor) else result

    function = wrap(step)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(10):
        x, y = nc.tensor(rng.standard_normal((5, 8), dtype=np.float32)), nc.tensor(rng.integers(0, 3, 5))
        found.append(function(x, y))
    found.append([p.tolist() for p in model.parameters()])
    found.append([s["step"] for s in optimizer.state.values()])
    return found, function


def reads_nothing_before(loss: Any, model: Any) -> Any:
    return loss


def branches(loss: Any, model: Any) -> Any:
    return loss * 1.5 if loss.item() > 1.0 else loss


def is_finite(loss: Any, model: Any) -> Any:
    if not loss.isfinite():
        raise FloatingPointError
    return loss.item()


def scales(loss: Any, model: Any) -> Any:
    return loss * (1.0 + 0.1 * loss.item())


def reads_twice(loss: Any, model: Any) -> Any:
    scaled = loss * (2.0 - min(loss.item(), 1.0))
    norm = model[0].weight.norm().item()
    return scaled + 0.01 * (model[3].weight ** 2).sum() if norm > scaled.item() else scaled


def draws_after(loss: Any, model: Any) -> Any:
    number = loss.item()
    return loss * (1.0 + 0.1 * nc.rand(()) * number)


@pytest.mark.parametrize("after", [reads_nothing_before, branches, is_finite, scales, reads_twice, draws_after])
def test_steps_that_read_their_loss(after: Any) -> None:
    """The same bits, and the generator goes on from the same place where a branch was not the recorded one."""
    expected, _ = train(plain, after)
    found, function = train(compiled, after)
    assert found == expected
    info = function.cache_info()
    assert info.traced == 0
    assert info.hits >= 4


def test_a_step_that_returns_its_loss_as_a_number_is_one_plan() -> None:
    """Nothing is done after the reading, so what is read is a result like others."""

    def training(as_number: bool) -> tuple[list[float], int]:
        weight = nn.Parameter(nc.ones(1000))
        optimizer = nc.optim.SGD([weight], lr=0.1)

        def step() -> Any:
            optimizer.zero_grad()
            loss = (weight**2).mean()
            loss.backward()
            optimizer.step()
            return loss.item() if as_number else loss

        function = compiled(step)
        losses = [float(function()) for _ in range(4)]
        with nc.profiler.count_launches() as launches:
            losses.append(float(function()))
        assert function.cache_info().traced == 0
        return losses, int(launches)

    found, expected = training(True), training(False)
    assert found == expected
    np.testing.assert_allclose(found[0], [(1 - 0.2 / 1000) ** (2 * k) for k in range(5)], rtol=1e-6)


def test_each_branch_is_recorded_once() -> None:
    def function(x: Any) -> Any:
        y = x * 2
        total = y.sum()
        if total.item() > 3:
            return y + 1
        return y - 1 if total > 0 else -y

    function = compiled(function)
    for number in (1.0, 2.0, -1.0, 1.5, 3.0, -2.0, 0.5):
        expected = 2 * number + 1 if 2 * number > 3 else 2 * number - 1 if number > 0 else -2 * number
        assert function(nc.tensor([number])).item() == expected
    assert function.cache_info() == (4, 3, 0, 3)


def test_what_is_read_may_be_whole_or_true() -> None:
    table = nc.arange(12.0).view(4, 3)

    def function(x: Any, flag: Any) -> Any:
        row = table[x.argmax().item()]
        return row * 2 if flag.item() else row + x.argmin().item()

    function = compiled(function)
    for k in (0, 2, 0, 2):
        x = nc.zeros(4).index_fill(0, nc.tensor([k]), 5.0)
        for flag in (True, False, True):
            lowest = 1 if k == 0 else 0
            expected = table.numpy()[k] * 2 if flag else table.numpy()[k] + lowest
            np.testing.assert_array_equal(function(x, nc.tensor(flag)).numpy(), expected)
    assert function.cache_info().hits > 0
    assert function.cache_info().traced == 0


def test_an_arguments_value_is_read_before_it_is_written_to() -> None:
    def function(x: Any) -> Any:
        before = x.item()
        x.add_(1)
        return before

    function = compiled(function)
    x = nc.tensor(1.0)
    assert [function(x) for _ in range(5)] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert x.item() == 6.0
    assert function.cache_info().traced == 0


def test_what_was_written_in_place_is_read() -> None:
    count = nc.zeros(())

    def function(x: Any) -> Any:
        count.add_(x)
        return count.item(), count

    function = compiled(function)
    assert [function(nc.tensor(2.0))[0] for _ in range(5)] == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert function(nc.tensor(2.0))[1] is count
    assert function.cache_info().traced == 0


def test_a_number_that_was_read_goes_into_a_tensor() -> None:
    last = nc.zeros(3)

    def function(x: Any) -> Any:
        last.fill_(x.sum().item())

    with pytest.warns(nc.JitWarning):  # noqa: PT031
        function = compiled(function)
        for number in (1.0, 2.0, 3.0, 4.0):
            function(nc.tensor([number, 1.0]))
            assert last.tolist() == [number + 1] * 3


def test_numbers_that_are_looked_at_in_other_ways_are_right() -> None:
    """A replay could not print or format anew: the function is traced."""
    for look in (str, math.exp, lambda number: f"{number:.3f}", round, float):
        function = compiled(lambda x, look=look: look((x * 3).sum().item()))
        with pytest.warns(nc.JitWarning, match="is traced at each call: it reads a tensor's value at .*test_reads"):
            found = [function(nc.tensor([number])) for number in (0.5, 1.25, 0.75)]
        assert found == [look(3.0 * number) for number in (0.5, 1.25, 0.75)]


USES: tuple[Any, ...] = (
    int, float, bool, range, round, math.floor, complex, str, abs, lambda n: [10, 20, 30][n], lambda n: [1, 2, 3][:n],
    lambda n: sum([n, 1]), lambda n: max(n, 1), lambda n: math.pow(n, 2), lambda n: {n: 1}, lambda n: n in (1, 2),
    lambda n: divmod(n, 2), lambda n: divmod(7, n), lambda n: n & 1, lambda n: ~n, lambda n: n // 2, lambda n: -n,
    lambda n: 2**n, lambda n: n == 1, lambda n: isinstance(n, float), lambda n: {n, 2.0}, lambda n: (n, [n]),
    lambda n: nc.full((2,), n), lambda n: nc.zeros(int(n)), lambda n: nc.arange(n), lambda n: nc.tensor([n, 1.0]),
    lambda n: nc.where(nc.ones(2) > 0, n, 0.0), lambda n: nc.ones(2).add(nc.ones(2), alpha=n), math.isnan,
    lambda n: nc.ones(2).clamp(max=n), lambda n: np.array([n]).tolist(), lambda n: "a" if n else "b", lambda n: n and 5,
    lambda n: nc.arange(5)[int(n)], lambda n: F.dropout(nc.ones(3), 0.0 * n), lambda n: f"{n:.2f}", repr,
)  # fmt: skip


def outcome(function: Any, x: Any) -> Any:
    """What a call gives, as plain data with its types; or the kind of error."""

    def described(item: Any) -> Any:
        if isinstance(item, nc.Tensor):
            return item.dtype, item.tolist()
        return [described(part) for part in item] if isinstance(item, (list, tuple)) else (type(item), item)

    try:
        return described(function(x))
    except (TypeError, IndexError, ZeroDivisionError, ValueError) as error:
        return type(error)


@pytest.mark.parametrize("dtype", [nc.float32, nc.int64, nc.bool], ids=str)
def test_what_is_read_serves_like_a_plain_number(dtype: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nc.JitWarning)
        for place, use in enumerate(USES):

            def function(x: Any, use: Any = use) -> Any:
                return use(x.sum().to(dtype).item())

            jitted = compiled(function)
            for number in (1, 2, 0, 1, 2):
                x = nc.tensor([float(number)])
                assert outcome(jitted, x) == outcome(function, x), (place, number)


def test_what_takes_plain_numbers_only_says_what_to_do() -> None:
    with pytest.raises(TypeError, match="not JSON serializable") as caught:
        compiled(lambda x: json.dumps(x.item()))(nc.tensor(1.0))
    assert "give float(number)" in caught.value.__notes__[0]
    function = compiled(lambda x: json.dumps(float(x.item())))
    with pytest.warns(nc.JitWarning, match="is traced at each call"):
        assert [function(nc.tensor(number)) for number in (1.0, 2.0)] == ["1.0", "2.0"]


def test_a_list_of_losses_gets_plain_numbers() -> None:
    losses: list[float] = []

    def function(x: Any) -> None:
        losses.append((x * 2).sum().item())

    with pytest.warns(nc.JitWarning, match="it changes losses"):  # noqa: PT031
        function = compiled(function)
        for number in (1.0, 2.0, 3.0):
            function(nc.tensor([number]))
    assert losses == [2.0, 4.0, 6.0]
    assert all(type(number) is float for number in losses)


def test_results_with_numbers_are_plain() -> None:
    function = compiled(lambda x: {"loss": x.sum().item(), "parts": [x.mean().item() / 2, x + 1]})
    for _ in range(4):
        found = function(nc.tensor([1.0, 2.0]))
        assert type(found["loss"]) is float
        assert type(found["parts"][0]) is float
        assert found["loss"] == 3.0
        assert found["parts"][0] == 0.75


def test_comparing_two_numbers_that_were_read() -> None:
    def function(x: Any, y: Any) -> Any:
        a, b = x.sum().item(), y.sum().item()
        return x - y if a > b else y - x

    function = compiled(function)
    for a, b in ((1.0, 2.0), (3.0, 2.0), (1.0, 5.0), (5.0, 1.0), (2.0, 2.0)):
        assert function(nc.tensor([a]), nc.tensor([b])).item() == abs(a - b)
    assert function.cache_info() == (3, 2, 0, 2)


def test_an_index_out_of_range_is_found_where_a_value_is_read_and_leaves_the_state() -> None:
    table, count = nc.arange(4.0), nc.zeros(())

    def function(index: Any) -> Any:
        count.add_(1)
        found = table[index].sum()
        return found * 2 if found.item() > 0 else found

    function = compiled(function)
    for _ in range(3):
        assert function(nc.tensor([1, 2])).item() == 6.0
    with pytest.raises(IndexError):
        function(nc.tensor([1, 7]))
    assert count.item() == 3.0
    assert function(nc.tensor([1, 2])).item() == 6.0
    assert count.item() == 4.0


def test_a_compiled_function_inside_another_reads() -> None:
    inner = compiled(lambda x: x * 2 if x.sum().item() > 0 else x * 3)
    outer = compiled(lambda x: inner(x) + 1)
    for number in (1.0, -1.0, 2.0, -2.0):
        assert outer(nc.tensor([number])).item() == number * (2 if number > 0 else 3) + 1
    assert outer.cache_info() == (2, 2, 0, 2)


def test_gradients_go_on_outside() -> None:
    weight = nc.tensor([2.0], requires_grad=True)

    def function(x: Any) -> Any:
        y = weight * x
        return y * y.item()

    function = compiled(function)
    for number in (1.0, 2.0, 3.0, 4.0):
        weight.grad = None
        function(nc.tensor([number])).sum().backward()
        assert weight.grad.item() == 2 * number * number


def test_a_gradient_graph_that_leaves_after_a_reading() -> None:
    """Its way back could not be recorded behind the reading: traced, and right."""
    weight = nc.tensor([2.0, 3.0], requires_grad=True)

    def function(x: Any) -> Any:
        y = (weight * x).exp()
        return y, y.sum().item()

    def gradient(f: Any, number: float) -> Any:
        weight.grad = None
        y, total = f(nc.tensor([number, number]))
        (y * 2).sum().backward()
        return total, weight.grad.tolist()

    jitted = compiled(function)
    with pytest.warns(nc.JitWarning, match="it reads a value last and returns a gradient graph"):
        found = [gradient(jitted, number) for number in (1.0, 0.5, 0.25)]
    assert found == [gradient(function, number) for number in (1.0, 0.5, 0.25)]


def test_a_count_that_is_one_number_goes_on_behind_a_reading() -> None:
    norm = nn.BatchNorm1d(2)
    function = compiled(lambda x: norm(x) if x.sum().item() > 0 else x)
    for _ in range(4):
        function(nc.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert norm.num_batches_tracked.item() == 4
    assert function.cache_info().traced == 0
