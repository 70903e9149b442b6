"""Reductions, statistics, running totals, sorting and what comes from it, counting and searching."""

from __future__ import annotations

import numpy as np

from table.rows import Named, Numbers, index, real, row, whole, within


class Ascending(Numbers):
    spreads = False

    def draw(self, position: int, dtype: str | None = None) -> np.ndarray:
        return np.sort(super().draw(position, dtype))


X = real(3, 4)
CUBE = real(2, 3, 4)
WHOLE = whole(3, 4)
TIES = whole(3, 4, low=0, high=3)

OVERALL = """
    sum mean prod amax amin argmax argmin nansum nanmean std var std_mean var_mean max min median nanmedian norm all
    any count_nonzero aminmax logsumexp special.logsumexp linalg.norm linalg.vector_norm
"""
NEEDS_DIM = ("logsumexp", "special.logsumexp")
for name in OVERALL.split():
    if name not in NEEDS_DIM:
        row(name, X)
    if name not in ("aminmax", "norm", "linalg.norm", "linalg.vector_norm", "count_nonzero"):
        row(name, X, 1)
        row(name, CUBE, -2, keepdim=True)
row("sum mean amax amin nansum nanmean std var std_mean var_mean logsumexp all any", CUBE, (0, -1))
row("count_nonzero", TIES, 1)
row("count_nonzero", TIES, (0, 1))
row("aminmax", X, dim=1, keepdim=True)
row("sum mean prod nansum all any max min amax amin argmax argmin median", WHOLE)
row("max min argmax argmin", TIES, 0)
row("sum mean nansum", X, 1, dtype=Named("float64"))
row("prod", X, 1, dtype=Named("float64"))
row("max min", X, real(4))
row("std var std_mean var_mean", X, dim=1, correction=0)
row("std var", X, 1, False)
row("norm", X, 1)
row("norm", X, float("inf"), 1)
row("norm", X, 3, 0, True)
row("norm", X, "fro", (0, 1))
row("linalg.norm", X, dim=1, keepdim=True)
row("linalg.norm", X, "fro")
row("linalg.norm", X, float("inf"))
row("linalg.vector_norm", CUBE, 3, (0, 2))
row("linalg.vector_norm", X, -float("inf"), 1)
row("linalg.vector_norm", X, 0, 1)
row("linalg.matrix_norm", CUBE)
row("linalg.matrix_norm", CUBE, 1)
row("linalg.matrix_norm", CUBE, float("-inf"), keepdim=True)
row("dist", X, real(3, 4))
row("dist", X, real(4), 1)
row("renorm", X, 2, 0, 1.5)
row("cov corrcoef", X)
row("cov", X, correction=0)

row("cumsum cumprod logcumsumexp cummax cummin", X, 1)
row("cumsum cumprod logcumsumexp cummax cummin", CUBE, 0)
row("cumsum cumprod cummax cummin", WHOLE, -1)
row("cumsum cumprod", X, 0, dtype=Named("float64"))
row("diff", X)
row("diff", X, 2, 0)
row("diff", X, dim=0, prepend=real(1, 4), append=real(2, 4))
row("trapezoid trapz cumulative_trapezoid", X)
row("trapezoid cumulative_trapezoid", X, real(4))
row("trapezoid trapz cumulative_trapezoid", X, dx=0.5, dim=0)

row("sort argsort", X)
row("sort argsort", CUBE, 1, True)
row("sort argsort", TIES, dim=1, stable=True)
row("sort argsort", TIES, dim=0, descending=True, stable=True)
row("msort", X)
row("topk", X, 2)
row("topk", X, 2, 0, False)
row("kthvalue", X, 2)
row("kthvalue", X, 2, 0, True)
row("mode", TIES)
row("mode", TIES, 0, True)
row("quantile nanquantile", X, 0.3)
row("quantile nanquantile", X, within(0.0, 1.0, 3), dim=1)
row("quantile nanquantile", X, 0.6, dim=0, keepdim=True, interpolation="nearest")

row("bincount", index(5, 12))
row("bincount", index(5, 12), real(12), minlength=7)
row("histc", X, 5, -2, 2)
row("histogram", X, 5, range=(-2.0, 2.0))
row("searchsorted", Ascending((4,)), real(3))
row("searchsorted", Ascending((3, 4)), X, right=True)
row("bucketize", X, Ascending((4,)))
row("bucketize", X, Ascending((4,)), out_int32=True, right=True)
row("isin", TIES, whole(2, low=0, high=3))
row("isin", TIES, 1, invert=True)
row("unique", TIES)
row("unique", TIES, return_inverse=True, return_counts=True)
row("unique", TIES, dim=0)
row("unique_consecutive", TIES)
row("unique_consecutive", TIES, return_inverse=True, return_counts=True)
row("argwhere nonzero Tensor.argwhere", TIES)
row("nonzero", TIES, as_tuple=True)
row("is_nonzero", within(1.0, 2.0, 1))
row("Tensor.__contains__", TIES, 1)
