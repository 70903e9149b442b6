"""How often values occur: bincount, histc, histogram."""

from __future__ import annotations

from typing import Any

from netcl.core import dtypes
from netcl.ops import columns
from netcl.ops.creation import full, iota, tensor
from netcl.ops.return_types import named
from netcl.ops.searching import searchsorted
from netcl.tensor import Tensor

__all__ = ["bincount", "histc", "histogram"]
METHODS = __all__


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, .. up to the largest occurs in a 1-d tensor of integers, or the sum of their weights.

    The host reads the largest, which is a size of the result (at least minlength). int64; with weights float32, or
    float64 for other weights than float32. RuntimeError for negative values.

    >>> import netcl as nc
    >>> nc.bincount(nc.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    if input.ndim != 1 or input.dtype.category != 1:
        raise RuntimeError(
            f"bincount: expected a 1-d tensor of integers, got {input.dtype} of shape {list(input.shape)}"
        )
    if minlength < 0:
        raise RuntimeError(f"bincount: minlength must not be negative, got {minlength}")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError(f"bincount: weights have shape {list(weights.shape)}, the input {list(input.shape)}")
    kind = dtypes.int64
    if weights is not None:
        kind = dtypes.float32 if weights.dtype is dtypes.float32 else dtypes.float64
    count = input.numel()
    if not count:
        return full((minlength,), 0, kind, input.device)
    lowest, highest = input.min(), input.max()
    if lowest.item() < 0:
        raise RuntimeError(f"bincount: values must not be negative, got {lowest.item()}")
    size = max(highest.item() + 1, minlength)
    source = full((count,), 1, kind, input.device) if weights is None else weights.detach().to(kind)
    return _added(size, input, source)


def _added(size: int, places: Tensor, source: Tensor) -> Tensor:
    """The sum of the source at each place, always in the same order; what lies outside is left out."""
    return columns.scatter("sum", size, places.reshape(1, -1, 1), source.reshape(1, -1, 1)).reshape(size)


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal parts of min .. max (of all elements where the two are equal).

    Elements outside are left out. The counts have input's dtype.
    """
    if bins < 1:
        raise RuntimeError(f"histc: bins must be positive, got {bins}")
    if max < min:
        raise RuntimeError(f"histc: max must not be below min, got {min} and {max}")
    counts = _equal_parts(input.detach().reshape(-1), bins, float(min), float(max), None)[0]
    return counts.to(input.dtype)


def _equal_parts(flat: Tensor, bins: int, low: float, high: float, weight: Tensor | None) -> tuple:
    """Counts (or sums of weights) in bins of equal width, and where the first begins and the last ends."""
    if not flat.is_floating_point():
        flat = flat.to(dtypes.default_float)
    if low != high or not flat.numel():
        first = tensor(low, flat.dtype, flat.device)
        last = tensor(high if low != high else low + 1, flat.dtype, flat.device)
    else:
        first, last = flat.amin(), flat.amax()
        same = first == last
        first, last = (first - 1).where(same, first), (last + 1).where(same, last)
    if not flat.numel():
        return full((bins,), 0, dtypes.float32, flat.device), first, last
    inside = (flat >= first) & (flat <= last)
    share = ((flat - first) / (last - first) * bins).where(inside, 0.0)
    places = share.to(dtypes.int64).clamp(max=bins - 1).where(inside, bins)
    source = full(tuple(flat.shape), 1, dtypes.int64, flat.device) if weight is None else weight
    return _added(bins, places, source), first, last


def histogram(
    input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> Any:
    """(hist, bin_edges): how many elements, or how much weight, lie in each bin.

    bins: a number of equal parts of `range` (of all elements by default), or a 1-d tensor of edges in order. Bins
    contain their left edge; the last one the right edge, too. With density the area of the bars is 1.
    """
    if not input.is_floating_point():
        raise RuntimeError(f"histogram: expected a floating-point tensor, got {input.dtype}; convert it with .float()")
    if weight is not None and weight.shape != input.shape:
        raise RuntimeError(f"histogram: weight has shape {list(weight.shape)}, the input {list(input.shape)}")
    flat = input.detach().reshape(-1)
    heavy = None if weight is None else weight.detach().reshape(-1)
    if isinstance(bins, Tensor):
        if range is not None:
            raise TypeError("histogram: range goes with a number of bins; bins that are a tensor have edges already")
        counts, edges = _between_edges(flat, bins.to(flat.dtype), heavy), bins
    else:
        low, high = (0.0, 0.0) if range is None else (float(range[0]), float(range[1]))
        counts, first, last = _equal_parts(flat, bins, low, high, heavy)
        steps = iota((bins + 1,), 0, flat._value.device).to(flat.dtype)
        edges = (first + steps * ((last - first) / bins)).where(steps < bins, last)
    counts = counts.to(input.dtype)
    if density:
        size = edges._value.shape[0] - 1
        counts = counts / counts.sum() / (edges.narrow(0, 1, size) - edges.narrow(0, 0, size))
    return named("histogram", counts, edges)


def _between_edges(flat: Tensor, edges: Tensor, weight: Tensor | None) -> Tensor:
    if edges.ndim != 1 or edges.shape[0] < 2:
        raise RuntimeError(f"histogram: edges must be 1-d with at least 2 elements, got shape {list(edges.shape)}")
    size = edges.shape[0] - 1
    places = searchsorted(edges, flat, right=True) - 1
    places = places.where(flat != edges[size], size - 1)
    places = places.where((places >= 0) & (flat <= edges[size]), size)
    source = full(tuple(flat.shape), 1, dtypes.int64, flat.device) if weight is None else weight
    return _added(size, places, source)
