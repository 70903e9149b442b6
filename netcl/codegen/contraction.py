"""Family 2, contractions: batched matrix products with any strides, and elementwise work on the result.

Which kernel computes which product:

    contraction_cpu   register tiles over packed panels: the cpu target's floats
    contraction_bf16  its inner parts for bfloat16, where the CPU multiplies pairs of them
    contraction_dot   dot products along k: the cpu target's floats with few rows or columns, both contiguous along k
    contraction_gpu   tiles in local memory: the gpu target, every dtype
    plain             one element at a time: the cpu target's integers, and sums over nothing (k = 0)
"""

from __future__ import annotations

from netcl.codegen import contraction_cpu, contraction_dot, contraction_gpu
from netcl.codegen.ir import KernelSource, indent
from netcl.codegen.product import MatmulKernel, Product, ceil_div
from netcl.codegen.targets import Target

__all__ = ["MatmulKernel", "generate"]


def generate(kernel: MatmulKernel, target: Target) -> KernelSource:
    product = Product(kernel, target)
    if target.kind == "gpu":
        return contraction_gpu.generate(product)
    if product.k == 0 or not product.accumulator.is_floating_point:
        return plain(product)
    casts = product.is_cast(product.a) or product.is_cast(product.b)  # rounding costs more than it is used there
    if not casts and contraction_dot.suits(product):
        return contraction_dot.generate(product)
    return contraction_cpu.generate(product)


def plain(product: Product) -> KernelSource:
    """One element of the result at a time, for each 2 k operations and 2 k loads."""
    a, b, index = product.a, product.b, product.index
    lines = [f"{product.vector(1)} sum = 0;"]
    if product.k:
        at_a = f"z*{a.strides[0]} + m*{a.strides[1]} + k*{a.strides[2]}"
        at_b = f"z*{b.strides[0]} + k*{b.strides[1]} + v*{b.strides[2]}"
        element_a = product.load(a, f"({product.start(a)})", at_a)
        element_b = product.load(b, f"({product.start(b)})", at_b)
        lines.append(f"for ({index} k = 0; k < {product.k}; ++k) sum += {element_a} * {element_b};")
    lines += product.epilogue("sum", 1)
    total = product.batch * product.m * product.n
    items = max(1, min(product.target.work_items, total * product.k // 65536))
    body = [
        f"const {index} first = get_group_id(0) * ({index}){ceil_div(total, items)};",
        f"const {index} last = min(({index}){total}, first + {ceil_div(total, items)});",
        f"for ({index} e = first; e < last; ++e) {{",
        f"  const {index} z = e / {product.m * product.n}, m = e / {product.n} % {product.m}, v = e % {product.n};",
        *indent(lines),
        "}",
    ]
    return product.kernel_source([], body, items, variant="_plain")
