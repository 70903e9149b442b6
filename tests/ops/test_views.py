"""Views of pending and of realised tensors, in any chain, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netcl as nc

relaxed = settings(
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SIZES = st.sampled_from([0, 1, 1, 2, 3, 4, 5, 17])


@st.composite
def chains(draw) -> tuple[tuple[int, ...], list[tuple]]:
    """A shape, and steps each of which is (name, argument): views, computing, and reading."""
    shape = tuple(draw(st.lists(SIZES, max_size=4)))
    start, steps = shape, []
    for _ in range(draw(st.integers(1, 6))):
        name = draw(
            st.sampled_from(
                [
                    "reshape",
                    "permute",
                    "slice",
                    "flip",
                    "expand",
                    "unsqueeze",
                    "squeeze",
                    "pad",
                    "compute",
                    "read",
                    "sum",
                ]
            )
        )
        array = np.zeros(shape)
        argument: object = None
        if name == "reshape":
            argument = (
                draw(st.sampled_from([(-1,), shape[::-1], (1, *shape), (*shape, 1), shape]))
                if 0 not in shape
                else shape[::-1]
            )
            if draw(st.booleans()) and array.size > 1:
                factor = draw(st.sampled_from([k for k in range(1, array.size + 1) if array.size % k == 0]))
                argument = (factor, array.size // factor)
        elif name == "permute":
            argument = tuple(draw(st.permutations(range(len(shape)))))
        elif name == "slice":
            argument = tuple(
                draw(
                    st.builds(
                        slice,
                        st.none() | st.integers(-s - 1, s + 1),
                        st.none() | st.integers(-s - 1, s + 1),
                        st.sampled_from([None, 1, 2, 3]),
                    )
                )
                if s == 0 or draw(st.booleans())
                else draw(st.integers(-s, s - 1))
                for s in shape
            )
        elif name == "flip":
            argument = tuple(draw(st.sets(st.integers(0, max(len(shape) - 1, 0))))) if shape else ()
        elif name == "expand":
            argument = tuple(draw(st.sampled_from([1, 2, 3])) if s == 1 else s for s in shape)
        elif name == "unsqueeze":
            argument = draw(st.integers(0, len(shape)))
        elif name == "pad":
            argument = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in shape]
        elif name == "sum":
            argument = tuple(draw(st.sets(st.integers(0, len(shape) - 1)))) if shape else ()
        after = in_numpy(array, name, argument)
        if after.size > 50_000 or after.ndim > 6:
            continue
        steps.append((name, argument))
        shape = after.shape
    return start, steps


def in_numpy(array: np.ndarray, name: str, argument) -> np.ndarray:
    if name == "reshape":
        return array.reshape(argument)
    if name == "permute":
        return array.transpose(argument)
    if name == "slice":
        return array[argument]
    if name == "flip":
        return np.flip(array, argument)
    if name == "expand":
        return np.broadcast_to(array, argument)
    if name == "unsqueeze":
        return np.expand_dims(array, argument)
    if name == "squeeze":
        return array.squeeze()
    if name == "pad":
        return np.pad(array, argument) if argument else array
    if name == "compute":
        return array * 2 + 1
    return array.sum(argument, keepdims=True) if name == "sum" and argument else array


def in_netcl(tensor: nc.Tensor, name: str, argument) -> nc.Tensor:
    if name == "slice":
        return tensor[argument]
    if name in ("reshape", "permute", "flip", "expand"):
        return getattr(tensor, name)(argument)
    if name == "compute":
        return tensor * 2 + 1
    if name == "sum":
        return tensor.sum(argument, keepdim=True) if argument else tensor
    if name == "read":
        tensor.numpy()
        return tensor
    return getattr(tensor, "pad_with_zeros" if name == "pad" else name)(*(() if argument is None else (argument,)))


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
@relaxed
@given(chain=chains(), keep=st.booleans())
def test_any_chain_of_views_gives_numpys_elements(dtype, target, chain, keep):
    shape, steps = chain
    array = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 7).astype(dtype)
    tensor = nc.tensor(array)
    held = [(tensor, array)]
    for name, argument in steps:
        tensor, array = in_netcl(tensor, name, argument), in_numpy(array, name, argument)
        assert tuple(tensor.shape) == array.shape
        if keep:
            held.append((tensor, array))
    held += [(tensor, array), (tensor + tensor, array + array)]
    del tensor
    while held:
        ours, expected = held.pop()
        np.testing.assert_array_equal(ours.numpy(), expected)


@st.composite
def broadcasts(draw) -> list[tuple[int, ...]]:
    full = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5, 16]), max_size=4))
    return [tuple(1 if draw(st.booleans()) else s for s in full[draw(st.integers(0, len(full))) :]) for _ in range(3)]


@relaxed
@given(shapes=broadcasts())
def test_any_three_shapes_broadcast_as_in_numpy_and_gradients_are_summed_back(target, shapes):
    draws = np.random.default_rng(0)
    arrays = [draws.integers(-3, 4, shape).astype(np.float32) for shape in shapes]
    tensors = [nc.tensor(array, requires_grad=True) for array in arrays]
    a, b, c = tensors
    result = a * b + c
    np.testing.assert_array_equal(result.detach().numpy(), arrays[0] * arrays[1] + arrays[2])
    result.sum().backward()
    full = np.broadcast_shapes(*shapes)
    for tensor, factor in ((a, arrays[1]), (b, arrays[0]), (c, np.float32(1))):
        spread = np.broadcast_to(factor, full)
        shape = tuple(tensor.shape)
        lead = len(full) - len(shape)
        axes = tuple(range(lead)) + tuple(n + lead for n, s in enumerate(shape) if s == 1)
        np.testing.assert_array_equal(tensor.grad.numpy(), spread.sum(axes, keepdims=True).reshape(shape))


def test_views_of_realised_tensors_copy_nothing_and_of_pending_ones_launch_nothing_themselves():
    x = nc.tensor(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    with nc.profiler.count_launches() as launches:
        for view in (
            x.permute(2, 0, 1),
            x[:, 1:, ::2],
            x.flip(0),
            x[0].expand(5, 3, 4),
            x.reshape(6, 4)[::2],
            x.transpose(0, 1)[1],
        ):
            assert view.numpy().shape == tuple(view.shape)
    assert int(launches) == 0
    with nc.profiler.count_launches() as launches:
        y = (x + 1).permute(2, 0, 1)[1:, :, ::2]
        np.testing.assert_array_equal(y.numpy(), (x.numpy() + 1).transpose(2, 0, 1)[1:, :, ::2])
    assert int(launches) == 1


def test_getitem_takes_ints_slices_none_and_ellipsis(torch):
    x = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    a = nc.tensor(x)
    for index in (
        0,
        -1,
        np.int64(1),
        slice(1, None),
        (0, 1, 2, 3),
        (..., 0),
        (0, ...),
        (slice(None), None, 1),
        (None, ..., None),
        ...,
        (),
        (slice(None, None, 2), slice(3, 0), ..., slice(-2, None)),
        (slice(0, 100), slice(-100, 2)),
        (1, slice(None, None, 3), ..., None, 2),
    ):
        got = a[index]
        assert tuple(got.shape) == x[index].shape, index
        np.testing.assert_array_equal(got.numpy(), x[index])
    assert [row.tolist() for row in a[0, 0, :2]] == x[0, 0, :2].tolist()
    b, c = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    (b[1, ::2, None, 1:] ** 2).sum().backward()
    (c[1, ::2, None, 1:] ** 2).sum().backward()
    np.testing.assert_array_equal(b.grad.numpy(), c.grad.numpy())


def test_gather_and_its_gradient_equal_pytorch(place, torch):
    draws = np.random.default_rng(3)
    x = draws.standard_normal((4, 5, 6)).astype(np.float32)
    for axis, shape in ((0, (7, 5, 6)), (1, (2, 3, 4)), (2, (4, 5, 1)), (-1, (4, 5, 9))):
        index = draws.integers(0, x.shape[axis], shape)
        a, b = nc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = a.gather(axis, nc.tensor(index)), b.gather(axis, torch.tensor(index))
        np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
        (y * y).sum().backward()
        (z * z).sum().backward()
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-6)
        assert a.gather(axis, nc.tensor(index.astype(np.int32))).shape == y.shape
