"""Cases run by netcl and by PyTorch: values, shapes, dtypes, gradients and second derivatives have to agree."""

from __future__ import annotations

from typing import Any

import numpy as np

import netcl as nc

TOLERANCE = {"float64": 1e-10, "float32": 2e-5, "float16": 2e-3, "bfloat16": 2e-2}


def numbers(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    """Random numbers, small integers for integer dtypes."""
    draws = np.random.default_rng([seed, *shape])
    if np.dtype(dtype).kind == "f":
        return draws.standard_normal(shape).astype(dtype)
    return draws.integers(0 if np.dtype(dtype).kind in "ub" else -5, 6, shape).astype(dtype)


def as_list(results: Any) -> list:
    return list(results) if isinstance(results, (tuple, list)) else [results]


def _seeds(results: list) -> list[np.ndarray]:
    return [numbers(*r.shape, dtype=np.float64, seed=7 + n) for n, r in enumerate(results)]


def _weighted(library: Any, results: list, dtype_of: Any) -> Any:
    """A number that depends on every element of every floating-point result."""
    total = 0.0
    for result, seed in zip(results, _seeds(results), strict=True):
        if result.requires_grad:
            total = total + (result * dtype_of(seed, result)).sum()
    return total


def _run(library: Any, operation: Any, arrays: tuple, gradient: bool, second: bool) -> tuple[list, list, list]:
    tensors = []
    for array in arrays:
        wants = gradient and array.dtype.kind == "f"
        tensors.append(library.tensor(array).requires_grad_() if wants else library.tensor(array))
    results = as_list(operation(library, *tensors))
    leaves = [t for t in tensors if t.requires_grad]
    if not leaves or not any(r.requires_grad for r in results):
        return results, [], []

    def as_weights(seed: np.ndarray, like: Any) -> Any:
        return library.tensor(seed).to(like.dtype)

    grad = library.autograd.grad
    first = list(grad(_weighted(library, results, as_weights), leaves, create_graph=second, allow_unused=True))
    twice: list = []
    if second and any(g is not None and g.requires_grad for g in first):
        kept = [g for g in first if g is not None]
        twice = list(grad(_weighted(library, kept, as_weights), leaves, allow_unused=True))
    return results, first, twice


def check(torch: Any, cases: list[tuple], gradient: bool = True, second: bool = False, factor: float = 1.0) -> None:
    """Each case: (operation(library, *tensors), *arrays). All are recorded before the first is read."""
    ours = [_run(nc, operation, arrays, gradient, second) for operation, *arrays in cases]
    theirs = [_run(torch, operation, arrays, gradient, second) for operation, *arrays in cases]
    for number, (own, other) in enumerate(zip(ours, theirs, strict=True)):
        for part, a, b in zip(("result", "gradient", "second derivative"), own, other, strict=True):
            count = max(len(a), len(b))  # second derivatives of what is linear are zeros, or nothing at all
            for x, y in zip(a or [None] * count, b or [None] * count, strict=True):
                equal(x, y, f"case {number}: {part}", factor)


def equal(x: Any, y: Any, where: str, factor: float = 1.0) -> None:
    if x is None or y is None:  # PyTorch leaves out what is zero everywhere
        given = x if y is None else y
        assert given is None or not np.any(np.asarray(given.detach().tolist())), where
        return
    assert tuple(x.shape) == tuple(y.shape), f"{where}: shape {tuple(x.shape)}, expected {tuple(y.shape)}"
    name = str(y.dtype).removeprefix("torch.")
    assert x.dtype.name == name, f"{where}: dtype {x.dtype.name}, expected {name}"
    a, b = np.asarray(x.detach().tolist()), np.asarray(y.detach().clone().tolist())
    tolerance = TOLERANCE.get(name, 0) * factor
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=where)
