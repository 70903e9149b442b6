"""Running sums and their kin along one dimension: cumsum, cumprod, cummax, cummin, logcumsumexp."""

from __future__ import annotations

import math
from math import prod
from typing import Any

from netcl.autograd.tape import apply, apply_composite
from netcl.core.dtypes import DType
from netcl.graph import primitives
from netcl.graph.primitives import TABLE
from netcl.ops.creation import iota
from netcl.ops.elementwise import cast
from netcl.ops.gathering import gather_gradient
from netcl.ops.return_types import named
from netcl.ops.shape import axis_of
from netcl.tensor import Tensor

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "logcumsumexp"]
METHODS = __all__
IN_PLACE = ["cumprod", "cumsum"]

COLUMNS = 64  # running along fewer columns than this at once, long ones are cut into about as many blocks
SHORTEST_BLOCK = 4096


def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """The running sum along dim. Integers and bools add up as int64.

    >>> import netcl as nc
    >>> nc.tensor([1.0, 2.0, 4.0]).cumsum(0)
    tensor([1., 3., 7.])
    """
    return _running_sums("sum", input, dim, dtype)


def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """The running product along dim. Integers and bools multiply as int64. Its gradients are right at zeros.

    >>> import netcl as nc
    >>> nc.tensor([1.0, 2.0, 4.0]).cumprod(0)
    tensor([1., 2., 8.])
    """
    return _running_sums("prod", input, dim, dtype)


def _running_sums(op: str, input: Tensor, dim: int, dtype: DType | None) -> Tensor:
    axis = axis_of(f"cum{op}", dim, input.ndim)
    return running(op, input, axis) if dtype is None else cast(running(op, cast(input, dtype), axis), dtype)


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log(cumsum(exp(input))) along dim, exact at any magnitude. RuntimeError for integers."""
    if not input.is_floating_point():
        raise RuntimeError(
            f"logcumsumexp: expected a floating-point tensor, got {input.dtype}; convert it with .float()"
        )
    return running("logaddexp", input, axis_of("logcumsumexp", dim, input.ndim))


def cummax(input: Tensor, dim: int) -> Any:
    """(values, indices) of the largest so far along dim: the last of equals; a NaN stays.

    >>> import netcl as nc
    >>> nc.tensor([1, 3, 2, 3]).cummax(0).indices
    tensor([0, 1, 1, 3])
    """
    return _extremum_so_far("max", input, dim)


def cummin(input: Tensor, dim: int) -> Any:
    """(values, indices) of the smallest so far along dim: the last of equals; a NaN stays."""
    return _extremum_so_far("min", input, dim)


def _extremum_so_far(op: str, input: Tensor, dim: int) -> Any:
    axis = axis_of(f"cum{op}", dim, input.ndim)
    if not input.ndim:
        return named(f"cum{op}", input.clone(), iota((1,), 0, input._value.device).reshape(()))
    plain = input.detach()
    best = running(op, plain, axis)
    record = plain == best
    if input.is_floating_point():
        record = record | (plain != plain)
    places = iota(input._value.shape, axis, input._value.device)
    indices = running("max", places.where(record, 0), axis)
    return named(f"cum{op}", apply_composite("gather", (input, indices), axis, gather_gradient), indices)


# ---- the composite behind them -----------------------------------------------------------------------------------


def running(op: str, input: Tensor, axis: int) -> Tensor:
    """The running sum, prod, max, min or logaddexp along one axis, with its gradient."""
    if not input.ndim:
        return running(op, input.reshape(1), 0).reshape(())
    return apply_composite("running", (input,), (op, axis), _GRADIENTS.get(op))


def _running_infer(operands: Any, arg: tuple[str, int]) -> tuple:
    return TABLE["scan"].infer(operands, arg)


def _running_body(x: Any, arg: tuple[str, int]) -> Any:
    op, axis = arg
    shape = x.shape
    outer, length, inner = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
    folded = Tensor._wrap(x).reshape(outer, length, inner)
    blocks = min(COLUMNS // max(outer * inner, 1), length // SHORTEST_BLOCK)
    if blocks < 2:
        return apply("scan", (folded,), (op, 0)).reshape(shape)._value
    block = -(-length // blocks)
    totals = apply("scan", (apply("scan_totals", (folded,), (op, block)),), (op, 0))
    return apply("scan", (folded, totals), (op, block)).reshape(shape)._value


def _running_policy(arg: tuple[str, int], count: int) -> list[str]:
    return ["widest" if arg[0] in ("max", "min") else "float32"] * count


primitives.composite("running", _running_infer, _running_body, autocast=_running_policy)


# ---- gradients ---------------------------------------------------------------------------------------------------


def _sum_gradient(g: Tensor, y: Any, x: Any, arg: tuple[str, int]) -> tuple:
    axis = arg[1]
    return (running("sum", g.flip(axis), axis).flip(axis),)


def _prod_gradient(g: Tensor, y: Tensor, x: Tensor, arg: tuple[str, int]) -> tuple:
    """dx[i] = y[i - 1] * (g[i] + x[i + 1] * (g[i + 1] + x[i + 2] * ..)): nothing is divided by."""
    axis = arg[1]
    after = recurrence(shifted(x.flip(axis), axis), g.flip(axis), axis).flip(axis)
    return (shifted(y, axis, 1.0) * after,)


def _logaddexp_gradient(g: Tensor, y: Tensor, x: Tensor, arg: tuple[str, int]) -> tuple:
    """dx[i] = exp(x[i] - y[i]) * (g[i] + exp(y[i] - y[i + 1]) * (g[i + 1] + ..)): y rises, so nothing overflows."""
    axis = arg[1]
    finite = y.where(y > -math.inf, 0.0)
    steps = (shifted(y, axis, -math.inf) - finite).exp()
    after = recurrence(shifted(steps.flip(axis), axis), g.flip(axis), axis).flip(axis)
    return ((x - finite).exp() * after,)


_GRADIENTS = {"sum": _sum_gradient, "prod": _prod_gradient, "logaddexp": _logaddexp_gradient}


def shifted(x: Tensor, axis: int, first: float = 0.0) -> Tensor:
    """x moved on by one along axis: `first`, x[0], x[1], .., without the last."""
    size = x.shape[axis]
    kept = x.narrow(axis, 0, size - 1)
    moved = kept.pad_with_zeros([(1, 0) if a == axis else (0, 0) for a in range(x.ndim)])
    if not first:
        return moved
    return moved.where(iota(tuple(x.shape), axis, x.device) > 0, first)


def running_product_before(x: Tensor, axis: int) -> Tensor:
    """The product of all elements before each, 1 for the first."""
    return shifted(running("prod", x, axis), axis, 1.0)


def recurrence(a: Tensor, b: Tensor, axis: int) -> Tensor:
    """out[k] = a[k] * out[k - 1] + b[k] along axis, from out[-1] = 0."""
    return apply_composite("linear_recurrence", (a, b), axis, _recurrence_gradient)


def _recurrence_body(a: Any, b: Any, axis: int) -> Any:
    shape = a.shape
    folded = (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))
    return apply("recurrence", [Tensor._wrap(t).reshape(folded) for t in (a, b)]).reshape(shape)._value


def _recurrence_gradient(g: Tensor, y: Tensor, a: Tensor, b: Any, axis: int) -> tuple:
    """The same recurrence from the end: db[k] = g[k] + a[k + 1] db[k + 1], da[k] = db[k] y[k - 1]."""
    of_b = recurrence(shifted(a.flip(axis), axis), g.flip(axis), axis).flip(axis)
    return of_b * shifted(y, axis), of_b


primitives.composite("linear_recurrence", TABLE["recurrence"].infer, _recurrence_body)
