"""gradcheck: gradients against differences of the function's values, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netcl.autograd.tape import enable_grad, grad
from netcl.core import dtypes
from netcl.tensor import Tensor


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the gradients of fn(*inputs) agree with central differences (torch.autograd.gradcheck).

    fn returns a tensor or several. inputs: a tensor or a tuple; those that are float64 and require a gradient are
    checked. RuntimeError naming the place and both numbers where they differ by more than atol + rtol * |difference
    quotient|, or False with raise_exception=False. ValueError where there is nothing to check.

    >>> import netcl as nc
    >>> nc.autograd.gradcheck(lambda x: (x * x).sum(), nc.tensor([1.0, 2.0], dtype=nc.float64, requires_grad=True))
    True
    """
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [n for n, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: at least one of the inputs must require a gradient")
    for n in checked:
        if given[n].dtype is not dtypes.float64:
            raise ValueError(f"gradcheck: input {n} is {given[n].dtype}; differences need netcl.float64")
    outputs = _tuple(fn(*given))
    for number, output in enumerate(outputs):
        if not output.requires_grad:
            raise ValueError(f"gradcheck: output {number} does not require a gradient")
        found = [_jacobian(output, given[n]) for n in checked]
        for n, analytic in zip(checked, found, strict=True):
            numeric = _differences(fn, given, n, number, eps)
            wrong = ~np.isclose(analytic, numeric, rtol, atol, equal_nan=True)
            if wrong.any():
                if not raise_exception:
                    return False
                row, column = (int(i) for i in np.argwhere(wrong)[0])
                at = [int(i) for i in np.unravel_index(column, given[n].shape)] if given[n].shape else []
                of = [int(i) for i in np.unravel_index(row, output.shape)] if output.shape else []
                raise RuntimeError(
                    f"gradcheck: the gradient of output {number} at {of} in input {n} at {at} is "
                    f"{analytic[row, column]!s}, "
                    f"differences give {numeric[row, column]!s} ({int(wrong.sum())} of {wrong.size} places differ)"
                )
    return True


def gradgradcheck(
    fn: Callable[..., Any], inputs: Any, grad_outputs: Any = None, eps: float = 1e-6, atol: float = 1e-5,
    rtol: float = 1e-3, raise_exception: bool = True,
) -> bool:  # fmt: skip
    """gradcheck of fn's gradients: second derivatives against differences of the first.

    grad_outputs: what the gradients start from; random numbers that stay the same in every run where None.
    """
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [n for n, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if grad_outputs is None:
        draws = np.random.default_rng(0)
        starts = tuple(
            Tensor(draws.uniform(0.5, 1.5, tuple(y.shape)), device=y.device, requires_grad=True)
            for y in _tuple(fn(*given))
        )
    else:
        starts = _tuple(grad_outputs)

    def first(*arguments: Any) -> tuple:
        count = len(arguments) - len(starts)
        with enable_grad():
            outputs = _tuple(fn(*arguments[:count]))
            chosen = [arguments[n] for n in checked]
            found = grad(outputs, chosen, list(arguments[count:]), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None and g.requires_grad)

    return gradcheck(first, (*given, *starts), eps, atol, rtol, raise_exception)


def _tuple(outputs: Any) -> tuple:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _jacobian(output: Tensor, input: Tensor) -> np.ndarray:
    """The derivative of every element of output (rows) in every element of input (columns), by backward."""
    rows = []
    for place in range(output.numel()):
        start = np.zeros(output.numel())
        start[place] = 1.0
        gradient = Tensor(start.reshape(output.shape), dtype=output.dtype, device=output.device)
        (found,) = grad(output, input, gradient, retain_graph=True, allow_unused=True)
        rows.append(np.zeros(input.numel()) if found is None else found.detach().numpy().reshape(-1))
    return np.array(rows, np.float64).reshape(output.numel(), input.numel())


def _differences(fn: Callable[..., Any], given: Sequence[Any], n: int, number: int, eps: float) -> np.ndarray:
    """The same derivatives from values of fn a little to both sides."""
    start = given[n].detach().numpy()
    columns = []
    for place in range(start.size):
        sides = []
        for step in (eps, -eps):
            moved = start.copy()
            moved.reshape(-1)[place] += step
            arguments = list(given)
            arguments[n] = Tensor(moved, device=given[n].device, requires_grad=True)
            sides.append(_tuple(fn(*arguments))[number].detach().numpy().astype(np.float64).reshape(-1))
        columns.append((sides[0] - sides[1]) / (2 * eps))
    return np.array(columns, np.float64).reshape(start.size, -1).T
