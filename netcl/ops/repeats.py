"""Elements repeated or in another order, as new tensors: repeat, tile, roll, rot90 and their kin."""

from __future__ import annotations

from itertools import combinations as _combinations
from itertools import combinations_with_replacement
from math import prod
from operator import index
from typing import Any

import numpy as np

from netcl.autograd.tape import apply_composite
from netcl.core import dtypes
from netcl.graph import primitives
from netcl.graph.transfer import to_host, upload
from netcl.ops.elementwise import check_devices
from netcl.ops.gathering import gather
from netcl.ops.joining import stack
from netcl.ops.rearrange import meshgrid
from netcl.ops.shape import apply_view, axis_of, clone, expand, flip, narrow, own_copy, permute, reshape, sizes
from netcl.tensor import Tensor

__all__ = [
    "cartesian_prod", "combinations", "fliplr", "flipud", "repeat_interleave", "roll", "rot90", "tile",
]  # fmt: skip
METHODS = ["fliplr", "flipud", "repeat", "repeat_interleave", "roll", "rot90", "tile"]


# ---- repeated ----------------------------------------------------------------------------------------------------


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """The whole tensor repeated so many times along each dimension; more counts than dimensions add some in front.

    RuntimeError for fewer counts than dimensions, and for negative ones.

    >>> import netcl as nc
    >>> nc.tensor([1, 2]).repeat(2, 2).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    return _repeated("repeat", input, sizes("repeat", repeats))


def tile(input: Tensor, *dims: Any) -> Tensor:
    """repeat, where fewer counts than dimensions mean the last ones (as numpy.tile)."""
    counts = sizes("tile", dims)
    return _repeated("tile", input, (1,) * (input.ndim - len(counts)) + counts)


def _repeated(name: str, input: Tensor, counts: tuple[int, ...]) -> Tensor:
    lead = len(counts) - input.ndim
    if lead < 0 or any(count < 0 for count in counts):
        raise RuntimeError(
            f"{name}: expected a count that is not negative for each dimension, got {list(counts)} for shape "
            f"{list(input.shape)}"
        )
    shape = (1,) * lead + input._value.shape
    spread = [size for pair in zip([1] * len(shape), shape, strict=True) for size in pair]
    full = [size for pair in zip(counts, shape, strict=True) for size in pair]
    repeated = expand(reshape(input, *spread), full) if full else input
    return own_copy(apply_view("reshape", repeated, tuple(n * size for n, size in zip(counts, shape, strict=True))))


def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, output_size: int | None = None
) -> Tensor:
    """Each element (or slice of dim) repeated behind itself: `repeats` times, an int or an integer vector.

    Without dim the tensor is flattened first. repeat_interleave(repeats) alone gives the positions 0 .. n - 1 repeated.
    A vector of repeats is read by the host, because the result's shape depends on it; output_size, if given, is only
    checked against it.

    >>> import netcl as nc
    >>> nc.tensor([1, 2, 3]).repeat_interleave(2).tolist()
    [1, 1, 2, 2, 3, 3]
    >>> nc.tensor([1, 2, 3]).repeat_interleave(nc.tensor([0, 2, 1])).tolist()
    [2, 2, 3]
    """
    if repeats is None:
        counts = _counts(input)
        _check_output_size(int(counts.sum()), output_size)
        return Tensor._wrap(upload(np.repeat(np.arange(len(counts)), counts), input._value.device))
    source = reshape(input, -1 if input.numel() else 0) if dim is None else input
    axis = axis_of("repeat_interleave", dim or 0, source.ndim)
    source = reshape(source, 1) if not source.ndim else source
    shape = source._value.shape
    if isinstance(repeats, Tensor) and repeats.numel() != 1:
        return _interleaved_by_vector(source, axis, repeats, output_size)
    count = int(_counts(repeats)[0]) if isinstance(repeats, Tensor) else index(repeats)
    if count < 0:
        raise RuntimeError(f"repeat_interleave: repeats must not be negative, got {count}")
    _check_output_size(shape[axis] * count, output_size)
    spread = expand(source.unsqueeze(axis + 1), shape[: axis + 1] + (count,) + shape[axis + 1 :])
    return own_copy(apply_view("reshape", spread, shape[:axis] + (shape[axis] * count,) + shape[axis + 1 :]))


def _counts(repeats: Tensor) -> np.ndarray:
    if repeats.ndim > 1:
        raise RuntimeError(f"repeat_interleave: repeats must be a number or a vector, got shape {list(repeats.shape)}")
    if repeats.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"repeat_interleave: repeats must be int64 or int32, got {repeats.dtype}")
    counts = to_host(repeats._value).reshape(-1)
    if (counts < 0).any():
        raise RuntimeError("repeat_interleave: repeats must not be negative")
    return counts


def _check_output_size(found: int, given: int | None) -> None:
    if given is not None and given != found:
        raise RuntimeError(f"repeat_interleave: output_size {given} differs from the sum of repeats, {found}")


def _interleaved_by_vector(source: Tensor, axis: int, repeats: Tensor, output_size: int | None) -> Tensor:
    shape = source._value.shape
    counts = _counts(repeats)
    if len(counts) != shape[axis]:
        raise RuntimeError(
            f"repeat_interleave: repeats has {len(counts)} elements, dimension {axis} has size {shape[axis]}; "
            "they must match"
        )
    places = np.repeat(np.arange(len(counts)), counts)
    _check_output_size(len(places), output_size)
    if not len(places):
        return own_copy(narrow(source, axis, 0, 0))
    index = Tensor._wrap(upload(places, source._value.device))
    spread = index.reshape([len(places) if a == axis else 1 for a in range(len(shape))])
    return gather(source, axis, expand(spread, shape[:axis] + (len(places),) + shape[axis + 1 :]))


# ---- in another order --------------------------------------------------------------------------------------------


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved by shifts along dims; what leaves at the end comes in at the front.

    Without dims the flattened tensor is rolled and gets its shape back. One shift for each dimension of dims.

    >>> import netcl as nc
    >>> nc.arange(5).roll(2).tolist()
    [3, 4, 0, 1, 2]
    """
    amounts = sizes("roll", (shifts,))
    axes = () if dims is None else tuple(axis_of("roll", d, input.ndim) for d in sizes("roll", (dims,)))
    if not amounts:
        raise RuntimeError("roll: shifts must not be empty")
    if len(axes) != len(amounts) and (axes or len(amounts) != 1):
        raise RuntimeError(f"roll: {len(amounts)} shifts but {len(axes)} dims; give one shift for each dimension")
    if not axes:
        return roll(input.reshape(input.numel()), amounts, 0).reshape(input.shape)
    total = [0] * max(input.ndim, 1)
    for axis, amount in zip(axes, amounts, strict=True):
        total[axis] += amount
    moved = tuple(t % max(size, 1) for t, size in zip(total, input._value.shape, strict=False))
    return apply_composite("roll", (input,), moved, _roll_gradient) if any(moved) else clone(input)


def _roll(x: Any, shifts: tuple[int, ...]) -> Any:
    """Two copies behind each other, of which one size is taken: a view, whose index is a remainder."""
    result = Tensor._wrap(x)
    shape = result._value.shape
    for axis, (shift, size) in enumerate(zip(shifts, shape, strict=True)):
        if shift:
            before, after = shape[:axis], shape[axis + 1 :]
            twice = result.reshape(*before, 1, size, *after).expand(*before, 2, size, *after)
            result = twice.reshape(*before, 2 * size, *after).narrow(axis, size - shift, size)
    return result._value


def _roll_gradient(g: Tensor, y: Any, x: Any, shifts: tuple[int, ...]) -> tuple:
    back = tuple(-shift % max(size, 1) for shift, size in zip(shifts, g.shape, strict=True))
    return (apply_composite("roll", (g,), back, _roll_gradient),)


primitives.composite("roll", lambda operands, shifts: (operands[0].shape, operands[0].dtype), _roll)


def rot90(input: Tensor, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """Turned k times by 90 degrees in the plane of two dimensions, from the first towards the second."""
    plane = sizes("rot90", (dims,))
    if len(plane) != 2:
        raise RuntimeError(f"rot90: dims must name two dimensions, got {list(plane)}")
    if input.ndim < 2:
        raise RuntimeError(f"rot90: expected at least 2 dimensions, got shape {list(input.shape)}")
    a, b = (axis_of("rot90", dim, input.ndim) for dim in plane)
    if a == b:
        raise RuntimeError(f"rot90: dims must name two different dimensions, got {list(plane)}")
    turns = k % 4
    if turns == 0:
        return clone(input)
    if turns == 2:
        return flip(input, (a, b))
    order = list(range(input.ndim))
    order[a], order[b] = b, a
    return flip(permute(input, order), (a if turns == 1 else b,))


def fliplr(input: Tensor) -> Tensor:
    """The columns of a matrix (dimension 1) in reverse."""
    if input.ndim < 2:
        raise RuntimeError(f"fliplr: expected at least 2 dimensions, got shape {list(input.shape)}")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """The rows (dimension 0) in reverse."""
    if input.ndim < 1:
        raise RuntimeError("flipud: expected at least 1 dimension, got a 0-d tensor")
    return flip(input, 0)


# ---- all pairs ---------------------------------------------------------------------------------------------------


def cartesian_prod(*tensors: Any) -> Tensor:
    """All combinations of one element from each vector, as rows; the last vector varies fastest.

    >>> import netcl as nc
    >>> nc.cartesian_prod(nc.tensor([1, 2]), nc.tensor([5, 6])).tolist()
    [[1, 5], [1, 6], [2, 5], [2, 6]]
    """
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        tensors = tuple(tensors[0])
    if not tensors:
        raise RuntimeError("cartesian_prod: expected at least one tensor")
    check_devices("cartesian_prod", *tensors)
    if any(tensor.ndim != 1 for tensor in tensors):
        raise RuntimeError(f"cartesian_prod: expected vectors, got shapes {[list(t.shape) for t in tensors]}")
    if len(tensors) == 1:
        return clone(tensors[0])
    count = prod(tensor.numel() for tensor in tensors)
    return stack([reshape(grid, count) for grid in meshgrid(*tensors, indexing="ij")], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, as rows, in order of position.

    >>> import netcl as nc
    >>> nc.combinations(nc.tensor([1, 2, 3])).tolist()
    [[1, 2], [1, 3], [2, 3]]
    """
    if input.ndim != 1:
        raise RuntimeError(f"combinations: expected a vector, got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"combinations: r must not be negative, got {r}")
    choose = combinations_with_replacement if with_replacement else _combinations
    places = np.array(list(choose(range(input.numel()), r)), np.int64).reshape(-1, r)
    if not places.size or not r:
        return input.new_zeros((len(places) if r else 0, r) if r else (0,))
    index = Tensor._wrap(upload(places.reshape(-1), input._value.device))
    return gather(input, 0, index).reshape(places.shape)
