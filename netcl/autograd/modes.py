"""Modes that are set by call, block or decorator: gradients on or off, inference, the search for NaN."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Any

from netcl.autograd.tape import _state


class set_grad_enabled:
    """Sets whether operations are recorded for gradients: at once, and until a `with` block ends; or as a decorator.

    >>> import netcl as nc
    >>> w = nc.tensor([1.0], requires_grad=True)
    >>> with nc.set_grad_enabled(False):
    ...     (w * 2).requires_grad
    False
    """

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self.before = _state.enabled
        _state.enabled = self.mode

    def __call__(self, function: Callable) -> Callable:
        _state.enabled = self.before  # a decorator changes nothing until its function is called

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with set_grad_enabled(self.mode):
                return function(*args, **kwargs)

        return called

    def __enter__(self) -> None:
        _state.enabled = self.mode

    def __exit__(self, *_error: object) -> None:
        _state.enabled = self.before


class inference_mode(ContextDecorator):
    """no_grad under the name that PyTorch's scripts use for evaluation; inference_mode(False) is enable_grad.

    What is made inside are ordinary tensors without a graph: unlike PyTorch's they may take part in training later.

    >>> import netcl as nc
    >>> w = nc.tensor([1.0], requires_grad=True)
    >>> with nc.inference_mode():
    ...     (w * 2).requires_grad
    False
    """

    def __new__(cls, mode: Any = True) -> Any:
        if callable(mode):  # used as a bare decorator
            return cls()(mode)
        return super().__new__(cls)

    def __init__(self, mode: Any = True) -> None:
        self.mode = bool(mode)
        self.before: list[tuple[bool, bool]] = []

    def _recreate_cm(self) -> inference_mode:
        return inference_mode(self.mode)

    def __enter__(self) -> None:
        self.before.append((_state.enabled, _state.inference))
        _state.enabled, _state.inference = not self.mode, self.mode

    def __exit__(self, *_error: object) -> None:
        _state.enabled, _state.inference = self.before.pop()


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside inference_mode."""
    return _state.inference


class set_detect_anomaly:
    """Switches the search for NaN on or off: at once, and until a `with` block ends. See detect_anomaly."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.before = (_state.anomaly, _state.check_nan)
        _state.anomaly, _state.check_nan = bool(mode), bool(check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        _state.anomaly, _state.check_nan = self.before


class detect_anomaly(ContextDecorator):
    """For debugging: a backward inside raises RuntimeError where an operation's gradient has a NaN, with its name and
    the line where it was recorded (inside, too). Every gradient is read, so this is slow. Counts for this thread.

    check_nan=False only remembers the lines.

    >>> import netcl as nc
    >>> x = nc.tensor([0.0], requires_grad=True)
    >>> with nc.autograd.detect_anomaly():
    ...     y = (x.sqrt() * 0.0).sum()
    ...     y.backward()
    Traceback (most recent call last):
    ...
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output; the operation was recorded at ...
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self.before: list[set_detect_anomaly] = []

    def _recreate_cm(self) -> detect_anomaly:
        return detect_anomaly(self.check_nan)

    def __enter__(self) -> None:
        self.before.append(set_detect_anomaly(True, self.check_nan))

    def __exit__(self, *_error: object) -> None:
        self.before.pop().__exit__()


def is_anomaly_enabled() -> bool:
    """Whether gradients are searched for NaN in this thread, or only lines are remembered."""
    return _state.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    """Whether that search reads the gradients."""
    return _state.check_nan
