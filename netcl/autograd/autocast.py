"""Automatic mixed precision: which operations run in a narrow dtype, and how casts become part of them.

The policy is a column of the table of primitives and composites: "lower" (products: the narrow dtype), "float32"
(losses, norms, softmax, sums, powers, logarithms) or "widest" (everything else: operands are promoted as always).

An operation whose operands have to be cast is recorded as one composite that casts and then does it. So there are no
casts to store or to launch, and what is kept for the way back are the operands as they were: a float32 weight itself,
not a copy. Its gradient runs in the dtypes of the way there, and ends in the operands' own. Only float32 results that
nobody else keeps are cast ahead (which fuses with what computes them), since half of the bytes are kept then.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from inspect import signature
from typing import Any

from netcl.autograd import tape
from netcl.autograd.rules import Meta, rule_reads
from netcl.autograd.rules import reads as reads_of
from netcl.autograd.tape import _state
from netcl.core import dtypes
from netcl.core.dtypes import DType
from netcl.graph.primitives import TABLE, composite
from netcl.graph.value import is_expanding, record, record_many
from netcl.tensor import Tensor

KINDS = ("cpu", "gpu", "accelerator")
NARROW = (dtypes.float16, dtypes.bfloat16)
_CASTABLE = (dtypes.float16, dtypes.bfloat16, dtypes.float32)  # float64 stays what it is
_TAKE_ARGUMENT = ("view", "reduce", "library", "composite", "index", "host")  # kinds whose rules get the argument


# ---- what is cast ------------------------------------------------------------------------------------------------


_known_casts: dict[tuple, tuple[str | None, ...] | None] = {}


def casts_for(op: str, operands: Sequence[Any], arg: Any) -> tuple[str | None, ...] | None:
    """The dtype that each operand has to be cast to (None: as it is) in this thread's autocast; None for no cast."""
    policy = TABLE[op].autocast
    if policy == "widest" or not operands or _state.rules or is_expanding():
        return None
    values = [t._value for t in operands if isinstance(t, Tensor)]  # another operand is refused where it is recorded
    low = _state.autocast.get(values[0].device.kind) if len(values) == len(operands) else None
    if low is None:
        return None
    each = policy(arg, len(operands)) if callable(policy) else (policy,) * len(operands)
    key = (low, *each, *[value.dtype for value in values])
    if key not in _known_casts:
        found = tuple([_cast_to(value.dtype, low, p) for value, p in zip(values, each, strict=True)])
        _known_casts[key] = found if any(found) else None
    return _known_casts[key]


def _cast_to(dtype: DType, low: DType, policy: str) -> str | None:
    target = low if policy == "lower" else dtypes.float32
    return target.name if policy != "widest" and dtype in _CASTABLE and dtype is not target else None


def apply_cast(
    op: str, operands: Sequence[Any], arg: Any, casts: tuple, rule: Callable | None, several: bool = False
) -> Any:
    """Record an operation together with the casts of its operands."""
    name, wrapped, reads = _known.get((op, rule, len(operands))) or _with_casts(op, rule, len(operands), several)
    if _state.enabled and wrapped is not None and not _state.packing:
        for number, (tensor, to, read) in enumerate(zip(operands, casts, reads, strict=True)):
            if to and read and tensor._node is not None and _kept_by_none(tensor):
                operands = [*operands[:number], _cast(tensor, to), *operands[number + 1 :]]
                casts = (*casts[:number], None, *casts[number + 1 :])
    return tape.apply_composite(name, operands, (arg, casts), wrapped, several)


def _kept_by_none(tensor: Tensor) -> bool:
    """Whether a float32 result would be kept for the way back by whoever reads it, and by nobody else: then that is
    better done with half the bytes. A leaf is there anyway; and some operations keep their results."""
    if tensor._value.dtype is not dtypes.float32:
        return False
    kept = tensor._node.result
    return type(kept) is not list or len(kept) <= tensor._output or isinstance(kept[tensor._output], tuple)


_known: dict[tuple, tuple[str, Callable | None, tuple[bool, ...]]] = {}


def _with_casts(op: str, rule: Callable | None, count: int, several: bool) -> tuple:
    """The composite that casts its operands and then does `op` (its argument is (op's argument, casts)), its gradient
    rule, and which operands that reads."""
    name = op + tape.WITH_CASTS
    if name not in TABLE:
        _register(name, op, several)
    wrapped = None if rule is None else _cast_rule(op, rule, count)
    reads = () if wrapped is None else reads_of[wrapped, count][1]
    made = _known[op, rule, count] = (name, wrapped, reads)
    return made


def _register(name: str, op: str, several: bool) -> None:
    primitive = TABLE[op]

    def infer(operands: Any, arg: Any) -> Any:
        inner, casts = arg
        given = zip(operands, casts, strict=True)
        return primitive.infer([o if to is None else Meta(o.shape, dtypes.by_name(to), None) for o, to in given], inner)

    def body(*values_and_arg: Any) -> Any:
        *values, (inner, casts) = values_and_arg
        operands = [_cast(Tensor._wrap(v), to)._value for v, to in zip(values, casts, strict=True)]
        return record_many(op, operands, inner) if several else record(op, operands, inner)

    composite(name, infer, body)


def _cast(operand: Any, to: str | None) -> Any:
    if to is None:
        return operand
    dtype = dtypes.by_name(to)
    return Meta(operand.shape, dtype, operand.device) if isinstance(operand, Meta) else operand.to(dtype)


_cast_rules: dict[tuple[Callable, bool], Callable] = {}


def _cast_rule(op: str, rule: Callable, count: int) -> Callable:
    """The gradient rule of an operation with casts: that of the operation, of the operands as it had them."""
    takes_argument = TABLE[op].kind in _TAKE_ARGUMENT
    wrapped = _cast_rules.get((rule, takes_argument))
    if wrapped is None:

        def wrapped(g: Any, y: Any, *rest: Any) -> tuple:
            *operands, (inner, casts) = rest
            inside = [_cast(operand, to) for operand, to in zip(operands, casts, strict=True)]
            return rule(g, y, *inside, *((inner,) if takes_argument else ()))

        _cast_rules[rule, takes_argument] = wrapped
    if (wrapped, count) not in reads_of:
        reads_of[wrapped, count] = reads_of.get((rule, count)) or rule_reads(rule, count)
    return wrapped


# ---- for operations that are compositions ------------------------------------------------------------------------


def lowered(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors as a product gets them: in the narrow dtype where autocast is on."""
    return tuple([_applied(tensor, "lower") for tensor in tensors])


def in_float32(tensor: Tensor) -> Tensor:
    """A tensor as an operation of the float32 kind gets it."""
    return _applied(tensor, "float32")


def in_widest(function: Callable) -> Callable:
    """For a function of products or of one dtype that PyTorch's lists have among the promoting ones: its narrow and
    float32 tensors are cast to the widest of their dtypes, and what it does is done in that."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        tensors = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]
        found = {t._value.dtype for t in tensors if t._value.dtype in _CASTABLE}
        if _state.autocast is None or _state.rules or is_expanding() or not found:
            return function(*args, **kwargs)
        widest = functools.reduce(dtypes.promote, found)

        def cast(given: Any) -> Any:
            return given.to(widest) if isinstance(given, Tensor) and given._value.dtype in found else given

        with tape._WithoutAutocast():
            return function(*map(cast, args), **{name: cast(given) for name, given in kwargs.items()})

    called.__signature__ = signature(function)  # type: ignore[attr-defined]
    del called.__wrapped__  # it is not yet the public form, see ops.public
    return called


def _applied(tensor: Tensor, policy: str) -> Tensor:
    low = None if _state.autocast is None or _state.rules or is_expanding() else low_dtype(tensor)
    to = None if low is None else _cast_to(tensor._value.dtype, low, policy)
    return tensor if to is None else tensor.to(dtypes.by_name(to))


def low_dtype(tensor: Tensor) -> DType | None:
    """What products of this tensor are made in by autocast; None where it is off."""
    return None if _state.autocast is None else _state.autocast.get(tensor._value.device.kind)


# ---- the context -------------------------------------------------------------------------------------------------


class autocast(ContextDecorator):
    """Products run in float16 or bfloat16, what needs digits in float32; parameters and their gradients stay float32.

    autocast(device_type=None, dtype=None, enabled=True, cache_enabled=None), a context manager or a decorator, for
    this thread; it nests. device_type: "cpu", "gpu" or "accelerator", or "opencl" (None) for all of them; "cuda" warns
    and is off, as in PyTorch without CUDA. dtype:
    float16, bfloat16, or None for what PyTorch takes: bfloat16 on CPUs, float16 elsewhere. Gradients are computed
    outside, whether backward() is called inside or not. With float16 use a GradScaler.

    cache_enabled has no effect beyond being remembered: casts are part of the operations, and make no copies.

    >>> import netcl as nc
    >>> a, b = nc.ones(2, 3), nc.ones(3, 2)
    >>> with nc.autocast(dtype=nc.bfloat16):
    ...     product = a @ b
    ...     product.dtype, product.softmax(1).dtype, product.relu().dtype, (product + a[:, :2]).dtype
    (netcl.bfloat16, netcl.float32, netcl.bfloat16, netcl.float32)
    """

    def __init__(
        self, device_type: Any = None, dtype: DType | None = None, enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:  # fmt: skip
        self.kinds = () if device_type == "cuda" else _kinds("autocast", device_type)
        self.device_type = device_type
        self.dtype = dtype
        self.enabled = bool(enabled)
        if device_type == "cuda" and enabled:
            warnings.warn('autocast: there is no "cuda"; it is switched off. Use "gpu", or leave it out', stacklevel=2)
            self.enabled = False
        self.cache_enabled = cache_enabled
        self._before: list[tuple] = []
        if dtype is not None:
            _check_dtype(dtype)
            if self.enabled and dtype not in NARROW:
                warnings.warn(
                    f"autocast: products in {dtype} would be what they are without it; it is switched off", stacklevel=2
                )
                self.enabled = False

    def _recreate_cm(self) -> autocast:  # a decorated function may run in several threads at once
        return autocast(self.device_type, self.dtype, self.enabled, self.cache_enabled)

    def __enter__(self) -> autocast:
        self._before.append((_state.autocast, _state.autocast_cache))
        chosen = dict(_state.autocast or {})
        for kind in self.kinds:
            if self.enabled:
                chosen[kind] = self.dtype or _default(kind)
            else:
                chosen.pop(kind, None)
        _state.autocast = chosen or None
        if self.cache_enabled is not None:
            _state.autocast_cache = bool(self.cache_enabled)
        return self

    def __exit__(self, *_error: object) -> None:
        _state.autocast, _state.autocast_cache = self._before.pop()


def _check_dtype(dtype: Any) -> None:
    if not isinstance(dtype, DType):
        raise TypeError(f"autocast: dtype must be a netcl dtype such as nc.bfloat16, got {dtype!r}")
    if dtype.category != 2:
        raise ValueError(f"autocast: dtype must be float16 or bfloat16, got {dtype}")


def _kinds(name: str, device_type: Any) -> tuple[str, ...]:
    kind = getattr(device_type, "kind", device_type)
    if kind is None or kind == "opencl":
        return KINDS
    if not isinstance(kind, str):
        raise ValueError(f"{name}: device_type must be a str such as 'cpu' or 'gpu', got {kind!r}; dtype= is by name")
    if kind not in KINDS:
        raise RuntimeError(f"{name}: unknown device_type {kind!r}; use 'cpu', 'gpu' or 'opencl' (every device)")
    return (kind,)


def _default(kind: str) -> DType:
    return _state.autocast_dtypes.get(kind) or (dtypes.bfloat16 if kind == "cpu" else dtypes.float16)


# ---- what is on --------------------------------------------------------------------------------------------------


def autocast_state() -> tuple[tuple[str, str], ...]:
    """What of autocast decides how operations are recorded in this thread, to be part of a key; () where it is off."""
    return () if _state.autocast is None else tuple(sorted((kind, d.name) for kind, d in _state.autocast.items()))


def is_autocast_available(device_type: Any) -> bool:
    """Whether autocast knows this type of device: "cpu", "gpu", "accelerator" and "opencl"."""
    return device_type in (*KINDS, "opencl")


def is_autocast_enabled(device_type: Any = None) -> bool:
    """Whether autocast is on in this thread, for a type of device or for any."""
    return _state.autocast is not None and any(k in _state.autocast for k in _kinds("is_autocast_enabled", device_type))


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Switch autocast on or off in this thread: set_autocast_enabled("cpu", True), or set_autocast_enabled(True)."""
    if enabled is None:
        device_type, enabled = None, device_type
    chosen = dict(_state.autocast or {})
    for kind in _kinds("set_autocast_enabled", device_type):
        chosen.pop(kind, None)
        if enabled:
            chosen[kind] = _default(kind)
    _state.autocast = chosen or None


def get_autocast_dtype(device_type: Any) -> DType:
    """The narrow dtype of autocast for a type of device ("opencl": the current device's)."""
    kinds = _kinds("get_autocast_dtype", device_type)
    if len(kinds) > 1:
        from netcl.core.device import current_device

        kinds = (current_device().kind,)
    return (_state.autocast or {}).get(kinds[0]) or _default(kinds[0])


def set_autocast_dtype(device_type: Any, dtype: DType) -> None:
    """What autocast takes in this thread where no dtype is given."""
    _check_dtype(dtype)
    if dtype not in NARROW:
        raise ValueError(f"set_autocast_dtype: dtype must be float16 or bfloat16, got {dtype}")
    for kind in _kinds("set_autocast_dtype", device_type):
        _state.autocast_dtypes[kind] = dtype
        if _state.autocast is not None and kind in _state.autocast:
            _state.autocast = {**_state.autocast, kind: dtype}


def is_autocast_cache_enabled() -> bool:
    """What autocast's cache_enabled was last; it has no effect."""
    return _state.autocast_cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Remembered, without effect: autocast's casts are part of the operations, there are no copies to keep."""
    _state.autocast_cache = bool(enabled)


def clear_autocast_cache() -> None:
    """Nothing: autocast keeps no copies."""
