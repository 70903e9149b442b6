"""Averages of models over training: PyTorch's numbers, and nothing read back after the first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl import nn, optim
from netcl.optim import swa_utils


@pytest.mark.parametrize("kind", ["swa", "ema", "ema_multi", "own"])
def test_averages_are_pytorchs(kind: str, torch: Any) -> None:
    found = []
    for lib in (nc, torch):
        utils = lib.optim.swa_utils
        options = {
            "swa": {},
            "ema": {"avg_fn": utils.get_ema_avg_fn(0.9)},
            "ema_multi": {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.5), "use_buffers": True},
            "own": {"avg_fn": lambda old, new, count: old * 0.25 + new * 0.75},
        }[kind]
        model = lib.nn.Sequential(lib.nn.Linear(2, 2), lib.nn.BatchNorm1d(2))
        averaged = utils.AveragedModel(model, **options)
        for turn in range(4):
            with lib.no_grad():
                for number, p in enumerate([*model.parameters(), model[1].running_mean]):
                    p.copy_(lib.ones(p.shape) * (turn * turn + number))
            averaged.update_parameters(model)
        found.append({name: value.numpy() for name, value in averaged.state_dict().items()})
    assert list(found[0]) == list(found[1])
    for name, value in found[1].items():
        np.testing.assert_allclose(found[0][name], value, rtol=1e-6, err_msg=name)


def test_an_average_continues_after_loading_and_computes_like_its_model() -> None:
    model = nn.Linear(1, 1, bias=False)
    averaged = swa_utils.AveragedModel(model)
    model.weight.data.fill_(1.0)
    averaged.update_parameters(model)
    twin = swa_utils.AveragedModel(model)
    twin.load_state_dict(averaged.state_dict())
    model.weight.data.fill_(3.0)
    twin.update_parameters(model)
    assert (twin.n_averaged.item(), twin(nc.ones(1, 1)).item()) == (2, 2.0)
    with pytest.raises(AssertionError, match="Only one"):
        swa_utils.AveragedModel(model, avg_fn=print, multi_avg_fn=print)
    with pytest.raises(ValueError, match="decay"):
        swa_utils.get_ema_avg_fn(1.5)


def test_batch_statistics_are_computed_anew_and_options_come_back() -> None:
    model = nn.Sequential(nn.BatchNorm1d(1)).eval()
    swa_utils.update_bn([nc.tensor([[0.0], [2.0]]), (nc.tensor([[4.0], [8.0]]), "label")], model)
    assert model[0].running_mean.item() == pytest.approx(3.5)
    assert (model[0].momentum, model.training, model[0].training) == (0.1, False, False)
    swa_utils.update_bn([], nn.Linear(1, 1))


SWALR = [
    {"swa_lr": 0.05},
    {"swa_lr": [0.5], "anneal_epochs": 3, "anneal_strategy": "linear"},
    {"swa_lr": 0.2, "anneal_epochs": 0},
]


@pytest.mark.parametrize("options", SWALR, ids=str)
def test_rates_go_to_swas_as_in_pytorch(options: dict, torch: Any) -> None:
    found = []
    for lib in (nc, torch):
        optimizer = lib.optim.SGD([lib.nn.Parameter(lib.ones(1))], lr=1.0)
        scheduler = lib.optim.swa_utils.SWALR(optimizer, **options)
        rates = [optimizer.param_groups[0]["lr"]]
        for _ in range(12):
            optimizer.step()
            scheduler.step()
            rates.append(optimizer.param_groups[0]["lr"])
        found.append(rates)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)


def test_bad_options_of_swalr() -> None:
    optimizer = optim.SGD([nn.Parameter(nc.ones(1))], lr=1.0)
    with pytest.raises(ValueError, match="anneal_strategy"):
        swa_utils.SWALR(optimizer, 0.1, anneal_strategy="step")
    with pytest.raises(ValueError, match="anneal_epochs"):
        swa_utils.SWALR(optimizer, 0.1, anneal_epochs=-1)
    with pytest.raises(ValueError, match="same length"):
        swa_utils.SWALR(optimizer, [0.1, 0.2])
