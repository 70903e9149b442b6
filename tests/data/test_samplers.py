"""Samplers, stacks and splits give PyTorch's indices for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl import data

WEIGHTS = (0.1, 0.9, 0.4, 0.7, 3.0, 0.0, 0.6)


@pytest.mark.parametrize("own_generator", [False, True])
@pytest.mark.parametrize(("drawn", "replacement"), [(1, True), (5, True), (100, True), (1, False), (6, False)])
def test_weighted_random_sampler_gives_pytorchs_indices(
    drawn: int, replacement: bool, own_generator: bool, torch: Any
) -> None:
    nc.manual_seed(3)
    torch.manual_seed(3)
    ours = data.WeightedRandomSampler(
        WEIGHTS, drawn, replacement, nc.Generator().manual_seed(9) if own_generator else None
    )
    generator = torch.Generator().manual_seed(9) if own_generator else None
    theirs = torch.utils.data.WeightedRandomSampler(WEIGHTS, drawn, replacement, generator)
    assert len(ours) == drawn
    for _ in range(3):
        mine, his = list(ours), list(theirs)
        if replacement and drawn > 1:
            assert mine == his
        else:  # PyTorch draws by MKL on Intel CPUs: other numbers there
            exact = torch.empty(3, dtype=torch.double).exponential_(generator=torch.Generator().manual_seed(0))
            host = -np.log1p(-nc.draws.unit_float64(nc.Generator().manual_seed(0).engine, 3))
            if not np.allclose(exact, host):
                pytest.skip("this PyTorch draws exponential numbers by MKL")
            assert mine == his
    assert nc.rand(1).item() == torch.rand(1).item()


def test_weights_may_be_a_tensor_and_none_of_weight_zero_is_drawn() -> None:
    sampler = data.WeightedRandomSampler(nc.tensor(WEIGHTS), 2000)
    counts = np.bincount(list(sampler), minlength=7)
    assert counts[5] == 0 and counts.argmax() == 4
    assert sorted(data.WeightedRandomSampler(WEIGHTS, 6, replacement=False)) == [0, 1, 2, 3, 4, 6]


def test_bad_weights_raise_with_the_reason() -> None:
    for arguments in (([1.0], 0), ([1.0], True), ([1.0], 1, 2), ([[1.0]], 1)):
        with pytest.raises(ValueError, match="should be"):
            data.WeightedRandomSampler(*arguments)
    for weights in ([-1.0, 2], [float("nan")], [float("inf")], [0.0]):
        with pytest.raises(RuntimeError, match="weight"):
            list(data.WeightedRandomSampler(weights, 2))
    with pytest.raises(RuntimeError, match="6 weights above 0"):
        list(data.WeightedRandomSampler(WEIGHTS, 7, replacement=False))


def test_a_sampler_in_a_loader_and_a_batch_sampler_give_pytorchs_batches(torch: Any) -> None:
    nc.manual_seed(3)
    torch.manual_seed(3)
    ours, theirs = data.TensorDataset(np.arange(7)), torch.utils.data.TensorDataset(torch.arange(7))
    for module, dataset, result in ((data, ours, []), (torch.utils.data, theirs, both := [])):
        loader = module.DataLoader(dataset, 4, sampler=module.WeightedRandomSampler(WEIGHTS, 10))
        result += [x.tolist() for (x,) in loader]
        batches = module.BatchSampler(module.SubsetRandomSampler([1, 3, 5, 6, 2]), 2, drop_last=True)
        result += [x.tolist() for (x,) in module.DataLoader(dataset, batch_sampler=batches)]
        if module is data:
            mine = result
    assert mine == both


def test_stacks_give_tuples_or_dicts() -> None:
    tuples, dicts = data.StackDataset(range(3), "abc"), data.StackDataset(x=nc.arange(3), name="abc")
    assert len(tuples) == 3 and tuples[1] == (1, "b")
    batch = next(iter(data.DataLoader(dicts, 3)))
    assert batch["x"].tolist() == [0, 1, 2] and batch["name"] == ["a", "b", "c"]
    for parts, names in (((), {}), (("ab", "abc"), {}), (("ab",), {"x": "ab"})):
        with pytest.raises(ValueError, match="dataset"):
            data.StackDataset(*parts, **names)


@pytest.mark.parametrize("lengths", [[3, 7], [0.3, 0.3, 0.4], [1 / 3, 1 / 3, 1 / 3]])
def test_random_split_gives_pytorchs_parts(lengths: list, torch: Any) -> None:
    ours = data.random_split(range(10), lengths, nc.Generator().manual_seed(42))
    theirs = torch.utils.data.random_split(range(10), lengths, torch.Generator().manual_seed(42))
    assert [list(part) for part in ours] == [list(part) for part in theirs]


def test_an_empty_part_of_a_split_by_fractions_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="split at index 1 is 0"):
        data.random_split(range(3), [1.0, 0.0])
