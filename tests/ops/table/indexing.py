"""Reads and writes at indices: rows of the table, and indices for x[..]."""

from __future__ import annotations

from table.rows import flags, index, real, row, whole

X = real(3, 4)
CUBE = real(2, 3, 4)

row("gather", X, 1, index(4, 3, 2))
row("gather", CUBE, 0, index(2, 1, 3, 2))
row("take_along_dim", X, index(4, 3, 2), 1)
row("take_along_dim", X, index(12, 5))
row("take", X, index(12, 2, 3))
row("unravel_index", index(12, 5), (3, 4))
row("index_select", X, 1, index(4, 5))
row("index_select", X, 0, index(3, 2))
row("masked_select", X, flags(3, 4))
row("masked_select", X, flags(4))
row("masked_scatter", X, flags(3, 4), real(12))
row("scatter", X, 1, index(4, 3, 1), real(3, 1))
row("scatter", X, 0, index(3, 1, 4), 0.5)
row("scatter", X, 1, index(4, 3, 6), 0.5, reduce="add")
row("scatter_add", X, 1, index(4, 3, 6), real(3, 6))
row("scatter_add", X, 0, index(3, 5, 4), real(5, 4))
for reduce in ("sum", "prod", "mean", "amax", "amin"):
    row("scatter_reduce", X, 1, index(4, 3, 6), real(3, 6), reduce)
for reduce in ("prod", "mean", "amax", "amin"):
    row("index_reduce", X, 0, index(3, 5), real(5, 4), reduce)
row("scatter_reduce", X, 1, index(4, 3, 6), real(3, 6), "mean", include_self=False)
row("index_add", X, 0, index(3, 5), real(5, 4), alpha=0.5)
row("index_add", X, 1, index(4, 2), real(3, 2))
row("index_copy", X, 0, index(3, 1), real(1, 4))
row("index_fill", X, 1, index(4, 2), 0.5)
row("index_put", X, (index(3, 2),), real(4))
row("index_put", X, (index(3, 5), index(4, 5)), real(5), accumulate=True)
row("put", X, index(12, 1), real(1))
row("put", X, index(12, 5), real(5), accumulate=True)

row("Tensor.__getitem__", X, 1)
row("Tensor.__getitem__", X, (slice(None, None, 2), -1))
row("Tensor.__getitem__", CUBE, (Ellipsis, None, slice(1, 3)))
row("Tensor.__getitem__", X, index(3, 2))
row("Tensor.__getitem__", X, (slice(None), index(4, 2)))
row("Tensor.__getitem__", CUBE, (index(2, 3), slice(None), index(4, 3)))
row("Tensor.__getitem__", X, flags(3, 4))
row("Tensor.__getitem__", X, flags(3))
row("Tensor.__getitem__", X, [0, -1])
row("Tensor.__getitem__", whole(3, 4), (index(3, 2, 1), index(4, 2)))
