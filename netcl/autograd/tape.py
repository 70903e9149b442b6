"""The tape: which operations made a tensor, and the way back through them.

`apply` records an operation and, where a gradient may be asked for, a `Node` that remembers what its gradient rule
reads. Nodes are numbered as they are made, so the way back needs no search: the highest number is always ready.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ContextDecorator
from typing import Any

from netcl.autograd.rules import Meta, is_needed, rule_reads
from netcl.autograd.rules import reads as reads_of
from netcl.graph.primitives import TABLE, Primitive, composite
from netcl.graph.value import record, record_many, user_line

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


_state = _State()


def is_grad_enabled() -> bool:
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


class Node:
    """One recorded operation with gradient: its rule, what the rule reads, and where the gradients go."""

    __slots__ = (
        "__weakref__", "arg", "edges", "hooks", "node_hooks", "number", "op", "outputs", "packing", "released",
        "result", "retained", "rule", "saved", "stale", "where",
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
        self.released = False
        self.stale = 0  # a bit for each result that was changed in place
        self.hooks: dict[int, dict] | None = None  # per result that has hooks: what to call with its gradient
        self.retained: dict[int, Any] | None = None  # per result that keeps its gradient: a weak reference to it
        self.node_hooks: tuple[dict, dict] | None = None  # before and after the gradients are computed
        self.where = user_line() if _state.anomaly else None
        self.packing: Any = None  # what to unpack `saved` and `result` with
        if _state.packing:
            _state.packing[-1].pack(self)

    def gradients(self, gradients: list[Any], create_graph: bool) -> Iterable[Any]:
        """The operands' gradients, from those of the results (None where nothing arrived)."""
        return _node_gradients(self, gradients, create_graph)

    def release(self) -> None:
        """Forget what was saved: a second way back through here raises."""
        self.saved, self.result, self.released = [], None, True

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
        return self.op

    @property
    def requires_grad(self) -> bool:
        return True

    def name(self) -> str:
        """PyTorch's spelling, e.g. MulBackward0."""
        return "".join(part.capitalize() for part in self.op.split("_")) + "Backward0"

    @property
    def next_functions(self) -> tuple:
        return tuple((None, 0) if edge is None else (edge[0], max(edge[1], 0)) for edge in self.edges)

    def __repr__(self) -> str:
        return f"<{self.name()}>"


def apply(op: str, operands: Sequence[Any], arg: Any = None) -> Any:
    """Record an operation on tensors and, if any of them requires a gradient, the way back through it."""
    try:
        values = [t._value for t in operands]
    except AttributeError:
        raise _not_tensors(op, operands) from None
    value = record(op, values, arg)
    result = Tensor._wrap(value)
    if _state.enabled:
        for operand in operands:
            if operand._tracked:
                rule = TABLE[op].gradient
                if rule is not None and value.dtype.category == 2:
                    _connect(op, rule, operands, arg, (result,))
                break
    return result


def apply_composite(op: str, operands: Sequence[Any], arg: Any, rule: Callable | None, several: bool = False) -> Any:
    """Record a composite. Its rule is called as rule(g, y, *operands, arg), with tuples g, y for several results."""
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
    for t, full in zip(operands, reads[1], strict=True):
        parent, v = t._node, t._value
        edges.append((parent, t._output) if parent is not None else (t, -1) if t._tracked else None)
        saved.append((t, v, t._version) if full else (v.shape, v.dtype, v.device))
    if reads[0]:
        kept: list[Any] = [r._value for r in results]
    else:
        kept = [(v.shape, v.dtype, v.device) for v in [r._value for r in results]]
    node = Node(op, rule, arg, len(results), edges, saved, kept)
    for number, result in enumerate(results):
        if result._value.dtype.category == 2:
            result._tracked = True
            result._node = node
            result._output = number
    for tape in _state.tapes:
        tape._nodes.append(TapeNode(op, tuple(operands)))


# ---- backward ----------------------------------------------------------------------------------------------------


def backward(
    roots: Sequence[tuple[Any, Any]], retain_graph: bool, create_graph: bool, inputs: Sequence[Any] | None = None
) -> dict[tuple[int, int], Any]:
    """Send gradients from roots (tensor, gradient) back. Without `inputs` they are added to the leaves' `.grad`;
    with them the gradients of just those tensors are returned, by place, and only what leads there is run."""
    wanted = None if inputs is None else {place_of(t) for t in inputs}
    needed = set() if wanted is None else _leading_to(wanted, [tensor._node for tensor, _ in roots])
    found: dict[tuple[int, int], Any] = {}
    pending: dict[Node, list[Any]] = {}
    heap: list[tuple[int, Node]] = []
    leaves: dict[int, tuple[Any, Any]] = {}  # by id: the leaf and what has arrived for it

    def send(edge: tuple | None, gradient: Any) -> None:
        if edge is None or gradient is None:
            return
        target, output = edge
        if wanted is not None and target not in needed and (id(target), output) not in wanted:
            return
        if output < 0:
            before = leaves.get(id(target))
            leaves[id(target)] = (target, gradient if before is None else before[1] + gradient)
            return
        waiting = pending.get(target)
        if waiting is None:
            waiting = pending[target] = [None] * target.outputs
            heapq.heappush(heap, (-target.number, target))
        waiting[output] = gradient if waiting[output] is None else waiting[output] + gradient

    with _GradMode(create_graph):
        for tensor, gradient in roots:
            send((tensor._node, tensor._output) if tensor._node is not None else (tensor, -1), gradient)
        while heap:
            node = heapq.heappop(heap)[1]
            gradients = pending.pop(node)
            if node.hooks or node.retained:
                through_result_hooks(node, gradients)
            if wanted is not None:
                for output, gradient in enumerate(gradients):
                    if gradient is not None and (id(node), output) in wanted:
                        found[id(node), output] = gradient
                if node not in needed:
                    continue
            if node.node_hooks or _state.anomaly:
                made = watched_gradients(node, gradients, create_graph)
            else:
                made = node.gradients(gradients, create_graph)
            for edge, gradient in zip(node.edges, made, strict=False):
                send(edge, gradient)
            if not retain_graph:
                node.release()
        for leaf, gradient in leaves.values():
            gradient = through_hooks(leaf._hooks, gradient) if leaf._hooks else gradient
            if wanted is not None:
                found[id(leaf), -1] = gradient
            else:
                accumulate(leaf, gradient)
    return found


def edge_of(tensor: Any) -> Any:
    """Where a tensor's gradient goes: (node, output), (leaf, -1), or None where nothing asks for it."""
    if tensor._node is not None:
        return tensor._node, tensor._output
    return (tensor, -1) if tensor._tracked else None


def place_of(tensor: Any) -> tuple[int, int]:
    return (id(tensor._node), tensor._output) if tensor._node is not None else (id(tensor), -1)


def _leading_to(wanted: set[tuple[int, int]], starts: Iterable[Node | None]) -> set[Any]:
    """The nodes below `starts` whose gradients have to be computed to reach one of the wanted places."""
    reached = {node for node in starts if node is not None}
    waiting = list(reached)
    while waiting:
        for edge in waiting.pop().edges:
            if edge is not None and edge[1] >= 0 and edge[0] not in reached:
                reached.add(edge[0])
                waiting.append(edge[0])
    needed: set[Any] = set()
    for node in sorted(reached, key=lambda node: node.number):  # operands before results
        if any(e is not None and (e[0] in needed or (id(e[0]), e[1]) in wanted) for e in node.edges):
            needed.add(node)
    return needed


def accumulate(tensor: Any, gradient: Any) -> None:
    """Add a whole gradient to a tensor's `.grad`, in place unless the sum itself is to be differentiated."""
    if tensor.grad is None:
        tensor.grad = _alias(gradient)  # a tensor of its own: two leaves may have been sent the same one
    elif _state.enabled:
        tensor.grad = tensor.grad + gradient
    else:
        total = tensor.grad + gradient
        if total.dtype is tensor.grad.dtype:
            tensor.grad._assign(total._value)
        else:
            tensor.grad = total
    if tensor._accumulate_hooks:
        for hook in list(tensor._accumulate_hooks.values()):
            hook(tensor)


def _alias(tensor: Any) -> Any:
    """Another tensor of the same value, at the same place in the graph."""
    other = Tensor._wrap(tensor._value)
    if tensor._tracked:
        other._tracked, other._node, other._output = True, tensor._node, tensor._output
    return other


def _node_gradients(node: Node, gradients: list[Any], create_graph: bool) -> Iterable[Any]:
    if node.released:
        raise RuntimeError(
            f"{node.op}: trying to go backward through the graph a second time, but what it saved was freed; "
            "call backward(retain_graph=True) the first time"
        )
    if node.stale and node.packing is None:
        _check_results(node)
    saved, kept = (node.saved, node.result) if node.packing is None else node.packing.unpack(node)
    for number, gradient in enumerate(gradients):
        if gradient is None:
            gradients[number] = _zeros_like(Meta(*_meta(kept[number])))
    kind = TABLE[node.op].kind
    if not create_graph and (kind == "composite" or (kind == "elementwise" and len(node.edges) == 1)):
        return _recorded_rule(node, gradients, saved, kept)
    operands: list[Any] = []
    for number, (tensor, value, version) in enumerate(saved):
        if type(tensor) is tuple:
            operands.append(Meta(tensor, value, version))
            continue
        if tensor._version != version:
            _check_operand(node, number, saved)
        operands.append(tensor if create_graph else Tensor._wrap(value))
    results = [
        Meta(*value) if type(value) is tuple else _result(node, value, number, create_graph)
        for number, value in enumerate(kept)
    ]
    wanted = [edge is not None for edge in node.edges]
    return _call_rule(node.op, node.rule, node.arg, gradients, results, operands, wanted)


def _meta(saved: Any) -> tuple:
    return saved if type(saved) is tuple else (saved.shape, saved.dtype, saved.device)


def _check_operand(node: Node, number: int, saved: list) -> None:
    """RuntimeError where an operand that was changed in place is needed for a gradient that is asked for."""
    wanted = [edge is not None for edge in node.edges]
    if is_needed(node.rule, len(wanted), wanted, number):
        tensor, value, version = saved[number]
        raise RuntimeError(
            f"{node.op}: one of the tensors needed for its gradient, of shape {list(value.shape)}, was "
            f"changed in place after the operation (version {tensor._version}, expected {version}); "
            "clone it before changing it"
        )


def _check_results(node: Node) -> None:
    """RuntimeError where a result that the rule reads was changed in place."""
    wanted = [edge is not None for edge in node.edges]
    for number, result in enumerate(node.result):
        changed = node.stale >> number & 1 and type(result) is not tuple
        if changed and is_needed(node.rule, len(wanted), wanted, "y"):
            raise RuntimeError(
                f"{node.op}: its result of shape {list(result.shape)}, needed for its gradient, was changed in place "
                "after the operation; clone it before changing it"
            )


def _call_rule(
    op: str, rule: Callable, arg: Any, gradients: list, results: list, operands: list, needed: Sequence[bool]
) -> list[Any]:
    """The operands' gradients by the rule's operations, fitted to the operands' shapes and dtypes."""
    g, y = (gradients[0], results[0]) if len(gradients) == 1 else (tuple(gradients), tuple(results))
    extra = (arg,) if TABLE[op].kind in ("view", "reduce", "library", "composite", "index", "host") else ()
    _state.rules += 1
    try:
        made = rule(g, y, *operands, *extra)
        return [_fit(x, o) if want else None for x, o, want in zip(made, operands, needed, strict=True)]
    finally:
        _state.rules -= 1


def _recorded_rule(node: Node, gradients: list, saved: list, kept: list) -> list[Any]:
    """A composite's gradient is one record, expanded when a plan is made: tracing a training step stays cheap.

    What the rule does not read travels as (shape, dtype) in the argument.
    """
    values = [g._value for g in gradients]
    pattern: list[Any] = []
    for value in kept:
        if type(value) is tuple:
            pattern.append(value[:2])
        else:
            values.append(value)
            pattern.append(None)
    needed = []
    metas = []
    for number, ((tensor, value, version), edge) in enumerate(zip(saved, node.edges, strict=True)):
        if type(tensor) is tuple:
            meta = (tensor, value)
            pattern.append(meta)
        else:
            if tensor._version != version:
                _check_operand(node, number, saved)
            values.append(value)
            pattern.append(None)
            meta = (value.shape, value.dtype)
        needed.append(edge is not None)
        if edge is not None:
            metas.append(meta)
    arg = (node.op, node.rule, node.arg, len(gradients), tuple(needed), tuple(pattern), tuple(metas))
    wrap = Tensor._wrap
    if len(metas) == 1:
        made = wrap(record("gradient", values, arg))
        return [made if want else None for want in needed]
    several = iter(record_many("gradient", values, arg))
    return [wrap(next(several)) if want else None for want in needed]


def _gradient_body(*operands_and_arg: Any) -> Any:
    *operands, (op, rule, arg, outputs, needed, pattern, _) = operands_and_arg
    gradients = [Tensor._wrap(v) for v in operands[:outputs]]
    rest = iter(operands[outputs:])
    items: list[Any] = [Tensor._wrap(next(rest)) if meta is None else Meta(meta[0], meta[1], None) for meta in pattern]
    with _GradMode(False):
        made = _call_rule(op, rule, arg, gradients, items[:outputs], items[outputs:], needed)
    values = tuple(gradient._value for gradient, want in zip(made, needed, strict=True) if want)
    return values[0] if len(values) == 1 else values


def _gradient_infer(operands: Any, arg: Any) -> Any:
    metas = arg[-1]
    return metas[0] if len(metas) == 1 else metas


composite("gradient", _gradient_infer, _gradient_body)


def _result(node: Node, value: Any, number: int, create_graph: bool) -> Any:
    tensor = Tensor._wrap(value)
    if create_graph:
        tensor._tracked, tensor._node, tensor._output = True, node, number
    return tensor


def _zeros_like(meta: Any) -> Any:
    from netcl.ops.creation import full

    return full(meta.shape, 0.0, dtype=meta.dtype, device=meta.device)


def _fit(gradient: Any, operand: Any) -> Any:
    """The gradient in the operand's shape and dtype: broadcasting summed away."""
    if gradient is None:
        return None
    if gradient.shape != operand.shape:
        gradient = gradient.sum_to_shape(operand.shape)
    if gradient.dtype is not operand.dtype:
        gradient = gradient.to(operand.dtype)
    return gradient


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


from netcl.autograd.hooks import through_hooks, through_result_hooks, watched_gradients  # noqa: E402
from netcl.tensor import HookHandle, Tensor  # noqa: E402  (they know each other)

__all__ = [
    "Node",
    "Primitive",
    "Tape",
    "TapeNode",
    "apply",
    "apply_composite",
    "backward",
    "enable_grad",
    "no_grad",
]
