"""The words for how elements lie in memory: `memory_format=`, `layout=` and `pin_memory=`.

netcl chooses that itself: new tensors have their elements in order, on a device. The values that say so are taken, by
the functions that take them in PyTorch; others raise NotImplementedError.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

__all__ = """
    channels_last channels_last_3d contiguous_format layout memory_format preserve_format strided
""".split()


class memory_format(Enum):
    """How the elements of a result lie: contiguous_format and preserve_format mean in order, others are not there."""

    contiguous_format = 0
    preserve_format = 1
    channels_last = 2
    channels_last_3d = 3

    def __repr__(self) -> str:
        return f"netcl.{self.name}"

    __str__ = __repr__


class layout(Enum):
    """How a tensor keeps its elements: strided, each of them. There are no sparse tensors."""

    strided = 0

    def __repr__(self) -> str:
        return f"netcl.{self.name}"

    __str__ = __repr__


contiguous_format, preserve_format = memory_format.contiguous_format, memory_format.preserve_format
channels_last, channels_last_3d = memory_format.channels_last, memory_format.channels_last_3d
strided = layout.strided

# Of functions and methods, who takes which word.
_NEW = "empty full new_empty new_full new_ones new_tensor new_zeros ones scalar_tensor zeros"
_LIKE = "empty_like full_like ones_like rand_like randint_like randn_like zeros_like"
_DRAWN = "normal rand randint randn randperm"
_RANGES = "arange eye linspace logspace tril_indices triu_indices"
_WINDOWS = "bartlett_window blackman_window hamming_window hann_window kaiser_window"
_CASTS = "bfloat16 bool byte char double float half int long short"
_TAKEN = {
    "memory_format": f"{_LIKE} {_CASTS} clone contiguous cpu cuda empty is_contiguous to type",
    "layout": f"{_NEW} {_LIKE} {_DRAWN} {_RANGES} {_WINDOWS}",
    "pin_memory": f"{_NEW} {_LIKE} {_DRAWN} {_RANGES} {_WINDOWS} tensor",
}
_TAKERS = {word: frozenset(names.split()) for word, names in _TAKEN.items()}
_KINDS: dict[str, type] = {"memory_format": memory_format, "layout": layout, "pin_memory": bool}
_REFUSED = {
    "memory_format": "elements of new tensors lie in order; leave it out (the elements are the same), or permute",
    "pin_memory": "a tensor's elements are in its device's memory; leave it out, .to(device) copies from any memory",
}


def words_of(name: str) -> tuple[str, ...]:
    """Which of these words the function of this name takes."""
    return tuple(word for word, names in _TAKERS.items() if name in names)


def check_word(name: str, word: str, value: Any) -> None:
    """TypeError for a value of another kind, NotImplementedError for what netcl does not do."""
    if value is None:
        return
    if not isinstance(value, _KINDS[word]):
        wanted = "a bool" if word == "pin_memory" else f"an nc.{word}"
        raise TypeError(f"{name}: {word} must be {wanted}, got {value!r}")
    if value in (channels_last, channels_last_3d) or value is True:
        raise NotImplementedError(f"{name}: {word}={value!r} is not there: {_REFUSED[word]}")
