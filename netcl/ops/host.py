"""What NumPy's LAPACK does on the host: factorisations of matrices.

The operands are read (which waits for the device), the results are copied back. Everything around it, gradients
included, is written in operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netcl.autograd import tape
from netcl.core import dtypes
from netcl.graph.batching import Batched, hide, levels_of
from netcl.graph.primitives import Primitive, register
from netcl.graph.transfer import to_host, upload
from netcl.tensor import Tensor


class LinAlgError(RuntimeError):
    """A matrix has no such factorisation: it is singular, not positive definite, or the iteration did not converge."""


def host_operation(name: str) -> None:
    """A name for the gradient graph; the operation itself is done at once, by `on_host`."""
    register(Primitive(name, "host", lambda operands, arg: (operands[0].shape, operands[0].dtype)))


def on_host(op: str, function: Callable, operands: Sequence[Tensor], rule: Callable | None, arg: Any = None) -> Any:
    """function(*arrays) as tensors on the operands' device, with the rule as its gradient: a tuple for a tuple.

    LinAlgError where NumPy raises its own.
    """
    levels = sorted({level for operand in operands for level in levels_of(operand._value)})
    try:
        with np.errstate(all="ignore"):
            found = function(*_arrays(operands, levels))
    except np.linalg.LinAlgError as error:
        raise LinAlgError(
            f"{op.replace('_', '.', 1)}: {str(error)[:1].lower()}{str(error)[1:]} (shape {list(operands[0].shape)})"
        ) from None
    several = isinstance(found, tuple)
    device = operands[0]._value.device
    values = [upload(np.array(r, order="C"), device) for r in (found if several else (found,))]
    for level in levels:
        values = [hide(value, level) for value in values]
    results = tuple(map(Tensor._wrap, values))
    if rule is not None and tape.is_grad_enabled() and any(operand._tracked for operand in operands):
        tape._connect(op, rule, operands, arg, results)
    return results if several else results[0]


def _arrays(operands: Sequence[Tensor], levels: list[int]) -> list[np.ndarray]:
    """The operands on the host. Inside maps all samples are there, along axes in front: NumPy takes batches of
    matrices."""
    rank = max(operand.ndim for operand in operands)
    arrays = []
    for operand in operands:
        value, sizes = operand._value, levels_of(operand._value)
        while isinstance(value, Batched):
            value = value.inner
        array = to_host(value)
        if levels:
            front = [sizes.get(level, 1) for level in levels]
            array = array.reshape(*front, *[1] * (rank - operand.ndim), *operand.shape)
        arrays.append(array)
    return arrays


def check_matrices(name: str, input: Any, square: bool = True) -> None:
    """RuntimeError unless input is a batch of (square) matrices of float32 or float64."""
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}: expected a Tensor, got {type(input).__name__}; nc.tensor(...) makes one")
    shape = list(input.shape)
    if len(shape) < 2:
        raise RuntimeError(f"{name}: expected matrices (at least 2 dimensions), got shape {shape}")
    if square and shape[-1] != shape[-2]:
        raise RuntimeError(f"{name}: expected square matrices, got shape {shape}")
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}: expected float32 or float64, got {input.dtype}; convert it with .float()")
