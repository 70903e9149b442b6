"""memory_format=, layout= and pin_memory=: what means elements in order is taken, everything else is refused."""

import copy
import pickle

import pytest
from against_torch import close

import netcl as nc

MAKERS = [
    lambda t, **w: t.zeros(2, 3, **w), lambda t, **w: t.ones((2, 3), **w), lambda t, **w: t.full((2,), 3.0, **w),
    lambda t, **w: t.empty(2, **w).zero_(), lambda t, **w: t.arange(3, **w), lambda t, **w: t.linspace(0, 1, 5, **w),
    lambda t, **w: t.logspace(0, 1, 5, **w), lambda t, **w: t.eye(3, **w), lambda t, **w: t.scalar_tensor(2.0, **w),
    lambda t, **w: t.tril_indices(3, 3, **w), lambda t, **w: t.triu_indices(3, 3, **w),
    lambda t, **w: t.hann_window(5, **w), lambda t, **w: t.kaiser_window(5, **w), lambda t, **w: t.rand(3, **w),
    lambda t, **w: t.randn(3, **w), lambda t, **w: t.randint(5, (3,), **w), lambda t, **w: t.randperm(4, **w),
    lambda t, **w: t.normal(0.0, 1.0, (2,), **w), lambda t, **w: t.ones(2).new_zeros((3,), **w),
    lambda t, **w: t.ones(2).new_full((3,), 2.0, **w), lambda t, **w: t.ones(2).new_ones(3, **w),
    lambda t, **w: t.ones(2).new_empty(3, **w).zero_(),
]  # fmt: skip
LIKE = [
    lambda t, x, **w: t.zeros_like(x, **w), lambda t, x, **w: t.ones_like(x, **w),
    lambda t, x, **w: t.full_like(x, 2.0, **w), lambda t, x, **w: t.empty_like(x, **w).zero_(),
    lambda t, x, **w: t.rand_like(x, **w), lambda t, x, **w: t.randn_like(x, **w),
    lambda t, x, **w: t.randint_like(x, 5, **w),
]  # fmt: skip
COPIES = [
    lambda t, x, **w: x.clone(**w), lambda t, x, **w: t.clone(x, **w), lambda t, x, **w: x.contiguous(**w),
    lambda t, x, **w: x.to(t.float64, **w), lambda t, x, **w: x.to(dtype=t.float64, copy=True, **w),
    lambda t, x, **w: x.cpu(**w), lambda t, x, **w: x.float(**w), lambda t, x, **w: x.double(**w),
    lambda t, x, **w: x.half(**w), lambda t, x, **w: x.bfloat16(**w), lambda t, x, **w: x.int(**w),
    lambda t, x, **w: x.long(**w), lambda t, x, **w: x.short(**w), lambda t, x, **w: x.char(**w),
    lambda t, x, **w: x.byte(**w), lambda t, x, **w: x.bool(**w), lambda t, x, **w: x.type(t.float64, **w),
]  # fmt: skip


def seeded(library, call, *args, **words):
    library.manual_seed(1)
    return call(library, *args, **words)


def test_new_tensors_take_the_layout_and_the_memory_that_they_have(torch):
    for make in MAKERS:
        close(*(seeded(each, make, layout=each.strided, pin_memory=False) for each in (nc, torch)))
        for library in (nc, torch):
            make(library, layout=None, pin_memory=None)
            with pytest.raises(TypeError, match="layout"):
                make(library, layout=library.contiguous_format)
            with pytest.raises(TypeError, match="pin_memory"):
                make(library, pin_memory="yes")
        with pytest.raises(NotImplementedError, match=r"pin_memory=True is not there.*leave it out"):
            make(nc, pin_memory=True)
    assert nc.tensor([1, 2], pin_memory=False).tolist() == [1, 2]
    assert nc.empty(2, 3, memory_format=nc.contiguous_format).shape == (2, 3)


def test_copies_and_tensors_like_others_take_the_formats_that_mean_in_order(torch):
    for make in LIKE + COPIES:
        for name in ("contiguous_format", "preserve_format"):
            made = [seeded(t, make, t.tensor([[1.0], [3.0]]), memory_format=getattr(t, name)) for t in (nc, torch)]
            close(*made, name=name)
        for library in (nc, torch):
            with pytest.raises(TypeError, match="memory_format"):
                make(library, library.ones(2), memory_format=library.strided)
        with pytest.raises(NotImplementedError, match=r"memory_format=netcl.channels_last is not there.*leave it out"):
            make(nc, nc.ones(1, 2, 3, 4), memory_format=nc.channels_last)
    for make in LIKE:
        make(nc, nc.ones(2), layout=nc.strided, pin_memory=False)


def test_is_contiguous_knows_the_other_formats(torch):
    for shape in ((2, 3, 4, 5), (2, 1, 4, 5), (2, 3, 4, 5, 6), (2, 3)):
        for order in (None, (0, 3, 1, 2), (0, 4, 1, 2, 3)):
            if order is not None and len(order) != len(shape):
                continue
            answers = []
            for library in (nc, torch):
                x = library.zeros(shape) if order is None else library.zeros(shape).permute(order)
                formats = (library.contiguous_format, library.channels_last, library.channels_last_3d)
                answers.append([x.is_contiguous(memory_format=each) for each in formats])
            assert answers[0] == answers[1], (shape, order)


def test_the_words_are_single_objects_that_print_as_their_names():
    assert nc.zeros(2).layout is nc.strided
    assert isinstance(nc.strided, nc.layout)
    for name in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d"):
        word = getattr(nc, name)
        assert isinstance(word, nc.memory_format)
        assert repr(word) == str(word) == f"netcl.{name}"
        assert copy.deepcopy(word) is word
        assert pickle.loads(pickle.dumps(word)) is word
