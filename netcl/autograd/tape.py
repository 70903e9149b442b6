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
from netcl.graph.value import record, record_literal, record_many

_numbers = itertools.count()


class _State(threading.local):
    """Per thread: whether operations are recorded for gradients, and the tapes that listen."""

    def __init__(self) -> None:
        self.enabled = True
        self.rules = 0  # gradient rules being evaluated: their Python numbers are constants
        self.tapes: list[Tape] = []


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

    __slots__ = ("arg", "edges", "hooks", "number", "op", "outputs", "released", "result", "rule", "saved", "stale")

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
) -> dict[int, Any]:
    """Send gradients from roots (tensor, gradient) back. Without `inputs` they are added to the leaves' `.grad`;
    with them the gradients of just those tensors are returned, by id."""
    wanted = None if inputs is None else {_place(t): id(t) for t in inputs}
    found: dict[int, Any] = {}
    pending: dict[Node, list[Any]] = {}
    heap: list[tuple[int, Node]] = []
    leaves: dict[int, tuple[Any, Any]] = {}  # by id: the leaf and what has arrived for it

    def send(edge: tuple | None, gradient: Any) -> None:
        if edge is None or gradient is None:
            return
        target, output = edge
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
            for output, hooks in node.hooks.items() if node.hooks else ():
                gradients[output] = _through_hooks(hooks, gradients[output])
            if wanted is not None:
                for output, gradient in enumerate(gradients):
                    target_id = wanted.get((id(node), output))
                    if target_id is not None and gradient is not None:
                        found[target_id] = gradient
            for edge, gradient in zip(node.edges, _node_gradients(node, gradients, create_graph), strict=False):
                send(edge, gradient)
            if not retain_graph:
                node.saved, node.result, node.released = [], None, True
        for leaf, gradient in leaves.values():
            _arrive_at_leaf(leaf, gradient, wanted, found)
    return found


def _place(tensor: Any) -> tuple[int, int]:
    return (id(tensor._node), tensor._output) if tensor._node is not None else (id(tensor), -1)


def _arrive_at_leaf(leaf: Any, gradient: Any, wanted: dict | None, found: dict[int, Any]) -> None:
    """The whole gradient of a leaf: past its hooks, to the caller or into `.grad`."""
    if leaf._hooks:
        gradient = _through_hooks(leaf._hooks, gradient)
    if wanted is not None:
        key = wanted.get((id(leaf), -1))
        if key is not None:
            found[key] = gradient
    elif leaf.grad is None:
        leaf.grad = _alias(gradient)  # a tensor of its own: two leaves may have been sent the same one
    else:
        leaf.grad = _accumulated(leaf.grad, gradient)


def _accumulated(before: Any, gradient: Any) -> Any:
    """Into the tensor that is there, as whoever holds it expects; into another one where a graph is made of it."""
    total = before + gradient
    if _state.enabled or total.dtype is not before.dtype:
        return total
    before._assign(total._value)
    return before


def _through_hooks(hooks: dict, gradient: Any) -> Any:
    for hook in list(hooks.values()) if gradient is not None else ():
        replaced = hook(gradient)
        gradient = gradient if replaced is None else replaced
    return gradient


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
    kind = TABLE[node.op].kind
    recorded = not create_graph and (kind == "composite" or (kind == "elementwise" and len(node.saved) == 1))
    operands: list[Any] = []
    wanted = [edge is not None for edge in node.edges]
    for number, (tensor, value, version) in enumerate(node.saved):
        if type(tensor) is tuple:
            operands.append(Meta(tensor, value, version))
            continue
        if tensor._version != version and is_needed(node.rule, len(wanted), wanted, number):
            raise RuntimeError(
                f"{node.op}: one of the tensors needed for its gradient, of shape {list(value.shape)}, was "
                f"changed in place after the operation (version {tensor._version}, expected {version}); "
                "clone it before changing it"
            )
        operands.append(value if recorded else tensor if create_graph else Tensor._wrap(value))
    if node.stale:
        _check_results(node)
    results = [Meta(*r) if type(r) is tuple else r for r in node.result]
    full = [_zeros_like(r) if g is None else g for g, r in zip(gradients, results, strict=True)]
    if recorded:
        return _recorded_rule(node, full, results, operands)
    results = [_result(node, value, number, create_graph) for number, value in enumerate(results)]
    return _call_rule(node.op, node.rule, node.arg, full, results, operands, wanted)


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
    extra = (arg,) if TABLE[op].kind in ("view", "reduce", "library", "composite", "index") else ()
    _state.rules += 1
    try:
        made = rule(g, y, *operands, *extra)
        return [_fit(x, o) if want else None for x, o, want in zip(made, operands, needed, strict=True)]
    finally:
        _state.rules -= 1


def _recorded_rule(node: Node, gradients: list, results: list, operands: list) -> list[Any]:
    """A composite's gradient is one record, expanded when a plan is made: tracing a training step stays cheap.

    Operands that the rule does not read travel as (shape, dtype) in the argument.
    """
    values = [g._value for g in gradients]
    pattern: list[Any] = []
    for item in [*results, *operands]:
        if type(item) is Meta:
            pattern.append((item.shape, item.dtype))
        else:
            values.append(item)
            pattern.append(None)
    needed = tuple([edge is not None for edge in node.edges])
    metas = tuple([(o.shape, o.dtype) for o, want in zip(operands, needed, strict=True) if want])
    made = iter(
        record_many(
            "gradient", values, (node.op, node.rule, node.arg, len(gradients), needed, tuple(pattern), metas)
        )
    )
    return [Tensor._wrap(next(made)) if want else None for want in needed]


def _gradient_body(*operands_and_arg: Any) -> tuple:
    *operands, (op, rule, arg, outputs, needed, pattern, _) = operands_and_arg
    gradients = [Tensor._wrap(v) for v in operands[:outputs]]
    rest = iter(operands[outputs:])
    items: list[Any] = [Tensor._wrap(next(rest)) if meta is None else Meta(meta[0], meta[1], None) for meta in pattern]
    with _GradMode(False):
        made = _call_rule(op, rule, arg, gradients, items[:outputs], items[outputs:], needed)
    return tuple(gradient._value for gradient, want in zip(made, needed, strict=True) if want)


composite("gradient", lambda operands, arg: arg[-1], _gradient_body)


def _result(node: Node, value: Any, number: int, create_graph: bool) -> Any:
    if isinstance(value, Meta):
        return value
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


def grad(
    outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple:  # fmt: skip
    """The gradients of `outputs` (a tensor or a sequence) in `inputs`, without touching `.grad` (torch.autograd.grad).

    Raises RuntimeError for an input that outputs do not depend on, unless `allow_unused`.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    given = (
        [grad_outputs] * len(outputs)
        if grad_outputs is None or isinstance(grad_outputs, Tensor)
        else list(grad_outputs)
    )
    roots = [(t, start_gradient(t, g)) for t, g in zip(outputs, given, strict=True)]
    for t in inputs:
        if not t.requires_grad:
            raise RuntimeError(
                "grad: one of the inputs does not require a gradient; set requires_grad=True on it before use"
            )
    keep = create_graph if retain_graph is None else retain_graph
    found = backward(roots, keep, create_graph, inputs)
    result = tuple(found.get(id(t)) for t in inputs)
    if not allow_unused and any(g is None for g in result):
        raise RuntimeError(
            "grad: one of the inputs was not used to compute the outputs; pass allow_unused=True for None"
        )
    return result


def start_gradient(tensor: Any, gradient: Any) -> Any:
    """The gradient to start from at an output: given, or 1 for a scalar."""
    if not tensor.requires_grad:
        raise RuntimeError(
            "backward: the tensor does not require a gradient and has no graph; "
            "was it computed under no_grad, or from tensors without requires_grad=True?"
        )
    if gradient is None:
        if tensor.numel() != 1:
            raise RuntimeError(
                f"backward: a gradient can be made up only for scalars, this tensor has shape {list(tensor.shape)}; "
                "pass gradient=, or reduce it with .sum() or .mean()"
            )
        one = Tensor._wrap(record_literal(1.0, tensor.dtype, tensor.device))
        return one.reshape(tensor.shape) if tensor.shape else one
    if not isinstance(gradient, Tensor):
        raise TypeError(
            f"backward: gradient must be a Tensor or None, got {type(gradient).__name__}; wrap it in nc.tensor(...)"
        )
    if gradient._value.device is not tensor._value.device:
        raise RuntimeError(
            f"backward: gradient is on {gradient.device}, the tensor on {tensor.device}; move it with .to(device)"
        )
    if gradient.shape != tensor.shape:
        raise RuntimeError(
            f"backward: gradient has shape {list(gradient.shape)}, the tensor {list(tensor.shape)}; they must match"
        )
    return gradient if gradient.dtype is tensor.dtype else gradient.to(tensor.dtype)


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


from netcl.tensor import Tensor  # noqa: E402  (the two know each other)

__all__ = [
    "Node",
    "Primitive",
    "Tape",
    "TapeNode",
    "apply",
    "apply_composite",
    "backward",
    "enable_grad",
    "grad",
    "no_grad",
]
