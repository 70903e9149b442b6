"""Every operation's first and second derivative against differences in float64, and gradcheck itself."""

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl.autograd import gradcheck, gradgradcheck

draws = np.random.default_rng(1)


def real(*shape: int) -> nc.Tensor:
    return nc.tensor(draws.uniform(-2, 2, shape), requires_grad=True)


def positive(*shape: int) -> nc.Tensor:
    return nc.tensor(draws.uniform(0.3, 2, shape), requires_grad=True)


def labels() -> nc.Tensor:
    return nc.tensor([2, 0])


def weights() -> nc.Tensor:
    return nc.tensor(np.array([0.2, 1, 3.0]))


GROUPS = {
    "arithmetic": [
        (lambda a, b: a + b, "rv"),
        (lambda a, b: a - b, "rv"),
        (lambda a, b: a * b, "rv"),
        (lambda a, b: a / b, "rp"),
        (lambda a: -a, "r"),
        (lambda a, b: a**b, "pp"),
        (lambda a: a**3, "r"),
        (lambda a: a**2.5, "p"),
        (lambda a: 2**a, "r"),
        (lambda a: a**-1, "p"),
    ],
    "functions": [
        (lambda a: a.exp(), "r"),
        (lambda a: a.expm1(), "r"),
        (lambda a: a.log(), "p"),
        (lambda a: a.log1p(), "p"),
        (lambda a: a.sqrt(), "p"),
        (lambda a: a.rsqrt(), "p"),
        (lambda a: a.sin(), "r"),
        (lambda a: a.cos(), "r"),
        (lambda a: a.tanh(), "r"),
        (lambda a: a.sigmoid(), "r"),
        (lambda a: a.erf(), "r"),
        (lambda a: a.relu() * a, "r"),
        (lambda a: a.abs() * a, "r"),
        (lambda a: a.sign() * a, "r"),
        (lambda a: a.floor() * a, "r"),
        (lambda a: a.clone() * a.contiguous(), "r"),
        (lambda a: a.clamp(-1, 1) * a, "r"),
    ],
    "choices": [
        (lambda a, b: nc.maximum(a, b), "rr"),
        (lambda a, b: nc.minimum(a, b), "rr"),
        (lambda a, b: nc.where(a > 0, a * 2, b), "rr"),
        (lambda a: a.amax(1), "r"),
        (lambda a: a.amin(0), "r"),
        (lambda a: a.gather(1, nc.tensor([[0, 0], [2, 1]])), "r"),
    ],
    "reductions": [
        (lambda a: a.sum(0), "r"),
        (lambda a: a.mean(1), "r"),
        (lambda a: a.var(1), "r"),
        (lambda a: a.std(), "r"),
        (lambda a: a.logsumexp(1), "r"),
    ],
    "views": [
        (lambda a: a.reshape(3, 2).permute(1, 0)[:, ::2].flip(0), "r"),
        (lambda a: a.expand(2, 3) * 2, "v"),
        (lambda a: a[1, 1:3], "r"),
        (lambda a: a.pad_with_zeros([(1, 0), (0, 2)]).unsqueeze(1).squeeze().flatten(), "r"),
        (lambda a: a.narrow(1, 1, 2).t(), "r"),
    ],
    "products": [
        (lambda a, b: a @ b.T, "rr"),
        (lambda a, b: a @ b, "rv"),
        (lambda a, b: a @ b, "vv"),
        (lambda a, b: a.unsqueeze(0) @ b.T, "rr"),
        (lambda a, b: F.linear(a, b), "rr"),
        (lambda a, b, c: F.linear(a, b, c[:2]), "rrv"),
    ],
    "activations": [
        (F.gelu, "r"),
        (lambda a: F.gelu(a, "tanh"), "r"),
        (F.silu, "r"),
        (F.softplus, "r"),
        (lambda a: F.leaky_relu(a) * a, "r"),
        (lambda a: F.softmax(a, 1), "r"),
        (lambda a: F.softmax(a, 0), "r"),
        (lambda a: F.log_softmax(a, 1), "r"),
        (lambda a: F.softmin(a, -1), "r"),
        (lambda a, w, c: F.layer_norm(a, 3, w, c), "rvv"),
    ],
    "losses": [
        *((lambda a, b, r=r: F.mse_loss(a, b, r), "rr") for r in ("mean", "sum", "none", "batchmean")),
        (lambda a: F.cross_entropy(a, labels()), "r"),
        (lambda a: F.cross_entropy(a, labels(), weights(), label_smoothing=0.1), "r"),
        (lambda a: F.cross_entropy(a, labels(), ignore_index=0, reduction="none"), "r"),
        (lambda a, b: F.cross_entropy(a, F.softmax(b, 1)), "rr"),
    ],
}


@pytest.mark.parametrize("group", GROUPS)
def test_first_and_second_derivatives_agree_with_differences(group):
    make = {"r": lambda: real(2, 3), "v": lambda: real(3), "p": lambda: positive(2, 3)}
    for function, kinds in GROUPS[group]:
        inputs = tuple(make[kind]() for kind in kinds)
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs)


def wrong(x: nc.Tensor) -> nc.Tensor:
    """x * x, whose gradient is given as that of x * x.detach()."""
    return x * x.detach()


def test_gradcheck_finds_a_wrong_gradient_and_says_where():
    x = nc.tensor(np.array([[1.0, 3.0]]), requires_grad=True)
    with pytest.raises(
        RuntimeError, match=r"output 0 at \[0, 0\] in input 0 at \[0, 0\] is 1\.0.*differences give 2\.0"
    ):
        gradcheck(wrong, x)
    assert gradcheck(wrong, x, raise_exception=False) is False
    assert gradcheck(lambda t: t * t, x)
    assert gradgradcheck(lambda t: t * t * t, x)
    with pytest.raises(RuntimeError):
        gradgradcheck(lambda t: t * t * t.detach(), x)


def test_gradcheck_wants_float64_inputs_that_require_a_gradient():
    with pytest.raises(ValueError, match="float64"):
        gradcheck(lambda t: t * 2, nc.tensor([1.0], requires_grad=True))
    with pytest.raises(ValueError, match="require a gradient"):
        gradcheck(lambda t: t * 2, nc.tensor(np.ones(2)))


def test_gradcheck_takes_several_inputs_and_outputs():
    x, y, fixed = real(2), real(2), nc.tensor(np.ones(2))
    assert gradcheck(lambda a, b, c: (a * b + c, a.exp()), (x, y, fixed))


class Pair(nc.autograd.Function):
    """(x * 2, x * 3), with a gradient that forgets what it is told to."""

    forgets = ""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, first, second):
        if Pair.forgets == "alone" and second is None:
            return None
        if Pair.forgets == "turn":
            Pair.turns += 1
            return first * (2 + Pair.turns % 2) if first is not None else second * 3
        total = None if first is None else first * 2
        return total if second is None else second * 3 if total is None else total + second * 3


def test_gradcheck_finds_what_missing_gradients_and_chance_do(monkeypatch):
    x = nc.tensor(np.array([1.0, 2.0]), requires_grad=True)
    assert nc.autograd.gradcheck(Pair.apply, x)
    monkeypatch.setattr(Pair, "forgets", "turn")
    monkeypatch.setattr(Pair, "turns", 0, raising=False)
    with pytest.raises(nc.autograd.GradcheckError, match="second time"):
        nc.autograd.gradcheck(Pair.apply, x)
    monkeypatch.setattr(Pair, "forgets", "alone")
    with pytest.raises(nc.autograd.GradcheckError):
        nc.autograd.gradcheck(Pair.apply, x)
    assert nc.autograd.gradcheck(Pair.apply, x, raise_exception=False) is False


def test_gradcheck_skips_results_without_gradient_and_refuses_what_it_does_not_do():
    x = nc.tensor(np.array([1.0, 2.0]), requires_grad=True)
    assert nc.autograd.gradcheck(lambda t: (t * t, t > 1), x)
    with pytest.raises(ValueError, match="nothing to check"):
        nc.autograd.gradcheck(lambda t: t > 1, x)
    for option in ("check_batched_grad", "check_forward_ad", "fast_mode"):
        with pytest.raises(NotImplementedError, match=option):
            nc.autograd.gradcheck(lambda t: t * t, x, **{option: True})
    with pytest.raises(NotImplementedError, match="check_fwd_over_rev"):
        nc.autograd.gradgradcheck(lambda t: t * t, x, check_fwd_over_rev=True)
