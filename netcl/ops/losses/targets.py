"""Class indices as targets: which shapes fit, which indices are in range, which are ignored, what each one weighs."""

from __future__ import annotations

from operator import index
from typing import Any, NamedTuple

from netcl.autograd.tape import apply
from netcl.core import dtypes
from netcl.ops.creation import iota
from netcl.ops.losses.arguments import exact_dtype
from netcl.tensor import Tensor


def class_axis(shape: tuple[int, ...]) -> int:
    """Where the classes are: in (C,) the first dimension, in (N, C, d1, ..) the second."""
    return 0 if len(shape) == 1 else 1


def check_scores(name: str, input: Tensor) -> int:
    """The number of classes. ValueError for a 0-d tensor, NotImplementedError (a RuntimeError) for integers."""
    if input.dtype.category != 2:
        raise NotImplementedError(
            f"{name}: expected floating-point scores, got {input.dtype}; convert them with .float()"
        )
    if not input.ndim:
        raise ValueError(f"{name}: expected scores with at least 1 dimension, got a 0-d tensor")
    return input._value.shape[class_axis(input._value.shape)]


def check_class_indices(name: str, input: Tensor, target: Tensor) -> None:
    """The target's shape and dtype: (N, C, d1, ..) needs (N, d1, ..). Whether the classes exist is seen on the device.

    ValueError for another number of rows, RuntimeError for what else does not fit, IndexError where there is no class.
    """
    shape, own = input._value.shape, target._value.shape
    wanted = () if len(shape) == 1 else (shape[0], *shape[2:])
    if own != wanted:
        raise kind_of_misfit(shape, own)(
            f"{name}: scores of shape {list(shape)} need class indices of shape {list(wanted)}, got {list(own)}"
        )
    if target.dtype not in (dtypes.int64, dtypes.int32, dtypes.uint8):
        raise RuntimeError(f"{name}: expected class indices of dtype int64, got {target.dtype}; convert with .long()")
    if shape[class_axis(shape)] == 0 and target.numel():
        raise IndexError(f"{name}: scores of shape {list(shape)} have no classes: no target is in range")


def kind_of_misfit(shape: tuple[int, ...], own: tuple[int, ...]) -> type[Exception]:
    """What scores of a shape and a target of another one raise: ValueError where the numbers of rows differ."""
    rows = len(own) == 1 if len(shape) == 1 else shape[:1] != own[:1]
    return ValueError if rows else RuntimeError


def ignored_class(name: str, ignore_index: Any) -> int:
    """ignore_index as an int; TypeError for what is none."""
    try:
        return index(ignore_index)
    except TypeError:
        raise TypeError(f"{name}: ignore_index must be an int, got {type(ignore_index).__name__}") from None


def check_class_weight(name: str, weight: Tensor | None, classes: int) -> None:
    """One weight for each class, without a gradient; RuntimeError for others."""
    if weight is None:
        return
    if tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"{name}: weight must have one entry for each of the {classes} classes, got shape {list(weight.shape)}"
        )
    if weight.requires_grad:
        raise RuntimeError(f"{name}: the class weight has no gradient; detach() it")


def without_elements(input: Tensor, target: Tensor, reduction: str) -> Tensor:
    """The loss of no rows: 0 / 0 for the mean and 0 for the sum, as in PyTorch."""
    total = input.sum().to(dtypes.accumulator(input.dtype))
    if reduction == "none":
        return (total * 0.0).expand(tuple(target.shape))
    return total / 0.0 if reduction == "mean" else total


class Chosen(NamedTuple):
    """What a row's class index says, with a dimension of size 1 at the class axis."""

    classes: Tensor  # the class, checked
    hot: Tensor  # in the scores' shape: whether this is the target's class
    kept: Tensor  # whether the row counts
    weight: Tensor  # its weight, 0 where it does not


def in_range(target: Tensor, classes: int, ignore_index: int | None, site: Tensor) -> Tensor:
    """The target; a class that does not exist raises IndexError at the next read, with its position in the target."""
    indices = target.to(dtypes.int64)
    valid = (indices >= 0) & (indices < classes)
    if ignore_index is not None:
        valid = valid | (indices == ignore_index)
    return apply("check", (indices, valid, site))


def chosen(
    shape: tuple[int, ...], dtype: Any, target: Tensor, weight: Tensor | None, ignore_index: int | None,
    site: Tensor | None,
) -> Chosen:  # fmt: skip
    """The target's class among scores of a shape and dtype. `site`: None where a target `in_range` is given."""
    axis = class_axis(shape)
    wide = dtypes.accumulator(dtype)
    given = target.to(dtypes.int64).unsqueeze(axis)
    kept = given == given if ignore_index is None else given != ignore_index
    narrow = dtypes.int32 if shape[axis] < 2**31 else dtypes.int64
    indices = (given if site is None else in_range(given, shape[axis], ignore_index, site)).to(narrow)
    hot = iota(shape, axis, target._value.device, narrow) == indices
    counts = kept.to(wide)
    if weight is not None:
        counts = picked_weight(target, weight, wide).unsqueeze(axis) * counts
    return Chosen(indices, hot, kept, counts)


def picked_weight(target: Tensor, weight: Tensor, wide: Any) -> Tensor:
    """weight[target], for targets held in range."""
    flat = target.reshape(-1).to(dtypes.int64)
    return apply("gather", (weight.to(wide), flat), 0).reshape(target._value.shape)


def divisor(target: Tensor, weight: Tensor | None, ignore_index: int, wide: Any) -> Tensor:
    """The sum of the kept targets' weights, from the targets alone: the way back needs it before the rows."""
    return row_weights(target, weight, ignore_index, wide).sum()


def sums_of(x: Tensor, weight: Tensor | None) -> str:
    """The dtype of the two sums of a mean: where they are of weighted losses, as wide as costs nothing (`exact`)."""
    wide = dtypes.accumulator(x.dtype)
    return wide.name if weight is None else dtypes.promote(wide, exact_dtype(x)).name


def row_weights(target: Tensor, weight: Tensor | None, ignore_index: int, wide: Any) -> Tensor:
    """What each row counts: its class's weight, 0 where it is ignored."""
    kept = (target.to(dtypes.int64) != ignore_index).to(wide)
    return kept if weight is None else picked_weight(target, weight, wide) * kept


def reduced_rows(
    losses: Tensor, target: Tensor, weight: Tensor | None, reduction: str, ignore_index: int, sums: str
) -> Tensor:
    """Losses of rows, in the target's shape; the mean divides by the sum of the kept weights."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    wide = dtypes.by_name(sums)
    return (losses.to(wide).sum() / divisor(target, weight, ignore_index, wide)).to(losses.dtype)


def row_scale(
    g: Tensor, target: Tensor, weight: Tensor | None, reduction: str, ignore_index: int, sums: str, like: Chosen
) -> Tensor:
    """What arrives at each row's loss on the way back, 0 where the row is ignored."""
    wide = like.weight.dtype
    g = g.to(wide)
    if reduction == "none":
        g = g.reshape(like.kept._value.shape)
    elif reduction == "mean":
        g = g / divisor(target, weight, ignore_index, dtypes.by_name(sums)).to(wide)
    return g.expand(like.kept._value.shape).where(like.kept, 0.0)


def along(axis: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a vector over one axis broadcasts from."""
    return tuple(size if a == axis else 1 for a, size in enumerate(shape))
