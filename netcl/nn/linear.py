"""Linear, and the modules that only reshape or pass on."""

from __future__ import annotations

from math import sqrt
from typing import Any

from netcl.core.dtypes import DType
from netcl.nn import functional as F
from netcl.nn import init
from netcl.nn.module import Module
from netcl.nn.parameter import Parameter, unset
from netcl.tensor import Tensor


class Linear(Module):
    """x @ weight.T + bias. Input (.., in_features), output (.., out_features); weight (out_features, in_features).

    Drawn from U(-1/sqrt(in_features), 1/sqrt(in_features)): PyTorch's numbers for the same `manual_seed`.

    >>> import netcl as nc
    >>> nc.nn.Linear(3, 5)(nc.ones(2, 3)).shape
    netcl.Size([2, 5])
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: DType | None = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = unset(out_features, in_features, device=device, dtype=dtype)
        if bias:
            self.bias = unset(out_features, device=device, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=sqrt(5))
        if self.bias is not None:
            bound = 1 / sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Identity(Module):
    """Passes its input on; takes any arguments and ignores them, as PyTorch's does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Flatten(Module):
    """Dimensions start_dim to end_dim as one; the first one, the batch, stays by default."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
