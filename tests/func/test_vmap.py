"""vmap itself: what it refuses, random numbers, and what leaves it."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import netcl as nc

RATES = nc.ones(3)
X = np.arange(12, dtype=np.float32).reshape(4, 3)


def draw_counts(x):
    return nc.poisson(RATES)


def same(x):
    return x


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: nc.vmap(same)(), ValueError, r"vmap\(same\)\(<inputs>\): got no inputs"),
        (lambda x: nc.vmap(same, in_dims="0")(x), ValueError, "expected `in_dims` to be int or a"),
        (lambda x: nc.vmap(same, in_dims=(0, 0))(x), ValueError, "not compatible with the structure of `inputs`"),
        (lambda x: nc.vmap(same, in_dims=(0.0,))(x), ValueError, "must be either an integer dimension or None"),
        (lambda x: nc.vmap(same, in_dims=2)(x), ValueError, "-2 <= in_dim < 2"),
        (lambda x: nc.vmap(same)(3), ValueError, "use None as the respective in_dim"),
        (lambda x: nc.vmap(same, in_dims=(None,))(x), ValueError, "at least one Tensor to vmap over"),
        (lambda x: nc.vmap(nc.add)(x, x[:3]), ValueError, r"got sizes \[4, 3\]"),
        (lambda x: nc.vmap(same, out_dims=(0, 0))(x), ValueError, "not compatible with the structure of `outputs`"),
        (lambda x: nc.vmap(same, out_dims="0")(x), ValueError, "must be an int, None or a python collection"),
        (lambda x: nc.vmap(same, out_dims=3)(x), IndexError, "out_dim=3 is out of range"),
        (lambda x: nc.vmap(same, out_dims=None)(x), ValueError, "can not return a BatchedTensor"),
        (lambda x: nc.vmap(lambda x: 3.0)(x), ValueError, "must only return Tensors, got type <class 'float'>"),
        (lambda x: nc.vmap(same, randomness="no"), RuntimeError, "'error', 'different', or 'same'"),
        (lambda x: nc.vmap(same, chunk_size=0), ValueError, "chunk_size should be None or greater than 0"),
        (lambda x: nc.vmap(functools.partial(nc.add, 1), in_dims=(0, 0))(x), ValueError, "functools.partial"),
        (lambda x: nc.vmap(lambda x: x.sum().item())(x), RuntimeError, "stands for all samples"),
        (lambda x: nc.vmap(lambda x: x if x.sum() > 0 else -x)(x), RuntimeError, "where"),
        (lambda x: nc.vmap(lambda x: nc.tensor(x.numpy()))(x), RuntimeError, "outside vmap"),
        (lambda x: nc.vmap(lambda x: print(x))(x), RuntimeError, "print"),
        (lambda x: nc.vmap(lambda x: x.nonzero())(x), RuntimeError, "shape depends"),
        (lambda x: nc.vmap(lambda x: nc.linalg.inv(x.outer(x) * 0))(x), RuntimeError, "linalg.inv"),
        (lambda x: nc.vmap(lambda x: x.requires_grad_().sum())(x), RuntimeError, "nc.func.grad"),
        (lambda x: nc.vmap(lambda y: x[0].add_(y))(x), RuntimeError, "all samples share"),
        (lambda x: nc.vmap(lambda x: nc.rand(2))(x), RuntimeError, "randomness error mode"),
        (lambda x: nc.vmap(nc.nn.functional.dropout)(x), RuntimeError, "randomness error mode"),
        (lambda x: nc.vmap(draw_counts, randomness="different")(x), NotImplementedError, "outside vmap"),
    ],
)  # fmt: skip
def test_what_vmap_refuses(call, error, says):
    with pytest.raises(error, match=says):
        call(nc.tensor(X))


def test_batchnorms_running_statistics_are_not_written_to():
    layer = nc.nn.BatchNorm1d(3)
    before = layer.running_mean.clone()
    with pytest.raises(RuntimeError, match="share"):
        nc.vmap(lambda x: layer(x.reshape(1, 3).expand(4, 3)))(nc.tensor(X))
    np.testing.assert_array_equal(layer.running_mean.numpy(), before.numpy())


def test_a_tensor_that_escapes_can_not_be_read():
    kept = []
    nc.vmap(lambda x: kept.append(x) or x)(nc.tensor(X))
    with pytest.raises(RuntimeError, match="vmap"):
        kept[0].numpy()


def test_different_randomness_draws_pytorchs_numbers_for_each_sample(torch):
    results = []
    for m in (nc, torch):
        m.manual_seed(3)
        f = lambda x, m=m: (m.rand(2), m.randn(20), m.randint(0, 100, (3,)), m.rand_like(x), m.randperm(5))  # noqa: E731
        results.append(m.vmap(f, randomness="different")(m.tensor(X)))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_a_tensor_of_samples_is_filled_with_numbers_of_their_own(torch):
    results = []
    for m in (nc, torch):
        m.manual_seed(3)
        results.append(m.vmap(lambda x: x.clone().normal_(), randomness="different")(m.ones(4, 20)).numpy())
    np.testing.assert_array_equal(*results)
    with pytest.raises(RuntimeError, match="all samples share"):
        nc.vmap(lambda x: nc.ones(3).normal_() + x, randomness="different")(nc.ones(4, 3))


def test_same_randomness_draws_once(torch):
    nc.manual_seed(3)
    torch.manual_seed(3)
    found = nc.vmap(lambda x: nc.rand(3) + 0 * x, randomness="same")(nc.tensor(X))
    np.testing.assert_array_equal(found.numpy(), np.tile(torch.rand(3).numpy(), (4, 1)))
    chunks = nc.vmap(lambda x: nc.rand(3) + 0 * x, randomness="same", chunk_size=2)(nc.tensor(X)).numpy()
    assert (chunks == chunks[0]).all()


def test_dropout_in_a_map(device):
    x = nc.ones(50, 100)
    drop = nc.nn.functional.dropout
    nc.manual_seed(0)
    different = nc.vmap(drop, randomness="different")(x).numpy()
    assert len({row.tobytes() for row in different}) == 50
    assert 0.45 < (different == 0).mean() < 0.55
    after = nc.random.dropout_key()[1]
    nc.manual_seed(0)
    nc.vmap(drop, randomness="same")(x)
    assert after == nc.random.dropout_key()[1] + 49  # each sample's draw is counted
    same = nc.vmap(drop, randomness="same")(x).numpy()
    assert len({row.tobytes() for row in same}) == 1
    nc.manual_seed(0)
    gradient = nc.vmap(nc.func.grad(lambda x: drop(x).sum()), randomness="different")(x).numpy()
    np.testing.assert_array_equal(gradient, different)


def test_nested_maps_draw_for_each_pair(torch):
    results = []
    for m in (nc, torch):
        m.manual_seed(1)
        inner = lambda y, m=m: m.vmap(lambda z: m.rand(2) + 0 * z, randomness="different")(y)  # noqa: E731
        results.append(m.vmap(inner, randomness="different")(m.ones(3, 5)).numpy())
    np.testing.assert_array_equal(*results)


def test_a_map_works_in_eager_mode_and_under_backward(mode):
    w = nc.ones(3, requires_grad=True)
    nc.vmap(lambda x: (x * w).softmax(0).square().sum())(nc.tensor(X) / 10).sum().backward()
    shared = w.grad.numpy()
    w.grad = None
    ((nc.tensor(X) / 10 * w).softmax(1) ** 2).sum().backward()
    np.testing.assert_allclose(shared, w.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_a_custom_function_in_a_map_sums_for_what_is_shared():
    class Scale(nc.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return g * w, g * x

    w = nc.ones(3, requires_grad=True)
    nc.vmap(lambda x: Scale.apply(x, w).sum())(nc.tensor(X)).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), X.sum(0))


def test_one_shape_is_one_plan():
    f = nc.vmap(nc.func.grad(lambda x: (x**2).sum()))
    f(nc.tensor(X)).numpy()
    from netcl.graph.plan import statistics

    planned = statistics.planned
    for _ in range(3):
        f(nc.tensor(X + 1)).numpy()
    assert statistics.planned == planned


def test_jacobian_and_hessian_vectorized(torch):
    x = X[0] / 10
    for name, f in (("jacobian", lambda x: x.cumsum(0).sin()), ("hessian", lambda x: (x**3).sum())):
        ours = getattr(nc.autograd.functional, name)(f, nc.tensor(x), vectorize=True)
        theirs = getattr(torch.autograd.functional, name)(f, torch.tensor(x))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_jit_compile_of_a_map_draws_anew_each_time(device):
    drop = nc.nn.functional.dropout
    f = nc.vmap(nc.func.grad(lambda x, w: (drop(x) * w).square().sum()), (0, None), randomness="different")
    x, w = nc.ones(4, 50), nc.full((50,), 2.0)
    nc.manual_seed(0)
    plain = [f(x, w).numpy() for _ in range(4)]
    nc.manual_seed(0)
    compiled = nc.jit_compile(f)
    for wanted in plain:
        np.testing.assert_array_equal(compiled(x, w).numpy(), wanted)
    assert len({row.tobytes() for one in plain for row in one}) == 16


FACTORISATIONS = {
    "inv": lambda m, a, b: m.linalg.inv(a),
    "solve": lambda m, a, b: (m.linalg.solve(a, b), m.linalg.solve(a, b[0])),
    "det": lambda m, a, b: (m.linalg.det(a), *m.linalg.slogdet(a)),
    "cholesky": lambda m, a, b: m.linalg.cholesky(a @ a.t() + m.eye(3)),
    "eigh": lambda m, a, b: m.linalg.eigh(a + a.t())[0],
    "svd": lambda m, a, b: m.linalg.svdvals(a),
    "qr": lambda m, a, b: m.linalg.qr(a)[1].abs(),
    "pinv": lambda m, a, b: m.linalg.pinv(a),
}


def test_factorisations_of_samples(torch):
    draws = np.random.default_rng(2)
    a, b = (draws.standard_normal((4, 3, 3)).astype(np.float32) for _ in range(2))
    for name, f in FACTORISATIONS.items():
        for in_dims in ((0, 0), (0, None), (None, 0)):
            results = []
            for m in (nc, torch):
                given = [m.tensor(t if d == 0 else t[0]) for t, d in zip((a, b), in_dims, strict=True)]
                found = m.vmap(lambda x, y, m=m, f=f: f(m, x, y), in_dims)(*given)
                results.append(found if isinstance(found, tuple) else (found,))
            for ours, theirs in zip(*results, strict=True):
                assert tuple(ours.shape) == tuple(theirs.shape), name
                np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-3, atol=1e-3, err_msg=name)
    gradient = nc.vmap(nc.func.grad(lambda a: nc.linalg.inv(a).sum()))(nc.tensor(a)).numpy()
    for n in range(4):
        one = nc.func.grad(lambda a: nc.linalg.inv(a).sum())(nc.tensor(a[n])).numpy()
        np.testing.assert_allclose(gradient[n], one, rtol=1e-3, atol=1e-4)


def test_every_primitive_has_a_batching_rule_but_those_named_here():
    from netcl.graph import batching
    from netcl.graph.primitives import TABLE

    without = {
        name for name, primitive in TABLE.items()
        if name not in batching._RULES and primitive.kind not in batching._KINDS and primitive.kind != "host"
    }  # fmt: skip
    sources = {"literal", "scalar", "input", "item", "iota"}
    assert without - sources == {"compact", "to_device"}  # they need values on the host


def test_maps_compiled_functions_autocast_and_checkpoints_nest(device):
    w, x = nc.randn(4, 3), nc.randn(5, 4)

    def f(x):
        return (x @ w).tanh().sum()

    wanted = nc.vmap(nc.func.grad(f))(x).numpy()
    compiled = nc.jit_compile(f)
    outer = nc.jit_compile(nc.vmap(nc.func.grad(f)))
    checked = nc.vmap(nc.func.grad(lambda x: nc.utils.checkpoint.checkpoint(f, x)))
    for _ in range(3):
        for way in (nc.vmap(nc.func.grad(compiled)), outer, checked):
            np.testing.assert_allclose(way(x).numpy(), wanted, rtol=1e-5, atol=1e-6)
    with nc.autocast(dtype=nc.bfloat16):
        halves = nc.vmap(lambda x: x @ w)(x)
    assert halves.dtype is nc.bfloat16


def test_writes_to_parts_of_a_sample():
    def f(x):
        y = x.clone()
        y[0] = 7
        y[1:] += x[2]
        return y

    x = nc.tensor(X)
    np.testing.assert_array_equal(nc.vmap(f)(x).numpy(), nc.stack([f(row) for row in x]).numpy())


def test_samples_written_into_copies_of_what_they_share(torch):
    def scattered(lib, shared, samples):
        x, v = lib.tensor(shared), lib.tensor(samples)
        calls = (
            lambda s: x.diagonal_scatter(s),
            lambda s: x.select_scatter(s, 0, 1),
            lambda s: x.slice_scatter(s[None], 0, 1, 2),
        )
        maps = [lib.vmap(call)(v) for call in calls]
        nested = lib.vmap(lambda w: lib.vmap(lambda s: w.select_scatter(s, 1, 0))(v))(lib.stack([x, x + 1]))
        slopes = lib.vmap(lib.func.grad(lambda s: (x.diagonal_scatter(s) ** 2).sum()))(v)
        return [*maps, nested, slopes]

    for ours, theirs in zip(scattered(nc, X[:3], X), scattered(torch, X[:3], X), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_an_index_out_of_range_is_found_and_empty_batches_are_empty():
    table = nc.randn(3, 2)
    with pytest.raises(IndexError, match="index 9"):
        nc.vmap(lambda i: table[i])(nc.tensor([0, 9])).numpy()
    assert nc.vmap(lambda x: x.exp().sum())(nc.ones(0, 3)).shape == (0,)
    assert nc.vmap(lambda x: x.sum())(nc.ones(3, 0)).tolist() == [0, 0, 0]
