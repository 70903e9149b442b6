"""Reports as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netcl.core.errors import readable

if TYPE_CHECKING:
    from netcl.codegen.ir import Shape
    from netcl.graph.reports import Array, KernelReport, Operation, Report  # which are shown by what is here


def text_of(report: Report) -> str:
    """The whole report: what was recorded, the kernels, what keeps them apart, memory."""
    parts = [recorded(report), kernels(report), reasons(report), memory(report)]
    return "\n\n".join(part for part in parts if part)


def recorded(report: Report) -> str:
    """The recorded operations, one a line."""
    rows = []
    for operation in report.operations:
        if operation.kind == "number":
            continue
        results = ", ".join(f"{array.dtype}{list(array.shape)}" for array in _few(operation.results))
        if operation.kind == "input":
            rows.append((operation.results[0].name, "input", results, ""))
        else:
            rows.append((_results(operation), _call(operation), results, operation.fate))
    title = f"recorded on {report.device}: {report.recorded} operations, for {report.target} code"
    return "\n".join([title, *_columns(rows)])


def _few(items: Sequence, most: int = 3) -> list:
    return list(items[:most])


def _results(operation: Operation) -> str:
    listed = ", ".join(array.name for array in _few(operation.results))
    return listed + (f", .. ({len(operation.results)})" if len(operation.results) > 3 else "")


def _call(operation: Operation) -> str:
    """The operation as a call with its operands' names."""
    operands = list(operation.read)
    if len(operands) > 6:
        operands = [*operands[:5], f".. ({len(operands)})"]
    return f"{operation.name}({', '.join(operands + ([operation.argument] if operation.argument else []))})"


def kernels(report: Report) -> str:
    """The kernels with what they compute, read and write."""
    lines = [counted(report)]
    for kernel in report.kernels:
        lines.append(f"  {kernel.number}. {kernel.name}, launch {kernel.launch}: {describe(kernel)}")
        lines.append(f"     computes {kernel.summary()}")
        for verb, arrays, size in (
            ("reads", kernel.reads, kernel.bytes_read), ("writes", kernel.writes, kernel.bytes_written),
        ):  # fmt: skip
            listed = ", ".join(str(array) for array in arrays[:6]) + (", .." if len(arrays) > 6 else "")
            lines.append(f"     {verb:6} {readable(size)}: {listed}" if arrays else f"     {verb:6} nothing")
    return "\n".join(lines)


def counted(report: Report) -> str:
    """How many kernels in how many launches."""
    kernels, launches = len(report.kernels), len(report.launches)
    return f"{kernels} kernel{'s' * (kernels != 1)} in {launches} launch{'es' * (launches != 1)}"


def describe(kernel: KernelReport) -> str:
    """What kind of kernel it is and what it runs over."""
    rows = f", reducing axis {', '.join(map(str, kernel.reduced))}" if kernel.reduced else ""
    return f"{kernel.kind} over {space_text(kernel.space)}{rows}"


def reasons(report: Report) -> str:
    """For kernels that hand each other elements: why they are not one."""
    if not report.edges:
        return ""
    lines = ["why they are not fewer"]
    for edge in report.edges:
        array = edge.array
        made = f"{array.name} ({array.made_by}), {array.dtype}{list(array.shape)}, {readable(array.bytes)}"
        lines.append(f"  {edge.source} -> {edge.target}  {made}: {edge.text}")
    return "\n".join(lines)


def memory(report: Report) -> str:
    """What the plan allocates."""
    taken = f", {readable(report.memory.taken_over)} in place of inputs" if report.memory.taken_over else ""
    return (
        f"memory: results {readable(report.memory.results)}{taken}; "
        f"intermediate results {readable(report.memory.intermediate)}"
    )


def table(report: Report) -> str:
    """The kernels as a table."""
    head = ("", "launch", "kernel", "over", "reads", "", "writes", "", "operations")
    rows = [
        (str(k.number), str(k.launch), k.name, space_text(k.space), *_amount(k.reads), *_amount(k.writes), k.summary(5))
        for k in report.kernels
    ]
    return "\n".join([f"{counted(report)} on {report.device}, for {report.target} code", *_columns([head, *rows])])


def _amount(arrays: Sequence[Array]) -> tuple[str, str]:
    """How many elements, and bytes."""
    return f"{sum(array.size for array in arrays):,}", readable(sum(array.bytes for array in arrays))


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with aligned columns; the last column is not filled up."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def space_text(shape: Shape) -> str:
    return " x ".join(str(size) for size in shape) or "one element"
