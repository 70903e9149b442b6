"""Losses of class indices beside cross_entropy (which is in ops/fused_ops.py): nll_loss and focal_loss."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.tape import apply, apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.ops.fused_ops import cross_entropy_of_classes
from netcl.ops.losses.arguments import check_reduction, check_tensors, legacy_reduction
from netcl.ops.losses.targets import (
    check_class_indices,
    check_class_weight,
    check_scores,
    chosen,
    class_axis,
    ignored_class,
    reduced_rows,
    row_scale,
    row_weights,
    sums_of,
    without_elements,
)
from netcl.ops.sites import index_site
from netcl.tensor import Tensor


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100,
    reduce: Any = None, reduction: Any = "mean",
) -> Tensor:  # fmt: skip
    """-input[target], of log-probabilities (N, C), (C,) or (N, C, d1, ..) and class indices (N,), () or (N, d1, ..).

    weight: (C,). ignore_index: targets that count nothing. The mean divides by the sum of the kept targets' weights.
    ValueError and RuntimeError for shapes that don't fit; IndexError, at the next read, for a class out of range.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.nll_loss(nc.tensor([[-1.0, -2.0], [-3.0, -4.0]]), nc.tensor([0, 1])).item()
    2.5
    """
    name = "nll_loss"
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction))
    check_tensors(name, input=input, target=target, **({} if weight is None else {"weight": weight}))
    ignore_index = ignored_class(name, ignore_index)
    classes = check_scores(name, input)
    check_class_indices(name, input, target)
    check_class_weight(name, weight, classes)
    if not prod(input.shape):
        return without_elements(input, target, reduction)
    operands = (input, target, index_site(name, input, f"{classes} classes"))
    arg = (reduction, ignore_index, sums_of(input, weight))
    return apply_composite(name, operands if weight is None else (*operands, weight), arg, _nll_gradient)


def _nll_infer(operands: Any, arg: tuple) -> tuple:
    x, target = operands[0], operands[1]
    return (tuple(target.shape) if arg[0] == "none" else ()), dtypes.accumulator(x.dtype)


def _nll(*operands_and_arg: Any) -> Any:
    *operands, (reduction, ignore_index, sums) = operands_and_arg
    x, target, site, *rest = (Tensor._wrap(v) for v in operands)
    weight = rest[0] if rest else None
    axis = class_axis(x._value.shape)
    target_class = chosen(x._value.shape, x.dtype, target, weight, ignore_index, site)
    picked = apply("gather", (x.to(target_class.weight.dtype), target_class.classes), axis)
    losses = (-picked * target_class.weight).where(target_class.kept, 0.0).reshape(target._value.shape)
    return reduced_rows(losses, target, weight, reduction, ignore_index, sums)._value


def _nll_gradient(g: Tensor, loss: Any, x: Any, target: Tensor, site: Tensor, *rest: Any) -> tuple:
    """-weight at the target's class, 0 elsewhere."""
    weight, (reduction, ignore_index, sums) = (rest[0] if len(rest) == 2 else None), rest[-1]
    target_class = chosen(x.shape, x.dtype, target, weight, ignore_index, site)
    scale = row_scale(g, target, weight, reduction, ignore_index, sums, target_class)
    change = (-(target_class.weight * scale)).where(target_class.hot, 0.0)
    return (change, *(None for _ in range(len(rest) + 1)))


primitives.composite("nll_loss", _nll_infer, _nll, autocast="float32")


# ---- focal -------------------------------------------------------------------------------------------------------


def focal_loss(
    input: Tensor, target: Tensor, gamma: float = 2.0, weight: Tensor | None = None, ignore_index: int = -100,
    reduction: Any = "mean",
) -> Tensor:  # fmt: skip
    """(1 - p)^gamma times the cross-entropy, p the probability of the target's class: what is right counts little.

    input, target, weight, ignore_index, errors: as for cross_entropy with class indices. gamma=0 is cross_entropy.
    Lin et al.: Focal Loss for Dense Object Detection, 2017.
    """
    name = "focal_loss"
    reduction = check_reduction(name, reduction)
    check_tensors(name, input=input, target=target, **({} if weight is None else {"weight": weight}))
    if not gamma >= 0:
        raise ValueError(f"{name}: gamma must not be negative, got {gamma}")
    ignore_index = ignored_class(name, ignore_index)
    check_class_weight(name, weight, check_scores(name, input))
    check_class_indices(name, input, target)
    losses = cross_entropy_of_classes(name, input, target, None, ("none", ignore_index, 0.0, 0.0))
    losses = (-(-losses).expm1()) ** gamma * losses  # 1 - p = 1 - exp(-loss)
    losses = losses * row_weights(target, weight, ignore_index, losses.dtype)
    return reduced_rows(losses, target, weight, reduction, ignore_index, sums_of(losses, weight))
