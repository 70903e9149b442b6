"""Rows looked up in a table by index: embedding, sums and means over bags of them, one_hot."""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd import tape
from netcl.core import dtypes
from netcl.graph.table import composite
from netcl.ops import columns
from netcl.ops.creation import full, iota, zeros
from netcl.ops.elementwise import check_devices, where
from netcl.ops.scans import cumsum
from netcl.ops.scatter_reduction import reduced
from netcl.ops.sites import index_site
from netcl.tensor import Tensor


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """weight[input]: indices (*) and a table (rows, size) give (*, size).

    The row padding_idx has no gradient. max_norm scales the rows that are looked up down to that norm first, in place.
    scale_grad_by_freq divides a row's gradient by how often it was looked up. NotImplementedError for sparse: gradients
    are dense here. IndexError, at the next read of a value, for an index out of range.

    >>> import netcl as nc, netcl.nn.functional as F
    >>> F.embedding(nc.tensor([1, 0]), nc.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[3., 4.],
            [1., 2.]])
    """
    _check(input, weight, sparse)
    rows = weight._value.shape[0]
    padding_idx = _padding_row(padding_idx, rows)
    if input.numel() and not rows:
        raise IndexError("embedding: the table has no rows: no index is in range")
    if max_norm is not None:
        _hold_norm(weight, input.reshape(1, input.numel(), 1), float(max_norm), float(norm_type))
    operands = (weight, input, index_site("embedding", input, f"{rows} embeddings"))
    return tape.apply_composite("embedding", operands, (padding_idx, bool(scale_grad_by_freq)), _embedding_gradient)


def _embedding_infer(operands: Any, arg: tuple) -> tuple:
    weight, index, _ = operands
    return (*index.shape, weight.shape[1]), weight.dtype


def _embedding_body(weight: Any, index: Any, where_from: Any, arg: tuple) -> Any:
    table, places = Tensor._wrap(weight).unsqueeze(0), Tensor._wrap(index).reshape(1, prod(index.shape), 1)
    rows = Tensor._wrap(columns.picked(table._value, places._value, where_from, 0))
    return rows.reshape(*index.shape, weight.shape[1])._value


def _check(input: Tensor, weight: Tensor, sparse: bool) -> None:
    check_devices("embedding", input, weight)
    if input.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"embedding: expected int64 indices, got {input.dtype}; convert them with .long()")
    if weight.ndim != 2:
        raise RuntimeError(f"embedding: weight must have 2 dimensions, got shape {list(weight.shape)}")
    if sparse:
        raise NotImplementedError("embedding: there are no sparse gradients here; leave sparse=False")


def _padding_row(padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError(f"embedding: padding_idx {padding_idx} must lie within the {rows} rows of the table")
    return padding_idx % rows


def _hold_norm(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    rows = weight._value.shape[0]
    with tape.no_grad():
        norms = (weight.detach().abs() ** norm_type).sum(1, keepdim=True) ** (1 / norm_type)
        used = columns.touched(rows, index).reshape(rows, 1)
        weight.mul_(where(used & (norms > max_norm), max_norm / (norms + 1e-7), 1.0))


def _embedding_gradient(g: Tensor, y: Any, x: Any, index: Tensor, where_from: Any, arg: tuple) -> tuple:
    """The rows' gradients added up; places that have none point past the last row, where nothing is kept."""
    padding_idx, by_frequency = arg
    rows, size = x.shape
    index = index.reshape(1, index.numel(), 1)
    g = g.reshape(1, index.numel(), size)
    if by_frequency:
        ones = full(index._value.shape, 1, dtype=dtypes.int64, device=index.device)
        g = (g / columns.pick(columns.scatter("sum", rows, index, ones), index)).to(g.dtype)
    if padding_idx is not None:
        index = index.where(index != padding_idx, rows)
    return columns.scatter("sum", rows, index, g).reshape(rows, size), None, None


composite("embedding", _embedding_infer, _embedding_body)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at each index and 0 elsewhere, in a new last dimension, as int64.

    Without num_classes there are as many as the largest index needs, which the host reads. RuntimeError for other
    dtypes than int64; IndexError, at the next read of a value, for an index out of range.
    """
    if tensor.dtype is not dtypes.int64:
        raise RuntimeError(f"one_hot: expected an int64 tensor, got {tensor.dtype}; convert it with .long()")
    if num_classes == -1:
        if not tensor.numel():
            raise RuntimeError("one_hot: an empty tensor does not tell how many classes there are; pass num_classes")
        num_classes = int(tensor.amax().item()) + 1
    if num_classes < 1 and tensor.numel():
        raise RuntimeError(f"one_hot: the number of classes must be positive, got {num_classes}")
    index = columns.checked("one_hot", tensor.unsqueeze(-1), num_classes, 0)
    places = iota((num_classes,), 0, tensor.device)
    return (index == places).to(dtypes.int64)


# ---- bags --------------------------------------------------------------------------------------------------------


def embedding_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None, norm_type: float = 2,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """The sum, mean or max of the looked up rows of each bag: (bags, size).

    input: (bags, length), or (n,) with the bags' first places in offsets. What is padding_idx does not count; an empty
    bag gives zeros. per_sample_weights (input's shape) are factors of the rows, for mode="sum". Of equal maxima each
    has a share of the gradient.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode must be sum, mean or max, got {mode!r}")
    if input.ndim not in (1, 2):
        raise ValueError(f"embedding_bag: input must have 1 or 2 dimensions, got shape {list(input.shape)}")
    if (offsets is None) != (input.ndim == 2):
        raise ValueError("embedding_bag: offsets go with an input of 1 dimension, and only with that")
    if scale_grad_by_freq and mode == "max":
        raise RuntimeError("embedding_bag: scale_grad_by_freq does not go with mode='max'")
    looked_up = embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        looked_up = looked_up * _factors(input, weight, per_sample_weights, mode).unsqueeze(-1)
    if offsets is None:
        bags, length = input._value.shape
        bag = iota((bags, length), 0, input.device).reshape(bags * length)
    else:
        bags = offsets.numel() - bool(include_last_offset)
        bag = _bag_of_each(input.numel(), offsets, bags)
    if padding_idx is not None:
        bag = bag.where(input.reshape(bag._value.shape) != _padding_row(padding_idx, weight.shape[0]), bags)
    size = weight._value.shape[1]
    count = bag.numel()
    empty = zeros(1, bags, size, dtype=weight.dtype, device=weight.device)
    if not count or not bags:
        return empty.reshape(bags, size)
    op = {"sum": "sum", "mean": "mean", "max": "amax"}[mode]
    places, source = bag.reshape(1, count, 1), looked_up.reshape(1, count, size)
    return reduced("embedding_bag", op, empty, places, source, None, include_self=False).reshape(bags, size)


def _factors(input: Tensor, weight: Tensor, factors: Tensor, mode: str) -> Tensor:
    if mode != "sum":
        raise NotImplementedError(f"embedding_bag: per_sample_weights go with mode='sum' only, got {mode!r}")
    if factors.shape != input.shape or factors.dtype is not weight.dtype:
        raise ValueError(
            f"embedding_bag: per_sample_weights must be {weight.dtype} of input's shape {list(input.shape)}, "
            f"got {factors.dtype} of {list(factors.shape)}"
        )
    return factors


def _bag_of_each(count: int, offsets: Tensor, bags: int) -> Tensor:
    """The number of the bag that each place belongs to: how many bags have started, less one."""
    if offsets.ndim != 1 or offsets.dtype not in (dtypes.int64, dtypes.int32):
        raise ValueError(f"embedding_bag: offsets must be int64 of one dimension, got {offsets.dtype}, {offsets.shape}")
    if not count:
        return zeros(0, dtype=dtypes.int64, device=offsets.device)
    starts = full((1, offsets.numel(), 1), 1, dtype=dtypes.int64, device=offsets.device)
    started = columns.scatter("sum", count, offsets.reshape(1, offsets.numel(), 1), starts).reshape(count)
    return columns.checked("embedding_bag, offsets that start at 0", cumsum(started, 0) - 1, max(bags, 1), 0)
