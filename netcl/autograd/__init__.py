"""Gradients: the tape, `backward`, `grad`, and the modes."""

from netcl.autograd.tape import Node, Tape, enable_grad, grad, is_grad_enabled, no_grad

__all__ = ["Node", "Tape", "enable_grad", "grad", "is_grad_enabled", "no_grad"]
