"""IterableDataset: PyTorch's batches, shared out between workers by get_worker_info."""

from __future__ import annotations

from typing import Any

import pytest
import worker_datasets as wd

from netcl import data


def batches(loader: Any) -> list[Any]:
    return [batch.tolist() if hasattr(batch, "tolist") else batch for batch in loader]


@pytest.mark.parametrize("options", [{"batch_size": 4}, {"batch_size": 4, "drop_last": True}, {"batch_size": None}])
def test_batches_are_pytorchs(options: dict, torch: Any) -> None:
    class Theirs(torch.utils.data.IterableDataset):
        def __iter__(self) -> Any:
            return iter(range(10))

        def __len__(self) -> int:
            return 10

    ours, theirs = data.DataLoader(wd.Stream(10), **options), torch.utils.data.DataLoader(Theirs(), **options)
    assert batches(ours) == batches(theirs)
    assert len(ours) == len(theirs)


def test_workers_take_their_parts_and_one_may_end_before_the_other() -> None:
    loader = data.DataLoader(wd.Stream(7), 2, num_workers=2, persistent_workers=True)
    for _ in range(2):  # the second pass begins anew
        assert batches(loader) == [[0, 2], [1, 3], [4, 6], [5]]
    loader = data.DataLoader(wd.Stream(3), 1, num_workers=2, prefetch_factor=1)
    assert batches(loader) == [[0], [1], [2]]


def test_without_a_split_every_worker_gives_all_samples() -> None:
    assert batches(data.DataLoader(wd.Stream(3, split=False), 2, num_workers=2)) == [[0, 1], [0, 1], [2], [2]]


def test_chains_give_one_after_the_other() -> None:
    chain = wd.Stream(2) + wd.Stream(3)
    assert isinstance(chain, data.ChainDataset) and len(chain) == 5
    assert list(chain) == [0, 1, 0, 1, 2]
    with pytest.raises(TypeError, match="only supports IterableDataset, not Rows"):
        list(data.ChainDataset([wd.Rows()]))


def test_bad_use_raises_with_the_reason() -> None:
    for options in ({"shuffle": True}, {"sampler": [1]}, {"batch_sampler": [[1]]}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="IterableDataset|batch_size"):
            data.DataLoader(wd.Stream(3), **options)
    with pytest.raises(TypeError, match="no samples by index"):
        wd.Stream(3)[0]
    with pytest.raises(NotImplementedError, match="__iter__"):
        iter(data.IterableDataset())
