"""checkpoint: what a part of a network computes is not kept for its gradient, but computed again on the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from netcl.autograd import tape
from netcl.autograd.containers import flatten, unflatten
from netcl.autograd.graph import saved_tensors_hooks
from netcl.autograd.tape import Node
from netcl.graph.value import record, trace_for
from netcl.nn import Sequential
from netcl.random import Draws
from netcl.tensor import Tensor


class CheckpointError(RuntimeError):
    """Run a second time, a function did something else."""


def noop_context_fn() -> tuple[AbstractContextManager, AbstractContextManager]:
    """Two context managers that do nothing: for the first run, and for the second."""
    return nullcontext(), nullcontext()


def checkpoint(
    function: Callable, *args: Any, use_reentrant: bool | None = None, preserve_rng_state: bool = True,
    context_fn: Callable[[], tuple[AbstractContextManager, AbstractContextManager]] = noop_context_fn,
    determinism_check: str = "default", debug: bool = False, early_stop: bool = True, **kwargs: Any,
) -> Any:  # fmt: skip
    """function(*args, **kwargs), of which only the arguments are kept: what its gradient needs is computed again.

    Pass the tensors that the function works on as arguments (parameters may be found in other ways): what it computes
    from others is not computed twice in one plan. preserve_rng_state: dropout and other random numbers are the same in
    the second run. context_fn gives context managers for the two runs. determinism_check: "default" raises
    CheckpointError where the second run saves other tensors than the first, "none" does not look.

    use_reentrant makes no difference (it is PyTorch's way without that gives the gradients here), nor does early_stop:
    what is not needed is not computed in any case. An argument must not be written to before the way back.

    >>> import netcl as nc
    >>> from netcl.utils.checkpoint import checkpoint
    >>> x = nc.tensor([0.5], requires_grad=True)
    >>> checkpoint(lambda x: (x * x).exp(), x).backward()
    >>> x.grad
    tensor([1.2840])
    """
    if debug:
        raise NotImplementedError("checkpoint(debug=True): not here; nc.draw(loss) shows what is computed twice")
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be 'default' or 'none', got {determinism_check!r}")
    if use_reentrant and (kwargs or context_fn is not noop_context_fn):
        raise ValueError(
            "checkpoint: keyword arguments and context_fn are supported with use_reentrant=False (or None) only, as in "
            f"PyTorch; got {', '.join(kwargs) or 'context_fn'}"
        )
    first, second = context_fn()
    if not tape.is_grad_enabled():
        with first:
            return function(*args, **kwargs)
    run = _Run(function, args, kwargs, second, Draws() if preserve_rng_state else None, determinism_check)
    return run.forward(first)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """The functions (or the modules of a Sequential) one after the other, in so many segments, of which all but the
    last are checkpoints.

    >>> import netcl as nc
    >>> model = nc.nn.Sequential(*[nc.nn.Linear(4, 4) for _ in range(6)])
    >>> nc.utils.checkpoint.checkpoint_sequential(model, 3, nc.ones(2, 4)).shape
    netcl.Size([2, 4])
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    parts = list(functions.children()) if isinstance(functions, Sequential) else list(functions)
    length = len(parts) // segments
    start = 0
    for start in range(0, length * (segments - 1), length) if length else ():
        segment = _in_sequence(parts[start : start + length])
        input = checkpoint(segment, input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return _in_sequence(parts[length * (segments - 1) :])(input)


def _in_sequence(functions: Iterable[Callable]) -> Callable[[Any], Any]:
    def call(input: Any) -> Any:
        for function in functions:
            input = function(input)
        return input

    return call


# ---- one call ----------------------------------------------------------------------------------------------------


class _Run:
    """One call of a function, and how to run it again."""

    def __init__(
        self, function: Callable, args: tuple, kwargs: dict, second: AbstractContextManager, draws: Draws | None,
        determinism_check: str,
    ) -> None:  # fmt: skip
        self.function = function
        self.leaves, self.structure = flatten((args, kwargs))
        self.versions = [leaf._version if isinstance(leaf, Tensor) else 0 for leaf in self.leaves]
        self.second = second
        self.draws = draws
        self.check = determinism_check == "default"
        self.autocast = tape._state.autocast
        self.metas: list[tuple] = []  # shape and dtype of what the first run saved
        self.found: dict[int, Tensor] = {}  # what a further run saved and nobody has asked for yet

    def forward(self, context: AbstractContextManager) -> Any:
        """The first run: what it saves is only counted."""

        def pack(tensor: Tensor) -> int:
            self.metas.append((tuple(tensor.shape), tensor.dtype))
            return len(self.metas) - 1

        args, kwargs = unflatten(self.structure, self.leaves)
        with context, self._same_draws(), saved_tensors_hooks(pack, self.unpack):
            return self.function(*args, **kwargs)

    def unpack(self, number: int) -> Tensor:
        """What was saved as a number. It is handed out once, so that nothing stays alive; then all is run again."""
        if number not in self.found:
            self._again()
        return self.found.pop(number)

    def _same_draws(self) -> Any:
        return nullcontext() if self.draws is None else self.draws

    def _again(self) -> None:
        """Run the function once more and keep what it saves."""
        metas: list[tuple] = []
        self.found.clear()

        def pack(tensor: Tensor) -> None:
            self.found[len(metas)] = tensor
            metas.append((tuple(tensor.shape), tensor.dtype))

        args, kwargs = unflatten(self.structure, [self._argument(n) for n in range(len(self.leaves))])
        autocast, tape._state.autocast = tape._state.autocast, self.autocast
        tapes, tape._state.tapes = tape._state.tapes, []
        rules, tape._state.rules = tape._state.rules, 0
        try:
            with tape.enable_grad(), self.second, self._same_draws(), saved_tensors_hooks(pack, _never):
                self.function(*args, **kwargs)
        finally:
            tape._state.autocast, tape._state.tapes, tape._state.rules = autocast, tapes, rules
        if self.check and metas != self.metas:
            self._complain(metas)

    def _argument(self, number: int) -> Any:
        """An argument for a further run: a value that equals no other, so that nothing is taken from the first."""
        leaf = self.leaves[number]
        if not isinstance(leaf, Tensor):
            return leaf
        if leaf._version != self.versions[number]:
            raise RuntimeError(
                f"checkpoint: an argument of shape {list(leaf.shape)} was changed in place before the way back, which "
                "starts from it again; clone it before changing it"
            )
        value = record("again", (leaf._value,), len(trace_for(leaf.device).records))
        result = Tensor._wrap(value)
        if leaf._tracked:
            result._tracked = True
            if leaf._node is not None:
                result._node = Node("again", _unused, None, 1, [], [], [(value.shape, value.dtype, value.device)])
        return result

    def _complain(self, metas: list[tuple]) -> None:
        if len(metas) != len(self.metas):
            raise CheckpointError(
                "checkpoint: A different number of tensors was saved during the original forward and recomputation. "
                f"Number of tensors saved during forward: {len(self.metas)}. Number of tensors saved during "
                f"recomputation: {len(metas)}"
            )
        number = next(n for n, (a, b) in enumerate(zip(metas, self.metas, strict=True)) if a != b)
        raise CheckpointError(
            "checkpoint: Recomputed values for the following tensors have different metadata than during the forward "
            f"pass: tensor at position {number}: {self.metas[number]} then, {metas[number]} now"
        )


def _never(packed: Any) -> Tensor:
    raise RuntimeError("checkpoint: the way back goes through the first run")


def _unused(g: Any, y: Any) -> None:
    """In place of a rule: nothing goes back through a further run."""


__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "noop_context_fn"]
