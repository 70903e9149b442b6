"""Making tensors: what of, which dtype, which numbers."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc


def same(ours, theirs, exact=True):
    """A netcl and a PyTorch tensor agree in dtype, shape and elements."""
    assert ours.dtype.name == str(theirs.dtype).removeprefix("torch.")
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert ours.requires_grad == theirs.requires_grad
    if exact:
        np.testing.assert_array_equal(ours.float().detach().numpy(), theirs.float().detach().numpy())
    else:
        np.testing.assert_allclose(
            ours.double().detach().numpy(), theirs.double().detach().numpy(), rtol=3e-6, atol=1e-6
        )


EXACT = {
    "arange": [
        "arange(5)", "arange(0)", "arange(1, 9, 3)", "arange(9, 1, -3)", "arange(3, 3)",
        "arange(5, dtype=t.uint8)", "arange(3, dtype=t.float16)", "arange(0.5, 3, 1, dtype=t.int64)",
        "arange(2.5, dtype=t.int64)", "arange(True)", "arange(end=3)", "arange(start=1, end=7, step=2)",
        "arange(t.tensor(3))", "arange(10, requires_grad=True, dtype=t.float32)", "arange(4.0)",
    ],
    "filled": [
        "zeros(2, 3)", "zeros(size=(2, 3))", "zeros((2, 3), dtype=t.int8)", "ones([2])",
        "ones(())", "full((2,), 3)", "full((2,), 2.5)",
        "full((2, 0), True)", "full((2,), 1.7, dtype=t.int32)", "full((2,), -1, dtype=t.uint8)",
        "full((2,), t.tensor(2))", "full_like(t.ones(2, dtype=t.int32), 2.5)", "zeros_like(t.ones(2).int())",
        "ones_like(t.ones(2).int(), dtype=t.float64)", "scalar_tensor(2)", "zeros(2, requires_grad=True)",
        "ones(2).int().new_zeros(3, 1)", "ones(2).new_ones((2, 2), dtype=t.int64)", "ones(2).new_full((2,), 7)",
        "ones(2).int().new_tensor([1.9, 2])", "ones(2).new_tensor([1, 2])", "ones(1).new_zeros(())",
    ],
    "eye": ["eye(3)", "eye(2, 4)", "eye(4, 2, dtype=t.int64)", "eye(2, dtype=t.bool)", "eye(0)"],
    "taken": [
        "as_tensor([1, 2.5])", "as_tensor(3)", "as_tensor(t.ones(2), dtype=t.int8)", "asarray([1, 2])",
        "asarray(t.ones(2), requires_grad=True)", "asarray(t.ones(2), dtype=t.int32, copy=True)",
        "asarray(bytearray(b'abcd'), dtype=t.uint8)", "frombuffer(bytearray(b'abcdef'), dtype=t.int16)",
        "frombuffer(bytearray(b'abcdef'), dtype=t.uint8, count=2, offset=3)",
        "asarray(n.ones((2, 3)))", "from_numpy(n.arange(3))", "from_numpy(n.ones((2, 2)).T[::2])",
        "from_numpy(n.ones(()))", "tensor([[1], [2]], dtype=t.float64)",
    ],
}  # fmt: skip


@pytest.mark.parametrize("group", EXACT)
def test_makes_what_pytorch_makes(torch, device, group: str):
    for text in EXACT[group]:
        ours, theirs = (eval(f"t.{text}", {"t": package, "n": np}) for package in (nc, torch))
        same(ours, theirs)


CLOSE = """
    arange(0, 1, 0.1); arange(1, 0, -0.25); arange(-1.5, 2.5, 0.3, dtype=t.float64); arange(0, 100, 0.37)
    linspace(0, 1, 5); linspace(3, -2, 17); linspace(0, 1, 1); linspace(0, 1, 0); linspace(-5, 5, 8, dtype=t.float64)
    linspace(0, 10, 4, dtype=t.int32); linspace(0.9, 10.9, 4, dtype=t.int64); linspace(1, 2, 1000)
    linspace(t.tensor(1.5), 5, steps=3); logspace(0, 3, 4); logspace(-2, 2, 9, base=2); logspace(1, 2, 1)
    logspace(0, 3, 4, dtype=t.int32); logspace(0, 2.9, 4, base=2, dtype=t.int32); linspace(0, 1, 5, dtype=t.float16)
"""


def test_evenly_spaced_numbers_are_pytorchs(torch, device):
    for text in CLOSE.replace("\n", ";").split(";"):
        if text.strip():
            ours, theirs = (eval(f"t.{text.strip()}", {"t": package}) for package in (nc, torch))
            same(ours, theirs, exact=False)


def test_known_ranges():
    assert nc.arange(1, 0, -0.25).tolist() == [1.0, 0.75, 0.5, 0.25]
    assert nc.linspace(-1, 1, 3).tolist() == [-1.0, 0.0, 1.0]
    assert nc.logspace(0, 2, 3).tolist() == [1.0, 10.0, 100.0]


def test_empty_has_a_shape_a_dtype_and_launches_nothing(device):
    x = nc.ones(2, 3, dtype=nc.int16)
    with nc.profiler.count_launches() as launches:
        made = [nc.empty(2, 3, dtype=nc.int16), nc.empty_like(x), x.new_empty((2, 3)), nc.empty((2, 3), dtype=nc.int16)]
    assert int(launches) == 0
    for tensor in made:
        assert (tensor.shape, tensor.dtype) == ((2, 3), nc.int16)
        assert tensor.numpy().shape == (2, 3)
    assert nc.empty(0).tolist() == []


def test_as_tensor_and_asarray_take_tensors_as_they_are():
    x = nc.ones(2, requires_grad=True)
    assert nc.as_tensor(x) is x
    assert nc.as_tensor(x, dtype=nc.float32) is x
    assert nc.asarray(x) is x
    assert nc.asarray(x, copy=False) is x
    assert nc.asarray(x, copy=True) is not x
    assert not nc.asarray(x, requires_grad=False).requires_grad


def test_arrays_of_other_libraries_keep_their_dtype(torch):
    pandas = pytest.importorskip("pandas")
    for data in (torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.int16), pandas.Series([1.0, 2.0])):
        kept = nc.tensor(data)
        assert kept.dtype.name == str(data.dtype).removeprefix("torch.")
        assert kept.tolist() == data.tolist()
        assert nc.as_tensor(data).dtype is kept.dtype
    assert nc.tensor([nc.tensor(1.0), 2.0]).dtype is nc.float32


def test_arrays_are_copied():
    array = np.zeros(3, np.float32)
    made = [nc.from_numpy(array), nc.as_tensor(array), nc.asarray(array)]
    array[:] = 1
    assert all(tensor.tolist() == [0.0] * 3 for tensor in made)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: nc.arange(5, 0), RuntimeError, "cannot be reached"),
        (lambda: nc.arange(1, 0.5), RuntimeError, "cannot be reached"),
        (lambda: nc.arange(float("nan")), RuntimeError, "unsupported range"),
        (lambda: nc.arange(2, dtype=nc.bool), NotImplementedError, "bool"),
        (lambda: nc.arange("a"), TypeError, "str"),
        (lambda: nc.arange(), TypeError, "NoneType"),
        (lambda: nc.linspace(0, 1, -1), RuntimeError, "non-negative"),
        (lambda: nc.eye(-1), RuntimeError, "negative"),
        (lambda: nc.empty(-1), RuntimeError, "negative"),
        (lambda: nc.empty(2, dtype="float32"), TypeError, "nc.float32"),
        (lambda: nc.from_numpy([1]), TypeError, "ndarray.*list"),
        (lambda: nc.frombuffer(b"abc", dtype=nc.int16), ValueError, "3 bytes"),
        (lambda: nc.frombuffer(b"", dtype=nc.int16), ValueError, "0 bytes"),
        (lambda: nc.frombuffer(b"abcd", dtype=nc.int16, count=3), ValueError, "3 elements"),
        (lambda: nc.asarray([1, 2], copy=False), ValueError, "copied"),
        (lambda: nc.asarray(nc.ones(2), dtype=nc.int32, copy=False), ValueError, "copy=False"),
        (lambda: nc.tensor([1j]), TypeError, "complex"),
        (lambda: nc.zeros(2).new_tensor(1j), TypeError, "complex"),
        (lambda: nc.full((2,), 300, dtype=nc.uint8), RuntimeError, "300"),
    ],
)
def test_bad_input_raises(make, error, text):
    with pytest.raises(error, match=text):
        make()
