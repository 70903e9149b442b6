"""Modules of two inputs: CosineSimilarity and Bilinear."""

from __future__ import annotations

from math import sqrt
from typing import Any

from netcl.core.dtypes import DType
from netcl.nn import init
from netcl.nn.module import Module
from netcl.nn.parameter import Parameter, unset
from netcl.ops.distances import cosine_similarity
from netcl.ops.products import bilinear
from netcl.tensor import Tensor

__all__ = ["Bilinear", "CosineSimilarity"]


class CosineSimilarity(Module):
    """The cosine of the angle between x1 and x2 along dim.

    >>> import netcl as nc
    >>> nc.nn.CosineSimilarity()(nc.ones(2, 3), nc.ones(2, 3)).shape
    netcl.Size([2])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return cosine_similarity(x1, x2, self.dim, self.eps)


class Bilinear(Module):
    """x1 weight[k] x2 + bias[k] for each k; weight (out_features, in1_features, in2_features).

    Drawn from U(-1/sqrt(in1_features), 1/sqrt(in1_features)): PyTorch's numbers for the same `manual_seed`.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: Any = None,
        dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"Bilinear: in1_features must be > 0, but got {in1_features}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = unset(out_features, in1_features, in2_features, device=device, dtype=dtype)
        if bias:
            self.bias = unset(out_features, device=device, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
