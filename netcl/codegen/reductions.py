"""How each reduction starts, combines and folds its lanes."""

from __future__ import annotations

from collections.abc import Callable

from netcl.codegen import expressions as cl
from netcl.core import dtypes
from netcl.core.dtypes import DType

_LIMITS = {
    "uchar": ("0", "UCHAR_MAX"),
    "char": ("CHAR_MIN", "CHAR_MAX"),
    "short": ("SHRT_MIN", "SHRT_MAX"),
    "int": ("INT_MIN", "INT_MAX"),
    "long": ("LONG_MIN", "LONG_MAX"),
}


def identity(op: str, dtype: DType) -> str:
    if op in ("sum", "prod"):
        return cl.number(1 if op == "prod" else 0, dtype)
    if dtype.category == 2:
        return cl.number(float("-inf") if op == "max" else float("inf"), dtype)
    return f"(({dtype.compute}){_LIMITS[dtype.compute][0 if op == 'max' else 1]})"


def combine(op: str, left: str, right: str, dtype: DType, lanes: int) -> str:
    """left and right joined; max and min let NaN through, as PyTorch's do."""
    if op == "sum":
        return f"{left} + {right}"
    if op == "prod":
        return f"{left} * {right}"
    if dtype.category < 2:
        return f"{op}({left}, {right})"
    sign = ">" if op == "max" else "<"
    return cl.select_mask(f"({left} {sign} {right}) | ({left} != {left})", left, right, lanes)


def fold(op: str, name: str, dtype: DType, lanes: int, fresh: Callable[[str], str]) -> tuple[list[str], str]:
    """Statements that fold a vector's lanes in halves, and the name of the scalar left."""
    lines = []
    while lanes > 1:
        lanes //= 2
        folded = fresh("h")
        text = combine(op, f"{name}.lo", f"{name}.hi", dtype, lanes)
        lines.append(f"const {cl.compute_type(dtype, lanes)} {folded} = {text};")
        name = folded
    return lines, name


def accumulator_dtype(op: str, dtype: DType) -> DType:
    return dtypes.accumulator(dtype) if op in ("sum", "prod") else dtype
