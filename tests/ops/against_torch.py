"""One function applied to netcl and to PyTorch: values, gradients and second derivatives are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import netcl as nc


def close(actual: Any, expected: Any, tolerance: float = 1e-5, name: str = "") -> None:
    """Shape, dtype and values."""
    assert tuple(actual.shape) == tuple(expected.shape), name
    assert str(actual.dtype).split(".")[1] == str(expected.dtype).split(".")[1], name
    got, wanted = actual.detach(), expected.detach()
    got = got.float() if got.dtype is nc.bfloat16 else got
    wanted = wanted.double() if wanted.dtype.is_floating_point else wanted
    np.testing.assert_allclose(
        got.numpy(), wanted.numpy(), rtol=tolerance, atol=tolerance, equal_nan=True, err_msg=name
    )


def parts(result: Any) -> list:
    return list(result) if isinstance(result, tuple) else [result]


def values(torch: Any, cases: dict[str, Callable], *arrays: np.ndarray, tolerance: float = 1e-5) -> None:
    """Each case as case(module, *tensors), all recorded before one is read."""
    ours = {name: parts(f(nc, *map(nc.tensor, arrays))) for name, f in cases.items()}
    for name, f in cases.items():
        theirs = parts(f(torch, *map(torch.tensor, arrays)))
        assert len(theirs) == len(ours[name]), name
        for a, b in zip(ours[name], theirs, strict=True):
            close(a, b, tolerance, name)


def derivatives(
    torch: Any, cases: dict[str, Callable], array: np.ndarray, tolerance: float = 1e-4, second: bool = True
) -> None:
    """Results, gradients and (second) the gradients' gradients of each case, weighted by random numbers."""
    ours = {name: _derivatives(nc, nc.autograd.grad, f, array, second) for name, f in cases.items()}
    for name, f in cases.items():
        theirs = _derivatives(torch, torch.autograd.grad, f, array, second)
        for order, (a, b) in enumerate(zip(ours[name], theirs, strict=True)):
            a = nc.zeros(array.shape) if a is None else a
            b = torch.zeros(array.shape) if b is None else b
            close(a, b, tolerance * 10 ** max(order - 1, 0), f"{name}, number {order}")


def _derivatives(module: Any, grad: Callable, f: Callable, array: np.ndarray, second: bool) -> list:
    draws = np.random.default_rng(5)
    x = module.tensor(array, requires_grad=True)
    results = [t for t in parts(f(module, x)) if t.is_floating_point()]

    def weighted(t: Any) -> Any:
        return (t * module.tensor(draws.standard_normal(tuple(t.shape)).astype(np.float32))).sum()

    total = sum(weighted(t) for t in results)
    (plain,) = grad(total, [x], retain_graph=True, allow_unused=True)
    found = [*results, plain]
    if second:
        (first,) = grad(total, [x], create_graph=True, allow_unused=True)
        found.append(first)
        if first is not None and first.requires_grad:
            found.extend(grad(weighted(first), [x], allow_unused=True))
        else:
            found.append(None)
    return found
