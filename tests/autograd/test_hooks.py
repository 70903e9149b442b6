"""Hooks, kept gradients, backward to chosen inputs, and how gradients accumulate."""

from __future__ import annotations

import gc
import weakref

import pytest

import netcl as nc


def leaf(*numbers: float) -> nc.Tensor:
    return nc.tensor(list(numbers), requires_grad=True)


def test_hooks_run_in_order_and_a_kept_gradient_is_what_they_left(mode) -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    y.retain_grad()  # before the hooks, but it sees what they made
    order = []
    first = y.register_hook(lambda g: order.append("first") or g * 2)
    y.register_hook(lambda g: order.append("second") or g + 1)
    assert y.retains_grad and not x.retains_grad and not (x * 1).retains_grad
    (y * y).sum().backward(retain_graph=True)
    assert order == ["first", "second"]
    assert y.grad.tolist() == [13.0, 25.0]
    assert x.grad.tolist() == [39.0, 75.0]
    first.remove()
    y.sum().backward()
    assert y.grad.tolist() == [15.0, 27.0]  # added


def test_what_a_hook_returns_is_checked() -> None:
    x = leaf(1.0)
    handle = x.register_hook(lambda g: g.tolist())
    with pytest.raises(TypeError, match="list"):
        (x * 2).backward()
    handle.remove()
    x.register_hook(lambda g: g.expand(3))
    with pytest.raises(RuntimeError, match=r"\[1\] to \[3\]"):
        (x * 2).backward()
    for method in ("register_hook", "register_post_accumulate_grad_hook"):
        with pytest.raises(RuntimeError, match=method):
            getattr(nc.ones(1), method)(print)
    with pytest.raises(RuntimeError, match="post_accumulate"):
        (x * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(RuntimeError, match="retain_grad"):
        nc.ones(1).retain_grad()
    x.retain_grad()  # a leaf keeps its gradient anyway


def test_a_result_that_keeps_its_gradient_is_freed_without_the_collector() -> None:
    gc.disable()
    try:
        y = leaf(1.0) * 2
        y.retain_grad()
        known = weakref.ref(y)
        del y
        assert known() is None
    finally:
        gc.enable()


def test_post_accumulate_hooks_see_the_sum_in_grad() -> None:
    x = leaf(2.0)
    seen = []
    handle = x.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, t.grad.item())))
    (x * x).backward()
    (x * x).backward()
    assert seen == [(True, 4.0), (True, 8.0)]
    nc.autograd.grad(x * x, x)
    assert len(seen) == 2
    handle.remove()
    (x * x).backward()
    assert len(seen) == 2


def test_hooks_of_a_node_run_before_and_after_it() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    seen = []
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 10,))
    handle = y.grad_fn.register_hook(
        lambda inputs, outputs: seen.append((inputs[0].tolist(), outputs[0].tolist())) or (inputs[0] + 1, inputs[1])
    )
    y.sum().backward(retain_graph=True)
    assert seen == [([30.0, 30.0], [10.0, 10.0])]
    assert x.grad.tolist() == [31.0, 31.0]
    handle.remove()
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0],))
    with pytest.raises(RuntimeError, match="tuple of 2"):
        y.sum().backward()


def test_grad_stays_the_same_tensor_while_it_accumulates() -> None:
    x = leaf(1.0)
    (x * 2).backward()
    kept = x.grad
    (x * 3).backward()
    assert x.grad is kept
    assert kept.item() == 5.0
    (x * x).backward(create_graph=True)
    assert x.grad.requires_grad
    assert x.grad.item() == 7.0


def test_backward_to_chosen_inputs_leaves_the_others_alone() -> None:
    x, y = leaf(2.0), leaf(3.0)
    middle = x * y
    z = middle * middle
    z.backward(inputs=[x, middle], retain_graph=True)
    assert (x.grad.item(), middle.grad.item(), y.grad) == (36.0, 12.0, None)
    nc.autograd.backward([z, middle], [None, nc.tensor([1.0])], inputs=y)
    assert y.grad.item() == 26.0
    with pytest.raises(RuntimeError, match="inputs is empty"):
        (x * 1).backward(inputs=[])
    with pytest.raises(RuntimeError, match="does not require"):
        (x * 1).backward(inputs=nc.ones(1))
    with pytest.raises(TypeError, match="str"):
        (x * 1).backward(inputs=["x"])


def test_only_what_leads_to_the_inputs_is_run_and_released() -> None:
    x, y = leaf(2.0), leaf(3.0)
    a, b = x * x, y * y
    called = []
    b.register_hook(called.append)
    nc.autograd.grad(a * b, x)  # releases a and the product, not b
    assert not called
    b.backward()
    assert y.grad.item() == 6.0
    with pytest.raises(RuntimeError, match="second time"):
        a.backward()


def test_a_result_that_is_asked_for_is_where_the_way_back_ends() -> None:
    x = leaf(2.0)
    y = x * x
    assert nc.autograd.grad(y * 3, y)[0].item() == 3.0
    y.backward()  # what is below y was neither run nor released
    assert x.grad.item() == 4.0


def test_two_tensors_at_one_place_and_one_input_twice_all_get_the_gradient() -> None:
    x = leaf(2.0)
    found = nc.autograd.grad(x * x, [x, x])
    assert [g.item() for g in found] == [4.0, 4.0]


def test_grad_makes_zeros_takes_batches_and_counts_gradients() -> None:
    x, unused = leaf(2.0, 1.0), leaf(1.0)
    found = nc.autograd.grad((x * x).sum(), [x, unused], materialize_grads=True)
    assert [g.tolist() for g in found] == [[4.0, 2.0], [0.0]]
    with pytest.raises(ValueError, match="materialize_grads"):
        nc.autograd.grad(x.sum(), x, materialize_grads=True, allow_unused=False)
    starts = nc.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]])
    found = nc.autograd.grad(x * x, [x, unused], starts, is_grads_batched=True, allow_unused=True)
    assert found[0].tolist() == [[4.0, 0.0], [0.0, 2.0], [4.0, 4.0]] and found[1] is None
    with pytest.raises(RuntimeError, match="2 tensors and 1 gradients"):
        nc.autograd.grad([x * 1, x * 2], x, nc.ones(2))
    nc.autograd.backward([x.sum(), (x * 2).sum()])
    assert x.grad.tolist() == [3.0, 3.0]


def test_requires_grad_is_for_leaves_and_floats() -> None:
    x = nc.ones(2)
    assert x.is_leaf and x.requires_grad_() is x and x.requires_grad
    y = x * 2
    assert not y.is_leaf and y.requires_grad_() is y
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad_(False)
    with pytest.raises(RuntimeError, match="int64"):
        nc.tensor([1]).requires_grad_()
    x.requires_grad = False
    assert not (x * 2).requires_grad
