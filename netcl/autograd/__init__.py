"""Gradients: the tape, `backward`, `grad`, the modes, and the check against differences."""

from netcl.autograd.tape import Node, Tape, enable_grad, grad, is_grad_enabled, no_grad

from netcl.autograd.gradcheck import gradcheck, gradgradcheck  # isort: skip  (it uses the tape)

__all__ = ["Node", "Tape", "enable_grad", "grad", "gradcheck", "gradgradcheck", "is_grad_enabled", "no_grad"]
