"""Elements written by index along a dimension: each function gives a new tensor, its form with `_` changes the tensor.

Everything is combined in the order of the index, so results are the same bits every time; of several values put into
one place the last one stays. Indices out of range are found by the device: IndexError at the next read of a value.
"""

from __future__ import annotations

from math import prod
from typing import Any

from netcl.autograd.autocast import in_widest
from netcl.core import dtypes
from netcl.ops import columns
from netcl.ops.creation import ones_like
from netcl.ops.elementwise import where
from netcl.ops.gathering import check_index
from netcl.ops.scatter_reduction import reduced
from netcl.ops.shape import axis_of
from netcl.tensor import Tensor

__all__ = "index_add index_copy index_fill index_reduce put scatter scatter_add scatter_reduce".split()
METHODS = __all__
IN_PLACE = __all__


# ---- an index for each element -----------------------------------------------------------------------------------


def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """A copy of input with out[index[i][j]][j] = src[i][j] for dim 0, and so on; src may be one number.

    reduce="add" or "multiply" combines instead. RuntimeError where sizes or dtypes don't fit.

    >>> import netcl as nc
    >>> nc.zeros(2, 3).scatter(1, nc.tensor([[2], [0]]), 1.0)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    source = value if src is None else src
    if source is None:
        raise TypeError("scatter: expected src (a tensor) or value (a number)")
    if reduce is not None and reduce not in ("add", "multiply"):
        raise RuntimeError(f"scatter: reduce must be 'add' or 'multiply', got {reduce!r}")
    if not isinstance(source, Tensor):
        source = columns.number_like("scatter", source, input)
        if not reduce:
            return _filled(input, dim, index, source)
        source = source.expand(index._value.shape)
    op = {None: "set", "add": "sum", "multiply": "prod"}[reduce]
    return _scattered("scatter", op, input, dim, index, source)


@in_widest
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of input with src[i][j] added to out[index[i][j]][j] for dim 0, and so on."""
    return _scattered("scatter_add", "sum", input, dim, index, src)


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """As `scatter_add`, with reduce: sum, prod, mean, amax or amin. Without include_self, elements that something goes
    to do not count themselves; the others stay."""
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"scatter_reduce: reduce must be sum, prod, mean, amax or amin, got {reduce!r}")
    return _scattered("scatter_reduce", reduce, input, dim, index, src, include_self)


def _scattered(
    name: str, op: str, input: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool = True
) -> Tensor:
    axis, folded = _check(name, input, dim, index, src)
    if not index.numel():
        return input.clone()
    own = index._value.shape
    source = _corner(_with_dimension(src), own, own[axis : axis + 1], axis).reshape(folded)
    places = index.reshape(folded)
    return _on_corner(input, own, axis, lambda part: reduced(name, op, part, places, source, 0, include_self))


def _filled(input: Tensor, dim: int, index: Tensor, value: Tensor) -> Tensor:
    axis, folded = _check("scatter", input, dim, index, None)
    if not index.numel():
        return input.clone()
    places = index.reshape(folded)
    return _on_corner(
        input, index._value.shape, axis,
        lambda part: where(columns.touched(part._value.shape[1], places, 0, "scatter"), value, part),
    )  # fmt: skip


def _check(name: str, input: Tensor, dim: int, index: Tensor, src: Tensor | None) -> tuple[int, tuple[int, int, int]]:
    """The dimension, and the index's shape with it in the middle of three."""
    check_index(name, input, index)
    axis = axis_of(name, dim, input.ndim)
    own = index._value.shape or (1,)
    limits: list[tuple[str, Tensor, int | None]] = [("input", input, axis)]
    if src is not None:
        check_index(name, src, index)
        limits.append(("src", src, None))
        if src.dtype is not input.dtype:
            raise RuntimeError(f"{name}: input is {input.dtype}, src {src.dtype}; convert one with .to()")
    for word, tensor, free in limits if index.numel() else ():
        sizes = tensor._value.shape or (1,)
        if len(sizes) != len(own) or any(a > b for d, (a, b) in enumerate(zip(own, sizes, strict=True)) if d != free):
            raise RuntimeError(
                f"{name}: index of shape {list(index.shape)} must have as many dimensions as {word} of shape "
                f"{list(tensor.shape)}, and be no larger in any{'' if free is None else f' but {dim}'}"
            )
    if index.numel() and not (input._value.shape or (1,))[axis]:
        raise IndexError(f"{name}: dimension {dim} of the input is empty: no index is in range")
    return axis, (prod(own[:axis]), own[axis], prod(own[axis + 1 :]))


def _with_dimension(tensor: Tensor) -> Tensor:
    return tensor if tensor.ndim else tensor.reshape(1)


def _corner(tensor: Tensor, shape: tuple[int, ...], along: tuple[int, ...], axis: int) -> Tensor:
    """The part of a tensor that is as large as `shape`, at axis as large as `along`."""
    wanted = shape[:axis] + along + shape[axis + 1 :]
    if tensor._value.shape == wanted:
        return tensor
    return tensor.slice_axes([(0, size, 1) for size in wanted])


def _on_corner(input: Tensor, shape: tuple[int, ...], axis: int, change: Any) -> Tensor:
    """input with a change of what an index of `shape` reaches, which is given as (outer, size, inner)."""
    whole = _with_dimension(input)
    shape = shape or (1,)
    part = _corner(whole, shape, whole._value.shape[axis : axis + 1], axis)
    sizes = part._value.shape
    folded = part.reshape(prod(sizes[:axis]), sizes[axis], prod(sizes[axis + 1 :]))
    changed = change(folded).reshape(sizes)
    if sizes == whole._value.shape:
        return changed.reshape(input._value.shape)
    widths = [(0, have - size) for have, size in zip(whole._value.shape, sizes, strict=True)]
    here = ones_like(part, dtype=dtypes.bool_).pad_with_zeros(widths)
    return where(here, changed.pad_with_zeros(widths), whole)


# ---- an index for each slice -------------------------------------------------------------------------------------


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """A copy of input with alpha times source's slices along dim added to those that index (1-d) names."""
    if alpha != 1 and isinstance(source, Tensor):
        source = (source * alpha).to(source.dtype)
    return _indexed("index_add", "sum", input, dim, index, source)


@in_widest
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of input with the slices along dim that index (1-d) names replaced by source's."""
    return _indexed("index_copy", "set", input, dim, index, source)


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy of input with source's slices combined into those that index names; reduce: prod, mean, amax or amin."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce: reduce must be prod, mean, amax or amin, got {reduce!r}; index_add sums")
    return _indexed("index_reduce", reduce, input, dim, index, source, include_self)


def _indexed(
    name: str, op: str, input: Tensor, dim: int, index: Tensor, source: Tensor, include_self: bool = True
) -> Tensor:
    axis = _check_slices(name, input, dim, index)
    check_index(name, source, index)
    if source.dtype is not input.dtype:
        raise RuntimeError(f"{name}: input is {input.dtype}, source {source.dtype}; convert one with .to()")
    count = index.numel()
    shape = input._value.shape or (1,)
    wanted = (*shape[:axis], count, *shape[axis + 1 :])
    if (source._value.shape or (1,)) != wanted:
        raise (IndexError if name == "index_copy" else RuntimeError)(
            f"{name}: source has shape {list(source.shape)}, expected {list(wanted)}: the input's shape "
            f"{list(input.shape)} with the {count} places of the index at dimension {dim}"
        )
    if not input.numel() or not count:
        return input.clone()
    folded = input.reshape(prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))
    columns_of_source = source.reshape(folded._value.shape[0], count, folded._value.shape[2])
    changed = reduced(name, op, folded, index.reshape(1, count, 1), columns_of_source, 0, include_self)
    return changed.reshape(input._value.shape)


def _check_slices(name: str, input: Tensor, dim: int, index: Tensor) -> int:
    check_index(name, input, index)
    if index.ndim > 1:
        raise IndexError(f"{name}: index must have one dimension, got shape {list(index.shape)}")
    axis = axis_of(name, dim, input.ndim)
    if index.numel() and not (input._value.shape or (1,))[axis]:
        raise IndexError(f"{name}: dimension {dim} of shape {list(input.shape)} is empty: no index is in range")
    return axis


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy of input with the slices along dim that index (1-d, negative from the end) names filled with a number, or
    a 0-d tensor."""
    axis = _check_slices("index_fill", input, dim, index)
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(f"index_fill: value must be a number or a 0-d tensor, got shape {list(value.shape)}")
        value = value.to(input.dtype)
    else:
        value = columns.number_like("index_fill", value, input)
    if not index.numel() or not input.numel():
        return input.clone()
    size = (input._value.shape or (1,))[axis]
    hit = columns.touched(size, index.reshape(1, index.numel(), 1), -size, "index_fill")
    return where(hit.reshape([size if a == axis else 1 for a in range(input.ndim)]), value, input)


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of input with source's elements at the places that index names in the tensor taken as one row."""
    check_index("put", input, index)
    check_index("put", source, index)
    count, size = index.numel(), input.numel()
    if source.dtype is not input.dtype:
        raise RuntimeError(f"put: input is {input.dtype}, source {source.dtype}; convert one with .to()")
    if source.numel() != count:
        raise IndexError(f"put: expected {count} elements in source, as in index, got {source.numel()}")
    if not count:
        return input.clone()
    if not size:
        raise IndexError("put: the input is empty: no index is in range")
    flat = (1, count, 1)
    changed = columns.scatter(
        "sum" if accumulate else "set", size, index.reshape(flat), source.reshape(flat), input.reshape(1, size, 1),
        -size, "put",
    )  # fmt: skip
    return changed.reshape(input._value.shape)
