"""Generators of random numbers: PyTorch's CPU numbers for the same seed, and keys for drawing on the device.

The numbers themselves: `netcl.draws` on the host, `netcl.ops.sampling` as tensors.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

import numpy as np

from netcl import draws
from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.graph.batching import Map, active, hide
from netcl.graph.value import Value, _pending, record, record_iota
from netcl.graph.views import view
from netcl.tensor import Tensor

__all__ = [
    "Generator", "default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed",
    "set_rng_state",
]  # fmt: skip

_FRESH_SEED = 67280421310721  # what PyTorch gives a new Generator
_STATE = struct.Struct("<8sQQqd?")  # mark, seed, device calls, position, cached normal, whether there is one
_MARK = b"netclrng"


class Generator:
    """A stream of random numbers. `nc.Generator().manual_seed(s)` gives what torch.Generator gives on a CPU.

    They are drawn on the host for every device, so the device given is only told again by `.device`.

    >>> import netcl as nc
    >>> nc.randperm(4, generator=nc.Generator().manual_seed(0)).tolist()
    [0, 1, 3, 2]
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = device if device == "cpu" else find_device(device)
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
        return Tensor.from_host(np.frombuffer(self._state(), np.uint8))

    def _state(self) -> bytes:
        with self.lock:
            key, position, cached = self.engine.state
            head = _STATE.pack(_MARK, self._seed, self._calls, position, cached or 0.0, cached is not None)
        return head + key.astype("<u4").tobytes()

    def set_state(self, state: Any) -> Generator:
        """Continue where get_state was called. RuntimeError for a tensor that did not come from there."""
        raw = np.asarray(state.detach().numpy() if isinstance(state, Tensor) else state)
        if raw.dtype != np.uint8 or raw.size != _STATE.size + 4 * 624 or raw[:8].tobytes() != _MARK:
            raise RuntimeError("set_state: expected the uint8 tensor that get_state returned")
        return self._restore(raw.tobytes())

    def _restore(self, state: bytes) -> Generator:
        _, seed, calls, position, cached, is_cached = _STATE.unpack(state[: _STATE.size])
        key = np.frombuffer(state[_STATE.size :], "<u4").astype(np.uint32)
        with self.lock:
            self._seed, self._calls = seed, calls
            self.engine.state = (key, position, cached if is_cached else None)
        return self

    def clone_state(self) -> Generator:
        """Another generator that goes on where this one is."""
        return _restored(self.device, self._state())

    def __reduce__(self) -> tuple:
        return _restored, (self.device, self._state())

    def device_key(self, count: int = 1) -> tuple[int, int]:
        """(seed, call number) for one draw by the counter-based generator on the device; every call is another draw.
        With a count, the number of the first of so many draws."""
        with self.lock:
            self._calls += count
            return self._seed & (2**63 - 1), self._calls - count + 1

    def __repr__(self) -> str:
        return f"<netcl.Generator seed={self._seed}>"


def _restored(device: Any, state: bytes) -> Generator:
    """Undo pickling."""
    return Generator(device)._restore(state)


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


def set_rng_state(new_state: Tensor) -> None:
    """Continue where get_rng_state was called."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True) -> Iterator[None]:
    """What is drawn inside leaves the default generator as it was. One generator serves all devices, whatever is given.

    >>> import netcl as nc
    >>> _ = nc.manual_seed(0)
    >>> with nc.random.fork_rng():
    ...     _ = nc.rand(3)
    >>> nc.rand(2)
    tensor([0.4963, 0.7682])
    """
    before = get_rng_state() if enabled else None
    try:
        yield
    finally:
        if before is not None:
            set_rng_state(before)


def dropout_key() -> tuple[int, int]:
    """(seed below 2**63, call number) of the default generator for one draw on the device, or one for each sample."""
    recorder = _pending.recorder
    count = prod([one.size for one in sampled_maps()]) if active.maps else 1
    key = partial(default_generator.device_key, count)
    return drawn(key if recorder is None else partial(recorder.numbers, key, default_generator))


def stream_of(generator: Generator | None, per_sample: bool = False) -> Generator:
    """The generator to draw from. `per_sample`: the caller draws for each sample of a map, see `sampled_maps`."""
    if sampled_maps() and not per_sample:
        raise NotImplementedError(
            "vmap(randomness='different'): this random function can't draw for each sample; draw outside vmap, or with "
            "rand, randn, randint or dropout"
        )
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"expected a netcl.Generator, got {type(generator).__name__}")
    return generator


# ---- drawing the same again --------------------------------------------------------------------------------------


class Draws:
    """What a function draws, so that it can be run again with the same numbers: `with draws:` once for each run."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.position = 0
        self.outer: Draws | None = None

    def __enter__(self) -> Draws:
        self.position, self.outer, _drawing.draws = 0, _drawing.draws, self
        return self

    def __exit__(self, *_error: object) -> None:
        _drawing.draws, self.outer = self.outer, None

    def take(self, make: Callable[[], Any]) -> Any:
        """The next draw: of the first run if there was one, else a new one."""
        if self.position == len(self.items):
            self.items.append(make() if self.outer is None else self.outer.take(make))
        self.position += 1
        return self.items[self.position - 1]


class _Drawing(threading.local):
    draws: Draws | None = None


_drawing = _Drawing()


def drawn(make: Callable[[], Any]) -> Any:
    """make(), or what it gave when this function ran first."""
    return make() if _drawing.draws is None else _drawing.draws.take(make)


# ---- inside vmap -------------------------------------------------------------------------------------------------


def sampled_maps() -> list[Map]:
    """The maps, outermost first, in which each sample has numbers of its own. RuntimeError where none may be drawn."""
    if any(one.randomness == "error" for one in active.maps):
        raise RuntimeError(
            "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
            "'different' randomness flags on vmap or perform the randomness operation out of vmap"
        )
    return [one for one in active.maps if one.randomness == "different"]


def as_samples(value: Value, maps: list[Map]) -> Value:
    """A value with an axis in front for each of the maps, as one sample of it."""
    for one in maps:
        value = hide(value, one.level)
    return value


def per_sample(call: Tensor) -> Tensor:
    """A draw's number on the device, from `dropout_key`: inside vmap, where asked for, another one for each sample."""
    maps = sampled_maps() if active.maps else []
    if not maps:
        return call
    sizes = tuple([one.size for one in maps])
    places = view("reshape", record_iota(call.device, (prod(sizes),), 0, dtypes.int64), sizes)
    return Tensor._wrap(as_samples(record("add", (places, call._value)), maps))


def permutation(n: int, generator: Generator | None = None) -> np.ndarray:
    """randperm's numbers as a host array: what shuffling and splitting read."""
    if n < 0:
        raise RuntimeError(f"randperm: n must be non-negative, got {n}")
    stream = stream_of(generator)
    with stream.lock:
        return draws.permutation(stream.engine, n)


def random_int64(generator: Generator | None = None) -> int:
    """torch.empty((), dtype=torch.int64).random_(): how DataLoader's samplers seed themselves."""
    stream = stream_of(generator)
    with stream.lock:
        return int(stream.engine.words64(1)[0]) & (2**63 - 1)
