"""A batched matrix product and what follows from it: operands, addresses, the epilogue and the kernel's frame.

out[z, m, v] = epilogue(sum over k of a[z, m, k] * b[z, k, v]). The kernels in contraction_*.py are written in terms
of this: they compute sums, and `Product` loads operand elements for them and writes what becomes of a sum.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import prod
from typing import Any

from netcl.codegen import expressions as cl
from netcl.codegen import index as ix
from netcl.codegen.accesses import loads, overwritable, reach
from netcl.codegen.emitter import Emitter, Value
from netcl.codegen.ir import KernelSource, Layout, Node, Shape
from netcl.codegen.operands import Operand, operand
from netcl.codegen.targets import Target
from netcl.codegen.views import Coordinates
from netcl.core import dtypes


@dataclass
class MatmulKernel:
    """One product and the outputs that follow from it. Coordinates are in d0, d1, .. of `shape` (no sizes of 1)."""

    node: Node
    shape: Shape
    result: Coordinates  # the product's own coordinates
    outputs: list[tuple[Node, Coordinates]]
    bindings: dict[Node, Layout]

    @classmethod
    def of(cls, kernel: Any, outputs: list[tuple[Node, Coordinates]], bindings: dict[Node, Layout]) -> MatmulKernel:
        node = next(n for n in kernel.placed if n.primitive.kind == "contraction")
        return cls(node, kernel.shape, kernel.placed[node], outputs, bindings)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def named(name: str, text: str) -> tuple[str, str]:
    """A helper function's text with NAME replaced, and the name: it has a hash of the text, since kernels that are
    merged into one program may bring the same helper, but never two by one name."""
    name = f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return text.replace("NAME", name), name


def transposed(kind: str, loads: list[str]) -> tuple[list[str], list[str], list[str]]:
    """L vectors of L elements, loaded by rows, as columns: helpers, statements, and the names of the columns. One round
    interleaves register i with register i + L/2, and log2(L) rounds transpose: L*log2(L) shuffles for L*L elements."""
    lanes = len(loads)
    half = lanes // 2
    helpers, interleave = [], []
    for name, first in (("low", 0), ("high", half)):
        picked = ", ".join(f"a.s{i:x}, b.s{i:x}" for i in range(first, first + half))
        text = f"{kind} NAME({kind} a, {kind} b) {{\n  return ({kind})({picked});\n}}"
        text, name = named(f"interleave_{name}", text)
        helpers.append(text)
        interleave.append(name)
    names = [f"r0_{i}" for i in range(lanes)]
    lines = [f"const {kind} {name} = {load};" for name, load in zip(names, loads, strict=True)]
    for turn in range(1, lanes.bit_length()):
        after = [f"r{turn}_{i}" for i in range(lanes)]
        for i in range(lanes):
            lines.append(f"const {kind} {after[i]} = {interleave[i % 2]}({names[i // 2]}, {names[i // 2 + half]});")
        names = after
    return helpers, lines, names


class Product:
    """Writes kernels for one product. Kernels have the loop variables z, m and v (of type `index`) in scope where the
    epilogue is. Names of a letter or two and a number belong to the emitter, in the kernel itself."""

    def __init__(self, kernel: MatmulKernel, target: Target):
        self.kernel = kernel
        self.target = target
        self.batch, self.m, self.n = kernel.node.shape
        self.k = kernel.node.src[0].shape[2]
        self.a = operand(kernel.node.src[0], kernel.bindings)
        self.b = operand(kernel.node.src[1], kernel.bindings)
        self.accumulator = dtypes.accumulator(kernel.node.dtype)
        self.flops = 2 * self.batch * self.m * self.n * self.k
        self.index = target.index_type(self._reaches())
        self.emitter = Emitter(kernel.bindings, self.index, [node for node, _ in kernel.outputs])
        loops = [pair for pair in (("z", self.batch), ("m", self.m), ("v", self.n)) if pair[1] != 1]
        for axis, (loop, size) in enumerate(loops):
            self.emitter.replacements[f"d{axis}"] = ix.variable(loop, size)
            self.emitter.depth_of[f"d{axis}"] = 1

    def _reaches(self) -> list[int]:
        """How far from its first element anything lies that the kernel may touch."""
        reaches = [prod(node.shape) for node, _ in self.kernel.outputs] + [self.batch * self.m * self.n]
        layouts = [(node.shape, layout.strides) for node, layout in self.kernel.bindings.items()]
        layouts += [(source.shape, o.strides) for source, o in zip(self.kernel.node.src, (self.a, self.b), strict=True)]
        return reaches + [reach(shape, strides) for shape, strides in layouts]

    # ---- operands ----

    def start(self, source: Operand) -> str:
        """The pointer to an operand's first element."""
        text = self.emitter.argument("buffer", source.node)
        if source.dynamic_offset:
            text = f"{text} + {self.emitter.argument('offset', source.node)}"
        return f"{text} + {source.constant}" if source.constant else text

    def pointer(self, source: Operand) -> str:
        """The type of pointers into an operand."""
        return f"__global const {source.node.dtype.storage}*"

    def load(self, source: Operand, pointer: str, offset: str, lanes: int = 1) -> str:
        """Consecutive elements as accumulators."""
        dtype, wanted = source.node.dtype, self.kernel.node.dtype
        text = cl.load(pointer, offset, dtype, lanes)
        if self.is_cast(source):
            self.emitter.narrow_lanes.add(lanes)
            text, dtype = cl.convert(text, dtype, wanted, lanes), wanted
        return cl.convert(text, dtype, self.accumulator, lanes)

    def is_cast(self, source: Operand) -> bool:
        """Whether an operand's elements are rounded to the product's dtype as they are read."""
        dtype, wanted = source.node.dtype, self.kernel.node.dtype
        return dtype is not wanted and wanted.itemsize <= dtype.itemsize and wanted is not dtypes.float32

    def is_plain(self, source: Operand) -> bool:
        """Whether an operand's elements are accumulators as they lie there."""
        return source.node.dtype.storage == self.accumulator.storage and not self.is_cast(source)

    def vector(self, lanes: int) -> str:
        """The type of a vector of accumulators."""
        return cl.compute_type(self.accumulator, lanes)

    # ---- text ----

    def epilogue(self, accumulated: str, lanes: int) -> list[str]:
        """Statements that compute and store the outputs for columns v .. v + lanes of row m, batch z."""
        emitter, node = self.emitter, self.kernel.node
        emitter.lanes, emitter.vector = lanes, "v" if lanes > 1 else ""
        scope = emitter.push()
        if self.accumulator.compute != node.dtype.compute:
            accumulated = cl.convert(accumulated, self.accumulator, node.dtype, lanes)
        accumulated = emitter.as_stored(node, accumulated, lanes)
        emitter.known = {(node, self.kernel.result): Value(accumulated, lanes > 1, 1)}
        values = [emitter.evaluate(output, at) for output, at in self.kernel.outputs]
        for (output, at), value in zip(self.kernel.outputs, values, strict=True):
            scope.lines.append(emitter.store(output, at, value))
        emitter.pop()
        return scope.lines

    def kernel_source(
        self, helpers: list[str], body: list[str], items: int, group: int = 1, variant: str = "", once: bool = True
    ) -> KernelSource:
        """The kernel around a body, in `items` groups of `group` work-items. `once`: whether its epilogue is done only
        once for each element, which lets it write where it has read."""
        emitter = self.emitter
        parameters, arguments = emitter.signature({node for node, _ in self.kernel.outputs})
        batch = f"{self.batch}x" if self.batch > 1 else ""
        name = f"matmul_{batch}{self.m}x{self.k}x{self.n}{variant}"
        text = emitter.kernel_text(name, parameters, [*emitter.scopes[0].lines, *body], group, helpers)
        touched = {key for kind, key in arguments if kind == "buffer"}
        return KernelSource(
            name, text, (items * group,), (group,), arguments, self.flops,
            sum(prod(node.shape) * node.dtype.itemsize for node in touched), self._overwritable() if once else set(),
        )  # fmt: skip

    def _overwritable(self) -> set[tuple[Node, Node]]:
        """Where the epilogue may write over what it reads; the matrices are read all the time."""
        reads = loads(self.kernel.outputs, {self.kernel.node}, self.kernel.bindings)
        pairs = overwritable(self.kernel.outputs, reads)
        return {pair for pair in pairs if pair[0] not in (self.a.node, self.b.node)}


def share(units: int, items: int) -> list[str]:
    """The loop head over a work-item's units of work, as evenly as it goes."""
    if units == items:
        return ["{", "  const int u = get_group_id(0);"]
    return [
        f"const int first = (long)get_group_id(0) * {units} / {items};",
        f"const int last = ((long)get_group_id(0) + 1) * {units} / {items};",
        "for (int u = first; u < last; ++u) {",
    ]


def work_items(flops: int, target: Target) -> int:
    """CPU work-items that are worth their start: 1 below 10 us of one core, all cores to 100 us, then several each so
    that a core that is late leaves its work to the others."""
    cores = max(1, target.work_items // 4)
    return 1 if flops < 200_000 else cores if flops < 2_000_000 else target.work_items
