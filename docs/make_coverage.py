"""Writes docs/coverage.md, which of PyTorch's names netcl has, and netcl/core/pytorch_names.txt, PyTorch's names.

`make coverage` runs it. Both are found by looking into the two packages; only what a look can't find is in NOTES.
"""

from __future__ import annotations

import inspect
import re
import types
from pathlib import Path
from typing import Any

import torch

import netcl as nc

ROOT = Path(__file__).resolve().parents[1]
PAGE, NAMES = ROOT / "docs" / "coverage.md", ROOT / "netcl" / "core" / "pytorch_names.txt"
PLACES = """
    torch torch.Tensor torch.nn torch.nn.functional torch.nn.init torch.optim torch.optim.lr_scheduler torch.autograd
    torch.utils.data torch.linalg torch.special torch.amp torch.func torch.distributions torch.nn.utils
    torch.nn.utils.parametrizations torch.nn.utils.rnn torch.optim.swa_utils torch.autograd.functional
""".split()
# Arguments that PyTorch's functions share and netcl's don't: told once, at the top of the page.
SHARED = {"names"}
OLD = {"size_average", "reduce", "orig_func"}  # of modules and losses: deprecated, or never given by name
# Packages and classes of `torch` that a user meets; the others are its machinery.
WANTED = """
    Generator GradScaler Size Stream Tensor UntypedStorage accelerator amp autocast autograd backends compiler cuda
    device distributed distributions dtype enable_grad export fft finfo func fx hub iinfo inference_mode jit
    layout library linalg masked memory_format
    mps multiprocessing nested nn no_grad optim overrides profiler quantization random
    set_grad_enabled signal sparse special testing utils xpu OutOfMemoryError e inf nan newaxis pi default_generator
    batch_norm layer_norm group_norm instance_norm rms_norm dropout embedding relu relu_ selu celu rrelu threshold
    log_softmax max_pool1d max_pool2d max_pool3d detach fill fill_ index_fill index_put index_put_ masked_fill
    masked_scatter clamp_min clamp_max zero_ is_same_size is_signed binomial scalar_tensor
    BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor LongTensor ShortTensor
""".split()
HIDDEN = re.compile(
    r"Lazy\w+|Q\w*Tensor|\w*(?:_copy|quantize\w*|fake_quant\w*)|sym_\w+|import_ir\w*|parse_\w+|unify_type_list|"
    r"merge_type\w+|quantized_\w+|fork|wait|is_storage|fbgemm\w+|q?u?int\d+x\d+|bits\w*|bit|q\w*int\d+|u?int[1-7]|"
    r"float[48]_\w+|handle_torch_function|has_torch_function\w*|boolean_dispatch|assert_int_or_pair|\w*DataPipe|"
    r"factory_kwargs|Container|NLLLoss2d|CrossMapLRN2d|functional_datapipe|runtime_validation\w*|argument_validation|"
    r"guaranteed_datapipes_determinism|non_deterministic|DataChunk|is_vulkan|is_ipu|is_maia|is_mtia|is_xla|ipu|mtia|"
    r"native_channel_shuffle|Scaling\w+|Swizzle\w+|Uninitialized\w+|init_num_threads|thread_safe_generator|reinforce|"
    r"volatile|as_subclass|compiled_with_cxx11_abi|typename|DeviceType|Profiler\w+|overload|cast|kineto_available|"
    r"(?:NestedIO|Saved)\w+|is_tensor_like|variable|enforce_grad_layout_policy|is_mkldnn|storage\w*|storage_type"
)
# What differs and can't be seen in a signature.
NOTES = {
    "torch.Tensor": "takes dtype and requires_grad too",
    "torch.as_tensor": "copies NumPy arrays",
    "torch.asarray": "copies what is no tensor",
    "torch.bernoulli": "on Intel's CPUs PyTorch draws other numbers",
    "torch.compile": "makes no Module of a module: its parts and state_dict are the module's own",
    "torch.cuda": "is_available() is False; GPUs are OpenCL devices: nc.devices()",
    "torch.device": "a function that finds an OpenCL device",
    "torch.from_dlpack": "copies",
    "torch.from_numpy": "copies",
    "torch.frombuffer": "copies",
    "torch.get_rng_state": "another format of the state",
    "torch.load": "reads safetensors files; never pickles; map_location is one device",
    "torch.multinomial": "without replacement, on Intel's CPUs PyTorch draws other numbers",
    "torch.normal": "equal to PyTorch's numbers up to rounding where mean or std is a tensor",
    "torch.save": "writes safetensors files",
    "torch.utils": "only data, cuda, accelerator and backends",
    "torch.Tensor.cpu": "moves to the CPU's OpenCL device",
    "torch.Tensor.cuda": 'raises, and names .to("gpu")',
    "torch.Tensor.bernoulli_": "with a number, on Intel's CPUs PyTorch draws other numbers",
    "torch.Tensor.exponential_": "on Intel's CPUs PyTorch draws other numbers",
    "torch.Tensor.grad_fn": "named after netcl's operations",
    "torch.Tensor.numpy": "copies",
    "torch.Tensor.as_strided": "places that are shown twice can't be written to",
    "torch.as_strided": "places that are shown twice can't be written to",
    "torch.accelerator": "the first GPU that works with OpenCL; without memory statistics and streams",
    "torch.backends": "the switches of cuda, cudnn and mps, which are off",
    "torch.nn.utils.rnn.pack_padded_sequence": "raises, and names pad_sequence",
    "torch.nn.utils.rnn.pack_sequence": "raises, and names pad_sequence",
    "torch.nn.utils.rnn.pad_packed_sequence": "raises, and names pad_sequence",
    "torch.distributions": "only Bernoulli, Categorical, Normal, Uniform and kl_divergence",
    "torch.set_float32_matmul_precision": "products of float32 matrices are always computed in float32",
    "torch.testing": "only assert_close",
    "torch.Tensor.view": "view(dtype) is for reading: while it is there, neither can be written to",
    "torch.Tensor.type": "names such as 'netcl.FloatTensor'; takes PyTorch's too",
    "torch.nn.functional.ctc_loss": "the derivative by log_probs itself; the same as PyTorch's behind a log_softmax",
    "torch.nn.functional.multi_margin_loss": "no rows have a mean of nan, not 0; a NaN score makes the loss NaN",
    "torch.nn.functional.multilabel_margin_loss": "no rows have a mean of nan, not 0",
    "torch.nn.functional.dropout": "its masks are drawn on the device: other ones than PyTorch's",
    "torch.nn.Dropout": "its masks are drawn on the device: other ones than PyTorch's",
}


def found(package: Any, place: str) -> Any:
    """What a place such as torch.nn is in a package; None where it has no such thing."""
    for name in place.split(".")[1:]:
        package = getattr(package, name, None)
    return package


def public_names(place: str) -> list[str]:
    """The names of one of PyTorch's modules or classes that its users meet."""
    holder = found(torch, place)
    listed = getattr(holder, "__all__", None) if place not in ("torch", "torch.Tensor") else None
    return sorted(name for name in listed or dir(holder) if _is_public(place, name, getattr(holder, name)))


def _is_public(place: str, name: str, thing: Any) -> bool:
    if name.startswith("_") or HIDDEN.fullmatch(name):
        return False
    if place == "torch.nn.init" and name[-1] != "_":
        return name == "calculate_gain"
    if place == "torch":
        documented = callable(thing) and not inspect.isclass(thing) and len(thing.__doc__ or "") > 40
        return name in WANTED or isinstance(thing, torch.dtype) or (documented and not name.endswith("_"))
    if place == "torch.Tensor":
        return True
    if isinstance(thing, types.ModuleType) or not callable(thing):
        return place == "torch.optim" and name == "lr_scheduler"
    own = getattr(thing, "__module__", None) or place
    return own.startswith("torch") and not (place != "torch.nn.functional" and name == "Tensor") and thing is not Any


def arguments(place: str, thing: Any, name: str) -> list[str]:
    """The names of a callable's arguments, from its signature or from the first line of its documentation.

    Of a tensor's methods, only those with a default: PyTorch's documentation has its own names for the others.
    """
    try:
        return [p.name for p in inspect.signature(thing).parameters.values() if p.kind not in (2, 4)]  # no *args
    except (TypeError, ValueError):
        match = re.match(rf"\s*{name}\((.*?)\)\s*(?:->|\n)", thing.__doc__ or "", re.DOTALL)
    if match is None:
        return []
    parts = re.split(r",(?![^(\[]*[)\]])", match[1].replace("\\", ""))
    if place == "torch.Tensor":
        parts = [part for part in parts if "=" in part]
    names = [re.split(r"[:=\s]", part.strip())[0] for part in parts]
    return [part for part in names if part.isidentifier() and part != "from"]


def missing_arguments(place: str, ours: Any, theirs: Any, name: str) -> list[str]:
    """Arguments that PyTorch's callable has and netcl's lacks; the first ones may have other names."""
    wanted = arguments(place, theirs, name)
    if not callable(ours):
        return []
    try:
        own = inspect.signature(ours).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = {parameter.kind for parameter in own}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return []
    have = {parameter.name for parameter in own}
    positional = inspect.Parameter.VAR_POSITIONAL in kinds
    skipped = {"self", "input", "tensor", "sizes", "size", "dims"} if not positional else set(wanted[:3]) | {"self"}
    return [name for name in wanted if name not in have | SHARED | OLD | skipped and not name.startswith("_")]


def compared(place: str) -> tuple[list[str], dict[str, str], list[str]]:
    """Names that are the same, that differ (and how), and that are absent."""
    ours, theirs = found(nc, place), found(torch, place)
    same: list[str] = []
    differs: dict[str, str] = {}
    absent: list[str] = []
    for name in public_names(place):
        if ours is None or not hasattr(ours, name):
            absent.append(name)
            continue
        mine, his = getattr(ours, name), getattr(theirs, name)
        missing = missing_arguments(place, mine, his, name) if not isinstance(mine, property) else []
        texts = [NOTES[f"{place}.{name}"]] if f"{place}.{name}" in NOTES else []
        if missing:
            texts.append(f"no argument{'s' * (len(missing) > 1)} {', '.join(missing)}")
        if texts:
            differs[name] = "; ".join(texts)
        else:
            same.append(name)
    return same, differs, absent


def page() -> str:
    """The text of docs/coverage.md."""
    results = {place: compared(place) for place in PLACES}
    lines = [
        "# What of PyTorch is there",
        "",
        f"Made by `make coverage` from PyTorch {torch.__version__.partition('+')[0]} and netcl; don't edit.",
        "",
        "*Same* means: the name is there and takes PyTorch's arguments; the tests compare the values. *Differs* says",
        "how. Using a name that is *absent* raises an error that names the nearest thing there is.",
        f"The argument {', '.join(sorted(f'`{name}`' for name in SHARED))} is not there, and not listed each time.",
        "Of `memory_format` and `layout` there are the values that mean elements in order; `pin_memory` is False.",
        "Complex, quantised and sparse tensors are not there.",
        "",
        "| | same | differs | absent |",
        "|---|---|---|---|",
    ]
    for place, (same, differs, absent) in results.items():
        lines.append(f"| [{place}](#{place.replace('.', '').lower()}) | {len(same)} | {len(differs)} | {len(absent)} |")
    for place, (same, differs, absent) in results.items():
        lines += ["", f"## {place}"]
        if same:
            lines += ["", f"**Same:** {_listed(same)}"]
        if differs:
            lines += ["", "**Differs:**", "", *(f"- `{name}`: {how}" for name, how in differs.items())]
        if absent:
            lines += ["", f"**Absent:** {_listed(absent)}"]
    return "\n".join(lines) + "\n"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def names_table() -> str:
    """The text of netcl/core/pytorch_names.txt: a place and its names on each line."""
    return "".join(f"{place}: {' '.join(public_names(place))}\n" for place in PLACES)


if __name__ == "__main__":
    NAMES.write_text(names_table())
    PAGE.write_text(page())
