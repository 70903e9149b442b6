"""SparseAdam: there are no sparse gradients here."""

from __future__ import annotations

from typing import Any

from netcl.optim.optimizer import Optimizer


class SparseAdam(Optimizer):
    """Not here: gradients are dense. Adam gives the same numbers for rows that all have gradients."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("SparseAdam: gradients are dense here; use Adam")
