"""Operations over rows that are one kernel each, value and gradient: softmax, log_softmax, cross_entropy.

The mean of the cross-entropy divides by the sum of the kept weights, as in PyTorch. Accumulators and losses are
float32 or wider, whatever the inputs.
"""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.tape import apply, apply_composite
from netcl.core import dtypes
from netcl.graph import flags, primitives
from netcl.graph.value import record_scalar, user_line
from netcl.ops.creation import iota
from netcl.ops.elementwise import check_devices, literal
from netcl.ops.reduction import check_reduction, legacy_reduction
from netcl.ops.shape import axis_of
from netcl.tensor import Tensor

# ---- softmax -----------------------------------------------------------------------------------------------------


def softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) over dim, the largest taken out first."""
    return _softmax("softmax", input, dim, dtype, _softmax_gradient)


def log_softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """x - log(sum(exp(x))) over dim, the largest taken out first."""
    return _softmax("log_softmax", input, dim, dtype, _log_softmax_gradient)


def softmin(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """softmax(-x)."""
    return softmax(-input, dim, dtype)


def _softmax(name: str, input: Tensor, dim: int | None, dtype: Any, rule: Any) -> Tensor:
    if dtype is not None:
        input = input.to(dtype)
    if input.dtype.category != 2:
        raise RuntimeError(
            f"{name}: expected a floating-point tensor, got {input.dtype}; convert it with .float(), or pass dtype="
        )
    if dim is None:
        dim = 0 if input.ndim in (0, 1, 3) else 1
    axis = axis_of(name, dim, input.ndim)
    return apply_composite(name, (input,), axis, rule)


def _softmax_body(x: Any, axis: int) -> Any:
    x = Tensor._wrap(x)
    if not x.ndim:
        return (x - x).exp()._value
    shifted = (x - x.amax(axis, keepdim=True)).exp()
    return (shifted / shifted.sum(axis, keepdim=True))._value


def _softmax_gradient(g: Tensor, y: Tensor, x: Any, axis: int) -> tuple:
    inner = g * y
    return (inner - y * inner.sum(axis, keepdim=True),) if inner.ndim else (inner - y * inner,)


def _log_softmax_body(x: Any, axis: int) -> Any:
    x = Tensor._wrap(x)
    if not x.ndim:
        return (x - x)._value
    shifted = x - x.amax(axis, keepdim=True)
    return (shifted - shifted.exp().sum(axis, keepdim=True).log())._value


def _log_softmax_gradient(g: Tensor, y: Tensor, x: Any, axis: int) -> tuple:
    return (g - y.exp() * g.sum(axis, keepdim=True),) if g.ndim else (g - y.exp() * g,)


def _same_infer(operands: Any, arg: Any) -> tuple:
    return operands[0].shape, operands[0].dtype


primitives.composite("softmax", _same_infer, _softmax_body, autocast="float32")
primitives.composite("log_softmax", _same_infer, _log_softmax_body, autocast="float32")


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
    reduction = check_reduction("cross_entropy", legacy_reduction(size_average, reduce, reduction))
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
