"""What dtypes hold and what becomes of them together, as PyTorch tells."""

import numpy as np
import pytest

import netcl as nc

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")


def name_of(dtype) -> str:
    return str(dtype).split(".")[1]


def test_limits_equal_pytorch(torch):
    for name in ("float16", "bfloat16", "float32", "float64"):
        ours, theirs = nc.finfo(getattr(nc, name)), torch.finfo(getattr(torch, name))
        for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution"):
            assert getattr(ours, field) == pytest.approx(getattr(theirs, field), rel=1e-12), (name, field)
        assert ours.dtype == theirs.dtype == name
    for name in ("uint8", "int8", "int16", "int32", "int64"):
        ours, theirs = nc.iinfo(getattr(nc, name)), torch.iinfo(getattr(torch, name))
        for field in ("bits", "max", "min", "dtype"):
            assert getattr(ours, field) == getattr(theirs, field)
    assert repr(nc.iinfo(nc.int32)) == "iinfo(min=-2147483648, max=2147483647, dtype=int32)"
    assert nc.finfo().dtype == "float32"
    assert "max=3.40282e+38" in repr(nc.finfo(nc.float32))
    for wrong in (lambda: nc.finfo(nc.int32), lambda: nc.iinfo(nc.float32), lambda: nc.finfo("float32")):
        with pytest.raises(TypeError):
            wrong()


def test_promotion_and_casts_of_every_pair_equal_pytorch(torch):
    for a in DTYPES:
        for b in DTYPES:
            ours, theirs = (getattr(nc, a), getattr(nc, b)), (getattr(torch, a), getattr(torch, b))
            assert name_of(nc.promote_types(*ours)) == name_of(torch.promote_types(*theirs))
            assert nc.can_cast(*ours) == torch.can_cast(*theirs), (a, b)


def test_result_type_of_tensors_and_numbers_equals_pytorch(torch):
    def operands(library) -> list:
        made = [library.tensor(shape).to(getattr(library, name)) for name in DTYPES for shape in (1, [1, 0])]
        return [*made, True, 2, 2.5]

    ours, theirs = operands(nc), operands(torch)
    for a, c in zip(ours, theirs, strict=True):
        for b, d in zip(ours, theirs, strict=True):
            assert name_of(nc.result_type(a, b)) == name_of(torch.result_type(c, d)), (c, d)
    with pytest.raises(TypeError, match="numbers"):
        nc.result_type(nc.ones(1), "2")


def test_what_a_dtype_tells_of_itself(torch):
    for name in DTYPES:
        for field in ("is_floating_point", "is_signed", "is_complex", "itemsize"):
            assert getattr(getattr(nc, name), field) == getattr(getattr(torch, name), field), (name, field)
    aliases = {"short": "int16", "int": "int32", "long": "int64", "half": "float16", "double": "float64"}
    for alias, name in aliases.items():
        assert getattr(nc, alias) is getattr(nc, name)


def test_questions_about_tensors():
    x = nc.tensor([[1.0, 2.0]])
    assert nc.is_tensor(x) and not nc.is_tensor(np.ones(2))
    assert nc.is_floating_point(x) and not nc.is_floating_point(x.int())
    assert x.is_signed() and not x.to(nc.uint8).is_signed()
    assert nc.numel(x) == 2
    assert nc.is_nonzero(x[0, :1]) and not nc.is_nonzero(nc.tensor(0))
    with pytest.raises(RuntimeError, match="one element"):
        nc.is_nonzero(x)


def test_pythons_types_are_dtypes(torch):
    makes = [
        lambda t, kind: t.ones(2, dtype=kind), lambda t, kind: t.tensor([1, 0], dtype=kind),
        lambda t, kind: t.zeros_like(t.ones(2), dtype=kind), lambda t, kind: t.tensor([1.5]).to(kind),
        lambda t, kind: t.tensor([1.5]).to(dtype=kind), lambda t, kind: t.empty(2, dtype=kind) != 0,
        lambda t, kind: t.full((2,), 1, dtype=kind), lambda t, kind: t.as_tensor([1], dtype=kind),
        lambda t, kind: t.eye(2, dtype=kind), lambda t, kind: t.tensor([1]).new_zeros(2, dtype=kind),
    ]  # fmt: skip
    for kind in (float, int, bool):
        for make in makes:
            assert str(make(nc, kind).dtype)[6:] == str(make(torch, kind).dtype)[6:]
    assert nc.arange(3, dtype=float).dtype is nc.float64
    assert nc.rand(3, dtype=float).dtype is nc.float64
    assert nc.randint(3, (3,), dtype=int).dtype is nc.int64
    assert nc.ones(3).sum(dtype=float).dtype is nc.float64
