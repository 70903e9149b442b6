"""One table of operations: what the generic tests of tests/ops/test_table*.py run over.

A row is a name and a call; a new operation needs one, or a reason in `EXCEPTIONS`.
"""

from __future__ import annotations

from table import activations, algebra, elementwise, indexing, reductions, shapes  # noqa: F401  (they add rows)
from table.exceptions import (
    EXCEPTIONS,
    HERE_ONLY,
    NO_GRADIENT_THERE,
    OTHER_DERIVATIVES,
    OTHER_IN_DTYPES,
    OTHER_SHAPES,
    OTHER_VALUES,
)
from table.rows import ROWS, Named, Numbers, Row, function

__all__ = [
    "EXCEPTIONS",
    "HERE_ONLY",
    "NO_GRADIENT_THERE",
    "OTHER_DERIVATIVES",
    "OTHER_IN_DTYPES",
    "OTHER_SHAPES",
    "OTHER_VALUES",
    "ROWS",
    "Named",
    "Numbers",
    "Row",
    "function",
]
