"""Means and spreads: var, std, var_mean, std_mean, nanmean, cov, corrcoef."""

from __future__ import annotations

import math
from typing import Any

from netcl.autograd.tape import apply_composite
from netcl.graph import primitives
from netcl.ops.creation import iota
from netcl.ops.elementwise import cast, literal
from netcl.ops.reduction import Dim, axes_of, drop, mean, nansum, reduce, widened
from netcl.ops.reduction import sum as total
from netcl.tensor import Tensor

__all__ = ["corrcoef", "cov", "nanmean", "std", "std_mean", "var", "var_mean"]
METHODS = ["corrcoef", "cov", "nanmean", "std", "var"]


def nanmean(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean over dim of what is no NaN; NaN where there is nothing else."""
    input = input if dtype is None else cast(input, dtype)
    if not input.is_floating_point():
        raise RuntimeError(f"nanmean: expected a floating-point tensor, got {input.dtype}; convert it with .float()")
    wide = widened(input)
    return cast(nansum(wide, dim, keepdim) / total(wide == wide, dim, keepdim), input.dtype)


def var(
    input: Tensor, dim: Dim = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Any = None
) -> Tensor:
    """The variance over dim: squared distances from the mean, added up and divided by count - correction.

    correction is 1 by default, also what unbiased=True means; unbiased=False is correction 0. NaN where count is 0 or
    not above correction. RuntimeError for integers.

    >>> import netcl as nc
    >>> nc.tensor([1.0, 2.0, 3.0, 6.0]).var(correction=0)
    tensor(3.5000)
    """
    return _spread("var", input, dim, unbiased, keepdim, correction)[0]


def std(
    input: Tensor, dim: Dim = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Any = None
) -> Tensor:
    """The standard deviation over dim, the root of `var`. Its gradient where all are equal is 0."""
    return _spread("std", input, dim, unbiased, keepdim, correction)[0]


def var_mean(
    input: Tensor, dim: Dim = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Any = None
) -> tuple[Tensor, Tensor]:
    """(variance, mean) over dim, see `var`."""
    return _spread("var", input, dim, unbiased, keepdim, correction)


def std_mean(
    input: Tensor, dim: Dim = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Any = None
) -> tuple[Tensor, Tensor]:
    """(standard deviation, mean) over dim, see `var`."""
    return _spread("std", input, dim, unbiased, keepdim, correction)


def _spread(name: str, input: Tensor, dim: Any, unbiased: Any, keepdim: bool, correction: Any) -> tuple[Tensor, Tensor]:
    if isinstance(dim, bool):  # var(input, unbiased)
        dim, unbiased = None, dim
    if unbiased is not None:
        if correction is not None:
            raise TypeError(f"{name}: give unbiased or correction, not both")
        if not isinstance(unbiased, (bool, int)) or unbiased not in (0, 1):
            raise TypeError(f"{name}: unbiased must be a bool, got {unbiased!r}; use correction=")
        correction = int(unbiased)
    if not input.is_floating_point():
        raise RuntimeError(f"{name}: expected a floating-point tensor, got {input.dtype}; convert it with .float()")
    axes = axes_of(name, dim, input.ndim)
    arg = (name, axes, keepdim, 1.0 if correction is None else float(correction))
    return apply_composite("spread", (input,), arg, _spread_gradient, several=True)


def _spread_infer(operands: Any, arg: tuple) -> tuple:
    meta = primitives.reduced_shape(operands[0].shape, *arg[1:3]), operands[0].dtype
    return meta, meta


def _spread_body(x: Any, arg: tuple) -> tuple:
    name, axes, keepdim, correction = arg
    input = Tensor._wrap(x)
    wide = widened(input)
    middle = mean(wide, axes, True) if axes else wide
    centred = wide - middle
    squares = reduce("sum", centred * centred, axes, True) if axes else centred * centred
    squares = squares / literal(_divisor(x.shape, axes, correction), squares)
    spread = squares if name == "var" else squares.sqrt()
    return tuple([drop(cast(found, x.dtype), axes, keepdim)._value for found in (spread, middle)])


def _divisor(shape: tuple[int, ...], axes: tuple[int, ...], correction: float) -> float:
    return max(math.prod(shape[a] for a in axes) - correction, 0.0)


def _spread_gradient(g: tuple, y: tuple, x: Tensor, arg: tuple) -> tuple:
    """d var = 2 (x - mean) / divisor, d std = (x - mean) / (divisor std), 0 where std is 0, d mean = 1 / count."""
    name, axes, keepdim, correction = arg
    wide = widened(x)
    of_spread, of_mean, result = (primitives.with_axes(widened(each), x.shape, (axes, keepdim)) for each in (*g, y[0]))
    centred = wide - (mean(wide, axes, True) if axes else wide)
    divisor = _divisor(x.shape, axes, correction)
    scale = of_spread * (2.0 if name == "var" else 1.0) / literal(divisor, of_spread)
    if name == "std":
        scale = (scale / result.where(result != 0, 1.0)).where(result != 0, 0.0)
    return (centred * scale + of_mean / literal(float(math.prod(x.shape[a] for a in axes)), of_mean),)


primitives.composite("spread", _spread_infer, _spread_body, autocast="float32")


# ---- variables against each other --------------------------------------------------------------------------------


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariance matrix of variables (rows) over observations (columns). A vector is one variable.

    fweights says how often each observation was made, aweights how much it weighs.
    """
    if input.ndim > 2:
        raise RuntimeError(f"cov: expected at most 2 dimensions, got shape {list(input.shape)}")
    rows = input.reshape(1, -1) if input.ndim < 2 else input
    rows = rows if rows.is_floating_point() else rows.float()
    weights = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is not None:
            if tuple(given.shape) != (rows.shape[1],):
                raise RuntimeError(f"cov: {name} has shape {list(given.shape)}, expected [{rows.shape[1]}]")
            weights = given.to(rows.dtype) if weights is None else weights * given
    count: Any = float(rows.shape[1]) if weights is None else weights.sum()
    weighted = rows if weights is None else rows * weights
    centred = rows - weighted.sum(1, keepdim=True) / count
    if weights is None:
        divisor: Any = max(count - correction, 0.0)
    elif aweights is None or not correction:
        divisor = (count - correction).clamp(min=0)
    else:
        divisor = (count - correction * (weights * aweights).sum() / count).clamp(min=0)
    found = (centred if weights is None else centred * weights) @ centred.T / divisor
    return found.reshape(()) if rows.shape[0] == 1 else found


def corrcoef(input: Tensor) -> Tensor:
    """The correlation coefficients of variables (rows) over observations (columns), between -1 and 1."""
    found = cov(input)
    if not found.ndim:
        return found / found
    size = found.shape[0]
    on_diagonal = iota((size, size), 0, found.device) == iota((size, size), 1, found.device)
    root = found.where(on_diagonal, 0.0).sum(1).sqrt()
    return (found / root.unsqueeze(1) / root.unsqueeze(0)).clamp(-1, 1)
