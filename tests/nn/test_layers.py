"""Layers against PyTorch: initial numbers, results and gradients; and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl import nn

LAYERS: list[tuple[str, tuple, dict[str, Any]]] = [
    ("Linear", (6, 5), {}),
    ("Linear", (6, 5), {"bias": False}),
    ("LayerNorm", (6,), {}),
    ("LayerNorm", ((4, 6),), {"eps": 1e-3}),
    ("LayerNorm", (6,), {"elementwise_affine": False}),
    ("LayerNorm", (6,), {"bias": False}),
    ("ReLU", (), {}),
    ("LeakyReLU", (0.1,), {}),
    ("GELU", (), {}),
    ("GELU", ("tanh",), {}),
    ("Tanh", (), {}),
    ("Sigmoid", (), {}),
    ("SiLU", (), {}),
    ("Softmax", (1,), {}),
    ("LogSoftmax", (-1,), {}),
    ("Flatten", (), {}),
    ("Flatten", (0, 1), {}),
    ("Identity", (3,), {}),
]


@pytest.mark.parametrize(("name", "args", "options"), LAYERS, ids=lambda x: str(x))
def test_a_layer_starts_computes_and_differentiates_as_in_pytorch(name: str, args: tuple, options: dict) -> None:
    torch = pytest.importorskip("torch")
    nc.manual_seed(5)
    torch.manual_seed(5)
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    for (own_name, own), (their_name, their) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert own_name == their_name
        np.testing.assert_array_equal(own.detach().numpy(), their.detach().numpy())
    x = np.random.default_rng(0).standard_normal((3, 4, 6)).astype(np.float32)
    a, b = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a), theirs(b)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=2e-5, atol=2e-6)
    (y * y).sum().backward()
    (z * z).sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-4, atol=2e-5)
    for own, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(own.grad.numpy(), their.grad.numpy(), rtol=1e-4, atol=2e-5)


def test_dropout_keeps_the_mean_scales_what_stays_and_rests_in_eval() -> None:
    nc.manual_seed(0)
    layer = nn.Dropout(0.25)
    y = layer(nc.ones(40_000)).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(y.mean() - 1) < 0.02
    x = nc.rand(5)
    np.testing.assert_array_equal(layer.eval()(x).numpy(), x.numpy())
    assert not nn.Dropout(1.0)(nc.ones(10)).numpy().any()


INITS: list[tuple[str, dict[str, Any]]] = [
    ("uniform_", {"a": -2, "b": 3}),
    ("normal_", {"mean": 1, "std": 2}),
    ("trunc_normal_", {"std": 0.5, "a": -1, "b": 0.7}),
    ("constant_", {"val": 0.3}),
    ("ones_", {}),
    ("zeros_", {}),
    ("eye_", {}),
    ("xavier_uniform_", {"gain": 2}),
    ("xavier_normal_", {}),
    ("kaiming_uniform_", {"a": math.sqrt(5)}),
    ("kaiming_uniform_", {"nonlinearity": "relu"}),
    ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}),
]


@pytest.mark.parametrize(("name", "options"), INITS, ids=lambda x: str(x))
@pytest.mark.parametrize("shape", [(7, 5), (3, 2)])
def test_init_functions_give_pytorchs_numbers(name: str, options: dict, shape: tuple) -> None:
    torch = pytest.importorskip("torch")
    nc.manual_seed(6)
    torch.manual_seed(6)
    ours = getattr(nn.init, name)(nn.Parameter(nc.zeros(shape)), **options)
    theirs = getattr(torch.nn.init, name)(torch.nn.Parameter(torch.zeros(shape)), **options)
    np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy())
    assert ours.requires_grad
    assert ours.is_leaf


def test_gains_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for kind in ("linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert nn.init.calculate_gain(kind) == pytest.approx(torch.nn.init.calculate_gain(kind))
    assert nn.init.calculate_gain("leaky_relu", 0.2) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.2))


def test_a_whole_model_starts_from_pytorchs_numbers_on_every_device(device: nc.Device) -> None:
    torch = pytest.importorskip("torch")
    nc.manual_seed(0)
    torch.manual_seed(0)
    with device:
        ours = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    theirs = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    for own, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert own.device is device
        np.testing.assert_array_equal(own.detach().numpy(), their.detach().numpy())


def test_bad_arguments_raise_pytorchs_kind_of_error() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        nn.Dropout(1.5)
    with pytest.raises(RuntimeError, match="approximate"):
        nn.GELU("sometimes")
    with pytest.raises(ValueError, match="dim"):
        nn.Softmax()(nc.ones(2, 2))
    with pytest.raises(ValueError, match="fewer than 2"):
        nn.init.kaiming_uniform_(nc.zeros(3))
    with pytest.raises(ValueError, match="Mode"):
        nn.init.kaiming_uniform_(nc.zeros(3, 3), mode="fan")
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        nn.init.calculate_gain("1d")
    with pytest.raises(RuntimeError, match="linear"):
        nn.Linear(3, 2)(nc.ones(2, 4))
