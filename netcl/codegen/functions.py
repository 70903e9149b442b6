"""OpenCL functions that expressions of the primitive table call where the built-in ones are not enough."""

from __future__ import annotations

import re


def _on_pocl(name: str, scalar: str, vector: str, doubles: str = "", parameters: tuple[str, ...] = ("x",)) -> str:
    """A function that PoCL 3.0 does inexactly, as netcl_<name>: bodies for floats, with {n} lanes, and for PoCL only.
    Other runtimes take the built-in one, and so do doubles, unless there is a body for their vectors."""
    call = f"{name}({', '.join(parameters)})"

    def function(kind: str, lanes: str, body: str) -> str:
        declared = ", ".join(f"{kind}{lanes} {parameter}" for parameter in parameters)
        body = body.replace("{n}", lanes).replace("{kind}", kind)
        return f"{kind}{lanes} __attribute__((overloadable)) netcl_{name}({declared}) {{ return {body}; }}"

    lines = ["#ifdef POCL_DEVICE_ADDRESS_BITS", function("float", "", scalar)]
    lines += [function("float", lanes, vector) for lanes in ("2", "4", "8", "16")]
    lines += ["#ifdef cl_khr_fp64", function("double", "", call)]
    lines += [function("double", lanes, doubles or call) for lanes in ("2", "4", "8", "16")]
    return "\n".join([*lines, "#endif", "#else", f"#define netcl_{name} {name}", "#endif"])


def _halves(name: str, *parameters: str) -> str:
    """A vector's two halves by themselves, joined."""
    low, high = (", ".join(f"{parameter}.{part}" for parameter in parameters) for part in ("lo", "hi"))
    return f"({{kind}}{{n}})(netcl_{name}({low}), netcl_{name}({high}))"


def periodic(name: str) -> str:
    """sin, cos and tan. PoCL's are wrong in every lane of a vector of which one lane is huge, infinite or NaN
    (sin(1e-4) gives 0.0128): there such vectors are halved."""
    small = "all(isless(fabs(x), (float{n})(3e4f)))"
    return _on_pocl(name, f"{name}(x)", f"{small} ? {name}(x) : {_halves(name, 'x')}")


def power() -> str:
    """pow. PoCL's for vectors of doubles gives inf in some lanes beside special ones (1e-40 to the power of 7)."""
    return _on_pocl("pow", "pow(x, y)", "pow(x, y)", _halves("pow", "x", "y"), ("x", "y"))


def log_gamma() -> str:
    """lgamma. PoCL's overflows early, from 4e36 on."""
    far = "x * (log(x) - 1.0f)"
    return _on_pocl(
        "lgamma",
        f"x > 1e30f ? {far} : lgamma(x)",
        f"select(lgamma(x), {far}, isgreater(x, (float{{n}})(1e30f)))",
    )


# On CPUs the exponential of floats is taken in double: x = n ln 2 + r with |r| <= ln 2 / 2, the polynomial of degree 6
# whose largest relative error there is least (1.9e-9, found by Remez's algorithm), and n added to the exponent's bits.
# Adding 1.5 * 2^52 rounds to a whole number, which is then in the low bits of the sum. That errs by 0.53 units at most;
# the runtimes' own by 0.70 (Intel) and 0.98 (PoCL), which exp(x) - y enlarges where it cancels. It takes 1.6 of their
# time from the cache, 0.17 ns an element on two cores of AVX-512, and as long as they from memory.
_EXPONENTIAL = """
FLOAT __attribute__((overloadable)) netcl_exp(FLOAT x) {
  const DOUBLE c = convert_DOUBLE(clamp(x, -104.0f, 89.0f)), n = c * 1.4426950408889634 + 0x1.8p52;
  const DOUBLE r = c - (n - 0x1.8p52) * 0.6931471805599453, square = r * r;
  const DOUBLE high = (0.041668226045588376 + r * 0.008374824080344113) + square * 0.0013836843336838473;
  const DOUBLE middle = 0.4999999207576489 + r * 0.16666420071774407;
  const DOUBLE e = (1.0000000005545664 + r * 1.000000036344832) + square * (middle + square * high);
  const FLOAT y = convert_FLOAT(as_DOUBLE(as_LONG(e) + (as_LONG(n) << 52)));
  return NUMBER;
}
DOUBLE __attribute__((overloadable)) netcl_exp(DOUBLE x) { return exp(x); }"""


# On CPUs the hyperbolic tangent of floats is taken in two parts, in each a small amount added to an exact number, so
# that the amount's own error shows little. Up to 1 it is x + x^3 P(x^2), beyond 1 it is 1 - 2 / (1 + e^2x) with e^2x
# = 2^k e^2r, |r| <= ln 2 / 4, the half of ln 2 in two parts, and k added to the exponent's bits. The polynomials are
# of degree 6, those of least largest error (0.08 and 0.05 units), each coefficient rounded to a float before the next
# ones were fitted. That errs by 0.96 units at most (1.07 where products are rounded before they are added), 0.25 in
# the mean, is odd and 1 from 9.011 on. The runtimes' own errs by 1.37 (Intel) and 1.14 (PoCL, which never reaches 1,
# so that 1 - tanh(x)^2 times a large x is not the 0 that it should be). A quotient of polynomials errs by 0.53 in
# double, which takes too long, and by 5 in float. GELU in ns an element, on one core of AVX-512 from the cache and on
# two of them from memory, where a copy takes 0.136: this 0.27 and 0.17, Intel's 0.19 and 0.23 (it looks up tables),
# the quotient in double 0.46 and 0.27, in float 0.14 and 0.12.
_HYPERBOLIC_TANGENT = """
FLOAT __attribute__((overloadable)) netcl_tanh(FLOAT x) {
  const FLOAT a = fabs(x), s = x * x;
  const FLOAT low = -0.33333296f + s * (0.13332346f + s * (-0.05387985f + s * (0.0214867f + s * (-0.007946064f
                    + s * (0.002301272f + s * -0.00035841067f)))));
  const FLOAT c = min(a, 9.2f), n = c * 2.88539f + 0x1.8p23f, k = n - 0x1.8p23f;
  const FLOAT r = (c - k * 0x1.62e4p-2f) - k * 7.143034e-07f;
  const FLOAT high = 1.0f + r * (2.0f + r * (1.9999998f + r * (1.3333218f + r * (0.6666927f + r * (0.26779303f
                     + r * 0.088437095f)))));
  const FLOAT e = as_FLOAT(as_INT(high) + (as_INT(n) << 23));
  return copysign(a > 1.0f ? 1.0f - 2.0f / (1.0f + e) : a + a * (s * low), x);
}
#ifdef cl_khr_fp64
DOUBLE __attribute__((overloadable)) netcl_tanh(DOUBLE x) { return tanh(x); }
#endif"""


def _for_lanes(text: str) -> list[str]:
    """The functions of a text for scalars and for each kind of vectors: FLOAT, DOUBLE, INT and LONG are their types."""

    def version(lanes: str) -> str:
        return re.sub(r"FLOAT|DOUBLE|INT|LONG", lambda kind: kind[0].lower() + lanes, text).strip("\n")

    return [version(lanes) for lanes in ("", "2", "4", "8", "16")]


def exponential() -> str:
    """exp, on CPUs with doubles almost the nearest float; elsewhere the built-in one."""
    scalar, *vectors = _for_lanes(_EXPONENTIAL)
    versions = [scalar.replace("NUMBER", "isnan(x) ? x : y")]
    versions += [vector.replace("NUMBER", "select(y, x, isnan(x))") for vector in vectors]
    lines = ["#if defined(NETCL_CPU) && defined(cl_khr_fp64)", *versions]
    return "\n".join([*lines, "#else", "#define netcl_exp exp", "#endif"])


def hyperbolic_tangent() -> str:
    """tanh, on CPUs nearer and faster than the built-in one."""
    lines = ["#ifdef NETCL_CPU", *_for_lanes(_HYPERBOLIC_TANGENT), "#else", "#define netcl_tanh tanh", "#endif"]
    return "\n".join(lines)


def _for_floats(text: str) -> str:
    """The functions of a text for float and, where the device has it, for double: REAL is the type, 1.0R a constant."""

    def version(kind: str) -> str:
        return re.sub(r"(?<=[0-9.])R\b", "f" if kind == "float" else "", text).replace("REAL", kind).strip("\n")

    return "\n".join([version("float"), "#ifdef cl_khr_fp64", version("double"), "#endif"])


def _for_integers(text: str) -> str:
    """The functions of a text for each integer type: WHOLE is the type, BITS the unsigned one of its size. For uchar
    they are those of int."""
    types = (("char", "uchar"), ("short", "ushort"), ("int", "uint"), ("long", "ulong"))
    lines = [text.replace("WHOLE", whole).replace("BITS", bits).strip("\n") for whole, bits in types]
    lines += [f"#define {name}_uchar {name}_int" for name in re.findall(r"WHOLE (\w+)_WHOLE\(", text)]
    return "\n".join(lines)


def _once(name: str, text: str) -> str:
    """A text that several operations of one kernel may bring along, each with others."""
    return f"#ifndef NETCL_{name}\n#define NETCL_{name}\n{text}\n#endif"


INTEGER_POWER = """
long netcl_ipow(long a, long b) {
  long r = b < 0 ? (a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0) : 1;
  for (; b > 0; b >>= 1) { if (b & 1) r *= a; a *= a; }
  return r;
}"""

# Division by zero gives 0, like the remainder, as in NumPy: on a CPU the instruction would end the process, as it would
# for the lowest number divided by -1, which here wraps around.
WHOLE_DIVISION = _once(
    "WHOLE_DIVISION",
    _for_integers("""
WHOLE netcl_quotient_WHOLE(WHOLE a, WHOLE b) { return b == 0 ? 0 : b == -1 ? (WHOLE)(0 - (BITS)a) : a / b; }
WHOLE netcl_fmod_WHOLE(WHOLE a, WHOLE b) { return b == 0 || b == -1 ? 0 : a % b; }
WHOLE netcl_floor_divide_WHOLE(WHOLE a, WHOLE b) {
  const WHOLE rest = netcl_fmod_WHOLE(a, b);
  return netcl_quotient_WHOLE(a, b) - (rest != 0 && (rest < 0) != (b < 0));
}
WHOLE netcl_remainder_WHOLE(WHOLE a, WHOLE b) {
  const WHOLE rest = netcl_fmod_WHOLE(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}"""),
)

# As Python divides floats: the remainder is exact and has the divisor's sign; the quotient belongs to it.
DIVISION = _once(
    "DIVISION",
    _for_floats("""
REAL netcl_remainder_REAL(REAL a, REAL b) {
  const REAL rest = fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
REAL netcl_floor_divide_REAL(REAL a, REAL b) {
  if (b == 0) return a / b;
  const REAL rest = fmod(a, b);
  const REAL whole = rint((a - rest) / b) - (rest != 0 && (rest < 0) != (b < 0));
  return whole == 0 ? copysign((REAL)0, a / b) : whole;
}"""),
)

# A first guess good to 0.2 % (Winitzki: A handy approximation for the error function and its inverse, 2008), then
# Halley's method, which trebles the digits at each step. Beyond 1/2 the difference is taken from 1, where it is exact.
INVERSE_ERF = _for_floats("""
REAL netcl_erfinv_REAL(REAL x) {
  const REAL a = fabs(x);
  if (!(a < 1)) return a == 1 ? x * (REAL)INFINITY : (REAL)NAN;
  const REAL down = log1p(-a * a), half_way = 4.330746750799873R + 0.5R * down;
  const REAL root = sqrt(half_way * half_way - down / 0.147R);
  REAL y = sqrt(half_way > 0 ? down / -0.147R / (root + half_way) : root - half_way);
  for (int step = 0; step < 3; ++step) {
    const REAL away = a > 0.5R ? (1 - a) - erfc(y) : erf(y) - a;
    const REAL newton = away * 0.886226925452758R * exp(y * y);
    y -= newton / (1 + y * newton);
  }
  return copysign(y, x);
}""")

# Upwards by psi(x) = psi(x + 1) - 1 / x to where the asymptotic series is exact; psi(1 - x) = psi(x) + pi / tan(pi x)
# for negative numbers (Abramowitz and Stegun, 6.3.5, 6.3.7, 6.3.18).
DIGAMMA = _for_floats("""
REAL netcl_digamma_REAL(REAL x) {
  if (x == 0) return copysign((REAL)INFINITY, -x);
  REAL sum = 0;
  if (x < 0) {
    if (x == floor(x)) return (REAL)NAN;
    sum = -3.141592653589793R / tan(3.141592653589793R * (x - rint(x)));
    x = 1 - x;
  }
  for (; x < (sizeof(REAL) == 4 ? 5 : 10); x += 1) sum -= 1 / x;
  const REAL z = 1 / (x * x);
  const REAL rest = z * (1 / 12.0R - z * (1 / 120.0R - z * (1 / 252.0R - z * (1 / 240.0R - z * (1 / 132.0R
                    - z * (691 / 32760.0R - z * (1 / 12.0R)))))));
  return sum + (log(x) - 0.5R / x - rest);
}""")

# Hurwitz's zeta function, the sum of (q + k)^-s for k >= 0: some terms, and the Euler-Maclaurin formula for the rest
# (Abramowitz and Stegun, 23.2.5). For negative q and whole s the terms on both sides of zero are summed by themselves.
ZETA = _for_floats("""
REAL netcl_zeta_above_REAL(REAL s, REAL q) {
  REAL sum = 0;
  for (int k = 0; k < 10; ++k) sum += pow(q + k, -s);
  const REAL a = q + 10, end = pow(a, -s);
  sum += a * end / (s - 1) + 0.5R * end;
  REAL factor = end * s / a;
  const REAL weights[] = {1 / 12.0R, -1 / 720.0R, 1 / 30240.0R, -1 / 1209600.0R, 1 / 47900160.0R,
                          -691 / 1307674368000.0R, 1 / 74724249600.0R};
  for (int k = 0; k < 7; ++k) {
    sum += factor * weights[k];
    factor *= (s + (2 * k + 1)) * (s + (2 * k + 2)) / (a * a);
  }
  return sum;
}
REAL netcl_zeta_REAL(REAL s, REAL q) {
  if (s == 1) return (REAL)INFINITY;
  if (!(s > 1) || isnan(q)) return (REAL)NAN;
  if (isinf(q)) return q > 0 ? 0 : (REAL)NAN;
  if (q > 0) return netcl_zeta_above_REAL(s, q);
  if (q == floor(q)) return (REAL)INFINITY;
  if (s != floor(s)) return (REAL)NAN;
  const REAL below = netcl_zeta_above_REAL(s, ceil(q) - q) - netcl_zeta_above_REAL(s, 1 - q);
  return netcl_zeta_above_REAL(s, q - floor(q)) + (fmod(s, (REAL)2) == 0 ? below : -below);
}""")

# Euclid's algorithm on magnitudes.
COMMON_DIVISOR = _for_integers("""
WHOLE netcl_gcd_WHOLE(WHOLE a, WHOLE b) {
  BITS x = a < 0 ? 0 - (BITS)a : (BITS)a, y = b < 0 ? 0 - (BITS)b : (BITS)b;
  while (y != 0) { const BITS rest = x % y; x = y; y = rest; }
  return (WHOLE)x;
}
WHOLE netcl_lcm_WHOLE(WHOLE a, WHOLE b) {
  const WHOLE divisor = netcl_gcd_WHOLE(a, b);
  if (divisor == 0) return 0;
  const WHOLE product = (WHOLE)((BITS)netcl_quotient_WHOLE(a, divisor) * (BITS)b);
  return product < 0 ? (WHOLE)(0 - (BITS)product) : product;
}""")

# exp(-|x|) I_n(x) for n = 0 and 1: the power series, whose terms are all positive, and from 20 on the asymptotic one
# (Abramowitz and Stegun, 9.6.10 and 9.7.1).
BESSEL = _for_floats("""
REAL netcl_bessel_REAL(int n, REAL x) {
  const REAL a = fabs(x), square = a * a / 4;
  REAL term = 1, sum = 1;
  if (a < 20) {
    for (int k = 1; k < 60; ++k) {
      term *= square / (k * (k + n));
      sum += term;
    }
    sum *= exp(-a) * (n ? a / 2 : 1);
  } else {
    for (int k = 1; k < 30; ++k) {
      term *= ((2 * k - 1) * (2 * k - 1) - 4 * n) / (8 * k * a);
      sum += term;
    }
    sum /= sqrt(6.283185307179586R * a);
  }
  return n ? copysign(sum, x) : sum;
}""")

# exp(x^2) erfc(x): the product where neither is extreme, else the continued fraction of erfc (7.1.14).
SCALED_ERFC = _for_floats("""
REAL netcl_erfcx_REAL(REAL x) {
  if (x < 2) return exp(x * x) * erfc(x);
  REAL below = x;
  for (int k = 50; k > 0; --k) below = x + k / (2 * below);
  return 0.5641895835477563R / below;
}""")

# Philox-4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011), keyed by the seed:
# element i of call c is the first word of the block with counter (i, c). Uniform in [0, 1) from the top 24 bits.
PHILOX = """
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
  uint word = netcl_philox((uint)index, (uint)(index >> 32), (uint)call, (uint)seed, (uint)(seed >> 32));
  return (float)(word >> 8) * 0x1p-24f;
}"""
