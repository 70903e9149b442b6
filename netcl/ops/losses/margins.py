"""Losses of classes with a margin: the score of what is right has to lie above the others' by it."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.tape import apply, apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.ops.creation import iota
from netcl.ops.elementwise import literal
from netcl.ops.losses.arguments import check_reduction, check_tensors, exact_dtype, legacy_reduction, reduced
from netcl.ops.losses.targets import check_class_weight, chosen, picked_weight
from netcl.ops.sites import index_site
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
    if target.dtype is not dtypes.int64 or target.ndim > 1 or target.numel() != rows:
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
        raise NotImplementedError(
            f"{name}: expected floating-point scores, got {input.dtype}; convert them with .float()"
        )
    if len(shape) not in (1, 2) or not shape[-1]:
        raise RuntimeError(f"{name}: expected scores (N, C) or (C,) with at least one class, got shape {list(shape)}")
    return prod(shape[:-1]), shape[-1]


def _multi_margin(x: Tensor, target: Tensor, weight: Tensor | None, p: int, margin: float) -> Tensor:
    wide = dtypes.accumulator(x.dtype)
    if not x.shape[0]:
        return x.to(wide).sum(1)
    operands = (x, target, index_site("multi_margin_loss", x, f"{x._value.shape[1]} classes"))
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
    wide = dtypes.accumulator(input.dtype)
    if not rows:
        return reduced(input.to(wide).sum(-1), reduction)
    site = index_site(name, input, f"{classes} classes")
    operands = input.to(wide).reshape(rows, classes), target.reshape(rows, classes), site
    arg = reduction, exact_dtype(operands[0]).name
    loss = apply_composite(name, operands, arg, _multilabel_gradient, several=True)[0]
    return loss.reshape(()) if input.ndim == 1 and reduction == "none" else loss


# A row is here a sample and a class, and what is reduced over are the places of the sample's list of labels: whether
# the class is listed, and how far it is short of the listed ones, are then sums over one row, and one kernel. The
# gradient of a class that is right asks of all the others whether they are wrong, which is what those rows have found:
# it reads how often each class is listed from memory, a second launch. (Finding it again for each pair would cost C^3.)


def _multilabel_infer(operands: Any, arg: tuple[str, str]) -> tuple:
    shape, dtype = operands[0].shape, operands[0].dtype
    return (shape[:1] if arg[0] == "none" else (), dtype), (shape, dtype)


def _multilabel(x: Any, target: Any, site: Any, arg: tuple[str, str]) -> tuple:
    """The loss, and how often each class is listed before the first -1. arg: the reduction, the dtype of sums."""
    reduction, sums = arg
    x, target, site = Tensor._wrap(x), Tensor._wrap(target), Tensor._wrap(site)
    rows, classes = x._value.shape
    shape = (rows, classes, classes)
    target = apply("check", (target, (target >= -1) & (target < classes), site)).to(dtypes.int32)
    label = target.unsqueeze(1)
    places, own = (iota(shape, axis, x._value.device, dtypes.int32) for axis in (2, 1))
    end = places.where(label == -1, classes).amin(2, keepdim=True)
    valid = places < end
    count = ((label == own) & valid).to(x.dtype).sum(2)
    right = apply("gather", (x, target.to(dtypes.int64)), 1)
    short = 1.0 - right.unsqueeze(1) + x.unsqueeze(2)
    short = short.where(valid & (short <= 0).logical_not(), 0.0)  # NaN stays
    losses = short.to(dtypes.by_name(sums)).sum(2).where(count == 0, 0.0) / float(classes)
    if reduction == "none":
        losses = losses.sum(1)
    else:
        losses = losses.sum() if reduction == "sum" else losses.sum() / float(rows)
    return losses.to(x.dtype)._value, count._value


def _multilabel_gradient(g: tuple, y: tuple, x: Tensor, target: Any, site: Any, arg: tuple) -> tuple:
    """Of a wrong class, how many listed ones it is too near to; of a right one, minus how many wrong ones are too near,
    as often as it is listed."""
    rows, classes = x.shape
    count = y[1]
    own, other = count.unsqueeze(2), count.unsqueeze(1)
    apart = x.unsqueeze(2) - x.unsqueeze(1)
    near = (1.0 + apart.where(own == 0, -apart) <= 0).logical_not()
    change = other.where(own == 0, (-own).where(other == 0, 0.0)).where(near, 0.0).sum(2)
    scale = g[0].reshape(rows, 1) if arg[0] == "none" else g[0]
    if arg[0] == "mean":
        scale = scale / float(rows)
    return change * (scale / float(classes)), None, None


primitives.composite("multilabel_margin_loss", _multilabel_infer, _multilabel, autocast="float32")
