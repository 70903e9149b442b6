"""The same thing done by netcl and by PyTorch: results, gradients and second derivatives have to agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import netcl as nc

TOLERANCE = {"float64": 1e-10, "float32": 2e-5, "float16": 2e-3, "bfloat16": 2e-2}
PARTS = ("result", "gradient", "gradient with a graph", "second derivative")


def numbers(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    """Random numbers, small integers for integer dtypes."""
    draws = np.random.default_rng([seed, *shape])
    if np.dtype(dtype).kind == "f":
        return draws.standard_normal(shape).astype(dtype)
    return draws.integers(0 if np.dtype(dtype).kind in "ub" else -5, 6, shape).astype(dtype)


def parts(result: Any) -> list:
    """The tensors, and what else there is, of a result that may be nested tuples; a shape is one part."""
    if not isinstance(result, (tuple, list)) or hasattr(result, "numel"):
        return [result]
    return [part for branch in result for part in parts(branch)]


def dtype_name(tensor: Any) -> str:
    return str(tensor.dtype).partition(".")[2]


def array(tensor: Any) -> np.ndarray:
    """Its elements; those of narrow floats as float32, of PyTorch's zeros that exist nowhere as zeros."""
    tensor = tensor.detach()
    if dtype_name(tensor) == "bfloat16":
        tensor = tensor.float()
    return tensor.numpy() if isinstance(tensor, nc.Tensor) else tensor.clone().numpy()


def close(actual: Any, expected: Any, tolerance: float | None = None, name: str = "", factor: float = 1.0) -> None:
    """Shape, dtype and values, within the tolerance given or a factor of the dtype's; None is zero everywhere."""
    if actual is None or expected is None:
        given = expected if actual is None else actual
        assert given is None or not np.any(array(given)), name
        return
    assert tuple(actual.shape) == tuple(expected.shape), f"{name}: {tuple(actual.shape)}, {tuple(expected.shape)}"
    dtype = dtype_name(expected)
    assert dtype_name(actual) == dtype, f"{name}: {dtype_name(actual)}, expected {dtype}"
    within = factor * TOLERANCE.get(dtype, 0) if tolerance is None else tolerance
    got, wanted = array(actual), array(expected)
    if dtype in TOLERANCE:
        wanted = wanted.astype(np.float64)
    np.testing.assert_allclose(got, wanted, rtol=within, atol=within, equal_nan=True, err_msg=name)


# ---- gradients ---------------------------------------------------------------------------------------------------


def derivatives_of(library: Any, results: list, leaves: list, order: int) -> tuple[list, list, list]:
    """The gradients of the results, each weighted by random numbers; with a graph too, and their gradients in turn."""
    if not leaves or not any(result.requires_grad for result in results):
        return [], [], []
    grad, total = library.autograd.grad, weighted(library, results)
    first = list(grad(total, leaves, retain_graph=True, allow_unused=True))
    if order < 2:
        return first, [], []
    graph = list(grad(total, leaves, create_graph=True, allow_unused=True))
    kept = [g for g in graph if g is not None and g.requires_grad]
    second = grad(weighted(library, kept), leaves, allow_unused=True) if kept else [None] * len(leaves)
    return first, graph, list(second)


def weighted(library: Any, results: list) -> Any:
    """A number that depends on every element of every floating-point result."""
    total = 0.0
    for number, result in enumerate(results):
        if result.requires_grad:
            weights = numbers(*result.shape, dtype=np.float64, seed=7 + number)
            total = total + (result * library.tensor(weights).to(result.dtype)).sum()
    return total


def run(library: Any, operation: Callable, arrays: Sequence[np.ndarray], order: int) -> tuple[list, ...]:
    """(results, gradients, gradients with a graph, second derivatives) for the floating-point arrays."""
    tensors = [library.tensor(a) for a in arrays]
    leaves = [t.requires_grad_() for t in tensors if order and t.is_floating_point()]
    results = parts(operation(library, *tensors))
    return results, *derivatives_of(library, results, leaves, order)


# ---- cases -------------------------------------------------------------------------------------------------------


def compare(
    torch: Any, cases: dict[str, tuple], order: int, tolerances: Sequence[float | None], factor: float = 1.0
) -> None:
    """Each case: (operation(library, *tensors), *arrays). All are recorded before the first is read."""
    ours = {name: run(nc, operation, arrays, order) for name, (operation, *arrays) in cases.items()}
    for name, (operation, *arrays) in cases.items():
        theirs = run(torch, operation, arrays, order)
        for part, own, other, tolerance in zip(PARTS, ours[name], theirs, tolerances, strict=True):
            count = max(len(own), len(other))  # what is linear has second derivatives of zero, or none at all
            for x, y in zip(own or [None] * count, other or [None] * count, strict=True):
                close(x, y, tolerance, f"{name}: {part}", factor)


def check(torch: Any, cases: list[tuple], gradient: bool = True, second: bool = False, factor: float = 1.0) -> None:
    """Cases with arrays of their own, within a factor of the tolerance that belongs to the result's dtype."""
    order = 2 if second else int(gradient)
    compare(torch, {f"case {number}": case for number, case in enumerate(cases)}, order, [None] * 4, factor)


def values(torch: Any, cases: dict[str, Callable], *arrays: np.ndarray, tolerance: float = 1e-5) -> None:
    """Functions of the same arrays, by name."""
    compare(torch, {name: (f, *arrays) for name, f in cases.items()}, 0, [tolerance] * 4)


def derivatives(
    torch: Any, cases: dict[str, Callable], array: np.ndarray, tolerance: float = 1e-4, second: bool = True
) -> None:
    """Functions of one array, by name, with gradients and (second) their gradients."""
    tolerances = [tolerance, tolerance, tolerance * 10, tolerance * 10]
    compare(torch, {name: (f, array) for name, f in cases.items()}, 2 if second else 1, tolerances)
