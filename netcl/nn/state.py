"""Loading a state_dict into a module: everything is compared first, then taken over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from netcl.autograd.tape import no_grad
from netcl.storage import leave
from netcl.tensor import Size, Tensor

if TYPE_CHECKING:
    from netcl.nn.module import Module


EXTRA_STATE = "_extra_state"


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class IncompatibleKeys(_Keys):
    """What load_state_dict found missing in the state and unknown to the module: (missing_keys, unexpected_keys)."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return "_" + super().__repr__()  # PyTorch's class is a private one


def load_into(module: Module, state: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Module.load_state_dict: see there."""
    if not isinstance(state, Mapping):
        raise TypeError(f"expected state_dict to be dict-like, got {type(state).__name__}")
    state = dict(state)
    missing: list[str] = []
    unexpected: list[str] = []
    problems: list[str] = []
    parts = list(module.named_modules(remove_duplicate=False))
    for path, part in parts:
        for hook in tuple(part.__dict__.get("_load_pre_hooks", {}).values()):
            hook(part, state, f"{path}." if path else "", {}, strict, missing, unexpected, problems)
    own = _own(module)
    optional = _filled_in(parts, state)
    extras = _extras(parts)
    missing += [name for name in [*own, *extras] if name not in state and name not in optional]
    unexpected += [name for name in state if name not in own and name not in extras]
    keys = IncompatibleKeys(missing, unexpected)
    for name, tensor in own.items():
        if name in state:
            problem = _mismatch(name, tensor, state[name])
            if problem:
                problems.append(problem)
    if not problems and (not strict or not (missing or unexpected)):
        _take_over(own, extras, state, assign)
    for _, part in parts:
        for hook in tuple(part.__dict__.get("_load_hooks", {}).values()):
            if hook(part, keys) is not None:
                raise RuntimeError("a hook of register_load_state_dict_post_hook must return None; change the lists")
    if strict:
        found = (("Missing", missing), ("Unexpected", unexpected))
        quoted = [(kind, ", ".join([f'"{name}"' for name in names])) for kind, names in found if names]
        problems[:0] = [f"{kind} key(s) in state_dict: {names}. " for kind, names in quoted]
    if problems:
        listed = "\n\t".join(problems)
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{listed}")
    return keys


def _own(module: Module) -> dict[str, Tensor]:
    """The module's parameters and saved buffers by name."""
    found: dict[str, Tensor] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        start = f"{path}." if path else ""
        saved = [name for name, persistent in part._buffer_names.items() if persistent]
        for name in [*part._parameter_names, *saved]:
            if part.__dict__[name] is not None:
                found[start + name] = part.__dict__[name]
    return found


def _extras(parts: list[tuple[str, Any]]) -> dict[str, Any]:
    """The parts that have an extra state, by its name."""
    from netcl.nn.module import Module

    named = [(f"{path}.{EXTRA_STATE}" if path else EXTRA_STATE, part) for path, part in parts]
    return {name: part for name, part in named if type(part).set_extra_state is not Module.set_extra_state}


def _filled_in(parts: list[tuple[str, Any]], state: Mapping[str, Any]) -> set[str]:
    """Names that old files lack and that keep their value then: the batches that a batch norm has seen."""
    named = [f"{path}.num_batches_tracked" if path else "num_batches_tracked" for path, _ in parts]
    return {name for name in named if name not in state}


def _take_over(own: dict[str, Tensor], extras: dict[str, Any], state: Mapping[str, Any], assign: bool) -> None:
    with no_grad():
        for name, tensor in own.items():
            if name not in state:
                continue
            given = _as_tensor(state[name]).detach()
            if assign:
                leave(tensor)  # whoever shared the old elements keeps them
                tensor._assign(given._value)
            else:
                tensor._assign(given.to(device=tensor.device, dtype=tensor.dtype)._value)
    for name, part in extras.items():
        if name in state:
            part.set_extra_state(state[name])


def _mismatch(name: str, own: Tensor, given: Any) -> str | None:
    if not hasattr(given, "shape"):
        return f"While copying the parameter named {name!r}, expected a tensor or array, got {type(given).__name__}."
    if tuple(given.shape) != tuple(own.shape):
        return (
            f"size mismatch for {name}: copying a param with shape {Size(given.shape)} from checkpoint, "
            f"the shape in current model is {own.shape}."
        )
    return None


def _as_tensor(given: Any) -> Tensor:
    return given if isinstance(given, Tensor) else Tensor.from_host(given)
