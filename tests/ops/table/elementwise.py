"""Elementwise operations, each on numbers of its domain."""

from __future__ import annotations

from table.rows import Named, flags, real, row, whole, within

SHAPE = (3, 4)
X = real(*SHAPE)
POSITIVE = within(0.2, 3.0, *SHAPE)
UNIT = within(-0.9, 0.9, *SHAPE)
INNER = within(0.1, 0.9, *SHAPE)
INTEGERS = whole(*SHAPE)

row("""
    abs absolute angle arctan asinh arcsinh atan ceil cos cosh deg2rad erf erfc exp exp2 expm1 fix floor frac i0
    isfinite isinf isnan isneginf isposinf isreal logical_not nan_to_num neg negative positive rad2deg relu round sgn
    sigmoid sign signbit sin sinc sinh square tan tanh trunc clone conj conj_physical detach real resolve_conj
    resolve_neg special.erf special.erfc special.erfcx special.exp2 special.expit special.expm1 special.i0 special.i0e
    special.i1 special.i1e special.log_ndtr special.ndtr special.round special.sinc Tensor.__abs__ Tensor.__neg__
    Tensor.__pos__ Tensor.contiguous
""", X)  # fmt: skip
row("""
    digamma lgamma log log10 log1p log2 reciprocal rsqrt sqrt special.digamma special.gammaln special.log1p special.psi
    special.entr
""", POSITIVE)  # fmt: skip
row("acos arccos asin arcsin atanh arctanh erfinv special.erfinv", UNIT)
row("acosh arccosh", within(1.1, 3.0, *SHAPE))
row("logit special.logit special.ndtri", INNER)
row("logit", X, eps=0.2)
row("Tensor.sinc", X)
row("polygamma special.polygamma", 1, POSITIVE)
row("polygamma", 0, POSITIVE)
row("Tensor.polygamma", POSITIVE, 2)
row("mvlgamma special.multigammaln", within(2.0, 4.0, *SHAPE), 3)
row("frexp", X)
row("round", X, decimals=1)
row("nan_to_num", X, 0.5, 2.0)

# ---- two operands ----

row("add sub subtract mul multiply maximum minimum fmax fmin rsub", X, real(*SHAPE))
row("add sub subtract rsub", X, real(4), alpha=2)
COMPARISONS = "eq ne lt le gt ge greater greater_equal less less_equal not_equal"
row(COMPARISONS, whole(*SHAPE, low=0, high=3), whole(4, low=0, high=3))
row(COMPARISONS, X, 0.5)
row("logical_and logical_or logical_xor", whole(*SHAPE, low=0, high=2), whole(3, 1, low=0, high=2))
row("atan2 arctan2 hypot copysign logaddexp logaddexp2 nextafter", X, real(4))
row("div divide true_divide fmod remainder", X, within(0.5, 2.0, 4))
row("floor_divide", X, within(0.5, 2.0, 4))
row("div divide", X, within(0.5, 2.0, *SHAPE), rounding_mode="trunc")
row("div", X, 0.7, rounding_mode="floor")
row("fmod remainder floor_divide", INTEGERS, 3)
row("add sub mul div pow true_divide", X, 3)
row("add mul maximum", INTEGERS, INTEGERS)
row("gcd lcm", whole(*SHAPE, low=1, high=20), whole(4, low=1, high=12))
row("pow", POSITIVE, real(4))
row("pow", X, 2)
row("pow", POSITIVE, 0.5)
row("pow", POSITIVE, -1)
row("pow", 2, X)
row("pow", INTEGERS, 3)
row("float_power", POSITIVE, 1.5)
row("float_power", POSITIVE, real(4))
row("ldexp", X, whole(4, low=-2, high=4))
row("heaviside", X, real(4))
row("xlogy special.xlogy", X, within(0.2, 2.0, 4))
row("special.xlog1py", X, within(-0.5, 2.0, 4))
row("special.zeta", within(1.5, 4.0, *SHAPE), within(0.5, 3.0, 4))
row("bitwise_and bitwise_or bitwise_xor", INTEGERS, whole(4))
row("bitwise_not Tensor.__invert__", INTEGERS)
row("bitwise_left_shift bitwise_right_shift", whole(*SHAPE, low=0), whole(4, low=0, high=4))
row("isclose", X, X, rtol=0.1)
row("allclose equal", X, X)
row("equal", X, real(3, 2))

# ---- three operands ----

row("where", flags(*SHAPE), X, real(4))
row("where", flags(*SHAPE), X, 0.5)
row("where", flags(3, 1), 1.0, 0.0)
row("Tensor.where", X, flags(*SHAPE), real(4))
row("lerp", X, real(*SHAPE), 0.3)
row("lerp", X, real(*SHAPE), 0.8)
row("lerp", X, real(*SHAPE), within(0.0, 1.0, 4))
row("addcmul", X, real(4), real(3, 1), value=0.5)
row("addcdiv", X, real(4), within(0.5, 2.0, 3, 1), value=0.5)
row("clamp clip", X, -0.5, 0.7)
row("clamp", X, max=0.5)
row("clamp clip", X, real(4), within(0.5, 2.0, 4))
row("clamp_min clamp_max", X, 0.3)
row("clamp_min clamp_max", X, real(4))

# ---- operators ----

row("""
    Tensor.__add__ Tensor.__radd__ Tensor.__sub__ Tensor.__rsub__ Tensor.__mul__ Tensor.__rmul__ Tensor.__truediv__
    Tensor.__floordiv__ Tensor.__mod__ Tensor.__eq__ Tensor.__ne__ Tensor.__lt__ Tensor.__le__ Tensor.__gt__
    Tensor.__ge__
""", X, 1.5)  # fmt: skip
row("Tensor.__pow__ Tensor.__rpow__ Tensor.__rtruediv__ Tensor.__rfloordiv__ Tensor.__rmod__", POSITIVE, 1.5)
row("Tensor.__add__ Tensor.__sub__ Tensor.__mul__ Tensor.__eq__ Tensor.__lt__", X, real(4))
row("Tensor.__and__ Tensor.__or__ Tensor.__xor__ Tensor.__rand__ Tensor.__ror__ Tensor.__rxor__", INTEGERS, 6)
row("Tensor.__lshift__ Tensor.__rshift__ Tensor.__rlshift__ Tensor.__rrshift__", whole(*SHAPE, low=0, high=5), 2)

# ---- dtypes ----

row("Tensor.to", X, Named("float64"))
row("Tensor.to", X, dtype=Named("int32"))
row("Tensor.type", X, Named("int64"))
row("Tensor.type_as", X, whole(2))
row("Tensor.bfloat16 Tensor.bool Tensor.double Tensor.float Tensor.half Tensor.cpu", X)
row("Tensor.byte Tensor.char Tensor.int Tensor.long Tensor.short", within(0.0, 100.0, *SHAPE))
