"""The tape: which operations made a tensor.

`apply` records an operation and, where a gradient may be asked for, a `Node` that remembers what its gradient rule
reads. `netcl.autograd.engine` goes the way back through them.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ContextDecorator
from typing import Any

from netcl.autograd.rules import reads as reads_of
from netcl.autograd.rules import rule_reads
from netcl.graph.primitives import TABLE, Primitive
from netcl.graph.value import record, record_many, user_line

WITH_CASTS = "_autocast"  # ends the name of an operation that autocast has put casts into
_numbers = itertools.count()


class _State(threading.local):
    """Per thread: whether operations are recorded for gradients, and the tapes that listen."""

    def __init__(self) -> None:
        self.enabled = True
        self.rules = 0  # gradient rules being evaluated: their Python numbers are constants
        self.tapes: list[Tape] = []
        self.inference = False
        self.anomaly = False  # nodes remember where they were recorded, and gradients are searched for NaN
        self.check_nan = True
        self.packing: list[Any] = []  # hooks on what is saved, the innermost last: see autograd.graph
        self.packing_refused: str | None = None
        self.autocast: Any = None  # by kind of device: the narrow dtype; None where it is off, see autograd.autocast
        self.autocast_dtypes: dict[str, Any] = {}
        self.autocast_cache = True


_state = _State()


def is_grad_enabled() -> bool:
    """Whether operations are recorded for gradients, in this thread."""
    return _state.enabled


def in_rule() -> bool:
    return _state.rules > 0


class _GradMode(ContextDecorator):
    """Sets whether operations are recorded for gradients, as a context manager or a decorator."""

    def __init__(self, mode: bool):
        self.mode = mode
        self.outer: list[bool] = []

    def _recreate_cm(self) -> _GradMode:  # a decorated function may run in several threads at once
        return _GradMode(self.mode)

    def __enter__(self) -> None:
        self.outer.append(_state.enabled)
        _state.enabled = self.mode

    def __exit__(self, *_error: object) -> None:
        _state.enabled = self.outer.pop()


class _WithoutAutocast:
    """Autocast is off inside: gradients are computed in the dtypes of the way there."""

    def __enter__(self) -> None:
        self.outer, _state.autocast = _state.autocast, None

    def __exit__(self, *_error: object) -> None:
        _state.autocast = self.outer


class no_grad(_GradMode):
    """Operations inside are not recorded for gradients.

    >>> import netcl as nc
    >>> w = nc.tensor([1.0], requires_grad=True)
    >>> with nc.no_grad():
    ...     (w * 2).requires_grad
    False
    """

    def __init__(self, function: Callable | None = None):
        super().__init__(False)

    def __new__(cls, function: Callable | None = None) -> Any:
        if callable(function):  # used as a bare decorator
            return cls()(function)
        return super().__new__(cls)


class enable_grad(_GradMode):
    """Operations inside are recorded for gradients, also inside `no_grad`."""

    def __init__(self, function: Callable | None = None):
        super().__init__(True)

    def __new__(cls, function: Callable | None = None) -> Any:
        if callable(function):  # used as a bare decorator
            return cls()(function)
        return super().__new__(cls)


_NO_MAPS: dict[int, int] = {}


class Node:
    """One recorded operation with gradient: its rule, what the rule reads, and where the gradients go."""

    __slots__ = (
        "__weakref__", "arg", "edges", "holds", "hooks", "maps", "node_hooks", "number", "op", "outputs", "packing",
        "released", "result", "retained", "rule", "saved", "stale", "where",
    )  # fmt: skip

    def __init__(self, op: str, rule: Callable, arg: Any, outputs: int, edges: list, saved: list, result: list):
        self.op = op
        self.rule = rule
        self.arg = arg
        self.number = next(_numbers)
        self.outputs = outputs
        self.edges = edges  # per operand: (node, output), (leaf, -1) or None
        self.saved: list[Any] = saved  # per operand: (tensor, value, version), or (shape, dtype, device) if not read
        self.result: Any = result  # per result: value, or (shape, dtype, device)
        self.holds = True  # whether it saved elements of any tensor, and not only shapes
        self.released = False
        self.stale = 0  # a bit for each result that was changed in place
        self.hooks: dict[int, dict] | None = None  # per result that has hooks: what to call with its gradient
        self.retained: dict[int, Any] | None = None  # per result that keeps its gradient: a weak reference to it
        self.node_hooks: tuple[dict, dict] | None = None  # before and after the gradients are computed
        self.where = user_line() if _state.anomaly else None
        self.packing: Any = None  # what to unpack `saved` and `result` with
        self.maps: dict[int, int] = _NO_MAPS  # inside which maps over a batch it stands: see autograd.batched
        if _state.packing:
            _state.packing[-1].pack(self)

    def gradients(self, gradients: list[Any], create_graph: bool) -> Iterable[Any]:
        """The operands' gradients, from those of the results (None where nothing arrived)."""
        return node_gradients(self, gradients, create_graph)

    def check_kept(self) -> None:
        """RuntimeError where elements were saved, and have been released."""
        if self.released and self.holds:
            raise RuntimeError(
                f"{self.op}: trying to go backward through the graph a second time, but what it saved was freed; "
                "call backward(retain_graph=True) the first time"
            )

    def release(self) -> None:
        """Forget what was saved: a second way back through here raises. Where only shapes were, it does not."""
        self.released = True
        if self.holds:
            self.saved, self.result = [], None

    def register_prehook(self, hook: Callable[[tuple], tuple | None]) -> HookHandle:
        """Call hook(grad_outputs) before the gradients are computed; a tuple that it returns replaces them."""
        return self._add_hook(0, hook)

    def register_hook(self, hook: Callable[[tuple, tuple], tuple | None]) -> HookHandle:
        """Call hook(grad_inputs, grad_outputs) afterwards; a tuple that it returns replaces grad_inputs."""
        return self._add_hook(1, hook)

    def _add_hook(self, place: int, hook: Callable) -> HookHandle:
        self.node_hooks = self.node_hooks or ({}, {})
        handle = HookHandle(self.node_hooks[place])
        self.node_hooks[place][handle] = hook
        return handle

    @property
    def op_name(self) -> str:
        return self.op.removesuffix(WITH_CASTS)

    @property
    def requires_grad(self) -> bool:
        return True

    def name(self) -> str:
        """PyTorch's spelling, e.g. MulBackward0."""
        return "".join(part.capitalize() for part in self.op_name.split("_")) + "Backward0"

    @property
    def next_functions(self) -> tuple:
        return tuple((None, 0) if edge is None else (edge[0], max(edge[1], 0)) for edge in self.edges)

    def __repr__(self) -> str:
        return f"<{self.name()}>"


def apply(op: str, operands: Sequence[Any], arg: Any = None) -> Any:
    """Record an operation on tensors and, if any of them requires a gradient, the way back through it."""
    if _state.autocast is not None and (casts := casts_for(op, operands, arg)):
        return apply_cast(op, operands, arg, casts, TABLE[op].gradient)
    values = []
    tracked = False
    try:
        for operand in operands:
            values.append(operand._value)
            if operand._tracked:
                tracked = True
    except AttributeError:
        raise _not_tensors(op, operands) from None
    value = record(op, values, arg)
    result = Tensor._wrap(value)
    if tracked and _state.enabled:
        rule = TABLE[op].gradient
        if rule is not None and value.dtype.category == 2:
            _connect(op, rule, operands, arg, (result,))
    return result


def apply_composite(op: str, operands: Sequence[Any], arg: Any, rule: Callable | None, several: bool = False) -> Any:
    """Record a composite. Its rule is called as rule(g, y, *operands, arg), with tuples g, y for several results."""
    if _state.autocast is not None and (casts := casts_for(op, operands, arg)):
        return apply_cast(op, operands, arg, casts, rule, several)
    try:
        values = [t._value for t in operands]
    except AttributeError:
        raise _not_tensors(op, operands) from None
    results = tuple(Tensor._wrap(v) for v in (record_many(op, values, arg) if several else (record(op, values, arg),)))
    if _state.enabled and rule is not None and any([t._tracked for t in operands]):
        _connect(op, rule, operands, arg, results)
    return results if several else results[0]


def _not_tensors(op: str, operands: Sequence[Any]) -> TypeError:
    listed = " and ".join([type(operand).__name__ for operand in operands])
    return TypeError(f"{op}: expected tensors, got {listed}; nc.tensor(...) makes them of arrays, lists and numbers")


def _connect(op: str, rule: Callable, operands: Sequence[Any], arg: Any, results: tuple) -> None:
    reads = reads_of.get((rule, len(operands))) or rule_reads(rule, len(operands))
    edges: list[Any] = []
    saved: list[Any] = []
    mapped: Any = results[0]._value.level
    for t, full in zip(operands, reads[1], strict=True):
        parent, v = t._node, t._value
        if parent is not None and parent.maps:
            mapped = True
        edges.append((parent, t._output) if parent is not None else (t, -1) if t._tracked else None)
        saved.append((t, v, t._version) if full else (v.shape, v.dtype, v.device))
    if reads[0]:
        kept: list[Any] = [r._value for r in results]
    else:
        kept = [(v.shape, v.dtype, v.device) for v in [r._value for r in results]]
    node = Node(op, rule, arg, len(results), edges, saved, kept)
    node.holds = reads[0] or True in reads[1]
    if mapped:
        cross(node, results)
    for number, result in enumerate(results):
        if result._value.dtype.category == 2:
            result._tracked = True
            result._node = node
            result._output = number
    for tape in _state.tapes:
        tape._nodes.append(TapeNode(node.op_name, tuple(operands)))


def edge_of(tensor: Any) -> Any:
    """Where a tensor's gradient goes: (node, output), (leaf, -1), or None where nothing asks for it."""
    if tensor._node is not None:
        return tensor._node, tensor._output
    return (tensor, -1) if tensor._tracked else None


def _alias(tensor: Any) -> Any:
    """Another tensor of the same value, at the same place in the graph."""
    other = Tensor._wrap(tensor._value)
    if tensor._tracked:
        other._tracked, other._node, other._output = True, tensor._node, tensor._output
    return other


# ---- Tape --------------------------------------------------------------------------------------------------------


class TapeNode:
    """What a Tape remembers of one operation: its name and its input tensors."""

    __slots__ = ("inputs", "op_name")

    def __init__(self, op_name: str, inputs: tuple):
        self.op_name = op_name
        self.inputs = inputs

    @property
    def requires_grad(self) -> bool:
        return any(tensor.requires_grad for tensor in self.inputs)

    def __repr__(self) -> str:
        return f"TapeNode({self.op_name}, {len(self.inputs)} inputs)"


class Tape:
    """Listens to the operations that are recorded for gradients in this thread while it is open.

    >>> import netcl as nc
    >>> w = nc.tensor([2.0], requires_grad=True)
    >>> with nc.Tape() as tape:
    ...     y = w * w
    >>> [node.op_name for node in tape.nodes]
    ['mul']
    """

    def __init__(self) -> None:
        self._nodes: list[TapeNode] = []

    @property
    def nodes(self) -> list[TapeNode]:
        return self._nodes

    def reset(self) -> None:
        """Forget what was recorded."""
        self._nodes.clear()

    def __enter__(self) -> Tape:
        _state.tapes.append(self)
        return self

    def __exit__(self, *_error: object) -> None:
        _state.tapes.remove(self)

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[TapeNode]:
        return iter(self._nodes)


from netcl.autograd.autocast import apply_cast, casts_for  # noqa: E402
from netcl.autograd.batched import cross  # noqa: E402
from netcl.autograd.engine import node_gradients  # noqa: E402
from netcl.tensor import HookHandle, Tensor  # noqa: E402  (they know each other)

__all__ = [
    "Node",
    "Primitive",
    "Tape",
    "TapeNode",
    "apply",
    "apply_composite",
    "enable_grad",
    "no_grad",
]
