"""The inner parts of a product on CPUs that multiply pairs of bfloat16 (AVX-512 BF16): `contraction_cpu` calls these.

VDPBF16PS adds to each of 16 float32 sums two products of bfloat16, in the time of one multiply-add: twice the rate of
float32, for half of the bytes. Its operands are pairs along k, in 32 bits: a panel of B has [k / 2][column] pairs, and
a pair of A's row is spread over a vector. OpenCL C has no function for it, so the loop is written in assembly; the tile
is a function that is not inlined, because by the calling convention all vector registers are free to it.
"""

from __future__ import annotations

from typing import Any

from netcl.codegen import expressions as cl
from netcl.codegen.ir import indent
from netcl.codegen.product import Operand, Product, named, transposed
from netcl.core import dtypes

LANES = 16


def suits(p: Product) -> bool:
    """Products of bfloat16, of which a register holds 16 columns."""
    return p.target.bf16_dot and p.kernel.node.dtype is dtypes.bfloat16 and p.n >= LANES and p.k >= 2


def in_place(p: Product) -> bool:
    """Whether the pairs of A's rows lie in memory as they are needed, a tile's within an instruction's reach."""
    near = abs(p.a.strides[1]) < 2**25
    return p.a.node.dtype is dtypes.bfloat16 and p.a.strides[2] == 1 and p.k % 2 == 0 and near


def strides(p: Product, c: Any) -> tuple[int, int]:
    """Those of a tile's rows and of k, in pairs: in memory for `in_place`, else of the unpacked rows."""
    if not c.unpack:
        return p.a.strides[1], 2  # in bfloat16, of which pointers are
    return (1, c.rows) if p.a.strides[1] == 1 and p.a.strides[2] != 1 else (c.depth // 2, 1)


def tile(p: Product, c: Any, vectors: int) -> tuple[str, str]:
    """R rows of V vectors of sums over pairs of k."""
    row_step, k_step = strides(p, c)
    size = 4 if c.unpack else 2
    pointer = "const uint*" if c.unpack else p.pointer(p.a)
    cells = [(r, v) for r in range(c.rows) for v in range(vectors)]
    width = c.vectors * LANES
    first = c.rows * vectors
    lines = []
    for r, v in cells:
        place = f"%%zmm{r * vectors + v}"
        at = (r * width + v * LANES) * 4
        lines.append(f"vmovups {at}(%3), {place}" if c.blocked else f"vpxord {place}, {place}, {place}")
    lines.append("1:")
    lines += [f"vmovups {v * LANES * 4}(%1), %%zmm{first + v}" for v in range(vectors)]
    for r in range(c.rows):
        lines.append(f"vpbroadcastd {r * row_step * size}(%0), %%zmm{first + vectors}")
        for v in range(vectors):
            lines.append(f"vdpbf16ps %%zmm{first + v}, %%zmm{first + vectors}, %%zmm{r * vectors + v}")
    lines += [f"add ${k_step * size}, %0", f"add ${vectors * LANES * 4}, %1", "sub $1, %2", "jnz 1b"]
    lines += [f"vmovups %%zmm{r * vectors + v}, {(r * width + v * LANES) * 4}(%3)" for r, v in cells]
    registers = ", ".join(f'"xmm{n}"' for n in range(first + vectors + 1))
    parameters = f"{pointer} A, const uint* B, float* sums"
    parameters += f", const int kn, const {p.index} k0" if c.blocked else ""
    clear = []
    if c.blocked:
        clear = [
            f"if (k0 == 0) for (int r = 0; r < {c.rows}; ++r) for (int j = 0; j < {vectors * LANES}; j += {LANES})",
            f"  vstore{LANES}((float{LANES})(0), 0, sums + r*{width} + j);",
        ]
    body = [
        *clear,
        f"long pairs = {'(kn + 1) / 2' if c.blocked else (p.k + 1) // 2};",
        "__asm__ volatile(",
        *[f'  "{line}\\n"' for line in lines],
        '  : "+r"(A), "+r"(B), "+r"(pairs) : "r"(sums) : "memory"',
        "#ifdef __x86_64__  // PoCL inlines everything, and knows registers; Intel's compiler does neither",
        f'  , "cc", {registers}',
        "#endif",
        ");",
    ]
    text = f"__attribute__((noinline)) void NAME({parameters}) {{\n" + "\n".join(indent(body)) + "\n}"
    return named(f"tile_bf16_{c.rows}x{vectors}", text)


# ---- pairs -------------------------------------------------------------------------------------------------------


def _bits(p: Product, source: Operand, pointer: str, offset: str, lanes: int) -> str:
    """Consecutive elements as the 16 bits of bfloat16, rounded where they are cast."""
    dtype = source.node.dtype
    if dtype is dtypes.bfloat16:
        return f"{pointer}[{offset}]" if lanes == 1 else f"vload{lanes}(0, {pointer} + {offset})"
    p.emitter.narrow_lanes.add(lanes)
    wide = cl.convert(cl.load(pointer, offset, dtype, lanes), dtype, dtypes.float32, lanes)
    return f"netcl_bits_bfloat16{'' if lanes == 1 else f'_{lanes}'}({wide})"


def _across(p: Product, source: Operand, pointer: str, at: str, step: int, lanes: int, target: str) -> list[str]:
    """Store at `target` the pairs of elements `step` apart, which are neighbours along k; zeros behind its end."""
    kind = "uint" if lanes == 1 else f"uint{lanes}"
    wide = f"({kind})" if lanes == 1 else f"convert_{kind}"
    low, high = (f"{wide}({_bits(p, source, pointer, offset, lanes)})" for offset in (at, f"({at} + {step})"))
    inside = "if (k + 1 < kn) " if p.k % 2 else ""
    store = f"*({target}) = pair;" if lanes == 1 else f"vstore{lanes}(pair, 0, {target});"
    return ["{", f"  {kind} pair = {low};", f"  {inside}pair |= {high} << 16;", f"  {store}", "}"]


def _along(p: Product, source: Operand, pointer: str, at: str) -> str:
    """32 consecutive elements along k as 16 pairs."""
    halves = [f"as_uint8({_bits(p, source, pointer, f'({at} + {start})', 16)})" for start in (0, 16)]
    return f"(uint16)({', '.join(halves)})"


def _long_runs(p: Product, c: Any) -> bool:
    """Whether every block of k has 32 elements, and no pair crosses its end."""
    return p.k % 2 == 0 and min(p.k, p.k % c.depth or c.depth) >= 32


def unpacking(p: Product, c: Any) -> tuple[str, str]:
    """rows = the pairs of a tile's rows."""
    row_step, k_step = strides(p, c)
    _, m_stride, k_stride = p.a.strides
    if row_step == 1 and c.rows >= 4:
        at = f"(k*({p.index}){k_stride} + i)"
        stored = _across(p, p.a, "A", at, k_stride, 4, f"rows + k/2*{k_step} + i")
        lines = [
            "for (int k = 0; k < kn; k += 2)",
            f"  for (int j = 0; j < {c.rows}; j += 4) {{",
            f"    const int i = min(j, {c.rows - 4});",
            *indent(stored, 2),
            "  }",
        ]
    elif k_stride == 1 and _long_runs(p, c):
        lines = [
            f"for (int r = 0; r < {c.rows}; ++r)",
            "  for (int from = 0; from < kn; from += 32) {",
            "    const int k = min(from, kn - 32);",
            f"    vstore16({_along(p, p.a, 'A', f'(r*({p.index}){m_stride} + k)')}, 0, rows + r*{row_step} + k/2);",
            "  }",
        ]
    else:
        at = f"(r*({p.index}){m_stride} + k*({p.index}){k_stride})"
        stored = _across(p, p.a, "A", at, k_stride, 1, f"rows + r*{row_step} + k/2*{k_step}")
        lines = ["for (int k = 0; k < kn; k += 2)", f"  for (int r = 0; r < {c.rows}; ++r)", *indent(stored, 2)]
    parameters = f"{p.pointer(p.a)} restrict A, uint* restrict rows, const int kn"
    return named("unpack_pairs", f"void NAME({parameters}) {{\n" + "\n".join(indent(lines)) + "\n}")


def packing(p: Product, c: Any) -> tuple[list[str], str]:
    """panel[k / 2][column] = the pairs of B."""
    index, (_, k_stride, n_stride) = p.index, p.b.strides
    several = c.last_vectors != c.vectors
    width = "width" if several else str(c.vectors * LANES)
    helpers: list[str] = []
    each = ["for (int k = 0; k < kn; k += 2)"]
    if n_stride == 1:
        at = f"(({index})k*{k_stride} + c)"
        lines = [*each, *indent(_across(p, p.b, "B", at, k_stride, LANES, f"panel + k/2*{width} + j"))]
    elif k_stride == 1 and _long_runs(p, c):
        loads = [_along(p, p.b, "B", f"(k + (c + {i})*({index}){n_stride})") for i in range(LANES)]
        helpers, rows, last = transposed("uint16", loads)
        stores = [f"vstore16({name}, 0, panel + (k/2 + {i})*{width} + j);" for i, name in enumerate(last)]
        block = ["const int k = min(from, kn - 32);", *rows, *stores]
        lines = ["for (int from = 0; from < kn; from += 32) {", *indent(block), "}"]
    else:
        at = f"(({index})k*{k_stride} + (c + i)*({index}){n_stride})"
        stored = _across(p, p.b, "B", at, k_stride, 1, f"panel + k/2*{width} + j + i")
        lines = ["#pragma unroll 1", *each, f"  for (int i = 0; i < {LANES}; ++i)", *indent(stored, 2)]
    column = f"min(n + j, {p.n - LANES})" if p.n % (c.vectors * LANES) else "n + j"
    lines = [f"for (int j = 0; j < {width}; j += {LANES}) {{", f"  const {index} c = {column};", *indent(lines), "}"]
    parameters = f"{p.pointer(p.b)} restrict B, uint* restrict panel, const {index} n, const int kn"
    if several:
        parameters += ", const int width"
    text, name = named("pack_pairs", f"void NAME({parameters}) {{\n" + "\n".join(indent(lines)) + "\n}")
    return [*helpers, text], name
