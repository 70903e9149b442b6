"""What every loss does with its arguments: the reduction, PyTorch's deprecated flags, tensors and their sizes."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.core import dtypes
from netcl.core.warning import warn
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


def legacy_reduction(size_average: Any, reduce: Any, reduction: Any) -> Any:
    """PyTorch's deprecated pair of flags. A text in the first one's place is meant as the reduction."""
    if isinstance(size_average, str):
        return size_average
    if size_average is None and reduce is None:
        return reduction
    averaged, reduced = (flag is None or bool(flag) for flag in (size_average, reduce))
    found = "none" if not reduced else "mean" if averaged else "sum"
    warn(f"size_average and reduce are deprecated; use reduction={found!r} instead")
    return found


def check_tensors(name: str, **tensors: Any) -> None:
    """TypeError for what is no tensor, RuntimeError for tensors on different devices."""
    for argument, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: {argument} must be a Tensor, got {type(tensor).__name__}")
    check_devices(name, *tensors.values())


def check_floating(name: str, *tensors: Tensor) -> None:
    """NotImplementedError (which is a RuntimeError) unless a floating dtype comes out of the tensors' together."""
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = dtypes.promote(dtype, tensor.dtype)
    if dtype.category != 2:
        raise NotImplementedError(
            f"{name}: expected floating-point tensors, got {' and '.join(str(t.dtype) for t in tensors)}; "
            "convert them with .float()"
        )


def warn_of_broadcast(name: str, input: Tensor, target: Tensor) -> None:
    """PyTorch's warning where input and target differ in shape."""
    if input._value.shape != target._value.shape:
        warn(
            f"{name}: target has shape {list(target.shape)}, input {list(input.shape)}; they are broadcast, which is "
            "rarely meant. Give both the same shape."
        )


def check_same_shape(name: str, input: Tensor, target: Tensor) -> None:
    """ValueError where input and target differ in shape."""
    if input._value.shape != target._value.shape:
        raise ValueError(
            f"{name}: target has shape {list(target.shape)}, input {list(input.shape)}; they must be equal"
        )


def widest(*tensors: Any) -> Any:
    """The dtype that a loss of these tensors is computed in: float32, or float64 where one of them is."""
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = dtypes.promote(dtype, tensor.dtype)
    return dtypes.accumulator(dtype) if dtype.category == 2 else dtypes.float32


def exact(x: Tensor) -> Tensor:
    """x in float64 where the device has it and its code is that for CPUs, so that a row's sum loses no digits; else x.

    For sums whose terms cancel, as in a cosine. Kernels for CPUs wait for memory, not for arithmetic.
    """
    return x.to(exact_dtype(x))


def exact_dtype(x: Tensor) -> Any:
    """The dtype that `exact` gives."""
    device = x._value.device
    return dtypes.float64 if device.target == "cpu" and device.capabilities.fp64 else x.dtype


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The mean, the sum, or the losses themselves; "batchmean" divides the sum by the first size."""
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    return total / literal(float(count_of(losses._value.shape, reduction)), total)


def count_of(shape: tuple[int, ...], reduction: str) -> int:
    """What the mean divides by."""
    return prod(shape) if reduction == "mean" else shape[0] if shape else 1


def weighted(losses: Tensor, weight: Tensor, reduction: str) -> Tensor:
    """Losses times weights; the mean divides by the sum of the weights."""
    losses = losses * weight.to(losses.dtype)
    if reduction != "mean":
        return reduced(losses, reduction)
    return losses.sum() / weight.to(losses.dtype).sum()
