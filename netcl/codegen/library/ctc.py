"""Connectionist temporal classification: a launch for the losses, a launch for the gradient, whatever the length.

Graves, Fernandez, Gomez, Schmidhuber: Connectionist Temporal Classification, 2006.

A sequence of L symbols l(1) .. l(L) is written with a blank before, between and after them. At each time an alignment
is in one of 2 L + 1 states: blank j (0 .. L), behind symbol j, or symbol j (1 .. L). With e(t, c) the logarithm of the
probability of class c at time t, and `lse` the logarithm of a sum of exponentials, the logarithms of the probability
of all ways into a state, its own symbol included, are

    b(t, j) = lse(b(t-1, j), z(t-1, j)) + e(t, blank)
    z(t, j) = lse(z(t-1, j), b(t-1, j-1), z(t-1, j-1) + skip(j)) + e(t, l(j))

from b(-1, 0) = 0 and -inf elsewhere. skip(j) is 0 where l(j) differs from l(j-1), else -inf: the blank between equal
symbols can't be left out. Times behind a sequence's end T' are not visited. The loss is -lse(b(T'-1, L), z(T'-1, L)).

The logarithms B, Z of all ways from a state at time t to the end, its own symbol not included, come from those at t+1,
with the symbols there: u(j) = B(t+1, j) + e(t+1, blank) and v(j) = Z(t+1, j) + e(t+1, l(j)); behind the end u(L) = 0.

    B(t, j) = lse(u(j), v(j+1))
    Z(t, j) = lse(v(j), u(j), v(j+1) + skip(j+1))

exp(b + B + loss) and exp(z + Z + loss) are the shares of the alignments that are in a state at time t; minus their
sum over the states of a class is the derivative of the loss by e(t, class). No share is larger than 1: nothing
overflows.

Both states lie in two rows of P places, so that a step is the same for each j, with neighbours one place apart: loads
of vectors on CPUs, coalesced loads on GPUs. What does not exist (z(0), places behind L) holds -inf, or is not summed.

Bytes moved, of T times, N sequences, C classes, elements of 4: forward reads 4 T N min(C, L + 1) of the scores, and
writes 8 T N P of states where the gradient will need them, else the two rows it is between stay in cache. The gradient
reads both again, and writes 4 T N C. There is nothing of size T N L C, and no row of the scores is read for each state.

`cpu` target: a work-item takes a sequence, a vector of states at a time. `gpu`: a work-group takes a sequence, states
are dealt out to its items, a barrier between times. Every bound of a loop with a barrier is the whole group's.
"""

from __future__ import annotations

from netcl.codegen import expressions as cl
from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.library.writer import Writer

WIDEST = 16  # lanes of a vector
SCRATCH_ROWS = 6  # of the gradient: u, v of two times, and the shares


def row_size(symbols: int) -> int:
    """P: places for blanks or symbols 0 .. `symbols`, in whole vectors, and one behind them."""
    return -(-(symbols + 1) // WIDEST) * WIDEST + 1


def states_size(times: int, symbols: int, kept: bool) -> int:
    """Of what `ctc_states` writes for a sequence: the loss, and rows b and z before the first time and after each, or
    of two times where nothing has to be kept."""
    return 1 + 2 * row_size(symbols) * (times + 1 if kept else 2)


def shares_size(times: int, classes: int, symbols: int) -> int:
    """Of what `ctc_shares` writes for a sequence: the gradient, and memory to work in."""
    return times * classes + SCRATCH_ROWS * row_size(symbols)


def write_states(w: Writer) -> KernelSource:
    return _Recursion(w).states()


def write_shares(w: Writer) -> KernelSource:
    return _Recursion(w).shares()


class _Recursion:
    """What both kernels share: one sequence after the other, its lengths and symbols, vectors of states.

    Operands: scores (N, T, C), targets, input lengths (N,), target lengths (N,), then those of each.
    """

    def __init__(self, w: Writer):
        self.w = w
        self.blank, self.symbols, self.joined, self.kept = w.node.arg
        self.count, self.times, self.classes = w.node.src[0].shape
        self.cpu = w.target.kind == "cpu"
        self.dtype = w.node.dtype
        self.row = row_size(self.symbols)
        self.lanes = w.target.lanes(self.symbols + 1) if self.cpu else 1
        self.group = 1 if self.cpu else min(w.target.group_size, 1 << max(self.symbols, 15).bit_length())
        self.kind = cl.compute_type(self.dtype, self.lanes)
        self.never = cl.number(float("-inf"), self.dtype)
        self.pointer = f"__global {self.dtype.storage}*"
        self.states_pointer = f"__global const {self.dtype.storage}*"
        self.sync = [] if self.cpu else ["barrier(CLK_GLOBAL_MEM_FENCE);"]

    # ---- frame ----

    def kernel(self, body: list[str]) -> KernelSource:
        """`body` for each sequence n."""
        most = self.w.target.work_items if self.cpu else self.w.target.max_groups
        groups = min(self.count, most)
        lines = [
            f"const int item = {0 if self.cpu else 'get_local_id(0)'};",
            *self._private(),
            f"for ({self.w.index} n = get_group_id(0); n < {self.count}; n += {groups}) {{", *indent(body), "}",
        ]  # fmt: skip
        work = self.count * self.times * self.symbols * 10
        return self.w.kernel(lines, groups, self.group, work, self._log_sums())

    def _private(self) -> list[str]:
        """A CPU has the symbols of a sequence, and what it costs to skip the blank before each, at hand."""
        return [f"int label[{self.row}];", f"{self.dtype.compute} skip[{self.row}];"] if self.cpu else []

    def each(self, first: int, body: list[str]) -> list[str]:
        """`body` for vectors of states j from `first` to the sequence's last, dealt out to the items."""
        start, step = (f"{first}", self.lanes) if self.cpu else (f"{first} + item", self.group)
        return [f"for (int j = {start}; j <= length; j += {step}) {{", *indent(body), "}"]

    def fill(self, row: str, size: int | str, text: str) -> str:
        """`text` at each j of a row, dealt out to the items."""
        index = self.w.index
        return f"for ({index} j = item; j < {size}; j += {self.group}) {row}[j] = {text};"

    def vector(self, text: str) -> str:
        return cl.splat(text, self.dtype, self.lanes)

    def load(self, row: str, j: str = "j") -> str:
        return cl.load(row, j, self.dtype, self.lanes)

    def store(self, row: str, text: str) -> str:
        return cl.store(row, "j", text, self.dtype, self.lanes)

    def _log_sums(self) -> list[str]:
        """netcl_lse(a, b) and netcl_lse(a, b, c). -inf where all are; NaN where one is."""
        texts = []
        for lanes in sorted({1, self.lanes}):
            kind = cl.compute_type(self.dtype, lanes)
            never, zero = (cl.splat(text, self.dtype, lanes) for text in (self.never, "0"))
            finite = cl.select_mask(f"top == {never}", zero, "top", lanes)
            for names, top in (("ab", "fmax(a, b)"), ("abc", "fmax(fmax(a, b), c)")):
                parameters = ", ".join(f"{kind} {name}" for name in names)
                total = " + ".join(f"exp({name} - base)" for name in names)
                texts.append(
                    f"{kind} __attribute__((overloadable)) netcl_lse({parameters}) {{\n"
                    f"  const {kind} top = {top}, base = {finite};\n"
                    f"  return log({total}) + base;\n}}"
                )
        return texts

    # ---- a sequence ----

    def sequence(self, sites: bool) -> list[str]:
        """Its scores, its lengths and its symbols; what is out of range is told, where there are sites for it."""
        w = self.w
        lines = [f"{w.pointer_type(0)} scores = {w.pointer(0)} + n*{w.strides(0)[0]};"]
        for number, name, most, site in ((2, "end", self.times, 1), (3, "length", self.symbols, 2)):
            given = w.load(number, w.pointer(number), f"n*{w.strides(number)[0]}")
            lines.append(f"const long given_{name} = (long){given};")
            lines.append(f"const int {name} = (int)clamp(given_{name}, 0L, {most}L);")
            if sites:
                lines.append(self._told(f"given_{name}", most, "n", site))
        lines += self._first_symbol()
        find = [f"const long given = {self._given('j')};"]
        if sites:
            find.append(self._told("given", self.classes - 1, "start + j - 1", 0))
        if not self.cpu:
            return lines + (self.each(1, find) if sites else [])
        find += [
            f"label[j] = (int)clamp(given, 0L, {self.classes - 1}L);",
            f"skip[j] = j > 1 && label[j] != label[j - 1] ? 0 : {self.never};",
        ]
        nothing = f"{{ label[j] = {self.blank}; skip[j] = {self.never}; }}"
        return [
            *lines,
            f"for (int j = 0; j < {self.row}; ++j) {nothing}",
            "for (int j = 1; j <= length; ++j) {", *indent(find), "}",
        ]  # fmt: skip

    def _first_symbol(self) -> list[str]:
        """Where the sequence starts among the targets, as errors count them."""
        index = self.w.index
        if not self.joined:
            return [f"const {index} start = n*{self.w.node.src[1].shape[1]};"]
        size = self.w.load(3, self.w.pointer(3), f"m*{self.w.strides(3)[0]}")
        before = f"for ({index} m = 0; m < n; ++m) start += ({index})clamp((long){size}, 0L, {self.symbols}L);"
        return [f"{index} start = 0;", before]

    def _given(self, j: str) -> str:
        """Symbol j as it was given. Joined targets end where the lengths say, which the host has added up."""
        strides = self.w.strides(1)
        at = f"(start + {j} - 1)*{strides[0]}" if self.joined else f"n*{strides[0]} + ({j} - 1)*{strides[1]}"
        return f"(long){self.w.load(1, self.w.pointer(1), at)}"

    def _told(self, value: str, most: int, position: str, site: int) -> str:
        """The first wrong number is remembered in the device's flag."""
        flags = self.w.emitter.argument("flags", None)
        number = self.w.emitter.argument("scalar", self.w.node.src[site - 3])
        one = "" if self.cpu or not site else "item == 0 && "
        return (
            f"if ({one}({value} < 0 || {value} > {most}) && "
            f"atomic_cmpxchg((volatile __global int*){flags}, 0, 1) == 0) {{ {flags}[1] = (int){number}; "
            f"((__global long*){flags})[1] = {value}; ((__global long*){flags})[2] = (long)({position}); }}"
        )

    def label(self, j: str) -> str:
        return f"label[{j}]" if self.cpu else f"(int)clamp({self._given(j)}, 0L, {self.classes - 1}L)"

    def skip(self, j: str) -> str:
        """What it costs to come to symbol j, at least 1, without the blank before it."""
        if self.cpu:
            return cl.load("skip", j, self.dtype, self.lanes)
        other = f"{self.label(j)} != {self.label(f'{j} - 1')}"
        return f"({j} > 1 && {j} <= length && {other} ? 0 : {self.never})"

    def scores_of_symbols(self) -> str:
        """e(t, l(j)), from the scores `now`."""
        step = self.w.strides(0)[2]
        if self.cpu:
            return cl.gathered("now", [f"label[j + {n}]*{step}" for n in range(self.lanes)], self.dtype)
        return f"now[(j > 0 ? {self.label('j')} : {self.blank})*{step}]"

    def now(self) -> list[str]:
        """The scores at time t, and the blank's."""
        strides = self.w.strides(0)
        return [
            f"{self.w.pointer_type(0)} now = scores + t*{strides[1]};",
            f"const {self.dtype.compute} of_blank = now[{self.blank * strides[2]}];",
        ]

    # ---- forward ----

    def states(self) -> KernelSource:
        pair = 2 * self.row  # b and z
        place = "({})" if self.kept else "(({}) & 1)"
        step = [
            *self.now(),
            f"{self.pointer} before = rows + {place.format('t')}*{pair};",
            f"{self.pointer} b = rows + {place.format('t + 1')}*{pair};",
            f"{self.pointer} z = b + {self.row};",
            f"if (item == 0) {{ b[0] = before[0] + of_blank; z[0] = {self.never}; }}",
            *self.each(1, [
                f"const {self.kind} same_b = {self.load('before')}, last_b = {self.load('before', 'j - 1')};",
                f"const {self.kind} same_z = {self.load('before', f'{self.row} + j')};",
                f"const {self.kind} last_z = {self.load('before', f'{self.row} + j - 1')};",
                self.store("b", f"netcl_lse(same_b, same_z) + {self.vector('of_blank')}"),
                self.store("z", f"netcl_lse(same_z, last_b, last_z + {self.skip('j')}) + {self.scores_of_symbols()}"),
            ]),
            *self.sync,
        ]  # fmt: skip
        body = [
            *self.sequence(sites=True),
            f"{self.pointer} mine = {self.w.output()} + n*{self.w.node.shape[1]};",
            f"{self.pointer} rows = mine + 1;",
            self.fill("rows", pair, f"j == 0 ? 0 : {self.never}"),
            *self.sync,
            f"for ({self.w.index} t = 0; t < end; ++t) {{", *indent(step), "}",
            f"{self.pointer} b = rows + {place.format('end')}*{pair};",
            f"if (item == 0) mine[0] = -netcl_lse(b[length], b[{self.row} + length]);",
        ]  # fmt: skip
        return self.kernel(body)

    # ---- gradient ----

    def shares(self) -> KernelSource:
        pair = 2 * self.row
        step = [
            *self.now(),
            f"{self.states_pointer} b = rows + (t + 1)*{pair};",
            f"{self.states_pointer} z = b + {self.row};",
            f"{self.pointer} after = work + ((t + 1) & 1)*{pair};",
            f"{self.pointer} u = work + (t & 1)*{pair};",
            f"{self.pointer} v = u + {self.row};",
            f"{self.pointer} slopes = mine + t*{self.classes};",
            self.fill("slopes", self.classes, "0"),
            *self.each(0, [
                f"const {self.kind} same_u = {self.load('after')}, same_v = {self.load('after', f'{self.row} + j')};",
                f"const {self.kind} next_v = {self.load('after', f'{self.row} + j + 1')};",
                f"const {self.kind} to_b = netcl_lse(same_u, next_v);",
                f"const {self.kind} to_z = netcl_lse(same_v, same_u, next_v + {self.skip('j + 1')});",
                self.store("u", f"to_b + {self.vector('of_blank')}"),
                self.store("v", f"to_z + {self.scores_of_symbols()}"),
                self.store("in_b", f"exp({self.load('b')} + to_b + {self.vector('loss')})"),
                self.store("in_z", f"exp({self.load('z')} + to_z + {self.vector('loss')})"),
            ]),
            *self.sync,
            *(self._added() if self.cpu else self._added_by_all()),
            *self.sync,
        ]  # fmt: skip
        size = self.times * self.classes
        states = self.w.node.src[4].shape[1]
        body = [
            *self.sequence(sites=False),
            f"{self.states_pointer} rows = {self.w.pointer(4)} + n*{states} + 1;",
            f"const {self.dtype.compute} loss = rows[-1];",
            "const int stop = loss < INFINITY ? end : 0;",  # no alignment, or NaN: there is nothing to share
            f"{self.pointer} mine = {self.w.output()} + n*{self.w.node.shape[1]};",
            f"{self.pointer} work = mine + {size};",
            f"{self.pointer} in_b = work + {2 * pair};",
            f"{self.pointer} in_z = in_b + {self.row};",
            self.fill("work", 2 * pair, f"j == (stop & 1)*{pair} + length ? 0 : {self.never}"),
            f"{self.pointer} behind = mine + ({self.w.index})stop*{self.classes};",
            self.fill("behind", f"({self.w.index})({self.times} - stop)*{self.classes}", "isnan(loss) ? loss : 0"),
            *self.sync,
            f"for ({self.w.index} t = stop - 1; t >= 0; --t) {{", *indent(step), "}",
        ]  # fmt: skip
        return self.kernel(body)

    def _added(self) -> list[str]:
        """Shares added up by class, in the order of the states."""
        return [
            f"{self.dtype.compute} total = 0;",
            "for (int j = 0; j <= length; ++j) total += in_b[j];",
            f"slopes[{self.blank}] = -total;",
            "for (int j = 1; j <= length; ++j) slopes[label[j]] -= in_z[j];",
        ]

    def _added_by_all(self) -> list[str]:
        """The same by a group: the first state of each class adds up all of them, so that nobody else writes there."""
        own = f"(k > 0 ? {self.label('k')} : {self.blank})"
        body = [
            f"const int own = {own};",
            f"int first = k == 0 || own != {self.blank};",
            f"{self.dtype.compute} total = 0;",
            "for (int j = 0; k == 0 && j <= length; ++j) total += in_b[j];",
            "for (int j = 1; j <= length; ++j)",
            f"  if ({self.label('j')} == own) {{ first &= j >= k; total += in_z[j]; }}",
            "if (first) slopes[own] = -total;",
        ]
        return [f"for (int k = item; k <= length; k += {self.group}) {{", *indent(body), "}"]
