"""Special functions."""

from __future__ import annotations

import math
from typing import Any

from netcl.core import dtypes
from netcl.graph.value import record_literal
from netcl.ops import elementwise
from netcl.ops.elementwise import binary, check_binary, literal, result_like, unary
from netcl.ops.formula import formula
from netcl.tensor import Tensor

__all__ = """
    digamma erfinv i0 lgamma logaddexp logaddexp2 logit mvlgamma polygamma sinc xlogy
""".split()
METHODS = "digamma erfinv i0 i0e i1e lgamma logaddexp logaddexp2 logit mvlgamma sinc xlogy zeta".split()
IN_PLACE = "digamma erfinv i0 lgamma logit mvlgamma sinc xlogy".split()

erfinv = unary("erfinv", "The number whose erf this is: infinite at -1 and 1, NaN beyond.")
lgamma = unary("lgamma", "The logarithm of the absolute value of the gamma function.")
digamma = unary("digamma", "The derivative of lgamma; NaN at negative integers.")
zeta = binary("zeta", "Hurwitz's zeta function: the sum of (other + k) ** -input for k >= 0.")


def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma, n >= 0."""
    if not isinstance(n, int) or n < 0:
        raise RuntimeError(f"polygamma: n must be an integer of at least 0, got {n!r}")
    if n == 0:
        return digamma(input)
    dtype = input.dtype if input.dtype.category == 2 else dtypes.default_float
    order = Tensor._wrap(record_literal(float(n + 1), dtype, input._value.device))
    factor = float(math.factorial(n)) if n < 171 else math.inf
    values = zeta(order, input)
    return values * literal(factor if n % 2 else -factor, values)


def polygamma_method(input: Tensor, n: int) -> Tensor:
    """polygamma with the tensor first: x.polygamma(n)."""
    return polygamma(n, input)


def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The multivariate log-gamma function of dimension p."""
    if p < 1:
        raise RuntimeError(f"mvlgamma: p must be at least 1, got {p}")
    total = lgamma(input) + p * (p - 1) / 4 * math.log(math.pi)
    for j in range(1, p):
        total = total + lgamma(input - j / 2)
    return total


# ---- logarithms and their kin ------------------------------------------------------------------------------------


def _logit(x: Tensor, eps: float | None = None) -> Tensor:
    z = x if eps is None else x.clamp(eps, 1 - eps)
    around_half = (z - 0.5).abs() < 0.25  # where the logarithm is near 0, and 2 z - 1 exact
    return ((z * 2 - 1).atanh() * 2).where(around_half, (z / (1 - z)).log())


def _logit_gradient(g: Tensor, y: Any, x: Tensor, eps: float | None) -> tuple:
    low, high = (0.0, 1.0) if eps is None else (eps, 1 - eps)
    outside = float("nan") if eps is None else 0.0
    return ((g / (x * (1 - x))).where((x >= low) & (x <= high), outside),)


_record_logit = formula("logit", _logit, _logit_gradient)


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of sigmoid; with eps, of x held in [eps, 1 - eps]."""
    return _record_logit(input, arg=None if eps is None else float(eps))


def _add_logs(x: Tensor, y: Tensor) -> Tensor:
    top = x.maximum(y)
    total = top + (-(x - y).abs()).exp().log1p()
    return top.where((x == y) & (x.abs() == math.inf), total)


def _add_logs_gradient(g: Tensor, y: Any, a: Tensor, b: Tensor, arg: None) -> tuple:
    return g * (a - b).sigmoid(), g * (b - a).sigmoid()


_record_logaddexp = formula("logaddexp", _add_logs, _add_logs_gradient)


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other)), exact at any magnitude."""
    return result_like(_record_logaddexp(*check_binary("logaddexp", input, other)), input, other)


_LOG_2 = math.log(2)


def _add_logs_to_base_2(x: Tensor, y: Tensor) -> Tensor:
    top = x.maximum(y)
    total = top + (-(x - y).abs()).exp2().log1p() / _LOG_2
    return top.where((x == y) & (x.abs() == math.inf), total)


def _add_logs_to_base_2_gradient(g: Tensor, y: Any, a: Tensor, b: Tensor, arg: None) -> tuple:
    return g * ((a - b) * _LOG_2).sigmoid(), g * ((b - a) * _LOG_2).sigmoid()


_record_logaddexp2 = formula("logaddexp2", _add_logs_to_base_2, _add_logs_to_base_2_gradient)


def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log2(2 ** input + 2 ** other), exact at any magnitude."""
    return result_like(_record_logaddexp2(*check_binary("logaddexp2", input, other)), input, other)


def _x_log_y(x: Tensor, y: Tensor) -> Tensor:
    return (x * y.log()).where((x != 0) | (y != y), 0.0)


def _x_log_y_gradient(g: Tensor, result: Any, x: Tensor, y: Tensor, arg: None) -> tuple:
    return g * y.log().where(((x == 0) & (y <= 0)).logical_not(), 0.0), g * (x / y)


_record_xlogy = formula("xlogy", _x_log_y, _x_log_y_gradient)


def xlogy(input: Any, other: Any) -> Tensor:
    """input * log(other), 0 where input is 0 and other is not NaN."""
    return result_like(_record_xlogy(*check_binary("xlogy", input, other)), input, other)


def _x_log1p_y(x: Tensor, y: Tensor) -> Tensor:
    return (x * y.log1p()).where((x != 0) | (y != y), 0.0)


def _x_log1p_y_gradient(g: Tensor, result: Any, x: Tensor, y: Tensor, arg: None) -> tuple:
    return g * y.log1p().where(((x == 0) & (y <= -1)).logical_not(), 0.0), g * (x / (y + 1))


_record_xlog1py = formula("xlog1py", _x_log1p_y, _x_log1p_y_gradient)


def xlog1py(input: Any, other: Any) -> Tensor:
    """input * log1p(other), 0 where input is 0 and other is not NaN."""
    return result_like(_record_xlog1py(*check_binary("xlog1py", input, other)), input, other)


def _entropy(x: Tensor) -> Tensor:
    inside = (-x * x.log()).where(x != 0, 0.0)
    return inside.where((x < 0).logical_not(), -math.inf)


_record_entr = formula("entr", _entropy, lambda g, y, x, arg: (g * (-x.log() - 1),))


def entr(input: Tensor) -> Tensor:
    """-input * log(input); 0 at 0, -inf below."""
    return _record_entr(input)


# ---- of the normal distribution, and sinc ------------------------------------------------------------------------

_ROOT_HALF = math.sqrt(0.5)
_DENSITY_AT_0 = 1 / math.sqrt(2 * math.pi)

_record_ndtr = formula(
    "ndtr",
    lambda x: (x * -_ROOT_HALF).erfc() * 0.5,
    lambda g, y, x, arg: (g * (x * x * -0.5).exp() * _DENSITY_AT_0,),
)


def ndtr(input: Tensor) -> Tensor:
    """The normal distribution function: how much of N(0, 1) is below input."""
    return _record_ndtr(input)


def ndtri(input: Tensor) -> Tensor:
    """The inverse of ndtr: below which number input of N(0, 1) is."""
    return erfinv(input * 2 - 1) * math.sqrt(2)


erfcx = unary("erfcx", "exp(input ** 2) * erfc(input), finite where erfc is too small for the dtype.")


def _log_ndtr(x: Tensor) -> Tensor:
    below = (erfcx(x * -_ROOT_HALF) * 0.5).log() - x * x * 0.5
    return below.where(x < -1, ((x * _ROOT_HALF).erfc() * -0.5).log1p())


_record_log_ndtr = formula(
    "log_ndtr", _log_ndtr, lambda g, y, x, arg: (g * (x * x * -0.5 - y).exp() * _DENSITY_AT_0,)
)


def log_ndtr(input: Tensor) -> Tensor:
    """The logarithm of ndtr, exact far below 0 too."""
    return _record_log_ndtr(input)


def _sinc(x: Tensor) -> Tensor:
    angle = x * math.pi
    return (angle.sin() / angle).where(x != 0, 1.0)


def _sinc_gradient(g: Tensor, y: Any, x: Tensor, arg: None) -> tuple:
    angle = x * math.pi
    slope = (angle * angle.cos() - angle.sin()) / (angle * angle)
    square = angle * angle
    near = square * 0.0  # near 0, where the difference cancels: the series of its derivative
    for k in range(8, 0, -1):
        near = near * square + (-1) ** k * 2 * k / math.factorial(2 * k + 1)
    return (g * (near * angle).where(angle.abs() < 0.5, slope) * math.pi,)


_record_sinc = formula("sinc", _sinc, _sinc_gradient)


def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0."""
    return _record_sinc(input)


# ---- modified Bessel functions -----------------------------------------------------------------------------------

i0e = unary("i0e", "exp(-|input|) * i0(input).")
i1e = unary("i1e", "exp(-|input|) * i1(input).")


def i0(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind of order 0."""
    return i0e(input) * _exp_abs(input)


def i1(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind of order 1."""
    return i1e(input) * _exp_abs(input)


def _exp_abs(input: Tensor) -> Tensor:
    return (input.float() if input.dtype is dtypes.bool_ else input.abs()).exp()


def multigammaln(input: Tensor, p: int) -> Tensor:
    """mvlgamma, by SciPy's name."""
    return mvlgamma(input, p)


gammaln, psi, expit = lgamma, digamma, elementwise.sigmoid
