"""Cross-entropy of a linear layer's outputs without the outputs: logits exist for a chunk of rows at a time.

A language model's logits are its largest array by far: 4096 tokens times 50,257 words are 823 MB, and the usual chain
holds them three times. Here each chunk's logits are multiplied out, reduced to three numbers a row (its loss, its
largest logit, the sum of the exponentials) and forgotten. The way back multiplies them out again, and adds the chunk's
share to the gradients in float32:

    p = exp(logits - largest) / sum       d logits = (p * mass - q) * row's gradient
    d input = d logits @ weight                 d weight += d logits^T @ input

4 products instead of 3, for rows x classes floats less in memory and fewer passes over them.
"""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.tape import apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.graph.value import stage
from netcl.ops import fused_ops, joining
from netcl.ops.losses.arguments import check_reduction, check_tensors
from netcl.ops.losses.targets import (
    check_class_weight,
    ignored_class,
    in_range,
    kind_of_misfit,
    reduced_rows,
    sums_of,
    without_elements,
)
from netcl.ops.sites import index_site
from netcl.tensor import Tensor

NAME = "linear_cross_entropy"
CHUNK = 1 << 23  # logits at a time: 32 MB of float32


def linear_cross_entropy(
    input: Tensor, linear_weight: Tensor, target: Tensor, linear_bias: Tensor | None = None, *,
    weight: Tensor | None = None, reduction: Any = "mean", ignore_index: int | None = None,
    label_smoothing: float = 0.0, options: Any = None, lse_square_scale: float = 0.0, bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """cross_entropy(linear(input, linear_weight, linear_bias), target, ..), never holding all logits.

    input: (N, features) or (features,). linear_weight: (C, features). target: class indices (N,) or (), or
    probabilities (N, C) (these are as large as the logits, so the logits are made in one piece). linear_bias (also
    `bias`): (C,). The other arguments are those of cross_entropy; ignore_index None is -100. Sums are float32 or wider.
    Several labels for each row: linear_weight (C, d1, .., features), linear_bias (C, d1, ..) and target (N, d1, ..) or
    (N, C, d1, ..).

    ValueError and RuntimeError for shapes and dtypes that don't fit; IndexError, at the next read of a value, for a
    class out of range; NotImplementedError for `options`: the size of a chunk is chosen here.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.linear_cross_entropy(nc.ones(3, 4), nc.zeros(2, 4), nc.tensor([0, 1, 1])).item()
    0.6931471824645996
    """
    name = NAME
    if options is not None:
        raise NotImplementedError(f"{name}: options are not supported; leave them out, rows are always taken in chunks")
    if bias is not None:
        if linear_bias is not None:
            raise TypeError(f"{name}: bias and linear_bias are the same argument; give one of them")
        linear_bias = bias
    reduction = check_reduction(name, reduction)
    given = {"input": input, "linear_weight": linear_weight, "target": target}
    given.update({} if linear_bias is None else {"linear_bias": linear_bias})
    check_tensors(name, **given, **({} if weight is None else {"weight": weight}))
    _check_layer(input, linear_weight, linear_bias)
    if ignore_index is not None and target.dtype.category == 2:
        raise RuntimeError(f"{name}: ignore_index is a class, but the target holds probabilities; leave it out")
    ignored = -100 if ignore_index is None else ignored_class(name, ignore_index)
    smoothing = {"label_smoothing": label_smoothing, "lse_square_scale": lse_square_scale}
    if target.dtype.category == 2 or not input.numel() or not linear_weight.numel():
        logits = _all_logits(input, linear_weight, linear_bias)
        return fused_ops.cross_entropy(
            logits, target, weight, ignore_index=ignored, reduction=reduction, **smoothing
        )
    _check_target(input, linear_weight, target, label_smoothing, lse_square_scale)
    check_class_weight(name, weight, linear_weight.shape[0])
    if not target.numel():
        return without_elements(input, target, reduction)
    options = (ignored, float(label_smoothing), float(lse_square_scale))
    losses = _losses(input, linear_weight, target, linear_bias, weight, options)
    return reduced_rows(losses, target, weight, reduction, ignored, sums_of(losses, weight))


def _check_layer(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    name = NAME
    if input.ndim not in (1, 2):
        raise RuntimeError(
            f"{name}: expected input of shape (N, features) or (features,), got {list(input.shape)}; flatten it: "
            "input.flatten(0, -2), target.flatten()"
        )
    if weight.ndim < 2 or weight.shape[-1] != input.shape[-1]:
        raise RuntimeError(
            f"{name}: input of shape {list(input.shape)} and linear_weight of shape {list(weight.shape)} don't fit: "
            "the input's last size must equal the weight's"
        )
    if weight.ndim > 2 and input.ndim == 1:
        raise RuntimeError(
            f"{name}: linear_weight of shape {list(weight.shape)} needs an input (N, features), got {list(input.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:-1]:
        raise RuntimeError(
            f"{name}: linear_bias of shape {list(bias.shape)} does not fit linear_weight of shape {list(weight.shape)}"
        )


def _check_target(input: Tensor, weight: Tensor, target: Tensor, smoothing: float, z_scale: float) -> None:
    name = NAME
    if target.dtype not in (dtypes.int64, dtypes.int32, dtypes.uint8):
        raise RuntimeError(f"{name}: expected class indices of dtype int64, got {target.dtype}; convert with .long()")
    wanted = (*input.shape[:-1], *weight.shape[1:-1])
    if tuple(target.shape) != wanted:
        logits = (*input.shape[:-1], *weight.shape[:-1])
        raise kind_of_misfit(logits, tuple(target.shape))(
            f"{name}: input of shape {list(input.shape)} and linear_weight of shape {list(weight.shape)} need class "
            f"indices of shape {list(wanted)}, got {list(target.shape)}"
        )
    if not 0.0 <= smoothing <= 1.0:
        raise RuntimeError(f"{name}: label_smoothing must be between 0.0 and 1.0, got {smoothing}")
    if not z_scale >= 0.0:
        raise ValueError(f"{name}: lse_square_scale must not be negative, got {z_scale}")


def _all_logits(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    logits = input @ weight.reshape(prod(weight.shape[:-1]), weight.shape[-1]).t()
    logits = logits if bias is None else logits + bias.reshape(-1)
    return logits.reshape(*input.shape[:-1], *weight.shape[:-1])


def _losses(
    input: Tensor, linear_weight: Tensor, target: Tensor, linear_bias: Tensor | None, weight: Tensor | None,
    options: tuple,
) -> Tensor:  # fmt: skip
    """The rows' losses in the target's shape: label by label, each a layer of its own."""
    classes, *several, features = linear_weight.shape
    rows, labels = prod(input.shape[:-1]), prod(several)
    x, targets, site = input, target.reshape(rows, labels), index_site(NAME, input, f"{classes} classes")
    if input.ndim == 1:
        x = input.reshape(1, features)
    layers = [(linear_weight, linear_bias)]
    if several:
        weights = linear_weight.reshape(classes, labels, features).unbind(1)
        biases = [None] * labels if linear_bias is None else linear_bias.reshape(classes, labels).unbind(1)
        layers = list(zip(weights, biases, strict=True))
    found = []
    for label, (layer, bias) in enumerate(layers):
        operands = [t for t in (x, layer, targets, site, bias, weight) if t is not None]
        arg = (*options, label, bias is not None)
        found.append(apply_composite(NAME, operands, arg, _gradient, several=True)[0])
    return (joining.stack(found, 1) if several else found[0]).reshape(target.shape)


# ---- the chunks --------------------------------------------------------------------------------------------------


def _chunks(rows: int, classes: int) -> list[tuple[int, int]]:
    """(first row, how many) of chunks as equal as they can be."""
    count = -(-rows // max(32, CHUNK // classes))
    size = -(-rows // count)
    return [(first, min(size, rows - first)) for first in range(0, rows, size)]


def _infer(operands: Any, arg: tuple) -> tuple:
    x, weight, _, _, *tensors = operands
    for other in (weight, tensors[0]) if arg[-1] else (weight,):
        if other.dtype is not x.dtype or x.dtype.category != 2:
            raise RuntimeError(
                f"{NAME}: expected one floating dtype, got input {x.dtype} and {other.dtype}; convert "
                "with .to()"
            )
    rows, wide = x.shape[0], dtypes.accumulator(x.dtype)
    return ((rows,), wide), ((rows, 1), wide), ((rows, 1), wide)


def _logits(x: Tensor, weight: Tensor, bias: Tensor | None, first: int, count: int) -> Tensor:
    wide = dtypes.accumulator(x.dtype)
    logits = x.narrow(0, first, count).to(wide) @ weight.to(wide).t()
    return logits if bias is None else logits + bias.to(wide)


def _targets(target: Tensor, site: Tensor, weight: Tensor, arg: tuple) -> Tensor:
    """The classes of one label, checked where they are told by their places in the whole target."""
    return in_range(target, weight._value.shape[0], arg[0], site).select(1, arg[3])


def _apart(rest: tuple) -> tuple:
    """(bias, class weight, argument) of a composite's last operands."""
    *tensors, arg = rest
    bias = tensors.pop(0) if arg[-1] else None
    return bias, (tensors[0] if tensors else None), arg


def _rows(*operands_and_arg: Any) -> tuple:
    *operands, arg = operands_and_arg
    x, weight, target, site, *tensors = (Tensor._wrap(v) for v in operands)
    bias, class_weight, _ = _apart((*tensors, arg))
    found: list[tuple] = []
    targets = _targets(target, site, weight, arg)
    for number, (first, count) in enumerate(_chunks(x._value.shape[0], weight._value.shape[0])):
        stage(number)
        logits = _logits(x, weight, bias, first, count)
        top, total = fused_ops.statistics(logits, 1)
        losses = fused_ops.losses_of_rows(
            logits, targets.narrow(0, first, count), top, total, None, class_weight, arg[:3]
        )
        found.append((losses, top, total))
    columns = [list(parts) for parts in zip(*found, strict=True)]
    return tuple((joining.cat(parts) if len(parts) > 1 else parts[0])._value for parts in columns)


def _gradient(g: tuple, y: tuple, x: Tensor, weight: Tensor, target: Tensor, site: Tensor, *rest: Any) -> tuple:
    """Gradients of the input, the weight and the bias, chunk by chunk; each row's own upstream gradient is in g[0]."""
    bias, class_weight, arg = _apart(rest)
    wide = dtypes.accumulator(x.dtype)
    options = ("none", *arg[:3], "")
    targets = _targets(target, site, weight, arg)
    d_x: list[Tensor] = []
    d_weight = d_bias = None
    for number, (first, count) in enumerate(_chunks(x.shape[0], weight.shape[0])):
        stage(number)
        logits = _logits(x, weight, bias, first, count)
        g_rows, own, top, total = (t.narrow(0, first, count) for t in (g[0], targets, y[1], y[2]))
        change = fused_ops.gradient_of_rows(g_rows, logits, own, top, total, None, class_weight, options)
        d_x.append(change @ weight.to(wide))
        share = change.t() @ x.narrow(0, first, count).to(wide)
        d_weight = share if d_weight is None else d_weight + share
        d_bias = change.sum(0) if d_bias is None else d_bias + change.sum(0)
    whole = joining.cat(d_x) if len(d_x) > 1 else d_x[0]
    others = [None] * (len(rest) - 1 - (bias is not None))
    return (whole, d_weight, None, None, *([d_bias] if bias is not None else []), *others)


def _policies(arg: tuple, count: int) -> list[str]:
    """What autocast lowers: the factors and the bias, not the classes' weights."""
    return ["lower", "lower", "widest", "widest", "lower" if arg[-1] else "widest", "widest"][:count]


primitives.composite(NAME, _infer, _rows, autocast=_policies)
