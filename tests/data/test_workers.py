"""Worker processes: the same batches in the same order, PyTorch's seeds, no OpenCL, errors with their traceback."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import worker_datasets as wd

import netcl as nc
from netcl import data

X = np.arange(103 * 3, dtype=np.float32).reshape(103, 3)
Y = np.arange(103)


def flat(loader: Any) -> list[Any]:
    return [entry.tolist() if hasattr(entry, "tolist") else entry for batch in loader for entry in batch]


@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"shuffle": True, "drop_last": True}], ids=str)
def test_two_workers_give_the_batches_of_none_and_of_pytorch(options: dict, torch: Any) -> None:
    results = []
    for workers in (0, 2):
        nc.manual_seed(7)
        loader = data.DataLoader(data.TensorDataset(nc.tensor(X), nc.tensor(Y)), 10, num_workers=workers, **options)
        results.append(flat(loader) + flat(loader) + nc.rand(2).tolist())
    torch.manual_seed(7)
    theirs = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), 10, **options
    )
    assert results[0] == results[1] == flat(theirs) + flat(theirs) + torch.rand(2).tolist()


@pytest.mark.long
def test_pytorchs_own_workers_give_the_same_batches(torch: Any) -> None:
    nc.manual_seed(7)
    torch.manual_seed(7)
    ours = data.DataLoader(data.TensorDataset(X, Y), 10, shuffle=True, num_workers=2)
    theirs = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), 10, shuffle=True, num_workers=2,
        multiprocessing_context="spawn",
    )  # fmt: skip
    assert flat(ours) + nc.rand(2).tolist() == flat(theirs) + torch.rand(2).tolist()


def test_batches_arrive_as_tensors_on_the_tensors_own_device(device: nc.Device) -> None:
    dataset = data.TensorDataset(nc.tensor(X), nc.tensor(Y))
    with nc.device(None):
        batches = list(data.DataLoader(data.Subset(dataset, range(5, 15)), 4, num_workers=1))
    assert [type(entry) for entry in batches[0]] == [nc.Tensor, nc.Tensor]
    assert batches[0][0].device is device and batches[0][1].dtype is nc.int64
    np.testing.assert_array_equal(batches[1][0].numpy(), X[9:13])


def test_a_dataset_that_holds_tensors_computes_on_host_arrays_in_a_worker() -> None:
    batches = list(data.DataLoader(wd.Holder(), 6, num_workers=2))
    assert [x.reshape(6).tolist() for x, _ in batches] == [[0, 2, 4, 6, 8, 10], [12, 14, 16, 18, 20, 22]]
    assert batches[0][1].dtype is nc.int64


def test_samples_of_any_structure_are_collated_as_without_workers() -> None:
    for own, their in zip(data.DataLoader(wd.Rows(), 8, num_workers=2), data.DataLoader(wd.Rows(), 8), strict=True):
        assert own["name"] == their["name"]
        for key in ("x", "half"):
            assert own[key].dtype is their[key].dtype and own[key].tolist() == their[key].tolist()


def test_a_collate_function_runs_in_the_worker_and_its_numpy_arrays_stay_such() -> None:
    half, x = next(iter(data.DataLoader(wd.Rows(), 4, num_workers=1, collate_fn=wd.as_plain_arrays)))
    assert type(half) is np.ndarray and isinstance(x, nc.Tensor)
    assert half.tolist() == [0, 0.5, 1, 1.5]


def test_without_batches_samples_come_one_by_one() -> None:
    samples = list(data.DataLoader(wd.Rows(3), batch_size=None, num_workers=2))
    assert [sample["x"].tolist() for sample in samples] == [[0, 0], [1, 1], [2, 2]]
    assert isinstance(samples[0]["x"], nc.Tensor) and samples[2]["half"] == 1.0


def test_batches_come_in_order_though_a_worker_is_slow() -> None:
    assert flat(data.DataLoader(wd.UnevenPace(8), 1, num_workers=2)) == list(range(8))


def test_batch_samplers_are_followed() -> None:
    loader = data.DataLoader(wd.UnevenPace(), batch_sampler=[[3, 1], [2], [7, 8, 9]], num_workers=2)
    assert [batch.tolist() for batch in loader] == [[3, 1], [2], [7, 8, 9]]


def test_workers_never_import_pyopencl() -> None:
    (used, pid) = next(iter(data.DataLoader(wd.Modules(2), 2, num_workers=1)))
    assert used.tolist() == [False, False] and len(set(pid.tolist())) == 1


def test_seeds_are_pytorchs_base_seed_plus_id_and_so_are_the_generators() -> None:
    generator = nc.Generator().manual_seed(5)
    base = nc.random.random_int64(nc.Generator().manual_seed(5))
    samples = list(data.DataLoader(wd.Random(2), None, num_workers=2, generator=generator))
    assert [sample[:3] for sample in samples] == [[0, 2, base], [1, 2, base + 1]]
    assert samples[0][3] != samples[1][3] and samples[0][4] != samples[1][4]
    for sample in samples:
        assert sample[5] == nc.random.permutation(1000, nc.Generator().manual_seed(sample[2])).tolist()


def test_numpys_seed_in_a_worker_is_pytorchs(torch: Any) -> None:
    from torch.utils.data._utils.worker import _generate_state

    for worker, base in ((0, 5), (3, 2**63 - 7)):
        entropy = [worker, base & 0xFFFFFFFF, base >> 32, 0]
        assert np.random.SeedSequence(entropy).generate_state(4).tolist() == _generate_state(base, worker)


def test_persistent_workers_are_the_same_processes_in_each_epoch() -> None:
    loader = data.DataLoader(wd.Modules(4), 2, num_workers=2, persistent_workers=True)
    first, second = ({int(pid) for _, pids in loader for pid in pids} for _ in range(2))
    assert first == second and len(first) == 2


def test_a_new_pass_over_persistent_workers_drops_what_an_abandoned_one_asked_for() -> None:
    loader = data.DataLoader(wd.UnevenPace(9), 1, num_workers=2, persistent_workers=True, prefetch_factor=4)
    abandoned = iter(loader)
    next(abandoned)
    assert flat(loader) == list(range(9))
    with pytest.raises(RuntimeError, match="newer iterator"):
        next(abandoned)


def test_worker_init_fn_runs_first_and_may_change_the_workers_copy() -> None:
    assert flat(data.DataLoader(wd.Marked(2), 1, num_workers=2, worker_init_fn=wd.reseed)) == [100, 101]
    loader = data.DataLoader(wd.Marked(4), 1, num_workers=2, worker_init_fn=wd.fail_at_start)
    with pytest.raises(ValueError, match=r"(?s)worker process 1.*Traceback.*fail_at_start.*no start for me"):
        list(loader)


# ---- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ValueError("bad sample"), ValueError), (KeyError("bad sample"), KeyError),
        (wd.Picky(1, "bad sample"), RuntimeError), (StopIteration("bad sample"), RuntimeError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)  # fmt: skip
def test_an_error_keeps_its_class_and_the_workers_traceback(error: Exception, raised: type[Exception]) -> None:
    batches = iter(data.DataLoader(wd.Failing(error), 2, num_workers=2))
    assert next(batches).tolist() == [0, 1]
    next(batches)
    with pytest.raises(raised) as caught:
        next(batches)
    text = str(caught.value)
    assert text.startswith(f"Caught {type(error).__name__} in DataLoader worker process 0.\nOriginal Traceback")
    assert "worker_datasets.py" in text and "bad sample" in text
    assert next(batches).tolist() == [6, 7]  # the others still come


def test_a_device_in_a_worker_is_refused_with_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)makes batches on the host.*num_workers=0"):
        list(data.DataLoader(wd.UsesDevice(), num_workers=1))


def test_a_worker_that_dies_is_reported_at_once() -> None:
    with pytest.raises(RuntimeError, match=r"pid\(s\) \d+\) exited unexpectedly: exit code 3"):
        list(data.DataLoader(wd.Dying(), num_workers=2))


def test_a_batch_that_takes_too_long_times_out() -> None:
    with pytest.raises(RuntimeError, match="timed out after 1"):
        next(iter(data.DataLoader(wd.Sleeping(), num_workers=1, timeout=1)))


def test_what_cannot_be_pickled_is_refused_with_what_to_do() -> None:
    before = threading.active_count()
    with pytest.raises((AttributeError, TypeError)) as caught:
        iter(data.DataLoader(wd.Rows(), num_workers=2, collate_fn=lambda samples: samples))
    assert "module's top level" in caught.value.__notes__[0]
    assert threading.active_count() == before


def test_bad_options_of_workers_raise_with_what_to_do() -> None:
    for options in (
        {"num_workers": -1}, {"timeout": 3}, {"persistent_workers": True}, {"prefetch_factor": 2},
        {"num_workers": 1, "timeout": -1}, {"num_workers": 1, "prefetch_factor": 0},
        {"num_workers": 1, "multiprocessing_context": "fork"}, {"multiprocessing_context": "spawn"},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="num_workers|option|fork"):
            data.DataLoader(wd.Rows(), **options)
