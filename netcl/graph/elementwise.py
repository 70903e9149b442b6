"""The elementwise part of the primitive table.

An entry is a name, an OpenCL expression, a gradient and a NumPy reference. In expressions `{0}`, `{1}` are the
operands (scalars or vectors of the compute type `{T}`); comparisons are spelled by the generator, because OpenCL's
vector comparisons give -1 and its scalar ones 1. A gradient is written in operations again, so that it can be
differentiated: `g` is the incoming gradient, `y` the result, the rest the operands; None for no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netcl.codegen import functions
from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.graph.table import (
    Primitive,
    Shape,
    boolean,
    broadcast_shapes,
    floating,
    no_bool,
    only_floats,
    only_integers,
    register,
    result_dtype,
    same,
)


def _elementwise(
    name: str,
    expression: str,
    gradient: Callable[..., tuple] | None,
    reference: Callable[..., Any] | None,
    result: Callable = same,
    integer: str = "",
    preamble: str = "",
    autocast: str = "widest",
) -> None:
    register(
        Primitive(
            name, "elementwise", result(name), expression, integer or expression, gradient, reference,
            preamble=preamble, autocast=autocast,
        )
    )  # fmt: skip


def _where_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    if operands[0].dtype is not dtypes.bool_:
        raise RuntimeError(f"where: expected condition to be a boolean tensor, but got {operands[0].dtype}")
    return broadcast_shapes("where", [o.shape for o in operands]), result_dtype(operands[1:])


def _logistic(x: Any) -> Any:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _by_number(name: str) -> Callable:
    """A function of Python's math module over arrays."""
    return np.vectorize(getattr(math, name), otypes=[np.float64])


def _shared(g: Any, tie: Any, lost: Any, won: Any) -> tuple:
    """maximum and minimum: half to each at a tie, nothing to the loser; with a NaN, all to both, as in PyTorch."""
    half = g / 2
    return half.where(tie, g.where(lost.logical_not(), 0)), half.where(tie, g.where(won.logical_not(), 0))


def _greater_of_numbers(g: Any, y: Any, a: Any, b: Any) -> tuple:
    """fmax: to the one taken; at a tie to the first."""
    first = (a >= b) | (b != b)
    return g.where(first, 0), g.where(first.logical_not(), 0)


def _less_of_numbers(g: Any, y: Any, a: Any, b: Any) -> tuple:
    first = (a <= b) | (b != b)
    return g.where(first, 0), g.where(first.logical_not(), 0)


def _angle_gradient(g: Any, y: Any, a: Any, b: Any) -> tuple:
    """atan2: zeros at the origin, as in PyTorch."""
    radius = a.hypot(b)
    scale = (g / radius).where(radius != 0, 0)
    return scale * (b / radius).where(radius != 0, 0), -scale * (a / radius).where(radius != 0, 0)


def _flat(g: Any, y: Any, x: Any) -> tuple:
    """The slope of steps: zeros, so that what asks for a gradient gets one."""
    return (g.new_zeros(g.shape),)


def _flat_in_both(g: Any, y: Any, a: Any, b: Any) -> tuple:
    return g.new_zeros(g.shape), g.new_zeros(g.shape)


TWO_OVER_ROOT_PI = 1.1283791670955126
HALF_ROOT_PI = 0.886226925452758
LOG_2 = 0.6931471805599453
LOG_10 = 2.302585092994046

# fmt: off
_elementwise("add", "({0} + {1})", lambda g, y, a, b: (g, g), np.add)
_elementwise("sub", "({0} - {1})", lambda g, y, a, b: (g, -g), np.subtract)
_elementwise("mul", "({0} * {1})", lambda g, y, a, b: (g * b, g * a), np.multiply)
_elementwise("div", "({0} / {1})", lambda g, y, a, b: (g / b, -g * y / b), np.divide, floating)
_elementwise("neg", "(-{0})", lambda g, y, x: (-g,), np.negative, no_bool)
_elementwise("pow", "netcl_pow({0}, {1})",
             lambda g, y, a, b: (g * (b * a.pow(b - 1)).where(b != 0, 0), g * (y * a.log()).where(((a == 0) & (b >= 0)).logical_not(), 0)),
             np.power, no_bool, integer="<lanes>({S})netcl_ipow({0}, {1})",
             preamble=functions.power() + "\n" + functions.INTEGER_POWER,
             autocast="float32")
_elementwise("abs", "fabs({0})", lambda g, y, x: (g * x.sign(),), np.abs, no_bool, integer="(({0} < ({T})(0)) ? -{0} : {0})")
_elementwise("sign", "(sign({0}) + ({T})(0))", _flat, np.sign,
             integer="(({0} > ({T})(0)) ? ({T})(1) : (({0} < ({T})(0)) ? ({T})(-1) : ({T})(0)))")
_elementwise("exp", "netcl_exp({0})", lambda g, y, x: (g * y,), np.exp, floating, preamble=functions.exponential(),
             autocast="float32")
# Of the softmax family: two of them for each element are what bounds cross-entropy where the logits fit in the cache,
# and their errors are lost beside those of x - max.
_elementwise("quick_exp", "exp({0})", lambda g, y, x: (g * y,), np.exp, floating, autocast="float32")
_elementwise("expm1", "expm1({0})", lambda g, y, x: (g * (y + 1),), np.expm1, floating, autocast="float32")
_elementwise("log", "log({0})", lambda g, y, x: (g / x,), np.log, floating, autocast="float32")
_elementwise("log1p", "log1p({0})", lambda g, y, x: (g / (x + 1),), np.log1p, floating, autocast="float32")
_elementwise("sqrt", "sqrt({0})", lambda g, y, x: (g / (y * 2),), np.sqrt, floating)
_elementwise("rsqrt", "(({T})(1) / sqrt({0}))", lambda g, y, x: (g * y * y * y * -0.5,), lambda x: 1 / np.sqrt(x),
             floating, autocast="float32")
_elementwise("sin", "netcl_sin({0})", lambda g, y, x: (g * x.cos(),), np.sin, floating, preamble=functions.periodic("sin"))
_elementwise("cos", "netcl_cos({0})", lambda g, y, x: (-g * x.sin(),), np.cos, floating, preamble=functions.periodic("cos"))
_elementwise("tanh", "netcl_tanh({0})", lambda g, y, x: (g * (1 - y * y),), np.tanh, floating, preamble=functions.hyperbolic_tangent())
_elementwise("sigmoid", "(({T})(1) / (({T})(1) + exp(-{0})))", lambda g, y, x: (g * y * (1 - y),), _logistic, floating)
_elementwise("erf", "erf({0})", lambda g, y, x: (g * (-(x * x)).exp() * TWO_OVER_ROOT_PI,), _by_number("erf"), floating)
_elementwise("floor", "floor({0})", _flat, np.floor, no_bool, integer="{0}")
_elementwise("ceil", "ceil({0})", _flat, np.ceil, no_bool, integer="{0}")
_elementwise("trunc", "trunc({0})", _flat, np.trunc, no_bool, integer="{0}")
_elementwise("round", "rint({0})", _flat, np.rint, no_bool, integer="{0}")
_elementwise("reciprocal", "(({T})(1) / {0})", lambda g, y, x: (-g * y * y,), np.reciprocal, floating, autocast="float32")
_elementwise("exp2", "exp2({0})", lambda g, y, x: (g * y * LOG_2,), np.exp2, floating)
_elementwise("log2", "log2({0})", lambda g, y, x: (g / (x * LOG_2),), np.log2, floating, autocast="float32")
_elementwise("log10", "log10({0})", lambda g, y, x: (g / (x * LOG_10),), np.log10, floating, autocast="float32")
_elementwise("tan", "netcl_tan({0})", lambda g, y, x: (g * (y * y + 1),), np.tan, floating, preamble=functions.periodic("tan"),
             autocast="float32")
_elementwise("asin", "asin({0})", lambda g, y, x: (g * (1 - x * x).rsqrt(),), np.arcsin, floating, autocast="float32")
_elementwise("acos", "acos({0})", lambda g, y, x: (-g * (1 - x * x).rsqrt(),), np.arccos, floating, autocast="float32")
_elementwise("atan", "atan({0})", lambda g, y, x: (g / (x * x + 1),), np.arctan, floating)
_elementwise("atan2", "atan2({0}, {1})", _angle_gradient, np.arctan2, floating)
_elementwise("sinh", "sinh({0})", lambda g, y, x: (g * x.cosh(),), np.sinh, floating, autocast="float32")
_elementwise("cosh", "cosh({0})", lambda g, y, x: (g * x.sinh(),), np.cosh, floating, autocast="float32")
_elementwise("asinh", "asinh({0})", lambda g, y, x: (g * (x * x + 1).rsqrt(),), np.arcsinh, floating)
_elementwise("acosh", "acosh({0})", lambda g, y, x: (g * (x * x - 1).rsqrt(),), np.arccosh, floating)
_elementwise("atanh", "atanh({0})", lambda g, y, x: (g / (1 - x * x),), np.arctanh, floating)
_elementwise("erfc", "erfc({0})", lambda g, y, x: (-g * (-(x * x)).exp() * TWO_OVER_ROOT_PI,), _by_number("erfc"), floating)
_elementwise("erfinv", "<lanes>netcl_erfinv_{S}({0})", lambda g, y, x: (g * (y * y).exp() * HALF_ROOT_PI,), None, floating,
             preamble=functions.INVERSE_ERF, autocast="float32")
_elementwise("lgamma", "netcl_lgamma({0})", lambda g, y, x: (g * x.digamma(),), None, floating,
             preamble=functions.log_gamma())
_elementwise("digamma", "<lanes>netcl_digamma_{S}({0})", lambda g, y, x: (g * x.polygamma(1),), None, floating,
             preamble=functions.DIGAMMA)
_elementwise("zeta", "<lanes>netcl_zeta_{S}({0}, {1})", lambda g, y, s, q: (None, -g * s * (s + 1).zeta(q)), None, floating,
             preamble=functions.ZETA)
_elementwise("i0e", "<lanes>netcl_bessel_{S}(0, {0})", lambda g, y, x: (g * (x.i1e() - x.sign() * y),), None, floating,
             preamble=functions.BESSEL)
_elementwise("i1e", "<lanes>netcl_bessel_{S}(1, {0})",
             lambda g, y, x: (g * (x.i0e() - y * x.sign() - (y / x).where(x != 0, 0.5)),), None, floating,
             preamble=functions.BESSEL)
_elementwise("erfcx", "<lanes>netcl_erfcx_{S}({0})", lambda g, y, x: (g * (x * y * 2 - TWO_OVER_ROOT_PI),), None, floating,
             preamble=functions.SCALED_ERFC)
_elementwise("logb", "logb({0})", _flat, None, only_floats)
_elementwise("hypot", "hypot({0}, {1})", lambda g, y, a, b: (g * (a / y), g * (b / y)), np.hypot, only_floats)
_elementwise("copysign", "copysign({0}, {1})", lambda g, y, a, b: ((g * (y / a)).where(a != 0, 0), g.new_zeros(g.shape)),
             np.copysign, floating)
_elementwise("nextafter", "nextafter({0}, {1})", lambda g, y, a, b: (g.where(a != b, 0), g.new_zeros(g.shape)),
             np.nextafter, only_floats)
_elementwise("fmod", "<lanes>fmod({0}, {1})", lambda g, y, a, b: (g, -g * a.trunc_divide(b)), np.fmod, no_bool,
             integer="<lanes>netcl_fmod_{S}({0}, {1})", preamble=functions.WHOLE_DIVISION)
_elementwise("remainder", "<lanes>netcl_remainder_{S}({0}, {1})", lambda g, y, a, b: (g, -g * a.floor_divide(b)), None, no_bool,
             preamble=functions.WHOLE_DIVISION + "\n" + functions.DIVISION)
_elementwise("floor_divide", "<lanes>netcl_floor_divide_{S}({0}, {1})", _flat_in_both, None, no_bool,
             preamble=functions.WHOLE_DIVISION + "\n" + functions.DIVISION)
_elementwise("trunc_divide", "trunc({0} / {1})", _flat_in_both, None, no_bool,
             integer="<lanes>netcl_quotient_{S}({0}, {1})", preamble=functions.WHOLE_DIVISION)
_elementwise("relu", "<where>{0} < ({T})(0)<then>({T})(0)<else>{0}", lambda g, y, x: (g.where((y <= 0).logical_not(), 0),),
             lambda x: np.where(x < 0, np.zeros_like(x), x), no_bool)
# A NaN operand wins, as in torch.maximum; at a tie each side gets half the gradient.
_elementwise("maximum", "<where>({0} > {1}) | ({0} != {0})<then>{0}<else>{1}",
             lambda g, y, a, b: _shared(g, a == b, a < b, a > b),
             np.maximum, integer="max({0}, {1})")
_elementwise("minimum", "<where>({0} < {1}) | ({0} != {0})<then>{0}<else>{1}",
             lambda g, y, a, b: _shared(g, a == b, a > b, a < b),
             np.minimum, integer="min({0}, {1})")
_elementwise("gcd", "", None, np.gcd, only_integers, integer="<lanes>netcl_gcd_{S}({0}, {1})",
             preamble=functions.WHOLE_DIVISION + "\n" + functions.COMMON_DIVISOR)
_elementwise("lcm", "", None, np.lcm, only_integers, integer="<lanes>netcl_lcm_{S}({0}, {1})",
             preamble=functions.WHOLE_DIVISION + "\n" + functions.COMMON_DIVISOR)
_elementwise("fmax", "fmax({0}, {1})", _greater_of_numbers, np.fmax, integer="max({0}, {1})")
_elementwise("fmin", "fmin({0}, {1})", _less_of_numbers, np.fmin, integer="min({0}, {1})")
_elementwise("logical_and", "({0} & {1})", None, np.logical_and, boolean)
_elementwise("logical_or", "({0} | {1})", None, np.logical_or, boolean)
_elementwise("logical_xor", "({0} ^ {1})", None, np.logical_xor, boolean)
_elementwise("bitwise_and", "({0} & {1})", None, np.bitwise_and)
_elementwise("bitwise_or", "({0} | {1})", None, np.bitwise_or)
_elementwise("bitwise_xor", "({0} ^ {1})", None, np.bitwise_xor)
_elementwise("bitwise_not", "(~{0})", None, np.invert)
# A shift by less than 0 or by all bits leaves nothing but the sign, where the instruction would leave out some bits.
_elementwise("bitwise_left_shift", "", None, np.left_shift, no_bool,
             integer="<where>({1} >= ({T})(0)) & ({1} < ({T})(({S})(8 * sizeof({S}))))<then>({0} << {1})<else>({T})(0)")
_elementwise("bitwise_right_shift", "", None, np.right_shift, no_bool,
             integer="<where>({1} >= ({T})(0)) & ({1} < ({T})(({S})(8 * sizeof({S}))))<then>({0} >> {1})<else>"
                     "(({0} >> ({T})(({S})(4 * sizeof({S})))) >> ({T})(({S})(4 * sizeof({S}))))")
_elementwise("logical_not", "({0} ^ 1)", None, np.logical_not, boolean)

register(Primitive("where", "elementwise", _where_infer, gradient=lambda g, y, c, a, b: (None, g.where(c, 0), g.where(c.logical_not(), 0)),
                   reference=np.where))
for _name, _operator, _reference in (
    ("lt", "<", np.less), ("le", "<=", np.less_equal), ("gt", ">", np.greater), ("ge", ">=", np.greater_equal),
    ("eq", "==", np.equal), ("ne", "!=", np.not_equal),
):
    register(Primitive(_name, "compare", boolean(_name), _operator, _operator, None, _reference))
# fmt: on


def _cast_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    return operands[0].shape, dtypes.by_name(arg)


register(Primitive("cast", "elementwise", _cast_infer, gradient=lambda g, y, x: (g.to(x.dtype),)))

def _uniform_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    return operands[0].shape, dtypes.float32


register(Primitive("uniform", "elementwise", _uniform_infer, "<lanes>netcl_uniform({0}, {1}, {2})", preamble=functions.PHILOX))

_elementwise("copy", "{0}", lambda g, y, x: (g,), np.copy)  # puts a value into memory as it is
# What a write leaves: the second operand. The first one's gradient ends here.
_elementwise("overwrite", "{1}", lambda g, y, x, written: (g.new_zeros(g.shape), g), lambda x, written: written)
