"""Runs the code blocks of the documents that netcl grew from, word for word; torch and lucid are read as netcl."""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
from typing import Any

READ_AS = (
    (r"^(\s*)import (torch|lucid)\.nn as nn", r"\1import netcl.nn as nn"),
    (r"^(\s*)import (torch|lucid)$", r"\1import netcl as \2"),
    (r"^(\s*)from (torch|lucid) import", r"\1from netcl import"),
)


def run(block: str, names: dict[str, Any] | None = None) -> tuple[dict[str, Any], str]:
    """Run a block; its names afterwards and what it printed. A leading `>>> ` or `... ` is taken off."""
    code = textwrap.dedent(block).strip("\n")
    code = "\n".join(re.sub(r"^(>>>|\.\.\.) ?", "", line) for line in code.split("\n"))
    for pattern, replacement in READ_AS:
        code = re.sub(pattern, replacement, code, flags=re.MULTILINE)
    found = dict(names or {})
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "document", "exec"), found)
    return found, out.getvalue()
