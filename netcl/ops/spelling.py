"""Arguments by other names: NumPy's, which PyTorch takes as well (`x.sum(axis=1, keepdims=True)`), and those of sizes
and dimensions that may be given one by one (`x.flip(0, 1)` is `x.flip(dims=(0, 1))`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any

Respell = Callable[[tuple, dict[str, Any]], tuple]  # positional arguments from both; keyword arguments change in place

NAMES = {"axis": "dim", "keepdims": "keepdim"}
_PARTS = {"indices": "indices_or_sections", "sections": "indices_or_sections"}
OF_ONE = {
    "split": {"split_size": "split_size_or_sections"}, "tensor_split": _PARTS, "hsplit": _PARTS, "vsplit": _PARTS,
    "dsplit": _PARTS,
}  # fmt: skip
ONE_BY_ONE = {
    "broadcast_to": ("size",), "expand": ("size",), "flip": ("dims",), "new_empty": ("size",), "new_ones": ("size",),
    "new_zeros": ("size",), "permute": ("dims",), "repeat": ("repeats",), "reshape": ("shape",),
    "sum_to_size": ("size",), "tile": ("dims",), "view": ("size", "dtype"),
}  # fmt: skip


def respelled(name: str, function: FunctionType) -> Respell | None:
    """What brings the arguments of the function of this name into its own words; None if it has no others."""
    code = function.__code__
    own = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if name in ONE_BY_ONE:
        return partial(_one_by_one, name, ONE_BY_ONE[name])
    names = {**(NAMES if "dim" in own else {}), **OF_ONE.get(name, {})}
    return partial(_renamed, name, names) if names else None


def _renamed(function: str, names: Mapping[str, str], args: tuple, kwargs: dict[str, Any]) -> tuple:
    if not names.keys().isdisjoint(kwargs):
        for given, meant in names.items():
            if given in kwargs:
                if meant in kwargs:
                    raise TypeError(f"{function}: {given} and {meant} are the same argument; give one")
                kwargs[meant] = kwargs.pop(given)
    return args


def _one_by_one(function: str, names: tuple[str, ...], args: tuple, kwargs: dict[str, Any]) -> tuple:
    for name in names:
        if name in kwargs:
            if len(args) > ("input" not in kwargs):
                raise TypeError(f"{function}: {name} is given twice")
            args = *args, kwargs.pop(name)
    return (kwargs.pop("input"), *args) if "input" in kwargs else args
