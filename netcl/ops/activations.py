"""Activations: each is one node with its own gradient, and keeps nothing but its input for the way back.

With inplace=True the result is also written to the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from netcl.autograd.autocast import lowered
from netcl.autograd.tape import apply
from netcl.core import dtypes
from netcl.graph import table
from netcl.graph.value import record_scalar
from netcl.ops import elementwise, fused_ops
from netcl.ops.creation import empty_like, iota
from netcl.ops.elementwise import check_devices
from netcl.ops.formula import formula
from netcl.ops.inplace import in_place
from netcl.random import dropout_key, per_sample
from netcl.tensor import Tensor

__all__ = """
    celu celu_ hardshrink prelu relu_ rrelu rrelu_ selu selu_ threshold threshold_
""".split()
METHODS = ["hardshrink", "log_softmax", "prelu", "softmax"]

softmax, log_softmax = fused_ops.softmax, fused_ops.log_softmax

ROOT_HALF = math.sqrt(0.5)
ROOT_TWO_OVER_PI = math.sqrt(2 / math.pi)
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def finished(name: str, input: Tensor, function: Callable[..., Tensor], inplace: bool, arg: Any = None) -> Tensor:
    """The result, written to the input if asked for."""
    if not inplace:
        return function(input, arg=arg)
    return in_place(function, f"{name}_")(input, arg=arg)


# ---- pieces of straight lines ------------------------------------------------------------------------------------


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); NaN stays NaN."""
    return input.relu_() if inplace else elementwise.relu(input)


def _hardtanh_gradient(g: Tensor, y: Any, x: Tensor, limits: tuple) -> tuple:
    low, high = limits
    return (g.where(((x <= low) | (x >= high)).logical_not(), 0),)


_hardtanh = formula("hardtanh", lambda x, limits: x.clamp(*limits), _hardtanh_gradient, table.no_bool)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x held between min_val and max_val. ValueError unless min_val <= max_val."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val {min_val} is greater than max_val {max_val}")
    return finished("hardtanh", input, _hardtanh, inplace, (min_val, max_val))


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0, 6, inplace)


_leaky_relu = formula(
    "leaky_relu",
    lambda x, slope: x.where(x > 0, x * slope),
    lambda g, y, x, slope: (g.where(x > 0, g * slope),),
    table.only_floats,
)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    return finished("leaky_relu", input, _leaky_relu, inplace, float(negative_slope))


_prelu = formula(
    "prelu",
    lambda x, slope: x.where(x > 0, x * slope),
    lambda g, y, x, slope, arg: (g.where(x > 0, g * slope), (g * x).where((x > 0).logical_not(), 0)),
    table.only_floats,
)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight * x. weight: one slope, or one for each channel (dimension 1 of input).

    RuntimeError where the number of slopes does not fit.
    """
    check_devices("prelu", input, weight)
    input, weight = lowered(input, weight)
    if input.dtype is not weight.dtype:
        raise RuntimeError(f"prelu: expected one dtype, got input {input.dtype} and weight {weight.dtype}")
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or weight.numel() not in (1, channels):
        raise RuntimeError(
            f"prelu: expected 1 or {channels} slopes for input of shape {list(input.shape)}, "
            f"got weight of shape {list(weight.shape)}"
        )
    along = (weight.numel(),) + (1,) * (input.ndim - 2) if input.ndim > 1 else (1,) * input.ndim
    return _prelu(input, weight.reshape(along))


_rrelu = formula(
    "rrelu",
    lambda x, slope: x.where(x > 0, x * slope),
    lambda g, y, x, slope, arg: (g.where(x > 0, g * slope), None),
    table.only_floats,
)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """x where x > 0, else a slope times x: drawn from [lower, upper) for each element in training, else the middle.

    The slopes are drawn on the device; they are not PyTorch's for the same seed. RuntimeError unless lower <= upper.
    """
    if lower > upper:
        raise RuntimeError(f"rrelu: lower {lower} is greater than upper {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slope = _uniform(input) * (upper - lower) + lower
    return finished("rrelu", input, lambda x, arg: _rrelu(x, slope.to(x.dtype)), inplace)


def _uniform(input: Tensor) -> Tensor:
    """Numbers from [0, 1) in input's shape, a function of (seed, call, position)."""
    seed, call = dropout_key()
    device = input._value.device
    numbers = [Tensor._wrap(record_scalar(number, dtypes.int64, device)) for number in (call, seed)]
    places = iota((input.numel(),), 0, device).reshape(input._value.shape)
    return apply("uniform", (places, per_sample(numbers[0]), numbers[1]))


_threshold = formula(
    "threshold",
    lambda x, arg: x.where((x <= arg[0]).logical_not(), arg[1]),
    lambda g, y, x, arg: (g.where((x <= arg[0]).logical_not(), 0),),
    table.no_bool,
)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else value."""
    return finished("threshold", input, _threshold, inplace, (threshold, value))


_hardshrink = formula(
    "hardshrink",
    lambda x, width: x.where((x.abs() <= width).logical_not(), 0),
    lambda g, y, x, width: (g.where((x.abs() <= width).logical_not(), 0),),
    table.only_floats,
)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0."""
    return _hardshrink(input, arg=float(lambd))


_softshrink = formula(
    "softshrink",
    lambda x, width: (x - width).where(x > width, (x + width).where((x >= -width).logical_not(), x * 0)),
    lambda g, y, x, width: (g.where((x.abs() <= width).logical_not(), 0),),
    table.only_floats,
)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved by lambd towards 0, and 0 where |x| <= lambd. RuntimeError for a negative lambd."""
    if lambd < 0:
        raise RuntimeError(f"softshrink: lambd must be greater than or equal to 0, got {lambd}")
    return _softshrink(input, arg=float(lambd))


_hardsigmoid = formula(
    "hardsigmoid",
    lambda x: (x + 3).clamp(0, 6) / 6,
    lambda g, y, x, arg: ((g / 6).where(((x <= -3) | (x >= 3)).logical_not(), 0),),
    table.only_floats,
)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6."""
    return finished("hardsigmoid", input, _hardsigmoid, inplace)


_hardswish = formula(
    "hardswish",
    lambda x: x * (x + 3).clamp(0, 6) / 6,
    lambda g, y, x, arg: ((g * (x / 3 + 0.5)).where(x < 3, g).where((x <= -3).logical_not(), 0),),
    table.only_floats,
)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * relu6(x + 3) / 6 (Howard et al., Searching for MobileNetV3, 2019)."""
    return finished("hardswish", input, _hardswish, inplace)


# ---- with exponentials -------------------------------------------------------------------------------------------


def _elu_body(x: Tensor, arg: tuple) -> Tensor:
    alpha, scale, inner = arg
    return ((x * inner).expm1() * (alpha * scale)).where(x <= 0, x * scale)


def _elu_gradient(g: Tensor, y: Any, x: Tensor, arg: tuple) -> tuple:
    alpha, scale, inner = arg
    below = (x.where(x <= 0, 0) * inner).exp() * (alpha * scale * inner)
    return (g * below.where(x <= 0, scale),)


_elu = formula("elu", _elu_body, _elu_gradient, table.only_floats)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1) (Clevert, Unterthiner, Hochreiter, 2015)."""
    return finished("elu", input, _elu, inplace, (float(alpha), 1.0, 1.0))


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """scale * elu(x, alpha), with numbers that keep mean 0 and variance 1 (Klambauer et al., 2017)."""
    return finished("selu", input, _elu, inplace, (SELU_ALPHA, SELU_SCALE, 1.0))


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha * (exp(x / alpha) - 1). RuntimeError for an alpha of 0."""
    if alpha == 0:
        raise RuntimeError("celu: alpha must not be 0")
    return finished("celu", input, _elu, inplace, (float(alpha), 1.0, 1.0 / alpha))


def _silu_gradient(g: Tensor, y: Any, x: Tensor, arg: None) -> tuple:
    s = x.sigmoid()
    return (g * (s * (x * (1 - s) + 1)),)


_silu = formula("silu", lambda x: x * x.sigmoid(), _silu_gradient, table.only_floats)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x)."""
    return finished("silu", input, _silu, inplace)


def _log1p_exp(x: Tensor) -> Tensor:
    """log(1 + exp(x)) at any magnitude."""
    return x.relu() + (-x.abs()).exp().log1p()


def _mish_gradient(g: Tensor, y: Any, x: Tensor, arg: None) -> tuple:
    t = _log1p_exp(x).tanh()
    return (g * (t + x * x.sigmoid() * (1 - t * t)),)


_mish = formula("mish", lambda x: x * _log1p_exp(x).tanh(), _mish_gradient, table.only_floats)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)) (Misra, Mish, 2019)."""
    return finished("mish", input, _mish, inplace)


def _gelu_body(x: Tensor, approximate: str) -> Tensor:
    if approximate == "none":
        return x * 0.5 * ((x * ROOT_HALF).erf() + 1)
    return x * 0.5 * (((x + x * x * x * 0.044715) * ROOT_TWO_OVER_PI).tanh() + 1)


def _gelu_gradient(g: Tensor, y: Any, x: Tensor, approximate: str) -> tuple:
    if approximate == "none":
        density = (x * x * -0.5).exp() * (ROOT_HALF / math.sqrt(math.pi))
        return (g * (((x * ROOT_HALF).erf() + 1) * 0.5 + x * density),)
    t = ((x + x * x * x * 0.044715) * ROOT_TWO_OVER_PI).tanh()
    slope = (x * x * (3 * 0.044715) + 1) * ROOT_TWO_OVER_PI
    return (g * ((t + 1) * 0.5 + x * 0.5 * ((1 - t * t) * slope)),)


_gelu = formula("gelu", _gelu_body, _gelu_gradient, table.only_floats)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x), Phi the normal distribution function; approximate="tanh" for the tanh formula.

    Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return _gelu(input, arg=approximate)


_logsigmoid = formula(
    "logsigmoid",
    lambda x: -_log1p_exp(-x),
    lambda g, y, x, arg: (g * (-x).sigmoid(),),
    table.only_floats,
)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), exact at any magnitude."""
    return _logsigmoid(input)


def _softplus_body(x: Tensor, arg: tuple) -> Tensor:
    beta, threshold = arg
    scaled = x * beta
    return x.where(scaled > threshold, _log1p_exp(scaled) / beta)


def _softplus_gradient(g: Tensor, y: Any, x: Tensor, arg: tuple) -> tuple:
    beta, threshold = arg
    scaled = x * beta
    return (g.where(scaled > threshold, g * scaled.sigmoid()),)


_softplus = formula("softplus", _softplus_body, _softplus_gradient, table.only_floats, autocast="float32")


def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold."""
    return _softplus(input, arg=(float(beta), float(threshold)))


# ---- the rest ----------------------------------------------------------------------------------------------------


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - input.tanh()


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a * sigmoid(b), a and b the two halves of the input along dim.

    RuntimeError for a 0-d tensor or an odd size (Dauphin et al., Language Modeling with Gated Convolutions, 2016).
    """
    if not input.ndim:
        raise RuntimeError("glu: a 0-d tensor has no halves")
    size = input.size(dim)
    if size % 2:
        raise RuntimeError(f"glu: the size along dim must be even, but dimension {dim} of {list(input.shape)} is odd")
    return input.narrow(dim, 0, size // 2) * input.narrow(dim, size // 2, size // 2).sigmoid()


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Draws from the classes along dim as softmax((logits + noise) / tau), with PyTorch's noise for the same seed.

    hard: one-hot, with the gradient of the soft draw. eps is not used, as in PyTorch, where it is deprecated.
    Jang, Gu, Poole: Categorical Reparameterization with Gumbel-Softmax, 2016.
    """
    noise = -empty_like(logits.detach()).exponential_().log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    place = soft.detach().argmax(dim, keepdim=True)
    one_hot = (iota(soft._value.shape, dim % soft.ndim, soft._value.device) == place).to(soft.dtype)
    return one_hot - soft.detach() + soft


def _writing(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The form with inplace=True."""

    def form(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(input, *args, **kwargs, inplace=True)

    form.__name__ = form.__qualname__ = f"{function.__name__}_"
    form.__doc__ = f"In place: {function.__doc__}"
    return form


celu_, elu_, hardtanh_, leaky_relu_ = _writing(celu), _writing(elu), _writing(hardtanh), _writing(leaky_relu)
relu_, rrelu_, selu_, threshold_ = _writing(relu), _writing(rrelu), _writing(selu), _writing(threshold)
