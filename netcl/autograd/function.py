"""Function: an operation with a gradient written by the user, as torch.autograd.Function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from netcl.autograd import tape
from netcl.autograd.batched import cross
from netcl.autograd.context import FunctionCtx, FunctionNode
from netcl.autograd.tape import Node, TapeNode, _GradMode
from netcl.tensor import Tensor


class Function:
    """The base of operations with a gradient of their own: write `forward` and `backward`, call `apply`.

    forward(ctx, *args) computes without recording gradients and saves what backward needs; or forward(*args) without
    ctx, and setup_context(ctx, inputs, output). backward(ctx, *grad_outputs) returns one gradient, or None, for each
    argument; where it is made of tensor operations it can be differentiated again. RuntimeError for another number of
    gradients and for shapes that don't fit.

    >>> import netcl as nc
    >>> class Cube(nc.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return grad * 3 * x * x
    >>> x = nc.tensor([2.0], requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor([12.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"{type(self).__name__}: a Function is not instantiated; call {type(self).__name__}.apply")

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """What the operation computes."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        """What to keep for backward, where forward takes no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments from those of the results."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @classmethod
    def _backward(cls) -> Callable:
        own = cls.backward is not Function.backward
        if own and cls.vjp is not Function.vjp:
            raise RuntimeError(f"{cls.__name__}: implement either backward or vjp, not both: they are the same thing")
        return cls.backward if own else cls.vjp

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward, and record the way back where an argument requires a gradient."""
        ctx = FunctionCtx(args)
        node = FunctionNode(cls, ctx, args)
        split = cls.setup_context is not Function.setup_context
        recorded = tape.is_grad_enabled() and any(ctx.needs_input_grad)
        with _GradMode(False):
            output = cls.forward(*args) if split else cls.forward(ctx, *args)
            if split:
                cls.setup_context(ctx, args, output)
        if not recorded:
            return output
        single = not isinstance(output, tuple)
        results = (output,) if single else output
        _check_dirty(node, args, results)
        given = {id(arg) for arg in args if isinstance(arg, Tensor)} - {id(t) for t in ctx._dirty}
        node.finish(results, given)
        cross(node, results)
        made = tuple([_connected(node, number, result, given) for number, result in enumerate(results)])
        ctx._non_differentiable = ctx._dirty = ()  # they hold the node, which holds ctx
        for listener in tape._state.tapes:
            listener._nodes.append(TapeNode(node.op, tuple([arg for arg in args if isinstance(arg, Tensor)])))
        return made[0] if single else made


def _connected(node: FunctionNode, number: int, result: Any, given: set[int]) -> Any:
    """A result with its place in the graph; an argument or a leaf that is passed on becomes a tensor of its own."""
    if not isinstance(result, Tensor):
        return result
    skipped = any(result is t for t in node.ctx._non_differentiable)
    written = any(result is t for t in node.ctx._dirty)
    if id(result) in given or (result._tracked and not written):
        result = Tensor._wrap(result._value)
    if not skipped and result.is_floating_point():
        result._tracked, result._node, result._output = True, node, number
    return result


def _check_dirty(node: FunctionNode, args: Sequence[Any], results: Sequence[Any]) -> None:
    """RuntimeError where a tensor that forward wrote to can't become a result."""
    for tensor in node.ctx._dirty:
        if not any(tensor is arg for arg in args) or not any(tensor is result for result in results):
            raise RuntimeError(f"{node.op}: what mark_dirty names must be arguments of forward that it returns")
        if tensor._tracked and tensor._node is None:
            raise RuntimeError(
                f"{node.op}: a leaf Variable that requires grad is being used in an in-place operation; "
                "write to a clone"
            )
        shared = tensor._storage.others(tensor) if tensor._storage is not None else ()
        if any(other._family == tensor._family for other in shared):
            raise NotImplementedError(
                f"{node.op}: mark_dirty of a tensor that shares its elements with a view or is one; write to a clone"
            )


# ---- once_differentiable -----------------------------------------------------------------------------------------


class _Once(Node):
    """Stands behind gradients that must not be differentiated again."""

    def gradients(self, gradients: list[Any], create_graph: bool) -> Iterable[Any]:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


def _at(node: Node, number: int, tensor: Any) -> Any:
    if not isinstance(tensor, Tensor):
        return tensor
    result = Tensor._wrap(tensor._value)
    result._tracked, result._node, result._output = True, node, number
    return result


def once_differentiable(function: Callable) -> Callable:
    """For a backward that is not made of differentiable operations: its gradients can't be differentiated again."""

    @functools.wraps(function)
    def called(ctx: Any, *gradients: Any) -> Any:
        with _GradMode(False):
            made = function(ctx, *gradients)
        sources = [g for g in gradients if isinstance(g, Tensor) and g._tracked]
        if not tape.is_grad_enabled() or not (sources or any(ctx.needs_input_grad)):
            return made
        results = made if isinstance(made, tuple) else (made,)
        node = _Once("once_differentiable", called, None, len(results), [tape.edge_of(g) for g in sources], [], [])
        results = tuple([_at(node, n, r) for n, r in enumerate(results)])
        return results if isinstance(made, tuple) else results[0]

    return called


__all__ = ["Function", "FunctionCtx", "once_differentiable"]
