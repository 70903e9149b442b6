"""set_grad_enabled, inference_mode, the search for NaN, and hooks on what is saved."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import netcl as nc
from netcl.autograd.graph import disable_saved_tensors_hooks, save_on_cpu, saved_tensors_hooks


def leaf(*numbers: float) -> nc.Tensor:
    return nc.tensor(list(numbers), requires_grad=True)


def test_set_grad_enabled_is_a_call_a_block_and_a_decorator() -> None:
    x = leaf(1.0)
    nc.set_grad_enabled(False)
    assert not (x * 2).requires_grad
    nc.set_grad_enabled(True)
    with nc.set_grad_enabled(False):
        assert not nc.is_grad_enabled()
        with nc.set_grad_enabled(True):
            assert (x * 2).requires_grad
        assert not nc.is_grad_enabled()
    assert nc.is_grad_enabled()

    @nc.set_grad_enabled(False)
    def called(depth: int) -> bool:
        return called(depth - 1) if depth else (x * 2).requires_grad

    assert nc.is_grad_enabled()
    assert called(3) is False
    assert nc.is_grad_enabled()


def test_inference_mode_is_a_block_and_a_decorator() -> None:
    x = leaf(1.0)
    with nc.inference_mode():
        y = x * 2
        assert nc.is_inference_mode_enabled() and not y.requires_grad and not y.is_inference()
        with nc.inference_mode(False):
            assert not nc.is_inference_mode_enabled() and (x * 2).requires_grad
        assert nc.is_inference_mode_enabled()
    assert nc.is_grad_enabled() and not nc.is_inference_mode_enabled()

    @nc.inference_mode()
    def with_brackets() -> bool:
        return (x * 2).requires_grad

    @nc.inference_mode
    def without() -> bool:
        return (x * 2).requires_grad

    assert with_brackets() is without() is False
    (y * x).backward()  # unlike PyTorch's, tensors made there can be used in training
    assert x.grad.item() == 2.0


def test_modes_belong_to_a_thread() -> None:
    found = []
    with nc.inference_mode(), nc.autograd.detect_anomaly():
        thread = threading.Thread(
            target=lambda: found.extend(
                [nc.is_grad_enabled(), nc.is_inference_mode_enabled(), nc.autograd.is_anomaly_enabled()]
            )
        )
        thread.start()
        thread.join()
    assert found == [True, False, False]


def test_a_nan_is_reported_with_the_operation_and_the_line_that_recorded_it() -> None:
    x = leaf(0.0, 1.0)
    with nc.autograd.detect_anomaly():
        y = x.sqrt()  # this line
        total = (y * 0.0).sum()
        with pytest.raises(RuntimeError, match=r"'SqrtBackward0' returned nan.*0th.*test_modes\.py:\d+") as error:
            total.backward()
    number = int(str(error.value).rsplit(":", 1)[1])
    with open(__file__) as text:
        assert "this line" in text.readlines()[number - 1]


def test_the_search_can_be_called_nested_and_left_out() -> None:
    x = leaf(0.0)
    y = (x.sqrt() * 0.0).sum()
    y.backward(retain_graph=True)
    assert np.isnan(x.grad.item())
    nc.autograd.set_detect_anomaly(True)
    try:
        assert nc.autograd.is_anomaly_enabled() and nc.autograd.is_anomaly_check_nan_enabled()
        with pytest.raises(RuntimeError, match="inside detect_anomaly"):  # recorded before: no line
            y.backward(retain_graph=True)
        with nc.autograd.set_detect_anomaly(False):
            y.backward(retain_graph=True)
        with nc.autograd.detect_anomaly(check_nan=False):
            assert nc.autograd.is_anomaly_enabled() and not nc.autograd.is_anomaly_check_nan_enabled()
            y.backward(retain_graph=True)
    finally:
        nc.autograd.set_detect_anomaly(False)
    assert not nc.autograd.is_anomaly_enabled()


def test_what_is_saved_goes_through_the_hooks_and_second_derivatives_too(mode) -> None:
    x, w = leaf(0.5, -1.0), leaf(2.0, 3.0)
    packed = []

    def pack(t: nc.Tensor) -> tuple:
        packed.append(tuple(t.shape))
        return (t.numpy(), t.device)

    with saved_tensors_hooks(pack, lambda kept: nc.tensor(kept[0], device=kept[1])):
        y = (x * w * 2).exp()
    z = (y * w).sum()
    assert packed == [(2,)] * 4  # x, w, their product, the result of exp; not the number 2
    first = nc.autograd.grad(z, [x, w], create_graph=True)
    second = nc.autograd.grad((first[0] * first[1]).sum(), [x, w])

    def plain() -> tuple:
        z = ((x * w * 2).exp() * w).sum()
        first = nc.autograd.grad(z, [x, w], create_graph=True)
        return first, nc.autograd.grad((first[0] * first[1]).sum(), [x, w])

    for ours, expected in zip((*first, *second), (*plain()[0], *plain()[1]), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), expected.detach().numpy(), rtol=1e-6)


def test_saving_on_the_host_frees_the_device(device) -> None:
    x = nc.tensor(np.full(50_000, 0.01, np.float32), requires_grad=True)

    def held(on_cpu: bool) -> int:
        before = nc.profiler.memory_in_use()
        y = x
        with save_on_cpu() if on_cpu else nc.enable_grad():
            for _ in range(4):
                y = y.exp()
        total = y.sum()
        total.item()
        found = nc.profiler.memory_in_use() - before
        total.backward()
        return found

    kept = held(False)
    expected = x.grad.numpy()
    x.grad = None
    assert held(True) < kept / 2
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-6)


def test_hooks_on_what_is_saved_are_checked_and_reach_functions() -> None:
    class Square(nc.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            y = a * b
            ctx.save_for_backward(a, None, y)
            return y

        @staticmethod
        def backward(ctx, g):
            a, none, y = ctx.saved_tensors
            assert none is None
            return g * y / a, None

    x = leaf(3.0)
    with save_on_cpu():
        y = Square.apply(x * 1, nc.tensor([5.0]))
    y.backward()
    assert x.grad.item() == 5.0
    for unpack, kind, text in (
        (lambda t: 1.0, TypeError, "unpack_hook must return a Tensor"),
        (lambda t: nc.ones(4), RuntimeError, r"returned shape \[4\]"),
    ):
        with saved_tensors_hooks(lambda t: t, unpack):
            y = x * x
        with pytest.raises(kind, match=text):
            y.backward()


def test_hooks_on_what_is_saved_can_be_forbidden() -> None:
    with disable_saved_tensors_hooks("not here"), pytest.raises(RuntimeError, match="not here"):
        save_on_cpu().__enter__()
    with save_on_cpu(), pytest.raises(RuntimeError, match="active"):
        disable_saved_tensors_hooks("").__enter__()
    with save_on_cpu():
        pass


def test_nested_tapes_end_in_any_case_and_the_outer_one_goes_on() -> None:
    x = leaf(1.0)
    with nc.Tape() as outer:
        inner = nc.Tape()
        with pytest.raises(RuntimeError, match="shapes"), inner:  # noqa: PT012
            x * 2
            x + nc.ones(2) + nc.ones(3)
        x + 1
    x - 1
    assert [node.op_name for node in inner] == ["mul", "add"]
    assert [node.op_name for node in outer] == ["mul", "add", "add"]
    outer.reset()
    assert not outer.nodes
