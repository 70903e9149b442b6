"""Clipping gradients: recorded, not run, so that clipping fuses with the optimizer's step and nothing waits."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

from netcl.autograd.tape import no_grad
from netcl.core import dtypes
from netcl.graph.primitives import composite
from netcl.graph.value import record, record_scalar
from netcl.ops.creation import tensor
from netcl.tensor import Tensor

Tensors = Tensor | Iterable[Tensor]


@no_grad()
def get_total_norm(
    tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """The norm of all elements of all tensors together, as one 0-d tensor that is not yet computed.

    error_if_nonfinite reads it, which waits for the device: RuntimeError where it is infinite or NaN. foreach is a
    hint without effect.
    """
    listed = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    order = float(norm_type)
    if not listed:
        return tensor(0.0)
    first = listed[0].device
    by_device: dict[Any, list[Tensor]] = {}
    for t in listed:
        by_device.setdefault(t.device, []).append(t)
    norms = [Tensor._wrap(record("total_norm", [t._value for t in g], order)) for g in by_device.values()]
    total = norms[0]
    if len(norms) > 1:
        total = Tensor._wrap(record("total_norm", [norm.to(first)._value for norm in norms], order))
    if error_if_nonfinite and not abs(total.item()) < inf:
        raise RuntimeError(
            f"The total norm of order {order} for gradients from `parameters` is non-finite, so it cannot be clipped. "
            "To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def _norm_infer(operands: Any, order: float) -> tuple:
    dtype = operands[0].dtype
    for value in operands:
        if value.dtype.category != 2:
            raise RuntimeError(f"total norm: expected floating-point tensors, got {value.dtype}")
        dtype = dtypes.promote(dtype, value.dtype)
    return (), dtype


def _norm(*values_and_order: Any) -> Any:
    *values, order = values_and_order
    result = _norm_infer(values, order)[1]
    wide = dtypes.accumulator(result)
    sizes = [Tensor._wrap(value).to(wide).abs() for value in values if 0 not in value.shape]
    if not sizes:
        return (Tensor._wrap(values[0]).sum() * 0.0).to(result)._value
    if order == inf:
        parts = [x.amax() for x in sizes]
    elif order == -inf:
        parts = [x.amin() for x in sizes]
    elif order == 0.0:
        parts = [(x != 0.0).to(wide).sum() for x in sizes]
    else:
        parts = [(x * x if order == 2.0 else x if order == 1.0 else x.pow(order)).sum() for x in sizes]
    total = parts[0]
    for part in parts[1:]:
        total = total.maximum(part) if order == inf else total.minimum(part) if order == -inf else total + part
    if order == 2.0:
        total = total.sqrt()
    elif order not in (inf, -inf, 0.0, 1.0):
        total = total.pow(1.0 / order)
    return total.to(result)._value


composite("total_norm", _norm_infer, _norm, autocast="float32")


def _gradients(parameters: Tensors) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in listed if p.grad is not None]


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients in place by max_norm / total_norm where that is below 1. Nothing is read back.

    All are scaled together, whatever `foreach` says.
    """
    factors: dict[Any, Tensor] = {}
    for gradient in _gradients(parameters):
        device = gradient.device
        if device not in factors:
            limit = Tensor._wrap(record_scalar(float(max_norm), dtypes.float32, total_norm.device))
            factor = (limit / (total_norm + 1e-6)).clamp(max=1.0)
            factors[device] = factor if total_norm.device is device else factor.to(device)
        gradient._assign((gradient * factors[device]).to(gradient.dtype)._value)


@no_grad()
def clip_grad_norm_(
    parameters: Tensors, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """Scale all gradients in place so that their norm together is at most max_norm; the norm before is returned.

    Nothing waits, unless error_if_nonfinite asks for the norm to be read: RuntimeError where it is infinite or NaN.
    All are scaled together, whatever `foreach` says.

    >>> import netcl as nc
    >>> p = nc.nn.Parameter(nc.zeros(2))
    >>> p.grad = nc.tensor([3.0, 4.0])
    >>> nc.nn.utils.clip_grad_norm_(p, 1.0)
    tensor(5.)
    """
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(_gradients(listed), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(listed, max_norm, total)
    return total


@no_grad()
def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Hold every element of every gradient between -clip_value and clip_value, in place, all together, whatever
    `foreach` says."""
    bound = float(clip_value)
    for gradient in _gradients(parameters):
        gradient._assign(gradient.clamp(-bound, bound)._value)
