"""The primitive table: every operation that a kernel can contain, one entry each.

An elementwise entry is a name, an OpenCL expression, a gradient and a NumPy reference. In expressions `{0}`, `{1}`
are the operands (scalars or vectors of the compute type `{T}`); comparisons are spelled by the generator, because
OpenCL's vector comparisons give -1 and its scalar ones 1. A gradient is written in operations again, so that it can
be differentiated: `g` is the incoming gradient, `y` the result, the rest the operands; None for no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.core.dtypes import DType

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Primitive:
    """One operation of the graph. `infer(operands, arg)` gives shape and dtype, or raises as PyTorch would."""

    name: str
    kind: str  # elementwise, compare, reduce, view, contraction, library, source, index, composite
    infer: Callable[[Sequence[Any], Any], tuple[Shape, DType]]
    expression: str = ""
    integer_expression: str = ""  # where integers need other text than floats
    gradient: Callable[..., tuple] | None = None
    reference: Callable[..., Any] | None = None  # NumPy
    expand: Callable[..., Any] | None = None  # composites: the body, in operations
    preamble: str = ""  # OpenCL helper functions that the expression calls
    autocast: str = "widest"  # what amp does with it: lower, float32, widest


TABLE: dict[str, Primitive] = {}


def register(primitive: Primitive) -> Primitive:
    if primitive.name in TABLE:
        raise ValueError(f"primitive {primitive.name!r} is registered already; choose another name")
    TABLE[primitive.name] = primitive
    return primitive


# ---- shape and dtype rules ---------------------------------------------------------------------------------------


def broadcast_shapes(name: str, shapes: Sequence[Shape]) -> Shape:
    """NumPy's and PyTorch's broadcasting; RuntimeError naming the operation and the shapes where they don't fit."""
    rank = max(map(len, shapes))
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1 and result[axis] != size:
                if result[axis] != 1:
                    listed = " and ".join(str(list(shape)) for shape in shapes)
                    raise RuntimeError(
                        f"{name}: shapes {listed} can't be broadcast together: sizes {result[axis]} and {size} "
                        f"differ at dimension {axis}; sizes must be equal or 1"
                    )
                result[axis] = size
    return tuple(result)


def result_dtype(operands: Sequence[Any]) -> DType:
    """PyTorch's promotion: operands with dimensions decide, 0-d ones only raise the category."""
    with_dims: DType | None = None
    without: DType | None = None
    for operand in operands:
        if operand.shape:
            with_dims = operand.dtype if with_dims is None else dtypes.promote(with_dims, operand.dtype)
        else:
            without = operand.dtype if without is None else dtypes.promote(without, operand.dtype)
    if with_dims is None:
        assert without is not None
        return without
    if without is not None and without.category > with_dims.category:
        return without
    return with_dims


def elementwise_shape(name: str, operands: Sequence[Any]) -> Shape:
    shape: Shape = operands[0].shape
    for operand in operands:
        if operand.shape != shape and operand.shape:
            return broadcast_shapes(name, [operand.shape for operand in operands])
    return shape


def _same(name: str) -> Callable:
    def infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
        first = operands[0]
        if len(operands) == 1 or (len(operands) == 2 and first.shape == operands[1].shape and first.dtype is operands[1].dtype):
            return first.shape, first.dtype
        return elementwise_shape(name, operands), result_dtype(operands)

    return infer


def _no_bool(name: str) -> Callable:
    same = _same(name)

    def infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
        shape, dtype = same(operands, arg)
        if dtype is dtypes.bool_:
            raise RuntimeError(f"{name}: not defined for bool tensors; use the logical operations, or convert with .int()")
        return shape, dtype

    return infer


def _floating(name: str) -> Callable:
    def infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
        dtype = result_dtype(operands)
        return elementwise_shape(name, operands), dtype if dtype.category == 2 else dtypes.float32

    return infer


def _boolean(name: str) -> Callable:
    def infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
        return elementwise_shape(name, operands), dtypes.bool_

    return infer


def operand_dtypes(primitive: Primitive, operands: Sequence[Any], dtype: DType) -> tuple[DType, ...]:
    """What each operand is cast to before the expression is applied; `dtype` is the result's."""
    if primitive.name == "where":
        return (dtypes.bool_, dtype, dtype)
    if primitive.name in ("cast", "uniform"):
        return tuple(operand.dtype for operand in operands)
    if primitive.name.startswith("logical"):
        return (dtypes.bool_,) * len(operands)
    if primitive.kind == "compare" or dtype is dtypes.bool_:
        return (result_dtype(operands),) * len(operands)
    return (dtype,) * len(operands)


# ---- elementwise -------------------------------------------------------------------------------------------------


def _elementwise(
    name: str,
    expression: str,
    gradient: Callable[..., tuple] | None,
    reference: Callable[..., Any],
    result: Callable = _same,
    integer: str = "",
    preamble: str = "",
    autocast: str = "widest",
) -> None:
    register(
        Primitive(
            name, "elementwise", result(name), expression, integer or expression, gradient, reference,
            preamble=preamble, autocast=autocast,
        )
    )  # fmt: skip


def _where_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    if operands[0].dtype is not dtypes.bool_:
        raise RuntimeError(f"where: expected condition to be a boolean tensor, but got {operands[0].dtype}")
    return broadcast_shapes("where", [o.shape for o in operands]), result_dtype(operands[1:])


def _logistic(x: Any) -> Any:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _erf(x: Any) -> Any:
    from math import erf

    return np.vectorize(erf, otypes=[np.float64])(x)


def _on_pocl(name: str, scalar: str, vector: str) -> str:
    """A function that PoCL 3.0 does inexactly for floats, as netcl_<name>: bodies over x, with {n} lanes and for PoCL
    only. Doubles and other runtimes take the built-in one."""
    overloaded = "__attribute__((overloadable))"
    lines = ["#ifdef POCL_DEVICE_ADDRESS_BITS", f"float {overloaded} netcl_{name}(float x) {{ return {scalar}; }}"]
    for n in (2, 4, 8, 16):
        lines.append(f"float{n} {overloaded} netcl_{name}(float{n} x) {{ return {vector.replace('{n}', str(n))}; }}")
    lines.append("#ifdef cl_khr_fp64")
    for lanes in ("", "2", "4", "8", "16"):
        lines.append(f"double{lanes} {overloaded} netcl_{name}(double{lanes} x) {{ return {name}(x); }}")
    return "\n".join([*lines, "#endif", "#else", f"#define netcl_{name} {name}", "#endif"])


def _periodic(name: str) -> str:
    """sin and cos. PoCL's are wrong in every lane of a vector of which one lane is huge, infinite or NaN (sin(1e-4)
    gives 0.0128): there such vectors are halved."""
    halves = f"(float{{n}})(netcl_{name}(x.lo), netcl_{name}(x.hi))"
    return _on_pocl(name, f"{name}(x)", f"all(isless(fabs(x), (float{{n}})(3e4f))) ? {name}(x) : {halves}")


def _saturated_tanh() -> str:
    """tanh. PoCL's stays a bit below 1 for any x, and 1 - tanh(x)^2 times a large x then is not the 0 that it should be."""
    one = "copysign((float{n})(1.0f), x)"
    return _on_pocl(
        "tanh",
        "fabs(x) > 9.02f ? copysign(1.0f, x) : tanh(x)",
        f"select(tanh(x), {one}, isgreater(fabs(x), (float{{n}})(9.02f)))",
    )


def _shared(g: Any, tie: Any, lost: Any, won: Any) -> tuple:
    """maximum and minimum: half to each at a tie, nothing to the loser; with a NaN, all to both, as in PyTorch."""
    half = g / 2
    return half.where(tie, g.where(lost.logical_not(), 0)), half.where(tie, g.where(won.logical_not(), 0))


TWO_OVER_ROOT_PI = 1.1283791670955126

# fmt: off
_elementwise("add", "({0} + {1})", lambda g, y, a, b: (g, g), np.add)
_elementwise("sub", "({0} - {1})", lambda g, y, a, b: (g, -g), np.subtract)
_elementwise("mul", "({0} * {1})", lambda g, y, a, b: (g * b, g * a), np.multiply)
_elementwise("div", "({0} / {1})", lambda g, y, a, b: (g / b, -g * y / b), np.divide, _floating)
_elementwise("neg", "(-{0})", lambda g, y, x: (-g,), np.negative, _no_bool)
_elementwise("pow", "pow({0}, {1})",
             lambda g, y, a, b: (g * (b * a.pow(b - 1)).where(b != 0, 0), g * (y * a.log()).where((a != 0) | (b < 0), 0)),
             np.power, _no_bool, integer="<lanes>({S})netcl_ipow({0}, {1})",
             preamble="long netcl_ipow(long a, long b) { long r = b < 0 ? (a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0) : 1;"
                      " for (; b > 0; b >>= 1) { if (b & 1) r *= a; a *= a; } return r; }")
_elementwise("abs", "fabs({0})", lambda g, y, x: (g * x.sign(),), np.abs, _no_bool, integer="(({0} < ({T})(0)) ? -{0} : {0})")
_elementwise("sign", "sign({0})", lambda g, y, x: (g.new_zeros(g.shape),), np.sign,
             integer="(({0} > ({T})(0)) ? ({T})(1) : (({0} < ({T})(0)) ? ({T})(-1) : ({T})(0)))")
_elementwise("exp", "exp({0})", lambda g, y, x: (g * y,), np.exp, _floating, autocast="float32")
_elementwise("expm1", "expm1({0})", lambda g, y, x: (g * (y + 1),), np.expm1, _floating, autocast="float32")
_elementwise("log", "log({0})", lambda g, y, x: (g / x,), np.log, _floating, autocast="float32")
_elementwise("log1p", "log1p({0})", lambda g, y, x: (g / (x + 1),), np.log1p, _floating, autocast="float32")
_elementwise("sqrt", "sqrt({0})", lambda g, y, x: (g / (y * 2),), np.sqrt, _floating)
_elementwise("rsqrt", "(({T})(1) / sqrt({0}))", lambda g, y, x: (g * y * y * y * -0.5,), lambda x: 1 / np.sqrt(x),
             _floating, autocast="float32")
_elementwise("sin", "netcl_sin({0})", lambda g, y, x: (g * x.cos(),), np.sin, _floating, preamble=_periodic("sin"))
_elementwise("cos", "netcl_cos({0})", lambda g, y, x: (-g * x.sin(),), np.cos, _floating, preamble=_periodic("cos"))
_elementwise("tanh", "netcl_tanh({0})", lambda g, y, x: (g * (1 - y * y),), np.tanh, _floating, preamble=_saturated_tanh())
_elementwise("sigmoid", "(({T})(1) / (({T})(1) + exp(-{0})))", lambda g, y, x: (g * y * (1 - y),), _logistic, _floating)
_elementwise("erf", "erf({0})", lambda g, y, x: (g * (-(x * x)).exp() * TWO_OVER_ROOT_PI,), _erf, _floating)
_elementwise("floor", "floor({0})", lambda g, y, x: (g.new_zeros(g.shape),), np.floor, _no_bool, integer="{0}")
_elementwise("relu", "<where>{0} < ({T})(0)<then>({T})(0)<else>{0}", lambda g, y, x: (g.where((y <= 0).logical_not(), 0),),
             lambda x: np.where(x < 0, np.zeros_like(x), x), _no_bool)
# A NaN operand wins, as in torch.maximum; at a tie each side gets half the gradient.
_elementwise("maximum", "<where>({0} > {1}) | ({0} != {0})<then>{0}<else>{1}",
             lambda g, y, a, b: _shared(g, a == b, a < b, a > b),
             np.maximum, integer="max({0}, {1})")
_elementwise("minimum", "<where>({0} < {1}) | ({0} != {0})<then>{0}<else>{1}",
             lambda g, y, a, b: _shared(g, a == b, a > b, a < b),
             np.minimum, integer="min({0}, {1})")
_elementwise("logical_and", "({0} & {1})", None, np.logical_and, _boolean)
_elementwise("logical_or", "({0} | {1})", None, np.logical_or, _boolean)
_elementwise("logical_xor", "({0} ^ {1})", None, np.logical_xor, _boolean)
_elementwise("bitwise_and", "({0} & {1})", None, np.bitwise_and)
_elementwise("bitwise_or", "({0} | {1})", None, np.bitwise_or)
_elementwise("bitwise_xor", "({0} ^ {1})", None, np.bitwise_xor)
_elementwise("bitwise_not", "(~{0})", None, np.invert)
_elementwise("logical_not", "({0} ^ 1)", None, np.logical_not, _boolean)

register(Primitive("where", "elementwise", _where_infer, gradient=lambda g, y, c, a, b: (None, g.where(c, 0), g.where(c.logical_not(), 0)),
                   reference=np.where))
for _name, _operator, _reference in (
    ("lt", "<", np.less), ("le", "<=", np.less_equal), ("gt", ">", np.greater), ("ge", ">=", np.greater_equal),
    ("eq", "==", np.equal), ("ne", "!=", np.not_equal),
):
    register(Primitive(_name, "compare", _boolean(_name), _operator, _operator, None, _reference))
# fmt: on


def _cast_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    return operands[0].shape, dtypes.by_name(arg)


register(Primitive("cast", "elementwise", _cast_infer, gradient=lambda g, y, x: (g.to(x.dtype),)))

# Philox-4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011), keyed by the seed:
# element i of call c is the first word of the block with counter (i, c). Uniform in [0, 1) from the top 24 bits.
_PHILOX = """
uint netcl_philox(uint index, uint index_high, uint call, uint key0, uint key1) {
  uint4 c = (uint4)(index, index_high, call, 0u);
  for (int round = 0; round < 10; ++round) {
    uint high0 = mul_hi(0xD2511F53u, c.x), low0 = 0xD2511F53u * c.x;
    uint high1 = mul_hi(0xCD9E8D57u, c.z), low1 = 0xCD9E8D57u * c.z;
    c = (uint4)(high1 ^ c.y ^ key0, low1, high0 ^ c.w ^ key1, low0);
    key0 += 0x9E3779B9u; key1 += 0xBB67AE85u;
  }
  return c.x;
}
float netcl_uniform(long index, long call, long seed) {
  return (float)(netcl_philox((uint)index, (uint)(index >> 32), (uint)call, (uint)seed, (uint)(seed >> 32)) >> 8) * 0x1p-24f;
}"""


def _uniform_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    return operands[0].shape, dtypes.float32


register(Primitive("uniform", "elementwise", _uniform_infer, "<lanes>netcl_uniform({0}, {1}, {2})", preamble=_PHILOX))

_elementwise("copy", "{0}", lambda g, y, x: (g,), np.copy)  # puts a value into memory as it is

# ---- sources: nodes without operands -----------------------------------------------------------------------------


def _literal_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    return (), dtypes.by_name(arg[0])


def _iota_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    shape, _, dtype_name = arg
    return shape, dtypes.by_name(dtype_name)


register(Primitive("literal", "source", _literal_infer))  # arg: (dtype name, value), part of the plan's key
register(Primitive("scalar", "source", _literal_infer))  # arg: (dtype name,), the value is a kernel argument
register(Primitive("input", "source", lambda operands, arg: (arg[1], dtypes.by_name(arg[0]))))
register(Primitive("item", "source", _literal_infer))  # arg: the number of a result of a composite with several
register(Primitive("iota", "source", _iota_infer))  # arg: (shape, axis, dtype name): the coordinate along axis


# ---- views -------------------------------------------------------------------------------------------------------


def _view(name: str, shape_of: Callable[[Shape, Any], Shape], gradient: Callable[..., tuple]) -> None:
    def infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
        return shape_of(operands[0].shape, arg), operands[0].dtype

    register(Primitive(name, "view", infer, gradient=gradient))


def _slice_shape(shape: Shape, arg: Any) -> Shape:
    return tuple(len(range(start, stop, step)) for start, stop, step in arg)


def _pad_shape(shape: Shape, arg: Any) -> Shape:
    return tuple(size + low + high for size, (low, high) in zip(shape, arg, strict=True))


def _slice_gradient(g: Any, y: Any, x: Any, arg: Any) -> tuple:
    if any(abs(step) != 1 for _, _, step in arg):
        return (g.dilate(x.shape, arg),)
    flipped = [axis for axis, (_, _, step) in enumerate(arg) if step < 0]
    g = g.flip(flipped) if flipped else g
    low = [stop + 1 if step < 0 else start for start, stop, step in arg]
    return (g.pad_with_zeros([(b, size - b - n) for b, size, n in zip(low, x.shape, y.shape, strict=True)]),)


_view("reshape", lambda shape, arg: arg, lambda g, y, x, arg: (g.reshape(x.shape),))
_view("permute", lambda shape, arg: tuple(shape[axis] for axis in arg),
      lambda g, y, x, arg: (g.permute(tuple(arg.index(axis) for axis in range(len(arg)))),))  # fmt: skip
_view("expand", lambda shape, arg: arg, lambda g, y, x, arg: (g.sum_to_shape(x.shape),))
_view("slice", _slice_shape, _slice_gradient)  # arg: (start, stop, step) for each axis; a negative step flips
_view("pad", _pad_shape, lambda g, y, x, arg: (g.slice_axes([(low, low + size, 1) for (low, _), size in zip(arg, x.shape, strict=True)]),))  # fmt: skip


# ---- reductions --------------------------------------------------------------------------------------------------


def reduced_shape(shape: Shape, axes: Sequence[int]) -> Shape:
    """Reductions keep their axes with size 1; the operations above drop them by a view."""
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def _reduce(name: str, gradient: Callable[..., tuple] | None, reference: Callable, accumulates: bool) -> None:
    def infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
        dtype = operands[0].dtype
        if accumulates and dtype.category < 2:
            dtype = dtypes.int64
        return reduced_shape(operands[0].shape, arg), dtype

    register(Primitive(name, "reduce", infer, gradient=gradient, reference=reference))


def _extremum_gradient(g: Any, y: Any, x: Any, arg: Any) -> tuple:
    """amax, amin: equal extrema share the gradient."""
    hit = (x == y).to(g.dtype)
    return (g * hit / hit.sum(arg, keepdim=True),)


_reduce("sum", lambda g, y, x, arg: (g.expand(x.shape),), np.sum, True)
_reduce("max", _extremum_gradient, np.max, False)
_reduce("min", _extremum_gradient, np.min, False)
_reduce("prod", None, np.prod, True)


# ---- contractions ------------------------------------------------------------------------------------------------


def _matmul_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    """(b, m, k) @ (b, k, n) with equal batches: `ops.linalg` brings other ranks to this form."""
    a, b = operands
    return (a.shape[0], a.shape[1], b.shape[2]), dtypes.promote(a.dtype, b.dtype)


register(
    Primitive(
        "matmul", "contraction", _matmul_infer, reference=np.matmul, autocast="lower",
        gradient=lambda g, y, a, b: (g.contract(b.transpose(1, 2)), a.transpose(1, 2).contract(g)),
    )
)  # fmt: skip


# ---- library kernels: codegen/library ---------------------------------------------------------------------------


def _scan_infer(operands: Sequence[Any], arg: str) -> tuple[Shape, DType]:
    """(outer, length, inner), along length; arg: sum, prod, max or min."""
    dtype = operands[0].dtype
    return operands[0].shape, dtypes.int64 if arg in ("sum", "prod") and dtype.category < 2 else dtype


def _scan_gradient(g: Any, y: Any, x: Any, arg: str) -> tuple:
    """For sums: a running sum from the end. The others' gradients are written in ops.scans."""
    assert arg == "sum"
    return (g.flip(1).scan("sum").flip(1),)


register(Primitive("scan", "library", _scan_infer, gradient=_scan_gradient))


# ---- indexed reads -----------------------------------------------------------------------------------------------


def _gather_infer(operands: Sequence[Any], axis: int) -> tuple[Shape, DType]:
    """out[i, j, ..] = x[i, .., index[i, j, ..], ..]; x and index have the same rank; index sizes <= x's elsewhere."""
    return operands[1].shape, operands[0].dtype


register(Primitive("gather", "index", _gather_infer))  # gradient: ops.indexing


# Where `condition` is false the device remembers site, value and position; the next read of a value raises.
def _check_infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    return operands[0].shape, operands[0].dtype


register(Primitive("check", "elementwise", _check_infer))  # operands: value, condition, site


def composite(name: str, infer: Callable, expand: Callable, autocast: str = "widest") -> Primitive:
    """An operation recorded as one node, and expanded into `expand`'s operations when a plan is made."""
    return register(Primitive(name, "composite", infer, expand=expand, autocast=autocast))
