"""Normalisation layers against PyTorch's: results, gradients, running statistics, launches, and what they refuse."""

from __future__ import annotations

import copy
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.core.device import target_override

X4 = np.random.default_rng(0).standard_normal((4, 6, 3, 5)).astype(np.float32) * 3 + 1


def pair(torch: Any, name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """The layer in both libraries, with the same random parameters."""
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    draw = np.random.default_rng(1)
    state = {
        key: draw.uniform(0.5, 1.5, tuple(value.shape)).astype(np.float32)
        for key, value in theirs.state_dict().items()
        if "num" not in key
    }
    ours.load_state_dict({**ours.state_dict(), **state})
    theirs.load_state_dict({**theirs.state_dict(), **{k: torch.tensor(v) for k, v in state.items()}})
    return ours, theirs


def compare(torch: Any, ours: Any, theirs: Any, x: np.ndarray) -> None:
    a, b = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a), theirs(b)
    (y * y * y).sum().backward()
    (z * z * z).sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-3, atol=2e-3)
    for own, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(own.grad.numpy(), their.grad.numpy(), rtol=1e-3, atol=5e-3)
    for own, their in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert str(own.dtype).split(".")[-1] == str(their.dtype).split(".")[-1]
        np.testing.assert_allclose(own.numpy(), their.numpy(), rtol=1e-5, atol=1e-6)


LONG = pytest.mark.long
STATELESS: list[Any] = [
    ("LayerNorm", (5,), {}),
    ("LayerNorm", ((3, 5),), {"bias": False}),
    pytest.param("LayerNorm", ((6, 3, 5),), {"elementwise_affine": False}, marks=LONG),
    ("RMSNorm", (5,), {}),
    pytest.param("RMSNorm", ((3, 5),), {"eps": 1e-3, "elementwise_affine": False}, marks=LONG),
    ("GroupNorm", (3, 6), {}),
    pytest.param("GroupNorm", (1, 6), {"affine": False}, marks=LONG),
    ("LocalResponseNorm", (3,), {"alpha": 0.1}),
    pytest.param("LocalResponseNorm", (2,), {"k": 2.0, "beta": 0.5}, marks=LONG),
]


@pytest.mark.parametrize(("name", "args", "options"), STATELESS, ids=lambda x: str(x))
def test_a_layer_without_state_computes_and_differentiates_as_in_pytorch(
    name: str, args: tuple, options: dict, place: None, torch: Any
) -> None:
    compare(torch, *pair(torch, name, *args, **options), X4)


RUNNING: list[Any] = [
    ("BatchNorm2d", (4, 6, 3, 5), {}),
    ("BatchNorm1d", (12, 30), {"momentum": None}),
    pytest.param("BatchNorm1d", (4, 6, 15), {"affine": False, "momentum": 0.5}, marks=LONG),
    pytest.param("BatchNorm3d", (4, 6, 1, 3, 5), {"track_running_stats": False}, marks=LONG),
    ("InstanceNorm2d", (4, 6, 3, 5), {"affine": True, "track_running_stats": True}),
    ("InstanceNorm1d", (6, 60), {}),
    pytest.param("InstanceNorm3d", (4, 6, 1, 3, 5), {"affine": True}, marks=LONG),
]


@pytest.mark.parametrize(("name", "shape", "options"), RUNNING, ids=lambda x: str(x))
def test_running_statistics_gradients_and_evaluation_are_pytorchs(
    name: str, shape: tuple, options: dict, place: None, torch: Any
) -> None:
    channels = shape[0] if len(shape) == 2 and "Instance" in name else shape[1]
    ours, theirs = pair(torch, name, channels, **options)
    for turn in range(3):
        compare(torch, ours.zero_grad() or ours, theirs.zero_grad() or theirs, X4.reshape(shape) * (turn + 1))
    ours.eval()
    theirs.eval()
    ours.zero_grad()
    theirs.zero_grad()
    compare(torch, ours, theirs, X4.reshape(shape))


def test_values_by_hand() -> None:
    x = nc.tensor([[1.0], [3.0]])
    layer = nn.BatchNorm1d(1, eps=0.0)
    assert layer(x).tolist() == [[-1.0], [1.0]]
    assert layer.running_mean.item() == pytest.approx(0.2)
    assert layer.running_var.item() == pytest.approx(0.9 + 0.1 * 2.0)  # the variance divided by count - 1
    assert (layer.num_batches_tracked.item(), layer.num_batches_tracked.dtype) == (1, nc.int64)
    assert F.rms_norm(nc.tensor([3.0, 4.0]), (2,), eps=0.0).tolist() == pytest.approx([3 / 12.5**0.5, 4 / 12.5**0.5])
    layer.reset_running_stats()
    assert (layer.running_mean.item(), layer.running_var.item(), layer.num_batches_tracked.item()) == (0.0, 1.0, 0)


def test_second_derivatives_agree_with_differences() -> None:
    draw = np.random.default_rng(3)

    def leaf(*shape: int) -> nc.Tensor:
        return nc.tensor(draw.uniform(0.5, 1.5, shape), requires_grad=True)

    x, w, b = leaf(2, 2, 1), leaf(2), leaf(2)
    mean, var = nc.tensor(draw.uniform(0.5, 1, 2)), nc.tensor(draw.uniform(0.5, 1, 2))
    for function in (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        lambda x, w, b: F.batch_norm(x, mean, var, w, b),
    ):
        assert nc.autograd.gradgradcheck(function, (x, w, b), atol=1e-4)


def test_a_forward_pass_is_one_launch_and_a_training_step_of_batch_norm_too() -> None:
    x = nc.tensor(X4)
    layers = [nn.LayerNorm(5), nn.RMSNorm(5), nn.BatchNorm2d(6).eval(), nn.InstanceNorm2d(6, affine=True)]
    for layer in [*layers, nn.BatchNorm2d(6)]:
        layer.requires_grad_(False)(x)
        nc.synchronize()
        with nc.profiler.count_launches() as launches:
            layer(x)._value.realise()
        assert int(launches) <= 1 + (layer.training and isinstance(layer, nn.BatchNorm2d)), layer
    group = nn.GroupNorm(3, 6)
    with nc.profiler.count_launches() as launches, nc.no_grad():
        group(x)._value.realise()
    assert int(launches) <= 2


def test_statistics_are_float32_for_narrow_inputs(torch) -> None:
    x = (X4 * 100).astype(np.float16)
    for dtype, other in ((nc.float16, torch.float16), (nc.bfloat16, torch.bfloat16)):
        for name, args in (("LayerNorm", (5,)), ("BatchNorm2d", (6,))):
            ours, theirs = pair(torch, name, *args)
            y = ours.to(dtype)(nc.tensor(x).to(dtype))
            assert y.dtype is dtype
            expected = theirs.to(other)(torch.tensor(x).to(other)).float()
            np.testing.assert_allclose(y.detach().float().numpy(), expected.detach().numpy(), rtol=2e-2, atol=3e-2)


def test_batch_norm_keeps_its_running_statistics_in_one_place() -> None:
    layer = nn.BatchNorm1d(3)
    mean = layer.running_mean
    state = layer.state_dict()
    layer(nc.rand(4, 3))
    assert layer.running_mean is mean
    assert state["num_batches_tracked"].item() == 1  # a state_dict follows, as PyTorch's does
    twin = copy.deepcopy(layer)
    layer(nc.rand(4, 3))
    assert (layer.num_batches_tracked.item(), twin.num_batches_tracked.item()) == (2, 1)
    assert layer.half().running_var.dtype is nc.float16
    assert layer.num_batches_tracked.dtype is nc.int64


def test_strided_and_empty_inputs() -> None:
    x = nc.tensor(X4)
    turned = x.permute(2, 1, 0, 3)
    for function in (
        lambda t: F.layer_norm(t, (5,)),
        lambda t: F.group_norm(t, 2),
        lambda t: F.batch_norm(t, None, None, training=True),
    ):
        np.testing.assert_allclose(
            function(turned).numpy(), function(nc.tensor(turned.numpy())).numpy(), rtol=1e-5, atol=1e-6
        )
    assert F.layer_norm(nc.zeros(0, 5), (5,)).shape == (0, 5)
    assert nn.BatchNorm1d(3).eval()(nc.zeros(0, 3)).shape == (0, 3)


def test_bad_arguments_raise_pytorchs_kind_of_error() -> None:
    x = nc.tensor(X4)
    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: nn.BatchNorm2d(6)(x[0]), ValueError, r"expected 4D input \(got 3D input\)"),
        (lambda: nn.BatchNorm1d(6)(x), ValueError, "expected 2D or 3D"),
        (lambda: nn.BatchNorm2d(5)(x), RuntimeError, "contain 5|contain 6"),
        (lambda: nn.BatchNorm1d(3)(nc.ones(1, 3)), ValueError, "more than 1 value per channel"),
        (lambda: nn.InstanceNorm1d(3)(nc.ones(2, 3, 1)), ValueError, "more than 1 spatial"),
        (lambda: nn.InstanceNorm1d(3, affine=True)(nc.ones(2, 4, 5)), ValueError, "num_features"),
        (lambda: nn.GroupNorm(4, 6), ValueError, "divisible"),
        (lambda: F.group_norm(x, 4), RuntimeError, "divisible"),
        (lambda: F.layer_norm(x, (3,)), RuntimeError, "normalized_shape"),
        (lambda: F.rms_norm(x, (5,), nc.ones(4)), RuntimeError, "weight has shape"),
        (lambda: F.layer_norm(nc.ones(2, 2, dtype=nc.int64), (2,)), RuntimeError, "floating-point"),
        (lambda: F.batch_norm(x, None, None), RuntimeError, "running_mean"),
        (lambda: F.local_response_norm(nc.ones(2, 2), 2), ValueError, "3D"),
    ]
    for call, kind, text in cases:
        with pytest.raises(kind, match=text):
            call()


def test_dropout_of_channels_keeps_or_drops_each_whole() -> None:
    nc.manual_seed(1)
    for layer, shape in (
        (nn.Dropout1d(0.3), (40, 50, 4)),
        (nn.Dropout2d(0.3), (40, 50, 2, 2)),
        (nn.Dropout3d(0.3), (40, 50, 1, 2, 2)),
        (nn.Dropout1d(0.3), (2000, 4)),
    ):
        x = nc.ones(shape, requires_grad=True)
        y = layer(x)
        y.sum().backward()
        found = y.detach().numpy().reshape(2000, 4)
        assert (found == found[:, :1]).all()
        assert set(np.unique(found)) == {np.float32(0), np.float32(1 / 0.7)}
        assert abs(found.mean() - 1) < 0.06
        np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())
        assert layer.eval()(x) is x


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    nc.manual_seed(2)
    x = nc.randn(200, 200)
    for layer in (nn.AlphaDropout(0.3), nn.FeatureAlphaDropout(0.3)):
        y = layer(x.reshape(200, 200) if isinstance(layer, nn.AlphaDropout) else x.reshape(100, 100, 4)).numpy()
        assert abs(y.mean()) < 0.05
        assert abs(y.std() - 1) < 0.05
        counts = np.unique(y, return_counts=True)[1]
        assert counts.max() / y.size == pytest.approx(0.3, abs=0.03)


def test_dropout_in_place_changes_the_input_and_its_gradient() -> None:
    x = nc.ones(100, requires_grad=True)
    y = x * 2
    z = nn.Dropout(0.5, inplace=True)(y)
    assert z is y
    z.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())
    with pytest.raises(RuntimeError, match="leaf"):
        F.dropout(x, inplace=True)
    with pytest.warns(UserWarning, match="dropout2d"):
        F.dropout2d(nc.ones(2, 3, 4))
    for function in (F.dropout1d, F.dropout2d, F.dropout3d, F.feature_alpha_dropout):
        with pytest.raises(RuntimeError, match="expected"):
            function(nc.ones(3))


@pytest.mark.long
@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(
    shape=st.tuples(st.integers(1, 5), st.sampled_from([2, 4, 8]), st.integers(2, 70)),
    order=st.permutations([0, 1, 2]),
    target=st.sampled_from(["cpu", "gpu"]),
)
def test_any_shape_and_order_of_dimensions(shape: tuple[int, ...], order: list[int], target: str) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(sum(shape)).standard_normal([shape[order.index(axis)] for axis in range(3)])
    for function in (
        lambda lib, t: lib.batch_norm(t, None, None, training=True),
        lambda lib, t: lib.group_norm(t, 2),
        lambda lib, t: lib.layer_norm(t, t.shape[1:]),
    ):
        with target_override(target):
            a = nc.tensor(x, requires_grad=True)
            y = function(F, a.permute(*order))
            (y * y * y).sum().backward()
            found = [y.detach().numpy(), a.grad.numpy()]
        b = torch.tensor(x, requires_grad=True)
        z = function(torch.nn.functional, b.permute(*order))
        (z * z * z).sum().backward()
        np.testing.assert_allclose(found[0], z.detach().numpy(), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found[1], b.grad.numpy(), rtol=1e-7, atol=1e-6)
