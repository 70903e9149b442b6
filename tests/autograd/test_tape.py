"""backward, grad, the modes, hooks and the Tape behave as PyTorch's do."""

import gc
import threading

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F


def leaf(*numbers: float) -> nc.Tensor:
    return nc.tensor(list(numbers), requires_grad=True)


def test_gradients_accumulate_until_they_are_cleared(mode):
    x = leaf(1.0, 2.0)
    for turn in (1, 2, 3):
        (x * x).sum().backward()
        assert x.grad.tolist() == [2.0 * turn, 4.0 * turn]
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_backward_twice_needs_retain_graph():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4.0, 8.0]
    with pytest.raises(RuntimeError, match=r"second time.*retain_graph=True"):
        y.backward()
    assert x.grad.tolist() == [4.0, 8.0]  # the failed one added nothing


@pytest.mark.parametrize(
    ("name", "frees"),
    [
        ("sum", False), ("double", False), ("neg", False), ("clone", False), ("mean", False), ("cumsum", False),
        ("exp", True), ("square", True), ("relu", True),
    ],
)  # fmt: skip
def test_going_back_again_raises_where_elements_were_saved(torch, name, frees):
    for module in (nc, torch):
        x = module.tensor([1.0, 2.0], requires_grad=True)
        y = getattr(x, name)(*([0] if name == "cumsum" else [])).sum()
        y.backward()
        first = x.grad.tolist()
        if frees:
            with pytest.raises(RuntimeError, match="second time"):
                y.backward()
        else:
            y.backward()
            assert x.grad.tolist() == [2 * value for value in first]


def test_an_input_that_was_converted_once_serves_many_steps():
    points = nc.tensor(np.array([[1.0], [2.0]]), requires_grad=True).float()
    weight = leaf(3.0)
    for _ in range(2):
        weight.grad = None
        slope = nc.autograd.grad((points * points * weight).sum(), points, create_graph=True)[0]
        slope.sum().backward()
        assert weight.grad.tolist() == [6.0]


def test_backward_needs_a_scalar_or_a_gradient_of_the_right_shape_device_and_type():
    x = leaf(1.0, 2.0)
    y = x * 3
    with pytest.raises(RuntimeError, match=r"only for scalars.*\[2\].*gradient="):
        y.backward()
    with pytest.raises(RuntimeError, match=r"\[3\].*\[2\]"):
        y.backward(nc.ones(3))
    with pytest.raises(TypeError, match="ndarray"):
        y.backward(np.ones(2))
    y.backward(nc.tensor(np.array([1.0, 10.0])))  # float64: brought to the tensor's dtype
    assert x.grad.tolist() == [3.0, 30.0]
    assert x.grad.dtype is nc.float32
    one = nc.tensor([[2.0]], requires_grad=True)
    (one * 4).backward()  # one element is a scalar, whatever its shape
    assert one.grad.tolist() == [[4.0]]


def test_diamonds_and_leaves_used_twice_get_the_sum(mode, torch):
    x, t = leaf(0.5, -1.5), torch.tensor([0.5, -1.5], requires_grad=True)
    for v in (x, t):
        a = v * v
        b = a.exp()
        c = a * b + v
        d = c * a + b * c + v * v
        (d * c).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-5)


def test_leaves_that_receive_one_gradient_do_not_share_it():
    a, b, start = leaf(1.0), leaf(2.0), nc.tensor([5.0])
    (a + b).backward(start)
    assert a.grad is not b.grad
    assert a.grad is not start
    a.grad._assign((a.grad * 2)._value)  # as clipping does
    assert (a.grad.item(), b.grad.item(), start.item()) == (10.0, 5.0, 5.0)


def test_no_grad_and_enable_grad_work_as_blocks_and_as_decorators():
    x = leaf(1.0)
    with nc.no_grad():
        assert not (x * 2).requires_grad
        with nc.enable_grad():
            assert (x * 2).requires_grad
        assert not nc.is_grad_enabled()
    assert nc.is_grad_enabled()

    @nc.no_grad()
    def called(depth: int) -> bool:
        return called(depth - 1) if depth else (x * 2).requires_grad

    @nc.no_grad
    def bare() -> bool:
        return (x * 2).requires_grad

    @nc.enable_grad
    def enabled() -> bool:
        return (x * 2).requires_grad

    assert not called(3)
    assert not bare()
    with nc.no_grad():
        assert enabled()
    with pytest.raises(ZeroDivisionError), nc.no_grad():
        1 / 0  # noqa: B018
    assert (x * 2).requires_grad


def test_a_decorated_function_in_two_threads_leaves_each_ones_mode_alone():
    inside, leave = threading.Barrier(2), threading.Barrier(2)
    found = {}

    @nc.no_grad()
    def wait() -> None:
        inside.wait(10)
        leave.wait(10)

    def run(name: str, outer: bool) -> None:
        if outer:
            wait()
            found[name] = nc.is_grad_enabled()
        else:
            with nc.no_grad():
                wait()
                found[name] = nc.is_grad_enabled()

    threads = [threading.Thread(target=run, args=arguments) for arguments in (("on", True), ("off", False))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"on": True, "off": False}


def test_detach_and_data_end_the_graph_and_keep_the_values():
    x = leaf(1.0, 2.0)
    y = (x * 2).detach()
    assert not y.requires_grad
    assert y.is_leaf
    assert x.data.tolist() == [1.0, 2.0]
    (x * y).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_grad_returns_gradients_and_touches_nothing():
    x, y, unused = leaf(2.0), leaf(3.0), leaf(1.0)
    middle = x * y
    z = middle * middle
    gx, gm, gz = nc.autograd.grad(z, [x, middle, z], retain_graph=True)
    assert (gx.item(), gm.item(), gz.item()) == (36.0, 12.0, 1.0)
    assert x.grad is None
    with pytest.raises(RuntimeError, match="allow_unused"):
        nc.autograd.grad(z, [x, unused], retain_graph=True)
    assert nc.autograd.grad(z, [x, unused], retain_graph=True, allow_unused=True)[1] is None
    assert nc.autograd.grad([z, middle], x, [nc.tensor([2.0]), nc.tensor([10.0])])[0].item() == 102.0
    with pytest.raises(RuntimeError, match="does not require"):
        nc.autograd.grad(leaf(1.0) * 2, nc.tensor([1.0]))


def test_gradients_of_gradients_of_gradients():
    x = leaf(2.0)
    y = x**4
    expected = 16.0
    for factor in (4 * 8.0, 12 * 4.0, 24 * 2.0, 24.0):
        assert y.item() == pytest.approx(expected)
        (y,) = nc.autograd.grad(y, x, create_graph=True)
        expected = factor
    assert y.item() == pytest.approx(24.0)
    w = leaf(1.0, 2.0)
    (penalty,) = nc.autograd.grad((w**3).sum(), w, create_graph=True)
    (penalty * penalty).sum().backward()  # d/dw of 9 w^4
    assert w.grad.tolist() == pytest.approx([36.0, 288.0])


def test_operations_without_slope_give_zeros_not_nothing(mode):
    x = leaf(1.5, -2.0)
    (x.sign() + x.floor()).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


def test_gradients_have_their_leafs_dtype():
    for dtype in (nc.float16, nc.bfloat16, nc.float64):
        x = nc.ones(3, dtype=dtype, requires_grad=True)
        w = nc.ones(3, requires_grad=True)
        (x * w).sum().backward()
        assert x.grad.dtype is dtype
        assert w.grad.dtype is nc.float32


def test_hooks_see_the_whole_gradient_once_and_may_replace_it():
    x = leaf(3.0)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.item()))
    doubled = x.register_hook(lambda g: g * 2)
    (x * x).backward()
    assert seen == [6.0]
    assert x.grad.item() == 12.0
    handle.remove()
    doubled.remove()
    handle.remove()
    x.grad = None
    y = x * 2
    y.register_hook(lambda g: g + 1)
    y.retain_grad()
    (y * y).backward()
    assert seen == [6.0]
    assert y.grad.item() == 13.0
    assert x.grad.item() == 26.0


def test_a_tensor_changed_in_place_after_it_was_saved_is_noticed():
    x, y = leaf(1.0, 2.0), nc.tensor([3.0, 4.0])
    z = (x * y).sum()
    y._assign((y + 1)._value)
    with pytest.raises(RuntimeError, match=r"mul.*\[2\].*changed in place.*clone"):
        z.backward()


@pytest.mark.timeout(100)
def test_a_chain_of_100_000_operations_goes_forward_and_back_without_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(50_000):
        y = y * 1.0001
        y = y - 0.0001
    y.sum().backward()
    assert y.item() == pytest.approx(1.0, abs=0.05)
    assert x.grad.item() == pytest.approx(1.0001**50_000, rel=0.05)
    kept = y * 1  # its graph is 100,000 nodes deep
    del y, kept
    gc.collect()
    long = nc.tensor([1.0])
    for _ in range(100_000):
        long = long + 1.0  # never computed
    del long
    gc.collect()


def test_a_tape_lists_operations_recorded_for_gradients_in_its_thread():
    x = leaf(1.0, 2.0)
    before = x * 5
    with nc.Tape() as outer:
        y = x * 2
        with nc.Tape() as inner:
            z = (y + before).sum()
        with nc.no_grad():
            x * 3
        nc.ones(2) * 2
        other = threading.Thread(target=lambda: x.exp())
        other.start()
        other.join()
    F.relu(z)
    assert [node.op_name for node in inner.nodes] == ["add", "sum"]
    assert [node.op_name for node in outer.nodes] == ["mul", "add", "sum"]
    assert len(outer) == 3
    assert outer.nodes[0].inputs[0] is x
    assert all(node.requires_grad for node in outer)
    outer.reset()
    assert len(outer) == 0
    z.backward()
    assert x.grad.tolist() == [7.0, 7.0]


def test_a_loss_is_on_the_tape_as_one_operation():
    prediction = leaf(1.0, 2.0)
    with nc.Tape() as tape:
        F.mse_loss(prediction, nc.zeros(2))
    assert [node.op_name for node in tape.nodes] == ["mse_loss"]
    assert tape.nodes[0].requires_grad


# ---- rules that give nothing -------------------------------------------------------------------------------------


def test_a_rule_that_gives_none_for_what_requires_a_gradient_names_operation_and_operand():
    s, q = nc.tensor([2.0, 3.0], requires_grad=True), nc.tensor([1.5, 2.5], requires_grad=True)
    nc.special.zeta(s.detach(), q).sum().backward()
    assert q.grad is not None
    with pytest.raises(NotImplementedError, match=r"zeta: not differentiable in operand 1 of 2, of shape \[2\]"):
        nc.special.zeta(s, q).sum().backward()


def test_an_operation_without_a_derivative_is_no_constant():
    x = nc.tensor([1.0, 2.0], requires_grad=True)
    y = nc.heaviside(x, nc.tensor([5.0, 5.0]))
    assert y.requires_grad
    with pytest.raises(NotImplementedError, match="the derivative of heaviside is not implemented"):
        (y + x).sum().backward()
    with nc.no_grad():
        assert not nc.heaviside(x, y).requires_grad


def test_so_does_a_composite_whose_gradient_is_made_when_it_runs():
    from netcl.autograd.tape import apply_composite
    from netcl.graph import primitives

    if "half_a_gradient" not in primitives.TABLE:
        shape = lambda operands, arg: (operands[0].shape, operands[0].dtype)  # noqa: E731
        primitives.composite("half_a_gradient", shape, lambda a, b: (nc.Tensor._wrap(a) * nc.Tensor._wrap(b))._value)
    a, b = nc.tensor([1.0, 2.0], requires_grad=True), nc.tensor([3.0, 4.0], requires_grad=True)
    apply_composite("half_a_gradient", (a, b), None, lambda g, y, a, b, arg: (g * b, None)).sum().backward()
    with pytest.raises(NotImplementedError, match="half_a_gradient: not differentiable in operand 2 of 2"):
        b.grad.numpy()


@pytest.mark.parametrize(
    ("gradient", "error"),
    [
        (lambda t: t.ones(3), RuntimeError), (lambda t: t.ones(2, dtype=t.float64), RuntimeError),
        (lambda t: 1, TypeError), (lambda t: np.ones(2, np.float32), TypeError),
    ],
)  # fmt: skip
def test_a_gradient_that_does_not_fit_cannot_be_set(torch, gradient, error):
    for t in (torch, nc):
        x = t.ones(2, requires_grad=True)
        with pytest.raises(error):
            x.grad = gradient(t)
        assert x.grad is None
        x.grad = t.zeros(2)
        (x * 3).sum().backward()
        assert x.grad.tolist() == [3, 3]
