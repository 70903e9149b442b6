"""Pictures of what is pending: the recorded operations, and the kernels that they would become."""

from __future__ import annotations

import textwrap
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netcl.core.errors import readable
from netcl.graph.layered import Placed, lay_out, ranks
from netcl.graph.tables import counted, reasons

if TYPE_CHECKING:
    from netcl.graph.reports import Explanation, KernelReport, Operation, Report

_LETTER, _LINE, _MARGIN = 7.3, 16.0, 24.0  # of the 12 px monospaced letters
NEAR = 2  # ranks: beyond that, an input gets another box
MANY = 8  # inputs of one operation: beyond that, they share a box
_FILL = {"rowwise": "#e8f1e8", "matmul": "#e6ecf7", "library": "#f7efe0"}
_STYLE = """
    text { font-family: Menlo, Consolas, monospace; font-size: 12px; fill: #223 }
    .title { font-family: Helvetica, Arial, sans-serif; font-size: 15px; font-weight: bold }
    .head { font-weight: bold }
    .small { font-size: 11px; fill: #556 }
    .box { fill: #fff; stroke: #445; stroke-width: 1.2 }
    .held { stroke-width: 2.4 }
    .dropped { stroke-dasharray: 4 3; stroke: #99a }
    .input { fill: #f2f2ee; stroke: #bbb }
    .line { fill: none; stroke: #667; stroke-width: 1.2; marker-end: url(#tip) }
"""


class Drawing(str):
    """The text of a picture or of a table; a notebook shows a picture as one."""

    __slots__ = ()

    def _repr_svg_(self) -> str | None:
        return str(self) if self.startswith("<svg") else None

    def __repr__(self) -> str:
        if self.startswith("<svg"):
            return f"<a picture of {len(self):,} characters; give draw a file to write it to>"
        return str(self)


def draw(
    tensors: Any, file: str | PathLike | None = None, format: str | None = None, names: Any = None
) -> Drawing:
    """What these tensors wait for, before and after fusion: the recorded operations, and the kernels as boxes.

    tensors: one, or lists and dicts of them. file: where to write it, if anywhere. format: "svg" or "text"; None takes
    the file's ending, or svg. names: what to call tensors, by name, or a Module; their gradients are called after them.
    Nothing is run, and what is pending stays pending. Returns the text of the picture, which a notebook shows.

    >>> import netcl as nc
    >>> a = nc.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> text = nc.draw(a.exp().sum(1), format="text", names={"a": a})
    >>> print(text.partition("1. ")[2])
    rows_sum, launch 1: rowwise over 2 x 2, reducing axis 1
         computes exp, sum
         reads  16 B: a float32[2, 2]
         writes 8 B: %2 float32[2, 1]
    <BLANKLINE>
    memory: results 8 B; intermediate results 0 B
    """
    from netcl.graph.explain import explain

    return drawn(explain(tensors, names), file, format)


def drawn(explanation: Explanation, file: str | PathLike | None = None, format: str | None = None) -> Drawing:
    """An explanation as a picture or a text; see `draw`."""
    if format is None:
        format = "text" if file is not None and Path(file).suffix in (".txt", ".md") else "svg"
    if format not in ("svg", "text"):
        raise ValueError(f'draw: format must be "svg" or "text", got {format!r}')
    text = Drawing(svg(explanation) if format == "svg" else str(explanation))
    if file is not None:
        Path(file).write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    return text


def svg(explanation: Explanation) -> str:
    """The picture: for each report the operations to the left, the kernels to the right, and the reasons below."""
    parts: list[str] = []
    top, width = _MARGIN, 320.0
    for report in explanation.reports:
        lines, used, bottom = _report(report, top)
        parts += lines
        width, top = max(width, used), bottom + _MARGIN
    if not explanation.reports:
        parts = [_text(_MARGIN, top + _LINE, "Nothing is pending.", "title")]
        top += 2 * _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + _MARGIN:.0f} {top:.0f}" '
        f'width="{width + _MARGIN:.0f}" height="{top:.0f}">\n'
        "<title>What is pending, and the kernels that it would become</title>\n"
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="6" markerHeight="6" '
        f'orient="auto"><path d="M0 0 10 5 0 10z" fill="#667"/></marker><style>{_STYLE}</style></defs>\n'
        f'<rect width="100%" height="100%" fill="#fbfbfa"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _report(report: Report, top: float) -> tuple[list[str], float, float]:
    """The parts of one report, and how far they reach to the right and down."""
    under = top + 2.5 * _LINE
    before, width, first = _recorded(report, _MARGIN, under)
    left = _MARGIN + max(width, 320.0) + 2 * _MARGIN
    after, width, second = _kernels(report, left, under)
    parts = [
        _text(_MARGIN, top + _LINE, f"Recorded: {report.recorded} operations", "title"),
        _text(left, top + _LINE, f"Runs as: {counted(report)}", "title"),
        *before, *after,
    ]  # fmt: skip
    bottom, right = max(first, second) + _MARGIN, left + max(width, 320.0)
    for line in reasons(report).splitlines()[1:]:
        line = line.strip()
        parts.append(_text(_MARGIN, bottom, line, "small"))
        right = max(right, _MARGIN + len(line) * 6.8)
        bottom += _LINE
    return parts, right, bottom


# ---- recorded operations -----------------------------------------------------------------------------------------


def _recorded(report: Report, left: float, top: float) -> tuple[list[str], float, float]:
    shown = [operation for operation in report.operations if operation.kind not in ("number", "input")]
    place = {operation.number: n for n, operation in enumerate(shown)}
    arrows = [(place[s], place[o.number]) for o in shown for s in dict.fromkeys(o.operands) if s in place]
    boxes, titles, styles = [], [], []
    for operation in shown:
        boxes.append(_operation_lines(operation))
        titles.append(f"{operation.name}({', '.join(operation.read)}) {operation.argument}: {operation.fate}")
        styles.append(f"box {operation.fate}")
    for inputs, readers in _input_boxes(report, place, ranks(len(shown), arrows)):
        arrows += [(len(boxes), reader) for reader in readers]
        arrays = [operation.results[0] for operation in inputs]
        boxes.append(_operation_lines(inputs[0]) if len(inputs) == 1 else [f"{len(inputs)} inputs"])
        titles.append("\n".join(str(array) for array in arrays))
        styles.append("box input")
    placed = lay_out([_size(lines) for lines in boxes], arrows)
    parts = _arrows(placed, left, top, [""] * len(arrows))
    for lines, title, style, (x, y) in zip(boxes, titles, styles, placed.boxes, strict=True):
        parts += _box(left + x, top + y, lines, style, "", title)
    return parts, placed.width, top + placed.height


def _input_boxes(report: Report, place: dict[int, int], rank: list[int]) -> list[tuple[list[Operation], list[int]]]:
    """The inputs as boxes, each with the operations that read it: one that is read far apart gets several boxes, many
    of one operation share one."""
    inputs = {operation.number: operation for operation in report.operations if operation.kind == "input"}
    readers: dict[int, list[int]] = {number: [] for number in inputs}
    boxes: list[tuple[list[Operation], list[int]]] = []
    for operation in report.operations:
        own = [number for number in dict.fromkeys(operation.operands) if number in inputs]
        if len(own) > MANY:
            boxes.append(([inputs[number] for number in own], [place[operation.number]]))
            continue
        for number in own:
            readers[number].append(place[operation.number])
    for number, places in readers.items():
        group: list[int] = []
        for reader in sorted(places, key=lambda reader: rank[reader]):
            if group and rank[reader] - rank[group[0]] > NEAR:
                boxes.append(([inputs[number]], group))
                group = []
            group.append(reader)
        if group:
            boxes.append(([inputs[number]], group))
    return boxes


def _operation_lines(operation: Operation) -> list[str]:
    results = [f"{array.dtype} {_space(array.shape)}" for array in operation.results]
    described = results[0] + (f" and {len(results) - 1} more" if len(results) > 1 else "")
    if operation.kind == "input":
        return [operation.results[0].name, described]
    name = operation.results[0].name
    plain = name.startswith("%") or len(results) > 1
    return [operation.name if plain else f"{name} = {operation.name}", described]


def _space(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one element"


# ---- kernels -----------------------------------------------------------------------------------------------------


def _kernels(report: Report, left: float, top: float) -> tuple[list[str], float, float]:
    arrows = list(dict.fromkeys((edge.source - 1, edge.target - 1) for edge in report.edges))
    why = {arrow: [] for arrow in arrows}  # type: dict[tuple[int, int], list[str]]
    for edge in report.edges:
        why[edge.source - 1, edge.target - 1].append(f"{edge.array}: {edge.text}")
    boxes = [_kernel_lines(kernel) for kernel in report.kernels]
    placed = lay_out([_size(lines) for lines in boxes], arrows)
    parts = _arrows(placed, left, top, ["\n".join(why[arrow]) for arrow in arrows])
    for kernel, lines, (x, y) in zip(report.kernels, boxes, placed.boxes, strict=True):
        full = f"reads {', '.join(map(str, kernel.reads))}\nwrites {', '.join(map(str, kernel.writes))}"
        parts += _box(left + x, top + y, lines, "box", f' style="fill: {_FILL[kernel.kind]}"', full)
    return parts, placed.width, top + placed.height


def _kernel_lines(kernel: KernelReport) -> list[str]:
    rows = f" by axis {', '.join(map(str, kernel.reduced))}" if kernel.reduced else ""
    return [
        f"{kernel.number}. {kernel.name}",
        f"launch {kernel.launch}, {kernel.kind} over {_space(kernel.space)}{rows}",
        *textwrap.wrap(kernel.summary(), 44),
        f"reads {readable(kernel.bytes_read)}, writes {readable(kernel.bytes_written)}",
    ]


# ---- marks -------------------------------------------------------------------------------------------------------


def _size(lines: list[str]) -> tuple[float, float]:
    return max(len(line) for line in lines) * _LETTER + 16, len(lines) * _LINE + 10


def _box(x: float, y: float, lines: list[str], style: str, more: str, title: str) -> list[str]:
    """A box around its middle, the first line bold."""
    width, height = _size(lines)
    left, top = x - width / 2, y - height / 2
    parts = [
        f'<g><title>{_escaped(title)}</title><rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="5" class="{style}"{more}/>'
    ]
    for number, line in enumerate(lines):
        parts.append(_text(left + 8, top + _LINE * (number + 1), line, "small" if number else "head"))
    return [*parts, "</g>"]


def _escaped(text: str) -> str:
    for sign, word in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, word)
    return text


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" xml:space="preserve">{_escaped(text)}</text>'


def _arrows(placed: Placed, left: float, top: float, titles: list[str]) -> list[str]:
    """Arrows that leave and arrive vertically, with what a pointer over them shows."""
    parts = []
    for points, title in zip(placed.arrows, titles, strict=True):
        moved = [(left + x, top + y) for x, y in points]
        path = f"M{moved[0][0]:.1f} {moved[0][1]:.1f}"
        for (x0, y0), (x1, y1) in pairwise(moved):
            half = (y0 + y1) / 2
            path += f"C{x0:.1f} {half:.1f} {x1:.1f} {half:.1f} {x1:.1f} {y1:.1f}"
        parts.append(f'<path d="{path}" class="line"><title>{_escaped(title)}</title></path>')
    return parts
