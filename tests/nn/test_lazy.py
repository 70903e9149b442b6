"""LazyLinear finds its size from its first input; Buffer registers itself."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl import nn


def test_a_lazy_layer_is_drawn_at_its_first_call_with_pytorchs_numbers(torch: Any) -> None:
    found = []
    for lib in (nc, torch):
        lib.manual_seed(3)
        net = lib.nn.Sequential(lib.nn.LazyLinear(2), lib.nn.ReLU())
        assert net[0].has_uninitialized_params()
        net(lib.ones(4, 3))
        assert type(net[0]) is lib.nn.Linear and net[0].in_features == 3
        net(lib.ones(1, 3)).sum().backward()
        found.append([net[0].weight.detach().numpy(), net[0].bias.detach().numpy(), net[0].weight.grad.numpy()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_lazy_layer_takes_its_size_from_a_state_dict_and_can_be_copied() -> None:
    state = nn.Linear(5, 2, bias=False).state_dict()
    layer = nn.LazyLinear(2, bias=False)
    twin = copy.deepcopy(layer)
    layer.load_state_dict(state)
    assert (type(layer), layer.in_features) == (nn.Linear, 5)
    np.testing.assert_array_equal(layer.weight.detach().numpy(), state["weight"].numpy())
    assert layer(nc.ones(1, 5)).shape == (1, 2)
    assert twin(nc.ones(1, 4)).shape == (1, 2)
    assert not layer._forward_pre_hooks


def test_a_parameter_without_a_shape_says_so() -> None:
    layer = nn.LazyLinear(2)
    assert isinstance(layer.weight, nn.UninitializedParameter)
    assert repr(layer.weight) == "<UninitializedParameter>"
    with pytest.raises(RuntimeError, match="uninitialized parameter"):
        _ = layer.weight.shape


def test_a_buffer_is_registered_when_assigned() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.count = nn.Buffer(nc.zeros(1))
            self.scratch = nn.Buffer(nc.ones(2), persistent=False)

    counter = Counter()
    assert [name for name, _ in counter.named_buffers()] == ["count", "scratch"]
    assert list(counter.state_dict()) == ["count"]
    counter.count = nn.Buffer(nc.ones(1))
    assert counter.state_dict()["count"].tolist() == [1.0]
    assert not list(counter.parameters())
    with pytest.raises(TypeError, match="Buffer"):
        nn.Buffer([1.0])
