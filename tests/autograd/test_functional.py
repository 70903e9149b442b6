"""autograd.functional: derivatives of functions, against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl.autograd import functional as AF


def compare(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, tuple):
        assert isinstance(ours, tuple)
        for a, b in zip(ours, theirs, strict=True):
            compare(a, b)
        return
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert not ours.requires_grad
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-5, atol=1e-6)


def two(x: Any, y: Any) -> tuple:
    return (x.exp() * y.sum(0), (x * x).sum())


def scalar(x: Any, y: Any) -> Any:
    return (x * x * x * y.sum(0)).sum()


X, Y = np.array([0.5, -1.0, 2.0], np.float32), np.array([[1.0, 2.0, 0.3], [0.1, -0.2, 0.7]], np.float32)


def test_every_function_gives_pytorchs_numbers_and_structure(device, torch) -> None:
    found = []
    for lib, F in ((nc, AF), (torch, torch.autograd.functional)):
        x, y = lib.tensor(X), lib.tensor(Y)
        v, w = lib.tensor(X + 1), lib.tensor(Y - 2)
        found.append(
            (
                F.jacobian(two, (x, y)),
                F.jacobian(lambda x: x * x, x),
                F.hessian(scalar, (x, y)),
                F.hessian(lambda x: (x * x * x).sum(), x),
                F.vjp(two, (x, y), (v, lib.tensor(2.0))),
                F.vjp(lambda x: x.sum(), x),
                F.jvp(two, (x, y), (v, w)),
                F.hvp(scalar, (x, y), (v, w)),
                F.vhp(scalar, (x, y), (v, w)),
                F.hvp(lambda x: x * x * x, lib.tensor(3.0)),
                F.jacobian(lambda x, y: y * 2, (x, y)),  # zeros for x
                F.jvp(lambda x: x.detach() * 2, x, v),
                F.hessian(lambda x: x.sum(), x),
            )
        )
    compare(found[0], found[1])


def test_results_can_be_differentiated_again() -> None:
    x = nc.tensor(X, requires_grad=True)
    jac = AF.jacobian(lambda x: x * x * x, x, create_graph=True)
    jac.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * X, rtol=1e-6)
    x.grad = None
    (_, product) = AF.vjp(lambda x: x * x * x, x, nc.ones(3), create_graph=True)
    product.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * X, rtol=1e-6)
    x.grad = None
    AF.hvp(lambda x: (x * x * x).sum(), x, nc.ones(3), create_graph=True)[1].sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [6.0, 6.0, 6.0], rtol=1e-6)


def test_a_jacobian_without_elements_has_its_shape() -> None:
    assert AF.jacobian(lambda x: x[:0] * 2, nc.tensor(X)).shape == (0, 3)


def test_strict_forbids_what_does_not_depend() -> None:
    x, y = nc.tensor(X), nc.tensor(Y)
    with pytest.raises(RuntimeError, match="jacobian: output 0 does not depend on input 0"):
        AF.jacobian(lambda x, y: y * 2, (x, y), strict=True)
    with pytest.raises(RuntimeError, match="vjp: output 0 does not depend on any"):
        AF.vjp(lambda x: nc.ones(3), x, x, strict=True)
    with pytest.raises(RuntimeError, match="hessian: the derivative does not depend"):
        AF.hessian(lambda x: x.sum(), x, strict=True)


def test_strict_forbids_what_it_forbids_in_pytorch(torch) -> None:
    """An output of vjp and jvp may depend on some of the inputs only, but no input may be without any."""

    def outcome(lib, name, f, graph):
        x, y = lib.tensor(X), lib.tensor(Y[0])
        function = getattr(lib.autograd.functional, name)
        v = (lib.ones(3), lib.ones(3)) if name != "vjp" else None
        try:
            output, product = function(lambda x, y: f(lib, x, y), (x, y), v, create_graph=graph, strict=True)
        except RuntimeError:
            return "refused"
        return [tuple(output.shape), *[part.detach().numpy() for part in product]]

    functions = (
        lambda lib, x, y: (x * x * y).sum(), lambda lib, x, y: (x**3 + y**3).sum().reshape(1),
        lambda lib, x, y: (x**3).sum(), lambda lib, x, y: (x**3).sum() + y.sum(),
    )  # fmt: skip
    for name in ("vjp", "hvp", "vhp"):
        for number, f in enumerate(functions):
            for graph in (False, True):
                ours, theirs = (outcome(lib, name, f, graph) for lib in (nc, torch))
                assert len(ours) == len(theirs), (name, number, graph)
                if ours != "refused":
                    for a, b in zip(ours, theirs, strict=True):
                        np.testing.assert_allclose(a, b, rtol=1e-5)
    x, y, one = nc.tensor(X), nc.tensor(Y[0]), nc.ones(3)
    for f in (AF.vjp, AF.jvp):
        f(lambda x, y: (x * y, y.exp()), (x, y), (one, one), strict=True)
        with pytest.raises(RuntimeError, match="strict"):
            f(lambda x, y: (x * 2, x.exp()), (x, y), (one, one), strict=True)


def test_arguments_are_checked() -> None:
    x = nc.tensor(X)
    with pytest.raises(TypeError, match="jacobian: inputs"):
        AF.jacobian(lambda x: x, 1.0)
    with pytest.raises(TypeError, match="func must return"):
        AF.jacobian(lambda x: 1.0, x)
    with pytest.raises(RuntimeError, match=r"vjp: v\[0\] has shape \[2\], expected \[3\]"):
        AF.vjp(lambda x: x * 2, x, nc.ones(2))
    with pytest.raises(RuntimeError, match="pass v"):
        AF.jvp(lambda x: x * 2, x)
    with pytest.raises(RuntimeError, match="single element"):
        AF.hvp(lambda x: x * 2, x, x)
    with pytest.raises(NotImplementedError, match="jacfwd"):
        AF.jacobian(lambda x: x, x, vectorize=True, strategy="forward-mode")
    with pytest.raises(RuntimeError, match="strict=True and vectorize=True"):
        AF.jacobian(lambda x: x, x, strict=True, vectorize=True)
    with pytest.raises(NotImplementedError, match="reverse-mode"):
        AF.hessian(lambda x: x.sum(), x, outer_jacobian_strategy="forward-mode")
