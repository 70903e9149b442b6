"""Python's and NumPy's numbers as operands, elements, sizes and bounds: values, dtypes and errors are PyTorch's."""

import pickle

import numpy as np
import pytest
from against_torch import close

import netcl as nc


def both(torch, call):
    """What a call gives in both, or the class of what it raises."""
    results = []
    for library in (nc, torch):
        try:
            results.append(call(library))
        except Exception as error:
            results.append(type(error))
    return results


OPERANDS = {
    "negative ones with uint8": lambda t, u, i: [u + -1, u - 5, 5 - u, u * -1, u.clamp(-1, 5)],
    "a quotient by a number that does not fit": lambda t, u, i: [i / 200, 200 / i, u / -1, -1 / u, i.div(1000)],
    "a quotient of bools": lambda t, u, i: [(u > 1) / 4, 4 / (u > 0)],
    "floor division by what wraps around": lambda t, u, i: [u // -1, u % -1],
    "masks and places of uint8": lambda t, u, i: [u.masked_fill(u > 2, -1), u.index_fill(0, t.tensor([0]), -2)],
    "elements of uint8": lambda t, u, i: [t.tensor([-255, -1, 255], dtype=t.uint8), t.full((2,), -3, dtype=t.uint8)],
    "elements cut off": lambda t, u, i: [i.masked_fill(i > 2, 2.7), t.full((2,), 2.7, dtype=t.int32)],
    "a number among integers": lambda t, u, i: [t.searchsorted(i, 3.5), t.searchsorted(i, 3), t.bucketize(3.5, i)],
    "a number copied": lambda t, u, i: [i.clone().copy_(3), u.float().copy_(2.5)],
    "numbers of NumPy": lambda t, u, i: [
        t.tensor([np.float32(2), 1.5]), t.tensor([1, np.float64(2)]), t.tensor([1, np.int32(2)]),
        t.tensor([np.int8(1), np.int32(2)]), t.tensor([True, np.int8(2)]), t.tensor([[np.float32(1)], [2]]),
    ],
    "tensors in lists": lambda t, u, i: [
        t.tensor([i[0], 1.5]), t.tensor([i[0], i[1]]), t.tensor([t.tensor(1.0, dtype=t.float64), 2.0]),
        t.tensor([t.tensor(1.0).half(), t.tensor(2.0).half()]), t.tensor([t.tensor(True), False]),
    ],
    "a half that is too large in an assignment": lambda t, u, i: [assigned(t, 1e10), assigned(t, -1e10)],
    "infinite ones": lambda t, u, i: [t.full((2,), -float("inf"), dtype=t.float16)],
    "a k on the device": lambda t, u, i: [i.topk(t.tensor(2))[0], i.kthvalue(t.tensor(2))[0]],
}  # fmt: skip


DIMENSIONS = {
    "of reductions": lambda t, x, one: [
        x.sum(one), x.mean(one, True), x.prod(one), x.argmax(one), x.amax(one), x.max(one)[0], (x > 0).all(one),
        x.std(one), x.logsumexp(one), t.linalg.norm(x, 2, dim=one),
    ],
    "of scans and sorts": lambda t, x, one: [x.cumsum(one), x.sort(one)[0], x.topk(2, one)[1], x.median(one)[0]],
    "of shapes": lambda t, x, one: [
        x.unsqueeze(one), x[:, :1].squeeze(one), x.transpose(0, one), x.movedim(0, one), x.select(one, one),
        x.narrow(one, one, one), t.cat([x, x], one), t.stack([x, x], one), x.chunk(one, one)[0],
        x.softmax(one),
    ],
}  # fmt: skip


@pytest.mark.parametrize("one", ["NumPy", "device"])
@pytest.mark.parametrize("case", DIMENSIONS)
def test_dimensions_may_be_numbers_of_numpy_and_on_the_device(torch, case, one):
    def call(t):
        x = t.tensor([[3.0, -1.0, 2.0], [0.5, 4.0, 1.0]])
        return DIMENSIONS[case](t, x, np.int64(1) if one == "NumPy" else t.tensor(1))

    for number, (ours, theirs) in enumerate(zip(call(nc), call(torch), strict=True)):
        close(ours, theirs, name=f"{case}, {number}")


def test_a_dimension_that_is_no_integer_is_refused_with_its_name():
    x = nc.zeros(2, 3)
    for call in (lambda: x.cumsum(1.0), lambda: x.unsqueeze("a"), lambda: nc.cat([x, x], None), lambda: x.sort([0])):
        with pytest.raises(TypeError, match="dimension must be an integer"):
            call()


def assigned(t, number):
    x = t.zeros(3, dtype=t.float16)
    x[1:] = number
    return x


@pytest.mark.parametrize("case", OPERANDS)
def test_numbers_give_what_they_give_in_pytorch(device, torch, case):
    def call(t):
        return OPERANDS[case](t, t.tensor([1, 2, 7], dtype=t.uint8), t.tensor([1, 3, 5], dtype=t.int8))

    for ours, theirs in zip(*both(torch, call), strict=True):
        close(ours, theirs, name=case)


REFUSED = [
    lambda t: t.full((2,), 1e10, dtype=t.float16), lambda t: t.full((2,), 1e39),
    lambda t: t.zeros(2, dtype=t.float16).fill_(-1e10), lambda t: t.zeros(2).half().masked_fill(t.ones(2) > 0, 1e10),
    lambda t: t.zeros(2).half().index_fill(0, t.tensor([0]), 1e10), lambda t: t.zeros(2).char().fill_(300),
    lambda t: t.zeros(2).long().masked_fill(t.ones(2) > 0, float("inf")),
    lambda t: t.zeros(2).char().masked_fill(t.ones(2) > 0, 300),
    lambda t: t.zeros(2).char().scatter(0, t.tensor([0]), 300), lambda t: t.tensor([-256], dtype=t.uint8),
    lambda t: t.full((2,), t.ones(3)), lambda t: t.tensor(None), lambda t: t.tensor([1, None]),
    lambda t: t.tensor([1, 2**63]), lambda t: t.tensor([2**70, 1]), lambda t: t.zeros(2) - True,
    lambda t: True - t.zeros(2), lambda t: t.arange(3, dtype=3), lambda t: t.linspace(0, 1, 2.5),
    lambda t: t.zeros(3).topk(1.5), lambda t: t.Size([2]) + [1],
]  # fmt: skip


def test_numbers_that_pytorch_refuses_are_refused_with_its_errors(torch):
    for number, call in enumerate(REFUSED):
        ours, theirs = both(torch, call)
        assert isinstance(ours, type) and issubclass(ours, theirs), (number, ours, theirs)


def test_an_error_names_the_number_and_the_range():
    with pytest.raises(RuntimeError, match=r"masked_fill: 1e\+06 does not fit|masked_fill: 1000000.0 does not fit"):
        nc.zeros(2).half().masked_fill(nc.ones(2) > 0, 1e6)
    with pytest.raises(NotImplementedError, match="sparse_grad=True"):
        nc.ones(2).gather(0, nc.tensor([0]), sparse_grad=True)


def test_sizes_may_be_numbers_on_the_device():
    three = nc.tensor(3)
    assert nc.zeros(three).shape == (3,)
    assert nc.zeros(three, 2).shape == nc.zeros((three, 2)).shape == (3, 2)
    assert nc.arange(3).reshape(three).shape == (3,)
    assert nc.arange(2).broadcast_to(3, 2).shape == nc.arange(2).broadcast_to(size=(3, 2)).shape == (3, 2)


def test_parts_sums_and_multiples_of_a_shape_are_shapes():
    shape = nc.zeros(2, 3, 4).shape
    made = [shape[1:], shape[::-1], shape + (1,), (1,) + shape, shape * 2, 2 * shape, shape + shape]
    expected = [(3, 4), (4, 3, 2), (2, 3, 4, 1), (1, 2, 3, 4), (2, 3, 4) * 2, (2, 3, 4) * 2, (2, 3, 4) * 2]
    for one, other in zip(made, expected, strict=True):
        assert one == other and type(one) is nc.Size and hash(one) == hash(other)
    assert shape[-1] == 4 and type(shape[-1]) is int
    assert shape[1:].numel() == 12
    assert type(pickle.loads(pickle.dumps(shape))) is nc.Size


def test_special_functions_take_their_input_by_name(torch):
    for name in ("entr", "ndtr", "log_ndtr", "sinc"):
        close(*(getattr(t.special, name)(input=t.tensor([0.5, 2.0])) for t in (nc, torch)), name=name)


def test_the_nuclear_norm_is_that_of_linalg(torch):
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    for call in (
        lambda t, a: t.norm(a[0], "nuc"), lambda t, a: a.norm("nuc", dim=(0, 2)),
        lambda t, a: t.norm(a, p="nuc", dim=(2, 1), keepdim=True),
    ):  # fmt: skip
        close(*(call(t, t.tensor(x)) for t in (nc, torch)))
    for t in (nc, torch):
        with pytest.raises(RuntimeError):
            t.norm(t.tensor(x), "nuc")
