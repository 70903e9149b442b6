"""Names that PyTorch has and netcl lacks: using one raises an error that names the nearest thing there is."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any


class AbsentError(AttributeError, NotImplementedError):
    """A name of PyTorch's that netcl does not have. hasattr() is False for it, as for any missing name."""


# What to do instead, where no similar name says it.
_INSTEAD = {
    "torch.complex64": "use two real tensors",
    "torch.complex128": "use two real tensors",
    "torch.hub": "use nc.load(path)",
    "torch.jit": "leave it out: netcl fuses kernels by itself",
    "torch.mps": 'use nc.device("gpu")',
    "torch.multiprocessing": "use Python's multiprocessing, with NumPy arrays",
    "torch.get_num_threads": "the OpenCL runtime has its own threads",
    "torch.range": "use nc.arange(start, end + step, step)",
    "torch.set_num_threads": "the OpenCL runtime has its own threads (POCL_MAX_PTHREAD_COUNT, CL_CONFIG_CPU_...)",
    "torch.xpu": 'use nc.device("gpu")',
    "torch.Tensor.apply_": "use operations on whole tensors",
    "torch.Tensor.data_ptr": "use .numpy()",
    "torch.Tensor.map_": "use operations on whole tensors",
    "torch.Tensor.new": "use .new_empty(size)",
    "torch.Tensor.pin_memory": "leave it out: .to(device) copies from any memory",
    "torch.Tensor.resize_": "use .reshape(size), or a new tensor",
    "torch.Tensor.set_": "assign to .data",
    "torch.Tensor.share_memory_": "share NumPy arrays between processes",
    "torch.Tensor.untyped_storage": "use .numpy()",
    "torch.nn.DataParallel": "use one device",
}
_OTHERWISE = {
    "torch.nn": "nc.nn.Module is the class to write it with",
    "torch.optim": "nc.optim.Optimizer is the class to write it with",
    "torch.utils.data": "nc.utils.data.Dataset and Sampler are the classes to write it with",
}


@cache
def _pytorchs_names() -> dict[str, frozenset[str]]:
    """PyTorch's public names by place: torch, torch.nn, torch.Tensor and so on."""
    table = (Path(__file__).parent / "pytorch_names.txt").read_text().splitlines()
    pairs = (line.partition(": ") for line in table)
    return {place: frozenset(names.split()) for place, _, names in pairs}


_there: dict[str, Mapping[str, Any]] = {}  # what each place has


def attach(modules: dict[str, dict[str, Any]]) -> None:
    """Give modules their `__getattr__`: their globals by what PyTorch calls them."""
    _there.update(modules)
    for place, names in modules.items():
        names["__getattr__"] = _module_getattr(place)


def _module_getattr(place: str) -> Callable[[str], Any]:
    described = f"module {_own(place)!r}"

    def __getattr__(name: str) -> Any:
        raise _error(place, name, described)

    return __getattr__


def method_getattr(place: str, names: Mapping[str, Any]) -> Callable[[Any, str], Any]:
    """The `__getattr__` of the class that PyTorch calls `place`, with these attributes."""
    _there[place] = names

    def __getattr__(self: Any, name: str) -> Any:
        raise _error(place, name, f"{type(self).__name__!r} object")

    return __getattr__


def _error(place: str, name: str, described: str) -> AttributeError:
    if name.startswith("_") or name not in _pytorchs_names()[place]:
        return AttributeError(f"{described} has no attribute {name!r}")
    return AbsentError(
        f"{place}.{name} is in PyTorch and not in netcl; {_INSTEAD.get(f'{place}.{name}') or _nearest(place, name)}. "
        "docs/coverage.md lists what is there"
    )


def _nearest(place: str, name: str) -> str:
    """The same name in another place, else the most similar one in this, else how to get further."""
    for other, names in _there.items():
        if callable(names.get(name)) and name in _pytorchs_names()[other]:
            return f"the nearest is {_own(other)}.{name}"
    public = {there.lower(): there for there, thing in _there[place].items() if there[0] != "_" and callable(thing)}
    close = difflib.get_close_matches(name.lower(), public, 1, 0.8)
    if close:
        return f"a similar name is {_own(place)}.{public[close[0]]}"
    return _OTHERWISE.get(place, "CONTRIBUTING.md tells how to add an operation")


def _own(place: str) -> str:
    return place.replace("torch", "netcl", 1)
