"""Matrix products on CPUs as dot products along k, where both operands are contiguous along it.

Derivation. With few rows, packing B costs as much as multiplying it: an element is used M times. Here R rows of A and
S columns of B meet directly, a vector of L values of k at a time: R*S multiply-adds for R + S loads, each element of B
read once for every R rows (B is read from memory once where M <= R), and R*S horizontal sums at the end, log2(L) steps
each, which K/L multiply-adds outweigh from K = 128 on. One row by matrix is 2 flops per element of B: bound by memory.
"""

from __future__ import annotations

from netcl.codegen import tiles
from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.product import Product, ceil_div, named, share, work_items


def suits(p: Product) -> bool:
    """Both contiguous along k, and so few rows or columns that transposing B into panels would not pay."""
    a_stride, (_, b_stride, n_stride) = p.a.strides[2], p.b.strides
    if a_stride != 1 or b_stride != 1 or (n_stride == 1 and p.n > 1) or p.k < 32:
        return False
    return min(p.m, p.n) <= 16 or (p.m <= 32 and p.k >= 128)


def _tile(p: Product, columns: int) -> tuple[int, int]:
    """R and S: near 16 sums, the fewest left over."""
    if p.m <= 2:
        return p.m, min(columns, 6 if p.m == 1 else 4)
    if p.n <= 2:
        return min(8, p.m), p.n

    def waste(shape: tuple[int, int]) -> float:
        r, s = shape
        return ceil_div(p.m, r) * r * ceil_div(columns, s) * s * (1 + 0.25 * (r + s) / (r * s))

    shapes = [(r, s) for r in (8, 5, 4, 3) for s in (5, 4, 3, 2) if r * s <= 20 and r <= p.m and s <= columns]
    return min(shapes, key=waste, default=(min(p.m, 4), min(columns, 2)))


def generate(p: Product) -> KernelSource:
    lanes = tiles.lookup(tiles.CPU, p.target).register_bytes // p.accumulator.itemsize
    columns = min(16, p.n)  # of a unit of work
    r, s = _tile(p, columns)
    row_tiles, column_tiles = ceil_div(p.m, r), ceil_div(p.n, columns)
    units = p.batch * row_tiles * column_tiles
    items = min(units, work_items(p.flops, p.target))
    index = p.index
    wide = tiles.lanes_within(columns, lanes)
    helpers, dot = _dot(p, r, s, columns, lanes)
    a = f"{p.start(p.a)} + z*{p.a.strides[0]} + m0*{p.a.strides[1]}"
    b = f"{p.start(p.b)} + z*{p.b.strides[0]}"
    vector = f"vload{wide}(0, sums + r*{columns} + j)" if wide > 1 else f"sums[r*{columns} + j]"
    body = [
        f"{p.vector(1)} sums[{r * columns}] __attribute__((aligned(64)));",
        *share(units, items),
        f"  const {index} z = u / {row_tiles * column_tiles};",
        f"  const {index} m0 = min(u / {column_tiles} % {row_tiles} * {r}, {p.m - r});",
        f"  const {index} n0 = min(u % {column_tiles} * {columns}, {p.n - columns});",
        f"  {p.pointer(p.a)} A = {a};",
        f"  {p.pointer(p.b)} B = {b};",
        f"  for (int i = 0; i < {columns}; i += {s}) {{",
        f"    const int j = min(i, {columns - s});",
        f"    {dot}(A, B + (n0 + j)*{p.b.strides[2]}, sums + j);",
        "  }",
        f"  for (int r = 0; r < {r}; ++r)",
        f"    for (int i = 0; i < {columns}; i += {wide}) {{",
        f"      const int j = min(i, {columns - wide});",
        f"      const {index} m = m0 + r, v = n0 + j;",
        f"      const {p.vector(wide)} sum = {vector};",
        *indent(p.epilogue("sum", wide), 3),
        "    }",
        "}",
    ]
    once = p.m % r == 0 and p.n % columns == 0 and columns % wide == 0  # no tile starts earlier to fit
    return p.kernel_source(helpers, body, items, once=once)


def _dot(p: Product, r: int, s: int, columns: int, lanes: int) -> tuple[list[str], str]:
    """R x S sums over all of k: vectors of it, their lanes added, then what is left of k one by one."""
    added_text, added = _lane_sum(p, lanes)
    kind, index = p.vector(lanes), p.index
    row, column = p.a.strides[1], p.b.strides[2]
    lines = [f"{kind} {', '.join(f's{i}_{j} = 0' for j in range(s))};" for i in range(r)]
    whole = p.k // lanes * lanes
    lines.append(f"for ({index} k = 0; k < {whole}; k += {lanes}) {{")
    loads = [f"b{j} = {p.load(p.b, 'B', f'(k + {j * column})', lanes)}" for j in range(s)]
    lines.append(f"  const {kind} {', '.join(loads)};")
    for i in range(r):
        element = p.load(p.a, "A", f"(k + {i * row})", lanes)
        lines.append(f"  {{ const {kind} a = {element}; " + " ".join(f"s{i}_{j} += a * b{j};" for j in range(s)) + " }")
    lines.append("}")
    for i in range(r):
        lines.append(" ".join(f"sums[{i * columns + j}] = {added}(s{i}_{j});" for j in range(s)))
    if whole < p.k:
        a, b = p.load(p.a, "A", f"i*{row} + k"), p.load(p.b, "B", f"j*{column} + k")
        lines += [
            f"for ({index} k = {whole}; k < {p.k}; ++k)",
            f"  for (int i = 0; i < {r}; ++i)",
            f"    for (int j = 0; j < {s}; ++j) sums[i*{columns} + j] += {a} * {b};",
        ]
    parameters = f"{p.pointer(p.a)} restrict A, {p.pointer(p.b)} restrict B, {p.vector(1)}* restrict sums"
    text, name = named(f"dot_{r}x{s}", f"void NAME({parameters}) {{\n" + "\n".join(indent(lines)) + "\n}")
    return [added_text, text], name


def _lane_sum(p: Product, lanes: int) -> tuple[str, str]:
    """All lanes of a vector added, halves first."""
    lines, last = [], "x0"
    for turn in range(lanes.bit_length() - 1):
        last = f"x{turn + 1}"
        lines.append(f"const {p.vector(lanes >> (turn + 1))} {last} = x{turn}.lo + x{turn}.hi;")
    text = f"{p.vector(1)} NAME({p.vector(lanes)} x0) {{\n" + "\n".join(indent([*lines, f"return {last};"])) + "\n}"
    return named("lane_sum", text)
