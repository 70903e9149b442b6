"""The elementwise part of the primitive table.

An entry is a name, an OpenCL expression, a gradient and a NumPy reference. In expressions `{0}`, `{1}` are the
operands (scalars or vectors of the compute type `{T}`); comparisons are spelled by the generator, because OpenCL's
vector comparisons give -1 and its scalar ones 1. A gradient is written in operations again, so that it can be
differentiated: `g` is the incoming gradient, `y` the result, the rest the operands; None for no gradient.
"""

from __future__ import annotations

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
    register,
    result_dtype,
    same,
)


def _elementwise(
    name: str,
    expression: str,
    gradient: Callable[..., tuple] | None,
    reference: Callable[..., Any],
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


def _erf(x: Any) -> Any:
    from math import erf

    return np.vectorize(erf, otypes=[np.float64])(x)


def _shared(g: Any, tie: Any, lost: Any, won: Any) -> tuple:
    """maximum and minimum: half to each at a tie, nothing to the loser; with a NaN, all to both, as in PyTorch."""
    half = g / 2
    return half.where(tie, g.where(lost.logical_not(), 0)), half.where(tie, g.where(won.logical_not(), 0))


TWO_OVER_ROOT_PI = 1.1283791670955126

# fmt: off
_elementwise("add", "({0} + {1})", lambda g, y, a, b: (g, g), np.add)
_elementwise("sub", "({0} - {1})", lambda g, y, a, b: (g, -g), np.subtract)
_elementwise("mul", "({0} * {1})", lambda g, y, a, b: (g * b, g * a), np.multiply)
_elementwise("div", "({0} / {1})", lambda g, y, a, b: (g / b, -g * y / b), np.divide, floating)
_elementwise("neg", "(-{0})", lambda g, y, x: (-g,), np.negative, no_bool)
_elementwise("pow", "pow({0}, {1})",
             lambda g, y, a, b: (g * (b * a.pow(b - 1)).where(b != 0, 0), g * (y * a.log()).where((a != 0) | (b < 0), 0)),
             np.power, no_bool, integer="<lanes>({S})netcl_ipow({0}, {1})",
             preamble=functions.INTEGER_POWER)
_elementwise("abs", "fabs({0})", lambda g, y, x: (g * x.sign(),), np.abs, no_bool, integer="(({0} < ({T})(0)) ? -{0} : {0})")
_elementwise("sign", "sign({0})", lambda g, y, x: (g.new_zeros(g.shape),), np.sign,
             integer="(({0} > ({T})(0)) ? ({T})(1) : (({0} < ({T})(0)) ? ({T})(-1) : ({T})(0)))")
_elementwise("exp", "exp({0})", lambda g, y, x: (g * y,), np.exp, floating, autocast="float32")
_elementwise("expm1", "expm1({0})", lambda g, y, x: (g * (y + 1),), np.expm1, floating, autocast="float32")
_elementwise("log", "log({0})", lambda g, y, x: (g / x,), np.log, floating, autocast="float32")
_elementwise("log1p", "log1p({0})", lambda g, y, x: (g / (x + 1),), np.log1p, floating, autocast="float32")
_elementwise("sqrt", "sqrt({0})", lambda g, y, x: (g / (y * 2),), np.sqrt, floating)
_elementwise("rsqrt", "(({T})(1) / sqrt({0}))", lambda g, y, x: (g * y * y * y * -0.5,), lambda x: 1 / np.sqrt(x),
             floating, autocast="float32")
_elementwise("sin", "netcl_sin({0})", lambda g, y, x: (g * x.cos(),), np.sin, floating, preamble=functions.periodic("sin"))
_elementwise("cos", "netcl_cos({0})", lambda g, y, x: (-g * x.sin(),), np.cos, floating, preamble=functions.periodic("cos"))
_elementwise("tanh", "netcl_tanh({0})", lambda g, y, x: (g * (1 - y * y),), np.tanh, floating, preamble=functions.saturated_tanh())
_elementwise("sigmoid", "(({T})(1) / (({T})(1) + exp(-{0})))", lambda g, y, x: (g * y * (1 - y),), _logistic, floating)
_elementwise("erf", "erf({0})", lambda g, y, x: (g * (-(x * x)).exp() * TWO_OVER_ROOT_PI,), _erf, floating)
_elementwise("floor", "floor({0})", lambda g, y, x: (g.new_zeros(g.shape),), np.floor, no_bool, integer="{0}")
_elementwise("relu", "<where>{0} < ({T})(0)<then>({T})(0)<else>{0}", lambda g, y, x: (g.where((y <= 0).logical_not(), 0),),
             lambda x: np.where(x < 0, np.zeros_like(x), x), no_bool)
# A NaN operand wins, as in torch.maximum; at a tie each side gets half the gradient.
_elementwise("maximum", "<where>({0} > {1}) | ({0} != {0})<then>{0}<else>{1}",
             lambda g, y, a, b: _shared(g, a == b, a < b, a > b),
             np.maximum, integer="max({0}, {1})")
_elementwise("minimum", "<where>({0} < {1}) | ({0} != {0})<then>{0}<else>{1}",
             lambda g, y, a, b: _shared(g, a == b, a > b, a < b),
             np.minimum, integer="min({0}, {1})")
_elementwise("logical_and", "({0} & {1})", None, np.logical_and, boolean)
_elementwise("logical_or", "({0} | {1})", None, np.logical_or, boolean)
_elementwise("logical_xor", "({0} ^ {1})", None, np.logical_xor, boolean)
_elementwise("bitwise_and", "({0} & {1})", None, np.bitwise_and)
_elementwise("bitwise_or", "({0} | {1})", None, np.bitwise_or)
_elementwise("bitwise_xor", "({0} ^ {1})", None, np.bitwise_xor)
_elementwise("bitwise_not", "(~{0})", None, np.invert)
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
