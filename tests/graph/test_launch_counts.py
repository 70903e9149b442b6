"""How many kernels things take: the point of the design, so exact counts."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn, optim, profiler

rng = np.random.default_rng(0)


def host(*shape: int, requires_grad: bool = False) -> nc.Tensor:
    return nc.Tensor.from_host(rng.standard_normal(shape).astype(np.float32), requires_grad=requires_grad)


def launches(function) -> int:
    with profiler.count_launches() as n:
        kept = function()
    del kept
    return int(n)


def test_squared_difference_mean_is_one_launch(device):
    a, b = host(64, 100), host(64, 100)
    assert launches(lambda: ((a - b) ** 2).mean()) == 1


@pytest.mark.parametrize("size", [12, 100_000, 3_000_000])
def test_mse_and_its_gradient_are_one_launch(device, size):
    a, b = host(size, requires_grad=True), host(size)

    def both():
        loss = F.mse_loss(a, b)
        loss.backward()
        return loss

    assert launches(both) == 1
    np.testing.assert_allclose(a.grad.numpy(), (a.detach().numpy() - b.numpy()) * 2 / size, rtol=1e-5)


def test_mse_written_out_is_the_same_kernel_as_mse_loss():
    def kernels(loss_of):
        a, b = host(1000, requires_grad=True), host(1000)
        with profiler.count_launches() as n:
            loss = loss_of(a, b)
            loss.backward()
        return int(n)

    assert kernels(lambda a, b: ((a - b) ** 2).mean()) == kernels(F.mse_loss) == 1


@pytest.mark.parametrize(
    "options", [{}, {"reduction": "sum"}, {"ignore_index": 3}, {"label_smoothing": 0.1}, {"weight": True}]
)
def test_cross_entropy_and_its_gradient_are_one_launch(device, options):
    options = dict(options)
    if options.pop("weight", None):
        options["weight"] = nc.Tensor.from_host(rng.random(10).astype(np.float32))
    logits, target = host(64, 10, requires_grad=True), nc.tensor(rng.integers(0, 10, 64))

    def both():
        loss = F.cross_entropy(logits, target, **options)
        loss.backward()
        return loss

    assert launches(both) == 1


def test_cross_entropy_over_many_rows_is_at_most_two_launches(device):
    logits, target = host(20_000, 10, requires_grad=True), nc.tensor(rng.integers(0, 10, 20_000))

    def both():
        loss = F.cross_entropy(logits, target)
        loss.backward()
        return loss

    assert launches(both) <= 2


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.softmax(x, 1),
        lambda x: F.log_softmax(x, 1),
        lambda x: F.layer_norm(x, 100, nc.ones(100), nc.zeros(100)),
        lambda x: ((x * 2 + 1).exp().tanh() - x).relu().sqrt(),
        lambda x: F.gelu(x),
        lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True),
        lambda x: x.logsumexp(1),
        lambda x: x.argmax(1),
        lambda x: F.dropout(x, 0.5),
    ],
    ids=["softmax", "log_softmax", "layer_norm", "chain", "gelu", "standardise", "logsumexp", "argmax", "dropout"],
)
def test_row_functions_and_chains_are_one_launch(device, target, function):
    x = host(64, 100)
    assert launches(lambda: function(x)) == 1


def test_linear_bias_relu_is_one_launch(device, target):
    x, weight, bias = host(32, 64), host(128, 64), host(128)
    assert launches(lambda: F.relu(F.linear(x, weight, bias))) == 1


def test_siblings_over_one_space_share_a_kernel():
    x = host(64, 100)
    assert launches(lambda: (x.exp(), x * 2, x.sum(1), x.amax(1))) == 1


def test_views_of_memory_are_no_launch():
    x = host(8, 6)
    x._value.realise()
    assert launches(lambda: (x.t(), x[2:5], x.reshape(48), x.unsqueeze(0), x[::2, 1], x.expand(3, 8, 6))) == 0


def test_dead_work_is_not_done():
    x = host(64, 100)

    def wasteful():
        x.exp().sum()
        (x @ x.t()).relu()
        return x + 1

    assert launches(wasteful) == 1


def mlp_step(lr: float = 1e-3):
    nc.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = optim.Adam(model.parameters(), lr=lr)
    x, y = host(32, 64), nc.tensor(rng.integers(0, 10, 32))

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, optimizer


def test_training_step_of_a_three_layer_mlp_with_adam_is_at_most_fifteen_launches(device, target):
    step, _ = mlp_step()
    step()
    assert launches(step) <= 15


def test_second_step_plans_and_compiles_nothing_and_neither_does_a_new_learning_rate():
    from netcl.core import program
    from netcl.graph import plan

    step, optimizer = mlp_step()
    step().item()
    planned, compiled = plan.statistics.planned, program.compile_count
    step().item()
    optimizer.param_groups[0]["lr"] = 3e-4
    step().item()
    assert (plan.statistics.planned, program.compile_count) == (planned, compiled)


def test_a_changed_python_number_plans_nothing():
    from netcl.graph import plan

    x = host(1000)
    (x * 1.5 + 2.0).numpy()
    planned = plan.statistics.planned
    result = (x * 7.25 + 0.5).numpy()
    assert plan.statistics.planned == planned
    np.testing.assert_allclose(result, x.numpy() * 7.25 + 0.5, rtol=1e-6)


def test_an_optimizer_update_allocates_nothing():
    parameters = [nn.Parameter(host(300, 200)), nn.Parameter(host(200))]
    optimizer = optim.Adam(parameters)
    pool = nc.current_device().pool

    def update() -> int:
        for p in parameters:
            p.grad = nc.Tensor.from_host(np.ones(p.shape, np.float32))
        nc.synchronize()
        before = pool.allocations
        optimizer.step()
        nc.synchronize()
        return pool.allocations - before

    update()
    assert update() == update() == 0


def test_an_optimizer_step_takes_no_new_memory():
    step, _ = mlp_step()
    for _ in range(3):
        step()
    nc.synchronize()
    gc.collect()  # leftovers of other tests that would be freed meanwhile
    pool = nc.current_device().pool
    before = pool.in_use
    for _ in range(5):
        step()
    nc.synchronize()
    assert pool.in_use == before


def test_steps_reuse_the_pool():
    step, _ = mlp_step()
    for _ in range(3):
        step()
    nc.synchronize()
    reserved = nc.current_device().pool.reserved
    for _ in range(20):
        step()
    nc.synchronize()
    assert nc.current_device().pool.reserved == reserved
