"""What an entry of the primitive table is, and the rules that give shapes and dtypes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from netcl.core import dtypes
from netcl.core.dtypes import DType

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Primitive:
    """One operation of the graph. `infer(operands, arg)` gives shape and dtype, or raises as PyTorch would."""

    name: str
    kind: str  # elementwise, compare, reduce, view, contraction, library, source, index, composite
    infer: Callable[[Sequence[Any], Any], tuple[Shape, DType]]
    expression: str = ""
    integer_expression: str = ""  # where integers need other text than floats
    gradient: Callable[..., tuple] | None = None
    reference: Callable[..., Any] | None = None  # NumPy
    expand: Callable[..., Any] | None = None  # composites: the body, in operations
    preamble: str = ""  # OpenCL helper functions that the expression calls
    # What autocast does with its operands: "lower", "float32" or "widest", or a function of the argument and the
    # number of operands that says so for each.
    autocast: str | Callable[[Any, int], Sequence[str]] = "widest"
    costly: bool = False  # a registered one that takes more than a load and a store, see codegen.ir


TABLE: dict[str, Primitive] = {}
_LOGICAL = frozenset("logical_and logical_or logical_xor logical_not".split())


def register(primitive: Primitive) -> Primitive:
    if primitive.name in TABLE:
        raise ValueError(f"primitive {primitive.name!r} is registered already; choose another name")
    TABLE[primitive.name] = primitive
    return primitive


# ---- shape and dtype rules ---------------------------------------------------------------------------------------


def broadcast_shapes(name: str, shapes: Sequence[Shape]) -> Shape:
    """NumPy's and PyTorch's broadcasting; RuntimeError naming the operation and the shapes where they don't fit."""
    rank = max(map(len, shapes))
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1 and result[axis] != size:
                if result[axis] != 1:
                    listed = " and ".join(str(list(shape)) for shape in shapes)
                    raise RuntimeError(
                        f"{name}: shapes {listed} can't be broadcast together: sizes {result[axis]} and {size} "
                        f"differ at dimension {axis}; sizes must be equal or 1"
                    )
                result[axis] = size
    return tuple(result)


def result_dtype(operands: Sequence[Any]) -> DType:
    """PyTorch's promotion: operands with dimensions decide, 0-d ones only raise the category."""
    with_dims: DType | None = None
    without: DType | None = None
    for operand in operands:
        if operand.shape:
            with_dims = operand.dtype if with_dims is None else dtypes.promote(with_dims, operand.dtype)
        else:
            without = operand.dtype if without is None else dtypes.promote(without, operand.dtype)
    if with_dims is None:
        assert without is not None
        return without
    if without is not None and without.category > with_dims.category:
        return without
    return with_dims


def elementwise_shape(name: str, operands: Sequence[Any]) -> Shape:
    shape: Shape = operands[0].shape
    for operand in operands:
        if operand.shape != shape and operand.shape:
            return broadcast_shapes(name, [operand.shape for operand in operands])
    return shape


def as_first(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
    """The shape and the dtype of the first operand."""
    return operands[0].shape, operands[0].dtype


def same(name: str) -> Callable:
    def infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
        first = operands[0]
        if len(operands) == 1:
            return first.shape, first.dtype
        other = operands[1]
        if len(operands) == 2 and first.shape == other.shape and first.dtype is other.dtype:
            return first.shape, first.dtype
        return elementwise_shape(name, operands), result_dtype(operands)

    return infer


def _same_unless(refused: Callable[[DType], bool], text: str) -> Callable[[str], Callable]:
    """As `same`, with RuntimeError for the dtypes that are refused."""

    def rule(name: str) -> Callable:
        of_operands = same(name)

        def infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
            shape, dtype = of_operands(operands, arg)
            if refused(dtype):
                raise RuntimeError(f"{name}: {text.format(dtype=dtype.name)}")
            return shape, dtype

        return infer

    return rule


no_bool = _same_unless(
    lambda dtype: dtype is dtypes.bool_, "not defined for bool tensors; use the logical operations, or .int()"
)
only_floats = _same_unless(
    lambda dtype: dtype.category != 2, "not defined for {dtype} tensors; convert them with .float()"
)
only_integers = _same_unless(lambda dtype: dtype.category != 1, "defined for integer tensors only, got {dtype}")


def floating(name: str) -> Callable:
    def infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
        dtype = result_dtype(operands)
        return elementwise_shape(name, operands), dtype if dtype.category == 2 else dtypes.default_float

    return infer


def boolean(name: str) -> Callable:
    def infer(operands: Sequence[Any], arg: Any) -> tuple[Shape, DType]:
        return elementwise_shape(name, operands), dtypes.bool_

    return infer


def operand_dtypes(primitive: Primitive, operands: Sequence[Any], dtype: DType) -> tuple[DType, ...]:
    """What each operand is cast to before the expression is applied; `dtype` is the result's."""
    if primitive.name == "where":
        return (dtypes.bool_, dtype, dtype)
    if primitive.name in ("cast", "uniform") or primitive.name.startswith("sort_word"):
        return tuple(operand.dtype for operand in operands)
    if primitive.name in _LOGICAL:
        return (dtypes.bool_,) * len(operands)
    if primitive.kind == "compare" or dtype is dtypes.bool_:
        return (result_dtype(operands),) * len(operands)
    return (dtype,) * len(operands)


def composite(name: str, infer: Callable, expand: Callable, autocast: Any = "widest") -> Primitive:
    """An operation recorded as one node, and expanded into `expand`'s operations when a plan is made."""
    return register(Primitive(name, "composite", infer, expand=expand, autocast=autocast))
