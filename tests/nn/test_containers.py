"""Sequential, ModuleList and ModuleDict behave like lists and dicts whose members count."""

from __future__ import annotations

import pytest

import netcl as nc
from netcl import nn


def test_sequential_applies_in_order_and_indexes_like_a_list() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert net(nc.ones(4, 2)).shape == (4, 1)
    assert len(net) == 3
    assert net[-1] is net[2]
    assert isinstance(net[:2], nn.Sequential)
    assert list(net[1:]) == [net[1], net[2]]
    with pytest.raises(IndexError, match="out of range"):
        net[3]


def test_sequential_takes_names_and_keeps_them() -> None:
    net = nn.Sequential({"first": nn.Linear(2, 2), "act": nn.ReLU(), "last": nn.Linear(2, 1)})
    assert list(net.state_dict()) == ["first.weight", "first.bias", "last.weight", "last.bias"]
    del net[1]
    assert [name for name, _ in net.named_children()] == ["first", "last"]
    assert [name for name, _ in net[1:].named_children()] == ["last"]


def test_sequential_can_be_changed() -> None:
    net = nn.Sequential(nn.ReLU())
    net.append(nn.Tanh()).insert(0, nn.Identity())
    assert [type(m).__name__ for m in net] == ["Identity", "ReLU", "Tanh"]
    net[1] = nn.Sigmoid()
    assert type(net.pop()).__name__ == "Tanh"
    assert [type(m).__name__ for m in net + nn.Sequential(nn.GELU())] == ["Identity", "Sigmoid", "GELU"]
    with pytest.raises(ValueError, match="Sequential"):
        net + [nn.ReLU()]


def test_module_list_members_are_parameters_of_the_owner() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    layers.extend([nn.Linear(2, 2)])
    assert len(list(layers.parameters())) == 8
    assert len(layers[1:]) == 3
    del layers[0]
    assert next(iter(layers.state_dict())) == "0.weight"
    with pytest.raises(NotImplementedError):
        layers(nc.ones(1))


def test_module_dict_is_a_dict() -> None:
    parts = nn.ModuleDict({"a": nn.Linear(1, 1)})
    parts["b"] = nn.ReLU()
    assert list(parts) == ["a", "b"]
    assert "a" in parts
    assert len(parts) == 2
    assert isinstance(parts.pop("b"), nn.ReLU)
    assert list(parts.keys()) == ["a"]
    with pytest.raises(KeyError):
        del parts["z"]
    parts.clear()
    assert not list(parts.parameters())


def test_modules_are_found_under_pytorchs_longer_names():
    assert nc.nn.modules.Linear is nc.nn.modules.linear.Linear is nc.nn.Linear
    assert nc.nn.modules.container.ModuleList is nc.nn.modules.ModuleList is nc.nn.ModuleList
    assert not hasattr(nc.nn.modules, "no_such_name")
