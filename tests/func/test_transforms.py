"""grad, vjp, jvp, jacobians: as torch.func's, however they are nested."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import netcl as nc

draws = np.random.default_rng(0)
X = draws.standard_normal((4, 3)).astype(np.float32)
W = draws.standard_normal((3, 2)).astype(np.float32)
V = draws.standard_normal(3).astype(np.float32)
U = draws.standard_normal(2).astype(np.float32)
BATCHES = draws.standard_normal((6, 4, 3)).astype(np.float32)


def leaves(tree: Any) -> list:
    if isinstance(tree, dict):
        return [leaf for item in tree.values() for leaf in leaves(item)]
    if isinstance(tree, (tuple, list)):
        return [leaf for item in tree for leaf in leaves(item)]
    return [tree]


def tanh_sum(w: Any, x: Any) -> Any:
    return (x @ w).tanh().sum()


def cubes(x: Any) -> Any:
    return (x**3).sum()


def backward_through_map(m: Any, w: Any, x: Any) -> Any:
    w = w.clone().requires_grad_()
    m.vmap(lambda x: tanh_sum(w, x))(x).sum().backward()
    return w.grad


def three_times(m: Any, w: Any, x: Any) -> Any:
    w = w.clone().requires_grad_()
    y = m.vmap(lambda x: tanh_sum(w, x))(x)
    for _ in range(2):
        (y,) = m.autograd.grad((y**2).sum(), w, create_graph=True)
    return m.autograd.grad((y**2).sum(), w)


def through_sample_gradients(m: Any, w: Any, x: Any) -> Any:
    w = w.clone().requires_grad_()
    g = m.vmap(m.func.grad(tanh_sum), (None, 0))(w, x)
    return *m.autograd.grad((g**2).sum(), w), g


def pulled(cotangent: Any, y: Any, pull: Callable, aux: Any) -> Any:
    return y, *pull(cotangent), aux


CASES: dict[str, tuple[Callable, tuple]] = {
    "grad": (lambda m, x: m.func.grad(cubes)(x), (V,)),
    "grad of grad": (lambda m, x: m.func.grad(lambda x: m.func.grad(cubes)(x).sin().sum())(x), (V,)),
    "argnums": (lambda m, w, x: m.func.grad(tanh_sum, argnums=(1, 0))(w, x), (W, X)),
    "last argument": (lambda m, w, x: m.func.grad(tanh_sum, argnums=-1)(w, x), (W, X)),
    "aux": (lambda m, w, x: m.func.grad(lambda w, x: (tanh_sum(w, x), x @ w), has_aux=True)(w, x), (W, X)),
    "value": (lambda m, w, x: m.func.grad_and_value(tanh_sum)(w, x), (W, X)),
    "value, aux": (
        lambda m, w, x: m.func.grad_and_value(lambda w, x: (tanh_sum(w, x), [w]), has_aux=True)(w, x), (W, X)),
    "containers": (lambda m, w, x: m.func.grad(lambda p: tanh_sum(p["w"][0], p["x"]))({"w": [w], "x": x}), (W, X)),
    "unused": (lambda m, w, x: m.func.grad(lambda w, x: x.sum(), argnums=(0, 1))(w, x), (W, X)),
    "keyword": (lambda m, w, x: m.func.grad(tanh_sum)(w, x=x), (W, X)),
    "vjp": (lambda m, w, x: m.func.vjp(lambda w, x: x @ w, w, x)[1](x[:, :2]), (W, X)),
    "vjp of containers": (
        lambda m, x: m.func.vjp(lambda x: {"a": x.sin(), "b": (x.sum(), x)}, x)[1]({"a": x, "b": (x[0], x)}), (V,)),
    "vjp, aux": (lambda m, x: pulled(x, *m.func.vjp(lambda x: (x.sin(), x), x, has_aux=True)), (V,)),
    "jvp": (
        lambda m, w, x: m.func.jvp(lambda w, x: {"a": (x @ w).sin(), "b": x.sum()}, (w, x), (w + 1, x * 2)), (W, X)),
    "jvp, aux": (lambda m, x: m.func.jvp(lambda x: (x.sin(), x), (x,), (x,), has_aux=True), (V,)),
    "jvp of jvp": (lambda m, x: m.func.jvp(lambda x: m.func.jvp(cubes, (x,), (x,))[1], (x,), (x + 1,)), (V,)),
    "jacrev": (lambda m, x: m.func.jacrev(lambda x: x.cumsum(0) * x)(x), (V,)),
    "jacfwd": (lambda m, x: m.func.jacfwd(lambda x: x.cumsum(0) * x)(x), (V,)),
    "jacrev in chunks": (lambda m, x: m.func.jacrev(lambda x: x.cumsum(0), chunk_size=2)(x), (V,)),
    "jacrev, two": (
        lambda m, x, y: m.func.jacrev(lambda x, y: (x * y.sum(), {"k": y.outer(x)}), argnums=(0, 1))(x, y), (V, U)),
    "jacfwd, two": (
        lambda m, x, y: m.func.jacfwd(lambda x, y: (x * y.sum(), {"k": y.outer(x)}), argnums=(0, 1))(x, y), (V, U)),
    "jacrev, aux": (lambda m, x: m.func.jacrev(lambda x: (x.sin(), x), has_aux=True)(x), (V,)),
    "jacfwd, aux": (lambda m, x: m.func.jacfwd(lambda x: (x.sin(), x), has_aux=True)(x), (V,)),
    "hessian": (lambda m, x: m.func.hessian(cubes)(x), (V,)),
    "hessian, two": (
        lambda m, x, y: m.func.hessian(lambda x, y: x.sum() * y.prod() * y[0], argnums=(0, 1))(x, y), (V, U)),
    "jacrev of jacfwd": (lambda m, x: m.func.jacrev(m.func.jacfwd(lambda x: (x.sin() * x.prod()).sum()))(x), (V,)),
    "jacfwd of jacfwd": (lambda m, x: m.func.jacfwd(m.func.jacfwd(cubes))(x), (V,)),
    "vmap of hessian": (lambda m, x: m.vmap(m.func.hessian(lambda x: cubes(x) * x.prod()))(x), (X,)),
    "vmap of vmap": (lambda m, x: m.vmap(m.vmap(m.dot, (None, 0)), (0, None))(x, x), (X,)),
    "vmap of vmap, dims": (lambda m, x: m.vmap(m.vmap(m.dot, (0, None)), (None, 0), out_dims=1)(x, x[:2]), (X,)),
    "grad of vmap": (lambda m, w, x: m.func.grad(lambda w: m.vmap(lambda x: tanh_sum(w, x))(x).sum())(w), (W, X)),
    "grad of grad of vmap": (
        lambda m, w, x: m.func.grad(
            lambda w: (m.func.grad(lambda w: m.vmap(lambda x: tanh_sum(w, x))(x).sum())(w) ** 2).sum()
        )(w), (W, X)),
    "vmap of grad of vmap": (
        lambda m, w, b: m.vmap(
            m.func.grad(lambda w, x: m.vmap(lambda x: tanh_sum(w, x))(x).sum()), (None, 0)
        )(w, b), (W, BATCHES)),
    "grad of vmap of grad": (
        lambda m, w, x: m.func.grad(lambda w: (m.vmap(m.func.grad(lambda x: tanh_sum(w, x)))(x) ** 2).sum())(w),
        (W, X)),
    "grad of vmap of grad in what is shared": (
        lambda m, w, x: m.func.grad(lambda w: (m.vmap(m.func.grad(tanh_sum), (None, 0))(w, x) ** 2).sum())(w), (W, X)),
    "jacrev of vmap of grad": (
        lambda m, w, x: m.func.jacrev(lambda w: m.vmap(m.func.grad(tanh_sum), (None, 0))(w, x).sum(0))(w), (W, X)),
    "jacfwd of vmap of grad": (
        lambda m, w, x: m.func.jacfwd(lambda w: m.vmap(m.func.grad(tanh_sum), (None, 0))(w, x).sum(0))(w), (W, X)),
    "a result that samples share": (lambda m, w, x: m.func.grad(lambda w: m.vmap(lambda x: w * 2)(x).sum())(w), (W, X)),
    "backward": (backward_through_map, (W, X)),
    "three times": (three_times, (W, X)),
    "through gradients of samples": (through_sample_gradients, (W, X)),
    "chunks": (
        lambda m, w, x: m.vmap(lambda x, w: (x @ w).tanh(), (0, None), out_dims=1, chunk_size=3)(x, w), (W, X)),
    "in_dims of containers": (
        lambda m, w, x: m.vmap(
            lambda p, s: (p["x"] @ p["w"]) * s, ({"x": 0, "w": None}, 1)
        )({"x": x, "w": w}, x.t()[:2]), (W, X)),
    "out_dims": (lambda m, x: m.vmap(lambda x: (x, {"k": x * 2, "n": x.sum()}), out_dims=(1, 0))(x), (X,)),
    "negative dims": (lambda m, x: m.vmap(lambda x: x * 2, in_dims=-1, out_dims=-1)(x), (X,)),
    "out_dims None": (lambda m, w, x: m.vmap(lambda w, x: (x.sum(), w), (None, 0), (0, None))(w, x), (W, X)),
}  # fmt: skip


def test_transforms_give_what_pytorchs_give(device, torch):
    ours = {name: f(nc, *map(nc.tensor, arrays)) for name, (f, arrays) in CASES.items()}
    for name, (f, arrays) in CASES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch's own
            theirs = f(torch, *map(torch.tensor, arrays))
        for x, y in zip(leaves(ours[name]), leaves(theirs), strict=True):
            assert tuple(x.shape) == tuple(y.shape), name
            assert x.requires_grad == y.requires_grad, name
            np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-4, atol=1e-4, err_msg=name)


def test_gradients_of_samples_are_a_few_launches_and_a_loops(device, mode):
    model = nc.nn.Sequential(nc.nn.Linear(6, 16), nc.nn.ReLU(), nc.nn.Linear(16, 3))
    params = {name: p.detach() for name, p in model.named_parameters()}
    x, y = nc.randn(8, 6), nc.randint(0, 3, (8,))

    def loss(params: dict, x: Any, y: Any) -> Any:
        return nc.nn.functional.cross_entropy(nc.func.functional_call(model, params, x), y)

    with nc.profiler.count_launches() as launches:
        found = nc.vmap(nc.func.grad(loss), (None, 0, 0))(params, x, y)
    if mode == "lazy":
        assert int(launches) <= 6
    one_by_one = [nc.func.grad(loss)(params, x[i], y[i]) for i in range(8)]
    for name in params:
        wanted = nc.stack([g[name] for g in one_by_one])
        np.testing.assert_allclose(found[name].numpy(), wanted.numpy(), rtol=1e-5, atol=1e-6)
        assert found[name].shape == (8, *params[name].shape)


def test_jacfwd_in_chunks_is_jacfwd():
    f, x = lambda x: x.cumsum(0).sin(), nc.tensor(V)
    whole = nc.func.jacfwd(f)(x)
    np.testing.assert_array_equal(nc.func.jacfwd(f, chunk_size=2)(x).numpy(), whole.numpy())


def test_nothing_arrives_in_grad():
    x = nc.tensor(V, requires_grad=True)
    w = nc.nn.Linear(3, 1)
    found = nc.func.grad(lambda x: w(x).sum())(x)
    nc.func.jacrev(lambda x: w(x))(x).sum().item()
    nc.vmap(nc.func.grad(lambda x: w(x).sum()))(nc.tensor(X)).sum().item()
    assert x.grad is None and w.weight.grad is None
    assert found.requires_grad  # w requires a gradient, so the derivative can be differentiated


def test_a_derivative_has_no_graph_where_nobody_asks():
    x = nc.tensor(V)
    found, (value, aux) = nc.func.grad_and_value(lambda x: (cubes(x), x * 2), has_aux=True)(x)
    assert not found.requires_grad and not value.requires_grad and not aux.requires_grad
    with nc.no_grad():
        inside = nc.func.grad(cubes)(nc.tensor(V, requires_grad=True))
    assert not inside.requires_grad
    np.testing.assert_allclose(inside.numpy(), 3 * V**2, rtol=1e-6)


def test_value_and_grad_is_grad_and_value_turned_round():
    value, gradient = nc.func.value_and_grad(cubes)(nc.tensor(V))
    np.testing.assert_allclose(value.item(), (V**3).sum(), rtol=1e-5)
    np.testing.assert_allclose(gradient.numpy(), 3 * V**2, rtol=1e-6)


def test_inner_variables_are_not_the_outer_ones():
    """d/dx (x * d/dy (x + y)) is 1: an inner derivative does not see the outer variable as its own."""
    outer = nc.func.grad(lambda x: x * nc.func.grad(lambda y: x + y)(nc.tensor(1.0)))
    assert outer(nc.tensor(3.0)).item() == 1


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: nc.func.grad(lambda x: x)(x), RuntimeError, "scalar Tensor, got tensor with 1 dims"),
        (lambda x: nc.func.grad(lambda x: 3.0)(x), RuntimeError, "return a Tensor, got <class 'float'>"),
        (lambda x: nc.func.grad(cubes, has_aux=True)(x), RuntimeError, r"should be a tuple: \(output, aux\)"),
        (lambda x: nc.func.grad(cubes, argnums=1)(x), RuntimeError, "Got argnum=1, but only 1 positional inputs"),
        (lambda x: nc.func.grad(cubes, argnums=())(x), RuntimeError, "argnums must be non-empty"),
        (lambda x: nc.func.grad(cubes, argnums=(0, 0))(x), RuntimeError, "must be unique"),
        (lambda x: nc.func.grad(cubes, argnums="0")(x), RuntimeError, "argnums must be int or Tuple"),
        (lambda x: nc.func.grad(cubes)(3.0), ValueError, "must be Tensor, got <class 'float'>"),
        (lambda x: nc.func.grad(cubes)(x.long()), RuntimeError, "only floating-point"),
        (lambda x: nc.func.vjp(lambda x: x, x)[1]((x, x)), RuntimeError, "pytree structure of cotangents"),
        (lambda x: nc.func.vjp(lambda x: x.long(), x), RuntimeError, "must be floating-point"),
        (lambda x: nc.func.vjp(lambda x: (), x), RuntimeError, "non-empty output"),
        (lambda x: nc.func.jvp(cubes, x, x), RuntimeError, "Expected primals to be a tuple"),
        (lambda x: nc.func.jvp(cubes, (x,), (x, x)), RuntimeError, "same python structure"),
        (lambda x: nc.func.jvp(cubes, (x,), (x[:2],)), RuntimeError, r"shape \[2\]"),
        (lambda x: nc.func.jvp(lambda x: nc.ones(2), (x,), (x,), strict=True), RuntimeError, "independent"),
        (lambda x: nc.func.jacrev(cubes, chunk_size=0), ValueError, "greater than 0"),
    ],
)  # fmt: skip
def test_what_transforms_refuse(call, error, says):
    with pytest.raises(error, match=says):
        call(nc.tensor(V))


# ---- modules -----------------------------------------------------------------------------------------------------


def test_functional_call_leaves_the_module_as_it_was():
    layer = nc.nn.Linear(3, 2)
    before = layer.weight
    result = nc.func.functional_call(layer, ({"weight": nc.ones(2, 3)}, {"bias": nc.zeros(2)}), nc.tensor(X))
    np.testing.assert_allclose(result.numpy(), np.repeat(X.sum(1)[:, None], 2, 1), rtol=1e-5)
    assert layer.weight is before and isinstance(layer._parameters["weight"], nc.nn.Parameter)
    with pytest.raises(ZeroDivisionError):
        nc.func.functional_call(Failing(), {"w": nc.ones(1)})
    nc.func.functional_call(layer, {"weight": nc.ones(2, 3)}, args=(nc.tensor(X),), kwargs={})


class Failing(nc.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nc.nn.Parameter(nc.zeros(1))

    def forward(self) -> Any:
        return 1 / 0


class Counting(nc.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", nc.zeros(()))
        self.first = nc.nn.Linear(2, 2, bias=False)
        self.second = nc.nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Any) -> Any:
        self.seen = self.seen + 1
        return self.second(self.first(x))


def test_functional_call_puts_what_is_assigned_into_the_dict_and_ties_weights():
    model = Counting()
    given = {"seen": nc.zeros(()), "first.weight": 2 * nc.eye(2)}
    assert nc.func.functional_call(model, given, nc.ones(2)).tolist() == [4, 4]
    assert given["seen"].item() == 1 and model.seen.item() == 0
    untied = nc.func.functional_call(model, {"first.weight": nc.zeros(2, 2)}, nc.ones(2), tie_weights=False)
    assert untied.tolist() == [0, 0]
    with pytest.raises(ValueError, match="which are tied"):
        nc.func.functional_call(model, {"first.weight": nc.eye(2), "second.weight": nc.eye(2)}, nc.ones(2))
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\): 'k'.*\n.*Missing key\(s\): 'first.weight'"):
        nc.func.functional_call(model, {"k": nc.ones(2)}, nc.ones(2), strict=True)
    with pytest.raises(ValueError, match="multiple dictionaries"):
        nc.func.functional_call(model, ({"seen": nc.ones(())}, {"seen": nc.ones(())}), nc.ones(2))


def test_an_ensemble_is_one_map(device, torch):
    models = [nc.nn.Sequential(nc.nn.Linear(3, 4), nc.nn.Tanh(), nc.nn.Linear(4, 2)) for _ in range(3)]
    params, buffers = nc.func.stack_module_state(models)
    assert params["0.weight"].shape == (3, 4, 3) and params["0.weight"].is_leaf and params["0.weight"].requires_grad
    x = nc.tensor(X)
    call = lambda p, b, x: nc.func.functional_call(models[0], (p, b), x)  # noqa: E731
    together = nc.vmap(call, (0, 0, None))(params, buffers, x)
    one_by_one = nc.stack([m(x) for m in models]).detach()
    np.testing.assert_allclose(together.detach().numpy(), one_by_one.numpy(), rtol=1e-5, atol=1e-6)
    together.sum().backward()
    assert params["0.weight"].grad.shape == (3, 4, 3)
    with pytest.raises(RuntimeError, match="same class"):
        nc.func.stack_module_state([models[0], nc.nn.Linear(2, 2)])
    with pytest.raises(RuntimeError, match="at least one model"):
        nc.func.stack_module_state([])
    with pytest.raises(RuntimeError, match="training/eval"):
        nc.func.stack_module_state([nc.nn.Linear(2, 2), nc.nn.Linear(2, 2).eval()])
