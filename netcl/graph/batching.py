"""Values with a hidden axis in front: what a function sees while it is mapped over a batch.

A `Batched` value shows the shape of one sample; `inner` is the value of all of them. An operation on one is recorded
for all samples at once, at the level below, by one rule for each primitive. Levels are numbered as maps begin, so in
nested maps the inner one's number is the higher, and a value's outermost layer is the one with the highest number.
A composite stays one record: its body is expanded with batched values when a plan is made.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from netcl.codegen.ir import Shape
from netcl.core.dtypes import DType
from netcl.graph import value as tracing
from netcl.graph.primitives import TABLE, operand_dtypes
from netcl.graph.table import composite
from netcl.graph.value import Value, record, record_many
from netcl.graph.views import view

_levels = itertools.count(1)


@dataclass(eq=False)
class Map:
    """A map over a batch that is running: its number of samples, and what random numbers they see."""

    level: int
    size: int
    randomness: str  # error, different, same


class _Active(threading.local):
    """The maps that run in a thread, the innermost last."""

    def __init__(self) -> None:
        self.maps: list[Map] = []


active = _Active()


class Batched(Value):
    """A value as one sample of it: `size` samples lie along a first axis of `inner` that is not shown."""

    def __init__(self, inner: Value, level: int):
        super().__init__(inner.shape[1:], inner.dtype, inner.device)
        self.inner = inner
        self.level = level
        self.size = inner.shape[0]

    def realise(self) -> Value:
        """There is no one value to read."""
        raise RuntimeError(
            "vmap: the value of a tensor is asked for inside the function (.item(), .numpy(), print, a condition, or "
            "an operation whose result's shape depends on it), but there it stands for all samples at once; use "
            "where() for conditions, or do this outside vmap"
        )


def new_level() -> int:
    """A number for a map that begins. From the first one on, recording looks for batched operands."""
    tracing.record_batched, tracing.record_many_batched = _record, _record_many
    return next(_levels)


def levels_of(value: Value) -> dict[int, int]:
    """The maps that a value has a hidden axis of, outermost layer first: their numbers of samples."""
    found = {}
    while isinstance(value, Batched):
        found[value.level] = value.size
        value = value.inner
    return found


# ---- in and out of a level ---------------------------------------------------------------------------------------


def hide(value: Value, level: int) -> Value:
    """The first axis becomes the hidden axis of a level."""
    if value.level > level:
        assert isinstance(value, Batched)
        return Batched(hide(_swapped(value.inner), level), value.level)
    return Batched(value, level)


def show(value: Value, level: int, size: int) -> Value:
    """The hidden axis of a level as the first axis; without one, the value repeated."""
    if value.level > level:
        assert isinstance(value, Batched)
        return Batched(_swapped(show(value.inner, level, size)), value.level)
    if value.level == level:
        assert isinstance(value, Batched)
        return value.inner
    return view("expand", view("reshape", value, (1, *value.shape)), (size, *value.shape))


def total(value: Value, level: int) -> Value:
    """The sum over a level's hidden axis, which the value has."""
    assert isinstance(value, Batched)
    if value.level > level:
        return Batched(total(value.inner, level), value.level)
    return record("sum", (value.inner,), ((0,), False))


def _swapped(value: Value) -> Value:
    return view("permute", value, (1, 0, *range(2, len(value.shape))))


# ---- recording ---------------------------------------------------------------------------------------------------


def _record(op: str, operands: Sequence[Value], arg: Any) -> Value:
    """One operation, of which an operand is batched."""
    level = max([v.level for v in operands])
    size = next(v.size for v in operands if isinstance(v, Batched) and v.level == level)
    primitive = TABLE[op]
    rule = _RULES.get(op) or _KINDS.get(primitive.kind)
    if rule is None:
        raise NotImplementedError(f"vmap: {op} has no batching rule; call it outside vmap, or once for each sample")
    shape, dtype = primitive.infer(operands, arg)
    made = rule(op, [_Operand(v, level, size) for v in operands], arg, shape, dtype, size)
    assert (made.shape[1:], made.dtype) == (tuple(shape), dtype), f"{op}: {made.shape} {made.dtype} for {shape} {dtype}"
    return Batched(made, level)


def _record_many(op: str, operands: Sequence[Value], arg: Any, numbers: Sequence[float]) -> tuple[Value, ...]:
    if numbers:
        raise NotImplementedError(f"vmap: {op} has no batching rule; an optimizer steps outside vmap")
    level = max([v.level for v in operands])
    inner, wrapped = _as_composite(op, operands, arg, level)
    return tuple([Batched(value, level) for value in record_many("batched", inner, wrapped)])


class _Operand:
    """An operand as a rule sees it: the value below, and whether it has the axis."""

    __slots__ = ("batched", "dtype", "shape", "size", "value")

    def __init__(self, value: Any, level: int, size: int):
        self.batched = value.level == level
        self.value: Value = value.inner if self.batched else value
        self.shape: Shape = value.shape  # of one sample
        self.dtype: DType = value.dtype
        self.size = size

    def whole(self) -> Value:
        """With the axis in front, whether it has it or not."""
        if self.batched:
            return self.value
        own = self.shape
        return view("expand", view("reshape", self.value, (1, *own)), (self.size, *own))

    def folded(self) -> Value:
        """With the axis folded into the sample's first one."""
        return view("reshape", self.whole(), (self.size * self.shape[0], *self.shape[1:]))


# ---- the rules: (op, operands, arg, a sample's shape and dtype, number of samples) -> the result of all samples --


def _elementwise(op: str, operands: list[_Operand], arg: Any, shape: Shape, dtype: DType, size: int) -> Value:
    """Samples of fewer dimensions get sizes of 1 behind the axis. What a sample without dimensions would decide for
    the dtype is decided before it gets one."""
    rank = len(shape)
    hidden = any(o.batched and not o.shape for o in operands)
    casts = operand_dtypes(TABLE[op], operands, dtype) if hidden else [o.dtype for o in operands]
    values = []
    for operand, wanted in zip(operands, casts, strict=True):
        value, missing = operand.value, rank - len(operand.shape)
        if operand.batched and missing:
            value = view("reshape", value, (size, *(1,) * missing, *operand.shape))
        values.append(value if value.dtype is wanted else record("cast", (value,), wanted.name))
    return record(op, values, arg)


def _one_decides(op: str, operands: list[_Operand], arg: Any, shape: Shape, dtype: DType, size: int) -> Value:
    """The result has the shape of one operand: of the first, or of a sort word's position."""
    deciding = operands[1 if op.startswith("sort_word") else 0]
    values = []
    for operand in operands:
        missing = len(shape) - len(operand.shape)
        spread = (size, *(1,) * missing, *operand.shape)
        aligned = view("reshape", operand.value, spread) if operand.batched and missing else operand.value
        values.append(deciding.whole() if operand is deciding else aligned)
    return record(op, values, arg)


def _reduce(op: str, operands: list[_Operand], arg: Any, shape: Shape, dtype: DType, size: int) -> Value:
    axes, keepdim = arg
    return record(op, (operands[0].value,), (tuple([axis + 1 for axis in axes]), keepdim))


_VIEW_ARGUMENTS: dict[str, Callable[[Any, int], Any]] = {
    "reshape": lambda arg, size: (size, *arg),
    "permute": lambda arg, size: (0, *[axis + 1 for axis in arg]),
    "expand": lambda arg, size: (size, *arg),
    "slice": lambda arg, size: ((0, size, 1), *arg),
    "pad": lambda arg, size: ((0, 0), *arg),
    "diagonal": lambda arg, size: (arg[0], arg[1] + 1, arg[2] + 1),
    "windows": lambda arg, size: (arg[0] + 1, *arg[1:]),
    "again": lambda arg, size: arg,
}


def _view(op: str, operands: list[_Operand], arg: Any, shape: Shape, dtype: DType, size: int) -> Value:
    return view(op, operands[0].value, _VIEW_ARGUMENTS[op](arg, size))


def _matmul(op: str, operands: list[_Operand], arg: Any, shape: Shape, dtype: DType, size: int) -> Value:
    """What only one side has the axis of is one product with more rows, or more columns."""
    a, b = operands
    batch, m, k = a.shape
    n = b.shape[2]
    if a.batched and b.batched:
        return view("reshape", record(op, (a.folded(), b.folded())), (size, *shape))
    if a.batched:
        rows = view("reshape", view("permute", a.value, (1, 0, 2, 3)), (batch, size * m, k))
        product = view("reshape", record(op, (rows, b.value)), (batch, size, m, n))
        return view("permute", product, (1, 0, 2, 3))
    columns = view("reshape", view("permute", b.value, (1, 2, 0, 3)), (batch, k, size * n))
    product = view("reshape", record(op, (a.value, columns)), (batch, m, size, n))
    return view("permute", product, (2, 0, 1, 3))


def _gather(op: str, operands: list[_Operand], arg: Any, shape: Shape, dtype: DType, size: int) -> Value:
    return record(op, [o.whole() for o in operands], arg + 1)


def _folded(op: str, operands: list[_Operand], arg: Any, shape: Shape, dtype: DType, size: int) -> Value:
    """Library kernels work on rows of their own: samples are more rows."""
    values = [o.folded() if o.shape else o.value for o in operands]  # without a shape: a check's site
    return view("reshape", record(op, values, arg), (size, *shape))


def _scatter(op: str, operands: list[_Operand], arg: Any, shape: Shape, dtype: DType, size: int) -> Value:
    """An index may be shared by the rows of a sample."""
    outer = operands[1].shape[0]
    index = operands[0]
    spread = view("expand", index.whole(), (size, outer, *index.shape[1:]))
    values = [view("reshape", spread, (size * outer, *index.shape[1:]))]
    values += [o.folded() if o.shape else o.value for o in operands[1:]]  # without a shape: a check's site
    return view("reshape", record(op, values, arg), (size, *shape))


def _sort_rows(op: str, operands: list[_Operand], arg: Any, shape: Shape, dtype: DType, size: int) -> Value:
    """The first axis of the result is not the rows'."""
    rows = record(op, (operands[0].folded(),), arg)
    return view("permute", view("reshape", rows, (2, size, *shape[1:])), (1, 0, *range(2, len(shape) + 1)))


def _search(op: str, operands: list[_Operand], arg: Any, shape: Shape, dtype: DType, size: int) -> Value:
    """One row to search in may serve all rows of values."""
    sequence, values = operands
    rows = values.shape[0]
    if not sequence.batched and sequence.shape[0] == 1:
        return view("reshape", record(op, (sequence.value, values.folded()), arg), (size, *shape))
    spread = view("expand", sequence.whole(), (size, rows, sequence.shape[1]))
    searched = view("reshape", spread, (size * rows, sequence.shape[1]))
    return view("reshape", record(op, (searched, values.folded()), arg), (size, *shape))


def _composite(op: str, operands: list[_Operand], arg: Any, shape: Shape, dtype: DType, size: int) -> Value:
    return record("batched", [o.value for o in operands], (op, arg, tuple([o.batched for o in operands]), size))


_KINDS = {
    "elementwise": _elementwise, "compare": _elementwise, "reduce": _reduce, "view": _view, "composite": _composite,
}  # fmt: skip
_RULES = {
    "matmul": _matmul, "gather": _gather, "scatter": _scatter,
    "sort_rows": _sort_rows, "search": _search,
    **dict.fromkeys(("check", "uniform", *[name for name in TABLE if name.startswith("sort_word")]), _one_decides),
    **dict.fromkeys(
        ("scan", "scan_totals", "recurrence", "concat", "sort_blocks", "merge_runs", "digit_counts", "place_by_digit",
         "top_words", "inverse", "ctc_states", "ctc_shares"),
        _folded,
    ),
}  # fmt: skip


# ---- composites --------------------------------------------------------------------------------------------------


def _as_composite(op: str, operands: Sequence[Any], arg: Any, level: int) -> tuple[list[Value], tuple]:
    batched = tuple([v.level == level for v in operands])
    size = next(v.size for v in operands if v.level == level)
    return [v.inner if b else v for v, b in zip(operands, batched, strict=True)], (op, arg, batched, size)


class _Sample:
    """The shape and dtype of one sample."""

    __slots__ = ("device", "dtype", "level", "shape")

    def __init__(self, value: Any, batched: bool):
        self.shape = value.shape[1:] if batched else value.shape
        self.dtype = value.dtype
        self.device = getattr(value, "device", None)
        self.level = 0


def _batched_infer(operands: Sequence[Any], wrapped: tuple) -> Any:
    op, arg, batched, size = wrapped
    metas: Any = TABLE[op].infer([_Sample(v, b) for v, b in zip(operands, batched, strict=True)], arg)
    if isinstance(metas[1], DType):
        return (size, *metas[0]), metas[1]
    return tuple([((size, *shape), dtype) for shape, dtype in metas])


def _batched_body(*operands_and_arg: Any) -> Any:
    *operands, (op, arg, batched, size) = operands_and_arg
    level = new_level()
    values = [hide(v, level) if b else v for v, b in zip(operands, batched, strict=True)]
    expand: Any = TABLE[op].expand
    results = expand(*values) if arg is None else expand(*values, arg)
    if isinstance(results, tuple):
        return tuple([show(value, level, size) for value in results])
    return show(results, level, size)


composite("batched", _batched_infer, _batched_body)
