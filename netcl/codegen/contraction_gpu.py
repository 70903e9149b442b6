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

from netcl.codegen import tiles
from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.product import Operand, Product, ceil_div


def _cut(p: Product) -> tuple[int, int, int, int]:
    """T, r, c and D: smaller than the table's where the matrix is, or where there would be too few groups."""
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
    return threads, rows, columns, max(1, min(table.depth, p.k))


def generate(p: Product) -> KernelSource:
    threads, rows, columns, depth = _cut(p)
    tile_m, tile_n, group = threads * rows, threads * columns, threads * threads
    tiles_m, tiles_n = ceil_div(p.m, tile_m), ceil_div(p.n, tile_n)
    kind, index = p.vector(1), p.index
    (a_batch, a_m, a_k), (b_batch, b_k, b_n) = p.a.strides, p.b.strides
    loop = "#pragma unroll\nfor (int {0} = 0; {0} < {1}; ++{0}) "
    over_rows, over_columns = loop.format("i", rows).split("\n"), loop.format("j", columns).split("\n")
    body = [
        f"__local {kind} a_tile[{depth}][{tile_m + 1}], b_tile[{depth}][{tile_n + 1}];",
        f"const int item = get_local_id(0), x = item % {threads}, y = item / {threads};",
        f"const {index} group = get_group_id(0), z = group / {tiles_m * tiles_n};",
        f"const {index} m0 = group / {tiles_n} % {tiles_m} * {tile_m}, n0 = group % {tiles_n} * {tile_n};",
        f"{kind} sums[{rows}][{columns}];",
        *over_rows,
        *indent(over_columns),
        "    sums[i][j] = 0;",
    ]
    if p.k:
        body += [
            f"{p.pointer(p.a)} A = {p.start(p.a)} + z*{a_batch} + m0*{a_m};",
            f"{p.pointer(p.b)} B = {p.start(p.b)} + z*{b_batch} + n0*{b_n};",
            f"for ({index} k0 = 0; k0 < {p.k}; k0 += {depth}) {{",
            *indent(_load(p, p.a, "A", "a_tile", "m", tile_m, p.m, a_m, a_k, depth, group)),
            *indent(_load(p, p.b, "B", "b_tile", "n", tile_n, p.n, b_n, b_k, depth, group)),
            "  barrier(CLK_LOCAL_MEM_FENCE);",
            f"  for (int k = 0; k < {depth}; ++k) {{",
            f"    {kind} a[{rows}], b[{columns}];",
            *indent(
                [
                    *over_rows,
                    f"  a[i] = a_tile[k][y + {threads}*i];",
                    *over_columns,
                    f"  b[j] = b_tile[k][x + {threads}*j];",
                ],
                2,
            ),
            *indent([*over_rows, *indent(over_columns), "    sums[i][j] += a[i] * b[j];"], 2),
            "  }",
            "  barrier(CLK_LOCAL_MEM_FENCE);",
            "}",
        ]
    body += [
        *over_rows,
        *indent(over_columns[:-1]),
        "  " + over_columns[-1] + "{",
        f"    const {index} m = m0 + y + {threads}*i, v = n0 + x + {threads}*j;",
        f"    if (m < {p.m} && v < {p.n}) {{",
        f"      const {kind} sum = sums[i][j];",
        *indent(p.epilogue("sum", 1), 3),
        "    }",
        "  }",
    ]
    return p.kernel_source([], body, p.batch * tiles_m * tiles_n, group)


def _load(
    p: Product, source: Operand, pointer: str, tile: str, name: str, size: int, limit: int, stride: int, k_stride: int,
    depth: int, group: int,
) -> list[str]:  # fmt: skip
    """A tile into local memory, zeros beyond the edges; neighbours in a group read neighbours in memory."""
    along_k = abs(k_stride) == 1 and abs(stride) != 1
    split = f"i / {depth}, k = i % {depth}" if along_k else f"i % {size}, k = i / {size}"
    tests = [f"{name}0 + at < {limit}"] * (limit % size != 0) + [f"k0 + k < {p.k}"] * (p.k % depth != 0)
    element = p.load(source, pointer, f"(at*({p.index}){stride} + (k0 + k)*{k_stride})")
    return [
        f"for (int i = item; i < {size * depth}; i += {group}) {{",
        f"  const int at = {split};",
        f"  {tile}[k][at] = {' && '.join(tests)} ? {element} : 0;" if tests else f"  {tile}[k][at] = {element};",
        "}",
    ]
