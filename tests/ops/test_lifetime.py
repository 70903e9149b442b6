"""Values keep their numbers: whatever is overwritten, freed, recorded or read elsewhere, and in any thread."""

import gc
import random
import threading

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F


def test_copies_keep_their_numbers_and_views_follow_when_a_parameter_is_updated(target):
    w = nc.tensor(np.arange(12, dtype=np.float32).reshape(3, 4))
    before, view, flat, host = w.clone(), w[1:, ::2], w.reshape(-1), w.numpy()
    pending = w * 2
    for _ in range(4):
        w._assign((w - 0.5)._value)
        nc.synchronize()
    np.testing.assert_array_equal(before.numpy(), host)
    np.testing.assert_array_equal(view.numpy(), host[1:, ::2] - 2)
    np.testing.assert_array_equal(flat.numpy(), host.reshape(-1) - 2)
    np.testing.assert_array_equal(pending.numpy(), host * 2)
    np.testing.assert_array_equal(w.numpy(), host - 2)


def test_results_that_lie_in_an_inputs_memory_survive_its_reuse(target):
    """A sum over a size of 1 is its operand: another result must not take over that memory."""
    for make in (lambda x: x.sum(1), lambda x: x.sum(1, keepdim=True), lambda x: x.amax(1), lambda x: x.mean(1)):
        x = nc.tensor(np.arange(17, dtype=np.float32).reshape(17, 1))
        y = make(x)
        z = x + x
        del x
        np.testing.assert_array_equal(y.numpy().ravel(), np.arange(17))
        np.testing.assert_array_equal(z.numpy().ravel(), np.arange(17) * 2)


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_of_updates_views_and_reads_equal_numpy(seed, target):
    """Tensors are computed from each other, replaced, viewed, dropped, and read at random times."""
    rng = random.Random(seed)
    shapes = [(6, 4), (24,), (1, 4), (4, 6)]
    pool = [(nc.tensor(a), a) for a in (np.arange(np.prod(s)).reshape(s).astype(np.float64) for s in shapes)]
    for _ in range(120):
        choice = rng.random()
        n = rng.randrange(len(pool))
        t, a = pool[n]
        if choice < 0.35:
            f = rng.choice([0.5, -1.0, 2.0])
            pool[n] = (t * f + 1, np.ascontiguousarray(a * f + 1))
        elif choice < 0.5:
            pool.append((t.T, a.T) if t.ndim == 2 else (t.flip(0), a[::-1].copy()))
        elif choice < 0.6:
            pool.append((t.reshape(-1)[1::2], a.reshape(-1)[1::2]) if t.numel() > 2 else (t * 1, a * 1))
        elif choice < 0.7:
            pool.append((t.sum(0, keepdim=True), a.sum(0, keepdims=True)))
        elif choice < 0.8:
            copied, value = t.clone(), a.copy("C")
            t._assign((t - 3)._value)
            a -= 3  # seen by all views of it, in NumPy as here
            pool.append((copied, value))
        elif choice < 0.9:
            np.testing.assert_allclose(t.numpy(), a, rtol=1e-12)
        elif len(pool) > 3:
            del pool[n]
        del t
        if rng.random() < 0.1:
            nc.synchronize()
    for t, a in pool:
        np.testing.assert_allclose(t.numpy(), a, rtol=1e-12)


def test_four_threads_record_and_read_at_the_same_time():
    x = np.random.default_rng(0).standard_normal((33, 20)).astype(np.float32)
    shared = nc.tensor(x)
    pending = shared * 2
    failures = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        try:
            start.wait(10)
            for turn in range(15):
                w = nc.tensor(x, requires_grad=True)
                loss = ((w * number + shared) * pending).sum()
                loss.backward()
                np.testing.assert_allclose(w.grad.numpy(), x * 2 * number, rtol=1e-5)
                expected = ((x.astype(np.float64) * number + x) * (x * 2)).sum()
                np.testing.assert_allclose(loss.item(), expected, rtol=1e-4)
                np.testing.assert_allclose((shared + turn).sum(0).numpy(), (x + turn).sum(0), rtol=1e-4, atol=1e-4)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not failures, failures[0]


def test_a_value_made_pending_in_one_thread_can_be_read_and_used_in_another():
    x = np.arange(8, dtype=np.float32)
    made, read = [], []
    maker = threading.Thread(target=lambda: made.append(nc.tensor(x) * 3 + 1))
    maker.start()
    maker.join()
    reader = threading.Thread(target=lambda: read.append((made[0] * 2).numpy()))
    reader.start()
    reader.join()
    np.testing.assert_array_equal(read[0], (x * 3 + 1) * 2)
    np.testing.assert_array_equal(made[0].numpy(), x * 3 + 1)


def test_a_thread_goes_on_recording_while_another_reads_its_values():
    stop, failures, latest = threading.Event(), [], [nc.tensor([0.0])]

    def read() -> None:
        try:
            last = -1.0
            while not stop.is_set():
                now = latest[0].item()
                assert now >= last
                assert now == int(now)
                last = now
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    value = latest[0]
    for _ in range(400):
        value = value + 1.0
        latest[0] = value
    stop.set()
    for reader in readers:
        reader.join(60)
    assert not failures, failures[0]
    assert value.item() == 400.0


def test_two_runs_of_a_training_step_give_the_same_bits(target):
    def run() -> list[bytes]:
        draws = np.random.default_rng(0)
        x, t = nc.tensor(draws.standard_normal((64, 30)).astype(np.float32)), nc.tensor(draws.integers(0, 10, 64))
        w = nc.tensor(draws.standard_normal((10, 30)).astype(np.float32), requires_grad=True)
        found = []
        for _ in range(3):
            w.grad = None
            loss = F.cross_entropy(F.linear(x, w), t)
            loss.backward()
            w._assign((w.detach() - w.grad * 0.1)._value)
            found += [loss.detach().numpy().tobytes(), w.detach().numpy().tobytes()]
        return found

    assert run() == run()


def test_text_of_tensors_is_pytorchs(torch):
    for data in (
        1.0,
        2,
        True,
        [1.0, 2.5],
        [1.0, 2.0, 3.0],
        [0.0, 0.0],
        [[1, -2], [30, 4]],
        [True, False],
        [float("nan"), 1.0],
        [float("inf"), 2.5],
        [1e-5, 1.0],
        [1e9, 1.0],
        [-1.5, 22.25],
        [],
        [[]],
        [100000.0, 0.5],
        [1.0, 5000.0],
        np.arange(1200.0).tolist(),
        np.linspace(-3, 3, 2400).reshape(30, 80).tolist(),
        np.linspace(0, 1, 60).reshape(3, 4, 5).tolist(),
    ):
        for dtype in ("float32", "float64", "float16", "int32"):
            values = np.array(data)
            if dtype == "int32" and (values.dtype.kind == "f" or values.dtype == bool):
                continue
            if values.dtype.kind != "f" and dtype != "int32":
                ours, theirs = nc.tensor(data), torch.tensor(data)
            else:
                ours, theirs = (
                    nc.tensor(data, dtype=getattr(nc, dtype)),
                    torch.tensor(data, dtype=getattr(torch, dtype)),
                )
            assert repr(ours).replace("netcl.", "torch.") == repr(theirs)
    x = nc.tensor([1.0], requires_grad=True)
    assert repr(x) == "tensor([1.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2.], grad_fn=<MulBackward0>)"
    assert f"{nc.tensor(1.5):.2f}" == "1.50"
    assert "..." in repr(nc.zeros(2000))


def test_a_plan_that_fails_half_way_goes_on_when_it_is_asked_again(monkeypatch, target):
    """Results that have taken over inputs' memory are not computed from it once more."""
    from netcl.core import launch

    def program():
        w = nc.tensor(np.ones(50_000, np.float32))
        total = (w * 3).sum()
        w.add_(total)  # may lie in the old one's memory
        return w, (w.reshape(500, 100) @ nc.ones(100, 7)).sum()  # what is held is part of the plan's key

    for _ in range(2):  # the second time all is planned and built
        with nc.profiler.count_launches() as launches:
            w, second = program()
            expected = second.item()
    left = []
    for failing in range(int(launches)):
        w, second = program()
        real, calls = launch._nd_range, []

        def broken(*arguments, failing=failing, real=real, calls=calls):
            if len(calls) == failing:
                raise RuntimeError("the device went away")
            calls.append(arguments)
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(launch, "_nd_range", broken)
            with pytest.raises(RuntimeError, match="went away"):
                second.item()
        before = launch.launch_counter.count
        assert second.item() == expected
        np.testing.assert_array_equal(w.numpy(), np.full(50_000, 150_001))
        left.append(launch.launch_counter.count - before)
    assert left[0] == int(launches)
    assert left[-1] == 1


def test_a_plan_that_does_not_fit_in_memory_changes_nothing(monkeypatch):
    from netcl.core.errors import OutOfMemoryError

    pool = nc.current_device().pool
    real, calls = type(pool)._create, []

    def full(*arguments):
        calls.append(arguments)
        raise OutOfMemoryError("full")

    with nc.profiler.count_launches() as launches:
        w = nc.tensor(np.ones(5000, np.float32))
        w.mul_(2).add_(w.sum())
        other = w @ w.reshape(5000, 1)
        gc.collect()  # exceptions of other tests hold memory until then
        pool.trim()
        monkeypatch.setattr(type(pool), "_create", full)
        with pytest.raises(OutOfMemoryError):
            other.item()
        monkeypatch.setattr(type(pool), "_create", real)
        assert int(launches) == 0 and calls
    np.testing.assert_array_equal(w.numpy(), np.full(5000, 10002))
    assert other.item() == pytest.approx(10002.0**2 * 5000, rel=1e-5)
