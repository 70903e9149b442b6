"""Programs and plans that are kept in memory are bounded: a script with ever new shapes does not grow for ever."""

import numpy as np

import netcl as nc
from netcl.core import program
from netcl.graph import plan


def test_old_programs_and_plans_are_forgotten_and_made_again(monkeypatch):
    monkeypatch.setattr(program, "MAX_PROGRAMS", 5)
    monkeypatch.setattr(plan, "MAX_PLANS", 5)
    for _ in range(2):
        for size in range(2, 12):
            x = nc.tensor(np.arange(size, dtype=np.float32))
            np.testing.assert_array_equal((x * 2 + size).numpy(), np.arange(size) * 2 + size)
        assert len(program._programs) <= 5 and plan.plan_count() <= 5
        assert {key[:2] for key in program._kernels} <= set(program._programs)
