"""What sorting works on: an element and its position as one 64-bit word.

The upper half is a key: the element's bits, mapped so that unsigned integers have the order of the elements (-0 equals
0, all NaNs are equal and the largest). The lower half is the position, so no two words of a row are equal and any
way of sorting them is stable. The keys of 64-bit elements are sorted in two rounds, the low and the high half of them.
For descending order the key is inverted and the position is not: equal elements keep their order there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.graph.table import Primitive, Shape, register


def _float_key(kind: str, unsigned: str, exponent: str, mantissa_bits: int) -> str:
    """Of positive numbers the bits with the sign's set, of negative ones all bits inverted."""
    width = {"uint": 32, "ulong": 64}[unsigned]
    one = f"(({unsigned})1)"
    return f"""
{unsigned} __attribute__((overloadable)) netcl_sort_key({kind} x) {{
  {unsigned} bits = as_{unsigned}(x);
  if (bits << 1 == 0) bits = 0;
  if (bits << 1 > ({unsigned}){exponent} << {mantissa_bits + 1}) return ~({unsigned})0;
  return bits >> {width - 1} ? ~bits : bits | {one} << {width - 1};
}}"""


def _integer_key(kind: str, width: int) -> str:
    if kind == "long":
        return "ulong __attribute__((overloadable)) netcl_sort_key(long x) { return as_ulong(x) ^ (ulong)1 << 63; }"
    change = "" if kind == "uchar" else f" ^ {1 << (width - 1)}u"
    value = f"(uint)(u{kind})x" if kind in ("char", "short") else "(uint)x"
    return f"uint __attribute__((overloadable)) netcl_sort_key({kind} x) {{ return {value}{change}; }}"


_PREAMBLE = "\n".join(
    [
        _float_key("float", "uint", "0xFF", 23),
        *(_integer_key(kind, width) for kind, width in (("uchar", 8), ("char", 8), ("short", 16), ("int", 32))),
        _integer_key("long", 64),
        "#ifdef cl_khr_fp64",
        _float_key("double", "ulong", "0x7FF", 52),
        "#endif",
    ]
)


def key_bits(dtype: DType) -> tuple[int, int]:
    """Which bits of a key's half differ between elements: the first, and behind the last."""
    if dtype in (dtypes.float16, dtypes.bfloat16):  # compared as float32, of which they leave the last bits 0
        return (13 if dtype is dtypes.float16 else 16), 32
    return 0, min(32, 8 * dtype.itemsize)


def _infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    return operands[1].shape, dtypes.int64


def _register(name: str, half: str) -> None:
    for direction, inverted in (("up", ""), ("down", "~")):
        key = half.format(f"{inverted}netcl_sort_key({{0}})")
        text = f"<lanes>(long)((ulong)(uint)({key}) << 32 | (ulong)(uint){{1}})"
        register(Primitive(f"sort_word_{name}_{direction}", "elementwise", _infer, text, text, preamble=_PREAMBLE))


_register("low", "{}")  # operands: the element, its position
_register("high", "{} >> 32")
