"""OpenCL functions that expressions of the primitive table call where the built-in ones are not enough."""

from __future__ import annotations


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


def periodic(name: str) -> str:
    """sin and cos. PoCL's are wrong in every lane of a vector of which one lane is huge, infinite or NaN (sin(1e-4)
    gives 0.0128): there such vectors are halved."""
    halves = f"(float{{n}})(netcl_{name}(x.lo), netcl_{name}(x.hi))"
    return _on_pocl(name, f"{name}(x)", f"all(isless(fabs(x), (float{{n}})(3e4f))) ? {name}(x) : {halves}")


def saturated_tanh() -> str:
    """tanh. PoCL's stays a bit below 1 for any x: 1 - tanh(x)^2 times a large x then is not the 0 that it should be."""
    one = "copysign((float{n})(1.0f), x)"
    return _on_pocl(
        "tanh",
        "fabs(x) > 9.02f ? copysign(1.0f, x) : tanh(x)",
        f"select(tanh(x), {one}, isgreater(fabs(x), (float{{n}})(9.02f)))",
    )


INTEGER_POWER = """
long netcl_ipow(long a, long b) {
  long r = b < 0 ? (a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0) : 1;
  for (; b > 0; b >>= 1) { if (b & 1) r *= a; a *= a; }
  return r;
}"""

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
