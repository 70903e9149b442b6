"""Datasets and loaders: PyTorch's batches for the same seed, one upload per batch, clear errors."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl import data
from netcl.core import launch

X = np.arange(103 * 3, dtype=np.float32).reshape(103, 3)
Y = np.arange(103)


def both_datasets() -> tuple[Any, Any, Any]:
    torch = pytest.importorskip("torch")
    from torch.utils import data as torch_data

    ours = data.TensorDataset(nc.tensor(X), nc.tensor(Y))
    return torch, ours, torch_data.TensorDataset(torch.tensor(X), torch.tensor(Y))


def assert_same_batches(ours: Any, theirs: Any) -> None:
    assert len(ours) == len(theirs)
    for own, their in zip(ours, theirs, strict=True):
        assert isinstance(own, list)
        for a, b in zip(own, their, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
            assert a.numpy().dtype == b.numpy().dtype


@pytest.mark.parametrize("own_generator", [False, True])
@pytest.mark.parametrize(
    "options",
    [{"batch_size": 10}, {"batch_size": 10, "shuffle": True}, {"batch_size": 16, "shuffle": True, "drop_last": True}],
    ids=str,
)
def test_batches_equal_pytorchs_epoch_after_epoch(options: dict, own_generator: bool) -> None:
    torch, a, b = both_datasets()
    nc.manual_seed(7)
    torch.manual_seed(7)
    ours = data.DataLoader(a, **options, generator=nc.Generator().manual_seed(3) if own_generator else None)
    generator = torch.Generator().manual_seed(3) if own_generator else None
    theirs = torch.utils.data.DataLoader(b, **options, generator=generator)
    for _ in range(2):
        assert_same_batches(ours, theirs)
    assert nc.rand(1).item() == torch.rand(1).item()


def test_splits_subsets_and_concatenations_give_pytorchs_batches() -> None:
    torch, a, b = both_datasets()
    nc.manual_seed(7)
    torch.manual_seed(7)
    ours, theirs = data.random_split(a, [0.75, 0.25]), torch.utils.data.random_split(b, [0.75, 0.25])
    assert [list(part.indices) for part in ours] == [list(part.indices) for part in theirs]
    ours[0] = ours[0] + data.Subset(a, [5, 3])
    theirs[0] = theirs[0] + torch.utils.data.Subset(b, [5, 3])
    for own, their in zip(ours, theirs, strict=True):
        assert_same_batches(data.DataLoader(own, 8, True), torch.utils.data.DataLoader(their, 8, True))


@pytest.mark.parametrize(
    ("count", "drawn", "replacement"), [(10, 100, True), (1000, 70, True), (10, 7, False), (10, 25, False)]
)
def test_random_sampler_gives_pytorchs_indices(count: int, drawn: int, replacement: bool) -> None:
    torch = pytest.importorskip("torch")
    nc.manual_seed(1)
    torch.manual_seed(1)
    ours = data.RandomSampler(range(count), replacement, drawn)
    theirs = torch.utils.data.RandomSampler(range(count), replacement, drawn)
    assert list(ours) == list(theirs)
    assert list(data.SubsetRandomSampler([4, 5, 6])) == list(torch.utils.data.SubsetRandomSampler([4, 5, 6]))


def test_every_sample_comes_once_in_a_shuffled_epoch() -> None:
    loader = data.DataLoader(data.TensorDataset(nc.tensor(Y)), batch_size=10, shuffle=True)
    first, second = (np.concatenate([batch[0].numpy() for batch in loader]) for _ in range(2))
    assert sorted(first) == sorted(second) == list(Y)
    assert (first != second).any()


def test_numpy_arrays_and_subsets_are_read_by_whole_batches() -> None:
    dataset = data.Subset(data.TensorDataset(X, Y), range(50, 60))
    (x, y) = next(iter(data.DataLoader(dataset, batch_size=4)))
    np.testing.assert_array_equal(x.numpy(), X[50:54])
    assert y.dtype is nc.int64


def test_a_batch_is_uploaded_once_per_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = data.DataLoader(data.TensorDataset(nc.tensor(X), nc.tensor(Y)), batch_size=50)
    list(loader)  # the host copies are made once
    writes, reads = [], []
    write, read = launch.write, launch.read_into
    monkeypatch.setattr(launch, "write", lambda *args: (writes.append(1), write(*args)))
    monkeypatch.setattr(launch, "read_into", lambda *args: (reads.append(1), read(*args)))
    assert len(list(loader)) == 3
    assert (len(writes), len(reads)) == (6, 0)


def test_a_changed_tensor_is_copied_anew() -> None:
    x = nc.zeros(4)
    loader = data.DataLoader(data.TensorDataset(x), batch_size=4)
    assert next(iter(loader))[0].tolist() == [0, 0, 0, 0]
    nc.nn.init.ones_(x)
    assert next(iter(loader))[0].tolist() == [1, 1, 1, 1]


def test_batches_come_on_the_tensors_own_device(device: nc.Device) -> None:
    with device:
        dataset = data.TensorDataset(nc.tensor(X))
    for (batch,) in data.DataLoader(dataset, batch_size=60):
        assert batch.device is device


class Squares(data.Dataset):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < 5:
            raise IndexError(index)
        return {"x": np.full(2, index, np.float32), "square": index**2, "name": f"s{index}", "half": index / 2}


def test_samples_of_any_structure_are_collated_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    ours = list(data.DataLoader(Squares(), batch_size=2))
    theirs = list(torch.utils.data.DataLoader(Squares(), batch_size=2))
    for own, their in zip(ours, theirs, strict=True):
        assert list(own) == list(their)
        assert own["name"] == their["name"]
        for key in ("x", "square", "half"):
            np.testing.assert_array_equal(own[key].numpy(), their[key].numpy())
            assert own[key].numpy().dtype == their[key].numpy().dtype


def test_default_collate_keeps_named_tuples_and_stacks_tensors() -> None:
    point = namedtuple("point", "x y")
    batch = data.default_collate([point(nc.ones(2), True), point(nc.zeros(2), False)])
    assert isinstance(batch, point)
    assert batch.x.tolist() == [[1, 1], [0, 0]]
    assert batch.y.dtype is nc.bool
    assert data.default_collate([[1, "a"], [2, "b"]])[1] == ("a", "b")


def test_numbers_and_strings_are_collated_as_in_pytorch(torch) -> None:
    for samples in ([1, 2.5], [True, 2], [True, False], [2.5, 1], ["a", "b"], [b"a"], [("x", 1.5), ("y", 2)]):
        ours, theirs = (t.utils.data.default_collate(samples) for t in (nc, torch))
        if isinstance(theirs, torch.Tensor):
            assert str(ours.dtype)[6:] == str(theirs.dtype)[6:]
            assert ours.tolist() == theirs.tolist()
        else:
            assert str(ours).replace("netcl.", "torch.") == str(theirs)


def test_a_collate_function_gets_the_samples_as_they_are() -> None:
    dataset = data.TensorDataset(nc.tensor(X), nc.tensor(Y))
    sums = list(data.DataLoader(dataset, batch_size=100, collate_fn=lambda samples: sum(y.item() for _, y in samples)))
    assert sums == [sum(range(100)), 100 + 101 + 102]


def test_without_batches_samples_come_one_by_one() -> None:
    samples = list(data.DataLoader(Squares(), batch_size=None))
    assert len(samples) == 5
    assert samples[3]["x"].tolist() == [3, 3]


def test_samplers_and_batch_samplers_of_the_user_are_followed() -> None:
    dataset = data.TensorDataset(Y)
    assert [b[0].tolist() for b in data.DataLoader(dataset, sampler=[3, 1, 2], batch_size=2)] == [[3, 1], [2]]
    assert [b[0].tolist() for b in data.DataLoader(dataset, batch_sampler=[[0, 5], [7]])] == [[0, 5], [7]]
    assert len(data.DataLoader(dataset, batch_sampler=[[0, 5], [7]])) == 2


def test_utils_data_is_the_same() -> None:
    from netcl.utils.data import DataLoader

    assert DataLoader is data.DataLoader
    assert nc.utils.data.TensorDataset is data.TensorDataset


def test_bad_arguments_raise_with_what_to_do() -> None:
    dataset = data.TensorDataset(X)
    for options in (
        {"num_workers": -1},
        {"batch_size": 0},
        {"shuffle": True, "sampler": [1]},
        {"batch_size": None, "drop_last": True},
        {"batch_sampler": [[1]], "shuffle": True},
    ):
        with pytest.raises(ValueError, match="option|batch_size"):
            data.DataLoader(dataset, **options)
    with pytest.raises(ValueError, match="Size mismatch"):
        data.TensorDataset(X, Y[:5])
    with pytest.raises(TypeError, match="list"):
        data.TensorDataset([1, 2])
    with pytest.raises(ValueError, match="Sum of input lengths"):
        data.random_split(dataset, [1, 2])
    with pytest.raises(IndexError, match="out of range"):
        data.ConcatDataset([dataset])[103]
    with pytest.raises(ValueError, match="num_samples"):
        data.RandomSampler([])
    with pytest.raises(RuntimeError, match="one shape"):
        data.default_collate([np.zeros(2), np.zeros(3)])
    with pytest.raises(RuntimeError, match="equal size"):
        data.default_collate([(1, 2), (1,)])
    with pytest.raises(TypeError, match="collate_fn"):
        data.default_collate([object()])
    with pytest.raises(TypeError, match="__getitem__"):
        data.DataLoader(iter([1]))
    with pytest.raises(NotImplementedError, match="__getitem__"):
        data.Dataset()[0]
