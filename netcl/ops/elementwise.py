"""Elementwise operations: each is one entry of the primitive table, or a short composition of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from netcl.autograd import tape
from netcl.autograd.autocast import in_float32
from netcl.autograd.tape import apply
from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.graph.live import as_float
from netcl.graph.value import record_literal, record_scalar
from netcl.tensor import Tensor

__all__ = """
    abs absolute acos acosh add addcdiv addcmul arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan
    atan2 atanh cos cosh deg2rad eq erf erfc exp exp2 expm1 float_power ge greater greater_equal gt hypot ldexp le lerp
    less less_equal log log10 log1p log2 logical_and logical_not logical_or logical_xor lt maximum minimum mul multiply
    ne neg negative not_equal positive pow rad2deg reciprocal relu rsqrt rsub sgn sigmoid sign sin sinh sqrt square sub
    subtract tan tanh where
""".split()
METHODS = [name for name in __all__ if name not in ("rsub", "where")]  # Tensor.where has another order of arguments
IN_PLACE = """
    abs absolute acos acosh add addcdiv addcmul arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan
    atan2 atanh cos cosh deg2rad eq erf erfc exp exp2 expm1 ge greater greater_equal gt hypot ldexp le lerp
    less less_equal log log10 log1p log2 logical_and logical_not logical_or logical_xor lt mul multiply ne neg negative
    not_equal pow rad2deg reciprocal relu rsqrt sgn sigmoid sign sin sinh sqrt square sub subtract tan tanh
""".split()

Number = int | float | bool


def as_tensor_like(number: Any, other: Tensor, floating: bool = False) -> Tensor:
    """A Python number as an operand: its dtype follows the tensor's unless it is of a higher category."""
    if isinstance(number, Tensor):
        return number
    if isinstance(number, np.generic):
        number = plain_number(number)
    if isinstance(number, np.ndarray):
        return Tensor.from_host(number, other._value.device)
    dtype = number_dtype(number, other.dtype)
    if floating and dtype.category < 2:
        dtype = dtypes.default_float
    if dtype.category == 2:
        number = as_float(number)
    elif not -128 <= number < 128 or (number < 0 and dtype is dtypes.uint8):
        number = wrapped(number, dtype)
    if tape.in_rule():  # a gradient rule's numbers are part of the formula
        return Tensor._wrap(record_literal(number, dtype, other._value.device))
    return Tensor._wrap(record_scalar(number, dtype, other._value.device))


def plain_number(number: Any) -> Any:
    """A NumPy scalar as a Python number."""
    kind = number.dtype.kind
    return bool(number) if kind == "b" else int(number) if kind in "iu" else float(number)


_LARGEST = {
    dtype: float(ml_dtypes.finfo(dtype.numpy).max) for dtype in (dtypes.float16, dtypes.bfloat16, dtypes.float32)
}


def fitting(name: str, number: Any, dtype: DType) -> Any:
    """A number as an element of dtype; RuntimeError where it can't be one. In uint8 negative numbers wrap around."""
    if not isinstance(dtype, DType):
        raise TypeError(f"dtype must be a netcl dtype such as nc.float32, got {dtype!r}")
    if dtype is dtypes.bool_:
        return bool(number)
    if dtype.category == 2:
        number, largest = float(number), _LARGEST.get(dtype, math.inf)
        if -largest <= number <= largest or not math.isfinite(number):
            return number
        raise RuntimeError(f"{name}: {number} does not fit {dtype}, whose range is {-largest} to {largest}")
    limits = np.iinfo(dtype.numpy)
    if dtype is dtypes.uint8 and -limits.max <= number < 0:
        number = int(number) % 256
    if number != number or not limits.min <= number <= limits.max:
        raise RuntimeError(f"{name}: {number} does not fit {dtype}, whose range is {limits.min} to {limits.max}")
    return int(number)


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
    return dtypes.category_default(category)


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


def check_binary(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    if isinstance(a, Tensor):
        if isinstance(b, Tensor):
            if a._value.device is not b._value.device:
                check_devices(name, a, b)
            return a, b
        return a, as_tensor_like(b, a)
    if not isinstance(b, Tensor):
        raise TypeError(f"{name}: expected at least one tensor, got {type(a).__name__} and {type(b).__name__}")
    return as_tensor_like(a, b), b


def result_like(result: Tensor, a: Any, b: Any) -> Tensor:
    """A float16 tensor with a Python number stays float16, although the number travels as float32."""
    for tensor, number in ((a, b), (b, a)):
        narrow = isinstance(tensor, Tensor) and tensor.dtype in (dtypes.float16, dtypes.bfloat16)
        if narrow and not isinstance(number, Tensor) and not tensor.shape and result.dtype is dtypes.float32:
            return result.to(tensor.dtype)
    return result


def binary(name: str, doc: str) -> Callable[[Any, Any], Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        a, b = check_binary(name, input, other)
        result = apply(name, (a, b))
        return result if a is input and b is other else result_like(result, input, other)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def comparison(name: str, doc: str) -> Callable[[Any, Any], Tensor]:
    compare = binary(name, doc)

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


def unary(name: str, doc: str) -> Callable[[Tensor], Tensor]:
    def function(input: Tensor) -> Tensor:
        return apply(name, (input,))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


mul = binary("mul", "input * other, elementwise, broadcast.")
maximum = binary("maximum", "The larger of each pair; NaN wins.")
minimum = binary("minimum", "The smaller of each pair; NaN wins.")
eq = comparison("eq", "input == other as a bool tensor.")
ne = comparison("ne", "input != other as a bool tensor.")
lt = comparison("lt", "input < other as a bool tensor.")
le = comparison("le", "input <= other as a bool tensor.")
gt = comparison("gt", "input > other as a bool tensor.")
ge = comparison("ge", "input >= other as a bool tensor.")
logical_and = binary("logical_and", "Both are not zero.")
logical_or = binary("logical_or", "One is not zero.")
logical_xor = binary("logical_xor", "Exactly one is not zero.")
atan2 = binary("atan2", "The angle in radians of the point (other, input), from -pi to pi.")
hypot = binary("hypot", "sqrt(input ** 2 + other ** 2), without overflow on the way. RuntimeError for integers.")
_add = binary("add", "")
_sub = binary("sub", "")
_pow = binary("pow", "")

neg = unary("neg", "-input.")
abs = unary("abs", "The absolute value.")
sign = unary("sign", "-1, 0 or 1.")
exp = unary("exp", "e to the input.")
quick_exp = unary("quick_exp", "exp as the device's library has it: for rows of which exponentials are summed.")
expm1 = unary("expm1", "exp(input) - 1, exact near 0.")
log = unary("log", "The natural logarithm.")
log1p = unary("log1p", "log(1 + input), exact near 0.")
sqrt = unary("sqrt", "The square root.")
rsqrt = unary("rsqrt", "1 / sqrt(input).")
reciprocal = unary("reciprocal", "1 / input.")
exp2 = unary("exp2", "2 to the input.")
log2 = unary("log2", "The logarithm to the base 2.")
log10 = unary("log10", "The logarithm to the base 10.")
tan = unary("tan", "The tangent, of radians.")
asin = unary("asin", "The angle in radians with this sine; NaN outside [-1, 1].")
acos = unary("acos", "The angle in radians with this cosine; NaN outside [-1, 1].")
atan = unary("atan", "The angle in radians with this tangent.")
sinh = unary("sinh", "The hyperbolic sine.")
cosh = unary("cosh", "The hyperbolic cosine.")
asinh = unary("asinh", "The inverse hyperbolic sine.")
acosh = unary("acosh", "The inverse hyperbolic cosine; NaN below 1.")
atanh = unary("atanh", "The inverse hyperbolic tangent; NaN outside [-1, 1].")
sin = unary("sin", "The sine, of radians.")
cos = unary("cos", "The cosine, of radians.")
tanh = unary("tanh", "The hyperbolic tangent.")
sigmoid = unary("sigmoid", "1 / (1 + exp(-input)).")
erf = unary("erf", "The error function.")
erfc = unary("erfc", "1 - erf(input), exact where that is small.")
relu = unary("relu", "max(input, 0); NaN stays NaN.")
logical_not = unary("logical_not", "The input is zero.")


def add(input: Any, other: Any, alpha: Number = 1) -> Tensor:
    """input + alpha * other, elementwise, broadcast. RuntimeError for integers with an alpha that is none."""
    return _add(input, other if alpha == 1 else _scaled("add", "alpha", input, other, alpha))


def _scaled(name: str, word: str, input: Any, other: Any, factor: Number) -> Any:
    """other * factor, which has no say in the result's dtype."""
    categories = [operand.dtype.category for operand in (input, other) if isinstance(operand, Tensor)]
    if isinstance(factor, float) and not isinstance(input, float) and max(categories, default=2) < 2:
        raise RuntimeError(f"{name}: for integer tensors {word} must be an integer, got {factor}")
    if isinstance(other, Tensor) and isinstance(input, Tensor) and other.dtype.category < input.dtype.category:
        other = cast(other, input.dtype)  # before it becomes float32, or int64
    product = other * factor
    return cast(product, dtypes.bool_) if isinstance(other, Tensor) and not max(categories) else product


def sub(input: Any, other: Any, alpha: Number = 1) -> Tensor:
    """input - alpha * other, elementwise, broadcast. RuntimeError for bools, as in PyTorch."""
    for operand in (input, other):
        if operand is True or operand is False or (isinstance(operand, Tensor) and operand.dtype is dtypes.bool_):
            raise RuntimeError("sub: subtraction with bools is not supported; use logical_xor or logical_not")
    return _sub(input, other if alpha == 1 else _scaled("sub", "alpha", input, other, alpha))


def rsub(input: Any, other: Any, alpha: Number = 1) -> Tensor:
    """other - alpha * input."""
    return sub(other, input, alpha)


def pow(input: Any, exponent: Any) -> Tensor:
    """input to the power of exponent. Exponents 1, 2, 3, 0.5 and -1 become cheaper operations.

    RuntimeError for an integer tensor and a negative integer exponent, as in PyTorch.
    """
    if isinstance(input, Tensor) and not isinstance(exponent, (Tensor, np.ndarray)):
        input = in_float32(input)  # the cheaper operations would not see to it
        if input.dtype.category < 2 and isinstance(exponent, int) and exponent < 0:
            raise RuntimeError(
                "pow: integers to negative integer powers are not allowed; convert the input with .float()"
            )
        if exponent == 2 and input.dtype.category == (2 if isinstance(exponent, float) else input.dtype.category or 1):
            return apply("mul", (input, input))
        if input.dtype.category == 2:
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
    """input * input; int64 for bool tensors."""
    boolean = isinstance(input, Tensor) and input.dtype is dtypes.bool_
    input = cast(input, dtypes.int64) if boolean else in_float32(input)
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
        dtype = dtypes.category_default(max(number_dtype(x, dtypes.bool_).category for x in (input, other)))
        a, b = (Tensor._wrap(record_scalar(x, dtype, condition._value.device)) for x in (input, other))
    else:
        a, b = as_tensor_like(input, like), as_tensor_like(other, like)
    check_devices("where", condition, a, b)
    result = apply("where", (condition, a, b))
    return result if a is input and b is other else result_like(result, input, other)


def positive(input: Tensor) -> Tensor:
    """The input itself (`+input`). RuntimeError for bool tensors."""
    if input.dtype is dtypes.bool_:
        raise RuntimeError("positive: not defined for bool tensors")
    return input


def float_power(input: Any, exponent: Any) -> Tensor:
    """input to the power of exponent, in float64 whatever the dtypes are."""
    input, exponent = (
        cast(operand, dtypes.float64) if isinstance(operand, Tensor) else operand for operand in (input, exponent)
    )
    return pow(input, exponent)


def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2 ** other, in input's dtype where that is a floating-point one and other's is not."""
    product = mul(input, exp2(other))
    return cast(product, input.dtype) if other.dtype.category < 2 == input.dtype.category else product


def deg2rad(input: Tensor) -> Tensor:
    """Degrees as radians."""
    return input * (math.pi / 180)


def rad2deg(input: Tensor) -> Tensor:
    """Radians as degrees."""
    return input * (180 / math.pi)


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input), for a number or a tensor as weight; exact at both ends.

    RuntimeError for different dtypes.
    """
    for name, operand in (("end", end), ("weight", weight)):
        if isinstance(operand, Tensor) and operand.dtype is not input.dtype:
            raise RuntimeError(f"lerp: expected {input.dtype} for {name}, as the input has, but got {operand.dtype}")
    width = end - input
    if not isinstance(weight, Tensor):
        return input + width * weight if -0.5 < weight < 0.5 else end - width * (1 - weight)
    return where(abs(weight) < 0.5, input + width * weight, end - width * (1 - weight))


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """input + value * tensor1 * tensor2. RuntimeError for integers with a value that is none."""
    product = mul(tensor1, tensor2)
    return add(input, product if value == 1 else _scaled("addcmul", "value", input, product, value))


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """input + value * tensor1 / tensor2. RuntimeError for integers, as in PyTorch."""
    if tensor1.dtype.category < 2 and tensor2.dtype.category < 2:
        raise RuntimeError("addcdiv: integers are not divided here; convert them with .float(), or use addcmul")
    quotient = apply("div", (tensor1, tensor2))
    return add(input, quotient if value == 1 else quotient * value)


def cast(input: Tensor, dtype: DType) -> Tensor:
    """The same values in another dtype."""
    dtype = dtypes.of(dtype)
    if not isinstance(dtype, DType):
        raise TypeError(f"dtype must be a netcl dtype such as nc.float32, got {dtype!r}")
    if input.dtype is dtype:
        return input
    if dtype is dtypes.float64 and input._value.device is not None:
        input._value.device.require(dtype)
    return apply("cast", (input,), dtype.name)


absolute = abs
arccos, arccosh, arcsin, arcsinh, arctan, arctanh = acos, acosh, asin, asinh, atan, atanh
arctan2 = atan2
greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne
multiply, negative, subtract = mul, neg, sub
sgn = sign  # they differ for complex numbers only
