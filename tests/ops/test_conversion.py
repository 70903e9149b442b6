"""Tensors in other dtypes, on other devices, in other libraries, and copied."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import netcl as nc

NAMES = "bfloat16 bool byte char double float half int long short".split()


def test_casts_by_name_give_pytorchs_dtypes(torch, device):
    ours, theirs = nc.tensor([0.0, 1.9, -2.0]), torch.tensor([0.0, 1.9, -2.0])
    for name in NAMES:
        if name == "byte":  # of a negative number: undefined
            ours, theirs = ours.abs(), theirs.abs()
        x, y = getattr(ours, name)(), getattr(theirs, name)()
        assert str(x.dtype)[6:] == str(y.dtype)[6:]
        assert x.tolist() == y.tolist()
        assert x.type() == "netcl." + y.type()[6:]
        assert ours.type(y.type()).dtype is ours.type(x.type()).dtype is ours.type(x.dtype).dtype is x.dtype
        assert ours.type_as(x).dtype is x.dtype


def test_every_form_of_to():
    x, other = nc.ones(2, requires_grad=True), nc.ones(1, dtype=nc.int8)
    place = x.device
    for result, dtype in (
        (x.to(nc.int8), nc.int8), (x.to(nc.int8, False, True), nc.int8), (x.to(place, nc.int8), nc.int8),
        (x.to(place, nc.int8, True, True), nc.int8), (x.to(other), nc.int8), (x.to(other, copy=True), nc.int8),
        (x.to(dtype=nc.int8, non_blocking=True), nc.int8), (x.to(str(place), non_blocking=True), nc.float32),
        (x.to(None), nc.float32), (x.to(device=place, dtype=nc.int8), nc.int8), (x.to(None, None, True), nc.float32),
    ):  # fmt: skip
        assert result.dtype is dtype
        assert result.device is place
    assert x.to(nc.float32) is x.to() is x.to(place) is x
    copied = x.to(nc.float32, copy=True)
    assert copied is not x
    copied.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.to(nc.int8, dtype=nc.int8), lambda x: x.to("cpu", "cpu"), lambda x: x.to(nc.int8, "cpu"),
        lambda x: x.to(1.5), lambda x: x.to(nc.int8, True, True, True), lambda x: x.to(nc.int8, 3),
    ],
)  # fmt: skip
def test_to_refuses_what_pytorch_refuses(call):
    with pytest.raises(TypeError, match="to: expected"):
        call(nc.ones(2))


def test_places_by_pytorchs_names():
    x = nc.ones(2)
    if x.device.kind == "cpu":
        assert x.cpu() is x
    with pytest.raises(NotImplementedError, match="gpu"):
        x.cuda()
    assert (x.is_cuda, x.is_cpu, x.is_complex(), nc.is_complex(x)) == (False, x.device.kind == "cpu", False, False)
    assert not nc.cuda.is_available()
    assert nc.cuda.device_count() == 0
    assert x.is_same_size(nc.zeros(2))
    assert not x.is_same_size(nc.zeros(2, 1))
    with pytest.raises(ValueError, match="LongTensor"):
        x.type("torch.SomeTensor")
    with pytest.raises(ValueError, match="invalid type"):
        x.type(int)
    with pytest.raises(TypeError, match="type_as.*int"):
        x.type_as(3)


def test_cpu_is_the_current_device_where_that_is_a_cpu(device):
    x = nc.ones(2)
    assert x.to(device.kind).device is nc.device(device.kind) is device
    assert x.to(device.kind) is x


def test_older_tensor_classes(torch):
    for name in ("BoolTensor", "DoubleTensor", "FloatTensor", "IntTensor", "LongTensor"):
        ours, theirs = getattr(nc, name), getattr(torch, name)
        for argument in ([1, 0], [1.9, 2.0], np.arange(3)):
            x, y = ours(argument), theirs(argument)
            assert x.tolist() == y.tolist()
            assert isinstance(x, ours)
            assert not isinstance(x, nc.HalfTensor)
        assert ours(2, 3).shape == ours(nc.Size([2, 3])).shape == (2, 3)
        assert ours().tolist() == theirs().tolist() == []
    with pytest.raises(TypeError, match="LongTensor.*float32"):
        nc.LongTensor(nc.ones(2))
    with pytest.raises(TypeError, match="LongTensor"):
        nc.LongTensor(2.5)


# ---- other libraries ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", "bool uint8 int8 int16 int32 int64 float16 float32 float64".split())
def test_dlpack_goes_both_ways(torch, device, dtype: str):
    x = nc.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(nc, dtype))
    np.testing.assert_array_equal(np.from_dlpack(x), x.numpy())
    theirs = torch.from_dlpack(x)
    assert str(theirs.dtype) == f"torch.{dtype}"
    np.testing.assert_array_equal(theirs.numpy(), x.numpy())
    for source in (theirs, theirs.numpy().T.copy().T, x):
        back = nc.from_dlpack(source)
        assert back.dtype is x.dtype
        np.testing.assert_array_equal(back.numpy(), x.numpy())
    assert nc.from_dlpack(theirs.t()).tolist() == x.T.tolist()
    assert nc.asarray(theirs).tolist() == x.tolist()


def test_dlpack_refuses_what_it_cannot_do(torch):
    x = nc.ones(2)
    for call in (
        lambda: nc.ones(2, requires_grad=True).__dlpack__(), lambda: x.bfloat16().__dlpack__(),
        lambda: x.__dlpack__(copy=False), lambda: x.__dlpack__(stream=1), lambda: x.__dlpack__(dl_device=(2, 0)),
        lambda: nc.from_dlpack(np.ones(2), copy=False), lambda: nc.from_dlpack(torch.ones(2, dtype=torch.complex64)),
        lambda: nc.from_dlpack(torch.ones(2, dtype=torch.bfloat16)),
    ):  # fmt: skip
        with pytest.raises(BufferError):
            call()
    with pytest.raises(TypeError, match="__dlpack__"):
        nc.from_dlpack([1])
    assert x.__dlpack_device__() == (1, 0)


def test_numpys_functions_take_tensors_and_return_tensors():
    x = nc.tensor([0.0, 1.0])
    result = np.exp(x)
    assert isinstance(result, nc.Tensor)
    np.testing.assert_allclose(result.numpy(), np.exp([0, 1], dtype=np.float32))
    assert np.asarray(x, dtype=np.int64).dtype == np.int64
    assert nc.ones(2, requires_grad=True).numpy(force=True).tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="detach"):
        np.exp(nc.ones(2, requires_grad=True))


def test_elements_as_python_numbers(torch):
    for dtype in ("bool", "uint8", "int64", "bfloat16", "float16", "float32", "float64"):
        x, y = (package.tensor([[0, 1], [3, 2]]).to(getattr(package, dtype)) for package in (nc, torch))
        assert x.tolist() == y.tolist()
        assert type(x.tolist()[0][0]) is type(x[1, 0].item()) is type(y[1, 0].item())
        assert f"{x[1, 0]}" == f"{y[1, 0]}"
    assert f"{nc.tensor(1.23456):.3f}" == "1.235"
    assert f"{nc.tensor(1.5, requires_grad=True):.2f}" == "1.50"
    with pytest.raises(TypeError, match="format"):
        format(nc.ones(2), ".2f")


# ---- copies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_keep_elements_dtype_class_and_gradient_flag(device, how):
    tensor = nc.tensor([[1.5, 2.0]], dtype=nc.bfloat16).T
    parameter = nc.nn.Parameter(nc.tensor([1.0, float("nan")]), requires_grad=False)
    for x in (tensor, parameter, nc.nn.Parameter(nc.zeros(2, 0)), nc.tensor(3, dtype=nc.uint8)):
        copied = how(x)
        assert copied is not x
        assert type(copied) is type(x)
        assert (copied.dtype, copied.shape, copied.requires_grad) == (x.dtype, x.shape, x.requires_grad)
        np.testing.assert_array_equal(copied.float().detach().numpy(), x.float().detach().numpy())
        assert copied.is_leaf


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_what_is_no_tensor(device, how):
    for x in (nc.Size([2, 3]), nc.float16, nc.bool, device, nc.devices()):
        copied = how(x)
        assert copied == x
        assert type(copied) is type(x)
    assert how(device) is device
    generator = nc.Generator().manual_seed(3)
    nc.randn(3, generator=generator)
    copied = how(generator)
    assert copied is not generator
    assert nc.randn(5, generator=copied).tolist() == nc.randn(5, generator=generator).tolist()
    assert copied.initial_seed() == 3


def test_a_pickled_module_computes_the_same(device):
    model = nc.nn.Sequential(nc.nn.Linear(3, 4), nc.nn.GELU(), nc.nn.LayerNorm(4), nc.nn.Dropout(0.0))
    loaded = pickle.loads(pickle.dumps(model))
    x = nc.ones(2, 3)
    np.testing.assert_array_equal(loaded(x).detach().numpy(), model(x).detach().numpy())
    assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in model.named_parameters()]


def test_pickle_keeps_what_was_set_on_a_tensor():
    x = nc.ones(2)
    x.note = "kept"
    assert pickle.loads(pickle.dumps(x)).note == "kept"
    assert copy.copy(x).note == "kept"
    assert pickle.loads(pickle.dumps(nc.ones(2, requires_grad=True) * 2)).requires_grad


def test_a_shallow_copy_shares_elements_and_the_others_do_not(device):
    for make in (lambda: nc.zeros(2, 3), lambda: nc.nn.Parameter(nc.zeros(2, 3)), lambda: nc.zeros(3, 2).T):
        x = make()
        shared, deep, moved = copy.copy(x), copy.deepcopy(x), x.detach().to(x.dtype, copy=True)
        with nc.no_grad():
            shared[0] += 1
            x[1] += 2
        assert x.tolist() == shared.tolist() == [[1.0] * 3, [2.0] * 3]
        assert deep.tolist() == moved.tolist() == [[0.0] * 3] * 2
    leaf = nc.ones(2, requires_grad=True)
    assert nc.asarray(leaf, requires_grad=False).tolist() == [1.0, 1.0]


def test_deep_copies_share_among_themselves_as_their_originals_do(torch):
    def program(t):
        x = t.arange(4.0)
        x.note = ["kept"]
        parts = [x, x[:2], x.detach(), x.view(2, 2).T]
        twins = copy.deepcopy(parts)
        twins[0][0] = 5
        twins[3][1, 0] = 7
        assert twins[0].note == ["kept"] and twins[0].note is not x.note
        return [[part.tolist() for part in group] for group in (parts, twins)]

    assert program(nc) == program(torch)
