"""Function: an operation with a gradient written by the user, as torch.autograd.Function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from netcl.autograd import tape
from netcl.autograd.tape import Node, TapeNode, _GradMode
from netcl.tensor import Tensor


class FunctionCtx(Node):
    """What forward and backward share: saved tensors, options, and any attribute. It is the result's grad_fn too."""

    def __init__(self, function: type[Function], args: Sequence[Any]) -> None:
        edges = [tape.edge_of(arg) if isinstance(arg, Tensor) else None for arg in args]
        super().__init__(function.__name__, function.backward, None, 0, edges, [], [])
        self.function = function
        self.needs_input_grad = tuple([isinstance(arg, Tensor) and arg._tracked for arg in args])
        self.metas = [(a.shape, a.dtype, a.device) if isinstance(a, Tensor) else None for a in args]
        self.to_save: tuple = ()
        self.non_differentiable: tuple = ()
        self.dirty: tuple = ()
        self.materialize = True
        self.finished = False

    # ---- for forward ----

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward, which finds them in saved_tensors. Changing one in place is noticed."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    f"save_for_backward can only save tensors, got {type(tensor).__name__}; set an attribute of ctx"
                )
        self.to_save = tensors

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Results that get no gradient, and whose gradient is zeros (or None) in backward."""
        self.non_differentiable = args

    def mark_dirty(self, *args: Tensor) -> None:
        """Arguments that forward wrote to. It has to return them; they become results."""
        self.dirty = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for results that no gradient arrived at."""
        self.materialize = bool(value)

    def save_for_forward(self, *tensors: Any) -> None:
        """Not here: there is no forward-mode differentiation."""
        raise NotImplementedError("save_for_forward: there is no forward mode; autograd.functional.jvp works without")

    # ---- for backward ----

    @property
    def saved_tensors(self) -> tuple:
        """What was saved. RuntimeError once it is freed, or where one was changed in place since."""
        if not self.finished:
            return self.to_save
        if self.released:
            raise _second_time(self)
        saved = self.saved if self.packing is None else self.packing.unpack(self)[0]
        return tuple([self._restored(*entry) for entry in saved])

    def _restored(self, tensor: Any, value: Any, version: Any) -> Any:
        if tensor is None:
            return None
        if type(tensor) is int:  # a result of this very function: its graph starts here
            result = Tensor._wrap(value)
            if version:
                result._tracked, result._node, result._output = True, self, tensor
            return result
        if tensor._version != version:
            raise RuntimeError(
                f"{self.op}: a tensor saved for backward, of shape {list(value.shape)}, was changed in place since "
                f"(version {tensor._version}, expected {version}); clone it before changing it"
            )
        return tensor

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.op}: ctx has no attribute {name!r}; set it in forward or setup_context")

    # ---- as a node ----

    def name(self) -> str:
        return f"{self.op}Backward"

    def finish(self, results: Sequence[Any], given: set[int]) -> None:
        """After forward: results that are saved are kept by number and value, not as the tensors that hold this."""
        numbers = {id(r): n for n, r in enumerate(results) if isinstance(r, Tensor) and id(r) not in given}
        skipped = {id(t) for t in self.non_differentiable}
        saved: list[Any] = []
        for tensor in self.to_save:
            if tensor is None:
                saved.append((None, None, None))
            elif id(tensor) in numbers:
                differentiable = id(tensor) not in skipped and tensor.is_floating_point()
                saved.append((numbers[id(tensor)], tensor._value, differentiable))
            else:
                saved.append((tensor, tensor._value, tensor._version))
        self.saved = saved
        self.result = [(r.shape, r.dtype, r.device) if isinstance(r, Tensor) else None for r in results]
        self.outputs = len(results)
        self.to_save, self.finished = (), True
        if tape._state.packing:
            tape._state.packing[-1].pack(self)

    def gradients(self, gradients: list[Any], create_graph: bool) -> Iterable[Any]:
        """What the user's backward returns, checked, in the inputs' shapes and dtypes."""
        if self.released:
            raise _second_time(self)
        if self.materialize:
            metas = [None if m is None else tape.Meta(*m) for m in self.result]
            gradients = [
                tape._zeros_like(m) if g is None and m is not None else g for g, m in zip(gradients, metas, strict=True)
            ]
        made = self.function._backward()(self, *gradients)
        made = made if isinstance(made, tuple) else tuple(made) if isinstance(made, list) else (made,)
        count = len(self.metas)
        if len(made) < count or any(g is not None for g in made[count:]):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {count}, got {len(made)})"
            )
        return [self._fitted(n, g) for n, g in enumerate(made[:count])]

    def _fitted(self, number: int, gradient: Any) -> Any:
        if gradient is None:
            return None
        meta = self.metas[number]
        if meta is None:
            raise RuntimeError(
                f"function {self.name()} returned a gradient different from None at position {number + 1}, but the "
                "corresponding forward input was not a Tensor"
            )
        if not isinstance(gradient, Tensor):
            raise TypeError(
                f"function {self.name()} returned a {type(gradient).__name__} at position {number + 1}; "
                "gradients are tensors or None"
            )
        shape, _, device = meta
        if gradient.device is not device:
            raise RuntimeError(
                f"function {self.name()} returned a gradient on {gradient.device} at index {number}, its input is on "
                f"{device}; move it with .to(device)"
            )
        if not _expandable(shape, gradient.shape):
            raise RuntimeError(
                f"Function {self.name()} returned an invalid gradient at index {number} - got {list(gradient.shape)} "
                f"but expected shape compatible with {list(shape)}"
            )
        return tape._fit(gradient, tape.Meta(*meta))

    def release(self) -> None:
        super().release()
        self.result = [None] * self.outputs


def _second_time(ctx: FunctionCtx) -> RuntimeError:
    return RuntimeError(
        f"{ctx.op}: trying to go backward through the graph a second time, but what it saved was freed; "
        "call backward(retain_graph=True) the first time"
    )


def _expandable(shape: Sequence[int], wider: Sequence[int]) -> bool:
    lead = len(wider) - len(shape)
    return lead >= 0 and all(size in (1, wide) for size, wide in zip(shape, wider[lead:], strict=True))


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
        ctx = FunctionCtx(cls, args)
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
        _check_dirty(ctx, args, results)
        given = {id(arg) for arg in args if isinstance(arg, Tensor)} - {id(t) for t in ctx.dirty}
        ctx.finish(results, given)
        made = tuple([_connected(ctx, number, result, given) for number, result in enumerate(results)])
        for listener in tape._state.tapes:
            listener._nodes.append(TapeNode(ctx.op, tuple([arg for arg in args if isinstance(arg, Tensor)])))
        return made[0] if single else made


def _connected(ctx: FunctionCtx, number: int, result: Any, given: set[int]) -> Any:
    """A result with its place in the graph; an argument or a leaf that is passed on becomes a tensor of its own."""
    if not isinstance(result, Tensor):
        return result
    skipped = any(result is t for t in ctx.non_differentiable)
    written = any(result is t for t in ctx.dirty)
    if id(result) in given or (result._tracked and not written):
        result = Tensor._wrap(result._value)
    if not skipped and result.is_floating_point():
        result._tracked, result._node, result._output = True, ctx, number
    return result


def _check_dirty(ctx: FunctionCtx, args: Sequence[Any], results: Sequence[Any]) -> None:
    """RuntimeError where a tensor that forward wrote to can't become a result."""
    for tensor in ctx.dirty:
        if not any(tensor is arg for arg in args) or not any(tensor is result for result in results):
            raise RuntimeError(f"{ctx.op}: what mark_dirty names must be arguments of forward that it returns")
        if tensor._tracked and tensor._node is None:
            raise RuntimeError(
                f"{ctx.op}: a leaf Variable that requires grad is being used in an in-place operation; write to a clone"
            )
        shared = tensor._storage.others(tensor) if tensor._storage is not None else ()
        if any(other._family == tensor._family for other in shared):
            raise NotImplementedError(
                f"{ctx.op}: mark_dirty of a tensor that shares its elements with a view or is one; write to a clone"
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
