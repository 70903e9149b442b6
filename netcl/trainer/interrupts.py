"""Ctrl-C while training: noted, so that the step in hand is finished and saved; a second one interrupts at once."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupts:
    """`with Interrupts() as interrupts:` then `interrupts.seen` tells. In other threads than the main one Ctrl-C does
    what it always does."""

    def __init__(self) -> None:
        self.seen = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if before is signal.default_int_handler:  # a handler of the user's stays in charge
                self._before = before
                signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: Any) -> None:
        if self.seen:
            signal.signal(signal.SIGINT, self._before)
            raise KeyboardInterrupt
        self.seen = True

    def __exit__(self, *_error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
