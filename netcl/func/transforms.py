"""grad, vjp, jvp: derivatives of functions, as functions.

The function is called with tensors of its own in the gradient graph, so nothing arrives in anybody's `.grad`. A
derivative can be differentiated again where something outside asks for it: an outer transform, or a tensor that
requires a gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from netcl.autograd import engine, tape
from netcl.autograd.batched import cross
from netcl.autograd.containers import flatten, mapped, unflatten
from netcl.autograd.gradients import grad as gradients_of
from netcl.autograd.tape import Node
from netcl.graph.batching import active, levels_of
from netcl.tensor import Tensor

Argnums = int | tuple[int, ...]


class Start(Node):
    """Where the graph of a transform begins: behind it lies what the argument itself was computed from."""

    def __init__(self, tensor: Tensor) -> None:
        meta = (tensor._value.shape, tensor._value.dtype, tensor._value.device)
        super().__init__("func_argument", _as_it_is, None, 1, [tape.edge_of(tensor)], [], [meta])
        cross(self, (), {one.level: one.size for one in active.maps} | levels_of(tensor._value))
        self.active = False  # while the function runs whose argument it is

    def gradients(self, gradients: list[Any], create_graph: bool) -> Iterable[Any]:
        return gradients


def _as_it_is(g: Any, y: Any) -> tuple:
    return (g,)


def started(tensor: Tensor) -> Tensor:
    """The tensor as the argument of a transform."""
    result = Tensor._wrap(tensor._value)
    result._tracked, result._node = True, Start(tensor)
    return result


def _called(func: Callable, leaves: Sequence[Tensor], args: Sequence[Any], kwargs: dict) -> Any:
    """What the function returns. Derivatives taken inside it see that somebody asks for theirs."""
    starts = [leaf._node for leaf in leaves]
    for start in starts:
        start.active = True
    try:
        return func(*args, **kwargs)
    finally:
        for start in starts:
            start.active = False


def _asked_for(tensors: Iterable[Any], starts: Sequence[Tensor]) -> bool:
    """Whether the graph of some tensors leads to something outside: then derivatives must be differentiable."""
    ends = {start._node for start in starts}
    tracked = [t for t in tensors if isinstance(t, Tensor) and t._tracked]
    if any(t._node is None for t in tracked):
        return True
    waiting = [t._node for t in tracked]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Start) and node.active and node not in ends:
            return True
        for edge in node.edges:
            if edge is None:
                continue
            if edge[1] < 0:
                return True
            if edge[0] not in seen:
                seen.add(edge[0])
                waiting.append(edge[0])
    return False


def outside(tree: Any, keep: bool) -> Any:
    """Results as the caller gets them: without a graph unless somebody outside asks for one."""
    return mapped(lambda x: Tensor._wrap(x._value) if isinstance(x, Tensor) and x._tracked and not keep else x, tree)


# ---- grad --------------------------------------------------------------------------------------------------------


def grad(func: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """The function that gives the gradient of func, which returns a scalar tensor.

    argnums: which argument (a tensor, or containers of them), or which several, for a tuple of gradients. has_aux:
    func returns (scalar, anything), and the result is (gradient, anything). RuntimeError for other results.

    >>> import netcl as nc
    >>> nc.func.grad(nc.func.grad(lambda x: x ** 3))(nc.tensor(2.0))
    tensor(12.)
    """

    @functools.wraps(func, updated=())
    def gradient(*args: Any, **kwargs: Any) -> Any:
        found, value = _grad_and_value(func, argnums, has_aux, args, kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def grad_and_value(func: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """As `grad`, and the value too: (gradient, value), or (gradient, (value, aux))."""

    @functools.wraps(func, updated=())
    def both(*args: Any, **kwargs: Any) -> Any:
        return _grad_and_value(func, argnums, has_aux, args, kwargs)

    return both


def value_and_grad(func: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """As `grad_and_value` in the other order, which is JAX's: (value, gradient), or ((value, aux), gradient)."""

    @functools.wraps(func, updated=())
    def both(*args: Any, **kwargs: Any) -> Any:
        found, value = _grad_and_value(func, argnums, has_aux, args, kwargs)
        return value, found

    return both


def _grad_and_value(func: Callable, argnums: Argnums, has_aux: bool, args: tuple, kwargs: dict) -> tuple[Any, Any]:
    outer = tape.is_grad_enabled()
    with tape.enable_grad():
        chosen = _chosen(args, argnums)
        leaves, structure, called = _with_starts("grad", args, chosen)
        output, aux = _called(func, leaves, called, kwargs), None
        if has_aux:
            output, aux = _pair("grad_and_value(f)(*args)", output)
        if not isinstance(output, Tensor):
            raise RuntimeError(f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(output)}")
        if output.ndim:
            raise RuntimeError(
                "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with "
                f"{output.ndim} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
            )
        again = outer and _asked_for([output, *flatten(aux)[0]], leaves)
        found = backwards([output], leaves, None, again)
    made = unflatten(structure, found)
    given = made if isinstance(argnums, tuple) else made[0]
    value = outside(output, again)
    return given, (value, outside(aux, again)) if has_aux else value


def backwards(outputs: Sequence[Tensor], inputs: Sequence[Tensor], starts: Any, create_graph: bool) -> list[Tensor]:
    """The gradients of outputs in inputs, zeros where there is no way. The graph stays."""
    kept = [number for number, y in enumerate(outputs) if y.requires_grad]
    found: Sequence[Any] = [None] * len(inputs)
    if kept:
        given = None if starts is None else [starts[number] for number in kept]
        found = gradients_of([outputs[number] for number in kept], inputs, given, True, create_graph, allow_unused=True)
    return [engine.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


def _pair(name: str, output: Any) -> tuple[Any, Any]:
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True")
    return output


# ---- arguments ---------------------------------------------------------------------------------------------------


def _chosen(args: tuple, argnums: Argnums) -> tuple[int, ...]:
    """The places of the arguments to differentiate in. RuntimeError as PyTorch raises it."""
    if not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    given = argnums if isinstance(argnums, tuple) else (argnums,)
    if not given:
        raise RuntimeError("argnums must be non-empty")
    places = tuple([_place(argnum, len(args)) for argnum in given])
    if len(set(places)) != len(places):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return places


def _place(argnum: Any, count: int) -> int:
    if not isinstance(argnum, int):
        raise RuntimeError(f"argnum must be int, got: {type(argnum)}")
    if not -count <= argnum < count:
        raise RuntimeError(f"Got argnum={argnum}, but only {count} positional inputs")
    return argnum % count


def _with_starts(name: str, args: tuple, places: tuple[int, ...]) -> tuple[list[Tensor], Any, list[Any]]:
    """(the tensors to differentiate in, how they are nested, all arguments with them in their places)."""
    given, structure = flatten(tuple([args[place] for place in places]))
    leaves = []
    for leaf in given:
        if not isinstance(leaf, Tensor):
            raise ValueError(
                f"{name}: Thing passed to transform API must be Tensor, got {type(leaf)}; choose the arguments to "
                "differentiate in by argnums"
            )
        if not leaf.is_floating_point():
            raise RuntimeError(f"{name}: only floating-point tensors have derivatives, an argument is {leaf.dtype}")
        leaves.append(started(leaf))
    called = list(args)
    for place, argument in zip(places, unflatten(structure, leaves), strict=True):
        called[place] = argument
    return leaves, structure, called


def _tensors(name: str, tree: Any) -> tuple[list[Tensor], Any]:
    """The tensors in a function's results, and how they are nested."""
    leaves, structure = flatten(tree)
    if not leaves:
        raise RuntimeError(f"{name}: Expected f to be a function that has non-empty output (got output = {tree})")
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise RuntimeError(
                f"{name}: expected f(*primals) to return only tensors, got unsupported type {type(leaf)}"
            )
    return leaves, structure


# ---- vjp and jvp -------------------------------------------------------------------------------------------------


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """(func(*primals), a function of cotangents): cotangents, shaped and nested as the results, times the Jacobian.

    The function returns a tuple with one derivative for each of the primals; it can be called again, whatever its
    retain_graph says. has_aux: func returns (results, anything),
    which comes third.

    >>> import netcl as nc
    >>> y, pull = nc.func.vjp(nc.sin, nc.tensor([0.0, 3.0]))
    >>> pull(nc.ones(2))
    (tensor([ 1.0000, -0.9900]),)
    """
    return vjp_in(func, primals, tuple(range(len(primals))), has_aux)


def vjp_in(func: Callable, primals: tuple, places: tuple[int, ...], has_aux: bool) -> tuple:
    """vjp in some of the arguments."""
    outer = tape.is_grad_enabled()
    with tape.enable_grad():
        leaves, structure, called = _with_starts("vjp", primals, places)
        output, aux = _called(func, leaves, called, {}), None
        if has_aux:
            output, aux = _pair("vjp(f, *primals)", output)
        ys, nesting = _tensors("vjp(f, *primals)", output)
        for y in ys:
            if not y.is_floating_point():
                raise RuntimeError(
                    f"vjp(f, ...): All outputs of f must be floating-point Tensors, got Tensor with dtype {y.dtype}"
                )
        again = outer and _asked_for([*ys, *flatten(aux)[0]], leaves)

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        given, own = flatten(cotangents)
        if own != nesting:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function. cotangents: {own}, primal output: {nesting}"
            )
        wanted = again or any(isinstance(t, Tensor) and t._tracked for t in given)
        create = tape.is_grad_enabled() and wanted if create_graph is None else create_graph
        with tape.enable_grad():
            return unflatten(structure, backwards(ys, leaves, given, create))

    results = outside(output, again)
    return (results, pull, outside(aux, again)) if has_aux else (results, pull)


def jvp(func: Callable, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """(func(*primals), the Jacobian times tangents), nested as the results. Primals and tangents are tuples alike.

    Computed from the gradient of a gradient, so what func uses needs second derivatives. strict: RuntimeError where a
    result does not depend on the primals; else its derivative is zeros. has_aux: func returns (results, anything),
    which comes third.

    >>> import netcl as nc
    >>> nc.func.jvp(lambda x: x * x, (nc.tensor(3.0),), (nc.tensor(1.0),))
    (tensor(9.), tensor(6.))
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to call f(*primals)."
        )
    return jvp_in(func, primals, tuple(range(len(primals))), tangents, strict, has_aux)


def jvp_in(
    func: Callable, primals: tuple, places: tuple[int, ...], tangents: Any, strict: bool, has_aux: bool
) -> tuple:
    """jvp in some of the arguments."""
    name = "jvp(f, primals, tangents)"
    outer = tape.is_grad_enabled()
    with tape.enable_grad():
        leaves, structure, called = _with_starts("jvp", primals, places)
        given, own = flatten(tangents)
        if own != structure:
            raise RuntimeError(
                f"{name}: Expected primals and tangents to have the same python structure. For example, if primals is "
                "a tuple of 3 tensors, tangents also must be."
            )
        if not leaves:
            raise RuntimeError(f"{name}: Expected at least one Tensor in primals")
        _check_tangents(name, leaves, given)
        output, aux = _called(func, leaves, called, {}), None
        if has_aux:
            output, aux = _pair(name, output)
        ys, nesting = _tensors(name, output)
        again = outer and (_asked_for([*ys, *flatten(aux)[0]], leaves) or any(t._tracked for t in given))
        made = _pushed(ys, leaves, given, strict, again)
    results = (outside(output, again), unflatten(nesting, made))
    return (*results, outside(aux, again)) if has_aux else results


def _check_tangents(name: str, leaves: list[Tensor], tangents: list[Any]) -> None:
    for leaf, tangent in zip(leaves, tangents, strict=True):
        if not isinstance(tangent, Tensor):
            raise RuntimeError(f"{name}: Expected tangents to be Tensors, got unsupported type {type(tangent)}")
        if tangent.shape != leaf.shape:
            raise RuntimeError(
                f"{name}: a tangent has shape {list(tangent.shape)}, its primal {list(leaf.shape)}; they must match"
            )


def _pushed(ys: list[Tensor], leaves: list[Tensor], tangents: list[Any], strict: bool, again: bool) -> list[Tensor]:
    """Jacobian times tangents: the gradients in w of (w times Jacobian), which is linear in w."""
    if strict and not all(y.requires_grad for y in ys):
        raise RuntimeError(
            "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not "
            "allowed with strict=True."
        )
    weights = [started(engine.zeros_like(y)) for y in ys]
    back = backwards(ys, leaves, weights, True)
    kept = [(b, t) for b, t in zip(back, tangents, strict=True) if b.requires_grad]
    return backwards([b for b, _ in kept], weights, [t for _, t in kept], again)


__all__ = ["grad", "grad_and_value", "jvp", "value_and_grad", "vjp"]
