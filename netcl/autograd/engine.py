"""The way back: gradients from results to what they were computed from.

Nodes are numbered as they are made, so no order has to be searched: the highest number that waits is always ready.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from netcl.autograd.hooks import through_hooks, through_result_hooks, watched_gradients
from netcl.autograd.rules import Meta, is_needed
from netcl.autograd.tape import Node, _alias, _GradMode, _state, _WithoutAutocast
from netcl.graph.primitives import TABLE, composite
from netcl.graph.value import Value, record, record_many
from netcl.tensor import Tensor


def backward(
    roots: Sequence[tuple[Any, Any]], retain_graph: bool, create_graph: bool, inputs: Sequence[Any] | None = None,
    since: int = 0,
) -> dict[tuple[int, int], Any]:  # fmt: skip
    """Send gradients from roots (tensor, gradient) back. Without `inputs` they are added to the leaves' `.grad`;
    with them the gradients of just those tensors are returned, by place, and only what leads there is run, back to
    node `since` and no further."""
    wanted = None if inputs is None else {place_of(t) for t in inputs}
    needed = set() if wanted is None else _leading_to(wanted, [tensor._node for tensor, _ in roots], since)
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

    with _GradMode(create_graph), _WithoutAutocast():
        for tensor, gradient in roots:
            send((tensor._node, tensor._output) if tensor._node is not None else (tensor, -1), gradient)
        while heap:
            node = heapq.heappop(heap)[1]
            gradients = pending.pop(node)
            if (node.hooks or node.retained) and node.number >= since:
                through_result_hooks(node, gradients)
            if wanted is not None:
                for output, gradient in enumerate(gradients):
                    if gradient is not None and (id(node), output) in wanted:
                        found[id(node), output] = gradient
                if node not in needed or node.number < since:
                    continue
            if node.node_hooks or _state.anomaly:
                made = watched_gradients(node, gradients, create_graph)
            else:
                made = node.gradients(gradients, create_graph)
            for edge, gradient in zip(node.edges, made, strict=True):
                send(edge, gradient)
            if not retain_graph:
                node.release()
        for leaf, gradient in leaves.values():
            gradient = through_hooks(leaf._hooks, gradient) if leaf._hooks and not since else gradient
            if wanted is not None:
                found[id(leaf), -1] = gradient
            else:
                accumulate(leaf, gradient)
    return found


def place_of(tensor: Any) -> tuple[int, int]:
    return (id(tensor._node), tensor._output) if tensor._node is not None else (id(tensor), -1)


def _leading_to(wanted: set[tuple[int, int]], starts: Iterable[Node | None], since: int) -> set[Any]:
    """The nodes below `starts` whose gradients have to be computed to reach one of the wanted places."""
    reached = {node for node in starts if node is not None}
    waiting = list(reached)
    while waiting:
        for edge in waiting.pop().edges:
            if edge is not None and edge[1] >= 0 and edge[0] not in reached and edge[0].number >= since:
                reached.add(edge[0])
                waiting.append(edge[0])
    needed: set[Any] = set()
    for node in sorted(reached, key=lambda node: node.number):  # operands before results
        if any(e is not None and (e[0] in needed or (id(e[0]), e[1]) in wanted) for e in node.edges):
            needed.add(node)
    return needed


def accumulate(tensor: Any, gradient: Any) -> None:
    """Add a whole gradient to a tensor's `.grad`, in place unless the sum itself is to be differentiated."""
    if tensor._grad is None:
        tensor._grad = _alias(gradient)  # a tensor of its own: two leaves may have been sent the same one
    elif _state.enabled:
        tensor._grad = tensor._grad + gradient
    else:
        total = tensor._grad + gradient
        if total.dtype is tensor._grad.dtype:
            tensor._grad._assign(total._value)
        else:
            tensor._grad = total
    if tensor._accumulate_hooks:
        for hook in list(tensor._accumulate_hooks.values()):
            hook(tensor)


def node_gradients(node: Node, gradients: list[Any], create_graph: bool) -> Iterable[Any]:
    node.check_kept()
    if node.stale and node.packing is None:
        _check_results(node)
    saved, kept = (node.saved, node.result) if node.packing is None else node.packing.unpack(node)
    kind = TABLE[node.op].kind
    if not create_graph and (kind == "composite" or (kind == "elementwise" and len(node.edges) == 1)):
        return _recorded_rule(node, gradients, saved, kept)
    for number, gradient in enumerate(gradients):
        if gradient is None:
            gradients[number] = zeros_like(Meta(*_meta(kept[number])))
    operands: list[Any] = []
    for number, (tensor, value, version) in enumerate(saved):
        if isinstance(tensor, tuple):
            operands.append(Meta(tensor, value, version))
            continue
        if tensor._version != version:
            _check_operand(node, number, saved)
        operands.append(_as_it_was(tensor, value, node.edges[number]) if create_graph else Tensor._wrap(value))
    results = [
        Meta(*value) if isinstance(value, tuple) else _result(node, value, number, create_graph)
        for number, value in enumerate(kept)
    ]
    wanted = [edge is not None for edge in node.edges]
    return _call_rule(node.op, node.rule, node.arg, gradients, results, operands, wanted)


def _as_it_was(tensor: Tensor, value: Value, edge: Any) -> Tensor:
    """An operand; where its shape was changed in place, another tensor of what it was, at its place in the graph."""
    if tensor._value is value or (edge is not None and edge[1] < 0):
        return tensor
    before = Tensor._wrap(value)
    if edge is not None:
        before._tracked = True
        before._node, before._output = edge
    return before


def _meta(saved: Any) -> tuple:
    return saved if isinstance(saved, tuple) else (saved.shape, saved.dtype, saved.device)


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
        changed = node.stale >> number & 1 and not isinstance(result, tuple)
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
        for number, (x, want) in enumerate(zip(made, needed, strict=True)):
            if want and x is None:
                raise NotImplementedError(
                    f"{op}: not differentiable in operand {number + 1} of {len(operands)}, of shape "
                    f"{list(operands[number].shape)}, which requires a gradient: its gradient rule returns None there; "
                    "detach() it where no gradient is wanted"
                )
        return [fitted(x, o) if want else None for x, o, want in zip(made, operands, needed, strict=True)]
    finally:
        _state.rules -= 1


def _recorded_rule(node: Node, gradients: list, saved: list, kept: list) -> list[Any]:
    """A composite's gradient is one record, expanded when a plan is made: tracing a training step stays cheap.

    What the rule does not read travels as (shape, dtype) in the argument, and so does what never arrived: zeros.
    """
    values = [g._value for g in gradients if g is not None]
    missing = tuple([None if g is not None else _meta(v)[:2] for g, v in zip(gradients, kept, strict=True)])
    pattern: list[Any] = []
    for value in kept:
        if isinstance(value, tuple):
            pattern.append(value[:2])
        else:
            values.append(value)
            pattern.append(None)
    needed = []
    metas = []
    for number, ((tensor, value, version), edge) in enumerate(zip(saved, node.edges, strict=True)):
        if isinstance(tensor, tuple):
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
    arg = (node.op, node.rule, node.arg, missing, tuple(needed), tuple(pattern), tuple(metas))
    wrap = Tensor._wrap
    if len(metas) == 1:
        made = wrap(record("gradient", values, arg))
        return [made if want else None for want in needed]
    several = iter(record_many("gradient", values, arg))
    return [wrap(next(several)) if want else None for want in needed]


def _gradient_body(*operands_and_arg: Any) -> Any:
    *operands, (op, rule, arg, missing, needed, pattern, _) = operands_and_arg
    rest, device, outputs = iter(operands), operands[0].device, len(missing)
    gradients = [
        Tensor._wrap(next(rest)) if meta is None else zeros_like(Meta(meta[0], meta[1], device)) for meta in missing
    ]
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


def zeros_like(meta: Any) -> Any:
    from netcl.ops.creation import full

    return full(meta.shape, 0.0, dtype=meta.dtype, device=meta.device)


def fitted(gradient: Any, operand: Any) -> Any:
    """The gradient in the operand's shape and dtype: broadcasting summed away."""
    if gradient is None:
        return None
    if gradient.shape != operand.shape:
        gradient = gradient.sum_to_shape(operand.shape)
    if gradient.dtype is not operand.dtype:
        gradient = gradient.to(operand.dtype)
    return gradient
