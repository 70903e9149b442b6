"""What a checkpoint holds: the parts' states, every random stream, and how far into which order of the data it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from netcl.random import Generator, default_generator

if TYPE_CHECKING:
    from netcl.trainer.trainer import Trainer

FORMAT = 2


# ---- the parts


def state_of(trainer: Trainer, train: Any) -> dict[str, Any]:
    """All that a training is, as tensors, numbers and texts."""
    state = {name: None if part is None else dict(part.state_dict()) for name, part in _parts(trainer).items()}
    return state | {
        "format": FORMAT,
        "epoch": trainer.epoch, "batch": trainer.batch, "steps": trainer.steps, "began": trainer._began,
        "stop": trainer.stop,
        "kinds": _kinds(trainer),
        "metrics": _names(trainer),
        "sums": trainer._sums,
        "history": trainer.history.rows,
        "order": trainer._order,
        "random": random_state(train),
        "callbacks": [[type(callback).__name__, callback.state_dict()] for callback in trainer.callbacks],
    }  # fmt: skip


def _parts(trainer: Trainer) -> dict[str, Any]:
    return {
        "model": trainer.model, "optimizer": trainer.optimizer, "scheduler": trainer.scheduler,
        "scaler": trainer.scaler, "ema": trainer.ema,
    }  # fmt: skip


def _kinds(trainer: Trainer) -> dict[str, str]:
    """The classes of the parts beside the model, which tells by itself what it can't load."""
    parts = {name: part for name, part in _parts(trainer).items() if name != "model"}
    return {name: "none" if part is None else type(part).__name__ for name, part in parts.items()}


def _names(trainer: Trainer) -> list[str] | None:
    """The metrics' names; None before the first batch has chosen them."""
    return None if trainer._steps.choosing else [metric.name for metric in trainer.metrics]


def check_fits(trainer: Trainer, state: Any, path: str) -> None:
    """ValueError for what is no checkpoint, and where the Trainer is made of other parts than the one that wrote it."""
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path!r} is no checkpoint of a Trainer; it cannot be resumed from")
    for name, kind in _kinds(trainer).items():
        if kind != state["kinds"][name]:
            raise ValueError(f"{path!r} was written with the {name} {state['kinds'][name]}, this Trainer has {kind}")
    wrote, now = [name for name, _ in state["callbacks"]], [type(c).__name__ for c in trainer.callbacks]
    if wrote != now:
        raise ValueError(f"{path!r} was written with the callbacks {wrote}, this Trainer has {now}")
    metrics = _names(trainer)
    if metrics is not None and metrics != state["metrics"]:
        raise ValueError(f"{path!r} was written with the metrics {state['metrics']}, this Trainer has {metrics}")


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Give a Trainer the state that state_of() told, but for the random numbers."""
    for name, part in _parts(trainer).items():
        if part is not None:
            part.load_state_dict(state[name])
    if trainer.ema is not None:
        trainer.ema.started = True
    for callback, (_, saved) in zip(trainer.callbacks, state["callbacks"], strict=True):
        callback.load_state_dict(saved)
    trainer.epoch, trainer.batch, trainer.steps = (state[key] for key in ("epoch", "batch", "steps"))
    trainer._began, trainer.stop, trainer._order = state["began"], state["stop"], state["order"]
    if trainer._steps.choosing and state["metrics"] is not None:
        trainer._steps.choose(state["metrics"])
    trainer.history.rows[:] = state["history"]
    trainer._sums = None if state["sums"] is None else [tuple(part) for part in state["sums"]]


# ---- random numbers, and the order of the data


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


def restore_random_state(state: dict[str, Any], loader: Any, ahead: dict[str, Any] | None = None) -> None:
    """Go on where random_state() was called. ValueError for a loader with another number of generators.

    ahead: the state that an epoch began with which a thread reads ahead. If the samples draw from Python's or NumPy's
    numbers, the thread has done so again, and goes on.
    """
    own = generators(loader)
    if len(own) != len(state["loader"]):
        raise ValueError(
            f"the checkpoint was made with a loader that has {len(state['loader'])} generators of its own, this one "
            f"has {len(own)}: resume with the same loader"
        )
    default_generator.set_state(state["netcl"])
    for generator, saved in zip(own, state["loader"], strict=True):
        generator.set_state(saved)
    drawn = _drawn_since(ahead)
    version, words, gauss = state["python"]
    if "python" not in drawn:
        random.setstate((version, tuple(words.tolist()), gauss))
    if "numpy" not in drawn:
        np.random.set_state(tuple(state["numpy"]))  # noqa: NPY002


def _drawn_since(before: dict[str, Any] | None) -> set[str]:
    """Which of the global streams are not where random_state() found them."""
    if before is None:
        return set()
    now = random_state(())
    return {name for name in ("python", "numpy") if not all(map(np.array_equal, now[name], before[name]))}


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
