"""Tensors taken apart along a dimension: the parts are views."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from operator import index
from typing import Any

from netcl.core import dtypes
from netcl.ops.shape import axis_of, is_whole
from netcl.tensor import Tensor

__all__ = """
    chunk dsplit hsplit split split_with_sizes tensor_split unbind unsafe_chunk unsafe_split unsafe_split_with_sizes
    vsplit
""".split()
METHODS = __all__


def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of one size (the last may be smaller), or of the given sizes.

    RuntimeError for negative sizes, and for sizes that don't add up to the dimension's.
    """
    if not is_whole(split_size_or_sections):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    size, axis = index(split_size_or_sections), _axis("split", tensor, dim)
    length = tensor.shape[axis]
    if size < 0 or (size == 0 and length):
        raise RuntimeError(f"split: the parts' size must be positive, got {size} for dimension {dim} of size {length}")
    starts = range(0, length, size) if length else [0]
    return tuple(tensor.narrow(axis, start, min(size, length - start)) for start in starts)


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of the given sizes. RuntimeError where they don't add up to the dimension's."""
    axis = _axis("split_with_sizes", input, dim)
    sizes = [int(size) for size in split_sizes]
    if sum(sizes) != input.shape[axis] or any(size < 0 for size in sizes):
        raise RuntimeError(
            f"split: sizes {sizes} do not add up to {input.shape[axis]}, the size of dimension {dim} "
            f"of shape {list(input.shape)}"
        )
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    return tuple(input.narrow(axis, start, size) for start, size in zip(starts, sizes, strict=True))


def _axis(name: str, input: Tensor, dim: int) -> int:
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(input).__name__}")
    if not input.ndim:
        raise RuntimeError(f"{name}: expected at least 1 dimension, got a 0-d tensor")
    return axis_of(name, dim, input.ndim)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` parts of one size, the last one maybe smaller. RuntimeError for chunks below 1."""
    axis, chunks = _axis("chunk", input, dim), index(chunks)
    if chunks < 1:
        raise RuntimeError(f"chunk: expected chunks to be at least 1, got {chunks}")
    length = input.shape[axis]
    if not length:
        return tuple(input.narrow(axis, 0, 0) for _ in range(chunks))
    return split(input, -(-length // chunks), axis)


def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """That many parts, sizes differing by at most 1; or parts that end before the given indices, as a slice would.

    Indices may be a list, a tuple or a 1-d int64 tensor (which the host reads). RuntimeError for a count below 1.
    """
    axis = _axis("tensor_split", input, dim)
    length = input.shape[axis]
    if isinstance(indices_or_sections, Tensor):
        if indices_or_sections.dtype is not dtypes.int64 or indices_or_sections.ndim > 1:
            raise RuntimeError("tensor_split: expected indices in an int64 tensor with at most 1 dimension")
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        count = indices_or_sections
        if count < 1:
            raise RuntimeError(f"tensor_split: the number of parts must be at least 1, got {count}")
        ends = [number * (length // count) + min(number, length % count) for number in range(count + 1)]
    else:
        ends = [0, *indices_or_sections, length]
    parts = []
    for start, end in pairwise(ends):
        first, last, _ = slice(start, end).indices(length)
        parts.append(input.narrow(axis, first, max(last - first, 0)))
    return tuple(parts)


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along dimension 1 (0 for 1-d tensors), into equal parts."""
    return _named_split("hsplit", input, 1, 0 if input.ndim == 1 else 1, indices_or_sections)


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along dimension 0, into equal parts."""
    return _named_split("vsplit", input, 2, 0, indices_or_sections)


def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along dimension 2, into equal parts."""
    return _named_split("dsplit", input, 3, 2, indices_or_sections)


def _named_split(name: str, input: Tensor, least: int, axis: int, parts: Any) -> tuple[Tensor, ...]:
    if input.ndim < least:
        raise RuntimeError(f"{name}: expected at least {least} dimensions, got shape {list(input.shape)}")
    if isinstance(parts, int) and (parts < 1 or input.shape[axis] % parts):
        raise RuntimeError(
            f"{name}: dimension {axis} of size {input.shape[axis]} can't be split into {parts} equal parts"
        )
    return tensor_split(input, parts, axis)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along a dimension, without it."""
    axis = _axis("unbind", input, dim)
    shape = input._value.shape
    kept = shape[:axis] + shape[axis + 1 :]
    return tuple(input.narrow(axis, place, 1).reshape(kept) for place in range(shape[axis]))


def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """As chunk: here the parts may be written to in any case."""
    return chunk(input, chunks, dim)


def unsafe_split(tensor: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """As split: here the parts may be written to in any case."""
    return split(tensor, split_size, dim)


def unsafe_split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """As split_with_sizes: here the parts may be written to in any case."""
    return split_with_sizes(input, split_sizes, dim)
