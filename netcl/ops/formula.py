"""Formulas: compositions with a gradient of their own that are recorded as one node.

Such a node keeps only its operands for the way back, and narrow floats are computed in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netcl.autograd.tape import apply_composite
from netcl.core import dtypes
from netcl.graph import primitives, table
from netcl.tensor import Tensor


def formula(
    name: str, body: Callable, gradient: Callable, rule: Callable = table.floating, autocast: str = "widest"
) -> Callable[..., Tensor]:
    """A function of tensors, `arg` (hashable) being the formula's constants.

    body(*operands, [arg]) in operations, with operands in the compute dtype; gradient(g, y, *operands, arg) as for
    every composite; rule: the dtype rule; autocast: what amp does with it.
    """
    infer = rule(name)

    def expand(*operands: Any) -> Any:
        values = [operand for operand in operands if hasattr(operand, "dtype")]
        dtype = infer(values, None)[1]
        wide = dtypes.accumulator(dtype) if dtype.category == 2 else dtype
        tensors = [Tensor._wrap(value).to(wide) for value in values]
        return body(*tensors, *operands[len(values) :]).to(dtype)._value

    def record(*operands: Tensor, arg: Any = None) -> Tensor:
        if not operands:
            raise TypeError(f"{name}: expected a tensor, got nothing")
        return apply_composite(name, operands, arg, gradient)

    primitives.composite(name, infer, expand, autocast)
    return record
