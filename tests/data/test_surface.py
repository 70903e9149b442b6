"""utils.data has PyTorch's names and places, its hints, and its ways to read several samples at once."""

from __future__ import annotations

from typing import Any

import pytest

import netcl as nc
from netcl.utils import data
from netcl.utils.data.dataloader import DataLoader
from netcl.utils.data.dataset import StackDataset, Subset, TensorDataset
from netcl.utils.data.distributed import DistributedSampler

# Pipes and their decorators are another library's business now.
LEFT_OUT = "DFIterDataPipe DataChunk IterDataPipe MapDataPipe argument_validation datapipes functional_datapipe"
LEFT_OUT += " graph graph_settings guaranteed_datapipes_determinism non_deterministic runtime_validation"
LEFT_OUT += " runtime_validation_disabled"


def test_every_name_of_pytorchs_is_there(torch: Any) -> None:
    public = {name for name in dir(torch.utils.data) if not name.startswith("_")}
    missing = {name for name in public - set(LEFT_OUT.split()) if not hasattr(data, name)}
    assert not missing


def test_hints_change_nothing() -> None:
    dataset = TensorDataset(nc.arange(4))
    loader = DataLoader(dataset, batch_size=2, pin_memory=True, pin_memory_device="cpu", in_order=False)
    assert loader.pin_memory is True
    assert [batch.tolist() for (batch,) in loader] == [[0, 1], [2, 3]]


class Squares(data.Dataset):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: Any) -> Any:
        return [i * i for i in index] if isinstance(index, list) else index * index

    def __getitems__(self, indices: list[int]) -> list[int]:
        return [-(i * i) for i in indices]  # tells the two ways apart


def test_several_samples_are_read_by_a_datasets_own_way() -> None:
    part = Subset(Squares(), [3, 1, 2])
    assert (part[0], part[[0, 2]], part.__getitems__([0, 1])) == (9, [9, 4], [-9, -1])
    assert next(iter(DataLoader(part, batch_size=3))).tolist() == [-9, -1, -4]
    plain = Subset([10, 20, 30], [2, 0])
    assert plain.__getitems__([0, 1]) == [30, 10]
    both = StackDataset(Squares(), list(range(10)))
    assert both.__getitems__([2, 3]) == [(-4, 2), (-9, 3)]
    assert StackDataset(a=Squares()).__getitems__([2]) == [{"a": -4}]

    class Short(Squares):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return []

    with pytest.raises(ValueError, match="Expected 2, got 0"):
        StackDataset(Short()).__getitems__([1, 2])


@pytest.mark.parametrize("count", [10, 3, 12])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_shares_of_processes_are_pytorchs(count: int, drop_last: bool, shuffle: bool, torch: Any) -> None:
    for rank in range(4):
        found = []
        for sampler_class in (DistributedSampler, torch.utils.data.DistributedSampler):
            sampler = sampler_class(range(count), 4, rank, shuffle, 7, drop_last)
            first = list(sampler)
            sampler.set_epoch(3)
            found.append((len(sampler), first, list(sampler)))
        assert found[0] == found[1]


def test_a_share_needs_a_rank() -> None:
    with pytest.raises(RuntimeError, match="num_replicas and rank"):
        DistributedSampler(range(3))
    with pytest.raises(ValueError, match="Invalid rank"):
        DistributedSampler(range(3), 2, 2)
