"""A tensor's memory addressed otherwise: by strides, or as elements of another dtype."""

from __future__ import annotations

from typing import Any
from weakref import ref

from netcl.codegen.ir import contiguous_strides
from netcl.core.dtypes import DType
from netcl.graph.value import Value
from netcl.ops.shape import clone, expand, permute, reshape, sizes
from netcl.storage import Storage, layout
from netcl.tensor import Tensor

__all__ = ["as_strided"]
METHODS = ["as_strided"]


def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A view of what input's memory would hold in PyTorch: element (i, j, ..) lies at offset + i * stride[0] + ...

    Input's own offset is taken where none is given. RuntimeError for places outside the memory, for negative strides,
    and for a view with gaps where what it is a view of is gone. It is made of slices and windows (`Tensor.unfold`):
    where steps are shorter than what they step over, it can be read and differentiated, but not written to. A gradient
    goes to all of the memory that is shown; PyTorch's only to what of it a view that was the input shows.

    >>> import netcl as nc
    >>> nc.arange(5).as_strided((3, 3), (1, 1)).tolist()
    [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    """
    shape, strides = sizes("as_strided", (size,)), sizes("as_strided", (stride,))
    if len(shape) != len(strides):
        raise RuntimeError(f"as_strided: size {list(shape)} and stride {list(strides)} must be of equal length")
    if any(step < 0 for step in strides) or any(length < 0 for length in shape):
        raise RuntimeError(f"as_strided: size {list(shape)} and stride {list(strides)} must not be negative")
    flat, start = _memory(input)
    first = (layout(input)[1] if storage_offset is None else storage_offset) - start
    if 0 in shape:
        return reshape(flat[:0], shape)
    reach = _reach(shape, strides)
    if not 0 <= first <= flat.numel() - reach:
        raise RuntimeError(
            f"as_strided: size {list(shape)}, stride {list(strides)} and offset {first + start} are out of bounds for "
            f"a memory of elements {start} to {start + flat.numel() - 1}"
        )
    result = flat[first : first + reach]
    long = [d for d, (length, step) in enumerate(zip(shape, strides, strict=True)) if length > 1 and step]
    order = sorted(long, key=lambda d: -strides[d])
    for place, dim in enumerate(order):
        rest = order[place + 1 :]
        inner = _reach([shape[d] for d in rest], [strides[d] for d in rest])
        result = result.unfold(-1, inner, strides[dim]) if rest else result[..., :: strides[dim]]
    if not order:
        result = reshape(result, ())
    result = permute(result, tuple(order.index(d) for d in long))
    for dim in [d for d in range(len(shape)) if d not in long]:
        result = result.unsqueeze(dim)
    return expand(result, shape)


def _reach(shape: Any, strides: Any) -> int:
    """How many elements lie between the first and the last one, both counted."""
    return 1 + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))


def _memory(input: Tensor) -> tuple[Tensor, int]:
    """The most that is still there of the memory behind a tensor, as a 1-d view, and the place where that begins."""
    found: tuple[Tensor, int] | None = None
    others = input._storage.others(input) if input._storage is not None else []
    for member in [input, *others]:
        strides, offset = layout(member)
        order = sorted(range(len(strides)), key=lambda d: -strides[d])
        shape = tuple(member._value.shape[d] for d in order)
        without_gaps = tuple(strides[d] for d in order) == contiguous_strides(shape)
        if without_gaps and (found is None or member.numel() > found[0].numel()):
            same = member if member._family == input._family else member.detach()
            found = reshape(permute(same, tuple(order)), -1), offset
    if found is None:
        raise RuntimeError(
            "as_strided: the tensor is a view with gaps, and what it is a view of is gone; keep that, or use "
            ".contiguous()"
        )
    return found


def view_dtype(input: Tensor, dtype: DType) -> Tensor:
    """The same bytes as elements of another dtype. Where its size is another, the last dimension shrinks or grows.

    Outside the gradient graph. While both are there, neither can be written to; `.clone()` it for that.
    """
    given, wanted = input.dtype.itemsize, dtype.itemsize
    shape = tuple(input.shape)
    if given != wanted:
        if not shape:
            raise RuntimeError(f"view: a tensor without dimensions can't be seen as {dtype}, whose size is another")
        length, rest = divmod(shape[-1] * given, wanted)
        if rest:
            raise RuntimeError(
                f"view: the last size, {shape[-1]} elements of {input.dtype}, is no whole number of {dtype} elements"
            )
        if layout(input)[0][-1] != 1:
            raise RuntimeError(f"view: to see {input.dtype} as {dtype}, the last dimension's stride must be 1")
        shape = (*shape[:-1], length)
    input._value.device.require(dtype)
    value = input._value.realise()
    if value.strides is not None or value.offset * given % wanted:
        value = clone(input.detach())._value.realise()
    seen = Value.realised(value.buffer, shape, dtype, value.device, None, value.offset * given // wanted)
    result = Tensor._wrap(seen)
    storages = [tensor._storage or Storage(tensor) for tensor in (input, result)]
    input._storage, result._storage = storages
    for storage, other in (storages, storages[::-1]):
        storage.seen_as.append(ref(other))
    return result
