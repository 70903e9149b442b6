"""einsum against PyTorch and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from against_torch import check, numbers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netcl as nc

relaxed = settings(
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
EQUATIONS = [
    ("ij->ji", (3, 4)),
    ("ij", (3, 4)),
    ("ba", (3, 4)),
    ("ij->", (3, 4)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iji->j", (3, 2, 3)),
    ("ij,jk", (3, 4), (4, 2)),
    ("ij,jk->ki", (3, 4), (4, 2)),
    ("i,j", (3,), (4,)),
    ("i,i", (3,), (3,)),
    ("ij,ij->ij", (3, 4), (3, 4)),
    ("bij, bjk -> bik", (2, 3, 4), (2, 4, 2)),
    ("bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("...ij,...jk->...ik", (2, 3, 4), (4, 2)),
    ("...ij,jk", (2, 3, 4), (4, 2)),
    ("i...,i...->...", (3, 2, 4), (3, 4)),
    ("...", (2, 3)),
    ("ij...,jk->ik...", (3, 4, 2), (4, 2)),
    ("ij,jk,kl->il", (3, 4), (4, 2), (2, 5)),
    ("ij,jk,kl,lm->im", (3, 4), (4, 2), (2, 5), (5, 3)),
    ("ab,bc,ca", (3, 4), (4, 2), (2, 3)),
    ("bn,anm,bm->ba", (2, 3), (5, 3, 4), (2, 4)),
    ("ij,ik->jk", (1, 4), (3, 2)),
    ("Ab,bC->AC", (3, 4), (4, 2)),
    (",ij->ij", (), (3, 4)),
    ("ij,j->", (3, 4), (4,)),
]


def cases_of(equations: list) -> list:
    return [
        (lambda m, *t, e=equation: m.einsum(e, *t), *(numbers(*shape, seed=n) for n, shape in enumerate(shapes)))
        for equation, *shapes in equations
    ]


def test_equations_give_pytorchs_values_and_gradients(device, torch):
    check(torch, cases_of(EQUATIONS), factor=4)


def test_the_other_ways_to_call_it(torch):
    a, b = numbers(3, 4), numbers(2, 4, 5)
    check(
        torch,
        [
            (lambda m, a, b: m.einsum("ij,bjk->bik", [a, b]), a, b),
            (lambda m, a, b: m.einsum(a, [0, 1], b, [30, 1, 2], [30, 0, 2]), a, b),
            (lambda m, a, b: m.einsum(a, [0, 1], b, [Ellipsis, 1, 2]), a, b),
        ],
        gradient=False,
    )


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.float64])
def test_other_dtypes(torch, dtype):
    a, b = numbers(3, 4, dtype=dtype), numbers(4, 2, dtype=dtype)
    check(
        torch,
        [
            (lambda m, a, b: m.einsum("ij,jk->ik", a, b), a, b),
            (lambda m, a, b: m.einsum("ij->i", a), a, b),
            (lambda m, a, b: m.einsum("ij,jk->ijk", a, b), a, b),
        ],
        gradient=False,
    )


@st.composite
def equations(draw) -> tuple[str, list[tuple[int, ...]]]:
    size = {letter: draw(st.integers(1, 4)) for letter in "abcd"}
    operands = draw(st.lists(st.text("abcd", max_size=3), min_size=1, max_size=3))
    used = sorted(set("".join(operands)))
    output = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
    return ",".join(operands) + "->" + "".join(output), [tuple(size[letter] for letter in text) for text in operands]


@relaxed
@given(case=equations())
def test_any_equation_equals_numpys(target, case):
    equation, shapes = case
    arrays = [numbers(*shape, dtype=np.int64, seed=n) for n, shape in enumerate(shapes)]
    ours = nc.einsum(equation, *(nc.tensor(array.astype(np.float32)) for array in arrays))
    np.testing.assert_allclose(ours.numpy(), np.einsum(equation, *arrays), rtol=1e-5, atol=1e-4)


def test_a_product_over_nothing_is_elementwise_and_one_kernel():
    a, b = nc.tensor(numbers(3, 4)), nc.tensor(numbers(3, 4))
    with nc.profiler.count_launches() as launches:
        nc.einsum("ij,ij->ij", a, b).numpy()
    assert int(launches) == 1


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(3, 4)]),
        ("ij,jk->ik", [(3, 4), (5, 2)]),
        ("ijk", [(3, 4)]),
        ("i", [(3, 4)]),
        ("ij->ik", [(3, 4)]),
        ("ij->ii", [(3, 4)]),
        ("ii->i", [(3, 4)]),
        ("i1->i", [(3, 4)]),
    ],
)
def test_what_pytorch_refuses_is_refused(torch, equation, shapes):
    for module in (nc, torch):
        with pytest.raises(RuntimeError):
            module.einsum(equation, *(module.ones(*shape) for shape in shapes))
