"""Warnings that name the user's line, however many functions of netcl lie between."""

from __future__ import annotations

import sys
import warnings

_INSIDE = ("netcl", "contextlib", "functools")  # what netcl's decorators run in, too


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first line outside netcl that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)
