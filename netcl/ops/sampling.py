"""Random tensors: PyTorch's CPU numbers for the same seed, drawn on the host (`netcl.draws`) and uploaded.

exponential_ and what is drawn with it (multinomial without replacement) differ from PyTorch's on Intel's CPUs, where
PyTorch draws by MKL; so does bernoulli_ with a number.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from netcl import draws
from netcl.autograd import tape
from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.graph.transfer import to_host, upload
from netcl.graph.value import Value, _pending
from netcl.ops.creation import empty, empty_like
from netcl.ops.shape import sizes
from netcl.random import Generator, as_samples, drawn, sampled_maps, stream_of
from netcl.tensor import Tensor

__all__ = """
    bernoulli multinomial normal poisson rand rand_like randint randint_like randn randn_like randperm
""".split()
METHODS = """
    bernoulli bernoulli_ cauchy_ exponential_ geometric_ log_normal_ multinomial normal_ random_ uniform_
""".split()


def _floating(name: str, dtype: DType | None) -> DType:
    dtype = dtypes.of(dtype) or dtypes.default_float
    if dtype.category != 2:
        raise RuntimeError(f"{name}: expected a floating-point dtype, got {dtype}")
    return dtype


def _drawn(
    generator: Generator | None, shape: tuple[int, ...], dtype: DType, device: Any, draw: Callable[..., Any]
) -> Tensor:
    """draw(engine, count) as a tensor: inside vmap, where asked for, with numbers of its own for each sample."""
    stream = stream_of(generator, per_sample=True)
    maps = sampled_maps()
    whole = (*[one.size for one in maps], *shape)

    def make() -> np.ndarray:
        with stream.lock:
            array = draw(stream.engine, prod(whole))
        return np.ascontiguousarray(array.astype(dtype.numpy, copy=False)).reshape(whole)

    def made() -> Value:
        value = upload(make(), find_device(device))
        if _pending.recorder is not None:
            _pending.recorder.drawn(value, make, stream)
        return value

    return Tensor._wrap(as_samples(drawn(made), maps))


def _asked(result: Tensor, requires_grad: bool) -> Tensor:
    return result.requires_grad_() if requires_grad else result


def rand(
    *args: Any, size: Any = None, generator: Generator | None = None, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """From U(0, 1): rand(2, 3), rand((2, 3)) or rand(size=(2, 3))."""
    shape = sizes("rand", args if size is None else (size,))
    dtype = _floating("rand", dtype)
    result = _drawn(generator, shape, dtype, device, lambda e, n: draws.uniform(e, n, 0.0, 1.0, dtype.numpy))
    return _asked(result, requires_grad)


def randn(
    *args: Any, size: Any = None, generator: Generator | None = None, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """From N(0, 1): randn(2, 3), randn((2, 3)) or randn(size=(2, 3))."""
    shape = sizes("randn", args if size is None else (size,))
    dtype = _floating("randn", dtype)
    result = _drawn(generator, shape, dtype, device, lambda e, n: draws.normal(e, n, 0.0, 1.0, dtype.numpy))
    return _asked(result, requires_grad)


def _like(make: Callable[..., Tensor], name: str, what: str) -> Callable[..., Tensor]:
    def function(
        input: Tensor, *, generator: Generator | None = None, dtype: DType | None = None, device: Any = None,
        requires_grad: bool = False,
    ) -> Tensor:  # fmt: skip
        place = input.device if device is None else device
        return make(
            input.shape, generator=generator, dtype=dtype or input.dtype, device=place, requires_grad=requires_grad
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"From {what} in input's shape, dtype and device."
    return function


rand_like = _like(rand, "rand_like", "U(0, 1)")
randn_like = _like(randn, "randn_like", "N(0, 1)")


def randint(
    *args: Any, low: Any = None, high: Any = None, size: Any = None, generator: Generator | None = None,
    dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Integers from low to high - 1: randint(high, size) or randint(low, high, size). int64 unless dtype says else.

    RuntimeError for an empty range, and for bounds that don't fit the dtype.
    """
    low, high, size = _bounds("randint", args, low, high, size)
    if low >= high:
        raise RuntimeError(f"randint: expects 'from' to be less than 'to', but got from={low} >= to={high}")
    dtype, shape = dtypes.of(dtype) or dtypes.int64, sizes("randint", (size,))
    _check_fit("randint", low, high, dtype)
    result = _drawn(generator, shape, dtype, device, lambda e, n: draws.integers(e, n, low, high))
    return _asked(result, requires_grad)


def _bounds(name: str, args: tuple, low: Any, high: Any, size: Any) -> tuple[int, int, Any]:
    """low, high and size of (high, size) and (low, high, size), of which any may be given by name."""
    given = list(args)
    if size is None and given:
        size = given.pop()
    if high is None and given:
        high = given.pop()
    if low is None and given:
        low = given.pop()
    if given or high is None or size is None:
        raise TypeError(f"{name}: expected (high, size) or (low, high, size)")
    return int(0 if low is None else low), int(high), size


def _check_fit(name: str, low: int, high: int, dtype: DType) -> None:
    info = np.iinfo(dtype.numpy) if dtype.category == 1 else None
    if info is not None and (low < info.min or high - 1 > info.max):
        raise RuntimeError(f"{name}: {low} to {high - 1} does not fit {dtype} ({info.min} to {info.max})")


def randint_like(
    input: Tensor, *args: Any, low: Any = None, high: Any = None, generator: Generator | None = None,
    dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Integers from low (or 0) to high - 1 in input's shape, dtype and device."""
    low, high, size = _bounds("randint_like", args, low, high, input.shape)
    place = input.device if device is None else device
    return randint(
        low, high, size, generator=generator, dtype=dtype or input.dtype, device=place, requires_grad=requires_grad
    )


def randperm(
    n: int, *, generator: Generator | None = None, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """0 .. n - 1 in random order."""
    if n < 0:
        raise RuntimeError(f"randperm: n must be non-negative, got {n}")
    return _asked(_drawn(generator, (n,), dtype or dtypes.int64, device, _permutations(n)), requires_grad)


def _permutations(n: int) -> Callable[..., Any]:
    return lambda e, count: np.concatenate([draws.permutation(e, n) for _ in range(count // n if n else 1)])


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, **options: Any
) -> Tensor:
    """From N(mean, std**2). Each may be a tensor, for elements of their own; two numbers need a size.

    With a size, dtype, device and requires_grad as for randn.
    """
    tensors = [argument for argument in (mean, std) if isinstance(argument, Tensor)]
    if not tensors:
        if size is None:
            raise TypeError("normal: two numbers need a size; normal(mean, std, size)")
        return normal_fill(empty(size, **options), mean, std, generator)
    if size is not None or options:
        raise TypeError(f"normal: a tensor decides shape, dtype and device; leave out size{', '.join(['', *options])}")
    if not isinstance(std, Tensor) and not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    mean, std = (x.detach() if isinstance(x, Tensor) else x for x in (mean, std))
    shape = tensors[0] if len(tensors) == 1 else tensors[0].detach() + tensors[1].detach()
    noise = randn(shape.shape, generator=generator, dtype=tensors[0].dtype, device=tensors[0].device)
    return noise * std + mean


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the chance that the element of input is (or p, if given), else 0; in input's dtype. Reads input."""
    return bernoulli_(empty_like(input), input if p is None else p, generator=generator)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Counts with input's numbers as their mean rates, in input's dtype. Reads input, and draws one after the other."""
    _floating("poisson", input.dtype)
    rates = to_host(input._value)
    if not (rates >= 0).all():
        raise RuntimeError("poisson: expected rates of at least 0")
    shape, stream = tuple(input.shape), stream_of(generator)
    return _drawn(stream, shape, input.dtype, input.device, lambda e, n: draws.poisson(e, rates))


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Positions in each row of input (n) or (rows, n), drawn in proportion to its numbers. Reads input, and waits.

    RuntimeError for numbers that are negative, not finite or all 0, and, without replacement, for fewer numbers than
    samples.
    """
    if input.ndim not in (1, 2) or input.dtype.category != 2:
        raise RuntimeError(
            f"multinomial: expected 1 or 2 dimensions of floating-point numbers, got {input.dtype} {list(input.shape)}"
        )
    weights = to_host(input._value).reshape(-1, input.shape[-1])
    if num_samples <= 0 or (not replacement and num_samples > weights.shape[1]):
        raise RuntimeError(f"multinomial: cannot draw {num_samples} samples from {weights.shape[1]} numbers")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise RuntimeError("multinomial: numbers must be finite and not negative")
    if not (weights.sum(1) > 0).all():
        raise RuntimeError("multinomial: in a row, no number is above 0")
    shape, stream = (*input.shape[:-1], num_samples), stream_of(generator)
    return _drawn(
        stream, shape, dtypes.int64, input.device, lambda e, n: draws.choices(e, weights, num_samples, replacement)
    )


# ---- in place ----------------------------------------------------------------------------------------------------


def _draw(name: str, tensor: Tensor, generator: Generator | None, draw: Callable[..., Any], *args: Any) -> Tensor:
    """The tensor filled by draw(engine, count, *args)."""
    if tensor._tracked and tensor._node is None and tape.is_grad_enabled():
        raise RuntimeError(f"{name}: a leaf that requires a gradient can't be changed in place but under nc.no_grad()")
    shape, order = tuple(tensor.shape), _order_in_memory(tensor)

    def in_place(engine: Any, count: int) -> np.ndarray:
        array: np.ndarray = draw(engine, count, *args)
        if order is None:
            return array
        in_order = array.reshape([-1, *[shape[d] for d in order]])
        return in_order.transpose([0, *[int(d) + 1 for d in np.argsort(order)]])

    made = _drawn(generator, shape, tensor.dtype, tensor.device, in_place)
    with tape.no_grad():
        return tensor.copy_(made)


def _order_in_memory(tensor: Tensor) -> list[int] | None:
    """The dimensions of a view with strides as PyTorch goes through them: the longest strides first."""
    if tensor.is_contiguous():
        return None
    strides = tensor.stride()
    return sorted(range(tensor.ndim), key=lambda d: -strides[d])


def uniform_fill(tensor: Tensor, low: float, high: float, generator: Generator | None = None) -> Tensor:
    """U(low, high) in place, outside the gradient graph."""
    with tape.no_grad():
        return uniform_(tensor, low, high, generator=generator)


def normal_fill(tensor: Tensor, mean: float, std: float, generator: Generator | None = None) -> Tensor:
    """N(mean, std**2) in place, outside the gradient graph."""
    with tape.no_grad():
        return normal_(tensor, mean, std, generator=generator)


def uniform_(input: Tensor, a: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """U(a, to) in place."""
    dtype = _floating("uniform_", input.dtype)
    if not a <= to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={to}")
    return _draw("uniform_", input, generator, draws.uniform, a, to, dtype.numpy)


def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """N(mean, std**2) in place."""
    dtype = _floating("normal_", input.dtype)
    if not std >= 0:
        raise RuntimeError(f"normal_ expects std >= 0.0, but found std {std}")
    return _draw("normal_", input, generator, draws.normal, mean, std, dtype.numpy, not input.is_contiguous())


def random_(input: Tensor, *bounds: int, generator: Generator | None = None) -> Tensor:
    """Whole numbers in place: random_(low, high), random_(high) from 0, or random_() of all that the dtype holds."""
    if not bounds:
        return _draw("random_", input, generator, draws.any_number, input.dtype.numpy)
    low, high = map(int, bounds if len(bounds) == 2 else (0, *bounds))
    if low >= high:
        raise RuntimeError(f"random_: expects 'from' to be less than 'to', but got from={low} >= to={high}")
    _check_fit("random_", low, high, input.dtype)
    return _draw("random_", input, generator, draws.integers, low, high)


def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """1 with chance p, else 0, in place; p may be a tensor (it is read) that broadcasts to input's shape."""
    chances = to_host(p.detach().expand(input.shape)._value) if isinstance(p, Tensor) else np.array(p, np.float64)
    if not ((chances >= 0) & (chances <= 1)).all():
        raise RuntimeError(f"bernoulli_: expected chances from 0 to 1, got {p}")
    if isinstance(p, Tensor):
        _floating("bernoulli_", p.dtype)
    whole = np.broadcast_to(chances, input.shape)
    order = _order_in_memory(input)
    whole = whole if order is None else whole.transpose(order)

    def draw(engine: draws.Engine, count: int) -> Any:
        return draws.bernoulli(engine, np.broadcast_to(whole, (count // max(whole.size, 1), *whole.shape)))

    return _draw("bernoulli_", input, generator, draw)


def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Numbers with density lambd * exp(-lambd * x), in place."""
    _floating("exponential_", input.dtype)
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _draw("exponential_", input, generator, draws.exponential, lambd)


def geometric_(input: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """How many trials of chance p until the first success, in place."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    return _draw("geometric_", input, generator, draws.geometric, p)


def cauchy_(input: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Numbers from the Cauchy distribution, in place."""
    _floating("cauchy_", input.dtype)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _draw("cauchy_", input, generator, draws.cauchy, median, sigma)


def log_normal_(input: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """exp of numbers from N(mean, std**2), in place."""
    _floating("log_normal_", input.dtype)
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    return _draw("log_normal_", input, generator, draws.log_normal, mean, std)
