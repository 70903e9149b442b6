"""weight_norm and spectral_norm by a hook, with the parameter names of older models' files. New ones are better
served by `netcl.nn.utils.parametrizations`."""

from __future__ import annotations

from typing import Any

from netcl.autograd.tape import no_grad
from netcl.nn.module import Module
from netcl.nn.parameter import Parameter
from netcl.nn.utils.parametrizations import _SpectralNorm, _WeightNorm
from netcl.tensor import Tensor


class _Hook:
    """Puts a weight in place before each forward; `part` computes it from the module's tensors named by `suffixes`."""

    def __init__(self, kind: str, name: str, part: Any, suffixes: tuple[str, ...]) -> None:
        self.kind = kind
        self.name = name
        self.part = part
        self.suffixes = suffixes

    def compute(self, module: Module) -> Tensor:
        if isinstance(self.part, _SpectralNorm):
            self.part.training = module.training
            self.part._u, self.part._v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        made: Tensor = self.part(*[getattr(module, self.name + suffix) for suffix in self.suffixes])
        return made

    def __call__(self, module: Module, args: tuple) -> None:
        setattr(module, self.name, self.compute(module))


def _install(module: Module, hook: _Hook) -> Module:
    setattr(module, hook.name, hook.compute(module))
    module.register_forward_pre_hook(hook)
    return module


def _remove(kind: str, module: Module, name: str) -> Module:
    for number, (hook, _) in module._forward_pre_hooks.items():
        if isinstance(hook, _Hook) and (hook.kind, hook.name) == (kind, name):
            with no_grad():
                value = hook.compute(module).detach()
            delattr(module, name)
            for suffix in (*hook.suffixes, *(("_u", "_v") if kind == "spectral_norm" else ())):
                delattr(module, name + suffix)
            module.register_parameter(name, Parameter(value))
            del module._forward_pre_hooks[number]
            module._hooks_changed()
            return module
    raise ValueError(f"{kind} of '{name}' not found in {module}")


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train a weight's lengths and directions apart, as parameters weight_g and weight_v."""
    _refuse_twice("weight_norm", module, name)
    part = _WeightNorm(dim)
    weight = getattr(module, name)
    with no_grad():
        lengths, directions = part.right_inverse(weight.detach())
    delattr(module, name)
    module.register_parameter(name + "_g", Parameter(lengths.detach()))
    module.register_parameter(name + "_v", Parameter(directions.detach()))
    return _install(module, _Hook("weight_norm", name, part, ("_g", "_v")))


def _refuse_twice(kind: str, module: Module, name: str) -> None:
    for hook, _ in module._forward_pre_hooks.values():
        if isinstance(hook, _Hook) and (hook.kind, hook.name) == (kind, name):
            raise RuntimeError(f"Cannot register two {kind} hooks on the same parameter {name}")


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight one parameter again."""
    return _remove("weight_norm", module, name)


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value: the parameter is weight_orig, with buffers weight_u, weight_v."""
    _refuse_twice("spectral_norm", module, name)
    weight = getattr(module, name)
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    part = _SpectralNorm(weight, n_power_iterations, dim, eps)
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    for suffix in ("_u", "_v"):
        module.register_buffer(name + suffix, getattr(part, suffix))
    return _install(module, _Hook("spectral_norm", name, part, ("_orig",)))


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight one parameter again."""
    return _remove("spectral_norm", module, name)
