"""Text for the values of one kernel: each node is evaluated once per scope, in the outermost scope that it can be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from netcl.codegen import expressions as cl
from netcl.codegen import index as ix
from netcl.codegen.accesses import data_operands, operands_at, position
from netcl.codegen.index import Index
from netcl.codegen.ir import Layout, Node, contiguous_strides, indent, walk
from netcl.codegen.views import Coordinates, operand_coordinates, padding_conditions
from netcl.core import dtypes
from netcl.core.dtypes import DType


@dataclass
class Scope:
    """One nesting level of the text: what is declared in it, and the lines so far."""

    lines: list[str] = field(default_factory=list)
    memo: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Value:
    """A value in a register: its text, whether it has lanes, and the depth of the scope it belongs to."""

    text: str
    vector: bool
    depth: int


class Emitter:
    """Evaluates nodes at coordinates and writes the statements into scopes.

    `depth_of` maps a coordinate variable to the depth of the scope that binds it, `replacements` to its index in the
    loop variables. `lanes` is the width of values that depend on the loop variable `vector`. `stored` are nodes whose
    elements the kernel writes to memory.
    """

    def __init__(self, bindings: dict[Node, Layout], index_type: str = "int", stored: Iterable[Node] = ()):
        self.bindings = bindings
        self.index_type = index_type
        self.rounded = _narrow_and_read(stored, bindings)
        self.scopes: list[Scope] = [Scope()]
        self.depth_of: dict[str, int] = {}
        self.replacements: dict[str, Index] = {}
        self.known: dict[tuple[Node, Coordinates], Value] = {}  # reduction results
        # values that lie in the memory of a result that is yet to be written, at the place of this very element
        self.kept: dict[tuple[Node, Coordinates], Node] = {}
        self.vector = ""
        self.lanes = 1
        self.arguments: dict[tuple[str, Any], str] = {}  # (kind, node) -> name, in order of first use
        self.preambles: dict[str, None] = {}
        self.narrow_lanes: set[int] = set()
        self.operations = 0  # arithmetic per evaluation, for the profile
        self._names = 0

    # ---- names, scopes ----

    def fresh(self, prefix: str = "t") -> str:
        self._names += 1
        return f"{prefix}{self._names}"

    def argument(self, kind: str, key: object) -> str:
        name = self.arguments.get((kind, key))
        if name is None:
            name = self.arguments[(kind, key)] = f"{kind[0]}{len(self.arguments)}"
        return name

    def push(self) -> Scope:
        self.scopes.append(Scope())
        return self.scopes[-1]

    def pop(self) -> Scope:
        return self.scopes.pop()

    def _declare(self, depth: int, dtype: DType, vector: bool, text: str) -> str:
        name = self.fresh()
        kind = cl.compute_type(dtype, self.lanes if vector else 1)
        self.scopes[depth].lines.append(f"const {kind} {name} = {text};")
        return name

    # ---- evaluation ----

    def evaluate(self, node: Node, coordinates: Coordinates) -> Value:
        """The node's element(s) at the coordinates. Iterative: chains may be thousands of nodes long."""
        stack = [(node, coordinates)]
        while stack:
            current, at = stack[-1]
            if self._find(current, at) is not None:
                stack.pop()
                continue
            needed = () if (current, at) in self.kept else operands_at(current, at, self.bindings)
            missing = [pair for pair in needed if self._find(*pair) is None]
            if missing:
                stack.extend(reversed(missing))
                continue
            stack.pop()
            value = self._compute(current, at)
            if current in self.rounded and current.op != "cast":
                text = self.as_stored(current, value.text, self.lanes if value.vector else 1)
                value = Value(self._declare(value.depth, current.dtype, value.vector, text), value.vector, value.depth)
            self.scopes[value.depth].memo[(current, at, self.lanes if value.vector else 1)] = value
        found = self._find(node, coordinates)
        assert found is not None
        return found

    def as_stored(self, node: Node, text: str, lanes: int) -> str:
        """A node's value as it will be read from memory, where that is another one than in registers."""
        if node not in self.rounded:
            return text
        self.narrow_lanes.add(lanes)
        return cl.rounded(text, node.dtype, lanes)

    def _find(self, node: Node, coordinates: Coordinates) -> Value | None:
        known = self.known.get((node, coordinates))
        if known is not None:
            return known
        for scope in reversed(self.scopes):
            value = scope.memo.get((node, coordinates, self.lanes)) or scope.memo.get((node, coordinates, 1))
            if value is not None:
                return value
        return None

    def _compute(self, node: Node, coordinates: Coordinates) -> Value:
        if node in self.bindings:
            return self._load(node, coordinates, self.bindings[node])
        kept = self.kept.get((node, coordinates))
        if kept is not None:
            return self._load(kept, coordinates, Layout(contiguous_strides(node.shape)))
        kind = node.primitive.kind
        if kind == "view":
            return self._view(node, coordinates)
        if kind == "index":
            return self._at_index(node, coordinates)
        if kind in ("elementwise", "compare"):
            return self._apply(node, coordinates)
        if node.op == "scalar":
            return Value(self.argument("scalar", node), False, 0)
        if node.op == "literal":
            return Value(cl.number(node.arg[1], node.dtype), False, 0)
        if node.op == "iota":
            text, vector, depth = self._spell_index(coordinates[node.arg[1]])
            kind_name = cl.compute_type(node.dtype, self.lanes if vector else 1)
            return Value(f"convert_{kind_name}({text})" if vector else f"(({node.dtype.compute}){text})", vector, depth)
        raise AssertionError(f"{node} is needed in a kernel that does not compute it")

    def _depth(self, coordinates: Coordinates) -> int:
        depth = 0
        for coordinate in coordinates:
            for name in coordinate.variables():
                depth = max(depth, self.depth_of[name])
        for operand in data_operands(coordinates):
            value = self._find(*operand)
            depth = max(depth, value.depth if value is not None else 0)
        return depth

    def _at_index(self, node: Node, coordinates: Coordinates) -> Value:
        """What stands at an index: never known earlier than the index is, or where it is the same for every index it
        would be used where that, and the check in it, is not evaluated."""
        found, *indices = map(self.evaluate, node.src, operand_coordinates(node, coordinates))
        return Value(found.text, found.vector, max(found.depth, *(index.depth for index in indices)))

    def _apply(self, node: Node, coordinates: Coordinates) -> Value:
        operands = [self.evaluate(source, coordinates) for source in node.src]
        vector = any(operand.vector for operand in operands)
        depth = max(operand.depth for operand in operands)
        lanes = self.lanes if vector else 1
        if node.op == "check":
            return self._check(operands, node, coordinates, depth)
        texts = [
            operand.text if operand.vector or not vector else cl.splat(operand.text, source.dtype, lanes)
            for operand, source in zip(operands, node.src, strict=True)
        ]
        self.operations += 1
        self.preambles.setdefault(node.primitive.preamble)
        text = self.expression(node, texts, lanes)
        return Value(self._declare(depth, node.dtype, vector, text), vector, depth)

    def expression(self, node: Node, texts: list[str], lanes: int) -> str:
        """The node's OpenCL expression over operand texts that all have `lanes` lanes."""
        if node.op == "where":
            return cl.select(texts[0], texts[1], texts[2], node.dtype, lanes)
        if node.op == "cast":
            if node.dtype in cl.NARROW:
                self.narrow_lanes.add(lanes)
            return cl.convert(texts[0], node.src[0].dtype, node.dtype, lanes)
        if node.primitive.kind == "compare":
            return cl.compare(node.primitive.expression, texts[0], texts[1], node.src[0].dtype, lanes)
        floating = node.dtype.category == 2
        template = node.primitive.expression if floating else node.primitive.integer_expression
        fill = {"T": cl.compute_type(node.dtype, lanes), "S": node.dtype.compute}
        if template.startswith("<where>"):
            condition, chosen, other = re.split("<then>|<else>", template[7:].format(*texts, **fill))
            return cl.select_mask(condition, chosen, other, lanes)
        if template.startswith("<lanes>"):
            if lanes == 1:
                return template[7:].format(*texts, **fill)
            calls = [template[7:].format(*(cl.lane(f"({t})", n) for t in texts), **fill) for n in range(lanes)]
            return f"({fill['T']})({', '.join(calls)})"
        return template.format(*texts, **fill)

    def _view(self, node: Node, coordinates: Coordinates) -> Value:
        inner = self.evaluate(node.src[0], operand_coordinates(node, coordinates)[0])
        if node.op != "pad":
            return inner
        conditions = padding_conditions(node, coordinates)
        if not conditions:
            return inner
        spelled = [(self._spell_index(position), extent) for position, extent in conditions]
        vector = inner.vector or any(spelling[1] for spelling, _ in spelled)
        depth = max(inner.depth, *(spelling[2] for spelling, _ in spelled))
        lanes = self.lanes if vector else 1
        tests = []
        for (text, has_lanes, _), extent in spelled:
            if vector and not has_lanes:
                text = f"({cl.vector_type(self.index_type, lanes)})({text})"
            test = f"(({text} >= 0) & ({text} < {extent}))"
            tests.append(f"convert_int{lanes}{test}" if vector and self.index_type == "long" else test)
        value = inner.text if inner.vector or not vector else cl.splat(inner.text, node.dtype, lanes)
        zero = cl.splat(cl.number(0, node.dtype), node.dtype, lanes)
        text = cl.select("(" + " & ".join(tests) + ")", value, zero, node.dtype, lanes)
        return Value(self._declare(depth, node.dtype, vector, text), vector, depth)

    def _check(self, operands: list[Value], node: Node, coordinates: Coordinates, depth: int) -> Value:
        """Remember the first failure (site, value, position) in the flags; the value goes on unchanged."""
        value, condition, site = operands
        depth = max(value.depth, condition.depth)
        index = ix.flatten(coordinates, node.shape)
        deeper = [name for name in index.variables() if self.depth_of[name] > depth]  # all of these fail at once:
        index = ix.substitute(index, dict.fromkeys(deeper, ix.Index()))  # the first one is told
        position, has_lanes, _ = self._spell_index(index)
        flags = self.argument("flags", None)
        tested = [
            ("ok", "int", condition.text, condition.vector), ("shown", node.dtype.compute, value.text, value.vector),
            ("at", self.index_type, position, has_lanes),
        ]  # fmt: skip
        lanes = self.lanes if any(vector for _, _, _, vector in tested) else 1
        put = [
            f"{kind} {name}[{lanes}]; vstore{lanes}({text}, 0, {name});" if vector else f"const {kind} {name} = {text};"
            for name, kind, text, vector in tested
        ]
        ok, shown, where = [f"{name}[n]" if vector else name for name, _, _, vector in tested]
        told = [
            f"if (!{ok} && atomic_cmpxchg((volatile __global int*){flags}, 0, 1) == 0) {{",
            f"  {flags}[1] = (int){site.text}; ((__global long*){flags})[1] = (long){shown}; "
            f"((__global long*){flags})[2] = (long){where};", "}",
        ]  # fmt: skip
        if lanes > 1:
            told = [f"for (int n = 0; n < {lanes}; ++n) {{", *indent(told), "}"]
        failed = f"any({condition.text} == 0)" if condition.vector else f"!{condition.text}"
        self.scopes[depth].lines += [f"if ({failed}) {{", *indent([*put, *told]), "}"]
        return Value(value.text, value.vector, depth)

    # ---- memory ----

    def _load(self, node: Node, coordinates: Coordinates, layout: Layout) -> Value:
        depth = self._depth(coordinates)
        pointer = self.argument("buffer", node)
        offset = position(coordinates, layout.strides)
        if layout.dynamic_offset:
            pointer = f"({pointer} + {self.argument('offset', node)})"
        text, vector = self._load_text(pointer, offset, node.dtype, depth)
        return Value(self._declare(depth, node.dtype, vector, text), vector, depth)

    def _load_text(self, pointer: str, offset: Index, dtype: DType, depth: int) -> tuple[str, bool]:
        position = ix.substitute(offset, self.replacements)
        factor = position.coefficient(self.vector) if self.vector and self.lanes > 1 else 0
        if factor == 0:
            return cl.load(pointer, position.emit(self._spell), dtype, 1), False
        if factor == 1:
            return cl.load(pointer, position.emit(self._spell), dtype, self.lanes), True
        if factor is not None:
            base = position.emit(self._spell)
            offsets = [f"{base} + {factor * n}" if n else base for n in range(self.lanes)]
            return cl.gathered(pointer, offsets, dtype), True
        picked = self._picked(position, depth)
        if picked is not None:
            base, offsets = picked
            return cl.gathered(f"({pointer} + {base})", offsets, dtype), True
        offsets_name = self.fresh("at")
        kind = cl.vector_type(self.index_type, self.lanes)
        self.scopes[depth].lines.append(f"const {kind} {offsets_name} = {position.emit(self._spell_lanes)};")
        return cl.gathered(pointer, [cl.lane(offsets_name, n) for n in range(self.lanes)], dtype), True

    def _picked(self, position: Index, depth: int) -> tuple[str, list[str]] | None:
        """An offset that all lanes have, and one for each, where these come from one index that lies in memory: each
        lane reads its own from there. Taking it out of a vector register costs twice as much, and `volatile` keeps
        compilers from doing that. Negative indices are large unsigned ones, so one comparison keeps lanes in range."""
        data = [(t, c) for t, c in position.terms if isinstance(t, ix.Data) and self.vector in ix.term_variables(t)]
        found = self._index_in_memory(data[0][0]) if len(data) == 1 else None
        if found is None:
            return None
        index, factor = data[0]
        node, pointer, at = found
        shared = Index(tuple(pair for pair in position.terms if pair[0] is not index), position.constant)
        step, stride = shared.coefficient(self.vector), at.coefficient(self.vector)
        if step is None or stride is None:
            return None
        kind = f"volatile __global const u{node.dtype.compute}*"
        name, limit = self.fresh("p"), f"(u{node.dtype.compute}){index.extent - 1}"
        self.scopes[depth].lines.append(f"{kind} {name} = ({kind})({pointer} + {at.emit(self._spell)});")
        times = "" if factor == 1 else f"*{factor}"
        lanes = [f"(long)min({name}[{stride * n}], {limit}){times}" for n in range(self.lanes)]
        return shared.emit(self._spell), [f"{lane} + {step * n}" if step * n else lane for n, lane in enumerate(lanes)]

    def _index_in_memory(self, data: ix.Data) -> tuple[Node, str, Index] | None:
        """Where an index is read from: (array, pointer, offset); None where it is computed."""
        node, coordinates = data.node, data.coordinates
        while node not in self.bindings:
            if node.op != "check" and (node.primitive.kind != "view" or node.op == "pad"):
                return None
            node, coordinates = node.src[0], operand_coordinates(node, coordinates)[0]
        if node.dtype not in (dtypes.int32, dtypes.int64):
            return None
        layout = self.bindings[node]
        pointer = self.argument("buffer", node)
        if layout.dynamic_offset:
            pointer = f"{pointer} + {self.argument('offset', node)}"
        return node, pointer, ix.substitute(position(coordinates, layout.strides), self.replacements)

    def _spell_index(self, position: Index) -> tuple[str, bool, int]:
        """Text of an index, whether it has lanes, and the depth it belongs to."""
        depth = self._depth((position,))
        position = ix.substitute(position, self.replacements)
        if self.lanes > 1 and self.vector in position.variables():
            return position.emit(self._spell_lanes), True, depth
        return position.emit(self._spell), False, depth

    def _spell(self, term: ix.Term) -> str:
        if isinstance(term, ix.Variable):
            return term.name
        if isinstance(term, ix.Data):
            value = self.evaluate(term.node, term.coordinates)
            return f"clamp(({self.index_type}){value.text}, ({self.index_type})0, ({self.index_type}){term.extent - 1})"
        inner = term.index.emit(self._spell)
        if isinstance(term, ix.Clamped):
            return f"clamp({inner}, ({self.index_type})0, ({self.index_type}){term.extent - 1})"
        return f"({inner} {'/' if isinstance(term, ix.Quotient) else '%'} {term.divisor})"

    def _spell_lanes(self, term: ix.Term) -> str:
        kind = cl.vector_type(self.index_type, self.lanes)
        if self.vector not in ix.term_variables(term):
            return f"({kind})({self._spell(term)})"
        if isinstance(term, ix.Variable):
            return f"({term.name} + ({kind})({', '.join(str(n) for n in range(self.lanes))}))"
        if isinstance(term, ix.Data):
            value = self.evaluate(term.node, term.coordinates)
            if not value.vector:
                return f"({kind})({self._spell(term)})"
            return f"clamp(convert_{kind}({value.text}), ({kind})(0), ({kind})({term.extent - 1}))"
        inner = term.index.emit(self._spell_lanes)
        if isinstance(term, ix.Clamped):
            return f"clamp({inner}, ({kind})(0), ({kind})({term.extent - 1}))"
        return f"({inner} {'/' if isinstance(term, ix.Quotient) else '%'} ({kind})({term.divisor}))"

    def store(self, node: Node, coordinates: Coordinates, value: Value) -> str:
        """The statement that writes a value to the node's own contiguous buffer."""
        pointer = self.argument("buffer", node)
        position_in_loops = ix.substitute(position(coordinates, contiguous_strides(node.shape)), self.replacements)
        factor = position_in_loops.coefficient(self.vector) if self.vector and self.lanes > 1 else 0
        if node.dtype is dtypes.bfloat16:
            self.narrow_lanes.add(self.lanes if factor else 1)
        if factor == 0:
            assert not value.vector
            return cl.store(pointer, position_in_loops.emit(self._spell), value.text, node.dtype, 1)
        text = value.text if value.vector else cl.splat(value.text, node.dtype, self.lanes)
        if factor == 1:
            return cl.store(pointer, position_in_loops.emit(self._spell), text, node.dtype, self.lanes)
        kept = self.fresh("kept")
        kind = cl.compute_type(node.dtype, self.lanes)
        if factor is None:
            spelled = f"({position_in_loops.emit(self._spell_lanes)})"
            offsets = [cl.lane(spelled, n) for n in range(self.lanes)]
        else:
            offsets = [f"{position_in_loops.emit(self._spell)} + {factor * n}" for n in range(self.lanes)]
        stores = [cl.store(pointer, o, cl.lane(kept, n), node.dtype, 1) for n, o in enumerate(offsets)]
        self.narrow_lanes.add(1)
        return f"{{ const {kind} {kept} = {text}; {' '.join(stores)} }}"

    # ---- the kernel around it ----

    def signature(self, stored: set[Node]) -> tuple[list[str], list[tuple]]:
        """The kernel's parameters, and what each is bound to."""
        parameters = []
        for (kind, key), name in self.arguments.items():
            if kind == "buffer":
                constness = "" if key in stored else "const "
                parameters.append(f"__global {constness}{key.dtype.storage}* {name}")
            elif kind == "scalar":
                parameters.append(f"const {key.dtype.compute} {name}")
            elif kind == "offset":
                parameters.append(f"const long {name}")
            else:
                parameters.append(f"__global int* {name}")
        return parameters, list(self.arguments)

    def kernel_text(
        self, name: str, parameters: list[str], lines: list[str], group: int, helpers: list[str] | None = None
    ) -> str:
        """The program: helper functions, then the kernel."""
        narrow = "".join(cl.narrow_float_helpers(lanes) for lanes in sorted(self.narrow_lanes)).strip("\n")
        functions = [p for p in (*self.preambles, narrow, *dict.fromkeys(helpers or ())) if p]
        head = f"__kernel __attribute__((reqd_work_group_size({group}, 1, 1)))\nvoid {name}({', '.join(parameters)})"
        return "\n".join([*functions, head + " {", *indent(lines), "}", ""])


def _narrow_and_read(stored: Iterable[Node], bindings: dict[Node, Layout]) -> set[Node]:
    """Results in narrow floats that the kernel goes on computing with. It does so with what it stores: what is held
    in a variable has one value, whoever reads it."""
    narrow = {node.src[0] if node.op == "copy" else node for node in stored if node.dtype in cl.NARROW}
    if not narrow:
        return narrow
    return narrow.intersection(*[{source for node in walk(stored, bindings.__contains__) for source in node.src}])
