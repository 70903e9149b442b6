"""The examples in docstrings run as a user would type them, and print what stands below them."""

from __future__ import annotations

import ast
import doctest
from pathlib import Path

import pytest

import netcl as nc

PACKAGE = Path(nc.__file__).parent
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text()]


def examples(path: Path) -> list[doctest.DocTest]:
    """One for each text in a file that has examples. They share no names, and find none but Python's own."""
    parser = doctest.DocTestParser()
    texts = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    return [
        parser.get_doctest(text.value, {}, f"line {text.lineno}", str(path), text.lineno - 1)
        for text in texts
        if isinstance(text.value, str) and ">>> " in text.value
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_examples_in_docstrings_print_what_they_show(path: Path) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.REPORT_NDIFF)
    report: list[str] = []
    for example in examples(path):
        runner.run(example, out=report.append)
    assert runner.tries
    assert not runner.failures, "".join(report)
