"""Windows for signals against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc

NAMES = ["hann_window", "hamming_window", "bartlett_window", "blackman_window", "kaiser_window"]


@pytest.mark.parametrize("name", NAMES)
def test_values_and_dtypes_are_pytorchs(torch, device, name):
    for length in (0, 1, 2, 5, 8):
        for periodic in (True, False):
            for dtype in ("float32", "float64"):
                ours, theirs = (getattr(t, name)(length, periodic, dtype=getattr(t, dtype)) for t in (nc, torch))
                assert str(ours.dtype)[6:] == str(theirs.dtype)[6:]
                np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6, atol=2e-7)
    assert getattr(nc, name)(3).dtype is nc.float32


@pytest.mark.parametrize("name", NAMES)
def test_what_pytorch_refuses_is_refused(torch, name):
    for t in (torch, nc):
        with pytest.raises(RuntimeError):
            getattr(t, name)(-1)
        with pytest.raises(RuntimeError):
            getattr(t, name)(3, dtype=t.int64)
