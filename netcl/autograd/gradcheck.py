"""gradcheck: gradients against differences of the function's values, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netcl.autograd import engine
from netcl.autograd.gradients import grad
from netcl.autograd.tape import enable_grad
from netcl.core import dtypes
from netcl.tensor import Tensor


class GradcheckError(RuntimeError):
    """What gradcheck and gradgradcheck raise where numbers differ."""


def gradcheck(
    func: Callable[..., Any], inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
    raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False, check_batched_grad: bool = False, check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False, check_backward_ad: bool = True, fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:  # fmt: skip
    """Whether the gradients of func(*inputs) agree with central differences (torch.autograd.gradcheck).

    func returns a tensor or several. inputs: a tensor or a tuple; those that are float64 and require a gradient are
    checked. GradcheckError naming the place and both numbers where they differ by more than atol + rtol * |difference
    quotient|, or where two ways back differ by more than nondet_tol; False instead with raise_exception=False.
    ValueError where there is nothing to check.

    >>> import netcl as nc
    >>> nc.autograd.gradcheck(lambda x: (x * x).sum(), nc.tensor([1.0, 2.0], dtype=nc.float64, requires_grad=True))
    True
    """
    _refuse(
        check_batched_grad=check_batched_grad, check_batched_forward_grad=check_batched_forward_grad,
        check_forward_ad=check_forward_ad, fast_mode=fast_mode, masked=bool(masked),
    )  # fmt: skip
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = _checked("gradcheck", given)
    try:
        outputs = [(n, y) for n, y in enumerate(_tuple(func(*given))) if y.requires_grad]
        if not outputs:
            raise ValueError("gradcheck: no output requires a gradient, so there is nothing to check")
        for number, output in outputs if check_backward_ad else ():
            for n in checked:
                analytic = _jacobian(output, given[n], nondet_tol, check_grad_dtypes)
                _compare(analytic, _differences(func, given, n, number, eps), atol, rtol, number, n, output, given[n])
        if check_backward_ad and check_undefined_grad and len(outputs) > 1:
            _check_undefined([y for _, y in outputs], [given[n] for n in checked])
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _refuse(**options: bool) -> None:
    for name, asked in options.items():
        if asked:
            raise NotImplementedError(f"gradcheck({name}=True) is not here; leave {name} out")


def _checked(name: str, given: Sequence[Any]) -> list[int]:
    """The inputs that are checked."""
    found = [n for n, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not found:
        raise ValueError(f"{name}: at least one of the inputs must require a gradient")
    for n in found:
        if given[n].dtype is not dtypes.float64:
            raise ValueError(f"{name}: input {n} is {given[n].dtype}; differences need netcl.float64")
    return found


def _compare(
    analytic: np.ndarray, numeric: np.ndarray, atol: float, rtol: float, number: int, n: int, output: Tensor,
    input: Tensor,
) -> None:  # fmt: skip
    wrong = ~np.isclose(analytic, numeric, rtol, atol, equal_nan=True)
    if not wrong.any():
        return
    row, column = (int(i) for i in np.argwhere(wrong)[0])
    at = [int(i) for i in np.unravel_index(column, input.shape)] if input.shape else []
    of = [int(i) for i in np.unravel_index(row, output.shape)] if output.shape else []
    raise GradcheckError(
        f"gradcheck: the gradient of output {number} at {of} in input {n} at {at} is {analytic[row, column]!s}, "
        f"differences give {numeric[row, column]!s} ({int(wrong.sum())} of {wrong.size} places differ)"
    )


def _check_undefined(outputs: list[Tensor], inputs: list[Tensor]) -> None:
    """A gradient that arrives at one of several results alone is the same as zeros for the others."""
    for alone in range(len(outputs)):
        one = [engine.zeros_like(y) + float(n == alone) for n, y in enumerate(outputs)]
        with_zeros = grad(outputs, inputs, one, retain_graph=True, allow_unused=True)
        without = grad(outputs[alone], inputs, one[alone], retain_graph=True, allow_unused=True)
        for n, (a, b) in enumerate(zip(with_zeros, without, strict=True)):
            left = 0.0 if a is None else a.detach().numpy()
            right = 0.0 if b is None else b.detach().numpy()
            if not np.allclose(left, right, equal_nan=True):
                raise GradcheckError(
                    f"gradcheck: with a gradient for output {alone} only, input {n} gets another gradient than with "
                    "zeros for the others: backward must take missing gradients for zeros"
                )


def gradgradcheck(
    func: Callable[..., Any], inputs: Any, grad_outputs: Any = None, *, eps: float = 1e-6, atol: float = 1e-5,
    rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True,
    nondet_tol: float = 0.0, check_undefined_grad: bool = True, check_grad_dtypes: bool = False,
    check_batched_grad: bool = False, check_fwd_over_rev: bool = False, check_rev_over_rev: bool = True,
    fast_mode: bool = False, masked: bool = False,
) -> bool:  # fmt: skip
    """gradcheck of func's gradients: second derivatives against differences of the first.

    grad_outputs: what the gradients start from; random numbers that stay the same in every run where None.
    """
    _refuse(check_fwd_over_rev=check_fwd_over_rev, gen_non_contig_grad_outputs=gen_non_contig_grad_outputs)
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = _checked("gradgradcheck", given)
    if grad_outputs is None:
        draws = np.random.default_rng(0)
        starts = tuple(
            Tensor.from_host(draws.uniform(0.5, 1.5, tuple(y.shape)), device=y.device, requires_grad=True)
            for y in _tuple(func(*given))
            if y.requires_grad
        )
    else:
        starts = _tuple(grad_outputs)

    def first(*arguments: Any) -> tuple:
        count = len(arguments) - len(starts)
        with enable_grad():
            outputs = [y for y in _tuple(func(*arguments[:count])) if y.requires_grad]
            chosen = [arguments[n] for n in checked]
            found = grad(outputs, chosen, list(arguments[count:]), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None and g.requires_grad)

    return not check_rev_over_rev or gradcheck(
        first, (*given, *starts), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad, check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad, fast_mode=fast_mode, masked=masked,
    )  # fmt: skip


def _tuple(outputs: Any) -> tuple:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _jacobian(output: Tensor, input: Tensor, nondet_tol: float, check_dtypes: bool) -> np.ndarray:
    """The derivative of every element of output (rows) in every element of input (columns), by backward."""
    rows = []
    for place in range(output.numel()):
        start = np.zeros(output.numel())
        start[place] = 1.0
        gradient = Tensor.from_host(start.reshape(output.shape), dtype=output.dtype, device=output.device)
        times = 1 if place else 2
        found = [grad(output, input, gradient, retain_graph=True, allow_unused=True)[0] for _ in range(times)]
        if check_dtypes and found[0] is not None and found[0].dtype is not input.dtype:
            raise GradcheckError(f"gradcheck: a gradient is {found[0].dtype}, its input {input.dtype}")
        arrays = [np.zeros(input.numel()) if g is None else g.detach().numpy().reshape(-1) for g in found]
        if not np.allclose(arrays[0], arrays[-1], rtol=0.0, atol=nondet_tol, equal_nan=True):
            raise GradcheckError("gradcheck: backward gave other numbers the second time; raise nondet_tol if it may")
        rows.append(arrays[0])
    return np.array(rows, np.float64).reshape(output.numel(), input.numel())


def _differences(func: Callable[..., Any], given: Sequence[Any], n: int, number: int, eps: float) -> np.ndarray:
    """The same derivatives from values of fn a little to both sides."""
    start = given[n].detach().numpy()
    columns = []
    for place in range(start.size):
        sides = []
        for step in (eps, -eps):
            moved = start.copy()
            moved.reshape(-1)[place] += step
            arguments = list(given)
            arguments[n] = Tensor.from_host(moved, device=given[n].device, requires_grad=True)
            sides.append(_tuple(func(*arguments))[number].detach().numpy().astype(np.float64).reshape(-1))
        columns.append((sides[0] - sides[1]) / (2 * eps))
    return np.array(columns, np.float64).reshape(start.size, -1).T
