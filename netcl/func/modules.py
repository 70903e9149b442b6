"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from netcl.nn.module import Module
from netcl.ops.joining import stack
from netcl.tensor import Tensor

_ABSENT = object()


def functional_call(
    module: Module, parameter_and_buffer_dicts: Any, args: Any = None, kwargs: dict[str, Any] | None = None, *,
    tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """module(*args, **kwargs) with the given tensors in place of its parameters and buffers, which stay as they are.

    parameter_and_buffer_dicts: names, as in named_parameters(), with tensors; or several such dicts. args: a tuple, or
    the only argument. What the module assigns to one of the names is put into the dict. tie_weights: a tensor that the
    module has under several names is replaced under all. strict: RuntimeError for missing and unexpected names.

    >>> import netcl as nc
    >>> layer = nc.nn.Linear(2, 1)
    >>> nc.func.functional_call(layer, {"weight": nc.ones(1, 2), "bias": nc.zeros(1)}, nc.tensor([3.0, 4.0]))
    tensor([7.])
    """
    dicts = _dicts(parameter_and_buffer_dicts)
    given = {name: tensor for one in dicts for name, tensor in one.items()}
    known: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    known.update(module.named_buffers(remove_duplicate=False))
    if strict:
        _check_names(module, given, known)
    used = _tied(given, known) if tie_weights else given
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, used) as now:
        result = module(*arguments, **(kwargs or {}))
        for one in dicts:
            for name in one:
                value = now(name)
                if value is not one[name]:
                    one[name] = value
    return result


def _dicts(given: Any) -> list[dict[str, Tensor]]:
    if isinstance(given, dict):
        return [given]
    if not isinstance(given, Sequence):
        raise ValueError(
            f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(given)}"
        )
    if not all(isinstance(one, dict) for one in given):
        raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
    names = [name for one in given for name in one]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
    return list(given)


def _check_names(module: Module, given: dict[str, Tensor], known: dict[str, Tensor]) -> None:
    parts = []
    for what, names in (("Unexpected", given.keys() - known.keys()), ("Missing", known.keys() - given.keys())):
        if names:
            parts.append(f"{what} key(s): {', '.join(map(repr, sorted(names)))}.")
    if parts:
        raise RuntimeError(f"Error(s) in reparametrizing for {type(module).__name__}:\n\t" + "\n\t".join(parts))


def _tied(given: dict[str, Tensor], known: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is given for one name of a tensor is given for all its names."""
    names_of: dict[int, list[str]] = {}
    for name, tensor in known.items():
        names_of.setdefault(id(tensor), []).append(name)
    used = dict(given)
    for name, tensor in given.items():
        names = names_of.get(id(known.get(name)), []) if name in known else []
        for other in names:
            if given.get(other, tensor) is not tensor:
                raise ValueError(
                    f"functional_call got multiple values for keys {sorted(names)}, which are tied. Consider using "
                    "tie_weights=False"
                )
            used[other] = tensor
    return used


@contextmanager
def _replaced(module: Module, tensors: dict[str, Tensor]) -> Iterator[Any]:
    """The tensors in the module's places, and then what was there again. Yields what finds a place's tensor."""
    places: dict[str, tuple[dict[str, Any], str]] = {}
    for name in tensors:
        path, _, own = name.rpartition(".")
        places[name] = module.get_submodule(path).__dict__, own
    before = {name: values.get(own, _ABSENT) for name, (values, own) in places.items()}
    try:
        for name, tensor in tensors.items():
            values, own = places[name]
            values[own] = tensor
        yield lambda name: places[name][0].get(places[name][1])
    finally:
        for name, (values, own) in places.items():
            if before[name] is _ABSENT:
                values.pop(own, None)
            else:
                values[own] = before[name]


def stack_module_state(models: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(parameters, buffers) of several modules of one class, each stacked along a new first dimension: what vmap takes
    to run them all at once. The stacked parameters are new leaves. RuntimeError where the modules differ.

    >>> import netcl as nc
    >>> params, buffers = nc.func.stack_module_state([nc.nn.Linear(3, 2) for _ in range(5)])
    >>> params["weight"].shape
    netcl.Size([5, 2, 3])
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({model.training for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(model) for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    return (
        _stacked([dict(model.named_parameters()) for model in models]),
        _stacked([dict(model.named_buffers()) for model in models]),
    )


def _stacked(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: _leaf(name, [state[name] for state in states]) for name in states[0]}


def _leaf(name: str, tensors: list[Tensor]) -> Tensor:
    if len({tensor.requires_grad for tensor in tensors}) > 1:
        raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
    made = stack([tensor.detach() for tensor in tensors])
    return made.requires_grad_() if tensors[0].requires_grad else made


__all__ = ["functional_call", "stack_module_state"]
