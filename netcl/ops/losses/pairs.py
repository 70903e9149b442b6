"""Losses of pairs and triplets: what belongs together comes close, what does not keeps a margin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netcl.graph.primitives import broadcast_shapes
from netcl.ops.activations import softplus
from netcl.ops.creation import iota
from netcl.ops.fused_ops import cross_entropy
from netcl.ops.losses.arguments import check_reduction, check_tensors, exact, legacy_reduction, reduced, widest
from netcl.ops.losses.pointwise import Pointwise
from netcl.ops.norms import vector_norm
from netcl.tensor import Tensor


def _hinge_embedding(x: Tensor, y: Tensor, margin: Tensor) -> Tensor:
    return x.where(y != -1, 0.0) + (margin - x).maximum(0.0).where(y != 1, 0.0)


def _hinge_embedding_slopes(x: Tensor, y: Tensor, margin: Tensor) -> tuple:
    pushed = (y != 1) & (margin >= x)
    return (y != -1).to(x.dtype) - pushed.to(x.dtype), y.where(y != y, 0.0)


def _ranking(a: Tensor, b: Tensor, y: Tensor, margin: Tensor) -> Tensor:
    return (margin - y * (a - b)).maximum(0.0)


def _ranking_slopes(a: Tensor, b: Tensor, y: Tensor, margin: Tensor) -> tuple:
    on = margin - y * (a - b) >= 0
    slope = y.where(on, 0.0)
    return -slope, slope, (b - a).where(on, 0.0)


_hinge_embedding_loss = Pointwise("hinge_embedding_loss", _hinge_embedding, _hinge_embedding_slopes, own=True)
_margin_ranking = Pointwise("margin_ranking_loss", _ranking, _ranking_slopes, tensors=3)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, size_average: Any = None, reduce: Any = None,
    reduction: Any = "mean",
) -> Tensor:  # fmt: skip
    """x where the target is 1, max(0, margin - x) where it is -1: of distances x."""
    name = "hinge_embedding_loss"
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction))
    check_tensors(name, input=input, target=target)
    return _hinge_embedding_loss((input, target), reduction, (margin,))


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: Any = None, reduce: Any = None,
    reduction: Any = "mean",
) -> Tensor:  # fmt: skip
    """max(0, margin - y (x1 - x2)): y = 1 wants x1 above x2, y = -1 below. RuntimeError for different ranks."""
    name = "margin_ranking_loss"
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction))
    check_tensors(name, input1=input1, input2=input2, target=target)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            f"{name}: the tensors must have the same number of dimensions, got shapes {list(input1.shape)}, "
            f"{list(input2.shape)} and {list(target.shape)}"
        )
    return _margin_ranking((input1, input2, target), reduction, (margin,))


# ---- cosine ------------------------------------------------------------------------------------------------------


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: Any = None, reduce: Any = None,
    reduction: Any = "mean",
) -> Tensor:  # fmt: skip
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1.

    x1, x2: (N, D) with target (N,), or (D,) with target (). RuntimeError for other shapes.
    """
    name = "cosine_embedding_loss"
    reduction = check_reduction(name, legacy_reduction(size_average, reduce, reduction))
    check_tensors(name, input1=input1, input2=input2, target=target)
    if target.ndim not in (0, 1) or not input1.ndim == input2.ndim == target.ndim + 1:
        raise RuntimeError(
            f"{name}: expected inputs (N, D) and target (N,), or (D,) and (), got {list(input1.shape)}, "
            f"{list(input2.shape)} and {list(target.shape)}"
        )
    shape = broadcast_shapes(name, [input1._value.shape, input2._value.shape])
    broadcast_shapes(name, [shape[:-1], target._value.shape])
    dtype = widest(input1, input2)
    x1, x2 = (exact(x.to(dtype)) for x in (input1, input2))
    tiny = 1e-12
    product, square1, square2 = (x1 * x2).sum(-1), (x1 * x1).sum(-1) + tiny, (x2 * x2).sum(-1) + tiny
    cosine = product / (square1 * square2).sqrt()
    apart = (cosine - margin).clamp(0.0)
    return reduced((1.0 - cosine).where(target == 1, apart.where(target == -1, 0.0)).to(dtype), reduction)


# ---- triplets ----------------------------------------------------------------------------------------------------


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + eps over the last dimension. eps keeps the gradient finite where the two are equal."""
    check_tensors("pairwise_distance", x1=x1, x2=x2)
    difference = x1 - x2 + eps
    return _norm(difference, p, keepdim).to(difference.dtype)


def _norm(difference: Tensor, p: float, keepdim: bool = False) -> Tensor:
    """The p-norm over the last dimension, in float64 where `exact` is."""
    difference = exact(difference)
    if p == 0:
        return vector_norm(difference, 0, -1, keepdim)
    if p == 2:
        return (difference * difference).sum(-1, keepdim=keepdim).sqrt()
    size = difference.abs()
    if p == 1:
        return size.sum(-1, keepdim=keepdim)
    if p in (float("inf"), float("-inf")):
        return size.amax(-1, keepdim=keepdim) if p > 0 else size.amin(-1, keepdim=keepdim)
    return (size**p).sum(-1, keepdim=keepdim) ** (1.0 / p)


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
    swap: bool = False, size_average: Any = None, reduce: Any = None, reduction: Any = "mean",
) -> Tensor:  # fmt: skip
    """max(0, d(a, p) - d(a, n) + margin), d the p-norm of the difference plus eps, over the last dimension.

    swap: the smaller of d(a, n) and d(p, n) is taken (Balntas et al., 2016). ValueError unless margin > 0,
    RuntimeError for different ranks.
    """
    name = "triplet_margin_loss"
    reduction = legacy_reduction(size_average, reduce, reduction)
    check_tensors(name, anchor=anchor, positive=positive, negative=negative)
    return _wide_triplet(name, (anchor, positive, negative), margin, swap, reduction, p, eps)


def _wide_triplet(
    name: str, tensors: tuple[Tensor, Tensor, Tensor], margin: float, swap: bool, reduction: Any, p: float = 2.0,
    eps: float = 1e-6,
) -> Tensor:  # fmt: skip
    """By p-norms in float32 or wider, where `exact` is in float64: the difference of two distances loses digits."""
    dtype = widest(*tensors)
    anchor, positive, negative = (exact(x.to(dtype)) for x in tensors)
    return _triplet(
        name, anchor, positive, negative, lambda a, b: _norm(a - b + eps, p), margin, swap, reduction, dtype
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0, swap: bool = False,
    reduction: Any = "mean",
) -> Tensor:  # fmt: skip
    """max(0, d(a, p) - d(a, n) + margin) with any function d of two tensors, by default pairwise_distance."""
    name = "triplet_margin_with_distance_loss"
    check_tensors(name, anchor=anchor, positive=positive, negative=negative)
    if distance_function is not None:
        return _triplet(name, anchor, positive, negative, distance_function, margin, swap, reduction)
    return _wide_triplet(name, (anchor, positive, negative), margin, swap, reduction)


def _triplet(
    name: str, anchor: Tensor, positive: Tensor, negative: Tensor, distance: Callable[[Tensor, Tensor], Tensor],
    margin: float, swap: bool, reduction: Any, dtype: Any = None,
) -> Tensor:  # fmt: skip
    """`dtype`: what the losses are rounded to, where the distances are wider."""
    reduction = check_reduction(name, reduction)
    if not margin > 0:
        raise ValueError(f"{name}: margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            f"{name}: anchor, positive and negative must have the same number of dimensions, got shapes "
            f"{list(anchor.shape)}, {list(positive.shape)} and {list(negative.shape)}"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    losses = (near - far + margin).clamp(0.0)
    return reduced(losses if dtype is None else losses.to(dtype), reduction)


# ---- contrastive -------------------------------------------------------------------------------------------------


def info_nce(
    query: Tensor, positive_key: Tensor, negative_keys: Tensor | None = None, temperature: float = 0.1,
    reduction: Any = "mean",
) -> Tensor:  # fmt: skip
    """The cross-entropy of finding each query's own key among the others, by cosine similarity / temperature.

    query, positive_key: (N, D). negative_keys: (M, D); without them the other rows' positive keys are the negatives.
    van den Oord, Li, Vinyals: Representation Learning with Contrastive Predictive Coding, 2018.
    ValueError for other shapes and unless temperature > 0.
    """
    name = "info_nce"
    reduction = check_reduction(name, reduction)
    check_tensors(name, query=query, positive_key=positive_key)
    if query.ndim != 2 or query._value.shape != positive_key._value.shape:
        raise ValueError(
            f"{name}: query and positive_key must be two matrices of one shape, got {list(query.shape)} and "
            f"{list(positive_key.shape)}"
        )
    if not temperature > 0:
        raise ValueError(f"{name}: temperature must be greater than 0, got {temperature}")
    dtype = widest(query, positive_key)
    queries, keys = query.to(dtype), positive_key.to(dtype)
    lengths = _length(queries) * temperature
    own = iota((query.shape[0],), 0, query.device)
    if negative_keys is None:
        return cross_entropy(_cosines(queries, keys, lengths), own, reduction=reduction)
    check_tensors(name, query=query, negative_keys=negative_keys)
    if negative_keys.ndim != 2 or negative_keys.shape[1] != query.shape[1]:
        raise ValueError(
            f"{name}: negative_keys must be a matrix of rows of size {query.shape[1]}, got {list(negative_keys.shape)}"
        )
    near = (queries * keys).sum(1, keepdim=True) / (lengths * _length(keys))
    far = _cosines(queries, negative_keys.to(dtype), lengths)
    # -log(e^near / (e^near + sum of e^far)) without a row that holds both; behind 40 float64 does not see the 1
    return reduced(softplus(far.logsumexp(1) - near.reshape(near.shape[0]), threshold=40.0), reduction)


def _cosines(queries: Tensor, keys: Tensor, lengths: Tensor) -> Tensor:
    """Of each query and each key, divided by the queries' `lengths`. Neither the product nor the lengths wait for the
    other: small ones are a launch together."""
    return queries @ keys.t() / (lengths * _length(keys).t())


def _length(x: Tensor) -> Tensor:
    """Of each row, (N, 1); not 0 for a row of zeros."""
    return ((x * x).sum(-1, keepdim=True) + 1e-24).sqrt()
