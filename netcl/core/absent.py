"""Names that PyTorch has and netcl lacks: using one raises an error that names the nearest thing there is."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any


class AbsentError(AttributeError, NotImplementedError):
    """A name of PyTorch's that netcl does not have. hasattr() is False for it, as for any missing name."""


class AbsentImportError(ImportError, NotImplementedError):
    """An import of a name of PyTorch's that netcl does not have."""


# What to do instead, where no similar name says it.
_INSTEAD = {
    "torch.complex64": "use two real tensors",
    "torch.complex128": "use two real tensors",
    "torch.compiler": "leave it out, or use nc.compile",
    "torch.complex": "use two real tensors",
    "torch.sparse": "tensors are dense here",
    "torch.sparse_coo_tensor": "tensors are dense here",
    "torch.Tensor.to_sparse": "tensors are dense here",
    "torch.distributed": "netcl trains on one device",
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
    "torch.nn.parallel": "use one device",
    "torch.nn.utils.prune": "multiply the weights by a mask, in nn.utils.parametrize",
    "torch.nn.utils.stateless": "use nc.func.functional_call",
    "torch.onnx": "nc.save(model.state_dict(), path) writes safetensors, which other programs read",
    "torch.serialization": "leave it out: nc.load runs no code of a file",
    "torch.utils.benchmark": "use timeit, with nc.synchronize() before the time is taken",
    "torch.utils.cpp_extension": "nc.register_primitive adds operations in OpenCL",
    "torch.utils.dlpack": "nc.from_dlpack takes any tensor",
    "torch.utils.tensorboard": "use nc.trainer.TensorBoard, or SummaryWriter of the package tensorboardX",
}
# Modules of PyTorch's that are not in the table of names.
_MODULES = frozenset(f"torch.{name}" for name in """
    ao autograd.forward_ad autograd.profiler cuda.comm cuda.graphs cuda.nccl cuda.nvtx futures monitor
    multiprocessing nn.common_types nn.grad nn.parallel nn.qat nn.quantized nn.utils.fusion nn.utils.prune
    nn.utils.stateless onnx package serialization storage types utils.benchmark utils.bundled_inputs utils.collect_env
    utils.cpp_extension utils.data.datapipes utils.dlpack utils.flop_counter utils.hooks utils.mobile_optimizer
    utils.model_zoo utils.tensorboard
""".split())  # fmt: skip
# And for names with these parts, in torch.nn and its functions.
_LAYERS = {
    "conv": "nc.nn.functional.unfold and a matrix product do it",
    "pool": "nc.nn.functional.unfold and a reduction do it",
    "multi_?head": "nc.nn.functional.scaled_dot_product_attention has the attention",
    "transformer": "its layers can be written with nc.nn.functional.scaled_dot_product_attention",
    "lstm|gru|rnn": "write the cell with nc.nn.Linear and call it for each step",
    "upsample|interpolate": "nc.repeat_interleave repeats elements",
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
        names.setdefault("__path__", [])  # so that an import of what is absent asks the finder
    if _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)


class _Finder:
    """Asked last, when an import found nothing: says what to do instead of what PyTorch has."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        top, _, rest = name.partition(".")
        if top != "netcl" or not rest:
            return
        place, _, last = f"torch.{rest}".rpartition(".")
        if place.startswith("torch.nn.modules."):  # one file of nn's modules
            place = "torch.nn"
        if f"{place}.{last}" in _MODULES or (place in _there and last in _pytorchs_names().get(place, ())):
            raise AbsentImportError(_advice(place, last), name=name)


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
    known = name in _pytorchs_names().get(place, ()) or f"{place}.{name}" in _MODULES
    if name.startswith("_") or not known:
        return AttributeError(f"{described} has no attribute {name!r}")
    return AbsentError(_advice(place, name))


def _advice(place: str, name: str) -> str:
    return (
        f"{place}.{name} is in PyTorch and not in netcl; {_INSTEAD.get(f'{place}.{name}') or _nearest(place, name)}. "
        "docs/coverage.md lists what is there"
    )


def _nearest(place: str, name: str) -> str:
    """The same name in another place, else the most similar one in this, else how to get further."""
    if place.startswith("torch.nn"):
        for part, instead in _LAYERS.items():
            if re.search(part, name.lower()):
                return instead
    for other, names in _there.items():
        if callable(names.get(name)) and name in _pytorchs_names().get(other, ()):
            return f"the nearest is {_own(other)}.{name}"
    here = _there.get(place, {})
    public = {there.lower(): there for there, thing in here.items() if there[0] != "_" and callable(thing)}
    close = difflib.get_close_matches(name.lower(), public, 1, 0.8)
    if close:
        return f"a similar name is {_own(place)}.{public[close[0]]}"
    return _OTHERWISE.get(place, "CONTRIBUTING.md tells how to add an operation")


def _own(place: str) -> str:
    return place.replace("torch", "netcl", 1)
