"""set_default_dtype: what is made without a dtype, what numbers become, and the parameters of layers, as in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc

# Each makes a tensor, with `t` either of the two libraries.
MAKES = {
    "tensor": lambda t: t.tensor([1.5, 2]),
    "tensor of a number": lambda t: t.tensor(1.5),
    "tensor of integers": lambda t: t.tensor([1, 2]),
    "tensor of an array": lambda t: t.tensor(np.array([1.5])),
    "Tensor of integers": lambda t: t.Tensor([1, 2]),
    "Tensor of sizes": lambda t: t.Tensor(2, 3).zero_(),
    "zeros": lambda t: t.zeros(2),
    "ones": lambda t: t.ones(2),
    "full": lambda t: t.full((2,), 1.5),
    "empty": lambda t: t.empty(2).zero_(),
    "eye": lambda t: t.eye(2),
    "scalar_tensor": lambda t: t.scalar_tensor(2),
    "arange": lambda t: t.arange(0.0, 1.0, 0.25),
    "arange of integers": lambda t: t.arange(3),
    "linspace": lambda t: t.linspace(0, 1, 3),
    "logspace": lambda t: t.logspace(0, 1, 3),
    "rand": lambda t: t.rand(20),
    "randn": lambda t: t.randn(20),
    "normal": lambda t: t.normal(0.0, 1.0, (3,)),
    "as_tensor": lambda t: t.as_tensor([0.5]),
    "zeros_like": lambda t: t.zeros_like(t.tensor([1])),
    "new_zeros": lambda t: t.tensor([1]).new_zeros(2),
    "integers and a number": lambda t: t.arange(4) * 1.5,
    "an integer and a number": lambda t: t.tensor(2) + 0.5,
    "integers divided": lambda t: t.arange(4) / 2,
    "integers and integers divided": lambda t: t.arange(4) / t.tensor([2, 2, 2, 4]),
    "a number divided by integers": lambda t: 1 / t.tensor([2, 4]),
    "exp of integers": lambda t: t.arange(4).exp(),
    "sqrt of bools": lambda t: t.tensor([True, False]).sqrt(),
    "sigmoid of integers": lambda t: t.arange(4).sigmoid(),
    "integers to a power": lambda t: t.arange(1, 4) ** 0.5,
    "where of numbers": lambda t: t.where(t.tensor([True, False]), 1.5, 2.5),
    "where of integers and a number": lambda t: t.where(t.tensor([True, False]), t.tensor([1, 2]), 2.5),
    "float32 and a number": lambda t: t.tensor([1.0], dtype=t.float32) * 1.5,
    "0-d float32 and a number": lambda t: t.tensor(1.0, dtype=t.float32) * 1.5,
    "half and a number": lambda t: t.tensor([1.0], dtype=t.float16) * 1.5,
    "float64 and integers": lambda t: t.tensor([1.0], dtype=t.float64) * t.tensor([1]),
    "float": lambda t: t.tensor([1]).float(),
    "double": lambda t: t.tensor([1]).double(),
    "logsumexp": lambda t: t.arange(3).logsumexp(0),
    "std of": lambda t: t.linspace(0, 1, 3).std(),
    "angle": lambda t: t.tensor([1, -1]).angle(),
    "trapezoid": lambda t: t.trapezoid(t.arange(3)),
    "a parameter": lambda t: t.nn.Linear(2, 2).weight,
    "an embedding": lambda t: t.nn.Embedding(2, 2).weight,
    "a norm's statistics": lambda t: t.nn.BatchNorm1d(2).running_mean,
    "a layer's result": lambda t: t.nn.LayerNorm(2)(t.ones(1, 2)),
}


@pytest.fixture(params=["float64", "float32", "float16", "bfloat16"])
def default(request, torch):
    nc.set_default_dtype(getattr(nc, request.param))
    torch.set_default_dtype(getattr(torch, request.param))
    yield request.param
    nc.set_default_dtype(nc.float32)
    torch.set_default_dtype(torch.float32)


def test_what_is_made_without_a_dtype_has_pytorchs(torch, default, mode):
    for name, make in MAKES.items():
        nc.manual_seed(3)
        torch.manual_seed(3)
        try:
            theirs = make(torch).detach()
        except NotImplementedError:  # some have no narrow form on the CPU
            continue
        ours = make(nc).detach()
        assert str(ours.dtype)[6:] == str(theirs.dtype)[6:], name
        np.testing.assert_allclose(
            ours.double().numpy(), theirs.double().numpy(), rtol={"float64": 1e-12}.get(default, 1e-2), err_msg=name
        )


def test_text_says_the_dtypes_that_are_not_the_default(torch, default):
    for dtype in ("float32", "float64", "float16", "int64"):
        ours = repr(nc.ones(2, dtype=getattr(nc, dtype)))
        assert ours == repr(torch.ones(2, dtype=getattr(torch, dtype))).replace("torch.", "netcl.")


def test_limits_and_result_types_follow(torch, default):
    assert nc.get_default_dtype() is getattr(nc, default)
    assert nc.finfo().bits == torch.finfo().bits
    assert str(nc.result_type(nc.tensor([1]), 1.0))[6:] == str(torch.result_type(torch.tensor([1]), 1.0))[6:]


def test_plans_of_one_default_are_not_those_of_another(device):
    results = []
    for dtype in (nc.float32, nc.float64, nc.float32, nc.float64):
        nc.set_default_dtype(dtype)
        results.append((nc.arange(3) * 7 + 1).sqrt())
    nc.set_default_dtype(nc.float32)
    assert [x.dtype for x in results] == [nc.float32, nc.float64] * 2
    np.testing.assert_allclose(results[3].numpy(), np.sqrt([1, 8, 15]), rtol=1e-15)
    np.testing.assert_array_equal(results[0].numpy(), results[2].numpy())


def test_a_model_trains_in_float64(torch):
    losses = []
    for t in (nc, torch):
        t.set_default_dtype(t.float64)
        t.manual_seed(0)
        model = t.nn.Sequential(t.nn.Linear(3, 8), t.nn.Tanh(), t.nn.Linear(8, 1))
        optimizer = t.optim.Adam(model.parameters(), lr=0.05)
        x = t.randn(16, 3)
        for _ in range(5):
            optimizer.zero_grad()
            loss = t.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
            loss.backward()
            optimizer.step()
        assert loss.dtype is t.float64
        losses.append(loss.item())
        t.set_default_dtype(t.float32)
    assert losses[0] == pytest.approx(losses[1], rel=1e-10)


def test_only_floating_point_dtypes_can_be_the_default():
    for wrong in (nc.int64, nc.bool):
        with pytest.raises(TypeError, match="floating"):
            nc.set_default_dtype(wrong)
    with pytest.raises(TypeError, match="dtype"):
        nc.set_default_dtype("float64")
    assert nc.get_default_dtype() is nc.float32


def test_the_class_makes_floats_of_integers_and_takes_sizes(torch, device):
    for t in (nc, torch):
        for data in ([1, 2], [[1], [2]], [True, False], np.arange(3), np.array([1.5]), range(3), []):
            assert t.Tensor(data).dtype is t.float32
        np.testing.assert_array_equal(t.Tensor([1, 2]).numpy(), np.float32([1, 2]))
        assert t.Tensor(2, 3).shape == (2, 3) and t.Tensor(3).shape == (3,) and t.Tensor().shape == (0,)
        assert t.Tensor(t.zeros(2, 3).shape).shape == (2, 3)
        shared = t.arange(3)
        assert t.Tensor(shared).dtype is t.int64
        t.Tensor(shared).add_(1)
        np.testing.assert_array_equal(shared.numpy(), [1, 2, 3])
        for wrong in (2.5, True):
            with pytest.raises(TypeError):
                t.Tensor(wrong)
        with pytest.raises(RuntimeError):
            t.Tensor(2, -1)
    assert nc.Tensor([1, 2], dtype=nc.int64).dtype is nc.int64
    assert nc.Tensor([1, 2], requires_grad=True).requires_grad
