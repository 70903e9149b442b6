"""What a loader gives, as what a model takes and what it should answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np

from netcl.tensor import Tensor

TARGETS = ("target", "targets", "label", "labels", "y")  # the entry of a dict that is the target


def unpack(batch: Any) -> tuple[Any, Any]:
    """(inputs, target): of (a, .., target) all but the last, of a dict the entries other than the target's."""
    if isinstance(batch, Mapping):
        names = [name for name in TARGETS if name in batch]
        if len(names) == 1:
            return {name: value for name, value in batch.items() if name != names[0]}, batch[names[0]]
        raise ValueError(
            f"a batch is a dict with the entries {list(batch)}; one of them, and only one, must be named "
            f"{', '.join(TARGETS)}, or give the Trainer unpack=function(batch) -> (inputs, target)"
        )
    if isinstance(batch, (tuple, list)) and len(batch) >= 2:
        return tuple(batch[:-1]), batch[-1]
    raise TypeError(
        f"a batch must be (inputs, .., target) or a dict, not {type(batch).__name__}"
        f"{f' of {len(batch)}' if isinstance(batch, (tuple, list)) else ''}; "
        "else give the Trainer unpack=function(batch) -> (inputs, target)"
    )


def inputs_alone(batch: Any, unpacked: Callable[[Any], tuple[Any, Any]]) -> Any:
    """The inputs of a batch that may have no target: a tensor, a tuple of one, or what `unpacked` takes."""
    if isinstance(batch, (Tensor, np.ndarray)):
        return batch
    if isinstance(batch, (tuple, list)) and len(batch) == 1:
        return batch[0]
    if unpacked is unpack and isinstance(batch, Mapping) and not any(name in batch for name in TARGETS):
        return batch
    return unpacked(batch)[0]


def call(model: Callable, inputs: Any) -> Any:
    """The model's answer: a tuple is its arguments, a dict its keywords, anything else its one argument."""
    if isinstance(inputs, tuple):
        return model(*inputs)
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(inputs)


def on_device(value: Any, device: Any) -> Any:
    """Nested containers with their tensors and numeric arrays on a device."""
    if isinstance(value, Tensor):
        return value if value.device is device else value.to(device)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return Tensor.from_host(value, device=device)
    return mapped(lambda item: on_device(item, device), value)


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """The same container with a function's result for each of its items; what is no container as it is."""
    if isinstance(value, Mapping):
        return {name: function(item) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(function, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(function, value))
    return value


def size_of(*values: Any) -> int:
    """How many samples there are: the length of the first tensor."""
    found = _lengths(values)
    size = next(found, None)
    if size is None:
        raise TypeError("a batch has no tensor with a first dimension; the Trainer cannot tell how many samples it has")
    return size


def _lengths(value: Any) -> Iterator[int]:
    if isinstance(value, Tensor):
        if value.ndim:
            yield len(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _lengths(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _lengths(item)


@contextmanager
def closed_after(iterator: Any) -> Iterator[None]:
    """End what stands behind an iterator that may be left early: a thread, a generator."""
    try:
        yield
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


def groups(batches: Iterable[Any], count: int) -> Iterator[list[Any]]:
    """Lists of `count` batches; the last may be shorter."""
    iterator = iter(batches)
    while group := list(islice(iterator, count)):
        yield group
