"""Copies of a tensor in which one view has other elements: diagonal_scatter, select_scatter, slice_scatter."""

from __future__ import annotations

from netcl.autograd.batched import enter, leave
from netcl.graph.batching import levels_of
from netcl.ops.elementwise import check_devices
from netcl.ops.gathering import select
from netcl.ops.indexing import getitem
from netcl.ops.shape import axis_of, clone
from netcl.ops.triangles import diagonal
from netcl.tensor import Tensor

__all__ = ["diagonal_scatter", "select_scatter", "slice_scatter"]
METHODS = __all__


def _copied(input: Tensor, src: Tensor) -> Tensor:
    """A copy to write src into: in a map over a batch, with samples of its own where src has them."""
    own = levels_of(input._value)
    for level, size in levels_of(src._value).items():
        if level not in own:
            input = enter(leave(input, level, size), level)
    return clone(input)


def _written(name: str, result: Tensor, view: Tensor, src: Tensor) -> Tensor:
    check_devices(name, result, src)
    if src.shape != view.shape:
        raise RuntimeError(f"{name}: src has shape {list(src.shape)}, what it replaces {list(view.shape)}")
    view.copy_(src)
    return result


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """input with the elements of src on its diagonal.

    >>> import netcl as nc
    >>> nc.diagonal_scatter(nc.zeros(2, 2), nc.ones(2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    result = _copied(input, src)
    return _written("diagonal_scatter", result, diagonal(result, offset, dim1, dim2), src)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """input with src as its part `index` of a dimension."""
    result = _copied(input, src)
    return _written("select_scatter", result, select(result, dim, index), src)


def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """input with src as its elements start, start + step, .. below end of a dimension."""
    result = _copied(input, src)
    axis = axis_of("slice_scatter", dim, input.ndim)
    view = getitem(result, (slice(None),) * axis + (slice(start, end, step),))
    return _written("slice_scatter", result, view, src)
