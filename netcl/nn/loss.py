"""Losses: value and gradient are compositions, fused into one pass when both are pending.

mean divides by the number of elements (mse) or by the sum of the kept weights (cross_entropy), as in PyTorch;
"batchmean" divides by the first size. Accumulators and losses are float32 or wider, whatever the inputs.
"""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

from netcl.autograd.tape import apply, apply_composite
from netcl.core import dtypes
from netcl.graph import flags, primitives
from netcl.graph.value import record_scalar, user_line
from netcl.nn.module import Module
from netcl.ops.creation import iota
from netcl.ops.elementwise import check_devices, literal
from netcl.tensor import Tensor


def check_reduction(name: str, reduction: Any, extra: tuple[str, ...] = ()) -> str:
    """The reduction's name; None means "none". ValueError naming the choices."""
    choices = ("mean", "sum", "none", *extra)
    reduction = "none" if reduction is None else reduction
    if reduction not in choices:
        raise ValueError(
            f"{name}: {reduction!r} is not a valid reduction; choose one of {', '.join(map(repr, choices))}, or None"
        )
    return reduction


# ---- mean squared error ------------------------------------------------------------------------------------------


def mse_loss(input: Tensor, target: Tensor, reduction: Any = "mean") -> Tensor:
    """The mean squared error, mean((input - target)^2).

    input, target: one shape (a different one broadcasts, with PyTorch's warning). reduction: "mean" over all
    elements, "sum", "none" (input's shape; also None), "batchmean" (the sum divided by the first size).
    ValueError for another reduction, RuntimeError for shapes that don't broadcast.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.mse_loss(nc.tensor([1.0, 2.0]), nc.tensor([1.0, 4.0])).item()
    2.0
    """
    reduction = check_reduction("mse_loss", reduction, ("batchmean",))
    for name, tensor in (("input", input), ("target", target)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"mse_loss: {name} must be a Tensor, got {type(tensor).__name__}")
    check_devices("mse_loss", input, target)
    if input._value.shape != target._value.shape:
        warnings.warn(
            f"mse_loss: target has shape {list(target.shape)}, input {list(input.shape)}; they are broadcast, which is "
            "rarely meant. Give both the same shape.",
            stacklevel=2,
        )
    return apply_composite("mse_loss", (input, target), reduction, _mse_gradient)


def _mse_infer(operands: Any, reduction: str) -> tuple:
    x, y = operands
    shape = primitives.broadcast_shapes("mse_loss", [x.shape, y.shape])
    dtype = primitives.result_dtype(operands)
    if dtype.category != 2:
        raise RuntimeError(
            f"mse_loss: expected floating-point tensors, got {x.dtype} and {y.dtype}; convert them with .float()"
        )
    if reduction == "none":
        return shape, dtype
    return (), dtypes.accumulator(dtype)


def _mse(x: Any, y: Any, reduction: str) -> Any:
    x, y = Tensor._wrap(x), Tensor._wrap(y)
    wide = dtypes.accumulator(dtypes.promote(x.dtype, y.dtype))
    difference = x.to(wide) - y.to(wide)
    squares = difference * difference
    if reduction == "none":
        return squares.to(dtypes.promote(x.dtype, y.dtype))._value
    return _scaled(squares.sum(), reduction, squares)._value


def _scaled(total: Tensor, reduction: str, elements: Tensor) -> Tensor:
    if reduction in ("sum", "none"):
        return total
    shape = elements._value.shape
    return total / literal(float(prod(shape) if reduction == "mean" else shape[0] if shape else 1), total)


def _mse_gradient(g: Tensor, loss: Any, x: Tensor, y: Tensor, reduction: str) -> tuple:
    """d x = 2 (x - y) g / count, d y = -d x."""
    wide = dtypes.accumulator(dtypes.promote(x.dtype, y.dtype))
    difference = x.to(wide) - y.to(wide)
    scale = _scaled(g.to(wide) * literal(2.0, g.to(wide)), reduction, difference)
    change = difference * scale
    return change, -change


primitives.composite("mse_loss", _mse_infer, _mse, autocast="float32")


# ---- cross-entropy -----------------------------------------------------------------------------------------------


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100,
    reduce: Any = None, reduction: Any = "mean", label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """The cross-entropy of softmax(input) and target.

    input: logits (N, C), (C,) or (N, C, d1, ..). target: class indices (N,), (), (N, d1, ..), or probabilities in
    input's shape and a floating dtype. weight: (C,). ignore_index: targets that count nothing. The mean divides by
    the sum of the kept targets' weights. Exact at any magnitude: the largest logit is taken out first.

    ValueError for shapes and reductions that don't fit; IndexError, at the next read of a value, for a class out of
    range; RuntimeError for label_smoothing outside 0..1.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.cross_entropy(nc.tensor([[0.0, 0.0]]), nc.tensor([1])).item()
    0.6931471824645996
    """
    reduction = check_reduction("cross_entropy", _legacy_reduction(size_average, reduce, reduction))
    for name, tensor in (("input", input), ("target", target)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"cross_entropy: {name} must be a Tensor, got {type(tensor).__name__}")
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"cross_entropy: label_smoothing must be between 0.0 and 1.0, got {label_smoothing}")
    if input.dtype.category != 2:
        raise RuntimeError(
            f"cross_entropy: expected floating-point logits, got {input.dtype}; convert them with .float()"
        )
    check_devices("cross_entropy", input, target, *(() if weight is None else (weight,)))
    classes = _class_count(input, target)
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"cross_entropy: weight must have one entry for each of the {classes} classes, "
            f"got shape {list(weight.shape)}"
        )
    if target.dtype.category == 2:
        return _probability_cross_entropy(input, target, weight, reduction, float(label_smoothing))
    if weight is not None and weight.requires_grad:
        raise RuntimeError("cross_entropy: the class weight has no gradient; detach() it")
    if not prod(input.shape):
        return _empty_cross_entropy(input, target, reduction)
    device = input._value.device
    site = Tensor._wrap(record_scalar(flags.new_site(device, f"cross_entropy ({user_line()})"), dtypes.int32, device))
    operands = (input, target, site) if weight is None else (input, target, site, weight)
    return apply_composite(
        "cross_entropy", operands, (reduction, int(ignore_index), float(label_smoothing)), _cross_entropy_gradient
    )


def _legacy_reduction(size_average: Any, reduce: Any, reduction: Any) -> Any:
    """PyTorch's deprecated pair of flags."""
    if size_average is None and reduce is None:
        return reduction
    found = "none" if reduce is False else "sum" if size_average is False else "mean"
    warnings.warn(f"size_average and reduce are deprecated; use reduction={found!r} instead", stacklevel=3)
    return found


def _class_count(input: Tensor, target: Tensor) -> int:
    shape, own = tuple(input.shape), tuple(target.shape)
    if not shape:
        raise ValueError("cross_entropy: expected logits with at least 1 dimension, got a 0-d tensor")
    classes = shape[0] if len(shape) == 1 else shape[1]
    if target.dtype.category == 2:
        if own != shape:
            raise ValueError(
                f"cross_entropy: target probabilities have shape {list(own)}, logits {list(shape)}; they must be equal"
            )
        return classes
    if target.dtype not in (dtypes.int64, dtypes.int32, dtypes.uint8):
        raise RuntimeError(f"cross_entropy: expected class indices of dtype int64, got {target.dtype}")
    wanted = () if len(shape) == 1 else (shape[0], *shape[2:])
    if own != wanted:
        raise ValueError(
            f"cross_entropy: logits of shape {list(shape)} need class indices of shape {list(wanted)}, got {list(own)}"
        )
    return classes


def _empty_cross_entropy(input: Tensor, target: Tensor, reduction: str) -> Tensor:
    """Nothing to average: 0 / 0 for the mean and 0 for the sum, as in PyTorch."""
    if input.shape[0 if input.ndim == 1 else 1] == 0 and target.numel():
        raise IndexError(f"cross_entropy: logits of shape {list(input.shape)} have no classes: no target is in range")
    total = input.sum().to(dtypes.accumulator(input.dtype))
    if reduction == "none":
        return (total * 0.0).expand(tuple(target.shape))
    return total / 0.0 if reduction == "mean" else total


def _class_axis(shape: tuple[int, ...]) -> int:
    return 0 if len(shape) == 1 else 1


def _infer(operands: Any, arg: tuple) -> tuple:
    x, target = operands[0], operands[1]
    return (tuple(target.shape) if arg[0] == "none" else ()), dtypes.accumulator(x.dtype)


def _parts(x: Tensor, target: Tensor, weight: Tensor | None, arg: tuple, site: Tensor) -> tuple:
    """What value and gradient share: log-probabilities, the target's one-hot, row weights, and their divisor."""
    _, ignore_index, _ = arg
    shape = x._value.shape
    axis = _class_axis(shape)
    wide = dtypes.accumulator(x.dtype)
    shifted = x.to(wide) - x.to(wide).amax(axis, keepdim=True)
    log_p = shifted - shifted.exp().sum(axis, keepdim=True).log()
    indices = target.to(dtypes.int64).unsqueeze(axis)
    kept = indices != ignore_index
    valid = ((indices >= 0) & (indices < shape[axis])) | kept.logical_not()
    indices = apply("check", (indices, valid, site)).to(dtypes.int32)
    hot = iota(shape, axis, x._value.device, dtypes.int32) == indices
    row_weight = kept.to(wide)
    if weight is not None:
        row_weight = _picked_weight(target, weight, wide).unsqueeze(axis) * row_weight
    return log_p, hot, row_weight, kept, axis, wide


def _along(axis: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size if a == axis else 1 for a, size in enumerate(shape))


def _divisor(reduction: str, target: Tensor, weight: Tensor | None, ignore_index: int, wide: Any) -> Tensor | None:
    """The sum of the kept targets' weights, read from the targets alone: small, and ready before the rows."""
    if reduction != "mean":
        return None
    kept = (target.to(dtypes.int64) != ignore_index).to(wide)
    if weight is not None:
        kept = _picked_weight(target, weight, wide) * kept
    return kept.sum()


def _picked_weight(target: Tensor, weight: Tensor, wide: Any) -> Tensor:
    """weight[target], for targets held in range."""
    flat = target.reshape(-1).to(dtypes.int64)
    return apply("gather", (weight.to(wide), flat), 0).reshape(target._value.shape)


def _cross_entropy(x: Any, target: Any, site: Any, *rest: Any) -> Any:
    weight, arg = (Tensor._wrap(rest[0]) if len(rest) == 2 else None), rest[-1]
    x, target, site = Tensor._wrap(x), Tensor._wrap(target), Tensor._wrap(site)
    log_p, hot, row_weight, kept, axis, wide = _parts(x, target, weight, arg, site)
    reduction, ignore_index, smoothing = arg
    picked = log_p.where(hot, 0.0).sum(axis, keepdim=True)
    losses = -picked * row_weight
    if smoothing:
        classes = x._value.shape[axis]
        spread = log_p if weight is None else log_p * weight.to(wide).reshape(_along(axis, x._value.shape))
        smooth = (-spread.sum(axis, keepdim=True)).where(kept, 0.0)
        losses = losses * literal(1 - smoothing, losses) + smooth * literal(smoothing / classes, losses)
    losses = losses.where(kept, 0.0).reshape(target._value.shape)
    if reduction == "none":
        return losses._value
    total = losses.sum()
    divisor = _divisor(reduction, target, weight, ignore_index, wide)
    return (total if divisor is None else total / divisor)._value


def _cross_entropy_gradient(g: Tensor, loss: Any, x: Tensor, target: Tensor, site: Tensor, *rest: Any) -> tuple:
    """d x = (softmax(x) * sum(q) - q) * row scale, q the (smoothed, weighted) target distribution."""
    weight, arg = (rest[0] if len(rest) == 2 else None), rest[-1]
    reduction, ignore_index, smoothing = arg
    log_p, hot, row_weight, kept, axis, wide = _parts(x, target, weight, arg, site)
    if reduction == "none":
        scale = g.to(wide).reshape(row_weight._value.shape)
    else:
        divisor = _divisor(reduction, target, weight, ignore_index, wide)
        scale = g.to(wide) if divisor is None else g.to(wide) / divisor
    scale = scale.expand(kept._value.shape).where(kept, 0.0)
    probabilities = log_p.exp()
    if not smoothing:
        change = (probabilities - hot.to(wide)) * (row_weight * scale)
    else:
        classes = x._value.shape[axis]
        even = literal(smoothing / classes, log_p)
        if weight is None:
            q = hot.to(wide) * literal(1 - smoothing, log_p) + even
            mass = row_weight
        else:
            w = weight.to(wide).reshape(_along(axis, x._value.shape))
            q = hot.to(wide) * row_weight * literal(1 - smoothing, log_p) + w * even
            mass = row_weight * literal(1 - smoothing, log_p) + w.sum() * even
        change = (probabilities * mass - q) * scale
    return (change, None, None) if weight is None else (change, None, None, None)


primitives.composite("cross_entropy", _infer, _cross_entropy, autocast="float32")


def _probability_cross_entropy(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    """-sum over classes of q log softmax(x); the mean divides by the number of rows."""
    from netcl.nn.functional import log_softmax

    axis = _class_axis(x._value.shape)
    classes = x._value.shape[axis]
    wide = dtypes.accumulator(x.dtype)
    q = target.to(wide)
    if smoothing:
        q = q * (1 - smoothing) + smoothing / classes
    log_p = log_softmax(x.to(wide), axis)
    if weight is not None:
        log_p = log_p * weight.to(wide).reshape(_along(axis, x._value.shape))
    losses = -(q * log_p).sum(axis)
    if reduction == "none":
        return losses
    total = losses.sum()
    return total if reduction == "sum" else total / float(prod(losses.shape))


# ---- modules -----------------------------------------------------------------------------------------------------


class MSELoss(Module):
    """`mse_loss` as a module."""

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: Any = "mean"):
        super().__init__()
        self.reduction = check_reduction("MSELoss", _legacy_reduction(size_average, reduce, reduction), ("batchmean",))

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return mse_loss(input, target, self.reduction)


class CrossEntropyLoss(Module):
    """`cross_entropy` as a module; `weight` is a buffer."""

    weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100, reduce: Any = None,
        reduction: Any = "mean", label_smoothing: float = 0.0,
    ):  # fmt: skip
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = check_reduction("CrossEntropyLoss", _legacy_reduction(size_average, reduce, reduction))
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip
