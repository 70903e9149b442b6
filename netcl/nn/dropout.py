"""Dropout as a module."""

from __future__ import annotations

from netcl.nn import functional as F
from netcl.nn.module import Module
from netcl.tensor import Tensor


class Dropout(Module):
    """In training, sets each element to zero with probability p and scales the rest by 1 / (1 - p)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        if inplace:
            raise NotImplementedError("Dropout(inplace=True): memory is reused by itself here; leave inplace out")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
