"""autocast: which dtype each operation gets, that casts cost no launch and no memory, where the context holds."""

from __future__ import annotations

import gc
import threading
from typing import ClassVar

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl.autograd import tape
from netcl.core import probe

RNG = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


# ---- the policy: PyTorch's "Autocast Op Reference" ---------------------------------------------------------------

LOWER = {
    "matmul": lambda x, m: x @ m, "mm": lambda x, m: nc.mm(x, m), "bmm": lambda x, m: nc.bmm(x[None], m[None]),
    "mv": lambda x, m: nc.mv(x, m[0]), "linear": lambda x, m: F.linear(x, m, m[0]),
    "addmm": lambda x, m: nc.addmm(x, x, m), "addmv": lambda x, m: nc.addmv(x[0], x, m[0]),
    "baddbmm": lambda x, m: nc.baddbmm(x[None], x[None], m[None]), "addr": lambda x, m: nc.addr(x, m[0], m[1]),
    "addbmm": lambda x, m: nc.addbmm(x, x[None], m[None]), "chain_matmul": lambda x, m: nc.chain_matmul(x, m, x),
    "einsum": lambda x, m: nc.einsum("ij,jk->ik", x, m), "prelu": lambda x, m: F.prelu(x, m[0, :1]),
    "multi_dot": lambda x, m: nc.linalg.multi_dot([x, m, x]), "vecdot": nc.linalg.vecdot,
    "attention": lambda x, m: F.scaled_dot_product_attention(x, m, m),
}  # fmt: skip
FLOAT32 = {
    **{name: (lambda x, name=name: getattr(nc, name)(x)) for name in (
        "acos asin cosh erfinv exp expm1 log log10 log1p log2 mean norm prod reciprocal rsqrt sinh square std sum tan "
        "var"
    ).split()},
    "pow": lambda x: x**2,
    "pow 3": lambda x: x**3, "pow 2.5": lambda x: x**2.5, "rpow": lambda x: 2.0**x, "over": lambda x: 1 / x,
    "cumsum": lambda x: x.cumsum(0), "cumprod": lambda x: x.cumprod(0), "logsumexp": lambda x: x.logsumexp(1),
    "softmax": lambda x: x.softmax(1), "log_softmax": lambda x: x.log_softmax(1), "softmin": lambda x: F.softmin(x, 1),
    "softplus": F.softplus, "layer_norm": lambda x: F.layer_norm(x, (8,)), "normalize": F.normalize,
    "group_norm": lambda x: F.group_norm(x, 2), "rms_norm": lambda x: F.rms_norm(x, (8,)),
    "mse_loss": lambda x: F.mse_loss(x, x), "l1_loss": lambda x: F.l1_loss(x, x, reduction="none"),
    "smooth_l1_loss": lambda x: F.smooth_l1_loss(x, x), "huber_loss": lambda x: F.huber_loss(x, x),
    "kl_div": lambda x: F.kl_div(x, x, reduction="batchmean"), "pdist": F.pdist,
    "cross_entropy": lambda x: F.cross_entropy(x, nc.zeros(8, dtype=nc.int64), reduction="none"),
    "nll_loss": lambda x: F.nll_loss(x, nc.zeros(8, dtype=nc.int64)),
    "binary_cross_entropy_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, x),
    "cosine_similarity": lambda x: F.cosine_similarity(x, x), "cdist": lambda x: nc.cdist(x, x),
    "dist": lambda x: nc.dist(x, x), "poisson_nll_loss": lambda x: F.poisson_nll_loss(x, x),
    "margin_ranking_loss": lambda x: F.margin_ranking_loss(x, x, x),
    "soft_margin_loss": lambda x: F.soft_margin_loss(x, x),
    "triplet_margin_loss": lambda x: F.triplet_margin_loss(x, x, x),
}  # fmt: skip
WIDEST = {
    "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b, "maximum": nc.maximum,
    "atan2": nc.atan2, "addcmul": nc.addcmul, "cat": lambda a, b, *c: nc.cat([a, b]),
    "where": lambda a, b, *c: nc.where(a > 0, a, b),
    "stack": lambda a, b, *c: nc.stack([a, b]), "cross": lambda a, b, *c: nc.linalg.cross(a[:3].mT, b[:3].mT),
    "dot": lambda a, b: nc.dot(a[0], b[0]), "vdot": lambda a, b: a[0].vdot(b[0]), "tensordot": nc.tensordot,
    "bilinear": lambda a, b: F.bilinear(a, b, nc.ones(2, 8, 8, dtype=a.dtype)), "inner": nc.inner,
    "scatter_add": lambda a, b: a.scatter_add(0, nc.zeros(8, 8, dtype=nc.int64), b),
    "index_copy": lambda a, b: a.index_copy(0, nc.arange(8), b), "addcdiv": lambda a, b, *c: nc.addcdiv(a, b, *c),
    "index_put": lambda a, b: nc.index_put(a, (nc.arange(8),), values=b),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [nc.bfloat16, nc.float16], ids=str)
def test_products_run_low_and_what_needs_digits_in_float32(dtype):
    x, m = nc.tensor(normal(8, 8)), nc.tensor(normal(8, 8))
    low = x.to(dtype)
    with nc.autocast(dtype=dtype):
        for name, f in LOWER.items():
            for a, b in ((x, m), (low, m), (x, m.to(dtype))):
                assert f(a, b).dtype is dtype, name
        for name, f in FLOAT32.items():
            assert f(low).dtype is nc.float32, name
            assert f(x).dtype is nc.float32, name
    assert (x @ m).dtype is nc.float32
    assert low.softmax(1).dtype is dtype


def test_everything_else_takes_the_widest_dtype():
    x = nc.tensor(normal(8, 8))
    low = x.bfloat16()
    with nc.autocast(dtype=nc.bfloat16):
        for name, f in WIDEST.items():
            third = (low,) if name in ("addcmul", "addcdiv") else ()
            assert f(low, x, *third).dtype is nc.float32, name
            assert f(x, x, *third).dtype is nc.float32, name
            assert f(low, low, *third).dtype is nc.bfloat16, name
            assert f(low, low.half(), *third).dtype is nc.float32, name
        for f in (nc.relu, nc.tanh, nc.sigmoid, F.gelu, F.silu, nc.sqrt, nc.sin, nc.amax, nc.erf):
            assert f(low).dtype is nc.bfloat16
            assert f(x).dtype is nc.float32
        batch = nc.nn.BatchNorm1d(8)
        assert batch(low).dtype is nc.bfloat16  # computed in float32, as always


def test_what_is_asked_for_by_dtype_is_given():
    low = nc.tensor(normal(4, 4)).bfloat16()
    with nc.autocast(dtype=nc.bfloat16):
        for result in (
            low.sum(dtype=nc.bfloat16), low.mean(dtype=nc.bfloat16), low.prod(dtype=nc.bfloat16),
            low.cumsum(0, dtype=nc.bfloat16), low.softmax(0, dtype=nc.bfloat16), nc.norm(low, dtype=nc.bfloat16),
            F.log_softmax(low, 0, dtype=nc.bfloat16),
        ):  # fmt: skip
            assert result.dtype is nc.bfloat16


def test_float64_and_integers_stay_what_they_are():
    a = nc.tensor(normal(3, 3).astype(np.float64))
    i = nc.arange(9).reshape(3, 3)
    with nc.autocast(dtype=nc.bfloat16):
        assert (a @ a).dtype is nc.float64
        assert (i @ i).dtype is nc.int64
        assert a.exp().dtype is nc.float64
        with pytest.raises(RuntimeError, match="one dtype"):
            a @ a.float()


# ---- values ------------------------------------------------------------------------------------------------------


def trained(lib, functional, x, y, dtype, backward_inside=False):
    """Loss and gradients of a small network with most kinds of operations, under autocast of dtype on a CPU."""
    lib.manual_seed(1)
    model = lib.nn.Sequential(
        lib.nn.Linear(20, 32), lib.nn.ReLU(), lib.nn.LayerNorm(32), lib.nn.Linear(32, 32), lib.nn.GELU(),
        lib.nn.Linear(32, 5),
    )
    with lib.autocast("cpu", dtype=dtype):
        logits = model(lib.tensor(x))
        loss = functional.cross_entropy(logits, lib.tensor(y))
        if backward_inside:
            loss.backward()
    if not backward_inside:
        loss.backward()
    return logits, loss, [p.grad for p in model.parameters()]


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_a_networks_loss_and_gradients_are_pytorchs(device, torch, mode, name):
    x, y = normal(16, 20), RNG.integers(0, 5, 16)
    logits, loss, gradients = trained(nc, F, x, y, getattr(nc, name))
    theirs, their_loss, their_gradients = trained(torch, torch.nn.functional, x, y, getattr(torch, name))
    assert str(logits.dtype) == f"netcl.{name}"
    assert loss.dtype is nc.float32
    tolerance = 0.02 if name == "bfloat16" else 0.003
    np.testing.assert_allclose(logits.float().detach().numpy(), theirs.float().detach().numpy(), atol=tolerance)
    assert abs(loss.item() - their_loss.item()) < tolerance
    for own, other in zip(gradients, their_gradients, strict=True):
        assert own.dtype is nc.float32
        np.testing.assert_allclose(own.numpy(), other.numpy(), atol=tolerance)


def test_gradients_are_the_same_whether_backward_is_called_inside_or_not(device):
    x, y = normal(16, 20), RNG.integers(0, 5, 16)
    outside = trained(nc, F, x, y, nc.bfloat16)[2]
    inside = trained(nc, F, x, y, nc.bfloat16, backward_inside=True)[2]
    for a, b in zip(outside, inside, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_products_are_of_rounded_factors_and_summed_in_float32(place):
    a, b = normal(40, 300), normal(300, 50)
    for dtype in (nc.bfloat16, nc.float16):
        low_a, low_b = (nc.tensor(m).to(dtype).float().numpy().astype(np.float64) for m in (a, b))
        with nc.autocast(dtype=dtype):
            product = nc.tensor(a) @ nc.tensor(b)
        exact = low_a @ low_b
        size = 2.0**-8 if dtype is nc.bfloat16 else 2.0**-11
        np.testing.assert_allclose(product.float().numpy(), exact, rtol=size * 1.01, atol=1e-4)


def test_second_derivatives_go_through_casts(device, torch):
    x, w = normal(4, 6), normal(6, 3)

    def second(lib):
        a, b = lib.tensor(x, requires_grad=True), lib.tensor(w, requires_grad=True)
        with lib.autocast("cpu", dtype=lib.bfloat16):
            product = a @ b
            assert product.dtype is lib.bfloat16
            loss = lib.exp(product * 0.1).sum()
        (first,) = lib.autograd.grad(loss, [a], create_graph=True)
        return lib.autograd.grad((first * first).sum(), [a, b])

    for own, other in zip(second(nc), second(torch), strict=True):
        assert own.dtype is nc.float32
        np.testing.assert_allclose(own.numpy(), other.numpy(), rtol=0.05, atol=0.02)


def test_linear_cross_entropy_lowers_its_factors_and_not_the_classes_weights(device):
    x, w, y = nc.tensor(normal(12, 16)), nc.tensor(normal(7, 16), requires_grad=True), nc.tensor(RNG.integers(0, 7, 12))
    weight = nc.tensor(np.abs(normal(7)))
    with nc.autocast(dtype=nc.bfloat16):
        loss = F.linear_cross_entropy(x, w, y, weight=weight)
    loss.backward()
    expected = F.cross_entropy(x.bfloat16().float() @ w.detach().bfloat16().float().t(), y, weight)
    assert loss.dtype is nc.float32
    assert w.grad.dtype is nc.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


# ---- what casts cost ---------------------------------------------------------------------------------------------


def launches(f) -> int:
    with nc.profiler.count_launches() as count:
        kept = f()  # noqa: F841  (what nobody holds would not be computed)
    return int(count)


def test_a_cast_is_never_a_launch(device):
    x, w = nc.tensor(normal(64, 96)), nc.tensor(normal(32, 96), requires_grad=True)
    low = x.bfloat16()
    nc.synchronize()
    with nc.autocast(dtype=nc.bfloat16):
        assert launches(lambda: x @ w.t()) == 1
        assert launches(lambda: F.scaled_dot_product_attention(x[None], x[None], x[None])) == 3
        assert launches(lambda: F.linear(low, w).relu()) == 1
        assert launches(lambda: low.softmax(1)) == 1
        assert launches(lambda: F.mse_loss(low, x)) == 1
        assert launches(lambda: low.exp() + low) == 1


@pytest.mark.parametrize("loss_is_read", [False, True])
def test_a_training_step_has_as_many_launches_as_in_float32(device, loss_is_read):
    sizes = ((64, 48), (48, 40), (40, 8))
    model = nc.nn.Sequential(*[layer for pair in sizes for layer in (nc.nn.Linear(*pair), nc.nn.ReLU())])
    x, y = nc.tensor(normal(32, 64)), nc.tensor(RNG.integers(0, 8, 32))
    optimizer = nc.optim.Adam(model.parameters())

    def step(dtype):
        optimizer.zero_grad()
        with nc.autocast(dtype=dtype, enabled=dtype is not None):
            loss = F.cross_entropy(model(x), y)
        if loss_is_read:
            loss.item()
        loss.backward()
        optimizer.step()

    counts = []
    for dtype in (None, nc.bfloat16, nc.float16):
        step(dtype)
        counts.append(launches(lambda dtype=dtype: step(dtype)))
    assert counts[1] <= counts[0]
    assert counts[2] <= counts[0]


def test_weights_are_not_copied_for_the_way_back(device):
    w = nc.tensor(normal(512, 512), requires_grad=True)
    x = nc.tensor(normal(4, 512))
    nc.synchronize()
    before = nc.profiler.memory_in_use()
    with nc.autocast(dtype=nc.bfloat16):
        y = x @ w
    assert nc.profiler.memory_in_use() - before < 20_000  # y alone
    assert y.requires_grad


def test_activations_take_half_the_memory(device):
    """Exact: what is kept between the way there and the way back is the layers' results, at 2 bytes instead of 4."""
    rows, width = 1024, 256
    model = nc.nn.Sequential(*[layer for _ in range(3) for layer in (nc.nn.Linear(width, width), nc.nn.GELU())])

    def memory(dtype):
        x = nc.tensor(normal(rows, width))
        gc.collect()  # of other tests: it would be given back in between
        nc.synchronize()
        nc.profiler.reset_peak_memory()
        start = nc.profiler.memory_in_use()
        with nc.autocast(dtype=dtype, enabled=dtype is not None):
            out = model(x)
        kept = nc.profiler.memory_in_use() - start
        peak = nc.profiler.peak_memory() - start
        del out
        return kept, peak

    full, low = memory(None), memory(nc.bfloat16)
    # Of each layer what GELU reads, and its result, which the next layer reads.
    assert full[0] == 6 * rows * width * 4
    assert low[0] == 6 * rows * width * 2
    assert low[1] <= 0.6 * full[1]


def test_float32_results_that_nobody_keeps_are_kept_low(device):
    """LayerNorm's result is float32, and only the Linear behind it needs it on the way back."""
    rows, width = 512, 128
    x = nc.tensor(normal(rows, width)).bfloat16().requires_grad_()
    norm, linear = nc.nn.LayerNorm(width), nc.nn.Linear(width, width)
    nc.synchronize()
    start = nc.profiler.memory_in_use()
    with nc.autocast(dtype=nc.bfloat16):
        out = linear(norm(x))
    assert nc.profiler.memory_in_use() - start == 2 * rows * width * 2
    assert out.dtype is nc.bfloat16


def test_a_changed_weight_is_seen(device):
    w = nc.tensor(np.eye(8, dtype=np.float32), requires_grad=True)
    x = nc.tensor(normal(4, 8))
    with nc.autocast(dtype=nc.bfloat16):
        first = x @ w
        with nc.no_grad():
            w.mul_(2)
        second = x @ w
    np.testing.assert_array_equal(second.detach().float().numpy(), 2 * first.detach().float().numpy())


def test_a_written_operand_is_noticed_on_the_way_back():
    x, w = nc.tensor(normal(4, 8), requires_grad=True), nc.tensor(normal(8, 8), requires_grad=True)
    with nc.autocast(dtype=nc.bfloat16):
        y = (x @ w).sum()
    with nc.no_grad():
        w.mul_(2)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


# ---- the context -------------------------------------------------------------------------------------------------


def product_dtype() -> nc.DType:
    x = nc.ones(2, 2)
    return (x @ x).dtype


def test_contexts_nest_and_restore_what_was_before():
    with nc.autocast(dtype=nc.bfloat16):
        with nc.autocast(dtype=nc.float16):
            assert product_dtype() is nc.float16
            with nc.autocast(enabled=False):
                assert product_dtype() is nc.float32
            assert product_dtype() is nc.float16
        assert product_dtype() is nc.bfloat16
    with pytest.raises(KeyError), nc.autocast(dtype=nc.bfloat16):
        raise KeyError
    assert product_dtype() is nc.float32
    again = nc.autocast(dtype=nc.float16)
    with again, again:
        assert product_dtype() is nc.float16
    assert product_dtype() is nc.float32


def test_it_is_a_decorator():
    @nc.autocast(dtype=nc.bfloat16)
    def decorated():
        return product_dtype()

    assert decorated() is nc.bfloat16
    assert product_dtype() is nc.float32


def test_each_thread_has_its_own():
    seen = []
    with nc.autocast(dtype=nc.bfloat16):
        thread = threading.Thread(target=lambda: seen.append((product_dtype(), nc.is_autocast_enabled())))
        thread.start()
        thread.join()
    assert seen == [(nc.float32, False)]


def test_device_types_choose_devices_and_dtypes():
    kind = nc.current_device().kind
    other = "gpu" if kind == "cpu" else "cpu"
    with nc.autocast(other, dtype=nc.bfloat16):
        assert product_dtype() is nc.float32
        assert nc.is_autocast_enabled(other)
        assert not nc.is_autocast_enabled(kind)
    with nc.autocast(kind):
        assert product_dtype() is (nc.bfloat16 if kind == "cpu" else nc.float16)
    with nc.autocast("opencl", nc.float16, True, False):
        assert product_dtype() is nc.float16
        assert nc.get_autocast_dtype("cpu") is nc.float16
        assert not nc.is_autocast_cache_enabled()
    assert nc.is_autocast_cache_enabled()
    assert nc.get_autocast_dtype("cpu") is nc.bfloat16
    assert nc.get_autocast_dtype("gpu") is nc.float16
    assert all(map(nc.amp.is_autocast_available, ("cpu", "gpu", "opencl")))
    assert not nc.amp.is_autocast_available("cuda")


def test_the_state_can_be_set_and_is_a_key():
    assert nc.amp.autocast_state() == ()
    nc.set_autocast_enabled("cpu", True)
    assert nc.amp.autocast_state() == (("cpu", "bfloat16"),)
    nc.set_autocast_dtype("cpu", nc.float16)
    assert nc.amp.autocast_state() == (("cpu", "float16"),)
    assert {nc.amp.autocast_state(): 1}
    nc.set_autocast_enabled(False)
    assert not nc.is_autocast_enabled()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="by name"):
        nc.autocast(nc.bfloat16)
    with pytest.raises(RuntimeError, match="unknown device_type 'mps'"):
        nc.autocast("mps")
    with pytest.warns(UserWarning, match='there is no "cuda"; it is switched off'), nc.autocast("cuda"):
        assert not nc.is_autocast_enabled()
    with nc.autocast("cuda", enabled=False):
        assert not nc.is_autocast_enabled()
    with pytest.raises(TypeError, match="dtype"):
        nc.autocast(dtype="bfloat16")
    with pytest.raises(ValueError, match="float16 or bfloat16"):
        nc.autocast(dtype=nc.int32)
    with pytest.warns(UserWarning, match="switched off"), nc.autocast(dtype=nc.float32):
        assert product_dtype() is nc.float32


def test_nothing_is_looked_up_while_it_is_off(monkeypatch):
    def fail(*_):
        raise AssertionError("autocast is off")

    monkeypatch.setattr(tape, "casts_for", fail)
    assert product_dtype() is nc.float32
    with pytest.raises(AssertionError), nc.autocast(dtype=nc.bfloat16):
        product_dtype()


def test_bodies_of_composites_are_not_cast(device):
    """A value that is read inside of the context is planned there."""
    x = nc.tensor(normal(64, 64)).bfloat16()
    plain = F.gelu(x).float().numpy()
    with nc.autocast(dtype=nc.bfloat16):
        inside = F.gelu(x).float().numpy()
        assert nc.tensor(normal(4, 4)).softmax(0).sum(0).numpy() == pytest.approx(np.ones(4), abs=1e-6)
    np.testing.assert_array_equal(plain, inside)


def test_supports_fp16_is_what_a_probe_found(device):
    assert nc.amp.supports_fp16(device) is device.supports_fp16 is probe.measure(device).fp16
    with device:
        assert nc.amp.supports_fp16() is device.supports_fp16


# ---- Functions ---------------------------------------------------------------------------------------------------


class Product(nc.autograd.Function):
    seen: ClassVar[list] = []

    @staticmethod
    @nc.amp.custom_fwd(device_type="opencl")
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    @nc.amp.custom_bwd(device_type="opencl")
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        Product.seen.append((nc.is_autocast_enabled(), product_dtype()))
        return grad @ b.mT.to(grad.dtype), a.mT.to(grad.dtype) @ grad


def test_a_functions_backward_runs_as_its_forward_did():
    a, b = nc.tensor(normal(3, 4), requires_grad=True), nc.tensor(normal(4, 5), requires_grad=True)
    Product.seen.clear()
    with nc.autocast(dtype=nc.bfloat16):
        y = Product.apply(a, b)
    assert y.dtype is nc.bfloat16
    y.float().sum().backward()
    Product.apply(a, b).sum().backward()
    assert Product.seen == [(True, nc.bfloat16), (False, nc.float32)]
    assert a.grad.dtype is nc.float32


def test_cast_inputs_switch_autocast_off_inside():
    class Float32Only(nc.autograd.Function):
        @staticmethod
        @nc.amp.custom_fwd(cast_inputs=nc.float32)
        def forward(ctx, a, pair):
            assert a.dtype is nc.float32
            assert pair[0].dtype is nc.float32
            assert not nc.is_autocast_enabled()
            return a @ pair[0]

        @staticmethod
        @nc.amp.custom_bwd
        def backward(ctx, grad):
            assert not nc.is_autocast_enabled()
            return grad @ nc.ones(2, 2), None

    low = nc.ones(2, 2, dtype=nc.bfloat16, requires_grad=True)
    with nc.autocast(dtype=nc.bfloat16):
        y = Float32Only.apply(low, [low])
    assert y.dtype is nc.float32
    y.sum().backward()
    assert low.grad.dtype is nc.bfloat16


# ---- with the rest -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["ReLU", "LayerNorm"])
def test_a_checkpoint_is_run_again_under_the_same_autocast(layer):
    """What comes in is float32, and is kept by what made it (ReLU) or not (LayerNorm)."""
    x = nc.tensor(normal(6, 8), requires_grad=True)
    before = nc.nn.ReLU() if layer == "ReLU" else nc.nn.LayerNorm(8)
    part = nc.nn.Sequential(nc.nn.Linear(8, 8), nc.nn.GELU(), nc.nn.Linear(8, 8))
    gradients = []
    for run in (part, lambda h: nc.utils.checkpoint.checkpoint(part, h)):
        x.grad = None
        part.zero_grad()
        with nc.autocast(dtype=nc.bfloat16):
            out = run(before(x))
        assert out.dtype is nc.bfloat16
        out.sum().backward()
        gradients.append([x.grad.numpy(), *[p.grad.numpy() for p in part.parameters()]])
    for plain, again in zip(*gradients, strict=True):
        np.testing.assert_allclose(again, plain, rtol=0.02, atol=0.02)


def test_functional_transforms_and_vmap_see_it():
    x, w = nc.tensor(normal(5, 4)), nc.tensor(normal(4, 3))
    with nc.autocast(dtype=nc.bfloat16):
        assert nc.func.grad(lambda w: (x @ w).exp().sum())(w).dtype is nc.float32
        assert nc.func.vmap(lambda row: nc.tanh(row @ w))(x).dtype is nc.bfloat16


def test_losses_add_up_in_float32(device):
    """The pages that netcl grew from: under AMP the loss reads float16, and its accumulator is float32."""
    pred = nc.tensor(np.full(5000, 300.0, np.float32)).half().requires_grad_()
    target = nc.zeros(5000, dtype=nc.float16)
    nc.synchronize()
    with nc.profiler.count_launches() as count, nc.autocast(dtype=nc.float16):
        loss = F.mse_loss(pred, target)
        (gradient,) = nc.autograd.grad(loss, [pred], retain_graph=True)
    assert int(count) == 1
    assert loss.item() == pytest.approx(90000.0, rel=1e-6)  # more than float16 holds, each square and their sum
    assert loss.grad_fn.name() == "MseLossBackward0"
    assert gradient.dtype is nc.float16
    np.testing.assert_allclose(gradient.float().numpy(), 600 / 5000, rtol=1e-3)


def test_a_tape_sees_operations_by_their_names():
    w = nc.tensor(normal(4, 4), requires_grad=True)
    with nc.autocast(dtype=nc.bfloat16), nc.Tape() as tape_:
        F.linear(nc.ones(2, 4), w).softmax(1)
    assert [node.op_name for node in tape_.nodes] == ["linear", "softmax"]


def test_a_functions_backward_is_outside_of_the_block_that_it_is_called_in():
    seen = []

    class Doubled(nc.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            seen.append((nc.is_autocast_enabled(), product_dtype()))
            return grad * 2

    w = nc.tensor(normal(3), requires_grad=True)
    with nc.autocast(dtype=nc.bfloat16):
        Doubled.apply(w).sum().backward()
        assert nc.is_autocast_enabled()
    assert seen == [(False, nc.float32)]
