"""vmap over every kind of operation: as torch.func.vmap, and as a loop over the samples."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import netcl as nc

SAMPLES = 3
draws = np.random.default_rng(0)
A = draws.standard_normal((SAMPLES, 4, 5)).astype(np.float32)
B = draws.standard_normal((SAMPLES, 4, 5)).astype(np.float32)
M = draws.standard_normal((SAMPLES, 5, 2)).astype(np.float32)
V = draws.standard_normal((SAMPLES, 5)).astype(np.float32)
S = draws.standard_normal(SAMPLES).astype(np.float32)
U = draws.uniform(0.1, 0.9, (SAMPLES, 4, 5)).astype(np.float32)
I = draws.integers(0, 4, (SAMPLES, 4, 5))  # noqa: E741
K = draws.integers(0, 5, (SAMPLES, 4))
Y = draws.integers(0, 5, SAMPLES)
LONG = draws.standard_normal((SAMPLES, 2100)).astype(np.float32)

Case = tuple[Callable, tuple[np.ndarray, ...]]


def unary(names: str, array: np.ndarray) -> dict[str, Case]:
    return {name: (lambda m, x, n=name: getattr(m, n)(x), (array,)) for name in names.split()}


def binary(names: str, *arrays: np.ndarray) -> dict[str, Case]:
    return {name: (lambda m, x, y, n=name: getattr(m, n)(x, y), arrays) for name in names.split()}


ELEMENTWISE: dict[str, Case] = {
    **unary(
        "abs neg exp exp2 expm1 sin cos tan sinh cosh tanh asinh atan sigmoid sign sgn square relu erf erfc floor ceil "
        "round trunc frac isnan isfinite isinf signbit positive deg2rad rad2deg logical_not sinc nan_to_num",
        A,
    ),
    **unary("log log2 log10 log1p sqrt rsqrt reciprocal asin acos atanh logit erfinv lgamma digamma i0", U),
    **binary(
        "add sub mul div atan2 maximum minimum fmax fmin hypot eq ne lt le gt ge logical_and logical_or logical_xor "
        "copysign heaviside logaddexp xlogy remainder fmod floor_divide",
        A,
        B,
    ),
    "pow": (lambda m, x, y: x**y, (U, A)),
    "bitwise": (lambda m, x, y: (x & y) | (x ^ y) & ~x, (I, K[:, :, None])),
    "shifts": (lambda m, x: (x << 2) + (x >> 1), (I,)),
    "numbers": (lambda m, x: 2 * x + 1 - x / 3, (A,)),
    "where": (lambda m, x, y: m.where(x > 0, x, y), (A, B)),
    "where number": (lambda m, x: m.where(x > 0, x, 0.0), (A,)),
    "clamp": (lambda m, x: x.clamp(-0.5, 0.5), (A,)),
    "lerp": (lambda m, x, y: m.lerp(x, y, 0.3), (A, B)),
    "addcmul": (lambda m, x, y: m.addcmul(x, x, y, value=2), (A, B)),
    "row and column": (lambda m, x, y: x * y, (K[:, :, None].astype(np.float32), V)),
    "scalar per sample": (lambda m, x, s: x * s + s, (A, S)),
    "0-d and wider": (lambda m, s, x: s + x, (S.astype(np.float64), A)),
    "0-d integer": (lambda m, s, x: s * x, (Y, A)),
    "0-d both": (lambda m, s, k: s * k, (S, Y)),
    "compare 0-d": (lambda m, s, x: s < x, (S.astype(np.float64), A)),
    "cast": (lambda m, x: x.to(m.int32) + x.double().to(m.float16), (A,)),
    "masked_fill": (lambda m, x: x.masked_fill(x > 0, -1.0), (A,)),
}

REDUCTIONS: dict[str, Case] = {
    **unary("sum mean prod std var amax amin max min median argmax argmin any all count_nonzero nansum", A),
    "sum of integers": (lambda m, x: x.sum(0), (I,)),
    "dims": (lambda m, x: (x.sum(0), x.mean(-1, keepdim=True), x.amax((0, 1)), x.std(1), x.prod(0)), (A,)),
    "arg dims": (lambda m, x: (x.argmax(0), x.argmin(-1, keepdim=True)), (A,)),
    "values and indices": (lambda m, x: (*x.max(1), *x.min(0), *x.median(1)), (A,)),
    "logsumexp": (lambda m, x: x.logsumexp(1), (A,)),
    "norm": (lambda m, x: (x.norm(), m.linalg.vector_norm(x, 3, 1)), (A,)),
    "softmax": (lambda m, x: (x.softmax(0), x.log_softmax(-1)), (A,)),
    "scalar softmax": (lambda m, x: x.softmax(0), (V,)),
    "var_mean": (lambda m, x: m.var_mean(x, 1), (A,)),
    "quantile": (lambda m, x: m.quantile(x, 0.4, 1), (A,)),
    "scans": (lambda m, x: (x.cumsum(0), x.cumprod(1), x.logcumsumexp(1)), (A,)),
    "extrema so far": (lambda m, x: (*x.cummax(0), *x.cummin(1)), (A,)),
    "long scan": (lambda m, x: x.cumsum(0), (LONG,)),
    "sort": (lambda m, x: (*x.sort(1), *x.sort(0, descending=True)), (A,)),
    "long sort": (lambda m, x: x.sort(0)[0], (LONG,)),
    "argsort": (lambda m, x: x.argsort(0), (A,)),
    "topk": (lambda m, x: x.topk(2, 1)[0], (A,)),
    "long topk": (lambda m, x: x.topk(3)[0], (LONG,)),
    "kthvalue": (lambda m, x: x.kthvalue(2, 1)[0], (A,)),
}

SHAPES: dict[str, Case] = {
    "reshape": (lambda m, x: (x.reshape(2, 10), x.flatten(), x.reshape(-1, 2)), (A,)),
    "transpose": (lambda m, x: (x.t(), x.permute(1, 0), x.transpose(0, 1) * 2, x.movedim(0, 1)), (A,)),
    "expand": (lambda m, x: (x.expand(3, 4, 5), x[:1].expand(4, 5), x.unsqueeze(0), x[:, :1].squeeze(1)), (A,)),
    "slice": (lambda m, x: (x[1], x[:, 2], x[1:3, ::2], x[..., -1], x[None, 1]), (A,)),
    "flip": (lambda m, x: (x.flip(0), x.flip((0, 1)), x.roll(1, 0), x.rot90()), (A,)),
    "diagonal": (lambda m, x: (x.diagonal(), x.diagonal(1), x[0].diag(), m.diag_embed(x)), (A,)),
    "triangles": (lambda m, x: (x.tril(), x.triu(1)), (A,)),
    "unfold": (lambda m, x: x.unfold(1, 3, 2), (A,)),
    "join": (lambda m, x, y: (m.cat([x, y]), m.cat([x, y], 1), m.stack([x, y], 1)), (A, B)),
    "split": (lambda m, x: (*x.split(2), *x.chunk(2, 1), *x.unbind(0)), (A,)),
    "repeat": (lambda m, x: (x.repeat(2, 1), x.tile((2,)), x.repeat_interleave(2, 0)), (A,)),
    "meshgrid": (lambda m, x, y: m.meshgrid(x, y, indexing="ij"), (V, V)),
    "gather": (lambda m, x, k: x.gather(0, k), (A, I)),
    "take": (lambda m, x, k: m.take_along_dim(x, k[:, None], 1), (A, K)),
    "index_select": (lambda m, x, k: x.index_select(1, k), (A, K)),
    "index": (lambda m, x, k: x[:, k], (A, K)),
    "one element": (lambda m, x, k: x[:, k], (A, Y)),
    "scatter": (lambda m, x, k: x.scatter(0, k, x * 2), (A, I)),
    "scatter_add": (lambda m, x, k, y: x.scatter_add(0, k, y), (A, I, B)),
    "index_add": (lambda m, x, k, y: x.t().index_add(0, k, y.t()[:4]), (A, K, B)),
    "search": (lambda m, x, y: m.searchsorted(x.sort(0)[0], y), (V, A)),
    "one hot": (lambda m, k: m.nn.functional.one_hot(k, 5), (K,)),
    "pad": (lambda m, x: m.nn.functional.pad(x, (1, 2)), (A,)),
    "creation": (lambda m, x: (m.zeros_like(x) + x, x.new_ones(5) * x, m.arange(5) * x), (A,)),
    "clone": (lambda m, x: x.clone().mul_(2).add_(1), (A,)),
}

PRODUCTS: dict[str, Case] = {
    "matmul": (lambda m, x, y: x @ y, (A, M)),
    "vectors": (lambda m, x, v: (x @ v, v @ x.t(), v @ v, m.outer(v, v), m.dot(v, v), m.mv(x, v)), (A, V)),
    "batches": (lambda m, x, y: (x.reshape(2, 2, 5) @ y, m.bmm(x.reshape(2, 2, 5), y.expand(2, 5, 2))), (A, M)),
    "einsum": (lambda m, x, y: m.einsum("ij,jk->ki", x, y), (A, M)),
    "tensordot": (lambda m, x, y: m.tensordot(x, y, 1), (A, M)),
    "linear": (lambda m, x, w: m.nn.functional.linear(x, w.t()), (A, M)),
    "addmm": (lambda m, x, y: m.addmm(x[:, :2], x, y), (A, M)),
    "cdist": (lambda m, x, y: m.cdist(x, y), (A, B)),
    "cross": (lambda m, x, y: m.linalg.cross(x[:3], y[:3], dim=0), (A, B)),
    "kron": (lambda m, x, y: m.kron(x, y), (A, M)),
}


def losses() -> dict[str, Case]:
    def loss(name: str, **options: Any) -> Callable:
        return lambda m, *tensors: getattr(m.nn.functional, name)(*tensors, **options)

    pair = {name: (loss(name), (A, B)) for name in "mse_loss l1_loss smooth_l1_loss huber_loss".split()}
    return {
        **pair,
        "mse none": (loss("mse_loss", reduction="none"), (A, B)),
        "bce": (loss("binary_cross_entropy"), (U, U[::-1].copy())),
        "bce logits": (loss("binary_cross_entropy_with_logits"), (A, U)),
        "cross_entropy": (loss("cross_entropy"), (A, K)),
        "one cross_entropy": (loss("cross_entropy"), (V, Y)),
        "smoothed": (loss("cross_entropy", label_smoothing=0.1, reduction="sum"), (A, K)),
        "nll": (lambda m, x, k: m.nn.functional.nll_loss(x.log_softmax(-1), k), (A, K)),
        "kl_div": (loss("kl_div", reduction="batchmean"), (A, U)),
        "cosine": (lambda m, x, y: m.nn.functional.cosine_similarity(x, y), (A, B)),
        "layer_norm": (lambda m, x: m.nn.functional.layer_norm(x, (5,)), (A,)),
        "activations": (
            lambda m, x: [
                getattr(m.nn.functional, n)(x)
                for n in "gelu silu elu selu softplus leaky_relu hardtanh mish relu6 logsigmoid".split()
            ],
            (A,),
        ),
        "embedding": (lambda m, k, w: m.nn.functional.embedding(k, w), (K, A[:, :, :].repeat(2, 1))),
    }


def group_of(name: str) -> dict[str, Case]:
    if name == "losses":
        return losses()
    return {"elementwise": ELEMENTWISE, "reductions": REDUCTIONS, "shapes": SHAPES, "products": PRODUCTS}[name]


def as_list(results: Any) -> list:
    return list(results) if isinstance(results, (tuple, list)) else [results]


def check(torch: Any, cases: dict[str, Case]) -> None:
    for name, (f, arrays) in cases.items():
        tensors = [nc.tensor(a) for a in arrays]
        mapped = as_list(nc.vmap(lambda *t, f=f: as_tuple(f(nc, *t)))(*tensors))
        looped = [as_list(f(nc, *[t[i] for t in tensors])) for i in range(SAMPLES)]
        looped = [nc.stack(parts) for parts in zip(*looped, strict=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # PyTorch goes through some samples one by one
            theirs = in_pytorch(torch, f, arrays)
        assert len(theirs) == len(mapped), name
        for x, y, z in zip(mapped, theirs, looped, strict=True):
            assert tuple(x.shape) == tuple(y.shape), name
            assert x.dtype.name == str(y.dtype).removeprefix("torch."), name
            own, tolerance = x.numpy(), 2e-3 if "16" in x.dtype.name else 2e-4
            np.testing.assert_allclose(own, y.numpy(), rtol=tolerance, atol=1e-4, err_msg=name)
            np.testing.assert_allclose(own, z.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


def in_pytorch(torch: Any, f: Callable, arrays: tuple[np.ndarray, ...]) -> list:
    tensors = list(map(torch.tensor, arrays))
    try:
        return as_list(torch.vmap(lambda *t: as_tuple(f(torch, *t)))(*tensors))
    except RuntimeError:  # it has no batching rule
        loop = [as_list(f(torch, *[t[i] for t in tensors])) for i in range(SAMPLES)]
        return [torch.stack(parts) for parts in zip(*loop, strict=True)]


def as_tuple(results: Any) -> Any:
    return tuple(results) if isinstance(results, (tuple, list)) else results


@pytest.mark.parametrize("group", ["elementwise", "reductions", "shapes", "products", "losses"])
def test_vmap_is_pytorchs_and_a_loop(device, torch, group):
    check(torch, group_of(group))


def scalar(results: Any) -> Any:
    """A number that depends on every element of every floating-point result."""
    total = nc.zeros(())
    for number, result in enumerate(as_list(results)):
        if result.requires_grad:
            total = total + (result * result.detach().cos() * (number + 1)).sum().float()
    return total


LONG_GROUPS = [pytest.param(name, marks=pytest.mark.long) for name in ("elementwise", "reductions", "shapes")]


@pytest.mark.parametrize("group", [*LONG_GROUPS, "products", "losses"])
def test_vmap_of_grad_is_a_loop_of_gradients(device, group):
    for name, (f, arrays) in group_of(group).items():
        tensors = [nc.tensor(a) for a in arrays]
        places = tuple(n for n, t in enumerate(tensors) if t.is_floating_point())
        if name in ("clone", "long sort", "long scan", "long topk") or not places:
            continue
        if name == "heaviside":  # has no derivative, as in PyTorch
            continue
        gradient = nc.func.grad(lambda *t, f=f: scalar(f(nc, *t)), argnums=places)
        loops = [gradient(*[t[i] for t in tensors]) for i in range(SAMPLES)]
        for a, b in zip(nc.vmap(gradient)(*tensors), zip(*loops, strict=True), strict=True):
            np.testing.assert_allclose(a.numpy(), nc.stack(b).numpy(), rtol=1e-4, atol=1e-5, err_msg=name)
