"""A user's OpenCL expression as functions that a kernel can call, for each type and number of lanes.

A number with a point or an exponent takes the type of the operands: `0.5`, `0.5f` are floats in float kernels and
doubles in double ones, and so are constants such as `M_PI`. An expression of arithmetic and built-in functions is
applied to whole vectors. Anything else (comparisons, `?:`, casts, functions of one's own) means something else for
vectors in OpenCL, or nothing, and is applied to one lane after the other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from netcl.codegen import functions

# Built-in functions that take vectors in each argument, and what they cost more than a load and a store.
_CHEAP = frozenset("""
    ceil clamp copysign degrees fabs fdim floor fmax fmin max min mix radians rint round sign sqrt step trunc
""".split())
_COSTLY = frozenset("""
    acos acosh acospi asin asinh asinpi atan atan2 atan2pi atanh atanpi cbrt cos cosh cospi erf erfc exp exp10 exp2
    expm1 fmod hypot lgamma log log10 log1p log2 logb pow powr remainder rsqrt sin sinh sinpi smoothstep tan tanh tanpi
    tgamma
""".split())
# As in the primitive table, under other names: both may be in one kernel.
_CORRECTED = {
    "sin": functions.periodic("sin"), "cos": functions.periodic("cos"), "tan": functions.periodic("tan"),
    "tanh": functions.hyperbolic_tangent(), "pow": functions.power(), "lgamma": functions.log_gamma(),
}  # fmt: skip
_LANES = ("", "2", "4", "8", "16")
_WHOLE = ("char", "short", "int", "long", "uchar")
_TOKEN = re.compile(r"(?P<name>[A-Za-z_]\w*)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?)|(?P<sign>\S)")
_POINT = re.compile(r"(?<![\w.])((?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)[fF]?(?![\w.])")
_CONSTANT = re.compile(r"\bM_([A-Z0-9_]+?)(?:_F)?\b")
_DEFINED = re.compile(r"\b([A-Za-z_]\w*)\s*\([^(){};]*\)\s*\{")
_WORDS = frozenset("if for while switch".split())


class Formula:
    """An expression of named operands. `helpers` are OpenCL functions that it calls; in them the type is REAL.
    `floats`, `integers`: the types that it is for."""

    def __init__(
        self, name: str, expression: str, operands: Sequence[str], helpers: str = "", floats: bool = True,
        integers: bool = False,
    ):  # fmt: skip
        self.name = name
        self.expression = expression.strip()
        self.operands = tuple(operands)
        self.helpers = helpers.strip("\n")
        self.floats = floats
        self.integers = integers
        names = [token["name"] for token in _TOKEN.finditer(self.expression) if token["name"]]
        self.called = {name for name in names if re.search(rf"\b{name}\s*\(", self.expression)}
        self.unused = [operand for operand in self.operands if operand not in names]
        parts = (self.name, self.expression, *self.operands, self.helpers, f"{floats} {integers}")
        self.identity = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
        self.function = f"netcl_{name}_{self.identity}"
        self.own = [name for name in dict.fromkeys(_DEFINED.findall(self.helpers)) if name not in _WORDS]

    @property
    def by_lanes(self) -> bool:
        """Whether it has to be applied to one lane after the other."""
        known = _CHEAP | _COSTLY | set(self.operands)
        for token in _TOKEN.finditer(self.expression):
            name = token["name"]
            if name is not None and name not in known and not name.startswith("M_"):
                return True
            if token["sign"] is not None and token["sign"] not in "+-*/(),":
                return True
        return False

    @property
    def costly(self) -> bool:
        """Whether it takes more than a load and a store."""
        return bool(self.helpers or self.called - _CHEAP)

    def template(self, integers: bool = False) -> str:
        """What stands in the primitive table: a call."""
        call = f"{self.function}({', '.join(f'{{{n}}}' for n in range(len(self.operands)))})"
        return f"<lanes>{call}" if integers or self.by_lanes else call

    def preamble(self) -> str:
        """The functions, for all types."""
        corrected = [_renamed(name) for name in sorted(self.called & set(_CORRECTED))]
        lanes = ("",) if self.by_lanes else _LANES
        lines = list(corrected)
        if self.floats:
            lines += self._typed("float", lanes)
            lines += ["#ifdef cl_khr_fp64", *self._typed("double", lanes), "#endif"]
        for kind in _WHOLE if self.integers else ():
            lines += self._typed(kind, ("",))
        guard = self.function.upper()
        return "\n".join([f"#ifndef {guard}", f"#define {guard}", *lines, "#endif"])

    def trial(self) -> str:
        """A program that a compiler's message about the expression fits: it is line 1 of a file with its name."""
        lines = [_renamed(name) for name in sorted(self.called & set(_CORRECTED))]
        kind = "float" if self.floats else "int"
        lines += self._typed(kind, ("",), marked=True)
        given = ", ".join(f"p[{n}]" for n in range(len(self.operands)))
        lines.append(f"__kernel void trial(__global {kind}* p) {{ p[0] = {self.function}({given}); }}")
        return "\n".join([*lines, ""])

    def _typed(self, kind: str, lanes: Sequence[str], marked: bool = False) -> list[str]:
        """The helpers and the function for one type."""
        lines = [self._of_type(self.helpers, kind, "")] if self.helpers else []
        for count in lanes:
            listed = ", ".join(f"{kind}{count} {operand}" for operand in self.operands)
            text = self._of_type(self.expression, kind, count)
            head = f"static {kind}{count} __attribute__((overloadable)) {self.function}({listed}) {{ return ("
            lines.append(f'{head}\n#line 1 "{self.name}"\n{text}\n); }}' if marked else f"{head}{text}); }}")
        return lines

    def _of_type(self, text: str, kind: str, lanes: str) -> str:
        """A text with its numbers, helpers and corrected functions for one type."""
        suffix = "" if kind == "double" else "f"
        typed = f"(({kind}{lanes})(\\1{suffix}))" if lanes else f"\\1{suffix}"
        text = re.sub(r"\bREAL\b", kind, _POINT.sub(typed, text))
        constant = f"M_\\1{'' if kind == 'double' else '_F'}"
        text = _CONSTANT.sub(f"(({kind}{lanes})({constant}))" if lanes else constant, text)
        for name in self.own:
            text = re.sub(rf"\b{name}\b", f"{name}_{self.identity}_{kind}", text)
        for name in self.called & set(_CORRECTED):
            text = re.sub(rf"\b{name}(?=\s*\()", f"netcl_own_{name}", text)
        return text


def _renamed(name: str) -> str:
    """A corrected function under another name than in the primitive table, once in a program."""
    guard = f"NETCL_OWN_{name.upper()}"
    text = _CORRECTED[name].replace("netcl_", "netcl_own_")
    return f"#ifndef {guard}\n#define {guard}\n{text}\n#endif"


def compiler_errors(log: str) -> list[str]:
    """The errors in a compiler's log, without the rest of it."""
    found = [line.strip() for line in log.splitlines() if re.search(r"\berror:", line)]
    return list(dict.fromkeys(found))
