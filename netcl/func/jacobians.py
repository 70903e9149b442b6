"""jacrev, jacfwd, hessian: whole matrices of derivatives, every row or column of them in one map over a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from netcl.autograd.containers import flatten, unflatten
from netcl.autograd.mapping import vmap
from netcl.func.transforms import Argnums, _chosen, jvp_in, vjp_in
from netcl.ops.creation import full, iota
from netcl.ops.joining import cat
from netcl.tensor import Tensor


def jacrev(
    func: Callable, argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:  # fmt: skip
    """The function that gives the Jacobian of func, by going back from each element of its results: best where they
    have fewer elements than the arguments.

    Of shape result.shape + argument.shape, nested as the results and within them as the arguments that argnums chooses.
    has_aux: func returns (results, anything), and the function (Jacobian, anything). chunk_size: this many rows at a
    time, for less memory.

    >>> import netcl as nc
    >>> nc.func.jacrev(lambda x: x * x)(nc.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func, updated=())
    def jacobian(*args: Any) -> Any:
        output, pull, *aux = vjp_in(func, args, _chosen(args, argnums), has_aux)
        ys, nesting = flatten(output)
        found = vmap(pull, chunk_size=chunk_size)(unflatten(nesting, _basis(ys)))
        columns, structure = flatten(found)
        blocks = [column.split([y.numel() for y in ys]) for column in columns]
        rows = []
        for number, y in enumerate(ys):
            own = [block[number].reshape(*y.shape, *block[number].shape[1:]) for block in blocks]
            nested = unflatten(structure, own)
            rows.append(nested if isinstance(argnums, tuple) else nested[0])
        made = _nested(nesting, rows)
        return (made, aux[0]) if has_aux else made

    return jacobian


def jacfwd(
    func: Callable, argnums: Argnums = 0, has_aux: bool = False, *, randomness: str = "error",
    chunk_size: int | None = None,
) -> Callable:  # fmt: skip
    """As `jacrev`, with one derivative forward for each element of the arguments: best where these have few.

    A derivative forward is the gradient of a gradient here, so func needs second derivatives.
    """
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError("jacfwd: `chunk_size` should be greater than 0.")

    @functools.wraps(func, updated=())
    def jacobian(*args: Any) -> Any:
        places = _chosen(args, argnums)
        xs, structure = flatten(tuple([args[place] for place in places]))

        def push(*tangents: Any) -> Any:
            _, made, *aux = jvp_in(func, args, places, tangents, False, has_aux)
            return (made, *aux) if has_aux else (made,)

        out_dims = (0, None) if has_aux else (0,)
        tangents = unflatten(structure, _basis(xs))
        found, *aux = vmap(push, out_dims=out_dims, randomness=randomness, chunk_size=chunk_size)(*tangents)
        results, nesting = flatten(found)
        rows = [_by_argument(result, xs, structure, isinstance(argnums, tuple)) for result in results]
        made = _nested(nesting, rows)
        return (made, aux[0]) if has_aux else made

    return jacobian


def _by_argument(result: Tensor, xs: list[Tensor], structure: Any, several: bool) -> Any:
    """One result's derivatives, (elements of all arguments, *result.shape), as one block for each argument."""
    own = []
    for part, x in zip(result.split([x.numel() for x in xs]), xs, strict=True):
        moved = part.movedim(0, -1)
        own.append(moved.reshape(*moved.shape[:-1], *x.shape))
    nested = unflatten(structure, own)
    return nested if several else nested[0]


def _nested(nesting: Any, rows: list[Any]) -> Any:
    return unflatten(nesting, rows)


def _basis(tensors: list[Tensor]) -> list[Tensor]:
    """For each tensor the directions of all elements of all: ones where a direction is one of its own."""
    sizes = [t.numel() for t in tensors]
    made = []
    for number, tensor in enumerate(tensors):
        count = sizes[number]
        places = iota((count,), 0, tensor.device)
        own = (places.reshape(count, 1) == places).to(tensor.dtype)
        before, after = sum(sizes[:number]), sum(sizes[number + 1 :])
        parts = [full((size, count), 0.0, tensor.dtype, tensor.device) for size in (before, after)]
        whole = cat([parts[0], own, parts[1]], 0) if before or after else own
        made.append(whole.reshape(sum(sizes), *tensor.shape))
    return made


def hessian(func: Callable, argnums: Argnums = 0) -> Callable:
    """The function that gives the second derivatives of func: jacfwd(jacrev(func, argnums), argnums).

    >>> import netcl as nc
    >>> nc.func.hessian(lambda x: (x ** 3).sum())(nc.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


__all__ = ["hessian", "jacfwd", "jacrev"]
