"""F.pad in all modes, pixel_shuffle, fold and unfold, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from against_torch import check, numbers
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import netcl as nc
import netcl.nn.functional as F

relaxed = settings(
    deadline=None,
    max_examples=10,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def padded(*args, **named):
    return lambda m, a: m.nn.functional.pad(a, *args, **named)


def test_constants_around_a_tensor(device, torch, mode):
    x = numbers(2, 3, 4)
    check(
        torch,
        [
            (padded((1, 2)), x),
            (padded((1, 0, 0, 2, 1, 1), value=3.5), x),
            (padded((-1, 2, 1, -2), value=-1), x),
            (padded((-1, -1)), x),
            (padded((-3, 2), "constant", 2.0), x),
            (padded((0, 0)), x),
            (padded(()), x),
            (lambda m, a: m.nn.functional.pad(a.transpose(0, 2) * 2, (2, 1), value=float("inf")), x),
            (lambda m, a: m.nn.functional.pad(a[:, :0], (0, 0, 1, 1), value=4), x),
        ],
        second=True,
    )


def test_edges_around_a_tensor(device, torch):
    x, image, volume = numbers(2, 4), numbers(2, 3, 4, 5), numbers(1, 3, 4, 3)
    for modus in ("reflect", "replicate", "circular"):
        check(
            torch,
            [
                (padded((2, 1), modus), x),
                (padded((0, 3), modus), x),
                (padded((-1, 2), modus), x),
                (padded((1, -1), modus), x),
                (padded((2, 1, 0, 3), modus), image),
                (padded((1, 1, -1, 2), modus), image),
                (padded((1, 2, 2, 0, 1, 1), modus), volume),
            ],
            second=True,
        )


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.float16, np.float64])
def test_other_dtypes(torch, dtype):
    x = numbers(2, 4, dtype=dtype)
    check(torch, [(padded((1, 2)), x), (padded((1, 2), value=1), x), (padded((1, 2), "circular"), x)], gradient=False)
    if np.dtype(dtype).kind == "f" and dtype is not np.float16:
        check(torch, [(padded((1, 2), "reflect"), x), (padded((1, 2), "replicate"), x)])


@relaxed
@given(
    size=st.integers(1, 6),
    low=st.integers(-3, 6),
    high=st.integers(-3, 6),
    modus=st.sampled_from(["constant", "reflect", "replicate", "circular"]),
)
def test_any_widths_give_pytorchs_elements_or_its_error(target, torch, size, low, high, modus):
    assume(modus != "circular" or size + min(low, 0) + min(high, 0) >= max(low, high))  # PyTorch reads beyond the rest
    x = numbers(2, size)
    theirs = torch.tensor(x).requires_grad_()
    try:
        expected = torch.nn.functional.pad(theirs, (low, high), modus)
    except RuntimeError:
        if size + low + high != 0:  # PyTorch refuses some results without elements; netcl gives them
            with pytest.raises(RuntimeError):
                F.pad(nc.tensor(x), (low, high), modus).numpy()
        return
    ours = nc.tensor(x, requires_grad=True)
    result = F.pad(ours, (low, high), modus)
    (result * result).sum().backward()
    (expected * expected).sum().backward()
    np.testing.assert_array_equal(result.detach().numpy(), expected.detach().numpy())
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_padding_with_what_surrounds_it_is_one_kernel():
    x = nc.tensor(numbers(4, 32))
    with nc.profiler.count_launches() as launches:
        (F.pad(x * 2, (3, 3), "reflect") + 1).numpy()
    assert int(launches) == 1


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (padded((1,)), RuntimeError),
        (padded((1, 1, 1, 1, 1, 1)), RuntimeError),
        (padded((-3, -3)), RuntimeError),
        (padded((1, 1), "mirror"), NotImplementedError),
        (padded((3, 1), "reflect"), RuntimeError),
        (padded((4, 1), "circular"), RuntimeError),
        (padded((1, 1, 1, 1, 0, 0), "reflect"), (NotImplementedError, RuntimeError)),
        (padded((1, 1), "reflect", 3.0), RuntimeError),
        (lambda m, a: m.nn.functional.pad(a[0], (1, 1), "reflect"), NotImplementedError),
        (lambda m, a: m.nn.functional.pixel_shuffle(a, 2), RuntimeError),
        (lambda m, a: m.nn.functional.pixel_shuffle(a[None], 2), RuntimeError),
        (lambda m, a: m.nn.functional.pixel_unshuffle(a[None], 2), RuntimeError),
        (lambda m, a: m.nn.functional.unfold(a[None], 4), RuntimeError),
        (lambda m, a: m.nn.functional.fold(a[None], (4, 4), (3, 1)), RuntimeError),
    ],
)
def test_what_pytorch_refuses_is_refused(torch, operation, error):
    for module in (nc, torch):
        with pytest.raises(error):
            operation(module, module.ones(3, 3))


def test_pixels_and_patches_equal_pytorchs(device, torch):
    image, columns = numbers(2, 4, 6, 4), numbers(2, 8, 12)

    def functional(name, *args, **named):
        return lambda m, a: getattr(m.nn.functional, name)(a, *args, **named)

    check(
        torch,
        [
            (functional("pixel_shuffle", 2), image),
            (functional("pixel_unshuffle", 2), image),
            (functional("channel_shuffle", 2), image),
            (lambda m, a: m.pixel_shuffle(a[0], 2), image),
            (functional("unfold", 2), image),
            (functional("unfold", (3, 2), dilation=(1, 2), padding=(1, 0), stride=(2, 1)), image),
            (lambda m, a: m.nn.functional.unfold(a[0], (2, 3)), image),
            (functional("fold", (5, 4), (2, 2)), columns),
            (functional("fold", (6, 8), (2, 2), stride=2), columns),
            (functional("fold", (5, 10), (2, 4), dilation=(2, 2), padding=(1, 0), stride=(2, 1)), columns),
            (lambda m, a: m.nn.functional.fold(a[1], (5, 4), 2), columns),
        ],
        second=True,
    )
