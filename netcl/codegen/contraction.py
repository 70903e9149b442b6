"""Family 2, contractions: batched matrix products with any strides, and elementwise work on the result.

out[b, m, n] = epilogue(sum over k of a[b, m, k] * b[b, k, n]).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from netcl.codegen import expressions as cl
from netcl.codegen import index as ix
from netcl.codegen.emitter import Emitter
from netcl.codegen.ir import KernelSource, Layout, Node, Shape
from netcl.codegen.targets import Target
from netcl.codegen.views import Coordinates, operand_coordinates
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


@dataclass
class Operand:
    """A matrix operand: element (b, i, j) of `node` lies at constant + b*strides[0] + i*strides[1] + j*strides[2]."""

    node: Node
    strides: tuple[int, ...]
    constant: int
    dynamic_offset: bool


def operand(node: Node, bindings: dict[Node, Layout]) -> Operand:
    """The memory under an operand's views."""
    shape = node.shape
    coordinates = tuple(ix.variable(f"x{axis}", size) for axis, size in enumerate(shape))
    while node not in bindings:
        coordinates = operand_coordinates(node, coordinates)[0]
        node = node.src[0]
    layout = bindings[node]
    position = ix.ZERO
    for coordinate, stride in zip(coordinates, layout.strides, strict=True):
        position = position + coordinate * stride
    by_name = {term.name: c for term, c in position.terms if isinstance(term, ix.Variable)}
    strides = tuple(by_name.get(f"x{axis}", 0) for axis in range(len(shape)))
    return Operand(node, strides, position.constant, layout.dynamic_offset)


def generate(kernel: MatmulKernel, target: Target) -> KernelSource:
    return _Generator(kernel, target).generate()


class _Generator:
    def __init__(self, kernel: MatmulKernel, target: Target):
        self.kernel = kernel
        self.target = target
        self.batch, self.m, self.n = kernel.node.shape
        self.k = kernel.node.src[0].shape[2]
        self.a = operand(kernel.node.src[0], kernel.bindings)
        self.b = operand(kernel.node.src[1], kernel.bindings)
        self.emitter = Emitter(kernel.bindings)
        self.accumulator = dtypes.accumulator(kernel.node.dtype)
        loops = iter(("z", "m", "v"))
        for size, loop in zip((self.batch, self.m, self.n), loops, strict=True):
            pass
        axis = 0
        for loop, size in (("z", self.batch), ("m", self.m), ("v", self.n)):
            if size != 1:
                self.emitter.replacements[f"d{axis}"] = ix.variable(loop, size)
                self.emitter.depth_of[f"d{axis}"] = 1
                axis += 1

    def generate(self) -> KernelSource:
        return self._plain()

    def _plain(self) -> KernelSource:
        """One element of the result at a time: the reference that the tiled kernels are checked against."""
        emitter = self.emitter
        a, b = emitter.argument("buffer", self.a.node), emitter.argument("buffer", self.b.node)
        kind = self.accumulator.compute
        at_a = f"{self.a.constant} + z*{self.a.strides[0]} + m*{self.a.strides[1]} + k*{self.a.strides[2]}"
        at_b = f"{self.b.constant} + z*{self.b.strides[0]} + k*{self.b.strides[1]} + v*{self.b.strides[2]}"
        if self.a.dynamic_offset:
            a = f"({a} + {emitter.argument('offset', self.a.node)})"
        if self.b.dynamic_offset:
            b = f"({b} + {emitter.argument('offset', self.b.node)})"
        load_a = cl.convert(cl.load(a, at_a, self.a.node.dtype, 1), self.a.node.dtype, self.accumulator, 1)
        load_b = cl.convert(cl.load(b, at_b, self.b.node.dtype, 1), self.b.node.dtype, self.accumulator, 1)
        lines = [f"{kind} sum = 0;", f"for (int k = 0; k < {self.k}; ++k) sum += {load_a} * {load_b};"]
        lines += self.epilogue("sum", 1)
        total = self.batch * self.m * self.n
        items = max(1, min(self.target.work_items, total * self.k // 65536))
        share = -(-total // items)
        head = [
            "const int group = get_group_id(0);",
            f"const int last = min({total}, (group + 1) * {share});",
            f"for (int e = group * {share}; e < last; ++e) {{",
            f"  const int z = e / {self.m * self.n}, m = e / {self.n} % {self.m}, v = e % {self.n};",
        ]
        return self.assemble([*head, *("  " + line for line in lines), "}"], (items,), (1,), "matmul_plain")

    def epilogue(self, accumulated: str, lanes: int) -> list[str]:
        """Statements that compute and store the outputs for columns v .. v + lanes of row m, batch z."""
        from netcl.codegen.emitter import Value

        emitter, node = self.emitter, self.kernel.node
        emitter.lanes, emitter.vector = lanes, "v" if lanes > 1 else ""
        scope = emitter.push()
        text = cl.convert(accumulated, self.accumulator, node.dtype, lanes) if self.accumulator.compute != node.dtype.compute else accumulated
        emitter.known = {(node, self.kernel.result): Value(text, lanes > 1, 1)}
        values = [emitter.evaluate(output, at) for output, at in self.kernel.outputs]
        for (output, at), value in zip(self.kernel.outputs, values, strict=True):
            scope.lines.append(emitter.store(output, at, value))
        emitter.pop()
        return scope.lines

    def assemble(self, body: list[str], groups: tuple[int, ...], local: tuple[int, ...], name: str) -> KernelSource:
        emitter = self.emitter
        parameters = []
        stored = {node for node, _ in self.kernel.outputs}
        for (kind, key), text in emitter.arguments.items():
            if kind == "buffer":
                constness = "" if key in stored else "const "
                parameters.append(f"__global {constness}{key.dtype.storage}* {text}")  # type: ignore[attr-defined]
            elif kind == "scalar":
                parameters.append(f"const {key.dtype.compute} {text}")  # type: ignore[attr-defined]
            elif kind == "offset":
                parameters.append(f"const long {text}")
            else:
                parameters.append(f"__global int* {text}")
        helpers = "".join(cl.narrow_float_helpers(lanes) for lanes in sorted(emitter.narrow_lanes))
        preambles = "\n".join(p for p in emitter.preambles if p)
        lines = "\n".join("  " + line for line in [*emitter.scopes[0].lines, *body])
        source = f"{preambles}{helpers}\n__kernel void {name}({', '.join(parameters)}) {{\n{lines}\n}}\n"
        moved = sum(prod(n.shape) * n.dtype.itemsize for n in {self.a.node, self.b.node, *stored})
        return KernelSource(
            name, source, tuple(g * s for g, s in zip(groups, local, strict=True)), local, list(emitter.arguments),
            2 * self.batch * self.m * self.n * self.k, moved,
        )  # fmt: skip
