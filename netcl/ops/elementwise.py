"""Elementwise operations: each is one entry of the primitive table, or a short composition of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netcl.autograd import tape
from netcl.autograd.tape import apply
from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.graph.value import record_literal, record_scalar
from netcl.tensor import Tensor

__all__ = """
    abs add bitwise_and bitwise_not bitwise_or bitwise_xor clamp cos div eq erf exp expm1 floor ge gt le log log1p
    logical_and logical_not logical_or logical_xor lt maximum minimum mul ne neg pow relu rsqrt sigmoid sign sin sqrt
    square sub tanh where
""".split()
METHODS = [name for name in __all__ if name != "where"]  # Tensor.where has another order of arguments
IN_PLACE = [name for name in METHODS if name not in ("maximum", "minimum")]

Number = int | float | bool


def as_tensor_like(number: Any, other: Tensor, floating: bool = False) -> Tensor:
    """A Python number as an operand: its dtype follows the tensor's unless it is of a higher category."""
    if isinstance(number, Tensor):
        return number
    if isinstance(number, np.generic):
        number = plain_number(number)
    dtype = number_dtype(number, other.dtype)
    if floating and dtype.category < 2:
        dtype = dtypes.float32
    if dtype.category == 2:
        number = float(number)
    elif not -128 <= number < 128:
        number = wrapped(number, dtype)
    if tape.in_rule():  # a gradient rule's numbers are part of the formula
        return Tensor._wrap(record_literal(number, dtype, other._value.device))
    return Tensor._wrap(record_scalar(number, dtype, other._value.device))


def plain_number(number: Any) -> Any:
    """A NumPy scalar as a Python number."""
    kind = number.dtype.kind
    return bool(number) if kind == "b" else int(number) if kind in "iu" else float(number)


def wrapped(number: int, dtype: DType) -> int:
    """An integer as the dtype holds it: what lies outside wraps around, as in PyTorch."""
    if not -(2**63) <= number < 2**64:
        raise OverflowError(f"{number} is too big for {dtype}")
    limits = np.iinfo(dtype.numpy)
    return (number - int(limits.min)) % 2 ** (8 * dtype.itemsize) + int(limits.min)


def number_dtype(number: Any, other: DType) -> DType:
    category = 0 if isinstance(number, bool) else 1 if isinstance(number, int) else 2
    if not isinstance(number, (bool, int, float)):
        raise TypeError(
            f"expected a tensor or a number, got {type(number).__name__}; nc.tensor(...) "
            "makes tensors of arrays and lists"
        )
    if category <= other.category:
        return dtypes.float32 if other.category == 2 and other is not dtypes.float64 else other
    return dtypes.CATEGORY_DEFAULT[category]


def literal(number: Number, like: Tensor) -> Tensor:
    """A constant of the formula itself, part of the plan's key (unlike a user's number)."""
    return Tensor._wrap(record_literal(number, like.dtype, like._value.device))


def check_devices(name: str, *tensors: Tensor) -> None:
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{name}: expected tensors, got {type(tensor).__name__}; nc.tensor(...) makes them of arrays, "
                "lists and numbers"
            )
    first = tensors[0]._value.device
    for tensor in tensors:
        if tensor._value.device is not first and first is not None:
            raise RuntimeError(
                f"{name}: expected all tensors on one device, but found {first} and {tensor._value.device}; "
                "move them with .to(device)"
            )


def _check_binary(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    if isinstance(a, Tensor):
        if isinstance(b, Tensor):
            if a._value.device is not b._value.device:
                check_devices(name, a, b)
            return a, b
        return a, as_tensor_like(b, a)
    if not isinstance(b, Tensor):
        raise TypeError(f"{name}: expected at least one tensor, got {type(a).__name__} and {type(b).__name__}")
    return as_tensor_like(a, b), b


def _result_like(result: Tensor, a: Any, b: Any) -> Tensor:
    """A float16 tensor with a Python number stays float16, although the number travels as float32."""
    for tensor, number in ((a, b), (b, a)):
        narrow = isinstance(tensor, Tensor) and tensor.dtype in (dtypes.float16, dtypes.bfloat16)
        if narrow and not isinstance(number, Tensor) and not tensor.shape and result.dtype is dtypes.float32:
            return result.to(tensor.dtype)
    return result


def _binary(name: str, doc: str) -> Callable[[Any, Any], Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        a, b = _check_binary(name, input, other)
        result = apply(name, (a, b))
        return result if a is input and b is other else _result_like(result, input, other)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _comparison(name: str, doc: str) -> Callable[[Any, Any], Tensor]:
    compare = _binary(name, doc)

    def function(input: Any, other: Any) -> Tensor:
        if type(other) is int and isinstance(input, Tensor) and not -128 <= other < 128 and input.dtype.category < 2:
            input = input.to(dtypes.int64)  # by value: the number need not fit the tensor's dtype
            if not -(2**63) <= other < 2**63:
                raise OverflowError(f"{name}: {other} is outside the range of int64")
        elif type(other) is int and other < 0 and isinstance(input, Tensor) and input.dtype is dtypes.uint8:
            input = input.to(dtypes.int64)
        return compare(input, other)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _unary(name: str, doc: str) -> Callable[[Tensor], Tensor]:
    def function(input: Tensor) -> Tensor:
        return apply(name, (input,))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


mul = _binary("mul", "input * other, elementwise, broadcast.")
div = _binary("div", "input / other, elementwise, broadcast; integers give float32.")
maximum = _binary("maximum", "The larger of each pair; NaN wins.")
minimum = _binary("minimum", "The smaller of each pair; NaN wins.")
eq = _comparison("eq", "input == other as a bool tensor.")
ne = _comparison("ne", "input != other as a bool tensor.")
lt = _comparison("lt", "input < other as a bool tensor.")
le = _comparison("le", "input <= other as a bool tensor.")
gt = _comparison("gt", "input > other as a bool tensor.")
ge = _comparison("ge", "input >= other as a bool tensor.")
logical_and = _binary("logical_and", "Both are not zero.")
logical_or = _binary("logical_or", "One is not zero.")
logical_xor = _binary("logical_xor", "Exactly one is not zero.")
_bitwise_and = _binary("bitwise_and", "")
_bitwise_or = _binary("bitwise_or", "")
_bitwise_xor = _binary("bitwise_xor", "")
_add = _binary("add", "")
_sub = _binary("sub", "")
_pow = _binary("pow", "")

neg = _unary("neg", "-input.")
abs = _unary("abs", "The absolute value.")
sign = _unary("sign", "-1, 0 or 1.")
exp = _unary("exp", "e to the input.")
expm1 = _unary("expm1", "exp(input) - 1, exact near 0.")
log = _unary("log", "The natural logarithm.")
log1p = _unary("log1p", "log(1 + input), exact near 0.")
sqrt = _unary("sqrt", "The square root.")
rsqrt = _unary("rsqrt", "1 / sqrt(input).")
sin = _unary("sin", "The sine, of radians.")
cos = _unary("cos", "The cosine, of radians.")
tanh = _unary("tanh", "The hyperbolic tangent.")
sigmoid = _unary("sigmoid", "1 / (1 + exp(-input)).")
erf = _unary("erf", "The error function.")
floor = _unary("floor", "The largest integer not above the input.")
relu = _unary("relu", "max(input, 0); NaN stays NaN.")
logical_not = _unary("logical_not", "The input is zero.")


def add(input: Any, other: Any, alpha: Number = 1) -> Tensor:
    """input + alpha * other, elementwise, broadcast."""
    return _add(input, other if alpha == 1 else other * alpha)


def sub(input: Any, other: Any, alpha: Number = 1) -> Tensor:
    """input - alpha * other, elementwise, broadcast. RuntimeError for bool tensors, as in PyTorch."""
    for operand in (input, other):
        if isinstance(operand, Tensor) and operand.dtype is dtypes.bool_:
            raise RuntimeError("sub: subtraction with a bool tensor is not supported; use logical_xor or logical_not")
    return _sub(input, other if alpha == 1 else other * alpha)


def pow(input: Any, exponent: Any) -> Tensor:
    """input to the power of exponent. Exponents 1, 2, 3, 0.5 and -1 become cheaper operations.

    RuntimeError for an integer tensor and a negative integer exponent, as in PyTorch.
    """
    if isinstance(input, Tensor) and not isinstance(exponent, Tensor):
        if input.dtype.category < 2 and isinstance(exponent, int) and exponent < 0:
            raise RuntimeError(
                "pow: integers to negative integer powers are not allowed; convert the input with .float()"
            )
        if input.dtype.category == 2:
            if exponent == 2:
                return apply("mul", (input, input))
            if exponent == 1:
                return apply("copy", (input,))
            if exponent == 3:
                return input * input * input
            if exponent == 0.5:
                return sqrt(input)
            if exponent == -1:
                return literal(1.0, input) / input
    return _pow(input, exponent)


def square(input: Tensor) -> Tensor:
    """input * input."""
    return apply("mul", (input, input))


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """input where condition is true, else other; all three broadcast. where(condition) is nonzero(as_tuple=True)."""
    if not isinstance(condition, Tensor):
        raise TypeError(f"where: condition must be a bool tensor, got {type(condition).__name__}")
    if input is None or other is None:
        if input is not other:
            raise TypeError("where: expected both input and other, or neither")
        from netcl.ops.masks import nonzero

        return nonzero(condition, as_tuple=True)
    like = input if isinstance(input, Tensor) else other if isinstance(other, Tensor) else None
    if like is None:
        category = max(dtypes.CATEGORY_DEFAULT.index(number_dtype(x, dtypes.bool_)) for x in (input, other))
        dtype = dtypes.CATEGORY_DEFAULT[category]
        a, b = (Tensor._wrap(record_scalar(x, dtype, condition._value.device)) for x in (input, other))
    else:
        a, b = as_tensor_like(input, like), as_tensor_like(other, like)
    check_devices("where", condition, a, b)
    result = apply("where", (condition, a, b))
    return result if a is input and b is other else _result_like(result, input, other)


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """input held between min and max. At the borders the gradient passes, as in PyTorch."""
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of min and max must be given")
    result = input
    for bound, beyond in ((min, lt), (max, gt)):
        if bound is not None:
            limit = as_tensor_like(bound, input)
            result = where(beyond(result, limit), limit, result)
    return result if isinstance(min, Tensor) or isinstance(max, Tensor) else _result_like(result, input, 0)


def bitwise_and(input: Any, other: Any) -> Tensor:
    """The bits that both have (`&`); for bools, both are true."""
    return _bitwise_and(*_bits("bitwise_and", input, other))


def bitwise_or(input: Any, other: Any) -> Tensor:
    """The bits that one has (`|`); for bools, one is true."""
    return _bitwise_or(*_bits("bitwise_or", input, other))


def bitwise_xor(input: Any, other: Any) -> Tensor:
    """The bits that exactly one has (`^`)."""
    return _bitwise_xor(*_bits("bitwise_xor", input, other))


def bitwise_not(input: Tensor) -> Tensor:
    """The bits reversed (`~`); for bools, not."""
    _bits("bitwise_not", input)
    return apply("logical_not" if input.dtype is dtypes.bool_ else "bitwise_not", (input,))


def _bits(name: str, *operands: Any) -> tuple:
    for operand in operands:
        if isinstance(operand, float) or (isinstance(operand, Tensor) and operand.dtype.category == 2):
            raise NotImplementedError(f"{name}: expected integers or bools, got {getattr(operand, 'dtype', 'a float')}")
    return operands


def cast(input: Tensor, dtype: DType) -> Tensor:
    """The same values in another dtype."""
    if not isinstance(dtype, DType):
        raise TypeError(f"dtype must be a netcl dtype such as nc.float32, got {dtype!r}")
    if input.dtype is dtype:
        return input
    if dtype is dtypes.float64 and input._value.device is not None:
        input._value.device.require(dtype)
    return apply("cast", (input,), dtype.name)
