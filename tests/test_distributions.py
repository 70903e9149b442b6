"""Distributions against PyTorch's: draws of the same seed, densities, entropies, divergences, gradients."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc

MAKES = {
    "Normal": lambda t: t.distributions.Normal(t.tensor([0.0, 1.0, -2.0]), t.tensor([1.0, 0.5, 2.0])),
    "standard Normal": lambda t: t.distributions.Normal(0.0, 1.0),
    "Normal of many": lambda t: t.distributions.Normal(t.zeros(4, 5), t.ones(5)),
    "Uniform": lambda t: t.distributions.Uniform(t.tensor([0.0, -1.0]), t.tensor([1.0, 3.0])),
    "Bernoulli": lambda t: t.distributions.Bernoulli(t.tensor([0.3, 0.8])),
    "Bernoulli of logits": lambda t: t.distributions.Bernoulli(logits=t.tensor([0.3, -0.8])),
    "Categorical": lambda t: t.distributions.Categorical(t.tensor([[0.1, 0.2, 0.7], [1.0, 1.0, 2.0]])),
    "Categorical of logits": lambda t: t.distributions.Categorical(logits=t.tensor([0.1, 1.0, -1.0, 2.0])),
}


@pytest.mark.parametrize("name", MAKES)
def test_draws_densities_and_entropies_are_pytorchs(torch, device, name):
    ours, theirs = MAKES[name](nc), MAKES[name](torch)
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    for shape in ((), (3,), (2, 20)):
        nc.manual_seed(2)
        torch.manual_seed(2)
        x, y = ours.sample(shape), theirs.sample(shape)
        assert tuple(x.shape) == tuple(y.shape) and str(x.dtype)[6:] == str(y.dtype)[6:]
        if "Bernoulli" not in name:  # PyTorch draws those by MKL on Intel's CPUs
            np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-5, atol=1e-6)
        own = ours.log_prob(nc.tensor(y.numpy()))
        np.testing.assert_allclose(own.numpy(), theirs.log_prob(y).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.entropy().numpy(), theirs.entropy().numpy(), rtol=1e-5, atol=1e-6)
    for moment in ("mean", "variance", "stddev") if "Categorical" not in name else ("mode",):
        np.testing.assert_allclose(getattr(ours, moment).numpy(), getattr(theirs, moment).numpy(), rtol=1e-5, atol=1e-6)
    assert repr(ours).partition("(")[0] == repr(theirs).partition("(")[0]


def test_a_categorical_prints_as_pytorchs(torch):
    made = [t.distributions.Categorical(logits=t.zeros(2, 3)) for t in (nc, torch)]
    assert repr(made[0]).replace("netcl", "torch") == repr(made[1])
    assert made[0].probs.shape == made[1].probs.shape  # it is kept, and printed from now on
    assert repr(made[0]).replace("netcl", "torch") == repr(made[1])


@pytest.mark.parametrize(
    "make",
    [
        lambda t, p: t.distributions.Normal(p, p.exp()), lambda t, p: t.distributions.Categorical(logits=p),
        lambda t, p: t.distributions.Bernoulli(logits=p),
    ],
)  # fmt: skip
def test_divergences_and_gradients_are_pytorchs(torch, make):
    def program(t):
        p, q = t.tensor([0.1, 0.5, -0.3], requires_grad=True), t.tensor([0.3, -0.2, 0.4], requires_grad=True)
        one, other = make(t, p), make(t, q)
        apart = t.distributions.kl_divergence(one, other).sum()
        (apart + one.log_prob(t.tensor([1.0, 0.0, 1.0])).sum() + one.entropy().sum()).backward()
        return p.grad.numpy(), q.grad.numpy()

    for a, b in zip(program(nc), program(torch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_chances_of_none_and_of_one_are_pytorchs(torch):
    def program(t):
        bernoulli, categorical = t.distributions.Bernoulli, t.distributions.Categorical
        kl = t.distributions.kl_divergence
        p, q = t.tensor([0.0, 1.0, 0.0, 0.5, 0.5]), t.tensor([0.5, 0.5, 0.0, 0.0, 1.0])
        rows = t.tensor([[0.5, 0.5, 0.0], [0.25, 0.0, 0.75]]), t.tensor([[0.25, 0.25, 0.5], [0.0, 0.5, 0.5]])
        masked = categorical(logits=t.tensor([0.0, -t.inf, 1.0]))
        double = categorical(t.tensor([0.0, 1.0], dtype=t.float64))
        return [
            kl(bernoulli(p), bernoulli(q)), kl(*map(categorical, rows)), kl(masked, categorical(t.ones(3))),
            masked.entropy(), bernoulli(p).entropy(), double.logits, double.log_prob(t.tensor(0)),
        ]  # fmt: skip

    for a, b in zip(program(nc), program(torch), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


def test_draws_with_gradients(torch):
    def program(t):
        t.manual_seed(0)
        p = t.tensor([0.5, 1.5], requires_grad=True)
        x = t.distributions.Normal(p, p * 2).rsample((3,))
        y = t.distributions.Uniform(-p, p).rsample()
        (x.sum() + (y**2).sum()).backward()
        return x.detach().numpy(), y.detach().numpy(), p.grad.numpy()

    for a, b in zip(program(nc), program(torch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert not nc.distributions.Normal(nc.ones(1, requires_grad=True), 1.0).sample().requires_grad


def test_a_policy_gradient_step(torch):
    def program(t):
        t.manual_seed(0)
        policy = t.nn.Linear(4, 3)
        optimizer = t.optim.Adam(policy.parameters(), lr=0.1)
        for _ in range(5):
            choice = t.distributions.Categorical(logits=policy(t.ones(6, 4)))
            action = choice.sample()
            loss = -(choice.log_prob(action) * (action.float() - 1)).mean() - 0.01 * choice.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return policy.weight.detach().numpy()

    np.testing.assert_allclose(program(nc), program(torch), rtol=1e-4, atol=1e-5)


def test_what_is_not_there_says_so():
    normal = nc.distributions.Normal(0.0, 1.0)
    with pytest.raises(NotImplementedError, match="Normal and Uniform"):
        nc.distributions.kl_divergence(normal, nc.distributions.Uniform(0.0, 1.0))
    with pytest.raises(NotImplementedError, match="rsample"):
        nc.distributions.Categorical(nc.ones(3)).rsample()
    with pytest.raises(NotImplementedError, match="Normal: validate_args=True"):
        nc.distributions.Normal(0.0, -1.0, validate_args=True)
    with pytest.raises(ValueError, match="not both"):
        nc.distributions.Bernoulli()
    with pytest.raises(ValueError, match="classes"):
        nc.distributions.Categorical(nc.tensor(1.0))
