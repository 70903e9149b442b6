"""Tensors as text: what PyTorch prints, to the letter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import netcl as nc

ARRAYS = {
    "numbers": [
        1.5, 3, True, np.float32(1e10), float("nan"), -float("inf"), 0.0, -0.0, 1e-5, 12345.678, 1e8, 1.1e8, 100000.0,
    ],
    "rows": [
        [1.0, 2.5, -3.25], [1, -20, 300], [True, False], [0.0, 0.0], [1.0, float("nan")], [float("inf"), 0.5, 1.0],
        [1e-5, 1.0], [1.0, 1001.0], [1.0, 999.0], [0.5, 600.0], [1e9, 1.0], [float("nan"), float("inf")],
        [1e-4, 2e-4], [9e-5, 2e-4], [-1.0, -0.0], [99999.5], [1e-40], [123456789.0],
    ],
    "shapes": [
        [[1.0, 2.0], [3.5, 4.0]], [[[1], [2]], [[3], [4]]], [], [[]], np.zeros((2, 0, 3)), np.zeros((0,), np.int64),
        np.zeros((1, 1, 1, 2)), np.arange(30.0), np.arange(100), np.linspace(-1, 1, 41, dtype=np.float32),
        np.arange(60.0).reshape(2, 30),
    ],
    "summaries": [
        np.arange(1001), np.arange(1000), np.arange(2000.0).reshape(4, 500), np.arange(1200.0).reshape(2, 10, 60),
        np.arange(1100).reshape(1100, 1) % 7, np.arange(4000.0).reshape(20, 5, 40) / 7, np.zeros((3, 1001), bool),
        np.r_[np.zeros(600), 1e-7, np.zeros(600)],
    ],
}  # fmt: skip
DTYPES = ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool"]


@pytest.mark.parametrize("group", ARRAYS)
def test_text_is_pytorchs(torch, group: str):
    for data in ARRAYS[group]:
        assert repr(nc.tensor(data)).replace("netcl.", "torch.") == repr(torch.tensor(data))
        assert str(nc.tensor(data)) == repr(nc.tensor(data))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_print_as_pytorchs_do(torch, dtype: str):
    for data in ([[0.1, 2.0, 100.0]], 1, [], [[1, 1], [0, 1]], [1.0] * 25, [[3.14159] * 9] * 2):
        ours = nc.tensor(data).to(getattr(nc, dtype))
        theirs = torch.tensor(data).to(getattr(torch, dtype))
        assert repr(ours).replace("netcl.", "torch.") == repr(theirs)


def test_gradients_are_told(torch):
    for package in (nc, torch):
        texts = [
            repr(package.ones(2, requires_grad=True)),
            repr(package.ones(2, requires_grad=True) * 2),
            repr(package.ones(13, requires_grad=True)),
            repr(package.ones(18, dtype=package.float64, requires_grad=True)),
            repr(package.nn.Parameter(package.zeros(2, 2))),
            repr(package.nn.Parameter(package.zeros(2), requires_grad=False)),
            repr(package.zeros(0, 2, requires_grad=True)),
        ]
        if package is nc:
            ours = [text.replace("netcl.", "torch.") for text in texts]
    assert ours == texts


OPTIONS = [
    {"precision": 2}, {"precision": 0}, {"threshold": 5}, {"threshold": 5, "edgeitems": 1},
    {"threshold": 0, "edgeitems": 0}, {"linewidth": 40}, {"linewidth": 1}, {"sci_mode": True}, {"sci_mode": False},
    {"profile": "short"}, {"profile": "full"}, {"profile": "full", "precision": 1}, {"precision": 8, "sci_mode": True},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_do_what_pytorchs_do(torch, options: dict):
    data = [[1.5, 1e-6], [1e5, 3.0]], list(range(12)), np.arange(24.0).reshape(2, 12), 2.25, np.arange(1100), [0.0]
    with nc.printoptions(**options), torch._tensor_str.printoptions(**options):
        assert nc.get_printoptions() == torch._tensor_str.get_printoptions()
        for x in data:
            assert repr(nc.tensor(x)).replace("netcl.", "torch.") == repr(torch.tensor(x))


def test_options_return_to_what_they_were():
    before = nc.get_printoptions()
    with nc.printoptions(precision=1, sci_mode=True):
        assert repr(nc.tensor([1.25])) == "tensor([1.2e+00])"
    assert nc.get_printoptions() == before
    try:
        nc.set_printoptions(precision=2)
        nc.set_printoptions(edgeitems=5)
        assert (nc.get_printoptions()["precision"], nc.get_printoptions()["edgeitems"]) == (2, 5)
    finally:
        nc.set_printoptions(profile="default")
    assert nc.get_printoptions() == before
    with pytest.raises(ValueError, match="profile"):
        nc.set_printoptions(profile="long")


def test_the_device_is_told_where_it_is_not_the_current_one():
    found = [device for device in nc.devices() if device.kind != "accelerator" and device.error is None]
    if len(found) < 2:
        pytest.skip("needs two devices")
    with found[0]:
        assert repr(nc.zeros(1, device=found[1])) == f"tensor([0.], device='{found[1]}')"
        assert "device" not in repr(nc.zeros(1))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.int32, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9),
        fill=st.nothing(),
    ),
    st.integers(0, 5),
    st.sampled_from([2, 1000]),
)
def test_any_array_prints_as_with_pytorch(array, precision, threshold):
    torch = pytest.importorskip("torch")
    options = {"precision": precision, "threshold": threshold}
    with nc.printoptions(**options), torch._tensor_str.printoptions(**options):
        assert repr(nc.tensor(array)).replace("netcl.", "torch.") == repr(torch.tensor(array))
