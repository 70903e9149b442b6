"""nn.utils: clipping without waiting, parameters as a vector, padded sequences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import netcl as nc
from netcl import nn
from netcl.graph import plan


def gradients(lib: Any, scale: float = 1.0) -> list[Any]:
    draw = np.random.default_rng(0)
    made = []
    for shape in ((5, 4), (7,), (), (0,)):
        p = lib.nn.Parameter(lib.zeros(shape))
        p.grad = lib.tensor((draw.standard_normal(shape) * scale).astype(np.float32))
        made.append(p)
    return [*made, lib.nn.Parameter(lib.ones(3))]  # one without a gradient


def test_clipping_by_norm_gives_pytorchs_numbers(place, torch) -> None:
    for order in (2.0, 1.0, 3.0, math.inf):
        for limit, scale in ((1.0, 1.0), (100.0, 1.0)):
            found = []
            for lib in (nc, torch):
                parameters = gradients(lib, scale)
                if order == math.inf:
                    parameters.pop(3)  # PyTorch has no largest of nothing
                total = lib.nn.utils.clip_grad_norm_((p for p in parameters), limit, order)
                found.append([total.numpy(), *(p.grad.numpy() for p in parameters[:3])])
            for ours, theirs in zip(*found, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0.0
    assert nn.utils.get_total_norm(nc.tensor([3.0, 4.0])).item() == 5.0


def test_clipping_keeps_gradient_objects_and_dtypes_and_runs_nothing() -> None:
    p = nn.Parameter(nc.zeros(1000, dtype=nc.float16))
    p.grad = nc.ones(1000, dtype=nc.float16) * 1000
    kept = p.grad
    nc.synchronize()
    total = nn.utils.clip_grad_norm_(p, 10.0)
    assert p.grad._value.buffer is None  # recorded, not run
    assert p.grad is kept and p.grad.dtype is nc.float16
    assert total.item() == pytest.approx(1000 * 1000**0.5, rel=1e-2)  # the sum of squares would not fit
    np.testing.assert_allclose(p.grad.numpy(), np.full(1000, 10 / 1000**0.5), rtol=2e-3)


def test_a_training_step_with_norms_dropout_and_clipping_plans_once_and_keeps_its_memory() -> None:
    nc.manual_seed(0)
    norm = nn.BatchNorm1d(12, momentum=None)
    model = nn.Sequential(nn.Linear(8, 12), norm, nn.ReLU(), nn.Dropout(0.1), nn.LayerNorm(12))
    optimizer = nc.optim.AdamW(model.parameters())
    x = nc.rand(16, 8)

    def step() -> int:
        with nc.profiler.count_launches() as launches:
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return int(launches)

    step(), step()
    before = (plan.statistics.planned, nc.profiler.memory_in_use())
    counts = [step() for _ in range(3)]
    assert (plan.statistics.planned, nc.profiler.memory_in_use()) == before
    assert max(counts) <= 12
    assert norm.num_batches_tracked.item() == 5


def test_infinite_norms_raise_only_where_asked() -> None:
    p = nn.Parameter(nc.zeros(2))
    p.grad = nc.tensor([math.inf, 1.0])
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert nn.utils.clip_grad_norm_(p, 1.0).item() == math.inf
    assert math.isnan(p.grad.tolist()[0])


def test_clipping_by_value() -> None:
    p = nn.Parameter(nc.zeros(3))
    p.grad = nc.tensor([-5.0, 0.5, 2.0])
    nn.utils.clip_grad_value_([p], 1)
    assert p.grad.tolist() == [-1.0, 0.5, 1.0]


def test_parameters_become_a_vector_and_come_back() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (13,)
    vector.sum().backward()
    assert net[0].weight.grad.tolist() == [[1.0, 1.0]] * 3
    parameter = net[1].bias
    nn.utils.vector_to_parameters(nc.arange(13).float(), net.parameters())
    assert net[1].bias is parameter and parameter.tolist() == [12.0]
    assert net[0].weight.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    with pytest.raises(TypeError, match="list"):
        nn.utils.vector_to_parameters([1.0], net.parameters())


def test_sequences_are_padded_as_in_pytorch(torch) -> None:
    for options in ({}, {"batch_first": True, "padding_value": -1.0}, {"padding_side": "left"}):
        found = []
        for lib in (nc, torch):
            parts = [lib.tensor(np.arange(2.0 * n, dtype=np.float32).reshape(n, 2)) for n in (3, 1, 2)]
            found.append(lib.nn.utils.rnn.pad_sequence(parts, **options).numpy())
        np.testing.assert_array_equal(*found)
    first, second = nn.utils.rnn.unpad_sequence(nc.tensor([[1, 2], [3, 0]]), nc.tensor([2, 1]), batch_first=True)
    assert (first.tolist(), second.tolist()) == ([1, 2], [3])
    with pytest.raises(NotImplementedError, match="pad_sequence"):
        nn.utils.rnn.pack_padded_sequence(nc.ones(2, 2), [2, 1])
    with pytest.raises(RuntimeError, match="padding_side"):
        nn.utils.rnn.pad_sequence([nc.ones(1)], padding_side="up")
    with pytest.raises(RuntimeError, match="non-empty"):
        nn.utils.rnn.pad_sequence([])


def test_a_module_can_start_without_its_numbers() -> None:
    layer = nn.utils.skip_init(nn.Linear, 2, 3, bias=False)
    assert layer.weight.shape == (3, 2)
    with pytest.raises(RuntimeError, match="Module"):
        nn.utils.skip_init(int)
    with pytest.raises(RuntimeError, match="device"):
        nn.utils.skip_init(nn.ReLU)
