"""What library kernels are written with: operands by address, loads and stores of any dtype, the kernel's frame."""

from __future__ import annotations

from math import prod

from netcl.codegen import expressions as cl
from netcl.codegen.accesses import reach
from netcl.codegen.emitter import Emitter
from netcl.codegen.ir import KernelSource, Layout, Node
from netcl.codegen.operands import operand
from netcl.codegen.targets import Target
from netcl.core import dtypes
from netcl.core.dtypes import DType


class Writer:
    """One library kernel in the making. Names of a letter and a number (b0, t1) belong to the emitter."""

    def __init__(self, node: Node, bindings: dict[Node, Layout], target: Target):
        self.node = node
        self.target = target
        in_memory = [source for source in node.src if source.op != "scalar"]  # those come last, as arguments
        self.operands = [operand(source, bindings) for source in in_memory]
        reaches = [reach(source.shape, found.strides) for source, found in zip(in_memory, self.operands, strict=True)]
        self.index = target.index_type([prod(node.shape), *reaches])
        self.emitter = Emitter(bindings, self.index)

    def pointer(self, number: int) -> str:
        """The pointer to an operand's element (0, 0, ..)."""
        source = self.operands[number]
        text = self.emitter.argument("buffer", source.node)
        if source.dynamic_offset:
            text = f"{text} + {self.emitter.argument('offset', source.node)}"
        return f"({text} + {source.constant})"

    def pointer_type(self, number: int) -> str:
        return f"__global const {self.operands[number].node.dtype.storage}*"

    def strides(self, number: int) -> tuple[int, ...]:
        return self.operands[number].strides

    def load(self, number: int, pointer: str, offset: str, dtype: DType | None = None, lanes: int = 1) -> str:
        """Consecutive elements of an operand, converted to the compute type of `dtype` (its own by default)."""
        own = self.operands[number].node.dtype
        dtype = dtype or own
        if dtype in cl.NARROW and dtype is not own:
            self.emitter.narrow_lanes.add(lanes)
        return cl.convert(cl.load(pointer, offset, own, lanes), own, dtype, lanes)

    def output(self) -> str:
        return self.emitter.argument("buffer", self.node)

    def load_output(self, offset: str, lanes: int = 1) -> str:
        """Consecutive elements of the result, where this work-item has written them before."""
        return cl.load(self.output(), offset, self.node.dtype, lanes)

    def store(self, offset: str, text: str, lanes: int = 1) -> str:
        """The statement that writes consecutive elements of the result."""
        return self.store_at(self.output(), offset, text, lanes)

    def store_at(self, pointer: str, offset: str, text: str, lanes: int = 1) -> str:
        """The same through a pointer into the result."""
        if self.node.dtype is dtypes.bfloat16:
            self.emitter.narrow_lanes.add(lanes)
        return cl.store(pointer, offset, text, self.node.dtype, lanes)

    def kernel(
        self, lines: list[str], groups: int, group: int = 1, flops: int = 0, helpers: list[str] | None = None
    ) -> KernelSource:
        """The kernel around a body, in `groups` groups of `group` work-items (get_group_id(0), get_local_id(0))."""
        emitter = self.emitter
        self.output()
        parameters, arguments = emitter.signature({self.node})
        name = f"{self.node.op}_{'x'.join(map(str, self.node.shape)) or 'scalar'}"
        text = emitter.kernel_text(name, parameters, lines, group, helpers)
        touched = {key for kind, key in arguments if kind == "buffer"}
        moved = sum(prod(node.shape) * node.dtype.itemsize for node in touched)
        size = (groups * group,), (group,)
        return KernelSource(name, text, *size, arguments, flops, moved, alone=group != 1)
