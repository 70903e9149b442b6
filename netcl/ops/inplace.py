"""Operations that write to their first tensor: `x.add_(y)`, `x += y`, `x[i] = v`, and those that change its shape.

The in-place form of an operation is the operation and a write of its result; see `netcl.storage` for who sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netcl.autograd import tape
from netcl.core import dtypes
from netcl.ops import creation, indexing, rearrange, shape
from netcl.ops.elementwise import cast, float_power, plain_number
from netcl.storage import check_writable, leave, shares_all, write
from netcl.tensor import Tensor

METHODS = [
    "copy_", "detach_", "fill_", "float_power_", "squeeze_", "swapaxes_", "swapdims_", "t_", "transpose_",
    "unsqueeze_", "zero_",
]  # fmt: skip


def in_place(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """The form of an operation that leaves its result in its first operand, whose shape and dtype stay."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_writable(name, self)
        return store(name, self, function(tape._alias(self), *args, **kwargs))

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"In place: {function.__doc__ or ''}"
    return method


def store(name: str, tensor: Tensor, result: Tensor) -> Tensor:
    """Write a result to a tensor. RuntimeError where its shape or the category of its dtype does not fit."""
    if result._value.shape != tensor._value.shape:
        raise RuntimeError(
            f"{name}: output with shape {list(tensor.shape)} doesn't match the broadcast shape {list(result.shape)}; "
            "in-place operations keep the shape of the tensor"
        )
    if result.dtype is not tensor.dtype:
        if result.dtype.category > tensor.dtype.category:
            raise RuntimeError(
                f"{name}: result type {result.dtype} can't be cast to the desired output type {tensor.dtype}; "
                "convert the tensor first"
            )
        result = cast(result, tensor.dtype)
    return write(tensor, result)


# ---- values ------------------------------------------------------------------------------------------------------


def copy_(input: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """The elements of src, broadcast to input's shape, in input's dtype and on its device. Returns input.

    src is a tensor or a number. `non_blocking` changes nothing: copies are always enqueued without waiting.
    """
    if isinstance(src, (int, float, np.generic)):
        return fill_(input, src)
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_: expected a Tensor, got {type(src).__name__}; wrap it in nc.tensor(...)")
    check_writable("copy_", input)
    if shares_all(input, src):
        return input
    return write(input, _fitted("copy_", input, src))


def _fitted(name: str, target: Tensor, source: Tensor) -> Tensor:
    """source in the shape, dtype and device of target."""
    if source._value.device is not target._value.device:
        source = source.to(target.device)
    if source._value.shape != target._value.shape:
        try:
            source = source.expand(target._value.shape)
        except RuntimeError:
            raise RuntimeError(
                f"{name}: elements of shape {list(source.shape)} can't be broadcast to shape {list(target.shape)}"
            ) from None
    fitted = cast(source, target.dtype)
    graph = fitted is source and source._tracked and tape.is_grad_enabled()
    return tape.apply("overwrite", (tape._alias(target), source)) if graph else fitted  # a place of its own there


def fill_(input: Tensor, value: Any) -> Tensor:
    """Every element becomes value, a number or a 0-d tensor. Returns input."""
    check_writable("fill_", input)
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(f"fill_: expected a number or a 0-d tensor, got shape {list(value.shape)}; use copy_")
    if not isinstance(value, Tensor):
        value = creation.full((), value, input.dtype, input.device)
    return write(input, _fitted("fill_", input, value))


def float_power_(input: Tensor, exponent: Any) -> Tensor:
    """input becomes input to the power of exponent. RuntimeError unless it is float64, as the result is."""
    if input.dtype is not dtypes.float64:
        raise RuntimeError(f"float_power_: the result is float64, the tensor {input.dtype}; convert it with .double()")
    return in_place(float_power, "float_power_")(input, exponent)


def zero_(input: Tensor) -> Tensor:
    """Every element becomes 0. Returns input."""
    return fill_(input, 0)


def setitem(input: Tensor, index: Any, value: Any) -> None:
    """input[index] = value: a number, a tensor or an array that broadcasts to what the index chooses."""
    if not isinstance(value, Tensor):
        value = _as_element(value, input)
    if not indexing.is_basic(index):
        check_writable("x[index] = value", input)
        value = cast(value.to(input.device), input.dtype)
        write(input, indexing.setitem_value(tape._alias(input), index, value))
        return
    target = indexing.getitem(input, index)
    check_writable("x[index] = value", target if input._node is not None or not input._tracked else input)
    if shares_all(target, value):
        return
    extra = value.ndim - target.ndim
    if extra > 0 and all(size == 1 for size in value.shape[:extra]):  # leading sizes of 1 are dropped, as in NumPy
        value = value.reshape(value.shape[extra:])
    write(target, _fitted("x[index] = value", target, value))


def _as_element(value: Any, like: Tensor) -> Tensor:
    if isinstance(value, np.generic):
        value = plain_number(value)
    if isinstance(value, (bool, int, float)):
        if like.dtype is dtypes.float16:  # rounded, to infinity too, where fill_ raises
            with np.errstate(over="ignore"):
                value = float(np.float16(value))
        return creation.full((), value, like.dtype, like.device)
    return creation.tensor(value, like.dtype, like.device)


# ---- shapes ------------------------------------------------------------------------------------------------------


def _become(input: Tensor, view: Tensor) -> Tensor:
    """input is what the view of it is, and shares elements with the same tensors as before."""
    storage, chain, family = view._storage, view._chain, view._family
    leave(view)
    leave(input)
    input._value = view._value
    if input._node is not None:
        input._tracked, input._node, input._output = view._tracked, view._node, view._output
    if storage is not None:
        input._storage, input._chain, input._family = storage, chain, family
        storage.add(input)
    return input


def _reshaping(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self._tracked and self._node is None and tape.is_grad_enabled():
            check_writable(name, self)
        return _become(self, function(self, *args, **kwargs))

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"In place: {function.__doc__}"
    return method


squeeze_ = _reshaping(shape.squeeze, "squeeze_")
unsqueeze_ = _reshaping(shape.unsqueeze, "unsqueeze_")
transpose_ = _reshaping(shape.transpose, "transpose_")
swapdims_ = _reshaping(shape.transpose, "swapdims_")
swapaxes_ = _reshaping(rearrange.swapaxes, "swapaxes_")
t_ = _reshaping(shape.t, "t_")


def detach_(input: Tensor) -> Tensor:
    """The tensor becomes a leaf that requires no gradient. Returns input. RuntimeError for a view: use detach()."""
    if input._chain:
        raise RuntimeError("detach_: a view can't be detached in place; use detach()")
    input._tracked, input._node, input._output = False, None, 0
    return input


OPERATORS = {
    "__iadd__": "add_", "__isub__": "sub_", "__imul__": "mul_", "__itruediv__": "div_", "__ipow__": "pow_",
    "__iand__": "bitwise_and_", "__ior__": "bitwise_or_", "__ixor__": "bitwise_xor_", "__ifloordiv__": "floor_divide_",
    "__imod__": "remainder_", "__ilshift__": "bitwise_left_shift_", "__irshift__": "bitwise_right_shift_",
}  # fmt: skip
