"""Negative log-likelihoods of distributions, and the divergence between two: gaussian, poisson, kl_div."""

from __future__ import annotations

from math import log, pi
from typing import Any

from netcl.core.warning import warn
from netcl.ops.creation import full
from netcl.ops.losses.arguments import check_reduction, check_tensors, legacy_reduction
from netcl.ops.losses.pointwise import Pointwise, checked
from netcl.ops.sites import site
from netcl.tensor import Tensor

# ---- gaussian ----------------------------------------------------------------------------------------------------


def _held(v: Tensor, eps: Tensor, site: Tensor) -> Tensor:
    return checked(v, (v < 0).logical_not(), site).maximum(eps)


def _gaussian(x: Tensor, y: Tensor, v: Tensor, eps: Tensor, constant: Tensor, site: Tensor) -> Tensor:
    v = _held(v, eps, site)
    e = x - y
    return (v.log() + e * e / v) * 0.5 + constant


def _gaussian_slopes(x: Tensor, y: Tensor, v: Tensor, eps: Tensor, constant: Tensor, site: Tensor) -> tuple:
    """As in PyTorch, a variance below eps has the slope of one of eps: training can still raise it."""
    v = _held(v, eps, site)
    e = x - y
    return e / v, -e / v, (1.0 - e * e / v) * 0.5 / v


_gaussian_nll = Pointwise("gaussian_nll_loss", _gaussian, _gaussian_slopes, tensors=3)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: Any = "mean"
) -> Tensor:
    """0.5 (log v + (x - y)^2 / v), v = max(var, eps); full=True adds the constant 0.5 log(2 pi).

    var: input's shape, or that with a last size of 1 or without it, or a number. Nix and Weigend, 1994.
    ValueError for another shape of var, a negative number, and, at the next read of a value, a negative element.
    """
    name = "gaussian_nll_loss"
    reduction = check_reduction(name, reduction)
    check_tensors(name, input=input, target=target)
    var = _variance(name, input, var)
    constant = 0.5 * log(2 * pi) if full else 0.0
    negative = site(name, var, "var is negative at position {position}", ValueError)
    return _gaussian_nll((input, target, var), reduction, (eps, constant, negative))


def _variance(name: str, input: Tensor, var: Any) -> Tensor:
    if isinstance(var, (int, float)):
        if not var >= 0:
            raise ValueError(f"{name}: var must not be negative, got {var}")
        return full((), var, dtype=input.dtype, device=input.device)
    check_tensors(name, input=input, var=var)
    own, size = input._value.shape, var._value.shape
    if own != size:
        if own[:-1] == size:
            var = var.unsqueeze(-1)
        elif len(own) != len(size) or [b for a, b in zip(own, size, strict=True) if a != b] != [1]:
            raise ValueError(
                f"{name}: var has shape {list(size)}, input {list(own)}; they must be equal, "
                "or var has one size of 1 in another's place, or no last dimension"
            )
    return var


# ---- poisson -----------------------------------------------------------------------------------------------------


def _stirling(y: Tensor) -> Tensor:
    """log(y!) for y > 1, roughly."""
    z = y.maximum(1.0)
    return (z * z.log() - z + (z * (2 * pi)).log() * 0.5).where(y > 1, 0.0)


def _stirling_slope(y: Tensor) -> Tensor:
    z = y.maximum(1.0)
    return (z.log() + 0.5 / z).where(y > 1, 0.0)


def _log_rate(x: Tensor, y: Tensor) -> Tensor:
    return x.exp() - y * x


def _rate(x: Tensor, y: Tensor, eps: Tensor) -> Tensor:
    return x - y * (x + eps).log()


_of_log_rate = Pointwise("poisson_nll_loss", _log_rate, lambda x, y: (x.exp() - y, -x))
_of_rate = Pointwise(
    "poisson_nll_loss_of_rates", _rate, lambda x, y, eps: (1.0 - y / (x + eps), -(x + eps).log())
)
_of_log_rate_full = Pointwise(
    "poisson_nll_loss_full", lambda x, y: _log_rate(x, y) + _stirling(y),
    lambda x, y: (x.exp() - y, _stirling_slope(y) - x),
)  # fmt: skip
_of_rate_full = Pointwise(
    "poisson_nll_loss_of_rates_full", lambda x, y, eps: _rate(x, y, eps) + _stirling(y),
    lambda x, y, eps: (1.0 - y / (x + eps), _stirling_slope(y) - (x + eps).log()),
)  # fmt: skip


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, size_average: Any = None,
    eps: float = 1e-8, reduce: Any = None, reduction: Any = "mean",
) -> Tensor:  # fmt: skip
    """exp(x) - y x of log rates x; x - y log(x + eps) of rates with log_input=False.

    full=True adds Stirling's y log y - y + 0.5 log(2 pi y), for y > 1, in place of log(y!).
    """
    name = "poisson_nll_loss"
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction))
    check_tensors(name, input=input, target=target)
    if input.dtype.category != 2:
        input = input.float()  # its exponential or logarithm is one
    if log_input:
        return (_of_log_rate_full if full else _of_log_rate)((input, target), reduction)
    return (_of_rate_full if full else _of_rate)((input, target), reduction, (eps,))


# ---- Kullback and Leibler ----------------------------------------------------------------------------------------


def _kl(x: Tensor, y: Tensor) -> Tensor:
    return (y * y.log()).where(y != 0, 0.0) - y * x


def _kl_of_logs(x: Tensor, y: Tensor) -> Tensor:
    return y.exp() * (y - x)


def _kl_of_logs_slopes(x: Tensor, y: Tensor) -> tuple:
    p = y.exp()
    return -p, p * (y - x + 1.0)


_kl_div = Pointwise("kl_div", _kl, lambda x, y: (-y, y.log() + 1.0 - x))
_kl_div_of_logs = Pointwise("kl_div_of_logs", _kl_of_logs, _kl_of_logs_slopes)


def kl_div(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: Any = "mean",
    log_target: bool = False,
) -> Tensor:  # fmt: skip
    """y (log y - x) of log-probabilities x and probabilities y; with log_target=True y is given as log y.

    Kullback and Leibler: On Information and Sufficiency, 1951. reduction: "batchmean" divides the sum by the first
    size, which is the divergence's mean over the batch; "mean" divides by the number of elements, with PyTorch's
    warning.
    """
    name = "kl_div"
    legacy = size_average is not None or reduce is not None
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction), ("batchmean",))
    check_tensors(name, input=input, target=target)
    if reduction == "mean" and not legacy:
        warn(
            "kl_div: reduction='mean' divides by the number of elements, which is not the divergence's mean over the "
            "batch; reduction='batchmean' is"
        )
    return (_kl_div_of_logs if log_target else _kl_div)((input, target), reduction)
