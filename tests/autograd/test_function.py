"""autograd.Function: operations with a gradient of the user's own behave as PyTorch's do."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl.autograd import Function
from netcl.autograd.function import once_differentiable


def leaf(*numbers: float) -> nc.Tensor:
    return nc.tensor(list(numbers), requires_grad=True)


def scaled_exp(lib: Any) -> Any:
    """exp(x) * k, in either library: saves its result and a number."""

    class ScaledExp(lib.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, k: float) -> Any:
            y = x.exp() * k
            ctx.save_for_backward(y)
            ctx.k = k
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (y,) = ctx.saved_tensors
            return g * y, None

    return ScaledExp


class Split(Function):
    """(x, y) -> (x * y, x + y), with setup_context."""

    @staticmethod
    def forward(x: nc.Tensor, y: nc.Tensor) -> tuple:
        return x * y, x + y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, product: nc.Tensor, total: nc.Tensor) -> tuple:
        x, y = ctx.saved_tensors
        return product * y + total, product * x + total


def test_first_and_second_derivatives_are_pytorchs(device, mode, torch) -> None:
    numbers = []
    for lib in (nc, torch):
        x = lib.tensor([0.5, -1.0], requires_grad=True)
        y = scaled_exp(lib).apply(x * x, 3.0)
        (first,) = lib.autograd.grad((y * x).sum(), x, create_graph=True)
        (second,) = lib.autograd.grad((first * first).sum(), x)
        numbers.append([t.detach().numpy() for t in (y, first, second)])
    for ours, theirs in zip(*numbers, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_several_results_with_setup_context_pass_gradcheck() -> None:
    x = nc.tensor(np.array([0.3, -2.0]), requires_grad=True)
    y = nc.tensor(np.array([[1.5], [0.7]]), requires_grad=True)  # broadcast: its gradient is summed up
    assert nc.autograd.gradcheck(Split.apply, (x, y))
    assert nc.autograd.gradgradcheck(Split.apply, (x, y))


def test_a_result_that_nothing_arrives_at_gives_zeros_or_none() -> None:
    x, y = leaf(2.0), leaf(5.0)
    _, total = Split.apply(x, y)
    assert total.grad_fn.name() == "SplitBackward"
    total.backward()
    assert (x.grad.item(), y.grad.item()) == (1.0, 1.0)

    class Plain(Split):
        @staticmethod
        def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
            ctx.set_materialize_grads(False)

        @staticmethod
        def backward(ctx: Any, product: Any, total: Any) -> tuple:
            assert product is None
            return total, None

    x = leaf(2.0)
    Plain.apply(x, leaf(1.0))[1].backward()
    assert x.grad.item() == 1.0


def test_needs_input_grad_tells_arguments_apart_and_other_results_pass_through() -> None:
    seen = []

    class Mixed(Function):
        @staticmethod
        def forward(ctx: Any, a: Any, text: str, b: Any, c: Any) -> tuple:
            assert not nc.is_grad_enabled()
            seen.append(ctx.needs_input_grad)
            ints = c.to(nc.int64)
            kept = a.sign()
            ctx.mark_non_differentiable(kept)
            return a * 2, kept, ints, text, b

        @staticmethod
        def backward(ctx: Any, g: Any, kept: Any, ints: Any, text: Any, b: Any) -> tuple:
            assert text is None and kept.tolist() == [0.0] and ints.tolist() == [0]
            return g * 2, None, b, None

    a, b = leaf(3.0), leaf(7.0)
    doubled, kept, ints, text, passed = Mixed.apply(a, "text", b, nc.tensor([1.5]))
    assert seen == [(True, False, True, False)]
    assert (doubled.requires_grad, kept.requires_grad, ints.requires_grad, text) == (True, False, False, "text")
    assert passed is not b and passed.grad_fn is doubled.grad_fn
    (doubled + passed * 10).backward()
    assert (a.grad.item(), b.grad.item()) == (2.0, 10.0)
    with nc.no_grad():
        assert not Mixed.apply(a, "text", b, a)[0].requires_grad
    assert not Mixed.apply(a.detach(), "", b.detach(), a.detach())[0].requires_grad


def returning(*made: Any) -> Any:
    class Returns(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, k: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return made if len(made) != 1 else made[0]

    return Returns


def test_what_backward_returns_is_checked() -> None:
    one = nc.tensor([1.0, 1.0])
    cases: list[tuple[tuple, type, str]] = [
        ((one,), RuntimeError, r"incorrect number of gradients \(expected 2, got 1\)"),
        ((one, None, one), RuntimeError, r"incorrect number of gradients \(expected 2, got 3\)"),
        ((one, one), RuntimeError, "different from None at position 2"),
        ((nc.ones(3), None), RuntimeError, r"got \[3\] but expected shape compatible with \[2\]"),
        ((1.0, None), TypeError, "float"),
    ]
    for made, kind, text in cases:
        with pytest.raises(kind, match=text):
            returning(*made).apply(leaf(1.0, 2.0), 5).sum().backward()
    x = leaf(1.0, 2.0)
    returning(nc.ones(3, 2), None, None).apply(x, 5).sum().backward()  # summed; more Nones are no mistake
    assert x.grad.tolist() == [3.0, 3.0]
    half = nc.ones(2, dtype=nc.float16, requires_grad=True)
    returning(one, None).apply(half, 5).sum().backward()
    assert half.grad.dtype is nc.float16
    x = leaf(1.0, 2.0)
    returning(None, None).apply(x, 5).sum().backward()
    assert x.grad is None


def test_a_function_is_used_by_apply_and_has_to_be_complete() -> None:
    class Nothing(Function):
        pass

    class OnlyForward(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

    with pytest.raises(NotImplementedError, match="forward"):
        Nothing.apply(leaf(1.0))
    with pytest.raises(NotImplementedError, match="backward"):
        OnlyForward.apply(leaf(1.0)).backward()
    with pytest.raises(RuntimeError, match="apply"):
        OnlyForward()

    class Saves(OnlyForward):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(1.0)

    with pytest.raises(TypeError, match="save_for_backward"):
        Saves.apply(leaf(1.0))

    class Vjp(OnlyForward):
        @staticmethod
        def vjp(ctx: Any, g: Any) -> Any:
            assert not hasattr(ctx, "unknown")
            return g * 7

    x = leaf(1.0)
    Vjp.apply(x).backward()
    assert x.grad.item() == 7.0


def test_going_back_twice_needs_retain_graph_and_saved_tensors_must_not_change() -> None:
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    total = Split.apply(x, y)[0].sum()
    total.backward(retain_graph=True)
    total.backward()
    assert x.grad.tolist() == [6.0, 8.0]
    with pytest.raises(RuntimeError, match="second time"):
        total.backward()
    z = y * 1
    total = Split.apply(x, z)[0].sum()
    z._assign((z + 1)._value)
    with pytest.raises(RuntimeError, match="changed in place"):
        total.backward()


def test_an_argument_that_forward_wrote_to_becomes_its_result(mode) -> None:
    class Doubled(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    class Forgets(Doubled):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x * 2

    x = leaf(1.0, 2.0)
    y = x * 3
    z = Doubled.apply(y)
    assert z is y and y.grad_fn.name() == "DoubledBackward"
    (y * y).sum().backward()
    assert (y.tolist(), x.grad.tolist()) == ([6.0, 12.0], [72.0, 144.0])
    with pytest.raises(RuntimeError, match="leaf Variable"):
        Doubled.apply(leaf(1.0))
    with pytest.raises(RuntimeError, match="that it returns"):
        Forgets.apply(x * 1)
    whole = x * 1
    with pytest.raises(NotImplementedError, match="view"):
        Doubled.apply(whole[:1])


def test_gradients_of_a_once_differentiable_backward_end_there() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return g * x * 2

    x = leaf(3.0)
    Square.apply(x).backward()
    assert x.grad.item() == 6.0
    (first,) = nc.autograd.grad(Square.apply(x) * x, x, create_graph=True)
    assert first.item() == 27.0
    with pytest.raises(RuntimeError, match="once_differentiable"):
        nc.autograd.grad(first, x)


def test_results_and_what_they_saved_are_freed_without_the_collector() -> None:
    x = leaf(1.0)
    gc.disable()
    try:
        y = scaled_exp(nc).apply(x, 2.0)
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None

        class Marks(Split):
            @staticmethod
            def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
                ctx.mark_non_differentiable(output[0])
                ctx.save_for_backward(*output)

        first, second = Marks.apply(x, x)
        node = weakref.ref(second.grad_fn)
        del first, second
        assert node() is None
    finally:
        gc.enable()


def test_any_attribute_of_ctx_is_the_users_and_can_be_read_from_the_node() -> None:
    class Everything(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            for name in ("op", "arg", "number", "edges", "saved", "result", "outputs", "hooks", "function", "dirty"):
                setattr(ctx, name, name)
            y = x * 5
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            assert (ctx.op, ctx.result, ctx.outputs) == ("op", "result", "outputs")
            return g * 5 + ctx.saved_tensors[0] * 0

    x = leaf(1.0)
    y = Everything.apply(x)
    assert y.grad_fn.dirty == "dirty" and y.grad_fn.saved_tensors[0].item() == 5.0
    y.backward()
    assert x.grad.item() == 5.0
    y = Everything.apply(x)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_a_tape_lists_it_as_one_operation() -> None:
    with nc.Tape() as tape:
        Split.apply(leaf(1.0), nc.ones(1))
    assert [(node.op_name, len(node.inputs)) for node in tape] == [("Split", 2)]
