"""Matrix products on CPUs: tiles of sums in registers, over panels of B.

Derivation. A core multiplies and adds two vectors per cycle and loads two. A tile of R rows by V vectors of columns
takes, for each k, R*V multiply-adds and R + V loads (an element of A is loaded and spread over a vector at once), so
the loads hide behind the arithmetic where R*V >= R + V, and the sums stay in registers where R*V + V + 1 <= 32
(AVX-512): 6x4. Per tile 2*R*V*L flops for each k stand against (R + V*L) elements read, from caches: A is read in
place, R rows at a time, and the V*L columns of B are copied ("packed") into a private panel once for all rows, where
they are contiguous and in the second-level cache. From memory come A once per panel, N/(V*L) times in all, and B and
the result once: with 64 columns of float32 that is 32 flops for each byte of A.

Long sums. A panel is at most `depth` deep, so a longer K goes in blocks, and the sums of a block of rows wait in
private memory meanwhile: never in an output, which may be narrower or may hold something else (the epilogue's result).

Edges. A tile or a vector that would cross the edge starts earlier, at M - R or N - L, and computes some elements
again: to the same value, so there are no narrow variants and no masks. Only N < L pads a panel with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

from netcl.codegen import contraction_bf16, tiles
from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.product import Product, ceil_div, named, share, transposed, work_items


@dataclass(frozen=True)
class Plan:
    """How one product is cut."""

    lanes: int  # of a vector
    rows: int  # of a tile
    vectors: int  # of a tile
    last_vectors: int  # of the tiles in the last panel
    pack: bool
    unpack: bool  # A's rows are brought to accumulators (or pairs), a tile's at a time
    pairs: bool  # of bfloat16 are multiplied, see contraction_bf16
    depth: int  # k in a panel
    block: int  # tiles whose sums wait between panels
    split_rows: int  # units of work along M
    split_columns: int  # and along N
    items: int
    blocked: bool  # k goes in several panels


def plan(p: Product) -> Plan:
    table = tiles.lookup(tiles.CPU, p.target)
    lanes = table.register_bytes // p.accumulator.itemsize
    all_vectors = ceil_div(p.n, lanes)
    rows, vectors = tiles.cpu_shape(table, p.m, all_vectors)
    panels, row_tiles = ceil_div(all_vectors, vectors), ceil_div(p.m, rows)
    left = all_vectors - (panels - 1) * vectors
    worth = (vectors - left) * 10 > all_vectors  # a second tile is more to compile: only to save a tenth of the work
    pairs = lanes == contraction_bf16.LANES and contraction_bf16.suits(p)
    contiguous = p.b.strides[2] == 1 and p.is_plain(p.b)
    pack = pairs or not contiguous or p.n < lanes or (p.m > table.pack_rows and p.k > table.pack_depth)
    down_columns = abs(p.a.strides[1]) < abs(p.a.strides[2])
    depth = table.column_depth if down_columns else table.depth
    depth = ceil_div(p.k, ceil_div(p.k, depth * 4 // p.accumulator.itemsize))
    depth += depth % 2 if pairs else 0
    want = work_items(p.flops, p.target)
    split_columns = min(panels, ceil_div(want, p.batch))
    cores = max(1, p.target.work_items // 4)
    split_rows = 1  # units that share a panel pack it twice: only where cores would be idle
    if p.batch * split_columns < want and p.batch * split_columns % cores:
        split_rows = min(row_tiles, cores)
    units = p.batch * split_columns * split_rows
    return Plan(
        lanes, rows, vectors, left if panels > 1 and worth else vectors, pack,
        not (contraction_bf16.in_place(p) if pairs else p.is_plain(p.a)), pairs, depth,
        max(1, table.block_rows // rows), split_rows, split_columns, min(units, want) if p.batch > 1 else units,
        p.k > depth,
    )  # fmt: skip


def generate(p: Product) -> KernelSource:
    """A work-item's units: a range of rows (in tiles) by a range of columns (in panels) of one matrix."""
    c = plan(p)
    index, kind, width = p.index, p.vector(1), c.vectors * c.lanes
    row_tiles, panels = ceil_div(p.m, c.rows), ceil_div(ceil_div(p.n, c.lanes), c.vectors)
    helpers, fill, multiply = _steps(p, c, panels)
    loops = _loops(p, c, fill, multiply)
    if c.last_vectors != c.vectors:
        loops.insert(0, f"const int width = panel_number < {panels - 1} ? {width} : {c.last_vectors * c.lanes};")
    sums = min(c.block, ceil_div(row_tiles, c.split_rows)) if c.blocked else 1
    parts = c.split_columns * c.split_rows
    packed, depth = ("uint", c.depth // 2) if c.pairs else (kind, c.depth)
    body = [
        *([f"{packed} panel[{depth * width}] __attribute__((aligned(64)));"] if c.pack else []),
        *([f"{packed} rows[{depth * c.rows}] __attribute__((aligned(64)));"] if c.unpack else []),
        f"{kind} sums[{sums * c.rows * width}] __attribute__((aligned(64)));",
        *share(p.batch * parts, c.items),
        f"  const {index} z = u / {parts};",
        f"  const int column = u % {c.split_columns}, row = u / {c.split_columns} % {c.split_rows};",
        f"  const int tile_begin = row * {row_tiles} / {c.split_rows};",
        f"  const int tile_end = (row + 1) * {row_tiles} / {c.split_rows};",
        f"  const int panel_end = (column + 1) * {panels} / {c.split_columns};",
        f"  {p.pointer(p.a)} A = {p.start(p.a)} + z*{p.a.strides[0]};",
        f"  {p.pointer(p.b)} B = {p.start(p.b)} + z*{p.b.strides[0]};",
        f"  const int panel_begin = column * {panels} / {c.split_columns};",
        "  for (int panel_number = panel_begin; panel_number < panel_end; ++panel_number) {",
        f"    const {index} n = panel_number * ({index}){width};",
        *indent(loops, 2),
        "  }",
        "}",
    ]
    return p.kernel_source(helpers, body, c.items, once=p.n % tiles.lanes_within(p.n, c.lanes) == 0)


def _steps(p: Product, c: Plan, panels: int) -> tuple[list[str], list[str], list[str]]:
    """Helper functions, what fills a panel, and what multiplies a tile by it."""
    multiply, helpers = _multiply(p, c, panels)
    fill: list[str] = []
    if c.pack:
        pack_helpers, pack = (contraction_bf16.packing if c.pairs else packing)(p, c)
        helpers = [*pack_helpers, *helpers]
        rows = f"B + k0*{p.b.strides[1]}, panel, n, kn" if c.blocked else f"B, panel, n, {p.k}"
        fill = [f"{pack}({rows}{'' if c.last_vectors == c.vectors else ', width'});"]
    if c.unpack:
        text, unpack = (contraction_bf16.unpacking if c.pairs else unpacking)(p, c)
        helpers = [text, *helpers]
        start = f"A + m0*{p.a.strides[1]}" + (f" + k0*{p.a.strides[2]}" if c.blocked else "")
        multiply = [f"{unpack}({start}, rows, {'kn' if c.blocked else p.k});", *multiply]
    return helpers, fill, multiply


def _loops(p: Product, c: Plan, fill: list[str], multiply: list[str]) -> list[str]:
    """All tiles of a panel: at once, or in blocks of tiles that each go over the depth in parts."""
    finish = _finish(p, c)
    m0 = f"const {p.index} m0 = {_at_most(f'tile*{c.rows}', p.m - c.rows, p.m % c.rows != 0)};"
    if not c.blocked:
        tiles_loop = "for (int tile = tile_begin; tile < tile_end; ++tile) {"
        return [*fill, tiles_loop, *indent([m0, *multiply, *finish]), "}"]
    return [
        f"for (int block = tile_begin; block < tile_end; block += {c.block}) {{",
        f"  const int block_end = min(block + {c.block}, tile_end);",
        f"  for ({p.index} k0 = 0; k0 < {p.k}; k0 += {c.depth}) {{",
        f"    const int kn = min({c.depth}, (int)({p.k} - k0));",
        *indent(fill, 2),
        "    for (int tile = block; tile < block_end; ++tile) {",
        *indent([m0, *multiply], 3),
        "    }",
        "  }",
        "  for (int tile = block; tile < block_end; ++tile) {",
        *indent([m0, *finish], 2),
        "  }",
        "}",
    ]


def _at_most(text: str, limit: int, needed: bool) -> str:
    return f"min({text}, {limit})" if needed else text


def _sums(c: Plan) -> str:
    """Where the sums of a tile are, of those that wait."""
    return f"sums + (tile - block)*{c.rows * c.vectors * c.lanes}" if c.blocked else "sums"


def _multiply(p: Product, c: Plan, panels: int) -> tuple[list[str], list[str]]:
    """The call that computes a tile's sums, or one of two where the last panel is narrower; and the helpers."""
    a, b = f"A + m0*{p.a.strides[1]}", "panel" if c.pack else "B"
    a = "rows" if c.unpack else f"{a} + k0*{p.a.strides[2]}" if c.blocked else a
    if c.blocked:
        b = b if c.pack else f"B + k0*{p.b.strides[1]}"
    arguments = [a, b, *([] if c.pack else ["n"]), _sums(c), *(["kn", "k0"] if c.blocked else [])]
    calls, helpers = [], []
    for vectors in dict.fromkeys((c.vectors, c.last_vectors)):
        text, name = (contraction_bf16.tile if c.pairs else tile)(p, c, vectors)
        helpers.append(text)
        calls.append(f"{name}({', '.join(arguments)});")
    if len(calls) == 2:
        calls = [f"if (panel_number < {panels - 1}) {calls[0]}", f"else {calls[1]}"]
    return calls, helpers


def _finish(p: Product, c: Plan) -> list[str]:
    """The epilogue over a tile's rows and vectors, from its sums. Rows that the tile before has had are left out;
    the last vector of a row may do columns again."""
    width, index = c.vectors * c.lanes, p.index
    lanes = tiles.lanes_within(p.n, c.lanes)
    at = f"{_sums(c)} + r*{width} + {'j' if p.n >= c.lanes else 'v'}"
    return [
        f"for (int r = {f'tile*{c.rows} - m0' if p.m % c.rows else '0'}; r < {c.rows}; ++r)",
        f"  for (int j = 0; j < {width if p.n % width == 0 else f'min({width}, (int)({p.n} - n))'}; j += {lanes}) {{",
        f"    const {index} m = m0 + r, v = {_at_most('n + j', p.n - lanes, p.n % lanes != 0)};",
        f"    const {p.vector(lanes)} sum = {f'*({at})' if lanes == 1 else f'vload{lanes}(0, {at})'};",
        *indent(p.epilogue("sum", lanes), 2),
        "  }",
    ]


def tile(p: Product, c: Plan, vectors: int) -> tuple[str, str]:
    """The innermost loop: R*V multiply-adds for each k, all sums in registers. With blocks of k, sums go on from the
    block before unless it is the first."""
    rows, lanes, width = range(c.rows), c.lanes, c.vectors * c.lanes
    kind, index = p.vector(lanes), p.index
    lines = [f"{kind} {', '.join(f's{r}_{v} = 0' for v in range(vectors))};" for r in rows]
    if c.pack:
        loads = [f"vload{lanes}(0, B + k*{vectors * lanes} + {v * lanes})" for v in range(vectors)]
        parameters = f"const {p.vector(1)}* restrict B, {p.vector(1)}* restrict sums"
    else:
        ragged = p.n % (vectors * lanes) != 0
        columns = [_at_most(f"n + {v * lanes}" if v else "n", p.n - lanes, ragged) for v in range(vectors)]
        lines.append(f"const {index} {', '.join(f'c{v} = {column}' for v, column in enumerate(columns))};")
        loads = [p.load(p.b, "B", f"k*{p.b.strides[1]} + c{v}", lanes) for v in range(vectors)]
        parameters = f"{p.pointer(p.b)} restrict B, const {index} n, {p.vector(1)}* restrict sums"
    if c.blocked:
        parameters += f", const int kn, const {index} k0"
        lines.append("if (k0) {")
        for r in rows:
            before = [f"s{r}_{v} = vload{lanes}(0, sums + {r * width + v * lanes});" for v in range(vectors)]
            lines.append("  " + " ".join(before))
        lines.append("}")
    lines.append(f"for ({index} k = 0; k < {'kn' if c.blocked else p.k}; ++k) {{")
    lines.append(f"  const {kind} {', '.join(f'b{v} = {load}' for v, load in enumerate(loads))};")
    row_step, k_step = _unpacked(p, c) if c.unpack else p.a.strides[1:]
    for r in rows:
        at = f"{r * row_step} + k*{k_step}"
        element = f"A[{at}]" if c.unpack else p.load(p.a, "A", at)
        added = " ".join(f"s{r}_{v} += a * b{v};" for v in range(vectors))
        lines.append(f"  {{ const {p.vector(1)} a = {element}; {added} }}")
    lines.append("}")
    for r in rows:
        lines.append(" ".join(f"vstore{lanes}(s{r}_{v}, 0, sums + {r * width + v * lanes});" for v in range(vectors)))
    pointer = f"const {p.vector(1)}*" if c.unpack else p.pointer(p.a)
    text = f"void NAME({pointer} restrict A, {parameters}) {{\n" + "\n".join(indent(lines)) + "\n}"
    return named(f"tile_{c.rows}x{vectors}", text)


# ---- rows of A that are not accumulators -------------------------------------------------------------------------


def _unpacked(p: Product, c: Plan) -> tuple[int, int]:
    """The strides of a tile's rows and of k where they have been unpacked: in memory's order."""
    return (1, c.rows) if p.a.strides[1] == 1 and p.a.strides[2] != 1 else (c.depth, 1)


def unpacking(p: Product, c: Plan) -> tuple[str, str]:
    """rows = the elements of A in a tile's rows as accumulators, rounded where they are cast: a vector at a time, for
    V*L multiply-adds with each element. Vectors that would cross the end start earlier."""
    row_step, k_step = _unpacked(p, c)
    _, m_stride, k_stride = p.a.strides
    length, outer = ("kn", c.rows) if k_step == 1 else (str(c.rows), "kn")
    lanes = c.lanes if k_step == 1 else tiles.lanes_within(c.rows, c.lanes)
    source = (m_stride, k_stride) if k_step == 1 else (k_stride, m_stride)
    target = (row_step, 1) if k_step == 1 else (k_step, 1)

    def moved(lanes: int) -> str:
        element = p.load(p.a, "A", f"(o*({p.index}){source[0]} + i*{source[1]})", lanes)
        at = f"rows + o*{target[0]} + i"
        return f"vstore{lanes}({element}, 0, {at});" if lanes > 1 else f"*({at}) = {element};"

    least = min(p.k, p.k % c.depth or c.depth) if k_step == 1 else c.rows  # the shortest run that there is
    if source[1] == 1 and lanes > 1 and least >= lanes:
        inner = [
            f"for (int j = 0; j < {length}; j += {lanes}) {{",
            f"  const int i = min(j, {length} - {lanes});",
            f"  {moved(lanes)}",
            "}",
        ]
    else:
        inner = [f"for (int i = 0; i < {length}; ++i) {moved(1)}"]
    lines = [f"for (int o = 0; o < {outer}; ++o)", *indent(inner)]
    parameters = f"{p.pointer(p.a)} restrict A, {p.vector(1)}* restrict rows, const int kn"
    return named("unpack", f"void NAME({parameters}) {{\n" + "\n".join(indent(lines)) + "\n}")


# ---- packing -----------------------------------------------------------------------------------------------------


def packing(p: Product, c: Plan) -> tuple[list[str], str]:
    """panel[k][column] = B[k][n + column], V*L columns of `kn` rows: a load and a store of an element for 2*M flops."""
    lanes, index, (_, k_stride, n_stride) = c.lanes, p.index, p.b.strides
    several = c.last_vectors != c.vectors
    width = "width" if several else str(c.vectors * lanes)
    helpers: list[str] = []
    if p.n >= lanes and n_stride == 1:
        row = p.load(p.b, "B", f"(({index})k*{k_stride} + c)", lanes)
        lines = [f"for (int k = 0; k < kn; ++k) vstore{lanes}({row}, 0, panel + k*{width} + j);"]
    elif p.n >= lanes and k_stride == 1 and _worth_transposing(p, c):
        helpers, lines = _transposing(p, lanes, n_stride, width)
    else:
        element = p.load(p.b, "B", f"(({index})k*{k_stride} + (c + i)*{n_stride})")
        if p.n < lanes:
            element = f"i < {p.n} ? {element} : 0"
        lines = [
            "#pragma unroll 1",  # or short loops are written out, which takes long to compile
            "for (int k = 0; k < kn; ++k)",
            f"  for (int i = 0; i < {lanes}; ++i) panel[k*{width} + j + i] = {element};",
        ]
    column = _at_most("n + j", p.n - lanes, p.n % (c.vectors * lanes) != 0) if p.n >= lanes else "0"
    lines = [f"for (int j = 0; j < {width}; j += {lanes}) {{", f"  const {index} c = {column};", *indent(lines), "}"]
    parameters = f"{p.pointer(p.b)} restrict B, {p.vector(1)}* restrict panel, const {index} n, const int kn"
    if several:
        parameters += ", const int width"
    text, name = named("pack", f"void NAME({parameters}) {{\n" + "\n".join(indent(lines)) + "\n}")
    return [*helpers, text], name


def _worth_transposing(p: Product, c: Plan) -> bool:
    """Measured: 5 to 30 % of the whole at 64 to 128 rows, nothing visible from 512 on, and 80 ms of compile time."""
    return 16 < p.m <= 384 and c.depth >= 64 and p.flops >= 4_000_000


def _transposing(p: Product, lanes: int, n_stride: int, width: str) -> tuple[list[str], list[str]]:
    """B contiguous along k: blocks of L x L are loaded by columns and transposed in registers. The last block of k
    starts early enough to fit."""
    loads = [p.load(p.b, "B", f"(k + (c + {i})*{n_stride})", lanes) for i in range(lanes)]
    helpers, rows, names = transposed(p.vector(lanes), loads)
    lines = [f"for (int from = 0; from < kn; from += {lanes}) {{", f"  const int k = min(from, kn - {lanes});"]
    lines += indent(rows)
    lines += [f"  vstore{lanes}({name}, 0, panel + (k + {i})*{width} + j);" for i, name in enumerate(names)]
    return helpers, [*lines, "}"]
