"""Random numbers with densities: Bernoulli, Categorical, Normal, Uniform, and kl_divergence between two of a kind.

Drawn like everything random in netcl: PyTorch's numbers for the same seed (Bernoulli's but on Intel's CPUs).

Parameters are not checked, since that would wait for the device: a negative scale gives NaN. validate_args=True raises
NotImplementedError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import netcl.ops.sampling as sampling
from netcl.autograd.tape import no_grad
from netcl.nn.functional import binary_cross_entropy_with_logits, log_softmax
from netcl.ops.creation import tensor
from netcl.ops.rearrange import broadcast_tensors
from netcl.ops.types import finfo
from netcl.tensor import Size, Tensor

__all__ = ["Bernoulli", "Categorical", "Distribution", "Normal", "Uniform", "kl_divergence"]


class Distribution:
    """What the distributions share. `batch_shape`: how many there are; `event_shape`: of one draw, () here."""

    has_rsample = False
    event_shape = Size()

    def __init__(self, batch_shape: Sequence[int], validate_args: bool | None = None) -> None:
        if validate_args:
            raise NotImplementedError(
                f"{type(self).__name__}: validate_args=True would read the parameters; check them before, without it"
            )
        self.batch_shape = Size(batch_shape)

    def _extended(self, sample_shape: Sequence[int]) -> tuple[int, ...]:
        return (*sample_shape, *self.batch_shape)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws of shape sample_shape + batch_shape, outside the gradient graph."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws that the parameters get a gradient from; NotImplementedError where there is no such way."""
        raise NotImplementedError(f"{type(self).__name__} has no rsample; use sample, and log_prob for a gradient")

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density at value."""
        raise NotImplementedError(f"{type(self).__name__} has no log_prob")

    @property
    def variance(self) -> Tensor:
        """The mean square distance from the mean."""
        raise NotImplementedError(f"{type(self).__name__} has no variance")

    @property
    def stddev(self) -> Tensor:
        """The root of the variance."""
        return self.variance.sqrt()

    def __repr__(self) -> str:
        own = [(name, x) for name, x in self.__dict__.items() if isinstance(x, Tensor) and name[0] != "_"]
        own.sort(key=lambda named: named[0] == "logits")  # PyTorch names the chances first
        told = (f"{name}: {x.item() if not x.ndim else x.size()}" for name, x in own)
        return f"{type(self).__name__}({', '.join(told)})"


def _together(*parameters: Any) -> tuple[Tensor, ...]:
    """Numbers and tensors as tensors of one shape."""
    given = [p for p in parameters if isinstance(p, Tensor)]
    dtype, device = (given[0].dtype, given[0].device) if given else (None, None)
    made = [p if isinstance(p, Tensor) else tensor(float(p), dtype, device) for p in parameters]
    return tuple(broadcast_tensors(*made))


def _inside(probs: Tensor) -> Tensor:
    """Chances moved away from 0 and 1, so that their logarithms are finite."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(eps, 1 - eps)


def _one_of(name: str, probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise ValueError(f"{name}: either probs or logits must be given, but not both")


class Normal(Distribution):
    """N(loc, scale**2).

    >>> import netcl as nc
    >>> nc.distributions.Normal(0.0, 1.0).log_prob(nc.tensor(0.0))
    tensor(-0.9189)
    """

    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = _together(loc, scale)
        super().__init__(self.loc.shape, validate_args)

    @property
    def mean(self) -> Tensor:
        """loc."""
        return self.loc

    mode = mean

    @property
    def variance(self) -> Tensor:
        """scale**2."""
        return self.scale**2

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws of shape sample_shape + batch_shape, outside the gradient graph."""
        shape = self._extended(sample_shape)
        with no_grad():
            return sampling.normal(self.loc.expand(shape), self.scale.expand(shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """loc + scale * noise: loc and scale get gradients."""
        shape = self._extended(sample_shape)
        return self.loc + sampling.randn(*shape, dtype=self.loc.dtype, device=self.loc.device) * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density at value."""
        return -((value - self.loc) ** 2) / (2 * self.scale**2) - self.scale.log() - math.log(math.sqrt(2 * math.pi))

    def cdf(self, value: Tensor) -> Tensor:
        """The chance of a draw below value."""
        return 0.5 * (1 + ((value - self.loc) / (self.scale * math.sqrt(2))).erf())

    def entropy(self) -> Tensor:
        """0.5 + 0.5 * log(2 pi) + log(scale)."""
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()


class Uniform(Distribution):
    """U(low, high)."""

    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = _together(low, high)
        super().__init__(self.low.shape, validate_args)

    @property
    def mean(self) -> Tensor:
        """Halfway."""
        return (self.high + self.low) / 2

    @property
    def variance(self) -> Tensor:
        """(high - low)**2 / 12."""
        return (self.high - self.low) ** 2 / 12

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """low + (high - low) * noise: low and high get gradients."""
        noise = sampling.rand(*self._extended(sample_shape), dtype=self.low.dtype, device=self.low.device)
        return self.low + noise * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        """-log(high - low) within, -inf outside."""
        inside = (self.low <= value) & (value < self.high)
        return inside.to(self.low.dtype).log() - (self.high - self.low).log()

    def entropy(self) -> Tensor:
        """log(high - low)."""
        return (self.high - self.low).log()


class Bernoulli(Distribution):
    """1 with chance probs (or sigmoid(logits)), else 0."""

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        _one_of("Bernoulli", probs, logits)
        if probs is not None:
            (self.probs,) = _together(probs)
            clamped = _inside(self.probs)
            self._logits = clamped.log() - (-clamped).log1p()
        else:
            (self.logits,) = _together(logits)
            self._logits, self.probs = self.logits, self.logits.sigmoid()
        super().__init__(self._logits.shape, validate_args)

    @property
    def mean(self) -> Tensor:
        """probs."""
        return self.probs

    @property
    def variance(self) -> Tensor:
        """probs * (1 - probs)."""
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws of shape sample_shape + batch_shape, outside the gradient graph."""
        with no_grad():
            return sampling.bernoulli(self.probs.expand(self._extended(sample_shape)).contiguous())

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the chance of value."""
        logits, value = broadcast_tensors(self._logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Tensor:
        """-(p log p + (1 - p) log(1 - p))."""
        return binary_cross_entropy_with_logits(self._logits, self.probs, reduction="none")


class Categorical(Distribution):
    """One of as many classes as the last size of probs (which need not add up to 1), or logits.

    >>> import netcl as nc
    >>> choice = nc.distributions.Categorical(logits=nc.zeros(4))
    >>> choice.log_prob(nc.tensor(2))
    tensor(-1.3863)
    """

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        _one_of("Categorical", probs, logits)
        given = logits if probs is None else probs
        if not isinstance(given, Tensor) or not given.ndim:
            raise ValueError("Categorical: expected a tensor with a dimension of classes")
        if probs is not None:
            self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            self.logits = log_softmax(logits, -1)
        super().__init__(given.shape[:-1], validate_args)

    @cached_property
    def probs(self) -> Tensor:
        """The chances of the classes."""
        return self.logits.exp()

    @cached_property
    def logits(self) -> Tensor:
        """The logarithms of the chances."""
        return _inside(self.probs).log()

    @property
    def mode(self) -> Tensor:
        """The class with the largest chance."""
        return self.probs.argmax(-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Classes of shape sample_shape + batch_shape. Reads the chances."""
        rows = self.probs.detach().reshape(-1, self.probs.shape[-1])
        drawn = sampling.multinomial(rows, math.prod(sample_shape), True)
        return drawn.T.reshape(self._extended(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the chance of the classes in value."""
        value = value.long().unsqueeze(-1)
        shape = broadcast_tensors(value, self.logits[..., :1])[0].shape[:-1]
        logits = self.logits.expand(*shape, self.logits.shape[-1])
        return logits.gather(-1, value.expand(*shape, 1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """-sum(p log p)."""
        return -(self.logits.clamp(min=finfo(self.logits.dtype).min) * self.probs).sum(-1)


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """How far q is from p: the mean of log p - log q over draws of p. NotImplementedError for two different kinds."""
    if isinstance(p, Normal) and isinstance(q, Normal):
        ratio = (p.scale / q.scale) ** 2
        return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log())
    if isinstance(p, Categorical) and isinstance(q, Categorical):
        return _divergence(p.probs, q.probs, p.logits - q.logits).sum(-1)
    if isinstance(p, Bernoulli) and isinstance(q, Bernoulli):
        a, b = p.probs, q.probs
        return _divergence(a, b, (a / b).log()) + _divergence(1 - a, 1 - b, ((1 - a) / (1 - b)).log())
    kinds = f"{type(p).__name__} and {type(q).__name__}"
    raise NotImplementedError(f"kl_divergence: not there for {kinds}; take the mean of p.log_prob(x) - q.log_prob(x)")


def _divergence(p: Tensor, q: Tensor, ratio: Tensor) -> Tensor:
    """p log(p / q) of chances: 0 where p never comes, infinite where q never comes."""
    return (p * ratio).masked_fill(q == 0, math.inf).masked_fill(p == 0, 0)
