"""Combining by index where a formula stands around the kernel: means, elements that do not count themselves, and the
gradients of products and extrema."""

from __future__ import annotations

from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.ops import columns
from netcl.ops.creation import full
from netcl.ops.division import floor_divide
from netcl.ops.elementwise import literal, where
from netcl.tensor import Tensor

_OPS = {"amax": "max", "amin": "min", "mean": "sum"}


def reduced(
    name: str, op: str, base: Tensor, index: Tensor, source: Tensor, low: int | None, include_self: bool = True
) -> Tensor:
    """base (outer, size, inner) with source combined into it: set, sum, prod, mean, amax or amin."""
    size = base._value.shape[1]
    kind = _OPS.get(op, op)
    start = base if include_self else where(columns.touched(size, index), _identity(kind, base), base)
    result = columns.scatter(kind, size, index, source, start, low, name, _RULES.get(kind))
    return _mean(result, size, index, include_self) if op == "mean" else result


def _identity(op: str, like: Tensor) -> Tensor:
    """What changes nothing when it is combined with something."""
    if op in ("sum", "prod"):
        return literal(int(op == "prod") if like.dtype.category < 2 else float(op == "prod"), like)
    if like.dtype.category == 2:
        return literal(float("-inf") if op == "max" else float("inf"), like)
    if like.dtype is dtypes.bool_:
        return literal(op == "min", like)
    limits = np.iinfo(like.dtype.numpy)
    return literal(int(limits.min if op == "max" else limits.max), like)


def _mean(total: Tensor, size: int, index: Tensor, include_self: bool) -> Tensor:
    """Sums divided by how many were added; integers round down, as in PyTorch."""
    shape = index._value.shape
    kind = dtypes.accumulator(total.dtype)
    ones = full(shape, 1, dtype=kind, device=index.device)
    count = columns.scatter("sum", size, index, ones) + int(include_self)
    count = count.where(count > 0, 1)
    if total.dtype.category == 2:
        return (total.to(kind) / count).to(total.dtype)
    return floor_divide(total, count).to(total.dtype)


# ---- gradients ---------------------------------------------------------------------------------------------------


def _extremum_gradient(g: Tensor, y: Tensor, index: Tensor, source: Tensor, base: Tensor, *site_and_arg: Any) -> tuple:
    """Equal extrema share the gradient."""
    size = g.shape[1]
    own = (base == y).to(g.dtype)
    hit = (source == columns.pick(y, index)).to(g.dtype)
    share = g / (columns.scatter("sum", size, index, hit) + own)
    return None, columns.pick(share, index) * hit, share * own, *_no_gradient(site_and_arg)


def _no_gradient(site_and_arg: tuple) -> tuple:
    """For the site of a check, where there is one."""
    return (None,) * (len(site_and_arg) - 1)


def _product_gradient(g: Tensor, y: Any, index: Tensor, source: Tensor, base: Tensor, *site_and_arg: Any) -> tuple:
    """g times the product of the others, which is not 0 only if no other factor is."""
    size = g.shape[1]
    zeros = columns.scatter("sum", size, index, (source == 0).to(g.dtype)) + (base == 0).to(g.dtype)
    factor, own = source.where(source != 0, 1), base.where(base != 0, 1)
    scaled = columns.scatter("prod", size, index, factor, own, rule=_product_gradient) * g
    others = columns.pick(zeros, index) - (source == 0).to(g.dtype)
    for_source = (columns.pick(scaled, index) / factor).where(others == 0, 0)
    for_base = (scaled / own).where(zeros == (base == 0).to(g.dtype), 0)
    return None, for_source, for_base, *_no_gradient(site_and_arg)


_RULES = {"max": _extremum_gradient, "min": _extremum_gradient, "prod": _product_gradient}
