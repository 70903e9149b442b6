"""The ways to ask for gradients: backward and grad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netcl.autograd import engine, tape
from netcl.graph.value import record_literal
from netcl.tensor import Tensor


def backward(
    tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
    grad_variables: Any = None, inputs: Any = None,
) -> None:  # fmt: skip
    """Add the gradients of `tensors` (a tensor or several) to the `.grad` of what they were computed from.

    grad_tensors: where to start from, one for each tensor; a scalar needs none. inputs: only these get a gradient
    (leaves, or results in between). RuntimeError without a graph, or the second time without retain_graph.
    """
    if grad_variables is not None:
        raise NotImplementedError("backward: grad_variables is the old name of grad_tensors; use that")
    roots = _roots(_listed(tensors), grad_tensors)
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        engine.backward(roots, keep, create_graph)
        return
    chosen = _listed(inputs)
    if not chosen:
        raise RuntimeError("backward: inputs is empty; leave it out to reach every leaf")
    for t in chosen:
        _check_input("backward", t)
    found = engine.backward(roots, keep, create_graph, chosen)
    with tape._GradMode(create_graph):
        for t in {id(t): t for t in chosen}.values():
            gradient = found.get(engine.place_of(t))
            if gradient is not None:
                engine.accumulate(t, gradient)


def grad(
    outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
    only_inputs: bool = True, allow_unused: bool | None = None, is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple:  # fmt: skip
    """The gradients of `outputs` (a tensor or a sequence) in `inputs`, without touching `.grad` (torch.autograd.grad).

    Raises RuntimeError for an input that outputs do not depend on, unless `allow_unused` (it gets None) or
    `materialize_grads` (it gets zeros). is_grads_batched: grad_outputs have a first dimension of samples, and so have
    the gradients: all are found at once, by vmap.

    >>> import netcl as nc
    >>> x = nc.tensor([3.0], requires_grad=True)
    >>> nc.autograd.grad(x * x, x)
    (tensor([6.]),)
    """
    if not only_inputs:
        raise NotImplementedError("grad(only_inputs=False): use backward to add to every leaf's .grad")
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: materialize_grads=True gives unused inputs zeros, so allow_unused=False can't hold")
    inputs = _listed(inputs)
    if is_grads_batched:
        return _batched_grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads)
    roots = _roots(_listed(outputs), grad_outputs)
    for t in inputs:
        _check_input("grad", t)
    keep = create_graph if retain_graph is None else retain_graph
    found = engine.backward(roots, keep, create_graph, inputs)
    result = tuple([found.get(engine.place_of(t)) for t in inputs])
    if materialize_grads:
        return tuple([engine.zeros_like(t) if g is None else g for g, t in zip(result, inputs, strict=True)])
    if not allow_unused and any([g is None for g in result]):
        raise RuntimeError(
            "grad: one of the inputs was not used to compute the outputs; pass allow_unused=True for None"
        )
    return result


def _batched_grad(outputs: Any, inputs: list, grad_outputs: Any, *options: Any) -> tuple:
    """`grad` for each sample of grad_outputs."""
    from netcl.autograd.mapping import vmap

    retain_graph, create_graph, allow_unused, materialize_grads = options
    reached: list[bool] = []

    def one(*starts: Any) -> tuple:
        found = grad(
            outputs, inputs, list(starts), retain_graph, create_graph, allow_unused=allow_unused,
            materialize_grads=materialize_grads,
        )  # fmt: skip
        reached[:] = [g is not None for g in found]
        return tuple([g for g in found if g is not None])

    made = iter(vmap(one)(*_listed(grad_outputs)))
    return tuple([next(made) if there else None for there in reached])


def _listed(tensors: Any) -> list[Any]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _roots(outputs: Sequence[Any], given: Any) -> list[tuple[Any, Any]]:
    starts = [None] * len(outputs) if given is None else _listed(given)
    if len(starts) != len(outputs):
        raise RuntimeError(f"backward: got {len(outputs)} tensors and {len(starts)} gradients; they must be as many")
    return [(t, _start(t, g)) for t, g in zip(outputs, starts, strict=True)]


def _check_input(name: str, t: Any) -> None:
    if not isinstance(t, Tensor):
        raise TypeError(f"{name}: inputs must be tensors, got {type(t).__name__}")
    if not t.requires_grad:
        raise RuntimeError(
            f"{name}: one of the inputs does not require a gradient; set requires_grad=True on it before use"
        )


def _start(tensor: Any, gradient: Any) -> Any:
    """The gradient to start from at an output: given, or 1 for a scalar."""
    if not tensor.requires_grad:
        raise RuntimeError(
            "backward: the tensor does not require a gradient and has no graph; "
            "was it computed under no_grad, or from tensors without requires_grad=True?"
        )
    if gradient is None:
        if tensor.numel() != 1:
            raise RuntimeError(
                f"backward: a gradient can be made up only for scalars, this tensor has shape {list(tensor.shape)}; "
                "pass gradient=, or reduce it with .sum() or .mean()"
            )
        one = Tensor._wrap(record_literal(1.0, tensor.dtype, tensor.device))
        return one.reshape(tensor.shape) if tensor.shape else one
    if not isinstance(gradient, Tensor):
        raise TypeError(
            f"backward: gradient must be a Tensor or None, got {type(gradient).__name__}; wrap it in nc.tensor(...)"
        )
    if gradient._value.device is not tensor._value.device:
        raise RuntimeError(
            f"backward: gradient is on {gradient.device}, the tensor on {tensor.device}; move it with .to(device)"
        )
    if gradient.shape != tensor.shape:
        raise RuntimeError(
            f"backward: gradient has shape {list(gradient.shape)}, the tensor {list(tensor.shape)}; they must match"
        )
    return gradient if gradient.dtype is tensor.dtype else gradient.to(tensor.dtype)


def Variable(data: Tensor, requires_grad: bool = False) -> Tensor:
    """A tensor with data's elements, shared: what PyTorch's older scripts wrap tensors in. Tensors need no wrapping."""
    if not isinstance(data, Tensor):
        raise TypeError(f"Variable: expected a Tensor, got {type(data).__name__}")
    return data.detach().requires_grad_(requires_grad)
