"""Derivatives of functions: jacobian, hessian, vjp, jvp, hvp, vhp, as torch.autograd.functional.

Inputs are a tensor or a tuple, and so are results. What is not asked to be differentiated again (`create_graph`)
comes without a graph. `strict`: RuntimeError where a result does not depend on an input; else its derivative is zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from netcl.autograd import engine
from netcl.autograd.gradients import grad
from netcl.autograd.mapping import vmap
from netcl.autograd.rules import Meta
from netcl.autograd.tape import enable_grad
from netcl.ops.creation import iota
from netcl.ops.joining import stack
from netcl.tensor import Tensor


def jacobian(
    func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The derivative of every element of func's results in every element of its inputs, one way back for each.

    vectorize: all ways back at once, by vmap, which takes more memory and fewer launches.
    Of shape output.shape + input.shape; a tuple over inputs, within a tuple over outputs, where there are several.

    >>> import netcl as nc
    >>> nc.autograd.functional.jacobian(lambda x: x * x, nc.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy != "reverse-mode":
        raise NotImplementedError("jacobian: only strategy='reverse-mode' is here; nc.func.jacfwd goes forward")
    if vectorize and strict:
        raise RuntimeError("jacobian: strict=True and vectorize=True are not supported together")
    with enable_grad():
        xs, single_input = _prepared("jacobian", inputs, create_graph)
        ys, single_output = _results("jacobian", func(*xs))
        _check_reach("jacobian", ys, xs, strict)
        blocks = [_mapped_block(y, xs, create_graph) if vectorize else _block(y, xs, create_graph, strict) for y in ys]
    rows = tuple([_given(block, single_input, create_graph) for block in blocks])
    return rows[0] if single_output else rows


def _block(y: Tensor, xs: list[Tensor], create_graph: bool, strict: bool) -> list[Tensor]:
    """One output's derivatives, for each input. A row is run as soon as it is recorded: all rows share one plan."""
    columns: list[list[Tensor]] = [[] for _ in xs]
    places = iota((max(y.numel(), 1),), 0, y.device)
    for place in range(y.numel()):
        start = (places == place).to(y.dtype).reshape(y.shape)
        found = _gradients((y,), xs, (start,), create_graph)
        for column, x, g in zip(columns, xs, found, strict=True):
            column.append(_or_zeros("jacobian", g, x, strict and create_graph, create_graph))
            if not create_graph:
                column[-1]._value.realise()
    return [
        stack(column).reshape(*y.shape, *x.shape) if column else _empty(y, x)
        for column, x in zip(columns, xs, strict=True)
    ]


def _mapped_block(y: Tensor, xs: list[Tensor], create_graph: bool) -> list[Tensor]:
    """As `_block`, all rows in one map."""
    count = y.numel()
    if not count:
        return [_empty(y, x) for x in xs]
    places = iota((count,), 0, y.device)
    starts = (places.reshape(count, 1) == places).to(y.dtype).reshape(count, *y.shape)

    def row(start: Tensor) -> tuple:
        found = _gradients((y,), xs, (start,), create_graph)
        return tuple([_or_zeros("jacobian", g, x, False, create_graph) for g, x in zip(found, xs, strict=True)])

    return [column.reshape(*y.shape, *x.shape) for column, x in zip(vmap(row)(starts), xs, strict=True)]


def _empty(y: Tensor, x: Tensor) -> Tensor:
    return engine.zeros_like(Meta((*y.shape, *x.shape), x.dtype, x.device))


def hessian(
    func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The second derivatives of a function with one scalar result: a tuple of tuples where there are several inputs.

    >>> import netcl as nc
    >>> nc.autograd.functional.hessian(lambda x: (x * x * x).sum(), nc.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    if outer_jacobian_strategy != "reverse-mode":
        raise NotImplementedError("hessian: only outer_jacobian_strategy='reverse-mode' is here; see nc.func.hessian")
    single = isinstance(inputs, Tensor)

    def first(*xs: Tensor) -> Any:
        y = _scalar("hessian", func(*xs))
        _check_reach("hessian", [y], list(xs), strict)
        found = _gradients((y,), list(xs), None, True)
        made = tuple([_or_zeros("hessian", g, x, strict, True) for g, x in zip(found, xs, strict=True)])
        return made[0] if single else made

    return jacobian(first, inputs, create_graph, strict, vectorize)


def vjp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(func's results, v times their Jacobian). v has the results' shape; a scalar result needs none."""
    with enable_grad():
        xs, single_input = _prepared("vjp", inputs, create_graph)
        ys, single_output = _results("vjp", func(*xs))
        _check_some_reach("vjp", ys, strict)
        starts = _directions("vjp", v, ys, scalars=True)
        found = _gradients(ys, xs, starts, create_graph)
        made = [_or_zeros("vjp", g, x, strict, create_graph) for g, x in zip(found, xs, strict=True)]
    return _given(ys, single_output, create_graph), _given(made, single_input, create_graph)


def jvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(func's results, their Jacobian times v). v has the inputs' shape; a single number needs none.

    Computed from the gradient of a gradient, so what func uses needs second derivatives.
    """
    with enable_grad():
        xs, _ = _prepared("jvp", inputs, create_graph)
        directions = _directions("jvp", v, xs, scalars=True)
        ys, single_output = _results("jvp", func(*xs))
        _check_some_reach("jvp", ys, strict)
        made = _forward_product("jvp", ys, xs, directions, create_graph, strict)
        made = [_or_zeros("jvp", g, y, strict and create_graph, create_graph) for g, y in zip(made, ys, strict=True)]
    return _given(ys, single_output, create_graph), _given(made, single_output, create_graph)


def _forward_product(
    name: str, ys: Sequence[Tensor], xs: list[Tensor], directions: Any, create_graph: bool, strict: bool = False
) -> list[Any]:
    """Jacobian times directions: the gradients in w of (w times Jacobian), which is linear in w."""
    weights = [engine.zeros_like(y).requires_grad_() for y in ys]
    back = _gradients(ys, xs, weights, True)
    if strict:
        back = [_or_zeros(name, b, x, strict, True) for b, x in zip(back, xs, strict=True)]
    kept = [(b, d) for b, d in zip(back, directions, strict=True) if b is not None and b.requires_grad]
    if not kept:
        return [None] * len(weights)
    return list(_gradients([b for b, _ in kept], weights, [d for _, d in kept], create_graph))


def hvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(func's scalar result, its Hessian times v). v has the inputs' shape; a single number needs none."""
    with enable_grad():
        xs, single = _prepared("hvp", inputs, create_graph)
        directions = _directions("hvp", v, xs, scalars=True)
        y = _scalar("hvp", func(*xs))
        _check_reach("hvp", [y], xs, strict)
        first = _first_gradients("hvp", y, xs, strict)
        made = _forward_product("hvp", first, xs, directions, create_graph)
        made = [_or_zeros("hvp", g, x, strict and create_graph, create_graph) for g, x in zip(made, xs, strict=True)]
    return _given([y], True, create_graph), _given(made, single, create_graph)


def vhp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(func's scalar result, v times its Hessian). v has the inputs' shape; a single number needs none."""
    with enable_grad():
        xs, single = _prepared("vhp", inputs, create_graph)
        directions = _directions("vhp", v, xs, scalars=True)
        y = _scalar("vhp", func(*xs))
        _check_reach("vhp", [y], xs, strict)
        first = _first_gradients("vhp", y, xs, strict)
        kept = [(g, d) for g, d in zip(first, directions, strict=True) if g.requires_grad]
        found: Sequence[Any] = [None] * len(xs)
        if kept:
            found = _gradients([g for g, _ in kept], xs, [d for _, d in kept], create_graph)
        made = [_or_zeros("vhp", g, x, strict, create_graph) for g, x in zip(found, xs, strict=True)]
    return _given([y], True, create_graph), _given(made, single, create_graph)


# ---- shared ------------------------------------------------------------------------------------------------------


def _prepared(name: str, inputs: Any, create_graph: bool) -> tuple[list[Tensor], bool]:
    """Inputs that require a gradient: parts of the caller's graph for create_graph, else cut off from it."""
    single = isinstance(inputs, Tensor)
    xs = [inputs] if single or not isinstance(inputs, (tuple, list)) else list(inputs)
    for x in xs:
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: inputs must be a Tensor or a tuple of them, got {type(x).__name__}")
    if create_graph:
        return [x.reshape(x.shape) if x.requires_grad else x.detach().requires_grad_() for x in xs], single
    return [x.detach().requires_grad_() for x in xs], single


def _results(name: str, outputs: Any) -> tuple[list[Tensor], bool]:
    single = isinstance(outputs, Tensor)
    if not single and not isinstance(outputs, (tuple, list)):
        raise TypeError(f"{name}: func must return a Tensor or a tuple of them, got {type(outputs).__name__}")
    ys = [outputs] if single else list(outputs)
    for y in ys:
        if not isinstance(y, Tensor):
            raise TypeError(f"{name}: func must return a Tensor or a tuple of them, one entry is {type(y).__name__}")
    return ys, single


def _scalar(name: str, outputs: Any) -> Tensor:
    ys, single = _results(name, outputs)
    if not single or ys[0].numel() != 1:
        raise RuntimeError(f"{name}: func must return one tensor with a single element")
    return ys[0]


def _directions(name: str, v: Any, like: Sequence[Tensor], scalars: bool) -> list[Tensor]:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(f"{name}: v can be left out only where there is a single number; pass v")
        return [engine.zeros_like(like[0]) + 1.0]
    given = [v] if isinstance(v, Tensor) else list(v)
    if len(given) != len(like):
        raise RuntimeError(f"{name}: v has {len(given)} tensors, expected {len(like)}")
    for number, (direction, other) in enumerate(zip(given, like, strict=True)):
        if direction.shape != other.shape:
            raise RuntimeError(f"{name}: v[{number}] has shape {list(direction.shape)}, expected {list(other.shape)}")
    return given


def _gradients(outputs: Sequence[Tensor], inputs: Sequence[Tensor], starts: Any, create_graph: bool) -> Sequence[Any]:
    """grad, for outputs of which some may have no graph; None for inputs that are not reached."""
    kept = [n for n, y in enumerate(outputs) if y.requires_grad]
    if not kept:
        return [None] * len(inputs)
    given = None if starts is None else [starts[n] for n in kept]
    return grad(
        [outputs[n] for n in kept], inputs, given, retain_graph=True, create_graph=create_graph, allow_unused=True
    )


def _first_gradients(name: str, y: Tensor, xs: list[Tensor], strict: bool) -> list[Tensor]:
    found = _gradients((y,), xs, None, True)
    return [_or_zeros(name, g, x, strict, True) for g, x in zip(found, xs, strict=True)]


def _check_some_reach(name: str, ys: Sequence[Tensor], strict: bool) -> None:
    for number, y in enumerate(ys if strict else ()):
        if not y.requires_grad:
            raise RuntimeError(f"{name}: output {number} does not depend on any input, which strict=True forbids")


def _check_reach(name: str, ys: Sequence[Tensor], xs: Sequence[Tensor], strict: bool) -> None:
    _check_some_reach(name, ys, strict)
    for number, y in enumerate(ys if strict else ()):
        for place, g in enumerate(_gradients((y.sum(),), xs, None, False)):
            if g is None:
                raise RuntimeError(
                    f"{name}: output {number} does not depend on input {place}, which strict=True forbids"
                )


def _or_zeros(name: str, gradient: Any, like: Tensor, strict: bool, graph: bool) -> Tensor:
    if strict and (gradient is None or (graph and not gradient.requires_grad)):
        raise RuntimeError(f"{name}: the derivative does not depend on the inputs, which strict=True forbids")
    return engine.zeros_like(like) if gradient is None else gradient


def _given(tensors: Sequence[Tensor], single: bool, create_graph: bool) -> Any:
    made = tuple(tensors if create_graph else [t.detach() for t in tensors])
    return made[0] if single else made


__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
