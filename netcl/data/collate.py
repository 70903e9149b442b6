"""From samples to a batch: everything is put together on the host and uploaded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netcl.data.host import HostTensor, batch_tensor
from netcl.graph.transfer import to_host
from netcl.ops.host_data import host_array
from netcl.tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """Samples put together along a new first dimension: tensors, arrays and numbers become tensors, strings stay;
    mappings, tuples and lists are put together entry by entry. In a worker the tensors are NumPy arrays (HostTensor).

    TypeError for other things, RuntimeError for samples that don't fit together.

    >>> from netcl.data import default_collate
    >>> default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ('a', 'b')]
    """
    if not len(batch):
        raise RuntimeError("default_collate: a batch needs at least one sample")
    first = batch[0]
    if isinstance(first, Tensor):
        return batch_tensor(_stacked([to_host(sample._value) for sample in batch]), first.device)
    if isinstance(first, (np.ndarray, np.generic)):
        device = first.place if isinstance(first, HostTensor) else None
        return batch_tensor(_stacked([np.asarray(sample) for sample in batch]), device)
    if isinstance(first, float):
        return batch_tensor(np.array(batch, np.float64))
    if isinstance(first, int):  # and bool, alone or mixed with other numbers
        return batch_tensor(host_array(list(batch), None))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("default_collate: each element in list of batch should be of equal size")
        entries = [default_collate(entry) for entry in zip(*batch, strict=True)]
        return type(first)(*entries) if hasattr(first, "_fields") else entries
    raise TypeError(
        f"default_collate: found {type(first)} in a batch; tensors, NumPy arrays, numbers, strings, mappings and "
        "sequences can be put together, for other things pass collate_fn"
    )


def _stacked(arrays: list[np.ndarray]) -> np.ndarray:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        listed = sorted(map(list, shapes))
        raise RuntimeError(f"default_collate: expected samples of one shape, got {listed}; pad them in collate_fn")
    return np.stack(arrays)


def default_convert(sample: Any) -> Any:
    """One sample as it is, NumPy arrays as tensors: what a DataLoader without batches gives."""
    if isinstance(sample, (np.ndarray, np.generic)) and np.asarray(sample).dtype.kind in "fiub":
        return sample if isinstance(sample, HostTensor) else batch_tensor(np.asarray(sample))
    if isinstance(sample, Mapping):
        return {key: default_convert(value) for key, value in sample.items()}
    if isinstance(sample, tuple):
        entries = [default_convert(entry) for entry in sample]
        return type(sample)(*entries) if hasattr(sample, "_fields") else entries
    if isinstance(sample, list):
        return [default_convert(entry) for entry in sample]
    return sample
