"""register_primitive: operations of a user's own, as good as those that are there, and loudly refused where wrong."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl.autograd import GradcheckError, gradgradcheck
from netcl.codegen.formulas import Formula
from netcl.core import program

rng = np.random.default_rng(0)
_numbers = itertools.count()


def swish_gradient(g: Any, y: Any, x: Any) -> Any:
    return g * (y + x.sigmoid() * (1 - y))


def slope_gradient(g: Any, y: Any, x: Any, slope: Any) -> tuple:
    below = (x <= 0).to(g.dtype)
    return g * (1 - below) + g * below * slope, g * below * x


SWISH = ("x / (1.0f + exp(-x))", swish_gradient)
LEAK = ("x > 0 ? x : slope * x", slope_gradient)


def np_swish(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_values_and_gradients_in_every_float(place, dtype: str):
    swish = nc.register_primitive("swish", *SWISH, check=False)
    leak = nc.register_primitive("leak", *LEAK, operands="x slope", check=False)
    kind = getattr(nc, dtype)
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    x = nc.tensor(rng.uniform(-4, 4, (5, 37)), dtype=kind, requires_grad=True)
    slope = nc.tensor(rng.uniform(0, 1, (37,)), dtype=kind, requires_grad=True)
    a, s = x.detach().double().numpy(), slope.detach().double().numpy()
    first, second = swish(x), leak(x.T.contiguous().T, slope)
    (first.sum() + second.sum()).backward()
    assert first.dtype is second.dtype is x.grad.dtype is kind
    np.testing.assert_allclose(first.detach().double().numpy(), np_swish(a), tolerance, tolerance)
    np.testing.assert_allclose(second.detach().double().numpy(), np.where(a > 0, a, s * a), tolerance, tolerance)
    sigmoid = 1 / (1 + np.exp(-a))
    expected = np_swish(a) * (1 - sigmoid) + sigmoid + np.where(a > 0, 1, s)
    np.testing.assert_allclose(x.grad.double().numpy(), expected, 2 * tolerance, 4 * tolerance)
    summed = np.where(a > 0, 0, a).sum(0)
    np.testing.assert_allclose(slope.grad.double().numpy(), summed, 4 * tolerance, 8 * tolerance)


def test_it_broadcasts_takes_numbers_views_and_no_elements(place, mode):
    three = nc.register_primitive("three", "(x - low) / (high - low)", operands="x low high", check=False)
    x = nc.tensor(rng.standard_normal((4, 1, 6)).astype(np.float32))
    low, high = nc.tensor([[-3.0], [-4.0]]), nc.tensor(5.0)
    with nc.no_grad():
        result = three(x.flip(2), low, high)
        expected = (x.numpy()[:, :, ::-1] - low.numpy()) / (5 - low.numpy())
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(three(x, -1, 1.0).numpy(), (x.numpy() + 1) / 2, rtol=1e-5)
        np.testing.assert_allclose(three(2.0, nc.tensor(1.0), 3).numpy(), 0.5)
        assert three(nc.ones(0, 3), 0, 2).shape == (0, 3)


def test_a_chain_with_built_in_operations_is_one_launch(place):
    swish = nc.register_primitive("swish", *SWISH, check=False)
    x, w, b = (nc.tensor(rng.standard_normal(s).astype(np.float32)) for s in ((32, 16), (16, 8), (8,)))
    with nc.profiler.count_launches() as chain:
        result = swish((x * 2).exp() + 1).sqrt()
    with nc.profiler.count_launches() as reduced:
        rows = (swish(x) - 1).sum(1)
    with nc.profiler.count_launches() as layer:
        product = swish(x @ w + b) * 2
    assert (int(chain), int(reduced), int(layer)) == (1, 1, 1)
    np.testing.assert_allclose(result.numpy(), np.sqrt(np_swish(np.exp(x.numpy() * 2) + 1)), rtol=1e-5)
    np.testing.assert_allclose(rows.numpy(), (np_swish(x.numpy()) - 1).sum(1), rtol=1e-4)
    np.testing.assert_allclose(product.numpy(), np_swish(x.numpy() @ w.numpy() + b.numpy()) * 2, rtol=1e-4, atol=1e-5)


def test_inside_a_loss_with_backward_it_takes_the_launches_of_a_built_in_one(place):
    own = nc.register_primitive("own_tanh", "tanh(x)", lambda g, y, x: g * (1 - y * y), check=False)
    w = nc.tensor(rng.standard_normal((16, 8)).astype(np.float32), requires_grad=True)
    x, y = (nc.tensor(rng.standard_normal(s).astype(np.float32)) for s in ((32, 16), (32, 8)))
    counts, gradients = [], []
    for function in (nc.tanh, own):
        w.grad = None
        with nc.profiler.count_launches() as n:
            loss = ((function(x @ w) - y) ** 2).mean()
            loss.backward()
        counts.append(int(n))
        gradients.append(w.grad.numpy())
    assert counts[0] == counts[1]
    np.testing.assert_allclose(*gradients, rtol=1e-5, atol=1e-7)


def test_second_derivatives():
    swish = nc.register_primitive("swish", *SWISH)
    leak = nc.register_primitive("leak", *LEAK, operands="x slope")
    x = nc.tensor([-1.3, 0.4, 2.2], dtype=nc.float64, requires_grad=True)
    slope = nc.tensor([0.3, 0.2, 0.1], dtype=nc.float64, requires_grad=True)
    assert gradgradcheck(swish, x)
    assert gradgradcheck(leak, (x, slope))


def test_registering_compiles_checks_and_leaves_what_is_pending_alone(device):
    x = nc.tensor([1.0, 2.0])
    y = x * 3
    with nc.no_grad(), nc.Tape() as tape:
        swish = nc.register_primitive("swish", *SWISH, reference=np_swish)
    assert y._value.buffer is None
    assert len(tape) == 0
    assert repr(swish) == "<swish(x) = x / (1.0f + exp(-x))>"
    assert (swish.__name__, swish.operands, swish.expression) == ("swish", ("x",), SWISH[0])
    np.testing.assert_allclose(swish(y).numpy(), np_swish(np.array([3.0, 6.0])), rtol=1e-6)


# ---- expressions -------------------------------------------------------------------------------------------------


def test_numbers_and_constants_take_the_type_of_the_operands(place):
    third = nc.register_primitive("third", "x * 0.333333333333333333f + 1e-1 + M_PI_F - 2.f", check=False)
    x = rng.uniform(-1, 1, 40)
    np.testing.assert_allclose(third(nc.tensor(x)).numpy(), x / 3 + 0.1 + np.pi - 2, rtol=1e-14)
    single = third(nc.tensor(x.astype(np.float32))).numpy()
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, x / 3 + 0.1 + np.pi - 2, rtol=1e-5)


def test_comparisons_and_conditions_mean_the_same_in_vectors_and_alone(place):
    step = nc.register_primitive("is_above", "(x > 0.5) * x + (x < 0.0 ? 2.0 : 0)", check=False)
    for size in (1, 5, 64, 1003):
        x = rng.uniform(-1, 1, size).astype(np.float32)
        np.testing.assert_allclose(step(nc.tensor(x)).numpy(), (x > 0.5) * x + np.where(x < 0, 2, 0), rtol=1e-6)


def test_helpers_are_functions_with_statements(place):
    text = """
    REAL term(REAL x, int k) { return x / k; }
    REAL series(REAL x) {
      REAL sum = 1.0, last = 1.0;
      for (int k = 1; k < 20; ++k) { last *= term(x, k); sum += last; }
      return sum;
    }"""
    power = nc.register_primitive("power_series", "series(x)", helpers=text, check=False)
    twice = nc.register_primitive("power_series_twice", "2 * series(x)", helpers=text, check=False)
    for dtype, tolerance in ((np.float32, 1e-6), (np.float64, 1e-14)):
        x = rng.uniform(-1, 1, 33).astype(dtype)
        np.testing.assert_allclose((power(nc.tensor(x)) + twice(nc.tensor(x))).numpy(), 3 * np.exp(x), rtol=tolerance)


def test_functions_that_a_driver_does_badly_are_corrected_and_may_stand_beside_the_built_in_ones(place):
    wave = nc.register_primitive("wave", "sin(x) + tanh(x)", check=False)
    x = np.full(64, 1e-4, np.float32)
    x[7] = 1e9
    t = nc.tensor(x)
    with np.errstate(all="ignore"):
        expected = 2 * np.sin(x.astype(np.float64)) + 2 * np.tanh(x.astype(np.float64))
    result = (wave(t) + t.sin() + t.tanh()).numpy()
    np.testing.assert_allclose(np.delete(result, 7), np.delete(expected, 7), rtol=1e-6)


def test_which_expressions_are_applied_to_whole_vectors():
    for text in ("x * 2.0", "exp(-x) / (1 + fabs(x))", "fmax(x, 0.0) * M_PI"):
        assert not Formula("f", text, ["x"]).by_lanes, text
    for text in ("x > 0 ? x : 0", "(float)x", "mine(x)", "x * (x < 1)", "fma(x, x, x)"):
        assert Formula("f", text, ["x"]).by_lanes, text


def test_rules_for_the_dtype(device):
    x = nc.tensor([1, -5, 6])
    rules = ("floating", "floats", "same")
    twice = {rule: nc.register_primitive(f"twice_{rule}", "2 * x", dtype=rule) for rule in rules}
    assert twice["floating"](x).dtype is twice["floating"](x > 0).dtype is nc.float32
    np.testing.assert_array_equal(twice["floating"](x).numpy(), [2, -10, 12])
    assert twice["same"](x).dtype is nc.int64
    np.testing.assert_array_equal(twice["same"](nc.tensor([200, 3], dtype=nc.uint8)).numpy(), [144, 6])
    assert twice["same"](x.double()).dtype is nc.float64
    with pytest.raises(RuntimeError, match="twice_floats: not defined for int64 tensors"):
        twice["floats"](x)
    with pytest.raises(RuntimeError, match="twice_same: not defined for bool tensors"):
        twice["same"](x > 0)


def test_operations_on_integers(device):
    odd = nc.register_primitive("odd_bits", "(a % b) | (a & 1)", operands="a b", dtype="integers",
                                reference=lambda a, b: np.fmod(a, b) | (a & 1))  # fmt: skip
    a, b = nc.tensor([7, 12, 100], dtype=nc.int16), nc.tensor([4, 5, 7], dtype=nc.int32)
    result = odd(a, b)
    assert result.dtype is nc.int32
    np.testing.assert_array_equal(result.numpy(), [3, 2, 2])
    with pytest.raises(RuntimeError, match="odd_bits: defined for integer tensors only, got float32"):
        odd(a.float(), b)
    with pytest.raises(ValueError, match="is for integers, which have no gradients"):
        nc.register_primitive("f", "x | 1", lambda g, y, x: g, dtype="integers")


# ---- what is wrong -----------------------------------------------------------------------------------------------


def test_a_wrong_gradient_is_refused_with_the_numbers(device):
    with pytest.raises(GradcheckError) as caught:
        nc.register_primitive("cube", "x * x * x", lambda g, y, x: g * x * x, samples=[0.5, 1.0, 2.0])
    text = str(caught.value)
    assert "the gradient in x of 'cube' is 0.25 at x = 0.5, differences give 0.75" in text
    assert "3 of 3 points differ" in text
    assert "nothing was registered" in text
    cube = nc.register_primitive("cube", "x * x * x", lambda g, y, x: g * 3 * x * x, samples=[0.5, 1.0, 2.0])
    np.testing.assert_allclose(cube(nc.tensor([2.0])).numpy(), [8.0])


@pytest.mark.parametrize("wide", [True, False])
def test_right_gradients_pass_and_wrong_ones_don_t_in_either_width(wide: bool):
    """A device without doubles compares in float32: steep and bent functions have to pass there too."""
    from netcl.ops.custom_check import _compare

    device = nc.device()
    right = {
        "x * x * x": lambda g, y, x: g * 3 * x * x,
        "1.0 / x": lambda g, y, x: -g * y * y,
        "exp(2.0 * x) + (x > 0 ? x : 0)": lambda g, y, x: g * (2 * (x * 2).exp() + (x > 0)),
        "sqrt(x)": lambda g, y, x: g / (y * 2),
    }  # fmt: skip
    for number, (expression, gradient) in enumerate(right.items()):
        made = nc.register_primitive(f"right{number}", expression, gradient, check=False)
        _compare(made, device, None, wide)
        wrong = nc.register_primitive(
            f"wrong{number}", expression, lambda g, y, x, right=gradient: right(g, y, x) * 1.05, check=False
        )
        with pytest.raises(GradcheckError, match="differences give"):
            _compare(wrong, device, None, wide)


def test_a_gradient_that_forgets_g_or_swaps_the_operands_is_refused():
    with pytest.raises(GradcheckError, match="gradient in x"):
        nc.register_primitive("double", "2.0 * x", lambda g, y, x: x * 0 + 2)
    with pytest.raises(GradcheckError, match="gradient in a"):
        nc.register_primitive("minus", "a - b", lambda g, y, a, b: (-g, g), operands="a b")


def test_a_wrong_value_is_refused_where_there_is_a_reference():
    with pytest.raises(GradcheckError, match="the value of 'third' is .* the reference gives"):
        nc.register_primitive("third", "x / 3.1", reference=lambda x: x / 3)


def test_a_bad_expression_is_told_in_the_compilers_words_without_a_page_of_log(device):
    with pytest.raises(RuntimeError, match="refuses the expression of 'bad'") as caught:
        nc.register_primitive("bad", "x / (1 + expp(-x))")
    text = str(caught.value)
    assert "    x / (1 + expp(-x))\n" in text
    assert "expp'" in text
    assert "1:10" in text
    assert len(text.splitlines()) < 8


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("mul", "x"), ValueError, "'mul' is an operation of netcl itself"),
        (("softmax", "x"), ValueError, "'softmax' is an operation of netcl itself"),
        (("two words", "x"), ValueError, "'two words' is no name"),
        (("f", "x; x"), ValueError, "';' in the expression of 'f'"),
        (("f", ""), ValueError, "must be OpenCL C text"),
        (("f", 3), ValueError, "must be OpenCL C text"),
        (("f", "y * 2"), ValueError, "does not use x"),
        (("f", "x", lambda g, x: g), TypeError, r"called as gradient\(g, y, x\), which it does not take"),
        (("f", "x", 3), TypeError, "must be a function gradient"),
        (("f", "x * x", lambda g, y, x: None), ValueError, "None for every operand; leave it out"),
        (("f", "x * x", lambda g, y, x: (g, g)), RuntimeError, "returned 2 gradients for 1 operand"),
        (("f", "x * 1.0", lambda g, y, x: 1.0), TypeError, "must return tensors"),
        (("f", "sqrt(x - 100)", lambda g, y, x: g / y / 2), ValueError, "pass samples= from where it is defined"),
    ],
)  # fmt: skip
def test_what_is_no_operation_is_refused(arguments: tuple, error: type, text: str):
    with pytest.raises(error, match=text):
        nc.register_primitive(*arguments)
    nc.register_primitive("f", "x * 1.5", check=False)  # the name is free


def test_other_arguments_that_are_refused():
    for operands in ("a b c d", "", "a a"):
        with pytest.raises(ValueError, match="operands"):
            nc.register_primitive("f", "a + b", operands=operands)
    with pytest.raises(ValueError, match="dtype must be one of"):
        nc.register_primitive("f", "x", dtype="float32")
    with pytest.raises(ValueError, match="must be 2 arrays of one length"):
        nc.register_primitive("f", "a + b", operands="a b", samples=([1.0, 2.0], [1.0]))
    with pytest.raises(ValueError, match="whole functions"):
        nc.register_primitive("f", "h(x)", helpers="REAL h(REAL x) {")
    swish = nc.register_primitive("swish", *SWISH, check=False)
    with pytest.raises(TypeError, match=r"swish: takes 1 operands \(x\), got 2"):
        swish(nc.ones(2), nc.ones(2))
    with pytest.raises(TypeError, match="swish: expected at least one tensor, got float"):
        swish(1.0)


def test_without_a_gradient_backward_raises_and_forward_does_not(mode):
    steps = nc.register_primitive("steps", "floor(x * 2.0) / 2.0")
    x = nc.tensor([0.3, 0.8], requires_grad=True)
    y = steps(x) + x
    np.testing.assert_allclose(y.detach().numpy(), [0.3, 1.3], rtol=1e-6)
    with pytest.raises(NotImplementedError, match="the derivative of steps is not implemented"):
        y.sum().backward()
    with nc.no_grad():
        assert not steps(x).requires_grad
    (steps(x.detach()) * x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [0.0, 0.5])


def test_an_operand_without_a_gradient_raises_only_where_one_is_needed():
    scale = nc.register_primitive("scaled", "x * s", lambda g, y, x, s: (g * s, None), operands="x s")
    x, s = nc.tensor([1.0, 2.0], requires_grad=True), nc.tensor([3.0, 4.0])
    scale(x, s).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [3.0, 4.0])
    s.requires_grad_()
    with pytest.raises(NotImplementedError, match=r"scaled: not differentiable in operand 2 of 2, of shape \[2\]"):
        scale(x, s).sum().backward()


# ---- names -------------------------------------------------------------------------------------------------------


def test_the_same_again_is_the_same_operation_and_another_one_is_refused():
    first = nc.register_primitive("swish", *SWISH)
    assert nc.register_primitive("swish", *SWISH) is first
    made = [nc.register_primitive("twice", "2.0 * x", lambda g, y, x: g * 2, check=False) for _ in range(2)]
    assert made[0] is made[1]
    for expression, gradient in (("x / (1 + exp(-2 * x))", swish_gradient), (SWISH[0], lambda g, y, x: g)):
        with pytest.raises(ValueError, match="'swish' is registered already"):
            nc.register_primitive("swish", expression, gradient)
    with pytest.raises(ValueError, match="no operation 'nothing' is registered"):
        nc.unregister_primitive("nothing")


def test_two_operations_of_one_name_never_share_plans_or_programs(device):
    x = nc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    name = f"again{next(_numbers)}"
    results = []
    for factor in (2, 5, 2):
        own = nc.register_primitive(name, f"x * {factor}.0", lambda g, y, x, factor=factor: g * factor)
        x.grad = None
        pending = own(x)
        nc.unregister_primitive(name)
        pending.sum().backward()
        results.append((pending.detach().numpy().tolist(), x.grad.numpy().tolist()))
    assert results == [([2.0, 4.0, 6.0], [2.0] * 3), ([5.0, 10.0, 15.0], [5.0] * 3), ([2.0, 4.0, 6.0], [2.0] * 3)]


def test_both_of_two_operations_of_one_name_may_be_in_one_kernel(device):
    x = nc.tensor([1.0, 2.0])
    first = nc.register_primitive("mine", "x + 1.0", check=False)
    y = first(x)
    nc.unregister_primitive("mine")
    second = nc.register_primitive("mine", "x * 10.0", check=False)
    with nc.profiler.count_launches() as n:
        z = second(y)
    assert int(n) == 1
    np.testing.assert_allclose(z.numpy(), [20.0, 30.0])


def test_a_plan_is_found_again(device):
    swish = nc.register_primitive("swish", *SWISH, check=False)
    x = nc.tensor([1.0, 2.0])
    swish(x).numpy()
    before = program.compile_count
    swish(x).numpy()
    assert program.compile_count == before


def test_threads_register_one_operation_once():
    made, errors = [], []

    def work(number: int) -> None:
        try:
            made.append(nc.register_primitive("shared", *SWISH))
            own = nc.register_primitive(f"own{number}", f"x * {number}.0", lambda g, y, x: g * number)
            np.testing.assert_allclose(own(nc.tensor([2.0])).numpy(), [2.0 * number])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(made) == 4
    assert len(set(map(id, made))) == 1


# ---- with the rest -----------------------------------------------------------------------------------------------


def test_the_name_of_the_first_documents_is_the_same_function():
    from netcl.autograd import compiler

    assert compiler.register_primitive is nc.register_primitive


def test_in_compiled_functions_and_under_vmap(device):
    leak = nc.register_primitive("leak", *LEAK, operands="x slope", check=False)
    x = nc.tensor(rng.standard_normal((4, 6)).astype(np.float32))
    plain = leak(x * 2, 0.1).sum(1)
    compiled = nc.jit.jit_compile(lambda x: leak(x * 2, 0.1).sum(1))
    mapped = nc.func.vmap(lambda row: leak(row * 2, 0.1).sum())
    for _ in range(3):
        np.testing.assert_array_equal(compiled(x).numpy(), plain.numpy())
    np.testing.assert_allclose(mapped(x).numpy(), plain.numpy(), rtol=1e-6)


def test_under_autocast_its_policy_decides(device):
    made = {
        policy: nc.register_primitive(f"swish_{policy}", *SWISH, autocast=policy, check=False)
        for policy in ("widest", "float32", "lower")
    }
    x = nc.tensor([1.0, -2.0], requires_grad=True)
    with nc.amp.autocast(device.kind, dtype=nc.bfloat16):
        for policy, of_wide, of_narrow in (
            ("widest", nc.float32, nc.bfloat16), ("float32", nc.float32, nc.float32),
            ("lower", nc.bfloat16, nc.bfloat16),
        ):  # fmt: skip
            assert made[policy](x).dtype is of_wide
            assert made[policy](x.bfloat16()).dtype is of_narrow
        loss = made["lower"](x).float().sum()
    loss.backward()
    a = np.array([1.0, -2.0])
    sigmoid = 1 / (1 + np.exp(-a))
    np.testing.assert_allclose(x.grad.numpy(), sigmoid * (1 + a * (1 - sigmoid)), rtol=2e-2)
    with pytest.raises(ValueError, match="autocast must be"):
        nc.register_primitive("f", "x * 2", autocast="narrow")
