"""Writes debugging.md with what its examples print now, and debugging.svg: python docs/debugging_figures.py

On a CPU device: the page shows kernels for CPUs.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path

from click.testing import CliRunner

from netcl.cli import main

PAGE = Path(__file__).resolve().parent / "debugging.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```(\n\n```text\n.*?^```)?", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n\$ netcl ([^\n]*)\n.*?^```", re.MULTILINE | re.DOTALL)


def filled(page: str) -> str:
    """The page with the output of its examples, run in the current folder."""
    names: dict[str, object] = {}

    def example(match: re.Match[str]) -> str:
        if match[1].startswith("# step.py"):
            Path("step.py").write_text(match[1])
            return match[0]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(match[1], "debugging.md", "exec"), names)
        return f"```python\n{match[1]}```\n\n```text\n{out.getvalue()}```" if match[2] else match[0]

    def console(match: re.Match[str]) -> str:
        output = CliRunner().invoke(main, match[1].split()).output
        return f"```console\n$ netcl {match[1]}\n{output}```"

    page = EXAMPLE.sub(example, page)
    picture = Path("step.svg").read_text()
    page = CONSOLE.sub(console, page)
    Path("step.svg").write_text(picture)
    return page


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        text = filled(PAGE.read_text())
        picture = Path("step.svg").read_text()
    PAGE.write_text(re.sub(r"on opencl:\d+", "on opencl:0", text))
    PAGE.with_suffix(".svg").write_text(picture)
    print(f"wrote {os.path.relpath(PAGE)} and its picture")
