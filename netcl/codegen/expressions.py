"""OpenCL text for values of one lane or of a vector of lanes: types, constants, conversions, loads and stores."""

from __future__ import annotations

import math

from netcl.core import dtypes
from netcl.core.dtypes import DType

NARROW = (dtypes.float16, dtypes.bfloat16)  # in registers they are float32
_MASK_OF_SIZE = {1: "char", 2: "short", 4: "int", 8: "long"}
_COMPUTE_SIZE = {"uchar": 1, "char": 1, "short": 2, "int": 4, "long": 8, "float": 4, "double": 8}


def vector_type(scalar: str, lanes: int) -> str:
    return scalar if lanes == 1 else f"{scalar}{lanes}"


def compute_type(dtype: DType, lanes: int) -> str:
    return vector_type(dtype.compute, lanes)


def number(value: float | int | bool, dtype: DType) -> str:
    """A constant in the compute type of dtype."""
    if dtype.category < 2:
        if dtype is dtypes.int64 and value == -(2**63):
            return "LONG_MIN"
        suffix = "L" if dtype is dtypes.int64 else ""
        return f"(({dtype.compute}){int(value)}{suffix})" if value < 0 else f"{int(value)}{suffix}"
    if math.isnan(value):
        return f"(({dtype.compute})NAN)"
    if math.isinf(value):
        return f"(({dtype.compute}){'-' if value < 0 else ''}INFINITY)"
    text = float(value).hex() if dtype.compute == "double" else _float_text(float(value))
    return f"({text})" if value < 0 or text.startswith("-") else text


def _float_text(value: float) -> str:
    import numpy as np

    with np.errstate(over="ignore"):
        rounded = np.float32(value)
    if np.isinf(rounded):
        return "INFINITY" if value > 0 else "-INFINITY"
    return float(rounded).hex() + "f"


def compare(operator: str, left: str, right: str, dtype: DType, lanes: int) -> str:
    """A comparison as 0 or 1 in int lanes."""
    if lanes == 1:
        return f"({left} {operator} {right})"
    mask = f"({left} {operator} {right})"
    if _COMPUTE_SIZE[dtype.compute] != 4:
        mask = f"convert_int{lanes}{mask}"
    return f"({mask} & 1)"


def select(condition: str, chosen: str, other: str, dtype: DType, lanes: int) -> str:
    """`chosen` where the int lanes of condition are not 0."""
    if lanes == 1:
        return f"({condition} ? {chosen} : {other})"
    mask = f"({condition} != 0)"
    size = _COMPUTE_SIZE[dtype.compute]
    if size != 4:
        mask = f"convert_{_MASK_OF_SIZE[size]}{lanes}{mask}"
    return f"select({other}, {chosen}, {mask})"


def select_mask(condition: str, chosen: str, other: str, lanes: int) -> str:
    """As `select`, for a condition that is a native comparison of the operands' own type."""
    return f"(({condition}) ? {chosen} : {other})" if lanes == 1 else f"select({other}, {chosen}, {condition})"


def splat(text: str, dtype: DType, lanes: int) -> str:
    return text if lanes == 1 else f"({compute_type(dtype, lanes)})({text})"


def convert(text: str, source: DType, target: DType, lanes: int) -> str:
    """A value of source's compute type in target's; casts to narrow floats round here, as they would in memory."""
    if target is dtypes.bool_:
        if source is dtypes.bool_:
            return text
        return compare("!=", text, splat(number(0, source), source, lanes), source, lanes)
    if source.category == 2 and target.compute in ("uchar", "char", "short"):
        # Through int: directly, a value out of range would saturate in some lanes and wrap in others.
        text = f"((int){text})" if lanes == 1 else f"convert_int{lanes}({text})"
    if source.compute != target.compute:
        if lanes == 1:
            text = f"(({target.compute}){text})"
        else:
            text = f"convert_{compute_type(target, lanes)}({text})"
    return rounded(text, target, lanes) if target in NARROW and source is not target else text


def rounded(text: str, dtype: DType, lanes: int) -> str:
    """A float rounded to a narrow dtype, see narrow_float_helpers."""
    return f"netcl_round_{dtype.name}{'' if lanes == 1 else f'_{lanes}'}({text})"


def load(pointer: str, offset: str, dtype: DType, lanes: int) -> str:
    """Consecutive elements from pointer[offset]."""
    if dtype is dtypes.float16:
        return f"vload_half({offset}, {pointer})" if lanes == 1 else f"vload_half{lanes}(0, {pointer} + {offset})"
    raw = f"{pointer}[{offset}]" if lanes == 1 else f"vload{lanes}(0, {pointer} + {offset})"
    return from_storage(raw, dtype, lanes)


def from_storage(raw: str, dtype: DType, lanes: int) -> str:
    if dtype is dtypes.bfloat16:
        if lanes == 1:
            return f"as_float((uint){raw} << 16)"
        return f"as_float{lanes}(convert_uint{lanes}({raw}) << 16)"
    if dtype is dtypes.bool_:
        return f"((int){raw})" if lanes == 1 else f"convert_int{lanes}({raw})"
    return raw


def gathered(pointer: str, offsets: list[str], dtype: DType) -> str:
    """One element per offset, as a vector."""
    lanes = len(offsets)
    if dtype is dtypes.float16:
        return f"({compute_type(dtype, lanes)})(" + ", ".join(f"vload_half({o}, {pointer})" for o in offsets) + ")"
    elements = ", ".join(f"{pointer}[{offset}]" for offset in offsets)
    return from_storage(f"({vector_type(dtype.storage, lanes)})({elements})", dtype, lanes)


def store(pointer: str, offset: str, text: str, dtype: DType, lanes: int) -> str:
    """A statement that stores consecutive elements at pointer[offset]."""
    if dtype is dtypes.float16:
        if lanes == 1:
            return f"vstore_half_rte({text}, {offset}, {pointer});"
        return f"vstore_half{lanes}_rte({text}, 0, {pointer} + {offset});"
    if dtype is dtypes.bfloat16:
        bits = f"netcl_bits_bfloat16{'' if lanes == 1 else f'_{lanes}'}({text})"
        return f"{pointer}[{offset}] = {bits};" if lanes == 1 else f"vstore{lanes}({bits}, 0, {pointer} + {offset});"
    if dtype is dtypes.bool_:
        text = f"(uchar)({text})" if lanes == 1 else f"convert_uchar{lanes}({text})"
    return f"{pointer}[{offset}] = {text};" if lanes == 1 else f"vstore{lanes}({text}, 0, {pointer} + {offset});"


def lane(text: str, number: int) -> str:
    return f"{text}.s{number:x}"


def narrow_float_helpers(lanes: int) -> str:
    """Rounding to bfloat16 and float16 in float32 registers, to nearest even, for scalars and vectors.

    bfloat16 keeps the upper half of the bits. float16 is rounded by a store and a load of private memory, which every
    OpenCL device has, with or without half arithmetic.
    """
    v = "" if lanes == 1 else str(lanes)
    suffix = "" if lanes == 1 else f"_{lanes}"
    nan = "isnan(x)"
    chosen = (
        f"select(bits, (as_uint{v}(x) >> 16) | 64u, as_uint{v}({nan}))"
        if lanes > 1
        else f"{nan} ? (as_uint(x) >> 16) | 64u : bits"
    )
    narrowed = f"convert_ushort{v}" if lanes > 1 else "(ushort)"  # convert_ushort(scalar): Intel's vectoriser may crash
    return f"""
ushort{v} netcl_bits_bfloat16{suffix}(float{v} x) {{
  uint{v} bits = (as_uint{v}(x) + 0x7FFFu + ((as_uint{v}(x) >> 16) & 1u)) >> 16;
  return {narrowed}({chosen});
}}
float{v} netcl_round_bfloat16{suffix}(float{v} x) {{
  return as_float{v}(convert_uint{v}(netcl_bits_bfloat16{suffix}(x)) << 16);
}}
float{v} netcl_round_float16{suffix}(float{v} x) {{
  ushort{v} kept; vstore_half{v}_rte(x, 0, (half*)&kept); return vload_half{v}(0, (half*)&kept);
}}"""
