"""vmap: a function of one sample, run for a whole batch at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from netcl.autograd.batched import enter, leave
from netcl.autograd.containers import CONTAINERS, flatten, spread, unflatten
from netcl.graph.batching import Map, active, levels_of, new_level
from netcl.random import default_generator
from netcl.tensor import Tensor


def vmap(
    func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Callable:
    """A function that does for every sample along a dimension what func does for one, without a loop.

    func sees tensors without that dimension. in_dims: which dimension of each argument has the samples, None for an
    argument that all samples share; nested as the arguments are, or one int for all. Arguments by name are shared.
    out_dims: where the samples are in the results. randomness: "error", "different" (numbers of its own for each
    sample) or "same". chunk_size: this many samples at a time, for less memory.

    Inside, no value can be read (RuntimeError), nothing shared can be written to, and operations whose result's shape
    depends on values are NotImplementedError.

    >>> import netcl as nc
    >>> x = nc.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> nc.vmap(nc.dot)(x, x)
    tensor([ 5., 25.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func, updated=())
    def mapped_function(*args: Any, **kwargs: Any) -> Any:
        _check_out_dims(func, out_dims)
        size, dims, leaves, structure = _inputs(func, in_dims, args)
        call = functools.partial(_run, func, dims, structure, out_dims, randomness, kwargs)
        if chunk_size is None or chunk_size >= size:
            return call(leaves, size)
        return _in_chunks(call, leaves, dims, size, chunk_size, out_dims, randomness)

    return mapped_function


def _run(
    func: Callable, dims: list[Any], structure: Any, out_dims: Any, randomness: str, kwargs: dict, leaves: list[Any],
    size: int,
) -> Any:  # fmt: skip
    level = new_level()
    samples = [leaf if dim is None else enter(leaf, level, dim) for leaf, dim in zip(leaves, dims, strict=True)]
    with _running(Map(level, size, randomness)):
        results = func(*unflatten(structure, samples), **kwargs)
    return _outputs(func, results, out_dims, level, size)


@contextmanager
def _running(one: Map) -> Iterator[None]:
    active.maps.append(one)
    try:
        yield
    finally:
        active.maps.remove(one)


def _in_chunks(
    call: Callable, leaves: list[Any], dims: list[Any], size: int, chunk_size: int, out_dims: Any, randomness: str
) -> Any:
    """Chunks of the batch one after the other. Each runs by itself, so that they share a plan and memory."""
    state = default_generator.get_state() if randomness == "same" else None
    parts = []
    for start in range(0, size, chunk_size):
        if state is not None:
            default_generator.set_state(state)
        count = min(chunk_size, size - start)
        own = [leaf if dim is None else leaf.narrow(dim, start, count) for leaf, dim in zip(leaves, dims, strict=True)]
        results = call(own, count)
        found, structure = flatten(results)
        for tensor in found:
            if isinstance(tensor, Tensor) and not tensor._value.level:
                tensor._value.realise()
        parts.append(found)
    places = _result_dims(results, out_dims, structure)
    assert places is not None, "checked for each chunk"
    together = [_joined(pieces, dim) for *pieces, dim in zip(*parts, places, strict=True)]
    return unflatten(structure, together)


def _joined(pieces: list, dim: int | None) -> Any:
    from netcl.ops.joining import cat

    return pieces[0] if dim is None else cat(pieces, dim)


# ---- arguments ---------------------------------------------------------------------------------------------------


def _name(func: Callable) -> str:
    if isinstance(func, functools.partial):
        return f"functools.partial({_name(func.func)}, ...)"
    return getattr(func, "__name__", None) or type(func).__name__


def _inputs(func: Callable, in_dims: Any, args: tuple) -> tuple[int, list[Any], list[Any], Any]:
    """(number of samples, each leaf's dimension of samples or None, the leaves, how they are nested)."""
    where = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>)"
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{where}: expected `in_dims` to be int or a (potentially nested) tuple matching the structure of "
            f"inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(f"vmap({_name(func)})(<inputs>): got no inputs; give what to map over as arguments")
    leaves, structure = flatten(args)
    dims = spread(in_dims, structure)
    if dims is None:
        raise ValueError(
            f"{where}: in_dims is not compatible with the structure of `inputs`: one entry for each of "
            f"{len(args)} arguments, nested as they are"
        )
    dims = [_input_dim(where, leaf, dim) for leaf, dim in zip(leaves, dims, strict=True)]
    sizes = [leaf.shape[dim] for leaf, dim in zip(leaves, dims, strict=True) if dim is not None]
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(size != sizes[0] for size in sizes):
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return sizes[0], dims, leaves, structure


def _input_dim(where: str, leaf: Any, dim: Any) -> int | None:
    if dim is None:
        return None
    if not isinstance(dim, int):
        raise ValueError(
            f"{where}: Got in_dim={dim} for an input but in_dim must be either an integer dimension or None."
        )
    if not isinstance(leaf, Tensor):
        raise ValueError(
            f"{where}: Got in_dim={dim} for an input but the input is of type {type(leaf)}. We cannot vmap over "
            "non-Tensor arguments, please use None as the respective in_dim"
        )
    rank = leaf.ndim
    if not -rank <= dim < rank:
        raise ValueError(
            f"{where}: Got in_dim={dim} for some input, but that input is a Tensor of dimensionality {rank} so "
            f"expected in_dim to satisfy -{rank} <= in_dim < {rank}."
        )
    return dim % rank


# ---- results -----------------------------------------------------------------------------------------------------


def _check_out_dims(func: Callable, out_dims: Any) -> None:
    for dim in flatten(out_dims)[0]:
        if dim is not None and not isinstance(dim, int):
            raise ValueError(
                f"vmap({_name(func)}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python "
                "collection of ints representing where in the outputs the vmapped dimension should appear."
            )


def _result_dims(results: Any, out_dims: Any, structure: Any) -> list[Any] | None:
    if not isinstance(results, CONTAINERS) and isinstance(out_dims, tuple) and len(out_dims) == 1:
        return list(out_dims)
    return spread(out_dims, structure)


def _outputs(func: Callable, results: Any, out_dims: Any, level: int, size: int) -> Any:
    leaves, structure = flatten(results)
    dims = _result_dims(results, out_dims, structure)
    if dims is None:
        raise ValueError(
            f"vmap({_name(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure "
            "of `outputs`: one entry for each result, nested as they are"
        )
    made = [_output(_name(func), leaf, dim, level, size) for leaf, dim in zip(leaves, dims, strict=True)]
    return unflatten(structure, made)


def _output(name: str, result: Any, dim: int | None, level: int, size: int) -> Any:
    if dim is None:
        if isinstance(result, Tensor) and level in levels_of(result._value):
            raise ValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
        return result
    if not isinstance(result, Tensor):
        raise ValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(result)}. Did you mean to set "
            "out_dims= to None for output?"
        )
    whole = leave(result, level, size)
    if not -whole.ndim <= dim < whole.ndim:
        raise IndexError(
            f"vmap({name}, ...): out_dim={dim} is out of range for a result of shape {list(result.shape)}; expected "
            f"-{whole.ndim} to {whole.ndim - 1}"
        )
    return whole.movedim(0, dim) if dim % whole.ndim else whole


__all__ = ["vmap"]
