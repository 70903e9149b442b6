"""Random numbers: PyTorch's CPU numbers for the same seed, drawn on the host, and keys for drawing on the device."""

from __future__ import annotations

import os
import struct
import threading
from math import prod
from typing import Any

import numpy as np

from netcl import draws
from netcl.autograd.tape import is_grad_enabled
from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.core.dtypes import DType
from netcl.ops.shape import sizes
from netcl.tensor import Tensor, upload

_FRESH_SEED = 67280421310721  # what PyTorch gives a new Generator
_STATE = struct.Struct("<8sQQqd?")  # mark, seed, device calls, position, cached normal, whether there is one
_MARK = b"netclrng"


class Generator:
    """A stream of random numbers. `nc.Generator().manual_seed(s)` gives what torch.Generator gives on a CPU.

    >>> import netcl as nc
    >>> nc.randperm(4, generator=nc.Generator().manual_seed(0)).tolist()
    [0, 1, 3, 2]
    """

    def __init__(self, device: str = "cpu") -> None:
        if str(device) != "cpu":
            raise RuntimeError(f"Generator: numbers are drawn on the host, device must be 'cpu', not {device!r}")
        self.lock = threading.RLock()
        self.engine = draws.Engine(_FRESH_SEED)
        self._seed = _FRESH_SEED
        self._calls = 0  # numbers the draws on the device: dropout

    def manual_seed(self, seed: int) -> Generator:
        """Start anew from a seed of up to 64 bits; negative ones count from 2**64."""
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError(f"manual_seed: expected a seed from -2**63 to 2**64 - 1, got {seed}")
        with self.lock:
            self._seed = seed % 2**64
            self.engine.seed(self._seed)
            self._calls = 0
        return self

    def seed(self) -> int:
        """Start anew from a seed of the operating system, and return it."""
        seed = int.from_bytes(os.urandom(8), "little") >> 11
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed that this stream began with."""
        return self._seed

    def get_state(self) -> Tensor:
        """Everything that set_state needs, as a uint8 tensor (it can be saved with a model)."""
        with self.lock:
            key, position, cached = self.engine.state
            head = _STATE.pack(_MARK, self._seed, self._calls, position, cached or 0.0, cached is not None)
        return Tensor(np.frombuffer(head + key.astype("<u4").tobytes(), np.uint8))

    def set_state(self, state: Any) -> Generator:
        """Continue where get_state was called. RuntimeError for a tensor that did not come from there."""
        raw = np.asarray(state.detach().numpy() if isinstance(state, Tensor) else state)
        if raw.dtype != np.uint8 or raw.size != _STATE.size + 4 * 624 or raw[:8].tobytes() != _MARK:
            raise RuntimeError("set_state: expected the uint8 tensor that get_state returned")
        _, seed, calls, position, cached, is_cached = _STATE.unpack(raw.tobytes()[: _STATE.size])
        key = np.frombuffer(raw.tobytes()[_STATE.size :], "<u4").astype(np.uint32)
        with self.lock:
            self._seed, self._calls = seed, calls
            self.engine.state = (key, position, cached if is_cached else None)
        return self

    def device_key(self) -> tuple[int, int]:
        """(seed, call number) for one draw by the counter-based generator on the device; every call is another draw."""
        with self.lock:
            self._calls += 1
            return self._seed & (2**63 - 1), self._calls

    def __repr__(self) -> str:
        return f"<netcl.Generator seed={self._seed}>"


default_generator = Generator()
default_generator.seed()


def manual_seed(seed: int) -> Generator:
    """Seed everything random in netcl: initial values, shuffling, dropout.

    >>> import netcl as nc
    >>> _ = nc.manual_seed(0)
    >>> nc.rand(2)
    tensor([0.4963, 0.7682])
    """
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed everything from the operating system, and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator began with."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator, dropout's included, as a uint8 tensor."""
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    """Continue where get_rng_state was called."""
    default_generator.set_state(state)


def dropout_key() -> tuple[int, int]:
    """(seed below 2**63, call number) of the default generator for one draw on the device."""
    return default_generator.device_key()


def _stream(generator: Generator | None) -> Generator:
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"expected a netcl.Generator, got {type(generator).__name__}")
    return generator


def _floating(name: str, dtype: DType | None) -> DType:
    dtype = dtype or dtypes.float32
    if dtype.category != 2:
        raise RuntimeError(f"{name}: expected a floating-point dtype, got {dtype}")
    return dtype


def _made(array: Any, shape: tuple[int, ...], device: Any, requires_grad: bool) -> Tensor:
    result = Tensor._wrap(upload(np.ascontiguousarray(array).reshape(shape), find_device(device)))
    return result.requires_grad_() if requires_grad else result


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """From U(0, 1)."""
    shape, dtype, stream = sizes("rand", size), _floating("rand", dtype), _stream(generator)
    with stream.lock:
        drawn = draws.uniform(stream.engine, prod(shape), 0.0, 1.0, dtype.numpy)
    return _made(drawn, shape, device, requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """From N(0, 1)."""
    shape, dtype, stream = sizes("randn", size), _floating("randn", dtype), _stream(generator)
    with stream.lock:
        drawn = draws.normal(stream.engine, prod(shape), 0.0, 1.0, dtype.numpy)
    return _made(drawn, shape, device, requires_grad)


def rand_like(input: Tensor, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """From U(0, 1) in input's shape, dtype and device."""
    return rand(input.shape, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


def randn_like(input: Tensor, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """From N(0, 1) in input's shape, dtype and device."""
    return randn(input.shape, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


def randint(
    low: int, high: Any, size: Any = None, *, generator: Generator | None = None, dtype: DType | None = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Integers from low to high - 1: randint(high, size) or randint(low, high, size). int64 unless dtype says else.

    RuntimeError for an empty range.
    """
    if size is None:
        low, high, size = 0, low, high
    low, high = int(low), int(high)
    if low >= high:
        raise RuntimeError(f"randint: expects 'from' to be less than 'to', but got from={low} >= to={high}")
    dtype, shape, stream = dtype or dtypes.int64, sizes("randint", (size,)), _stream(generator)
    info = np.iinfo(dtype.numpy) if dtype.category == 1 else None
    if info is not None and (low < info.min or high - 1 > info.max):
        raise RuntimeError(f"randint: {low} to {high - 1} does not fit {dtype} ({info.min} to {info.max})")
    with stream.lock:
        drawn = draws.integers(stream.engine, prod(shape), low, high)
    return _made(drawn.astype(dtype.numpy), shape, device, requires_grad)


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """0 .. n - 1 in random order."""
    order = permutation(n, generator).astype((dtype or dtypes.int64).numpy)
    return _made(order, (n,), device, requires_grad)


def permutation(n: int, generator: Generator | None = None) -> np.ndarray:
    """randperm's numbers as a host array: what shuffling and splitting read."""
    if n < 0:
        raise RuntimeError(f"randperm: n must be non-negative, got {n}")
    stream = _stream(generator)
    with stream.lock:
        return draws.permutation(stream.engine, n)


def random_int64(generator: Generator | None = None) -> int:
    """torch.empty((), dtype=torch.int64).random_(): how DataLoader's samplers seed themselves."""
    stream = _stream(generator)
    with stream.lock:
        return int(stream.engine.words64(1)[0]) & (2**63 - 1)


# ---- filling tensors in place ------------------------------------------------------------------------------------


def _put(tensor: Tensor, array: np.ndarray) -> Tensor:
    tensor._assign(upload(array.reshape(tensor.shape), tensor.device))
    return tensor


def uniform_fill(tensor: Tensor, low: float, high: float, generator: Generator | None = None) -> Tensor:
    """U(low, high) in place, outside the gradient graph."""
    dtype, stream = _floating("uniform_", tensor.dtype), _stream(generator)
    if not low <= high:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}")
    with stream.lock:
        return _put(tensor, draws.uniform(stream.engine, tensor.numel(), low, high, dtype.numpy))


def normal_fill(tensor: Tensor, mean: float, std: float, generator: Generator | None = None) -> Tensor:
    """N(mean, std**2) in place, outside the gradient graph."""
    dtype, stream = _floating("normal_", tensor.dtype), _stream(generator)
    if not std >= 0:
        raise RuntimeError(f"normal_ expects std >= 0.0, but found std {std}")
    with stream.lock:
        return _put(tensor, draws.normal(stream.engine, tensor.numel(), mean, std, dtype.numpy))


def _in_place_allowed(name: str, tensor: Tensor) -> None:
    if tensor.requires_grad and is_grad_enabled():
        raise RuntimeError(f"{name}: a leaf that requires a gradient can't be changed in place but under nc.no_grad()")


def uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Tensor.uniform_: U(low, high) in place."""
    _in_place_allowed("uniform_", tensor)
    return uniform_fill(tensor, low, high, generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Tensor.normal_: N(mean, std**2) in place."""
    _in_place_allowed("normal_", tensor)
    return normal_fill(tensor, mean, std, generator)


Tensor.uniform_ = uniform_  # type: ignore[attr-defined]
Tensor.normal_ = normal_  # type: ignore[attr-defined]
