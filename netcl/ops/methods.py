"""Which operations are methods and operators of Tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from netcl.autograd.autocast import in_float32
from netcl.core.absent import method_getattr
from netcl.ops import (
    activations,
    bits,
    comparison,
    conversion,
    counting,
    creation,
    differences,
    distances,
    distinct,
    division,
    einsum,
    elementwise,
    extrema,
    factorizations,
    fused_ops,
    gathering,
    indexing,
    inplace,
    interchange,
    joining,
    layouts,
    linalg,
    masks,
    matrix_functions,
    norms,
    patches,
    products,
    queries,
    ranks,
    rearrange,
    reduction,
    repeats,
    sampling,
    scans,
    scattering,
    searching,
    shape,
    sorting,
    special,
    spectra,
    splitting,
    statistics,
    triangles,
    truth,
    types,
    view_scatter,
)
from netcl.ops.public import public_form
from netcl.tensor import Tensor


def _where(input: Tensor, condition: Tensor, other: Any) -> Tensor:
    """The elements where condition is true, else those of other."""
    return elementwise.where(condition, input, other)


def _reflected(function: Any) -> Any:
    return lambda self, other: function(other, self)


def _number_over(self: Tensor, other: Any) -> Tensor:
    """other / self, which autocast has in float32, as a reciprocal."""
    return division.true_divide(other, in_float32(self))


def _asking_others(function: Any, reflected: str) -> Any:
    """An operator that leaves what it does not know to the other operand, if that has the reflected one."""

    def operator(self: Tensor, other: Any) -> Any:
        try:
            return function(self, other)
        except TypeError:
            if isinstance(other, (list, tuple, str)):  # [0] * n: a list repeated
                known = "mul" not in reflected or self.ndim or self.dtype.category != 1
            else:
                known = isinstance(other, (Tensor, complex, np.ndarray)) or not hasattr(type(other), reflected)
            if known:
                raise
            return NotImplemented

    return operator


def _unless_foreign(function: Any) -> Any:
    """== and != with something that is no number or array: Python says that the two differ."""

    def compare(self: Tensor, other: Any) -> Any:
        known = isinstance(other, (Tensor, int, float, np.generic, np.ndarray, list, tuple))
        return function(self, other) if known else NotImplemented

    return compare


_METHODS: dict[str, Any] = {
    "where": _where, "polygamma": special.polygamma_method, **conversion.METHODS_BY_NAME, **queries.METHODS_BY_NAME,
    "__add__": _asking_others(elementwise.add, "__radd__"), "__radd__": elementwise.add,
    "__sub__": _asking_others(elementwise.sub, "__rsub__"), "__rsub__": _reflected(elementwise.sub),
    "__mul__": _asking_others(elementwise.mul, "__rmul__"), "__rmul__": _asking_others(elementwise.mul, "__mul__"),
    "__truediv__": _asking_others(division.true_divide, "__rtruediv__"), "__rtruediv__": _number_over,
    "__floordiv__": division.floor_divide, "__rfloordiv__": _reflected(division.floor_divide),
    "__mod__": division.remainder, "__rmod__": _reflected(division.remainder),
    "__divmod__": division.divide_both_ways, "__rdivmod__": _reflected(division.divide_both_ways),
    "__pos__": elementwise.positive,
    "__pow__": elementwise.pow, "__rpow__": _reflected(elementwise.pow), "__neg__": elementwise.neg,
    "__abs__": elementwise.abs, "__matmul__": _asking_others(linalg.matmul, "__rmatmul__"),
    "__eq__": _unless_foreign(elementwise.eq), "__ne__": _unless_foreign(elementwise.ne),
    "__lt__": elementwise.lt, "__le__": elementwise.le, "__gt__": elementwise.gt, "__ge__": elementwise.ge,
    "__and__": bits.bitwise_and, "__or__": bits.bitwise_or, "__xor__": bits.bitwise_xor,
    "__rand__": _reflected(bits.bitwise_and), "__ror__": _reflected(bits.bitwise_or),
    "__rxor__": _reflected(bits.bitwise_xor), "__invert__": bits.inverted,
    "__lshift__": bits.bitwise_left_shift, "__rlshift__": _reflected(bits.bitwise_left_shift),
    "__rshift__": bits.bitwise_right_shift, "__rrshift__": _reflected(bits.bitwise_right_shift),
    "__getitem__": indexing.getitem, "__setitem__": inplace.setitem,
    "T": property(lambda x: x.permute(tuple(range(x.ndim))[::-1])), "mT": property(shape.matrix_transpose),
    "H": property(rearrange.hermitian), "mH": property(shape.matrix_transpose),
}  # fmt: skip

_MODULES = (
    elementwise, division, comparison, bits, special, types, activations, reduction, scans, linalg, shape, indexing,
    inplace, creation, conversion, interchange, sampling, gathering, scattering, masks, joining, splitting, extrema,
    truth, statistics, norms, rearrange, repeats, triangles, patches, sorting, ranks, searching, distinct, counting,
    differences, fused_ops, queries, products, einsum, distances, factorizations, spectra, matrix_functions,
    view_scatter, layouts,
)  # fmt: skip


def attach() -> None:
    """Give Tensor its methods: those above, and what each module of operations lists under METHODS."""
    for name, function in _METHODS.items():
        setattr(Tensor, name, function if name.startswith("__") else public_form(function, name))
    for module in _MODULES:
        for name in module.METHODS:
            setattr(Tensor, name, public_form(getattr(module, name), name))
        for name in getattr(module, "IN_PLACE", ()):
            setattr(Tensor, f"{name}_", inplace.in_place(public_form(getattr(module, name), name), f"{name}_"))
    for operator, name in inplace.OPERATORS.items():
        if hasattr(Tensor, name):
            setattr(Tensor, operator, getattr(Tensor, name))
    Tensor.__getattr__ = method_getattr("torch.Tensor", Tensor.__dict__)  # type: ignore[method-assign]


attach()
