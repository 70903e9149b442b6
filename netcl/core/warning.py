"""Warnings that name the user's line, however many functions of netcl lie between."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

_INSIDE = ("netcl", "contextlib", "functools")  # what netcl's decorators run in, too


def user_frame() -> tuple[FrameType, int]:
    """The innermost frame outside netcl, and outside of what Python wraps its functions in; how far it is from the
    caller (0: the caller itself)."""
    frame, distance = sys._getframe(1), 0
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame, distance = frame.f_back, distance + 1
    return frame, distance


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first line outside netcl that led here."""
    warnings.warn(text, category, stacklevel=user_frame()[1] + 1)
