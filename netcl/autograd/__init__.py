"""Gradients: the tape, `backward`, `grad`, the modes, `Function`, and the check against differences."""

from netcl.autograd.tape import Node, Tape, enable_grad, is_grad_enabled, no_grad

# These use the tape, which has to be there first.
from netcl.autograd import function, functional, graph  # isort: skip
from netcl.autograd.function import Function  # isort: skip
from netcl.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck  # isort: skip
from netcl.autograd.gradients import Variable, backward, grad  # isort: skip
from netcl.autograd.modes import (  # isort: skip
    detect_anomaly,
    inference_mode,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    is_inference_mode_enabled,
    set_detect_anomaly,
    set_grad_enabled,
)

__all__ = [
    "Function", "GradcheckError", "Node", "Tape", "Variable", "backward", "detect_anomaly", "enable_grad", "function",
    "functional", "grad", "gradcheck", "gradgradcheck", "graph", "inference_mode", "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled", "is_grad_enabled", "is_inference_mode_enabled", "no_grad", "set_detect_anomaly",
    "set_grad_enabled",
]  # fmt: skip
