"""PyTorch's CPU random numbers on the host: the Mersenne twister, and how its words become numbers.

Pure NumPy. Every function takes the words it needs from an engine and returns an array; the results are equal, bit
for bit, to PyTorch's on an x86-64 CPU with AVX2 and FMA (`ATen/core/DistributionsHelper.h`,
`ATen/native/cpu/DistributionTemplates.h`); only normal float64 numbers may differ in the last place, by libm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
CHUNK = 8192  # elements worked on at a time: intermediate arrays stay in the cache


class Engine:
    """mt19937 as PyTorch uses it, and the second normal number that its Box-Muller keeps for the next call."""

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(np.random.MT19937())
        self.cached_normal: float | None = None
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start anew from the low 32 bits of seed."""
        self._words.seed(seed & 0xFFFFFFFF)
        self.cached_normal = None

    def words32(self, count: int) -> Array:
        """The next `count` 32-bit words, uint32."""
        return self._words.randint(0, 2**32, count, dtype=np.uint32)

    def words64(self, count: int) -> Array:
        """The next `count` 64-bit words, uint64: each from two 32-bit words, the high one first."""
        pairs = self.words32(2 * count).reshape(count, 2).astype(np.uint64)
        joined: Array = (pairs[:, 0] << np.uint64(32)) | pairs[:, 1]
        return joined

    @property
    def state(self) -> tuple[Array, int, float | None]:
        """(624 words uint32, position, cached normal)."""
        _, key, position, _, _ = self._words.get_state(legacy=True)
        return np.asarray(key, np.uint32).copy(), int(position), self.cached_normal

    @state.setter
    def state(self, state: tuple[Array, int, float | None]) -> None:
        key, position, cached = state
        self._words.set_state(("MT19937", key, position, 0, 0.0))
        self.cached_normal = cached


def unit_float32(engine: Engine, count: int) -> Array:
    """float32 in [0, 1): the low 24 bits of a word each."""
    return (engine.words32(count) & np.uint32(0xFFFFFF)).astype(np.float32) * np.float32(2.0**-24)


def unit_float64(engine: Engine, count: int) -> Array:
    """float64 in [0, 1): the low 53 bits of a double word each."""
    return (engine.words64(count) & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53


def uniform(engine: Engine, count: int, low: float, high: float, dtype: np.dtype) -> Array:
    """U(low, high) in a floating dtype; what is narrower than float32 is drawn in float32 and rounded."""
    if dtype == np.float64:
        return _scaled64(unit_float64(engine, count), low, high)
    a, b = np.float32(low), np.float32(high)
    drawn = unit_float32(engine, count)
    if a != 0 or b != 1:
        drawn = _fma(drawn, np.float32(b - a), a)
    result = drawn.astype(dtype)
    result[result == np.asarray(high).astype(dtype)] = low  # rounded up to the end that is not included
    return result


def _scaled64(x: Array, low: float, high: float) -> Array:
    """x * (high - low) + low with one rounding, as the FMA instruction gives it (Dekker's exact product)."""
    width = high - low
    product = x * width
    big_x, big_w = x * 134217729.0, width * 134217729.0
    x_high, w_high = big_x - (big_x - x), big_w - (big_w - width)
    x_low, w_low = x - x_high, width - w_high
    error = ((x_high * w_high - product) + x_high * w_low + x_low * w_high) + x_low * w_low
    total = product + low
    back = total - product
    result: Array = total + (((product - (total - back)) + (low - back)) + error)
    result[result == high] = low
    return result


def integers(engine: Engine, count: int, low: int, high: int) -> Array:
    """int64 in [low, high): a word modulo the range, a double word from a range of 2**28 on."""
    span = high - low
    words = engine.words64(count) if span >= 2**28 else engine.words32(count).astype(np.uint64)
    if span < 2**64:
        words = words % np.uint64(span)
    return words.view(np.int64) + np.int64(low)


def permutation(engine: Engine, count: int) -> Array:
    """int64 0 .. count - 1 in random order, by the swaps that PyTorch makes."""
    if count >= (2**32 - 1) // 20:
        limit = (2**32 - 1) // 20
        raise NotImplementedError(f"randperm: {count} elements; PyTorch's order is reproduced below {limit}")
    order = list(range(count))
    steps = np.arange(count, 1, -1)
    for i, shift in enumerate((engine.words32(max(count - 1, 0)) % steps.astype(np.uint32)).tolist()):
        j = i + shift
        order[i], order[j] = order[j], order[i]
    return np.array(order, np.int64)


# ---- normal ------------------------------------------------------------------------------------------------------


def normal(
    engine: Engine, count: int, mean: float, std: float, dtype: np.dtype, one_by_one: bool = False
) -> Array:
    """N(mean, std**2): below 16 elements one by one in float64, else Box-Muller in blocks of 16."""
    if count < 16 or one_by_one:
        return np.array([_next_normal(engine) * std + mean for _ in range(count)], np.float64).astype(dtype)
    wide = dtype == np.float64
    unit = unit_float64 if wide else unit_float32
    box_muller = _box_muller64 if wide else _box_muller32
    result = np.empty(count, np.float64 if wide else np.float32)
    whole = count - count % 16
    for start in range(0, whole, CHUNK):
        stop = min(start + CHUNK, whole)
        result[start:stop] = box_muller(unit(engine, stop - start).reshape(-1, 2, 8), mean, std).ravel()
    rest = count - whole
    if rest:
        if dtype in (np.float32, np.float64):
            unit(engine, rest)  # PyTorch draws numbers for the rest, and then the last 16 anew
        result[-16:] = box_muller(unit(engine, 16).reshape(1, 2, 8), mean, std).ravel()
    return result.astype(dtype)


def _next_normal(engine: Engine) -> float:
    """The next number of N(0, 1) in float64; every second one was made together with the one before."""
    if engine.cached_normal is not None:
        cached, engine.cached_normal = engine.cached_normal, None
        return cached
    u1, u2 = unit_float64(engine, 2)
    radius, angle = np.sqrt(-2.0 * np.log1p(-u2)), 2.0 * np.pi * u1
    engine.cached_normal = float(radius * np.sin(angle))
    return float(radius * np.cos(angle))


def _box_muller64(u: Array, mean: float, std: float) -> Array:
    """float64 blocks (n, 2, 8) of uniform numbers to normal ones, in place."""
    radius, angle = np.sqrt(-2.0 * np.log(1.0 - u[:, 0])), 2.0 * np.pi * u[:, 1]
    for half, direction in ((0, np.cos(angle)), (1, np.sin(angle))):
        u[:, half] = radius * direction * std + mean
    return u


def _box_muller32(u: Array, mean: float, std: float) -> Array:
    """float32 blocks (n, 2, 8) of uniform numbers to normal ones, in place."""
    radius = np.sqrt(np.float32(-2) * _log32(np.float32(1) - u[:, 0]))
    sine, cosine = _sincos32(np.float32(2 * np.pi) * u[:, 1])
    u[:, 0] = _fma(radius * cosine, np.float32(std), np.float32(mean))
    u[:, 1] = _fma(radius * sine, np.float32(std), np.float32(mean))
    return u


def _fma(a: Any, b: Any, c: Any) -> Array:
    """float32 a * b + c with one rounding: the product of two float32 is exact in float64."""
    result: Array = (np.multiply(a, b, dtype=np.float64) + c).astype(np.float32)
    return result


# The polynomials of cephes as avx_mathfun.h has them: PyTorch's normal numbers are made with these, not with libm's.
_LOG = tuple(
    np.float32(c)
    for c in (
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )
)  # fmt: skip
_COS = (np.float32(2.443315711809948e-5), np.float32(-1.388731625493765e-3), np.float32(4.166664568298827e-2))
_SIN = (np.float32(-1.9515295891e-4), np.float32(8.3321608736e-3), np.float32(-1.6666654611e-1))
_QUARTERS = tuple(np.float32(-c) for c in (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8))


def _log32(x: Array) -> Array:
    """The natural logarithm of float32 in (0, 1]."""
    mantissa, exponent = np.frexp(x)
    e = exponent.astype(np.float32)
    small = mantissa < np.float32(0.707106781186547524)
    m = mantissa - np.float32(1)
    m = np.where(small, m + mantissa, m)
    e = e - small
    z = m * m
    y = np.full_like(m, _LOG[0])
    for coefficient in _LOG[1:]:
        y = _fma(y, m, coefficient)
    y = y * m
    y = _fma(y, z, e * np.float32(-2.12194440e-4))
    y = y - z * np.float32(0.5)
    return (m + y) + e * np.float32(0.693359375)


def _sincos32(x: Array) -> tuple[Array, Array]:
    """Sine and cosine of float32 in [0, 2 pi]."""
    octant = ((x * np.float32(1.27323954473516)).astype(np.int32) + 1) & ~1
    y = octant.astype(np.float32)
    for quarter in _QUARTERS:
        x = _fma(y, quarter, x)
    z = x * x
    c = np.full_like(x, _COS[0])
    for coefficient in _COS[1:]:
        c = _fma(c, z, coefficient)
    c = _fma(c * z, z, -(z * np.float32(0.5))) + np.float32(1)
    s = np.full_like(x, _SIN[0])
    for coefficient in _SIN[1:]:
        s = _fma(s, z, coefficient)
    s = _fma(s * z, x, x)
    straight = (octant & 2) == 0
    sine = np.where(straight, s, c)
    cosine = np.where(straight, c, s)
    sine = np.where(octant & 4, -sine, sine)
    return sine, np.where((octant - 2) & 4, cosine, -cosine)


# ---- other distributions: each number from a double word, one after the other -----------------------------------


def exponential(engine: Engine, count: int, rate: float) -> Array:
    """float64 with density rate * exp(-rate * x)."""
    result: Array = -1.0 / rate * np.log1p(-unit_float64(engine, count))
    return result


def cauchy(engine: Engine, count: int, median: float, sigma: float) -> Array:
    """float64 from the Cauchy distribution."""
    result: Array = median + sigma * np.tan(np.pi * (unit_float64(engine, count) - 0.5))
    return result


def log_normal(engine: Engine, count: int, mean: float, std: float) -> Array:
    """float64 whose logarithms are from N(mean, std**2)."""
    return np.exp([_next_normal(engine) * std + mean for _ in range(count)])


def geometric(engine: Engine, count: int, chance: float) -> Array:
    """float64: how many trials, each with that chance, until the first success."""
    with np.errstate(divide="ignore"):
        result: Array = np.ceil(np.log(unit_float64(engine, count)) / np.log1p(-chance))
    return result


def poisson(engine: Engine, rates: Array) -> Array:
    """float64 counts with these mean rates, one after the other: below 10 by Knuth's products of uniform numbers, else
    by transformed rejection (W. Hoermann, The transformed rejection method for generating Poisson random variables,
    1993)."""
    before = engine.state
    unused: Iterator[float] = iter(())
    used = 0

    def following() -> float:
        nonlocal unused, used
        number = next(unused, None)
        if number is None:
            unused = iter(unit_float64(engine, CHUNK).tolist())
            number = next(unused)
        used += 1
        return number

    counts = [_poisson(rate, following) for rate in rates.ravel().astype(np.float64).tolist()]
    engine.state = before
    engine.words64(used)  # the engine stands behind what was used
    return np.array(counts, np.float64).reshape(rates.shape)


def _poisson(rate: float, following: Callable[[], float]) -> float:
    if rate == 0:
        return 0.0
    if rate < 10:
        count, product, limit = -1, 1.0, math.exp(-rate)
        while product > limit or count < 0:
            product *= following()
            count += 1
        return float(count)
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse, accepted = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2)
    while True:
        u, v = following() - 0.5, following()
        edge = 0.5 - abs(u)
        k = math.floor((2 * a / edge + b) * u + rate + 0.43)
        if edge >= 0.07 and v <= accepted:
            return float(k)
        if k < 0 or (edge < 0.013 and v > edge):
            continue
        bound = -rate + k * math.log(rate) - math.lgamma(k + 1)
        if math.log(v) + math.log(inverse) - math.log(a / (edge * edge) + b) <= bound:
            return float(k)


def bernoulli(engine: Engine, chances: Array) -> Array:
    """bool, each true with its own chance: float64 chances take a double word each, narrower ones a word."""
    unit = unit_float64 if chances.dtype == np.float64 else unit_float32
    drawn: Array = unit(engine, chances.size).reshape(chances.shape) < chances
    return drawn


def any_number(engine: Engine, count: int, dtype: np.dtype) -> Array:
    """Whole numbers from 0 to the largest that dtype holds exactly along with all below it."""
    if dtype.kind == "b":
        return (engine.words32(count) & np.uint32(1)).astype(dtype)
    if dtype.kind in "iu":
        words = engine.words64(count) if dtype.itemsize == 8 else engine.words32(count)
        return (words % words.dtype.type(int(np.iinfo(dtype).max) + 1)).astype(dtype)
    words = engine.words64(count) if dtype == np.float64 else engine.words32(count)
    digits = {np.dtype(np.float64): 53, np.dtype(np.float32): 24, np.dtype(np.float16): 11}.get(dtype, 8)
    return (words % words.dtype.type(2**digits + 1)).astype(np.float64).astype(dtype)


def choices(engine: Engine, weights: Array, count: int, replacement: bool) -> Array:
    """int64 (rows, count): positions in each row of weights (rows, n), drawn in proportion to them."""
    if replacement and count > 1:
        ends = np.cumsum(weights, axis=1, dtype=weights.dtype)
        ends /= ends[:, -1:]
        ends[:, -1] = 1
        drawn = unit_float64(engine, len(weights) * count).reshape(-1, count)
        chosen = np.empty((len(weights), count), np.int64)
        for row in range(len(weights)):
            chosen[row] = np.searchsorted(ends[row].astype(np.float64), drawn[row])
        return chosen
    waits = exponential(engine, weights.size, 1.0).astype(weights.dtype).reshape(weights.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.argsort(-weights / waits, axis=1, kind="stable")[:, :count]
