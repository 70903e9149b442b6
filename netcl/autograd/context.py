"""What a Function's forward and backward share, and its place in the graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import ref

from netcl.autograd import engine, tape
from netcl.autograd.rules import Meta
from netcl.autograd.tape import Node
from netcl.tensor import Tensor


class FunctionCtx:
    """What forward and backward share: saved tensors, options, and any attribute."""

    def __init__(self, args: Sequence[Any]) -> None:
        self.needs_input_grad = tuple([isinstance(arg, Tensor) and arg._tracked for arg in args])
        self._to_save: tuple = ()
        self._non_differentiable: tuple = ()
        self._dirty: tuple = ()
        self._materialize = True
        self._node: Any = None  # weakly: the node holds this

    # ---- for forward ----

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward, which finds them in saved_tensors. Changing one in place is noticed."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    f"save_for_backward can only save tensors, got {type(tensor).__name__}; set an attribute of ctx"
                )
        self._to_save = tensors

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Results that get no gradient, and whose gradient is zeros (or None) in backward."""
        self._non_differentiable = args

    def mark_dirty(self, *args: Tensor) -> None:
        """Arguments that forward wrote to. It has to return them; they become results."""
        self._dirty = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for results that no gradient arrived at."""
        self._materialize = bool(value)

    def save_for_forward(self, *tensors: Any) -> None:
        """Not here: there is no forward-mode differentiation."""
        raise NotImplementedError("save_for_forward: there is no forward mode; autograd.functional.jvp works without")

    # ---- for backward ----

    @property
    def saved_tensors(self) -> tuple:
        """What was saved. RuntimeError once it is freed, or where one was changed in place since."""
        node = None if self._node is None else self._node()
        return self._to_save if node is None else node.saved_tensors


class FunctionNode(Node):
    """One call of a Function. What its ctx has can be read from it too."""

    def __init__(self, function: Any, ctx: FunctionCtx, args: Sequence[Any]) -> None:
        self.ctx = ctx
        self.function = function
        self.metas = [(a.shape, a.dtype, a.device) if isinstance(a, Tensor) else None for a in args]
        edges = [tape.edge_of(arg) if isinstance(arg, Tensor) else None for arg in args]
        super().__init__(function.__name__, function.backward, None, 0, edges, [], [])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "ctx":
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.ctx, name)

    def name(self) -> str:
        return f"{self.op}Backward"

    def finish(self, results: Sequence[Any], given: set[int]) -> None:
        """After forward: results that are saved are kept by number and value, not as the tensors that hold this."""
        numbers = {id(r): n for n, r in enumerate(results) if isinstance(r, Tensor) and id(r) not in given}
        skipped = {id(t) for t in self.ctx._non_differentiable}
        saved: list[Any] = []
        for tensor in self.ctx._to_save:
            if tensor is None:
                saved.append((None, None, None))
            elif id(tensor) in numbers:
                differentiable = id(tensor) not in skipped and tensor.is_floating_point()
                saved.append((numbers[id(tensor)], tensor._value, differentiable))
            else:
                saved.append((tensor, tensor._value, tensor._version))
        self.saved = saved
        self.holds = bool(saved)
        self.result = [(r.shape, r.dtype, r.device) if isinstance(r, Tensor) else None for r in results]
        self.outputs = len(results)
        self.ctx._to_save, self.ctx._node = (), ref(self)
        if tape._state.packing:
            tape._state.packing[-1].pack(self)

    @property
    def saved_tensors(self) -> tuple:
        """What was saved. RuntimeError once it is freed, or where one was changed in place since."""
        self.check_kept()
        saved = self.saved if self.packing is None else self.packing.unpack(self)[0]
        return tuple([self._restored(*entry) for entry in saved])

    def _restored(self, tensor: Any, value: Any, version: Any) -> Any:
        if tensor is None:
            return None
        if type(tensor) is int:  # a result of this very call: its graph starts here
            if self.stale >> tensor & 1:
                raise self._changed(value)
            result = Tensor._wrap(value)
            if version:
                result._tracked, result._node, result._output = True, self, tensor
            return result
        if tensor._version != version:
            raise self._changed(value)
        return tensor

    def _changed(self, value: Any) -> RuntimeError:
        return RuntimeError(
            f"{self.op}: a tensor saved for backward, of shape {list(value.shape)}, was changed in place since; clone "
            "it before changing it"
        )

    def gradients(self, gradients: list[Any], create_graph: bool) -> Iterable[Any]:
        """What the user's backward returns, checked, in the inputs' shapes and dtypes."""
        self.check_kept()
        if self.ctx._materialize:
            metas = [None if m is None else Meta(*m) for m in self.result]
            gradients = [
                engine.zeros_like(m) if g is None and m is not None else g
                for g, m in zip(gradients, metas, strict=True)
            ]
        made = self.function._backward()(self.ctx, *gradients)
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
        return engine.fitted(gradient, Meta(*meta))

    def release(self) -> None:
        super().release()
        if self.holds:
            self.result = [None] * self.outputs


def _expandable(shape: Sequence[int], wider: Sequence[int]) -> bool:
    lead = len(wider) - len(shape)
    return lead >= 0 and all(size in (1, wide) for size, wide in zip(shape, wider[lead:], strict=True))
