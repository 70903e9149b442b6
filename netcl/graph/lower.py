"""From a trace to a graph: composites expanded, dtypes and broadcasts made explicit, equal nodes shared, folded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netcl.codegen.ir import Node, Shape
from netcl.codegen.views import strided_input
from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.graph import value as tracing
from netcl.graph.primitives import TABLE, operand_dtypes, reduced_shape


class Graph:
    """Hash-consed nodes in topological order. `add` simplifies as it builds."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.stage: tuple[int, int] | None = None  # (composite, number) of what is being built
        self.stages: dict[Node, tuple[int, int]] = {}
        self.staged = 0  # composites with stages so far
        self._known: dict[tuple, Node] = {}

    def add(self, op: str, src: Sequence[Node], arg: Any = None, meta: tuple[Shape, DType] | None = None) -> Node:
        src = tuple(src)
        simpler = _simplify(self, op, src, arg)
        if simpler is not None:
            return simpler
        apart = self.stage if op == "matmul" else None  # products are done again rather than kept from stage to stage
        key = (op, tuple(node.number for node in src), _hashable(arg), apart)
        found = self._known.get(key)
        if found is None:
            shape, dtype = meta or TABLE[op].infer(src, arg)
            if 0 in shape and op not in ("input", "expand"):
                return self.filled(shape, 0, dtype)  # nobody reads it
            found = self._known[key] = Node(op, TABLE[op], src, arg, shape, dtype, len(self.nodes))
            self.nodes.append(found)
            if self.stage is not None:
                self.stages[found] = self.stage
        return found

    def literal(self, value: Any, dtype: DType) -> Node:
        return self.add("literal", (), (dtype.name, value))

    def filled(self, shape: Shape, number: int, dtype: DType) -> Node:
        return self.broadcast(self.literal(float(number) if dtype.category == 2 else number, dtype), shape)

    def cast(self, node: Node, dtype: DType) -> Node:
        return self.add("cast", (node,), dtype.name)

    def broadcast(self, node: Node, shape: Shape) -> Node:
        if node.shape == shape:
            return node
        padded = (1,) * (len(shape) - len(node.shape)) + node.shape
        return self.add("expand", (self.add("reshape", (node,), padded),), shape)


def _hashable(arg: Any) -> Any:
    if isinstance(arg, tuple) and len(arg) == 2 and isinstance(arg[1], float):
        return (arg[0], arg[1].hex())  # nan equals itself, 0.0 differs from -0.0
    return arg


# ---- simplification ----------------------------------------------------------------------------------------------


def _simplify(graph: Graph, op: str, src: tuple[Node, ...], arg: Any) -> Node | None:
    """A simpler node that means the same, bit for bit."""
    if op in _VIEW_RULES:
        return _VIEW_RULES[op](graph, src[0], arg)
    if op == "cast":
        return _simplify_cast(graph, src[0], arg)
    if op == "overwrite":
        return src[1]
    if not src or TABLE[op].kind != "elementwise" or op in ("where", "check", "uniform", "copy"):
        return None
    constants = [literal_value(node) for node in src]
    if len(src) == 2:
        shape, dtype = TABLE[op].infer(src, None)
        for number, other in ((constants[0], src[1]), (constants[1], src[0])):
            same = number is not None and other.shape == shape and other.dtype is dtype
            if same and ((op == "mul" and number == 1) or (op in ("div", "pow") and number == 1 and other is src[0])):
                return other
            if same and op in ("add", "sub") and number == 0 and other is src[0] and dtype.category < 2:
                return other
    return _fold(graph, op, src, constants)


def _fold(graph: Graph, op: str, src: tuple[Node, ...], constants: list[Any]) -> Node | None:
    reference = TABLE[op].reference
    if reference is None or any(constant is None for constant in constants):
        return None
    shape, dtype = TABLE[op].infer(src, None)
    if dtype.category != 2 or dtype.compute not in ("float", "double"):
        return None
    kind = np.float64 if dtype is dtypes.float64 else np.float32
    with np.errstate(all="ignore"):
        value = float(reference(*(kind(constant) for constant in constants)))
    return graph.broadcast(graph.literal(value, dtype), shape)


def literal_value(node: Node) -> Any:
    """The number that every element of a node equals, where that is known; else None."""
    while node.op in ("expand", "reshape", "permute"):
        node = node.src[0]
    return node.arg[1] if node.op == "literal" else None


def _simplify_cast(graph: Graph, source: Node, name: str) -> Node | None:
    dtype = dtypes.by_name(name)
    if source.dtype is dtype:
        return source
    value = literal_value(source)
    if value is not None:
        narrow = np.asarray(value).astype(source.dtype.numpy).astype(dtype.numpy)
        number = float(narrow) if dtype.category == 2 else (bool(narrow) if dtype is dtypes.bool_ else int(narrow))
        return graph.broadcast(graph.literal(number, dtype), source.shape)
    return None


def _reshape(graph: Graph, source: Node, shape: Shape) -> Node | None:
    if source.shape == shape:
        return source
    if source.op == "reshape":
        return graph.add("reshape", source.src, shape)
    if source.op == "expand" and source.src[0].op == "literal" and not source.src[0].shape:
        return graph.broadcast(source.src[0], shape)
    return None


def _permute(graph: Graph, source: Node, axes: tuple[int, ...]) -> Node | None:
    if axes == tuple(range(len(axes))):
        return source
    if source.op == "permute":
        return graph.add("permute", source.src, tuple(source.arg[axis] for axis in axes))
    return None


def _expand(graph: Graph, source: Node, shape: Shape) -> Node | None:
    if source.shape == shape:
        return source
    if source.op == "expand":
        return graph.add("expand", source.src, shape)
    return None


def _slice(graph: Graph, source: Node, arg: tuple) -> Node | None:
    if all(
        step == 1 and start == 0 and stop == size for (start, stop, step), size in zip(arg, source.shape, strict=True)
    ):
        return source
    return None


def _pad(graph: Graph, source: Node, arg: tuple) -> Node | None:
    if 0 in source.shape:
        shape, dtype = TABLE["pad"].infer((source,), arg)
        return graph.filled(shape, 0, dtype)
    return source if all(low == 0 and high == 0 for low, high in arg) else None


_VIEW_RULES = {"reshape": _reshape, "permute": _permute, "expand": _expand, "slice": _slice, "pad": _pad}


# ---- lowering ----------------------------------------------------------------------------------------------------


def lower(graph: Graph, records: list[tuple], wanted: set[int], sources: dict[int, Node]) -> dict[int, Node]:
    """Nodes for the records that the wanted positions need. `sources` gives the nodes of inputs and scalars."""
    needed = _needed(records, wanted)
    nodes: dict[int, Any] = {}
    own = graph.staged
    for position in needed:
        op, arg, operands = records[position]
        if op == "stage":
            graph.stage = (own, arg)
        elif position in sources:
            nodes[position] = sources[position]
        elif op == "item":
            nodes[position] = nodes[operands[0]][arg]
        else:
            nodes[position] = lower_one(graph, op, [nodes[operand] for operand in operands], arg)
    return nodes


def _needed(records: list[tuple], wanted: set[int]) -> list[int]:
    needed = set(wanted)
    for position in range(len(records) - 1, -1, -1):
        if position in needed:
            needed.update(records[position][2])
    needed.update(position for position, record in enumerate(records) if record[0] == "stage")
    return sorted(needed)


def lower_one(graph: Graph, op: str, src: list[Node], arg: Any) -> Any:
    """One recorded operation in primitives with explicit casts and shapes; a tuple for several results."""
    primitive = TABLE[op]
    if primitive.kind == "composite":
        return _expand_composite(graph, primitive, src, arg)
    if primitive.kind in ("elementwise", "compare"):
        shape, dtype = primitive.infer(src, arg)
        if op == "check":
            return graph.add(op, [src[0], graph.broadcast(src[1], src[0].shape), src[2]], arg)
        if op == "uniform":
            return graph.add(op, [src[0], *(graph.broadcast(s, src[0].shape) for s in src[1:])], arg)
        if op == "add" and dtype is dtypes.bool_:  # true + true is true
            op, primitive = "logical_or", TABLE["logical_or"]
        casts = operand_dtypes(primitive, src, dtype)
        src = [graph.broadcast(graph.cast(s, want), shape) for s, want in zip(src, casts, strict=True)]
        return graph.add(op, src, arg, (shape, dtype))
    if primitive.kind == "reduce":
        return _lower_reduce(graph, op, src[0], arg)
    if primitive.kind == "library":
        if op == "scatter" and len(src) > 2 and str(literal_value(src[2])) in ("0", "0.0", "False"):
            src = [*src[:2], *src[3:]]  # it starts from zeros where it has no base
        return graph.add(op, [in_memory(graph, source) for source in src], arg)
    if op == "matmul":
        shape, dtype = primitive.infer(src, arg)
        if src[0].shape[2] == 0:  # a sum of nothing
            return graph.filled(shape, 0, dtype)
        factors = [graph.cast(s, dtype) for s in src]
        read = [_without_cast(graph, factor) for factor in factors]
        if read == factors:
            return graph.add(op, factors)
        return graph.add(op, read, dtype.name)
    return graph.add(op, src, arg)


def _without_cast(graph: Graph, factor: Node) -> Node:
    """A factor that is a cast of what is in memory, uncast: the product's kernel casts elements as it reads them. All
    other casts are done where their operand is computed."""
    views = []
    node = factor
    while node.primitive.kind == "view" and node.op != "pad":
        views.append(node)
        node = node.src[0]
    if node.op != "cast" or node.dtype.category != 2 or node.src[0].dtype.category != 2:
        return factor
    found = node.src[0]
    for view in reversed(views):
        found = graph.add(view.op, (found,), view.arg)
    base = found
    while base.primitive.kind == "view" and base.op != "pad":
        base = base.src[0]
    return found if base.op == "input" and strided_input(found, base) is not None else factor


def in_memory(graph: Graph, node: Node) -> Node:
    """What a library kernel can read: what has no address is put into memory; numbers are arguments."""
    there = node.primitive.kind != "source" or node.op in ("input", "scalar")
    return node if there else graph.add("copy", (node,))


def _lower_reduce(graph: Graph, op: str, source: Node, arg: tuple[tuple[int, ...], bool]) -> Node:
    axes, keepdim = arg
    kept = _reduced(graph, op, source, axes)
    return kept if keepdim else graph.add("reshape", (kept,), reduced_shape(source.shape, axes, False))


def _reduced(graph: Graph, op: str, source: Node, axes: tuple[int, ...]) -> Node:
    shape, dtype = TABLE[op].infer((source,), (axes, True))
    if not axes:
        return graph.cast(source, dtype)
    if 0 in [source.shape[axis] for axis in axes] and 0 not in shape:
        return graph.filled(shape, {"sum": 0, "prod": 1}[op], dtype)
    if all(source.shape[axis] == 1 for axis in axes):
        return graph.cast(source, dtype)
    if dtype.category < 2:
        source = graph.cast(source, dtype)
    return graph.add(op, (source,), (axes, True), (shape, dtype))


def _expand_composite(graph: Graph, primitive: Any, src: list[Node], arg: Any) -> Any:
    """Record the composite's body into a trace of its own, and lower that. Python numbers in it become literals."""
    trace = tracing.Trace(None)
    sources: dict[int, Node] = {}
    operands = []
    for node in src:
        value = trace.add("input", (), (node.dtype.name, node.shape), node.shape, node.dtype)
        sources[value.index] = node
        operands.append(value)
    with tracing.expansion(trace):
        results = primitive.expand(*operands) if arg is None else primitive.expand(*operands, arg)
    several = isinstance(results, tuple)
    outputs = list(results) if several else [results]
    numbers = iter(trace.scalars)
    for position, (op, scalar_arg, _) in enumerate(trace.records):
        if op == "scalar":
            dtype = dtypes.by_name(scalar_arg[0])
            number = next(numbers)
            sources[position] = graph.literal(float(number) if dtype.category == 2 else number, dtype)
    outer = graph.stage
    graph.staged += 1
    nodes = lower(graph, trace.records, {value.index for value in outputs}, sources)
    graph.stage = outer
    lowered = [nodes[value.index] for value in outputs]
    metas = primitive.infer(src, arg)
    for node, meta in zip(lowered, metas if several else [metas], strict=True):
        assert (node.shape, node.dtype) == tuple(meta), f"{primitive.name}: body {node}, infer {meta}"
    return tuple(lowered) if several else lowered[0]
