"""Losses of classes with a margin: the score of what is right has to lie above the others' by it."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.tape import apply, apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.ops.creation import iota
from netcl.ops.elementwise import literal
from netcl.ops.losses.arguments import check_reduction, check_tensors, exact, legacy_reduction, new_site, reduced
from netcl.ops.losses.targets import check_class_weight, chosen, picked_weight
from netcl.tensor import Tensor


def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None,
    size_average: Any = None, reduce: Any = None, reduction: Any = "mean",
) -> Tensor:  # fmt: skip
    """sum over the other classes c of max(0, margin - x[y] + x[c])^p, divided by the number of classes.

    input: scores (N, C) or (C,). target: class indices (N,) or (). weight: (C,), a row counts its class's.
    ValueError unless p is 1 or 2; RuntimeError for shapes that don't fit; IndexError, at the next read of a value,
    for a class out of range. Crammer and Singer, 2001.
    """
    name = "multi_margin_loss"
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction))
    check_tensors(name, input=input, target=target, **({} if weight is None else {"weight": weight}))
    if p not in (1, 2):
        raise ValueError(f"{name}: p must be 1 or 2, got {p}")
    rows, classes = _matrix(name, input)
    if target.dtype is not dtypes.int64 or target._value.shape not in ((rows,), input._value.shape[:-1]):
        raise RuntimeError(
            f"{name}: scores of shape {list(input.shape)} need int64 class indices of shape {[rows]}, got "
            f"{target.dtype} of shape {list(target.shape)}"
        )
    check_class_weight(name, weight, classes)
    scalar = target.ndim == 0
    losses = _multi_margin(input.reshape(rows, classes), target.reshape(rows), weight, p, margin)
    return reduced(losses.reshape(()) if scalar and reduction == "none" else losses, reduction)


def _matrix(name: str, input: Tensor) -> tuple[int, int]:
    shape = input._value.shape
    if input.dtype.category != 2:
        raise RuntimeError(f"{name}: expected floating-point scores, got {input.dtype}; convert them with .float()")
    if len(shape) not in (1, 2) or not shape[-1]:
        raise RuntimeError(f"{name}: expected scores (N, C) or (C,) with at least one class, got shape {list(shape)}")
    return prod(shape[:-1]), shape[-1]


def _multi_margin(x: Tensor, target: Tensor, weight: Tensor | None, p: int, margin: float) -> Tensor:
    wide = dtypes.accumulator(x.dtype)
    if not x.shape[0]:
        return x.to(wide).sum(1)
    operands = (x, target, new_site("multi_margin_loss", x))
    arg = (p, float(margin))
    return apply_composite(
        "multi_margin_loss", operands if weight is None else (*operands, weight), arg, _multi_margin_gradient
    )


def _violations(x: Tensor, target: Tensor, site: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """margin - x[y] + x[c] of each other class where it is not negative, and where that is."""
    wide = dtypes.accumulator(x.dtype)
    hot = chosen(x._value.shape, x.dtype, target, None, None, site).hot
    x = x.to(wide)
    own = x.where(hot, 0.0).sum(1, keepdim=True)
    short = literal(margin, x) - own + x
    on = (short > 0) & hot.logical_not()
    return short.where(on | (short != short), 0.0), on


def _multi_margin_body(*operands_and_arg: Any) -> Any:
    *operands, (p, margin) = operands_and_arg
    x, target, site, *rest = (Tensor._wrap(v) for v in operands)
    short, _ = _violations(x, target, site, margin)
    return (_each(short if p == 1 else short * short, target, rest) / float(x._value.shape[1])).sum(1)._value


def _each(values: Tensor, target: Tensor, weight: Any) -> Tensor:
    """Values of a row times its class's weight, if there is one."""
    return values * picked_weight(target, weight[0], values.dtype).unsqueeze(1) if weight else values


def _multi_margin_gradient(g: Tensor, loss: Any, x: Tensor, target: Tensor, site: Tensor, *rest: Any) -> tuple:
    """The slope at each class that violates the margin, and minus their sum at the target's."""
    weight, (p, margin) = rest[:-1], rest[-1]
    short, on = _violations(x, target, site, margin)
    slope = _each(on.to(short.dtype) if p == 1 else short * 2.0, target, weight)
    scale = g.to(short.dtype).unsqueeze(1) / float(x._value.shape[1])
    hot = chosen(x._value.shape, x.dtype, target, None, None, site).hot
    change = (-slope.sum(1, keepdim=True)).where(hot, slope) * scale
    return (change, *(None for _ in range(len(rest) + 1)))


primitives.composite(
    "multi_margin_loss", lambda operands, arg: (operands[0].shape[:1], dtypes.accumulator(operands[0].dtype)),
    _multi_margin_body, autocast="float32",
)  # fmt: skip


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: Any = "mean"
) -> Tensor:
    """sum over labels j that are right and k that are not of max(0, 1 - (x[j] - x[k])), divided by C.

    input: scores (N, C) or (C,). target: int64, input's shape: the labels that are right, then -1 and anything.
    RuntimeError for other shapes; IndexError, at the next read of a value, for a label out of range.
    """
    name = "multilabel_margin_loss"
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction))
    check_tensors(name, input=input, target=target)
    rows, classes = _matrix(name, input)
    if target._value.shape != input._value.shape or target.dtype is not dtypes.int64:
        raise RuntimeError(
            f"{name}: scores of shape {list(input.shape)} need an int64 target of the same shape, got {target.dtype} "
            f"of shape {list(target.shape)}"
        )
    x = input.to(dtypes.accumulator(input.dtype)).reshape(rows, classes)
    listed, right = _labels(target.reshape(rows, classes), new_site(name, input))
    one = x.unsqueeze(2)  # a label that is right, against each that is not
    short = 1.0 - one + x.unsqueeze(1)
    on = right.unsqueeze(2) & right.logical_not().unsqueeze(1) & (short <= 0).logical_not()  # NaN stays
    short = short.where(on, 0.0)
    times = listed.to(x.dtype).unsqueeze(2)  # a label that is listed twice counts twice
    losses = (exact(short * times).reshape(rows, classes * classes).sum(1) / float(classes)).to(x.dtype)
    return reduced(losses.reshape(()) if input.ndim == 1 and reduction == "none" else losses, reduction)


def _labels(target: Tensor, site: Tensor) -> tuple[Tensor, Tensor]:
    """For each class how often it is listed before the first -1, and whether it is."""
    shape = target._value.shape
    classes = shape[1]
    target = apply("check", (target, (target >= -1) & (target < classes), site))
    places = iota(shape, 1, target._value.device)
    end = places.where(target == -1, classes).amin(1, keepdim=True)
    valid = (places < end).unsqueeze(1)
    hit = (target.unsqueeze(1) == iota((classes,), 0, target._value.device).reshape(1, classes, 1)) & valid
    count = hit.to(dtypes.int32).sum(2)
    return count, count > 0
