"""Sequences of different lengths in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netcl.ops.joining import stack
from netcl.tensor import Tensor


def pad_sequence(
    sequences: Sequence[Tensor] | Tensor, batch_first: bool = False, padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:  # fmt: skip
    """Sequences (L, *) of different lengths as one tensor (longest, N, *), or (N, longest, *) with batch_first.

    >>> import netcl as nc
    >>> nc.nn.utils.rnn.pad_sequence([nc.tensor([1, 2]), nc.tensor([3])], batch_first=True)
    tensor([[1, 2],
            [3, 0]])
    """
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"pad_sequence: padding_side must be 'left' or 'right', got {padding_side!r}")
    listed = list(sequences)
    if not listed or not all(isinstance(s, Tensor) for s in listed):
        raise RuntimeError("pad_sequence: expected a non-empty sequence of tensors")
    longest = max(len(s) for s in listed)
    padded = stack([_padded(s, longest, padding_value, padding_side == "left") for s in listed], 0)
    return padded if batch_first else padded.transpose(0, 1)


def _padded(sequence: Tensor, length: int, value: float, left: bool) -> Tensor:
    from netcl.ops.creation import full
    from netcl.ops.joining import cat

    missing = length - len(sequence)
    if not missing:
        return sequence
    filler = full((missing, *sequence.shape[1:]), value, sequence.dtype, sequence.device)
    return cat([filler, sequence] if left else [sequence, filler], 0)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded tensor, by their lengths (which are read: this waits for the device)."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [rows[n][:length] for n, length in enumerate(lengths.tolist())]


def _refuse(name: str) -> Any:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{name}: packed sequences are not here; use pad_sequence and a mask")

    refused.__name__ = refused.__qualname__ = name
    refused.__doc__ = "Not here: use pad_sequence and a mask."
    return refused


pack_padded_sequence = _refuse("pack_padded_sequence")
pad_packed_sequence = _refuse("pad_packed_sequence")
pack_sequence = _refuse("pack_sequence")

__all__ = ["pack_padded_sequence", "pack_sequence", "pad_packed_sequence", "pad_sequence", "unpad_sequence"]
