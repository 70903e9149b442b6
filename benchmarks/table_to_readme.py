"""Put rows of benchmarks/results into README.md, between its markers: <!-- results -->  ...  <!-- /results -->

The pages in that folder hold more columns, sizes and devices, and say how each was measured. `--check` only says
whether README.md is up to date (exit status 1 if not).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
MARKED = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)

# Page: its columns of netcl's time, PyTorch's and torch.compile's ("" where there is none), and which cases are shown.
TIMES = {
    "steps": (("compiled", "PyTorch", "torch.compile"), ("MLP", "transformer", "GELU")),
    "losses": (("netcl min", "PyTorch min", "torch.compile min"), ("mse", "cross-entropy", "linear")),
    "matmul": (("netcl min", "PyTorch min", ""), ("64 ", "256 ", "1024 ")),
    "operations": (
        ("netcl min", "PyTorch min", ""),
        ("add", "sum, 1M", "softmax, 1M", "gather, 1M", "sort, 1M", "chain of 3: relu(x * y + 1), 1M"),
    ),
}
MEMORY = ("losses", "Peak memory", ("netcl without", "PyTorch without", "ratio"), ("cross-entropy, 2048", "linear"))
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}

Row = dict[str, str]


def page(name: str) -> str:
    return (HERE / "results" / f"{name}.md").read_text()


def rows(text: str, heading: str = "") -> list[Row]:
    """The first table below a heading, by column; of columns with one name, the last."""
    lines = text[text.index(f"## {heading}") :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    names = cells(lines[start])
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append(dict(zip(names, cells(line), strict=True)))
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def seconds(cell: str) -> float:
    number, unit = cell.split(" (")[0].split()
    return float(number) * SECONDS[unit]


def ratio(ours: str, theirs: str) -> str:
    found = seconds(theirs) / seconds(ours)
    return f"{found:.1f}x" if found >= 1 else f"{found:.2f}x, slower"


def times() -> list[str]:
    lines = ["| what | netcl | PyTorch | `torch.compile` | PyTorch's time / netcl's |", "|---|---:|---:|---:|---:|"]
    for name, ((ours, theirs, compiled), shown) in TIMES.items():
        for row in rows(page(name)):
            if row["case"].startswith(shown):
                cells_of = [row[column].split(" (")[0] if column else "" for column in (ours, theirs, compiled)]
                what = f"matrix product {row['case']}" if name == "matmul" else row["case"]
                lines.append(f"| {what} | {' | '.join(cells_of)} | {ratio(row[ours], row[theirs])} |")
    return lines


def memory() -> list[str]:
    name, heading, (ours, theirs, _), shown = MEMORY
    lines = ["| what the loss takes besides its inputs and gradients | netcl | PyTorch |", "|---|---:|---:|"]
    found = [row for row in rows(page(name), heading) if row["case"].startswith(shown)]
    return [*lines, *(f"| {row['case']} | {row[ours]} | {row[theirs]} |" for row in found)]


def machine() -> str:
    """What all pages were measured on. Each tells its own load of the machine."""
    return page("steps").splitlines()[2].partition(", load")[0] + "."


def filled(text: str) -> str:
    """The README's text with the part between the markers made anew."""
    made = "\n".join(["", machine(), "", *times(), "", *memory(), "", ""])
    return MARKED.sub(lambda match: f"{match[1]}{made}{match[2]}", text)


def main() -> None:
    before = README.read_text()
    after = filled(before)
    if "--check" in sys.argv:
        sys.exit(0 if before == after else "README.md is not up to date: python benchmarks/table_to_readme.py")
    README.write_text(after)


if __name__ == "__main__":
    main()
