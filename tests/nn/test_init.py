"""Initial values: PyTorch's numbers for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc
from netcl.nn import init

CALLS = {
    "uniform_": [(-0.1, 0.3)],
    "normal_": [(1.0, 0.5)],
    "trunc_normal_": [(), (0.0, 1.0, -0.5, 1.5), (0.0, 1.0, 1.0, 3.0), (0.0, 0.02, 0.05, 0.1)],
    "constant_": [(2.5,)],
    "ones_": [()],
    "zeros_": [()],
    "xavier_uniform_": [(), (2.0,)],
    "xavier_normal_": [(), (0.5,)],
    "kaiming_uniform_": [(), (5**0.5,), (0, "fan_out", "relu")],
    "kaiming_normal_": [(), (0, "fan_out", "tanh")],
    "orthogonal_": [(), (2.0,)],
    "sparse_": [(0.4,), (0.1, 1.0)],
    "eye_": [()],
}
ROUNDED = {"trunc_normal_": 1e-6, "orthogonal_": 1e-5}
SHAPES = {"orthogonal_": [(7, 5), (5, 7), (4, 3, 2)], "xavier_normal_": [(7, 5), (4, 3, 3, 3)]}


@pytest.mark.filterwarnings("ignore:.*mean is more than 2 std")
@pytest.mark.parametrize("name", CALLS)
def test_gives_pytorchs_numbers(torch, name: str):
    nc.manual_seed(5)
    torch.manual_seed(5)
    for shape in SHAPES.get(name, [(7, 5)]):
        for arguments in CALLS[name]:
            ours, theirs = nc.empty(shape), torch.empty(shape)
            assert getattr(init, name)(ours, *arguments) is ours
            getattr(torch.nn.init, name)(theirs, *arguments)
            tolerance = ROUNDED.get(name, 0)
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=tolerance, atol=tolerance)
    assert nc.rand(1).item() == torch.rand(1).item()


@pytest.mark.parametrize(("shape", "groups"), [((3, 16, 5), 1), ((6, 4, 3, 3), 2), ((4, 2, 1, 2, 3), 1)])
def test_dirac_gives_pytorchs_weights(torch, shape: tuple, groups: int):
    ours, theirs = init.dirac_(nc.empty(shape), groups), torch.nn.init.dirac_(torch.empty(shape), groups)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_orthogonal_rows_are_orthogonal(device):
    w = init.orthogonal_(nc.empty(4, 9), gain=3.0).numpy()
    np.testing.assert_allclose(w @ w.T, 9 * np.eye(4), atol=1e-5)


def test_truncated_numbers_lie_between_the_bounds_in_the_tail_too():
    with pytest.warns(UserWarning, match="more than 2 std"):
        x = init.trunc_normal_(nc.empty(500), 0.0, 1.0, 3.0, 4.0).numpy()
    assert x.min() >= 3 and x.max() <= 4
    assert x.mean() < 3.5  # denser where the normal density is higher


def test_a_generator_of_its_own_leaves_the_default_one(device):
    nc.manual_seed(0)
    expected = nc.rand(2).tolist()
    nc.manual_seed(0)
    for fill in (init.uniform_, init.normal_, init.trunc_normal_, init.xavier_normal_, init.kaiming_uniform_):
        own = [fill(nc.empty(3, 4), generator=nc.Generator().manual_seed(2)).tolist() for _ in range(2)]
        assert own[0] == own[1]
    init.orthogonal_(nc.empty(3, 4), generator=nc.Generator())
    assert nc.rand(2).tolist() == expected


def test_parameters_are_filled_outside_the_gradient_graph(device):
    p = nc.nn.Parameter(nc.zeros(2, 2))
    for fill in (init.uniform_, init.ones_, init.eye_, init.orthogonal_):
        assert fill(p) is p
        assert p.requires_grad and p.is_leaf


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: init.eye_(nc.empty(3)), "2 dimensions"),
        (lambda: init.dirac_(nc.empty(3, 3)), "3, 4, or 5"),
        (lambda: init.dirac_(nc.empty(3, 3, 3), 2), "divisible"),
        (lambda: init.orthogonal_(nc.empty(3)), "2 or more"),
        (lambda: init.sparse_(nc.empty(3), 0.1), "2 dimensions"),
        (lambda: init.xavier_normal_(nc.empty(3)), "fewer than 2"),
        (lambda: init.calculate_gain("swish"), "swish"),
    ],
)
def test_bad_input_raises(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.parametrize("name", ["normal", "uniform", "xavier_uniform", "kaiming_normal", "orthogonal", "eye"])
def test_older_names_warn_and_do_the_same(torch, name: str):
    nc.manual_seed(1)
    torch.manual_seed(1)
    with pytest.warns(FutureWarning, match=f"nn.init.{name}_"):
        ours = getattr(nc.nn.init, name)(nc.empty(3, 5))
    with pytest.warns(FutureWarning):
        theirs = getattr(torch.nn.init, name)(torch.empty(3, 5))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_fans_are_found_under_pytorchs_name(torch):
    for t in (nc, torch):
        assert t.nn.init._calculate_fan_in_and_fan_out(t.ones(3, 4)) == (4, 3)
        assert t.nn.init._calculate_fan_in_and_fan_out(t.ones(3, 4, 5)) == (20, 15)
        with pytest.raises(ValueError, match="fewer than 2 dimensions"):
            t.nn.init._calculate_fan_in_and_fan_out(t.ones(3))
