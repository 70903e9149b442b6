"""Padding modules and those that move pixels, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc

MODULES = [
    *((f"ConstantPad{d}d", ((1, 2) * d, 3.5), d) for d in (1, 2, 3)),
    *((f"{kind}Pad{d}d", (1,), d) for kind in ("Zero", "Reflection", "Replication", "Circular") for d in (1, 2, 3)),
    ("ReflectionPad2d", ((1, 0, 2, 1),), 2),
    ("PixelShuffle", (2,), 2),
    ("PixelUnshuffle", (2,), 2),
    ("ChannelShuffle", (2,), 2),
    ("Unflatten", (1, (2, 2)), 2),
    ("Unfold", (2,), 2),
]


@pytest.mark.parametrize(("name", "arguments", "dims"), MODULES)
def test_values_and_texts_are_pytorchs(torch, name, arguments, dims):
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 4, 4)[: dims + 2]).astype(np.float32)
    ours, theirs = (getattr(m.nn, name)(*arguments) for m in (nc, torch))
    np.testing.assert_array_equal(ours(nc.tensor(x)).numpy(), theirs(torch.tensor(x)).numpy())
    assert repr(ours) == repr(theirs)


def test_fold_adds_up_what_unfold_spread(torch):
    x = np.random.default_rng(0).standard_normal((2, 12, 9)).astype(np.float32)
    ours, theirs = (m.nn.Fold((4, 4), 2) for m in (nc, torch))
    np.testing.assert_allclose(ours(nc.tensor(x)).numpy(), theirs(torch.tensor(x)).numpy(), rtol=1e-6, atol=1e-6)
    assert repr(ours) == repr(theirs)


def test_modules_refuse_what_pytorchs_refuse(torch):
    for module in (nc, torch):
        with pytest.raises(NotImplementedError):
            module.nn.ReflectionPad1d(1)(module.ones(3))
        with pytest.raises(TypeError):
            module.nn.Unflatten(1, (2.0, 2))
        with pytest.raises(ValueError, match="3D"):
            module.nn.CircularPad1d(1)(module.ones(3))
    with pytest.raises(ValueError, match="4"):
        nc.nn.ZeroPad2d((1, 1))
