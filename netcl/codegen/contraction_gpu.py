"""Matrix products on GPUs: a work-group holds a tile of A and of B in local memory.

Derivation. T x T work-items have r x c sums each, so a group has a tile of T*r by T*c results. For each step of D
along k the group loads D*T*(r + c) elements, coalesced along whichever dimension of an operand is contiguous, and does
2*D*T*r*T*c flops with them: with T = 16 and r = c = 4 that is 8 flops for each byte of float32 from memory or cache.
Each work-item then reads r + c elements of local memory for r*c multiply-adds. Work-items take every T-th row and
column of the tile, so that a row of work-items stores, and reads local memory, side by side; rows of local memory are
one longer than a tile, so that the stores into it hit different banks in either direction.

Every work-item takes part in every load and every barrier; only the epilogue looks at the edge.
"""

from __future__ import annotations

from dataclasses import dataclass

from netcl.codegen import tiles
from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.product import Operand, Product, ceil_div


@dataclass(frozen=True)
class Cut:
    """T, r, c and D of the derivation, and what follows from them."""

    threads: int
    rows: int
    columns: int
    depth: int

    @property
    def group(self) -> int:
        return self.threads * self.threads

    @property
    def tile_m(self) -> int:
        return self.threads * self.rows

    @property
    def tile_n(self) -> int:
        return self.threads * self.columns


def _cut(p: Product) -> Cut:
    """The table's sizes, smaller where the matrix is, or where there would be too few groups."""
    table = tiles.lookup(tiles.GPU, p.target)
    threads = table.threads
    while threads > 1 and threads * threads > p.target.group_size:
        threads //= 2
    rows, columns = min(table.rows, ceil_div(p.m, threads)), min(table.columns, ceil_div(p.n, threads))

    def groups() -> int:
        return p.batch * ceil_div(p.m, threads * rows) * ceil_div(p.n, threads * columns)

    while max(rows, columns) > 1 and groups() < p.target.max_groups // 8:  # max_groups: 16 for each compute unit
        if rows >= columns:
            rows //= 2
        else:
            columns //= 2
    return Cut(threads, rows, columns, max(1, min(table.depth, p.k)))


def generate(p: Product) -> KernelSource:
    c = _cut(p)
    tiles_m, tiles_n = ceil_div(p.m, c.tile_m), ceil_div(p.n, c.tile_n)
    kind, index = p.vector(1), p.index
    body = [
        f"__local {kind} a_tile[{c.depth}][{c.tile_m + 1}], b_tile[{c.depth}][{c.tile_n + 1}];",
        f"const int item = get_local_id(0), x = item % {c.threads}, y = item / {c.threads};",
        f"const {index} group = get_group_id(0), z = group / {tiles_m * tiles_n};",
        f"const {index} m0 = group / {tiles_n} % {tiles_m} * {c.tile_m}, n0 = group % {tiles_n} * {c.tile_n};",
        f"{kind} sums[{c.rows}][{c.columns}];",
        *_each_sum(c, ["sums[i][j] = 0;"]),
        *(_multiply(p, c) if p.k else []),
        *_store(p, c),
    ]
    return p.kernel_source([], body, p.batch * tiles_m * tiles_n, c.group)


def _unrolled(variable: str, count: int) -> list[str]:
    return ["#pragma unroll", f"for (int {variable} = 0; {variable} < {count}; ++{variable}) "]


def _each_sum(c: Cut, body: list[str]) -> list[str]:
    """The body for each sum [i][j] of a work-item."""
    return [*_unrolled("i", c.rows), *indent([*_unrolled("j", c.columns), *indent(body)])]


def _multiply(p: Product, c: Cut) -> list[str]:
    """All of k, in steps for which the group loads tiles."""
    kind = p.vector(1)
    (a_batch, a_m, a_k), (b_batch, b_k, b_n) = p.a.strides, p.b.strides
    return [
        f"{p.pointer(p.a)} A = {p.start(p.a)} + z*{a_batch} + m0*{a_m};",
        f"{p.pointer(p.b)} B = {p.start(p.b)} + z*{b_batch} + n0*{b_n};",
        f"for ({p.index} k0 = 0; k0 < {p.k}; k0 += {c.depth}) {{",
        *indent(_load(p, c, p.a, "A", "a_tile", "m", c.tile_m, p.m, a_m, a_k)),
        *indent(_load(p, c, p.b, "B", "b_tile", "n", c.tile_n, p.n, b_n, b_k)),
        "  barrier(CLK_LOCAL_MEM_FENCE);",
        f"  for (int k = 0; k < {c.depth}; ++k) {{",
        f"    {kind} a[{c.rows}], b[{c.columns}];",
        *indent([*_unrolled("i", c.rows), f"  a[i] = a_tile[k][y + {c.threads}*i];"], 2),
        *indent([*_unrolled("j", c.columns), f"  b[j] = b_tile[k][x + {c.threads}*j];"], 2),
        *indent(_each_sum(c, ["sums[i][j] += a[i] * b[j];"]), 2),
        "  }",
        "  barrier(CLK_LOCAL_MEM_FENCE);",
        "}",
    ]


def _store(p: Product, c: Cut) -> list[str]:
    """What the sums become, where they are inside the matrix."""
    loop, head = _unrolled("j", c.columns)
    return [
        *_unrolled("i", c.rows),
        *indent([loop, head + "{"]),
        f"    const {p.index} m = m0 + y + {c.threads}*i, v = n0 + x + {c.threads}*j;",
        f"    if (m < {p.m} && v < {p.n}) {{",
        f"      const {p.vector(1)} sum = sums[i][j];",
        *indent(p.epilogue("sum", 1), 3),
        "    }",
        "  }",
    ]


def _load(
    p: Product, c: Cut, source: Operand, pointer: str, tile: str, name: str, size: int, limit: int, stride: int,
    k_stride: int,
) -> list[str]:  # fmt: skip
    """A tile into local memory, zeros beyond the edges; neighbours in a group read neighbours in memory."""
    along_k = abs(k_stride) == 1 and abs(stride) != 1
    split = f"i / {c.depth}, k = i % {c.depth}" if along_k else f"i % {size}, k = i / {size}"
    tests = [f"{name}0 + at < {limit}"] * (limit % size != 0) + [f"k0 + k < {p.k}"] * (p.k % c.depth != 0)
    element = p.load(source, pointer, f"(at*({p.index}){stride} + (k0 + k)*{k_stride})")
    return [
        f"for (int i = item; i < {size * c.depth}; i += {c.group}) {{",
        f"  const int at = {split};",
        f"  {tile}[k][at] = {' && '.join(tests)} ? {element} : 0;" if tests else f"  {tile}[k][at] = {element};",
        "}",
    ]
