"""A plan that stops half-way: what it was to overwrite is as before, all of it, or as after, all of it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.core import launch, replay, runtime

pytestmark = pytest.mark.filterwarnings("ignore:jit_compile. update is split:netcl.JitWarning")
X, Y = [[0.1 * i - 0.3 * j for i in range(8)] for j in range(4)], [0, 1, 2, 3]
STEPS = 6
MEMORY, INVALID_QUEUE = -4, -36  # OpenCL's numbers of errors


class _Failure:
    """What pyopencl makes its errors of."""

    def __init__(self, code: int):
        self.number = code

    def routine(self) -> str:
        return "clEnqueueNDRangeKernel"

    def code(self) -> int:
        return self.number

    def what(self) -> str:
        return ""

    def is_out_of_memory(self) -> bool:
        return self.number == MEMORY


def out_of_memory() -> BaseException:
    return runtime.cl().Error(_Failure(MEMORY))


def device_lost() -> BaseException:
    return runtime.cl().Error(_Failure(INVALID_QUEUE))


FAILURES: dict[str, tuple[Callable[[], BaseException], type[BaseException], int]] = {
    "memory": (out_of_memory, nc.OutOfMemoryError, 2),  # it is tried twice
    "device": (device_lost, RuntimeError, 1),
    "ctrl-c": (KeyboardInterrupt, KeyboardInterrupt, 1),
}


KINDS = (False, True, "read", "split")  # compiled or not; and reading its loss, at the end or on the way


class Attempts:
    """Counts launches that are asked for; from number `first` on, `count` of them fail."""

    def __init__(self, error: Callable[[], BaseException], first: int, count: float):
        self.error, self.first, self.count, self.made = error, first, count, 0

    def __call__(self, *args: Any) -> Any:
        number, self.made = self.made, self.made + 1
        if self.first <= number < self.first + self.count:
            raise self.error()
        return self.real(*args)

    @contextmanager
    def installed(self) -> Iterator[None]:
        module = runtime.cl()._cl  # plans that are made meanwhile take it from there
        self.real = module.enqueue_nd_range_kernel
        launch._nd_range = module.enqueue_nd_range_kernel = self
        try:
            yield
        finally:
            launch._nd_range = module.enqueue_nd_range_kernel = self.real


class Training:
    """A small network, Adam with a schedule, and its step of one of the KINDS."""

    def __init__(self, compiled: bool | str, seed: int = 0):
        nc.manual_seed(seed)
        self.compiled = compiled
        self.model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
        self.optimizer = nc.optim.Adam(self.model.parameters(), lr=0.01)
        self.schedule = nc.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
        self.x, self.y = nc.tensor(X) + seed, nc.tensor(Y)
        self.step = nc.jit_compile(self.update) if compiled else self.update

    def update(self) -> Any:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(self.x), self.y)
        if self.compiled == "split" and loss.item() > 100:
            return None
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item() if self.compiled == "read" else loss

    def numbers(self) -> list[Any]:
        counts = [state["step"] for state in self.optimizer.state.values()]
        return [counts, self.optimizer.param_groups[0]["lr"], self.schedule.last_epoch]

    def state(self) -> list[Any]:
        """Everything that a step changes."""
        return [*self.kept(), [None if p.grad is None else p.grad.tolist() for p in self.model.parameters()]]

    def kept(self) -> list[Any]:
        """What is kept from step to step."""
        weights = [p.tolist() for p in self.model.parameters()]
        moments = [[s["exp_avg"].tolist(), s["exp_avg_sq"].tolist()] for s in self.optimizer.state.values()]
        return [weights, moments, self.numbers()]

    def run(self, steps: int) -> list[list[Any]]:
        """The state after each of some steps."""
        states = []
        for _ in range(steps):
            self.step()
            states.append(self.state())
        return states


@pytest.fixture(scope="module")
def expected() -> dict[bool | str, list[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nc.JitWarning)
        return {compiled: Training(compiled).run(STEPS) for compiled in KINDS}


def raised(work: Callable[[], Any]) -> BaseException | None:
    try:
        work()
    except (RuntimeError, KeyboardInterrupt) as error:
        return error
    return None


def interrupted(compiled: bool | str, attempts: Attempts, kind: type[BaseException]) -> Training | None:
    """A training whose fourth step fails; None where it is done before a launch fails."""
    training = Training(compiled)
    training.run(3)
    with attempts.installed():
        error = raised(training.step)
    assert error is None or type(error) is kind
    if error is not None and not compiled and training.numbers()[0][0] == 4:
        training.schedule.step()  # what stands behind the line that raised
    return training if error is not None else None


def check(training: Training, expected: list[Any]) -> bool:
    """Whether the step is done; it is, or nothing of it is, and training goes on from there."""
    *state, gradients = training.state()
    done = state == expected[3][:3]
    states = expected[2 + done :]
    assert state == states[0][:3]
    assert gradients == expected[3 if done or not training.compiled else 2][3]  # a plain loop has got them by then
    assert training.run(len(states) - 1) == states[1:]
    return done


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("compiled", KINDS)
def test_a_step_that_stops_at_any_launch_is_done_or_has_not_happened(compiled, failure, expected):
    error, kind, tries = FAILURES[failure]
    outcomes = []
    while (training := interrupted(compiled, Attempts(error, len(outcomes), tries), kind)) is not None:
        outcomes.append(check(training, expected[compiled]))
    assert len(outcomes) > 3
    assert outcomes[-1]
    assert not outcomes[0]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("compiled", KINDS)
def test_a_second_failure_raises_again_and_the_next_read_tries_again(compiled, failure, expected):
    error, kind, tries = FAILURES[failure]
    place = 0
    while (training := interrupted(compiled, Attempts(error, place, tries), kind)) is not None:
        before = training.numbers()
        with Attempts(error, 0, tries).installed():
            again = raised(training.state)
        assert again is None or type(again) is kind
        assert training.numbers() == before
        done = check(training, expected[compiled])
        assert done or again is None or not compiled  # gradients of a plain loop are asked for again
        place += 1
    assert place > 3


@pytest.mark.parametrize("compiled", [False, True])
def test_while_the_device_is_away_every_call_and_read_raises_and_nothing_is_counted(compiled, expected):
    place = 0
    while (training := interrupted(compiled, Attempts(device_lost, place, 1), RuntimeError)) is not None:
        before = training.numbers()
        with Attempts(device_lost, 0, float("inf")).installed():
            for _ in range(3):
                assert "INVALID_COMMAND_QUEUE" in str(raised(training.step if compiled else training.state))
                assert training.numbers() == before
        done = check(training, expected[compiled])
        assert done is (before == expected[compiled][3][2])
        place += 1
    assert place > 3


@pytest.mark.parametrize("compiled", [False, True])
def test_other_work_between_leaves_it_alone(compiled, expected):
    """The same plans with other memory and numbers, and others that would take the scratch memory."""
    other = Training(compiled, seed=1)
    others = Training(compiled, seed=1).run(STEPS)
    assert other.run(3) == others[:3]
    place = 0
    while (training := interrupted(compiled, Attempts(device_lost, place, 1), RuntimeError)) is not None:
        between = Training(compiled, seed=1)
        assert between.run(STEPS) == others
        nc.randn(40, 30).softmax(1).matmul(nc.randn(30, 50)).sum(0).tolist()
        check(training, expected[compiled])
        place += 1
    assert place > 3


def stopped_late(compiled: bool | str) -> tuple[Training, int]:
    """A training whose step lacks its last launch, and how many there are in one."""
    training, count = Training(compiled), Attempts(device_lost, 0, 0)
    training.run(3)
    with count.installed():
        training.step()
    stopped = interrupted(compiled, Attempts(device_lost, count.made - 1, 1), RuntimeError)
    assert stopped is not None
    return stopped, count.made


@pytest.mark.parametrize("compiled", [False, True])
def test_threads_that_read_at_once_have_it_done_once(compiled, expected):
    training, _ = stopped_late(compiled)
    tensors = list(training.model.parameters())
    found: list[Any] = [None] * len(tensors)
    together = threading.Barrier(len(tensors))

    def read(number: int) -> None:
        together.wait()
        found[number] = tensors[number].tolist()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(len(tensors))]
    attempts = Attempts(device_lost, 0, 0)
    with attempts.installed():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert attempts.made == 1
    assert found == expected[compiled][3][0]
    assert check(training, expected[compiled])


@pytest.mark.parametrize("compiled", [False, True])
def test_what_is_computed_or_compiled_next_comes_after_it(compiled, expected):
    training, _ = stopped_late(compiled)
    model = nc.jit_compile(lambda x: training.model(x).sum(), fullgraph=True)
    found = model(training.x).item()  # recorded: a value that waits is no reason against it
    double = [p * 2 for p in training.model.parameters()]
    assert found == model(training.x).item()
    assert [d.tolist() for d in double] == [(p * 2).tolist() for p in training.model.parameters()]
    assert check(training, expected[compiled])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_after_a_batch_that_does_not_fit_training_goes_on_with_others(compiled, steps, expected, monkeypatch):
    training = Training(compiled)
    training.run(steps)
    before = training.kept()
    small = training.x, training.y
    training.x, training.y = nc.ones(100_000, 8), nc.zeros(100_000, dtype=nc.int64)
    nc.synchronize()
    pool = nc.current_device().pool
    pool.trim()
    with monkeypatch.context() as patch:
        patch.setattr(pool, "limit", pool.reserved + 1_000_000)
        for _ in range(2):
            with pytest.raises(nc.OutOfMemoryError):
                training.step()
            assert training.kept() == before
        training.x, training.y = small
        assert training.run(STEPS - steps) == expected[compiled][steps:]


@pytest.mark.parametrize("compiled", [False, True])
def test_synchronize_has_it_done(compiled):
    _, launches = stopped_late(compiled)
    training, _ = stopped_late(compiled)
    attempts = Attempts(device_lost, 0, 0)
    with attempts.installed():
        nc.synchronize()
    assert attempts.made >= 1
    with attempts.installed():
        made = attempts.made
        training.state()
    assert attempts.made == made < launches


@pytest.mark.parametrize("compiled", [False, True])
def test_the_error_says_what_becomes_of_it(compiled):
    for place, said in ((0, False), (stopped_late(compiled)[1] - 1, True)):
        training = Training(compiled)
        training.run(3)
        with Attempts(out_of_memory, place, 2).installed():
            error = raised(training.step)
        assert error is not None
        assert ("the rest done first" in "".join(getattr(error, "__notes__", []))) is said


@pytest.mark.parametrize("compiled", [False, True])
def test_memory_of_a_step_that_has_not_happened_is_free_while_its_error_is_handled(compiled):
    training = Training(compiled)
    training.run(3)
    device = nc.current_device()
    replay.forget_scratch()
    before = device.pool.in_use
    with Attempts(out_of_memory, 0, 2).installed():
        try:
            training.step()
        except nc.OutOfMemoryError:
            assert device.pool.in_use <= before
        else:
            raise AssertionError("it did not fail")
