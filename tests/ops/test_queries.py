"""Questions with one answer, which scripts written for PyTorch ask."""

from __future__ import annotations

import pytest

import netcl as nc


def test_the_answers_are_pytorchs_for_its_tensors_on_the_cpu(torch):
    for package in (nc, torch):
        x = package.tensor([[1.5, 2.0]])
        found = [
            x.is_meta, x.is_mps, x.is_nested, x.is_sparse, x.is_sparse_csr, x.is_xpu, x.is_conj(), x.is_neg(),
            package.is_conj(x), package.is_neg(x), x.itemsize, x.int().itemsize, x.ndimension(), package.is_signed(x),
            package.is_signed(x.bool()), package.newaxis, isinstance(x.dtype, package.dtype),
        ]  # fmt: skip
        if package is nc:
            ours = found
    assert ours == found


def test_real_tensors_are_their_own_conjugates_and_real_parts():
    x = nc.ones(2, requires_grad=True)
    assert x.real is x.conj() is x.conj_physical() is x.resolve_conj() is x.resolve_neg() is x
    assert nc.real(x) is nc.conj(x) is nc.conj_physical(x) is nc.resolve_conj(x) is nc.resolve_neg(x) is x


def test_clone_and_detach_as_functions():
    x = nc.ones(2, requires_grad=True)
    copied, shared = nc.clone(x), nc.detach(x)
    assert copied.requires_grad and not shared.requires_grad
    with nc.no_grad():
        x += 1
    assert (copied.tolist(), shared.tolist()) == ([1.0, 1.0], [2.0, 2.0])


def test_a_number_is_in_a_tensor_or_not():
    x = nc.tensor([[1.0, 2.5], [3.0, -1.0]])
    assert 2.5 in x and 2 not in x and nc.tensor(3.0) in x and 1 not in nc.zeros(0)
    with pytest.raises(RuntimeError, match="str"):
        assert "a" in x


def test_everything_is_deterministic():
    nc.use_deterministic_algorithms(True)
    assert nc.are_deterministic_algorithms_enabled()
