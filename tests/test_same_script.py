"""A script written for PyTorch runs with netcl in its place, and prints the same."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))
IMPORTS = "import {0} as torch\nimport {0}.nn as nn\nimport {0}.nn.functional as F\n"
NUMBER = re.compile(r"[-+]?\d+\.\d*(?:e[-+]?\d+)?")


def printed(package: str, script: Path) -> str:
    """What the script prints with this package."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(IMPORTS.format(package) + script.read_text(), str(script), "exec"), {"__name__": "script"})
    return out.getvalue().replace(f"{package}.", "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_pytorch_script_prints_the_same_with_netcl(torch, device, script: Path) -> None:
    ours, theirs = printed("netcl", script), printed("torch", script)
    assert NUMBER.sub("#", ours).split() == NUMBER.sub("#", theirs).split()
    for mine, his in zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=True):
        assert float(mine) == pytest.approx(float(his), rel=1e-4, abs=2e-4)


def test_the_scripts_use_pytorchs_names_only() -> None:
    for script in SCRIPTS:
        assert not re.search(r"\b(?:nc|netcl)\.", script.read_text())
