"""Losses that look at each element by itself: a formula and its slopes make the loss, its gradient and both kernels.

The loss is one record, and so is its gradient; both become one kernel where both are pending. The slopes are written
in operations, so they have derivatives themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from netcl.autograd.tape import apply, apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.graph.value import record_scalar
from netcl.ops.elementwise import literal
from netcl.ops.losses.arguments import count_of, reduced
from netcl.tensor import Tensor


class Pointwise:
    """A loss of each element: `value(*operands)`, and `slopes(*operands)`, its derivative by each tensor.

    Operands are the tensors, in float32 or wider, and then the numbers (a margin, a threshold, the site of a check),
    which are kernel arguments: another number needs no new kernel. `own`: the loss has the first tensor's dtype where
    that is floating, else what all promote to.
    """

    def __init__(
        self, name: str, value: Callable[..., Tensor], slopes: Callable[..., tuple], tensors: int = 2, own: bool = False
    ):
        self.name = name
        self.value = value
        self.slopes = slopes
        self.tensors = tensors
        self.own = own
        primitives.composite(name, self._infer, self._body, autocast="float32")
        self.rule = self._rule()

    def __call__(self, tensors: tuple[Tensor, ...], reduction: str, numbers: tuple[Any, ...] = ()) -> Tensor:
        """reduction: "mean", "sum", "batchmean", "none" (in the tensors' dtype), or "wide" (in float32 or wider)."""
        device = tensors[0]._value.device
        wide = _wide(tensors)
        scalars = [
            n if isinstance(n, Tensor) else Tensor._wrap(record_scalar(float(n), wide, device)) for n in numbers
        ]
        return apply_composite(self.name, (*tensors, *scalars), reduction, self.rule)

    def _infer(self, operands: Any, reduction: str) -> tuple:
        tensors = operands[: self.tensors]
        shape = primitives.broadcast_shapes(self.name, [t.shape for t in tensors])
        dtype = self._dtype(tensors)
        if dtype.category != 2:
            raise NotImplementedError(
                f"{self.name}: expected floating-point tensors, got {' and '.join(str(t.dtype) for t in tensors)}; "
                "convert them with .float()"
            )
        if reduction == "none":
            return shape, dtype
        return shape if reduction == "wide" else (), dtypes.accumulator(dtype)

    def _dtype(self, tensors: Any) -> Any:
        given = [t.dtype for t in tensors]
        return given[0] if self.own and given[0].category == 2 else reduce(dtypes.promote, given)

    def _body(self, *operands_and_reduction: Any) -> Any:
        *values, reduction = operands_and_reduction
        operands = [Tensor._wrap(v) for v in values]
        dtype = self._dtype(operands[: self.tensors])
        losses = self.value(*self._widened(operands))
        if reduction == "none":
            return losses.to(dtype)._value
        whole = losses if reduction == "wide" else reduced(losses, reduction)
        return whole.to(dtypes.accumulator(dtype))._value

    def _widened(self, operands: list[Tensor]) -> list[Tensor]:
        tensors = operands[: self.tensors]
        wide = _wide(tensors)
        shape = primitives.broadcast_shapes(self.name, [t._value.shape for t in tensors])
        return [*(t.to(wide).expand(*shape) for t in tensors), *operands[self.tensors :]]

    def _rule(self) -> Callable[..., tuple]:
        def rule(g: Tensor, loss: Any, *rest: Any) -> tuple:
            *operands, reduction = rest
            widened = self._widened(operands)
            scale = g.to(widened[0].dtype)
            if reduction in ("mean", "batchmean"):
                scale = scale / literal(float(count_of(widened[0]._value.shape, reduction)), scale)
            changes = [slope * scale for slope in self.slopes(*widened)]
            return (*changes, *(None for _ in operands[self.tensors :]))

        return rule


def _wide(tensors: Any) -> Any:
    return dtypes.accumulator(reduce(dtypes.promote, [t.dtype for t in tensors]))


def of_error(
    name: str, value: Callable[..., Tensor], slope: Callable[..., Tensor], own: bool = False
) -> Pointwise:
    """A loss of the error e = input - target: value(e, *numbers), and slope(e, *numbers), its derivative."""

    def slopes(x: Tensor, y: Tensor, *numbers: Tensor) -> tuple:
        found = slope(x - y, *numbers)
        return found, -found

    return Pointwise(name, lambda x, y, *numbers: value(x - y, *numbers), slopes, own=own)


# ---- formulas that several losses share --------------------------------------------------------------------------


def checked(x: Tensor, holds: Tensor, site: Tensor) -> Tensor:
    """x; where `holds` is false the next read of a value raises the site's error. Inside formulas only."""
    return apply("check", (x, holds, site))


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), exact at any magnitude. Its derivative is `logistic`; inside rules only."""
    return x.maximum(0.0) + (-x.abs()).exp().log1p()


def logistic(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)) without overflow. Near 1 it is 1 - the rest, which is exact."""
    rest = logistic_of_minus(x)
    return (1.0 - rest).where(x >= 0, rest)


def logistic_of_minus(x: Tensor) -> Tensor:
    """1 / (1 + exp(|x|)), by exp of what is never above 0. abs() would have the slope 0 at 0."""
    small = (-x).where(x >= 0, x).exp()
    return small / (small + 1.0)
