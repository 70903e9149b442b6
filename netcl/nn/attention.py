"""Attention, written as its formula."""

from __future__ import annotations

import math

from netcl.autograd.autocast import low_dtype, lowered
from netcl.core import dtypes
from netcl.nn.dropping import dropout
from netcl.ops.creation import ones
from netcl.ops.fused_ops import softmax
from netcl.tensor import Tensor


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """softmax(query @ key.T * scale + mask) @ value: (.., L, E), (.., S, E) and (.., S, Ev) give (.., L, Ev).

    attn_mask broadcasts to (.., L, S): a bool tensor that is true where a key may be seen, or numbers that are added.
    Whoever may see no key gets zeros. is_causal: query i sees the keys up to i. scale is 1 / sqrt(E) unless given.
    enable_gqa: groups of query heads (dimension -3) share the heads of key and value. The scores of all pairs are in
    memory at once. Vaswani et al., Attention Is All You Need, 2017.

    RuntimeError where shapes or dtypes don't fit, or where is_causal is given with attn_mask.

    >>> import netcl as nc
    >>> x = nc.eye(2)
    >>> nc.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)
    tensor([[1.0000, 0.0000],
            [0.3302, 0.6698]])
    """
    query, key, value = lowered(query, key, value)
    _check(query, key, value, attn_mask, is_causal)
    if enable_gqa:
        key, value = (_shared_heads(t, query) for t in (key, value))
    narrow = query.dtype in (dtypes.float16, dtypes.bfloat16) and low_dtype(query) is None
    q, k = (query.float(), key.float()) if narrow else (query, key)
    factor = 1 / math.sqrt(max(query.shape[-1], 1)) if scale is None else scale
    scores = q @ k.transpose(-2, -1) * factor
    if is_causal:
        later = ones(scores.shape[-2:], dtype=dtypes.bool_, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    elif attn_mask is not None:
        masks = attn_mask.dtype is dtypes.bool_
        scores = scores.masked_fill(~attn_mask, -math.inf) if masks else scores + attn_mask
        sees = (scores != -math.inf).any(-1, keepdim=True)
        scores = scores.where(sees, 0)
    weights = softmax(scores, -1)
    if attn_mask is not None:
        weights = weights.where(sees, 0)
    if dropout_p or not 0 <= dropout_p <= 1:
        weights = dropout(weights, dropout_p)
    return weights.to(value.dtype) @ value


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool) -> None:
    name, operands = "scaled_dot_product_attention", (query, key, value)
    shapes = ", ".join(str(list(t.shape)) for t in operands)
    if min(t.ndim for t in operands) < 2:
        raise RuntimeError(f"{name}: query, key and value need two dimensions or more, got {shapes}")
    if key.dtype is not query.dtype or value.dtype is not query.dtype or not query.is_floating_point():
        raise RuntimeError(
            f"{name}: query, key and value must be of one floating-point dtype, got {query.dtype}, {key.dtype} and "
            f"{value.dtype}; convert with .to()"
        )
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"{name}: shapes {shapes} don't fit: query and key need the same last size, key and value the same one "
            "before it"
        )
    if mask is None:
        return
    if is_causal:
        raise RuntimeError(f"{name}: attn_mask can't be given with is_causal=True; put the triangle into the mask")
    if mask.dtype not in (dtypes.bool_, dtypes.float32, query.dtype):
        raise RuntimeError(f"{name}: attn_mask must be bool, float32 or {query.dtype}, got {mask.dtype}")


def _shared_heads(tensor: Tensor, query: Tensor) -> Tensor:
    heads, own = query.shape[-3], tensor.shape[-3]
    if not own or heads % own:
        raise RuntimeError(
            f"scaled_dot_product_attention: {heads} heads of the query can't share {own} heads of key and value"
        )
    return tensor.repeat_interleave(heads // own, -3)
