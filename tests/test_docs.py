"""What the documentation shows really happens: examples print what is printed below them, the tutorial works."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in BLOCK.finditer(page.read_text())]


def test_the_readme_examples_print_what_the_readme_shows() -> None:
    names: dict[str, object] = {}
    found = blocks(ROOT / "README.md")
    shown = 0
    for (kind, code), (following, expected) in zip(found, [*found[1:], ("", "")], strict=True):
        if kind != "python":
            continue
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, "README.md", "exec"), names)
        if following == "text":
            assert out.getvalue() == expected
            shown += 1
    assert shown, "the README has no example with its output"


def test_the_readme_example_prints_the_same_with_pytorch() -> None:
    pytest.importorskip("torch")
    (_, code), (_, expected) = blocks(ROOT / "README.md")[:2]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(re.sub(r"^import netcl", "import torch", code, flags=re.MULTILINE), "README.md", "exec"), {})
    assert out.getvalue() == expected


def test_the_readme_has_the_figures_of_the_benchmarks_pages() -> None:
    script = ROOT / "benchmarks" / "table_to_readme.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_in_the_documentation_lead_somewhere(page: Path) -> None:
    for path, heading in LINK.findall(page.read_text()):
        target = page.parent / path if path else page
        assert target.exists(), f"there is no {path}"
        assert not heading or heading in headings(target), f"{target.name} has no heading #{heading}"


def headings(page: Path) -> set[str]:
    """The names by which GitHub links to a page's headings."""
    texts = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def test_adding_an_operation_takes_the_steps_that_contributing_tells(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "netcl", tmp_path / "netcl", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for kind, text in blocks(ROOT / "CONTRIBUTING.md"):
        if kind == "diff":
            apply(tmp_path, text)
        elif kind == "python":
            (tmp_path / "tests" / Path(text.split("\n", 1)[0].removeprefix("# ")).name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def apply(root: Path, diff: str) -> None:
    """Replace some lines by others: ' ' in both, '-' in the old ones, '+' in the new. '...' ends what is shown."""
    header, *lines = diff.splitlines()
    path = root / header.removeprefix("--- ")
    old = "\n".join(line[1:] for line in lines if line[0] in " -").removesuffix("...")
    new = "\n".join(line[1:] for line in lines if line[0] in " +").removesuffix("...")
    before = path.read_text()
    assert before.count(old) == 1, f"CONTRIBUTING.md shows lines that {path.name} does not have:\n{old}"
    path.write_text(before.replace(old, new))


RUN = "amp.md jit.md losses.md debugging.md functional.md own_operations.md training.md".split()


@pytest.mark.parametrize("name", RUN)
def test_the_examples_of_a_document_print_what_it_shows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    found = blocks(ROOT / "docs" / name)
    for (kind, code), (following, expected) in zip(found, [*found[1:], ("", "")], strict=True):
        if kind != "python":
            continue
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, name, "exec"), names)
        if following == "text":
            assert out.getvalue() == expected
