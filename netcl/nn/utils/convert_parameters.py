"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from netcl.autograd.tape import no_grad
from netcl.ops.joining import cat
from netcl.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters, one after the other. Gradients flow back."""
    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give the parameters the elements of a vector (copies: unlike PyTorch's they do not share its memory)."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: expected a Tensor, got {type(vec).__name__}")
    place = 0
    with no_grad():
        for parameter in parameters:
            count = parameter.numel()
            parameter.copy_(vec.detach()[place : place + count].reshape(parameter.shape))
            place += count
