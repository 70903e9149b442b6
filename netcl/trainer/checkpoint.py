"""What a checkpoint holds beside the weights: every random stream, and how far into which order of the data it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from netcl.random import Generator, default_generator

FORMAT = 1


def generators(loader: Any) -> list[Generator]:
    """The generators of its own that a loader or its samplers draw the order from."""
    found: dict[int, Generator] = {}
    places = [loader]
    while places:
        place = places.pop()
        own = getattr(place, "generator", None)
        if isinstance(own, Generator) and own is not default_generator:
            found.setdefault(id(own), own)
        for name in ("loader", "batch_sampler", "sampler"):
            inner = getattr(place, name, None)
            if inner is not None and inner is not place:
                places.append(inner)
    return list(found.values())


def random_state(loader: Any) -> dict[str, Any]:
    """The state of everything random: netcl's generator (the host's numbers, and the count of the device's draws),
    the loader's own ones, and the global ones of Python and NumPy, which a dataset may use."""
    version, words, gauss = random.getstate()
    kind, key, *rest = np.random.get_state()  # noqa: NPY002  (the user's code may use it)
    return {
        "netcl": _state(default_generator),
        "loader": [_state(generator) for generator in generators(loader)],
        "python": [version, np.array(words, np.uint32), gauss],
        "numpy": [kind, np.array(key, np.uint32), *rest],
    }


def _state(generator: Generator) -> np.ndarray:
    return np.frombuffer(generator._state(), np.uint8)


def restore_random_state(state: dict[str, Any], loader: Any) -> None:
    """Go on where random_state() was called. ValueError for a loader with another number of generators."""
    own = generators(loader)
    if len(own) != len(state["loader"]):
        raise ValueError(
            f"the checkpoint was made with a loader that has {len(state['loader'])} generators of its own, this one "
            f"has {len(own)}: resume with the same loader"
        )
    default_generator.set_state(state["netcl"])
    for generator, saved in zip(own, state["loader"], strict=True):
        generator.set_state(saved)
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    np.random.set_state(tuple(state["numpy"]))  # noqa: NPY002


def check_rereadable(loader: Any, epochs: int, resumable: bool) -> None:
    """ValueError for data that can be read only once, or, if `resumable`, whose order cannot be found again."""
    if isinstance(loader, Iterator) and (epochs > 1 or resumable):
        raise ValueError("the training data is an iterator, which can be read only once; give a DataLoader or a list")
    inner = getattr(loader, "loader", loader)
    if resumable and getattr(inner, "persistent_workers", False) and getattr(inner, "num_workers", 0):
        raise ValueError(
            "checkpoint= resumes bit for bit, and persistent workers carry random numbers from epoch to epoch: use "
            "persistent_workers=False"
        )


def skipped(iterator: Iterator[Any], count: int) -> Iterator[Any]:
    """An iterator behind its first `count` batches, which are read again so that its datasets and workers draw what
    they drew. ValueError if there are fewer."""
    for number in range(count):
        try:
            next(iterator)
        except StopIteration:
            raise ValueError(
                f"the checkpoint was made after {count} batches of an epoch, but the data has only {number}: resume "
                "with the same data and batch size"
            ) from None
    return iterator
