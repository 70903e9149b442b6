"""Operations over rows that are one kernel each, value and gradient: softmax, log_softmax, cross_entropy.

What a row's logarithms need of the whole row is two numbers, its largest element and the sum of the exponentials of
what is left: `statistics`. They are results of their own. Where value and gradient are computed together they never
leave the kernel; where a loss is read before backward() they are what is kept, and the way back reads the logits once.

Accumulators and losses are float32 or wider, whatever the inputs.
"""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.tape import apply, apply_composite, is_grad_enabled
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.ops.elementwise import literal, quick_exp
from netcl.ops.losses.arguments import check_reduction, check_tensors, legacy_reduction, reduced
from netcl.ops.losses.targets import (
    along,
    check_class_indices,
    check_class_weight,
    check_scores,
    chosen,
    class_axis,
    ignored_class,
    kind_of_misfit,
    reduced_rows,
    row_scale,
    sums_of,
    without_elements,
)
from netcl.ops.shape import axis_of
from netcl.ops.sites import index_site
from netcl.tensor import Tensor

METHODS = ["log_softmax", "softmax"]

# ---- softmax -----------------------------------------------------------------------------------------------------


def softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) over dim, the largest taken out first."""
    input, axis = _softmax_arguments("softmax", input, dim, dtype)
    result = apply_composite("softmax", (input,), axis, _softmax_gradient)
    return result if dtype is None else result.to(dtype)


def log_softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """x - log(sum(exp(x))) over dim, the largest taken out first."""
    input, axis = _softmax_arguments("log_softmax", input, dim, dtype)
    if not input.ndim:
        return input - input
    result = apply_composite("log_softmax", (input, *row_statistics(input, axis)), axis, _log_softmax_gradient)
    return result if dtype is None else result.to(dtype)


def softmin(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """softmax(-x)."""
    return softmax(-input, dim, dtype)


def _softmax_arguments(name: str, input: Tensor, dim: int | None, dtype: Any) -> tuple[Tensor, int]:
    if dtype is not None:
        input = input.to(dtype)
    if input.dtype.category != 2:
        raise NotImplementedError(
            f"{name}: expected a floating-point tensor, got {input.dtype}; convert it with .float(), or pass dtype="
        )
    if dim is None:
        dim = 0 if input.ndim in (0, 1, 3) else 1
    return input, axis_of(name, dim, input.ndim)


def _softmax_body(x: Any, axis: int) -> Any:
    x = Tensor._wrap(x)
    if not x.ndim:
        return (x - x).exp()._value
    shifted = quick_exp(x - x.amax(axis, keepdim=True))
    return (shifted / shifted.sum(axis, keepdim=True))._value


def _softmax_gradient(g: Tensor, y: Tensor, x: Any, axis: int) -> tuple:
    inner = g * y
    return (inner - y * inner.sum(axis, keepdim=True),) if inner.ndim else (inner - y * inner,)


primitives.composite("softmax", primitives.as_first, _softmax_body, autocast="float32")


# ---- logarithms of a row -----------------------------------------------------------------------------------------


def row_statistics(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """max(x) and sum(exp(x - max(x))) over one axis, in float32 or wider. They carry no gradient."""
    return apply_composite("row_statistics", (x,), axis, None, several=True)


def _row_statistics(x: Any, axis: int) -> tuple:
    top, total = statistics(Tensor._wrap(x), axis)
    return top._value, total._value


def statistics(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """As row_statistics, in operations."""
    x = x.to(dtypes.accumulator(x.dtype))
    top = x.amax(axis, keepdim=True)
    return top, _total(x, top, axis)


def _total(x: Tensor, top: Tensor, axis: int) -> Tensor:
    return quick_exp(x - top).sum(axis, keepdim=True)


def _statistics_infer(operands: Any, axis: int) -> tuple:
    shape = tuple(1 if a == axis else size for a, size in enumerate(operands[0].shape))
    return ((shape, dtypes.accumulator(operands[0].dtype)),) * 2


def _log_probabilities(x: Tensor, top: Tensor, total: Tensor) -> Tensor:
    """log(softmax(x)) from the row's statistics. top and the logarithm apart: their sum would lose digits."""
    return x.to(top.dtype) - top - total.log()


def _scaled_probabilities(x: Tensor, top: Tensor, total: Tensor, scale: Tensor) -> Tensor:
    """softmax(x) * scale from the row's statistics and a number for each row, which alone is divided: to divide each
    element would take as long as its exponential. A kernel that has summed these exponentials has them."""
    return quick_exp(x.to(top.dtype) - top) * (scale / total)


def _total_in_rule(x: Tensor, top: Tensor, total: Tensor, axis: int) -> Tensor:
    """total, or where the gradient will be differentiated itself, the same as a function of x (top cancels)."""
    return _total(x.to(top.dtype), top, axis) if is_grad_enabled() else total


def _log_softmax_body(x: Any, top: Any, total: Any, axis: int) -> Any:
    x = Tensor._wrap(x)
    return _log_probabilities(x, Tensor._wrap(top), Tensor._wrap(total)).to(x.dtype)._value


def _log_softmax_gradient(g: Tensor, y: Any, x: Tensor, top: Tensor, total: Tensor, axis: int) -> tuple:
    total = _total_in_rule(x, top, total, axis)
    g = g.to(top.dtype)
    return g - _scaled_probabilities(x, top, total, g.sum(axis, keepdim=True)), None, None


primitives.composite("row_statistics", _statistics_infer, _row_statistics)
primitives.composite("log_softmax", primitives.as_first, _log_softmax_body, autocast="float32")


# ---- cross-entropy -----------------------------------------------------------------------------------------------


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100,
    reduce: Any = None, reduction: Any = "mean", label_smoothing: float = 0.0, lse_square_scale: float = 0.0,
) -> Tensor:  # fmt: skip
    """The cross-entropy of softmax(input) and target.

    input: logits (N, C), (C,) or (N, C, d1, ..). target: class indices (N,), (), (N, d1, ..), or probabilities in
    input's shape and a floating dtype. weight: (C,). ignore_index: targets that count nothing. The mean divides by
    the sum of the kept targets' weights. Exact at any magnitude: the largest logit is taken out first.
    lse_square_scale: this much of logsumexp(row)^2 is added to each row's loss, which keeps logits small (the z-loss
    of Chowdhery et al., PaLM, 2022); the row's weight counts for it too.

    ValueError and RuntimeError for shapes and options that don't fit, and for an ignore_index, which is a class, beside
    probabilities; IndexError, at the next read of a value, for a class out of range.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.cross_entropy(nc.tensor([[0.0, 0.0]]), nc.tensor([1])).item()
    0.6931471824645996
    """
    name = "cross_entropy"
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction))
    check_tensors(name, input=input, target=target, **({} if weight is None else {"weight": weight}))
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"cross_entropy: label_smoothing must be between 0.0 and 1.0, got {label_smoothing}")
    if not lse_square_scale >= 0.0:
        raise ValueError(f"cross_entropy: lse_square_scale must not be negative, got {lse_square_scale}")
    ignore_index = ignored_class(name, ignore_index)
    classes = check_scores(name, input)
    extras = (float(label_smoothing), float(lse_square_scale))
    if target.dtype.category == 2 or target._value.shape == input._value.shape:
        _check_probabilities(input, target, ignore_index)
        check_class_weight(name, weight, classes)
        return _probability_cross_entropy(input, target, weight, (reduction, *extras))
    check_class_indices(name, input, target)
    check_class_weight(name, weight, classes)
    return cross_entropy_of_classes(name, input, target, weight, (reduction, ignore_index, *extras))


def cross_entropy_of_classes(
    name: str, input: Tensor, target: Tensor, weight: Tensor | None, options: tuple
) -> Tensor:
    """cross_entropy of checked arguments, for the loss `name`. options: the reduction, then as in losses_of_rows."""
    if not prod(input.shape):
        return without_elements(input, target, options[0])
    site = index_site(name, input, f"{input._value.shape[class_axis(input._value.shape)]} classes")
    operands = (input, target, site, *(() if weight is None else (weight,)))
    arg = (*options, sums_of(input, weight))
    return apply_composite("cross_entropy", operands, arg, _cross_entropy_gradient, several=True)[0]


def _infer(operands: Any, arg: tuple) -> tuple:
    x, target = operands[0], operands[1]
    row, wide = _statistics_infer((x,), class_axis(x.shape))[0]
    return ((target.shape if arg[0] == "none" else ()), wide), (row, wide), (row, wide)


def _cross_entropy(*operands_and_arg: Any) -> tuple:
    """The loss, and the rows' statistics for the way back."""
    *operands, arg = operands_and_arg
    x, target, site, *rest = (Tensor._wrap(v) for v in operands)
    weight = rest[0] if rest else None
    reduction, ignore_index, *_, sums = arg
    top, total = statistics(x, class_axis(x._value.shape))
    losses = losses_of_rows(x, target, top, total, site, weight, arg[1:4])
    return reduced_rows(losses, target, weight, reduction, ignore_index, sums)._value, top._value, total._value


def losses_of_rows(
    x: Tensor, target: Tensor, top: Tensor, total: Tensor, site: Tensor | None, weight: Tensor | None, options: tuple
) -> Tensor:
    """Each row's cross-entropy, in the target's shape. options: ignore_index, label_smoothing, lse_square_scale."""
    ignore_index, smoothing, z_scale = options
    axis = class_axis(x._value.shape)
    log_p = _log_probabilities(x, top, total)
    target_class = chosen(x._value.shape, x.dtype, target, weight, ignore_index, site)
    losses = -apply("gather", (log_p, target_class.classes), axis) * target_class.weight
    if smoothing:
        spread = log_p if weight is None else log_p * _per_class(weight, x, log_p.dtype)
        smooth = -spread.sum(axis, keepdim=True)
        even = smoothing / x._value.shape[axis]
        losses = losses * literal(1 - smoothing, losses) + smooth * literal(even, losses)
    if z_scale:
        whole = top + total.log()
        losses = losses + whole * whole * target_class.weight * literal(z_scale, losses)
    return losses.where(target_class.kept, 0.0).reshape(target._value.shape)


def _per_class(weight: Tensor, x: Tensor, wide: Any) -> Tensor:
    shape = x._value.shape
    return weight.to(wide).reshape(along(class_axis(shape), shape))


def _cross_entropy_gradient(
    g: tuple, y: tuple, x: Tensor, target: Tensor, site: Tensor, *rest: Any
) -> tuple:
    """d x = (softmax(x) * sum(q) - q) * row scale, q the (smoothed, weighted) target distribution."""
    weight, arg = (rest[0] if len(rest) == 2 else None), rest[-1]
    change = gradient_of_rows(g[0], x, target, y[1], y[2], site, weight, arg)
    return (change, *(None for _ in range(len(rest) + 1)))


def gradient_of_rows(
    g: Tensor, x: Tensor, target: Tensor, top: Tensor, total: Tensor, site: Tensor | None, weight: Tensor | None,
    options: tuple,
) -> Tensor:  # fmt: skip
    """The gradient of x where g has arrived at the loss. options: the reduction, then as in losses_of_rows, then
    the dtype of a mean's sums.

    It is (softmax(x) * sum(q) - q) * g, q the target distribution: weight * (1 - smoothing) at the target's class, and
    smoothing / C times each class's weight.
    """
    reduction, ignore_index, smoothing, z_scale, sums = options
    total = _total_in_rule(x, top, total, class_axis(x._value.shape))
    target_class = chosen(x._value.shape, x.dtype, target, weight, ignore_index, site)
    scale = row_scale(g, target, weight, reduction, ignore_index, sums, target_class)
    counts = target_class.weight * scale
    sharp = counts * literal(1 - smoothing, counts) if smoothing else counts
    change = _scaled_probabilities(x, top, total, sharp) - sharp.where(target_class.hot, 0.0)
    if smoothing:  # by its parts: where the softmax is 1, what is sharp cancels, what is even does not
        classes = x._value.shape[class_axis(x._value.shape)]
        even = scale * literal(smoothing / classes, scale)
        if weight is None:
            each, whole = even, even * literal(float(classes), even)
        else:
            each, whole = _per_class(weight, x, top.dtype) * even, weight.to(top.dtype).sum() * even
        change = change + (_scaled_probabilities(x, top, total, whole) - each)
    if z_scale:  # logsumexp has the softmax for its gradient
        slope = (top + total.log()) * counts * literal(2 * z_scale, counts)
        change = change + _scaled_probabilities(x, top, total, slope)
    return change


primitives.composite("cross_entropy", _infer, _cross_entropy)


# ---- cross-entropy with probabilities ----------------------------------------------------------------------------


def _check_probabilities(input: Tensor, target: Tensor, ignore_index: int) -> None:
    shape, own = input._value.shape, target._value.shape
    if own != shape:
        raise kind_of_misfit(shape, own)(
            f"cross_entropy: target probabilities have shape {list(own)}, logits {list(shape)}; "
            "they must be equal; class indices are integers: pass target.long()"
        )
    if target.dtype.category != 2:
        raise RuntimeError(
            f"cross_entropy: a target in the logits' shape holds probabilities, which are floating-point numbers, got "
            f"{target.dtype}; class indices have a shape without the logits' classes"
        )
    if ignore_index >= 0:
        raise RuntimeError(
            f"cross_entropy: ignore_index={ignore_index} is a class, but the target holds probabilities; leave it out"
        )


def _probability_cross_entropy(x: Tensor, target: Tensor, weight: Tensor | None, arg: tuple) -> Tensor:
    """-sum over classes of q log softmax(x); the mean divides by the number of rows."""
    if target.dtype is dtypes.float64:
        x = x.to(dtypes.float64)
    operands = (x, target, *row_statistics(x, class_axis(x._value.shape)))
    return apply_composite(
        "cross_entropy_of_probabilities", operands if weight is None else (*operands, weight), arg,
        _probability_gradient,
    )  # fmt: skip


def _probability_infer(operands: Any, arg: tuple) -> tuple:
    shape = operands[0].shape
    axis = class_axis(shape)
    return shape[:axis] + shape[axis + 1 :] if arg[0] == "none" else (), dtypes.accumulator(operands[0].dtype)


def _smoothed(x: Tensor, target: Tensor, weight: Tensor | None, smoothing: float, wide: Any) -> Tensor:
    """The target distribution, smoothed and weighted."""
    q = target.to(wide)
    if smoothing:
        even = literal(smoothing / x._value.shape[class_axis(x._value.shape)], q)
        q = q * literal(1 - smoothing, q) + even
    return q if weight is None else q * _per_class(weight, x, wide)


def _probability_body(*operands_and_arg: Any) -> Any:
    *operands, (reduction, smoothing, z_scale) = operands_and_arg
    x, target, top, total, *rest = (Tensor._wrap(v) for v in operands)
    axis = class_axis(x._value.shape)
    q = _smoothed(x, target, rest[0] if rest else None, smoothing, top.dtype)
    losses = -(q * _log_probabilities(x, top, total)).sum(axis)
    if z_scale:
        whole = top + total.log()
        losses = losses + (whole * whole).sum(axis) * literal(z_scale, losses)
    return reduced(losses, reduction)._value


def _probability_gradient(
    g: Tensor, loss: Any, x: Tensor, target: Tensor, top: Tensor, total: Tensor, *rest: Any
) -> tuple:
    """d x = softmax(x) * sum(q) - q; d target = -log softmax(x), weighted."""
    weight, (reduction, smoothing, z_scale) = (rest[0] if len(rest) == 2 else None), rest[-1]
    shape, wide = x._value.shape, top.dtype
    axis = class_axis(shape)
    total = _total_in_rule(x, top, total, axis)
    q = _smoothed(x, target, weight, smoothing, wide)
    log_p = _log_probabilities(x, top, total)
    mass = q.sum(axis, keepdim=True)
    if z_scale:
        mass = mass + (top + total.log()) * literal(2 * z_scale, mass)
    scale = g.to(wide)
    if reduction == "none":
        scale = scale.unsqueeze(axis)
    elif reduction == "mean":
        scale = scale / literal(float(prod(shape) // max(shape[axis], 1)), scale)
    d_target = -log_p * literal(1 - smoothing, log_p)
    if weight is not None:
        d_target = d_target * _per_class(weight, x, wide)
    change = _scaled_probabilities(x, top, total, mass) - q
    return (change * scale, d_target * scale, None, None, *(None for _ in rest[1:]))


primitives.composite("cross_entropy_of_probabilities", _probability_infer, _probability_body)
