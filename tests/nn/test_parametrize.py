"""Parametrizations: a parameter computed from others, PyTorch's numbers, and the way back to a plain one."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl import nn
from netcl.nn.utils import parametrizations, parametrize


class Symmetric(nn.Module):
    def forward(self, x: nc.Tensor) -> nc.Tensor:
        return (x + x.t()) * 0.5

    def right_inverse(self, x: nc.Tensor) -> nc.Tensor:
        return x


class Doubled(nn.Module):
    def forward(self, x: nc.Tensor) -> nc.Tensor:
        return x * 2


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_trains_as_pytorchs(dim: int | None, torch: Any) -> None:
    found = []
    for lib in (nc, torch):
        layer = lib.nn.Linear(3, 2)
        with lib.no_grad():
            layer.weight.copy_(lib.tensor(np.arange(6, dtype=np.float32).reshape(2, 3) - 2))
            layer.bias.copy_(lib.zeros(2))
        lib.nn.utils.parametrizations.weight_norm(layer, dim=dim)
        optimizer = lib.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (layer(lib.ones(4, 3)) ** 2).mean().backward()
            optimizer.step()
        found.append({name: value.detach().numpy() for name, value in layer.state_dict().items()})
        found[-1]["w"] = layer.weight.detach().numpy()
    assert list(found[0]) == list(found[1])
    for name, value in found[1].items():
        np.testing.assert_allclose(found[0][name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_spectral_norm_divides_by_the_largest_singular_value() -> None:
    nc.manual_seed(0)
    layer = parametrizations.spectral_norm(nn.Linear(5, 4))
    assert list(layer.state_dict()) == [
        "bias", "parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v",
    ]  # fmt: skip
    original = layer.parametrizations.weight.original
    for _ in range(30):
        weight = layer.weight
    largest = np.linalg.svd(original.detach().numpy(), compute_uv=False)[0]
    np.testing.assert_allclose(weight.detach().numpy(), original.detach().numpy() / largest, rtol=1e-4, atol=1e-6)
    layer(nc.ones(1, 5)).sum().backward()
    assert original.grad.shape == (4, 5)
    before = layer.eval().weight
    np.testing.assert_array_equal(before.detach().numpy(), layer.weight.detach().numpy())
    with pytest.raises(ValueError, match="positive"):
        parametrizations.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
    with pytest.raises(ValueError, match="no parameter"):
        parametrizations.spectral_norm(nn.ReLU())


def test_a_parameter_is_computed_whenever_it_is_read() -> None:
    layer = nn.Linear(2, 2, bias=False)
    first = layer.weight.detach().numpy()
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert parametrize.is_parametrized(layer) and parametrize.is_parametrized(layer, "weight")
    assert isinstance(layer, nn.Linear) and parametrize.type_before_parametrizations(layer) is nn.Linear
    np.testing.assert_allclose(layer.weight.detach().numpy(), (first + first.T) / 2, rtol=1e-6)
    assert [name for name, _ in layer.named_parameters()] == ["parametrizations.weight.original"]
    parametrize.register_parametrization(layer, "weight", Doubled())
    np.testing.assert_allclose(layer.weight.detach().numpy(), first + first.T, rtol=1e-6)
    assert layer.weight is not layer.weight
    with parametrize.cached():
        assert layer.weight is layer.weight
    twin = copy.deepcopy(layer)
    twin.parametrizations.weight.original.data.fill_(1.0)
    assert twin.weight.tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert layer.weight.tolist() != twin.weight.tolist()
    with pytest.raises(RuntimeError, match="state_dict"):
        pickle.dumps(layer)


def test_assigning_goes_through_the_inverse() -> None:
    layer = nn.Linear(2, 2, bias=False)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    layer.weight = nc.tensor([[1.0, 2.0], [2.0, 3.0]])
    assert layer.parametrizations.weight.original.tolist() == [[1.0, 2.0], [2.0, 3.0]]


def test_parametrizations_can_be_removed() -> None:
    for keep in (True, False):
        layer = nn.Linear(2, 2, bias=False)
        first = layer.weight.detach().numpy()
        parametrize.register_parametrization(layer, "weight", Symmetric())
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=keep)
        assert type(layer) is nn.Linear and list(layer.state_dict()) == ["weight"]
        np.testing.assert_allclose(layer.weight.detach().numpy(), (first + first.T) / 2 if keep else first, rtol=1e-6)
    layer = parametrizations.weight_norm(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="several originals"):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(layer, "weight")
    assert isinstance(layer.weight, nn.Parameter)
    with pytest.raises(ValueError, match="does not have a parametrization"):
        parametrize.remove_parametrizations(layer, "weight")


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")  # PyTorch's
def test_weight_norm_by_a_hook_has_pytorchs_names_and_numbers(torch: Any) -> None:
    found = []
    for lib in (nc, torch):
        layer = lib.nn.Linear(3, 2, bias=False)
        with lib.no_grad():
            layer.weight.copy_(lib.tensor(np.arange(6, dtype=np.float32).reshape(2, 3) - 2))
        assert lib.nn.utils.weight_norm(layer) is layer
        optimizer = lib.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            (layer(lib.ones(4, 3)) ** 2).mean().backward()
            optimizer.step()
        found.append({name: value.detach().numpy() for name, value in layer.state_dict().items()})
        lib.nn.utils.remove_weight_norm(layer)
        assert list(layer.state_dict()) == ["weight"]
        found[-1]["w"] = layer.weight.detach().numpy()
        layer(lib.ones(4, 3))
        with pytest.raises(ValueError, match="not found"):
            lib.nn.utils.remove_weight_norm(layer)
    assert list(found[0]) == list(found[1])
    for name, value in found[1].items():
        np.testing.assert_allclose(found[0][name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    layer = nn.utils.weight_norm(nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="two weight_norm"):
        nn.utils.weight_norm(layer)


def test_spectral_norm_by_a_hook() -> None:
    nc.manual_seed(0)
    layer = nn.utils.spectral_norm(nn.Linear(5, 4))
    assert list(layer.state_dict()) == ["bias", "weight_orig", "weight_u", "weight_v"]
    for _ in range(30):
        layer(nc.ones(1, 5))
    largest = np.linalg.svd(layer.weight_orig.detach().numpy(), compute_uv=False)[0]
    np.testing.assert_allclose(
        layer.weight.detach().numpy(), layer.weight_orig.detach().numpy() / largest, rtol=1e-4, atol=1e-6
    )
    layer(nc.ones(1, 5)).sum().backward()
    assert layer.weight_orig.grad.shape == (4, 5)
    before = layer.weight_u.numpy()
    layer.weight_orig.data.mul_(nc.rand(4, 5))  # another iteration would find another vector
    layer.eval()(nc.ones(1, 5))
    np.testing.assert_array_equal(layer.weight_u.numpy(), before)
    nn.utils.remove_spectral_norm(layer)
    assert list(layer.state_dict()) == ["bias", "weight"]


def test_mistakes_are_refused() -> None:
    class Longer(nn.Module):
        def forward(self, x: nc.Tensor) -> nc.Tensor:
            return x.reshape(-1)

    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="shape or dtype"):
        parametrize.register_parametrization(layer, "weight", Longer())
    with pytest.raises(ValueError, match="does not have a parameter"):
        parametrize.register_parametrization(layer, "other", Doubled())
    with pytest.raises(TypeError, match="Module"):
        parametrize.register_parametrization(layer, "weight", lambda x: x)
    assert list(layer.state_dict()) == ["weight", "bias"]
