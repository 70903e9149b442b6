"""Casts between all dtypes, bit for bit, and host arrays of every kind."""

import ml_dtypes
import numpy as np
import pytest

import netcl as nc

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")


def examples(name: str) -> np.ndarray:
    dtype, draws = getattr(nc, name).numpy, np.random.default_rng(0)
    if name == "bool":
        return np.array([True, False] * 20)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        ends = np.array([limits.min, limits.max, 0, 1, limits.max - 1, limits.min + 1], dtype)
        return np.concatenate(
            [ends, draws.integers(limits.min, limits.max, 61, dtype=dtype), np.arange(30).astype(dtype)]
        )
    if name in ("float16", "bfloat16"):
        return np.arange(2**16, dtype=np.uint16).view(dtype)  # all of them
    edges = [
        0,
        -0.0,
        1,
        np.inf,
        -np.inf,
        np.nan,
        65504,
        65519.99,
        65520,
        65536,
        1e-8,
        6e-8,
        2.98e-8,
        1e-45,
        3.4e38,
        255.5,
        -1.5,
        -300,
    ]
    ties = [
        (np.arange(1, 1000) + 0.5) * 2.0**-24,
        1 + np.arange(500) * 2.0**-11,
        1 + np.arange(500) * 2.0**-8 + 2.0**-9,
    ]
    spread = draws.standard_normal(2000) * 10.0 ** draws.integers(-8, 5, 2000)
    return np.concatenate([edges, spread, *ties]).astype(dtype)


def test_casts_round_as_numpy_does_bit_for_bit(place):
    for source in DTYPES:
        x = examples(source)
        tensor = nc.tensor(x)
        results = {name: tensor.to(getattr(nc, name)) for name in DTYPES}  # pending together: one kernel
        for name, result in results.items():
            assert result.dtype is getattr(nc, name)
            dtype = getattr(nc, name).numpy
            with np.errstate(all="ignore"):
                through = x
                if dtype.itemsize == 2 and dtype.kind != "i" and source in ("float64", "int64", "int32"):
                    through = x.astype(np.float32)  # as PyTorch does: narrow floats are rounded from float32
                expected = through.astype(dtype)
            got = result.numpy()
            if dtype.kind in "iu" and getattr(nc, source).category == 2:
                limits = np.iinfo(np.int32 if dtype.itemsize < 8 else dtype)  # beyond that C leaves it open
                with np.errstate(invalid="ignore"):
                    wide = x.astype(np.float64)
                    defined = np.abs(wide) < float(limits.max)  # not NaN either
                got, expected = got[defined], wide[defined].astype(np.int64).astype(dtype)
            with np.errstate(invalid="ignore"):  # bfloat16 has signalling NaNs
                nan = (expected != expected) & (got != got)
            np.testing.assert_array_equal(got[~nan], expected[~nan], err_msg=f"{source} -> {name}")
            if dtype.kind not in "iub":
                assert (np.signbit(got) == np.signbit(expected))[~nan].all(), (source, name)


def test_casts_equal_pytorchs_where_numbers_do_not_fit(torch):
    x = np.array([300.0, -1.0, 256.5, -129.0, 70000.0, 3e9, -3e9] * 5, np.float32)
    for name in ("uint8", "int8", "int16", "int64", "float16", "bfloat16", "bool"):
        ours = nc.tensor(x[:25] if name != "int64" else x).to(getattr(nc, name))
        theirs = torch.tensor(x[:25] if name != "int64" else x).to(getattr(torch, name))
        np.testing.assert_array_equal(ours.numpy().astype(np.float64), theirs.double().numpy(), err_msg=name)


def test_results_that_stay_in_registers_are_rounded_by_a_cast():
    x = nc.tensor(np.array([1 + 2.0**-12, 1e-9, 70000.0], np.float32))
    assert (x.half().float() * 1).tolist() == [1.0, 0.0, float("inf")]
    assert (x.bfloat16().float() * 1).tolist() == [1.0, float(ml_dtypes.bfloat16(1e-9)), 70144.0]


@pytest.mark.parametrize("name", DTYPES)
def test_arrays_go_to_the_device_and_back_unchanged(name):
    x = examples(name)
    back = nc.tensor(x).numpy()
    assert back.dtype == x.dtype
    np.testing.assert_array_equal(back.view(np.uint8), x.view(np.uint8))
    first = nc.tensor(x).reshape(-1)[1].item()
    assert type(first) is (bool if name == "bool" else int if x.dtype.kind in "iu" else float)
    assert all(type(v) is type(first) for v in nc.tensor(x)[:5].tolist())


def test_host_arrays_of_every_layout_arrive_element_for_element():
    base = np.arange(24, dtype=np.float64).reshape(4, 6)
    frozen = base.copy()
    frozen.flags.writeable = False
    for array in (
        base[::-1],
        base[:, ::-2],
        base.T,
        base[1:3, ::3],
        np.broadcast_to(base[0], (3, 6)),
        frozen,
        base[:0],
        base[2, 3],
    ):
        tensor = nc.tensor(array)
        assert tensor.dtype is nc.float64
        assert tuple(tensor.shape) == np.shape(array)
        np.testing.assert_array_equal(tensor.numpy(), array)
        np.testing.assert_array_equal(nc.Tensor.from_host(array).numpy(), array)
    for big_endian in (">f8", ">f4", ">i4", ">i8", ">f2"):
        array = np.arange(5).astype(big_endian)
        assert nc.tensor(array).numpy().dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(nc.tensor(array).numpy(), array)
    changed = base.copy()
    tensor = nc.tensor(changed)
    changed[:] = -1
    np.testing.assert_array_equal(tensor.numpy(), base)  # a copy: later changes of the array are not seen


def test_python_data_gets_pytorchs_dtypes(torch):
    for data in (
        1,
        1.5,
        True,
        [1, 2],
        [1.0, 2],
        [True, 2],
        [[1.5], [2]],
        [],
        [[]],
        (1, 2),
        np.float64(2),
        np.int32(3),
        [np.float64(1)],
        [np.int32(1)],
        np.float16([1]),
        range(3),
        [nc.tensor(1.0), 2.0],
    ):
        ours = nc.tensor(data)
        twin = [1.0, 2.0] if isinstance(data, list) and data and isinstance(data[0], nc.Tensor) else data
        theirs = torch.tensor(twin)
        assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1], data
        assert tuple(ours.shape) == tuple(theirs.shape), data
        assert ours.tolist() == theirs.tolist()


def test_arange_and_full_equal_pytorch(torch):
    for arguments in ((5,), (2, 9), (2, 9, 3), (5, 0, -2), (0, 1, 0.1), (1.5,), (0.0, 3.0, 0.7), (0,)):
        ours, theirs = nc.arange(*arguments), torch.arange(*arguments)
        assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    for arguments in (((2, 3), 1.5), ((2,), 7), ((), True), (3, np.int64(2)), ((2,), -0.0), ((0, 2), 1.0)):
        shape = (arguments[0],) if isinstance(arguments[0], int) else arguments[0]
        ours, theirs = nc.full(*arguments), torch.full(shape, arguments[1])
        assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    zero, negative = nc.full((2,), 0.0), nc.full((2,), -0.0)
    assert (1 / zero).tolist() == [float("inf")] * 2
    assert (1 / negative).tolist() == [-float("inf")] * 2
