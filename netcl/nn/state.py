"""Loading a state_dict into a module: everything is compared first, then taken over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from netcl.autograd.tape import no_grad
from netcl.tensor import Tensor

if TYPE_CHECKING:
    from netcl.nn.module import Module


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class IncompatibleKeys(_Keys):
    """What load_state_dict found missing in the state and unknown to the module: (missing_keys, unexpected_keys)."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()


def load_into(module: Module, state: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Module.load_state_dict: see there."""
    if not isinstance(state, Mapping):
        raise TypeError(f"expected state_dict to be dict-like, got {type(state).__name__}")
    own = module.state_dict(keep_vars=True)
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    problems = []
    if strict and unexpected:
        problems.append("Unexpected key(s) in state_dict: " + ", ".join(f'"{name}"' for name in unexpected) + ".")
    if strict and missing:
        problems.append("Missing key(s) in state_dict: " + ", ".join(f'"{name}"' for name in missing) + ".")
    for name, tensor in own.items():
        if name in state:
            problem = _mismatch(name, tensor, state[name])
            if problem:
                problems.append(problem)
    if problems:
        listed = "\n\t".join(problems)
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{listed}")
    with no_grad():
        for name, tensor in own.items():
            if name in state:
                given = _as_tensor(state[name]).detach()
                tensor._assign((given if assign else given.to(device=tensor.device, dtype=tensor.dtype))._value)
    return IncompatibleKeys(missing, unexpected)


def _mismatch(name: str, own: Tensor, given: Any) -> str | None:
    if not hasattr(given, "shape"):
        return f"While copying the parameter named {name!r}, expected a tensor or array, got {type(given).__name__}."
    if tuple(given.shape) != tuple(own.shape):
        return (
            f"size mismatch for {name}: the state_dict has shape {list(given.shape)}, "
            f"the shape in the current model is {list(own.shape)}."
        )
    return None


def _as_tensor(given: Any) -> Tensor:
    return given if isinstance(given, Tensor) else Tensor(given)
