"""docs/losses.md has every loss, function and module, each with its formula and its gradient."""

from __future__ import annotations

import re
from pathlib import Path

import netcl.nn.functional as F
from netcl.nn import loss

PAGE = Path(__file__).resolve().parents[2] / "docs" / "losses.md"


def test_the_page_says_the_formula_and_the_gradient_of_every_loss():
    page = PAGE.read_text()
    tables = page.split("## Where the documents contradict")[0]
    lines = [line for line in tables.splitlines() if line.startswith("| ") and "`" in line]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert [row[0] for row in rows if len(row) < 3 or not all(row)] == []
    losses = {name for name in F.__all__ if name.endswith(("_loss", "cross_entropy", "_mse", "_nce", "_with_logits"))}
    modules = {name for name in loss.__all__ if name.endswith("Loss")}
    assert len(losses) >= 28 and len(modules) >= 28
    named = set(re.findall(r"`(\w+)`", tables))
    assert (losses | modules | {"kl_div"}) - named == set()
