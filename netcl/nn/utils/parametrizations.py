"""Ready-made parametrizations: weight_norm and spectral_norm."""

from __future__ import annotations

from netcl.autograd.tape import no_grad
from netcl.nn.module import Module
from netcl.nn.utils.parametrize import register_parametrization
from netcl.ops.sampling import randn
from netcl.tensor import Tensor


def norm_except_dim(v: Tensor, dim: int | None) -> Tensor:
    """The length of each slice v[i] along dim, shaped to broadcast; of all of v where dim is None or -1."""
    if dim is None or dim == -1:
        return (v * v).sum().sqrt()
    axis = dim % v.ndim
    others = tuple([a for a in range(v.ndim) if a != axis])
    return (v * v).sum(others, keepdim=True).sqrt() if others else v.abs()


class _WeightNorm(Module):
    """A weight from its lengths along dim and its directions."""

    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, magnitude: Tensor, direction: Tensor) -> Tensor:
        return direction * (magnitude / norm_except_dim(direction, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train a weight's lengths and directions apart: parametrizations.weight.original0 and original1.

    Salimans, Kingma: Weight Normalization, 2016.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    return module


class _SpectralNorm(Module):
    """Divides by the largest singular value, which power iterations follow; u and v are its vectors."""

    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{weight.ndim}, {weight.ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + weight.ndim
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if weight.ndim > 1:
            with no_grad():
                matrix = self._matrix(weight.detach())
                for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                    start = randn(size, device=weight.device).to(weight.dtype)
                    self.register_buffer(name, _normalized(start, eps))
                self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        axes = [self.dim, *[a for a in range(weight.ndim) if a != self.dim]]
        return weight.permute(axes).reshape(weight.shape[self.dim], -1)

    @no_grad()
    def _iterate(self, matrix: Tensor, times: int) -> None:
        matrix = matrix.detach()
        u, v = self._u, self._v
        for _ in range(times):
            u = _normalized(matrix @ v, self.eps)
            v = _normalized(matrix.t() @ u, self.eps)
        self._u.copy_(u)
        self._v.copy_(v)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return _normalized(weight, self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.detach().clone(), self._v.detach().clone()
        return weight / (u * (matrix @ v)).sum()


def _normalized(x: Tensor, eps: float) -> Tensor:
    return x / (x * x).sum().sqrt().clamp(min=eps)


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value, as power iterations in training find it. Nothing is read back.

    Miyato et al.: Spectral Normalization for Generative Adversarial Networks, 2018.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module


__all__ = ["spectral_norm", "weight_norm"]
