"""Distances between vectors, their angles, and vectors of length one."""

from __future__ import annotations

from typing import Any

from netcl.core.dtypes import promote
from netcl.graph.primitives import broadcast_shapes
from netcl.ops.elementwise import check_devices
from netcl.ops.norms import vector_norm
from netcl.ops.triangles import triu_indices
from netcl.tensor import Tensor

__all__ = ["cdist", "cosine_similarity", "pdist"]
METHODS: list[str] = []

_MODES = (
    "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist",
)  # fmt: skip


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = _MODES[0]) -> Tensor:
    """The p-norm of each difference of a row of x1 and a row of x2: (.., n, d) and (.., m, d) give (.., n, m).

    All modes compute the differences, as PyTorch does for few rows: the way by a matrix product, which
    compute_mode="use_mm_for_euclid_dist" allows, loses what the differences keep. The gradient at equal rows is 0.
    """
    check_devices("cdist", x1, x2)
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"cdist: expected matrices with equally long rows, got shapes {list(x1.shape)} and {list(x2.shape)}"
        )
    if x1.dtype.category != 2 or x2.dtype.category != 2:
        raise RuntimeError(f"cdist: expected floating-point tensors, got {x1.dtype} and {x2.dtype}")
    if p < 0:
        raise RuntimeError(f"cdist: p must not be negative, got {p}")
    if compute_mode is not None and compute_mode not in _MODES:
        raise ValueError(f"cdist: {compute_mode!r} is not a compute_mode; choose one of {', '.join(_MODES)}")
    if not x1.shape[-1]:
        batch = broadcast_shapes("cdist", [tuple(x1.shape[:-2]), tuple(x2.shape[:-2])])
        return x1.new_zeros((*batch, x1.shape[-2], x2.shape[-2]))
    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norms of the differences of all pairs of rows of a matrix: (n, d) gives (n * (n - 1) / 2)."""
    if input.ndim != 2:
        raise RuntimeError(f"pdist: expected a matrix, got shape {list(input.shape)}")
    if not input.is_floating_point():
        raise RuntimeError(f"pdist: expected a floating-point tensor, got {input.dtype}; convert it with .float()")
    count = input.shape[0]
    first, second = triu_indices(count, count, 1, device=input.device)
    if not first.numel():
        return input.new_zeros(0)
    return vector_norm(input.index_select(0, first) - input.index_select(0, second), p, -1)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along dim; the two broadcast.

    >>> import netcl as nc
    >>> nc.cosine_similarity(nc.tensor([[1.0, 0.0]]), nc.tensor([[3.0, 4.0]])).item()
    0.6000000238418579
    """
    check_devices("cosine_similarity", x1, x2)
    shape = broadcast_shapes("cosine_similarity", [x1._value.shape, x2._value.shape])
    dtype = promote(x1.dtype, x2.dtype)
    x1, x2 = x1.to(dtype).expand(shape), x2.to(dtype).expand(shape)
    lengths = [_at_least(vector_norm(x, 2, dim, keepdim=True), eps) for x in (x1, x2)]
    return ((x1 / lengths[0]) * (x2 / lengths[1])).sum(dim)


def _at_least(size: Tensor, eps: float) -> Tensor:
    return size.clamp(min=eps) if eps else size


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """input / max(its p-norm along dim, eps): vectors of length one.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.normalize(nc.tensor([[3.0, 4.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    return input / _at_least(vector_norm(input, p, dim, keepdim=True), eps)
