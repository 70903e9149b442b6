"""Padding modules: each is F.pad in one mode over the last one, two or three dimensions."""

from __future__ import annotations

from typing import Any

from netcl.nn.module import Module
from netcl.ops.padding import pad
from netcl.tensor import Tensor


class _Pad(Module):
    """padding: one width for all sides, or (before, after) of the last dimension, then of the one before it, ..."""

    mode = "constant"
    dims = 1
    value: float | None = None

    def __init__(self, padding: Any) -> None:
        super().__init__()
        count = 2 * self.dims
        self.padding = (padding,) * count if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != count:
            raise ValueError(f"{type(self).__name__}: expected a number or {count} of them, got {padding}")

    def forward(self, input: Tensor) -> Tensor:
        if self.mode == "circular" and input.ndim not in (self.dims + 1, self.dims + 2):
            raise ValueError(
                f"{type(self).__name__}: expected {self.dims + 1}D or {self.dims + 2}D input, "
                f"got shape {list(input.shape)}"
            )
        return pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    """The last dimension with `value` before and after it."""


class ConstantPad2d(_ConstantPad):
    """The last two dimensions with `value` around them."""

    dims = 2


class ConstantPad3d(_ConstantPad):
    """The last three dimensions with `value` around them."""

    dims = 3


class ZeroPad1d(_ZeroPad):
    """The last dimension with zeros before and after it."""


class ZeroPad2d(_ZeroPad):
    """The last two dimensions with zeros around them."""

    dims = 2


class ZeroPad3d(_ZeroPad):
    """The last three dimensions with zeros around them."""

    dims = 3


class ReflectionPad1d(_Pad):
    """The last dimension mirrored at its first and last elements."""

    mode = "reflect"


class ReflectionPad2d(_Pad):
    """The last two dimensions mirrored at their edges.

    >>> import netcl as nc
    >>> nc.nn.ReflectionPad2d(1)(nc.zeros(1, 4, 4)).shape
    netcl.Size([1, 6, 6])
    """

    mode = "reflect"
    dims = 2


class ReflectionPad3d(_Pad):
    """The last three dimensions mirrored at their edges."""

    mode = "reflect"
    dims = 3


class ReplicationPad1d(_Pad):
    """The last dimension with its first and last elements repeated."""

    mode = "replicate"


class ReplicationPad2d(_Pad):
    """The last two dimensions with their edges repeated."""

    mode = "replicate"
    dims = 2


class ReplicationPad3d(_Pad):
    """The last three dimensions with their edges repeated."""

    mode = "replicate"
    dims = 3


class CircularPad1d(_Pad):
    """The last dimension continued from its other end."""

    mode = "circular"


class CircularPad2d(_Pad):
    """The last two dimensions continued from their other ends."""

    mode = "circular"
    dims = 2


class CircularPad3d(_Pad):
    """The last three dimensions continued from their other ends."""

    mode = "circular"
    dims = 3


__all__ = [
    f"{kind}Pad{dims}d" for kind in ("Constant", "Zero", "Reflection", "Replication", "Circular") for dims in (1, 2, 3)
]
