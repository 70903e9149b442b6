"""Writes in place are seen by every tensor that shares elements, have gradients, and raise where PyTorch raises."""

import gc

import numpy as np
import pytest

import netcl as nc


def numbers(tensor) -> np.ndarray:
    return tensor.detach().numpy()


def same(ours, theirs) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(numbers(a), numbers(b), rtol=1e-5, atol=1e-6)


# ---- who sees a write --------------------------------------------------------------------------------------------


def test_a_write_through_a_view_reaches_its_base_and_every_other_view(device, mode):
    x = nc.arange(12.0).reshape(3, 4)
    row, column, flat = x[1], x[:, 2], x.view(12)
    row.add_(100)
    column.zero_()
    flat[0] = -1
    expected = np.array([[-1, 1, 0, 3], [104, 105, 0, 107], [8, 9, 0, 11]], np.float32)
    np.testing.assert_array_equal(x.numpy(), expected)
    np.testing.assert_array_equal(row.numpy(), expected[1])
    np.testing.assert_array_equal(column.numpy(), expected[:, 2])
    np.testing.assert_array_equal(flat.numpy(), expected.reshape(-1))


def test_a_write_reaches_a_view_whose_base_is_gone():
    x = nc.arange(6.0).reshape(2, 3)
    a, b = x[0], x[:, 1]
    del x
    gc.collect()
    a.fill_(7)
    np.testing.assert_array_equal(b.numpy(), [7, 4])


def test_a_write_reaches_detached_tensors_and_data_and_back():
    w = nc.ones(3, requires_grad=True)
    detached = w.detach()
    w.data.mul_(3)
    np.testing.assert_array_equal(detached.numpy(), [3, 3, 3])
    detached[0] = 5
    np.testing.assert_array_equal(numbers(w), [5, 3, 3])
    w.data = nc.zeros(2)
    assert w.shape == (2,) and w.requires_grad
    np.testing.assert_array_equal(detached.numpy(), [5, 3, 3])


def test_a_state_dict_shows_what_the_module_becomes():
    layer = nc.nn.Linear(2, 2)
    state = layer.state_dict()
    with nc.no_grad():
        layer.weight.fill_(4)
    np.testing.assert_array_equal(state["weight"].numpy(), np.full((2, 2), 4))


def test_copies_do_not_share():
    x = nc.arange(6.0).reshape(2, 3)
    copies = [x.clone(), x.flip(0), x.t().contiguous(), x.t().reshape(6), x + 0]
    x.zero_()
    assert all(copy.sum().item() == 15 for copy in copies)


def test_strides_and_contiguity_are_those_of_pytorch(torch):
    def layouts(t):
        x = t.arange(24).reshape(2, 3, 4)
        views = (
            x, x.t() if x.ndim == 2 else x.transpose(0, 2), x[:, 1], x[1:, ::2], x.permute(2, 0, 1).unsqueeze(1),
            x[0, 0, 1:], x.view(6, 4)[2:4], x.new_zeros(1, 3).expand(5, 3), x.transpose(0, 1).contiguous(),
        )  # fmt: skip
        return [(tuple(v.stride()), v.storage_offset(), v.is_contiguous()) for v in views]

    assert layouts(nc) == layouts(torch)


# ---- gradients ---------------------------------------------------------------------------------------------------


def through_a_view(t):
    w = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = w * 2
    view = y[1:]
    view.mul_(w[:2])
    y.add_(1)
    (y * y * view.sum()).sum().backward()
    return w.grad, y, view


def into_zeros(t):
    w = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = t.zeros(5)
    x[1:4] = w
    x[0] = x[2] * 2
    x[4] = 3
    (x**2).sum().backward()
    return w.grad, x


def overwritten(t):
    w = t.tensor([2.0, 3.0], requires_grad=True)
    y = w * 3
    y.zero_()
    (y + w).sum().backward()
    return w.grad, y


def of_its_result(t):
    w = t.tensor([0.5, 1.0], requires_grad=True)
    y = w * 1
    y.exp_()
    y.sum().backward()
    return w.grad, y


def twice_differentiated(t):
    w = t.tensor([0.5, 1.0], requires_grad=True)
    y = w * w
    y[0] *= w[1]
    (g,) = t.autograd.grad((y * y).sum(), w, create_graph=True)
    g.sum().backward()
    return w.grad, g


def accumulated(t):
    w = t.ones(3, requires_grad=True)
    with t.no_grad():
        w.sub_(0.5)
        w[1] = 9
    (w * w).sum().backward()
    held = w.grad
    (w * w).sum().backward()
    return w, held, w.grad


@pytest.mark.parametrize(
    "program", [through_a_view, into_zeros, overwritten, of_its_result, twice_differentiated, accumulated]
)
def test_gradients_of_writes_equal_pytorch(program, torch, device, mode):
    same(program(nc), program(torch))


def test_a_leaf_written_with_a_tracked_tensor_is_a_result():
    w = nc.ones(2, requires_grad=True)
    x = nc.zeros(2)
    x.copy_(w)
    assert x.requires_grad and not x.is_leaf


def test_views_see_what_an_optimizer_does(torch):
    def program(t):
        p = t.nn.Parameter(t.arange(6.0).reshape(2, 3))
        views = [p.detach()[0], p.data[:, 1:], p.detach().T, p.data.view(-1)]
        optimizer = t.optim.SGD([p], lr=1.0, momentum=0.9)
        for _ in range(2):
            p.grad = t.ones(2, 3)
            optimizer.step()
        views[3][0] = 50  # and the optimizer's next step what is written to them
        views[1].mul_(2)
        optimizer.step()
        return [view.tolist() for view in [p, *views]]

    assert program(nc) == program(torch)


# ---- what raises -------------------------------------------------------------------------------------------------


def on_a_leaf(t):
    t.ones(3, requires_grad=True).add_(1)


def on_a_view_of_a_leaf(t):
    t.ones(3, requires_grad=True)[0] = 1


def on_a_view_from_before_the_base_required_a_gradient(t):
    x = t.ones(3)
    view = x[:2]
    x.requires_grad_()
    view.mul_(2)


def detaching_a_view(t):
    t.ones(3)[:2].detach_()


def on_repeated_elements(t):
    t.ones(3, 1).expand(3, 2).add_(1)


def on_a_larger_shape(t):
    t.ones(3).add_(t.ones(2, 3))


def on_integers(t):
    t.ones(3, dtype=t.int64).mul_(1.5)


def a_view_that_must_move_elements(t):
    t.arange(6).reshape(2, 3).t().view(6)


def a_value_that_does_not_fit(t):
    t.zeros(3)[:2] = t.ones(3)


def after_a_result_was_changed(t):
    w = t.ones(3, requires_grad=True)
    y = w.exp()
    y.add_(1)
    y.sum().backward()


def after_an_operand_was_changed(t):
    w = t.ones(3, requires_grad=True)
    y = w * 2
    z = y * y
    y.detach().add_(1)
    z.sum().backward()


BAD = [
    on_a_leaf, on_a_view_of_a_leaf, on_a_view_from_before_the_base_required_a_gradient, detaching_a_view,
    on_repeated_elements, on_a_larger_shape, on_integers,
    a_view_that_must_move_elements, a_value_that_does_not_fit, after_a_result_was_changed, after_an_operand_was_changed,
]  # fmt: skip


@pytest.mark.parametrize("program", BAD)
def test_bad_writes_raise_pytorchs_error(program, torch):
    with pytest.raises(RuntimeError):
        program(torch)
    with pytest.raises(RuntimeError):
        program(nc)


def test_a_write_that_raises_changes_nothing():
    x = nc.ones(3)
    view = x[:2]
    with pytest.raises(RuntimeError):
        view.add_(nc.ones(4, 2))
    np.testing.assert_array_equal(x.numpy(), [1, 1, 1])


def test_an_operand_whose_elements_no_gradient_needs_may_be_changed():
    w = nc.ones(2, requires_grad=True)
    x = nc.arange(2.0)
    y = w * 3
    z = y + x
    x.add_(1)
    y[0] = y[1] * 2
    (z + y).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [3, 12])


# ---- cost --------------------------------------------------------------------------------------------------------


def test_an_update_in_place_launches_once_and_allocates_nothing():
    x = nc.tensor(np.ones(1000, np.float32))
    views = x[:10], x.detach()
    for _ in range(2):
        x.mul_(2).add_(1)
        nc.synchronize()
    before = nc.current_device().pool.statistics()["in_use"]
    with nc.profiler.count_launches() as launches:
        x.mul_(2).add_(1)
        nc.synchronize()
    assert int(launches) == 1
    assert nc.current_device().pool.statistics()["in_use"] == before
    np.testing.assert_array_equal(views[0].numpy(), np.full(10, 15))


def test_filling_with_changing_numbers_plans_once():
    from netcl.graph.plan import statistics

    x = nc.zeros(10)
    for number in (3.0, 4.0):
        x.fill_(number)
        x.numpy()
    planned = statistics.planned
    for number in (5.0, 6.0):
        x.fill_(number)
        assert x.numpy()[0] == number
    assert statistics.planned == planned


def test_views_of_a_long_lived_tensor_do_not_pile_up():
    x = nc.zeros(100)
    for place in range(1000):
        x[place % 100]
    assert len(x._storage.members) < 64


def test_augmented_assignments_keep_the_tensor(device, torch):
    for library in (nc, torch):
        x = kept = library.tensor([9, -7, 5])
        x //= 2
        x %= 3
        x <<= 2
        x |= 1
        x >>= 1
        assert x is kept
        assert x.tolist() == [2, 4, 4]
        with pytest.raises(RuntimeError):
            x /= 2
