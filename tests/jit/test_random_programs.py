"""Random training steps leave the same compiled as plain: values, gradients, who shares elements with whom."""

import warnings

import pytest
import random_programs

import netcl as nc

REPLAYED = (1003, 1007)


def check(seed: int) -> None:
    source = random_programs.draw(seed)
    try:
        found = random_programs.differences(source)
    except random_programs.Invalid:
        return  # it raises as it stands
    assert not found, "\n".join([f"program {seed}:", source, *found[:5]])


@pytest.mark.parametrize("seed", range(1000, 1010))
def test_programs_leave_the_same(seed: int) -> None:
    check(seed)


@pytest.mark.long
@pytest.mark.parametrize("block", range(20))
def test_many_programs_leave_the_same(block: int) -> None:
    for seed in range(2000 + 20 * block, 2020 + 20 * block):
        check(seed)


def test_the_programs_are_replayed_and_not_only_traced() -> None:
    made = []

    def wrap(function):
        made.append(nc.jit_compile(function))
        return made[-1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in REPLAYED:
            random_programs.run(random_programs.draw(seed), wrap)
            assert any(function.cache_info().hits for function in made)
            made.clear()
