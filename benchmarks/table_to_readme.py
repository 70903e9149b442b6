"""Put what benchmarks/results holds into README.md, between its markers.

    <!-- results:losses -->  ...  <!-- /results -->

The text between is replaced by the tables of benchmarks/results/losses.md with their headings made small. `--check`
only says whether README.md is up to date (exit status 1 if not).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
MARKED = re.compile(r"(<!-- results:(?P<name>\w+) -->\n).*?(<!-- /results -->)", re.DOTALL)


def filled(text: str) -> str:
    """The README's text with each marked part replaced by its results, where there are any."""

    def part(match: re.Match[str]) -> str:
        path = HERE / "results" / f"{match['name']}.md"
        return f"{match[1]}{shortened(path.read_text())}{match[3]}" if path.exists() else match[0]

    return MARKED.sub(part, text)


def shortened(results: str) -> str:
    """A results page without its title and what is below its mark, headings as bold lines."""
    lines = results.split("<!-- more -->")[0].splitlines()
    body = lines[1:] if lines and lines[0].startswith("# ") else lines
    text = "\n".join(f"**{line.lstrip('# ')}**" if line.startswith("#") else line for line in body)
    return "\n" + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n\n"


def main() -> None:
    before = README.read_text()
    after = filled(before)
    if "--check" in sys.argv:
        sys.exit(0 if before == after else "README.md is not up to date: python benchmarks/table_to_readme.py")
    README.write_text(after)


if __name__ == "__main__":
    main()
