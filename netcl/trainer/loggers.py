"""Logging: a CSV file, TensorBoard, and the progress bar of a terminal."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netcl.trainer.callbacks import Callback
from netcl.trainer.history import HELD_OUT

if TYPE_CHECKING:
    from netcl.trainer.trainer import Trainer


class CSVLogger(Callback):
    """Write the history to a CSV file after each epoch: a line for each, the numbers in full.

    The file is replaced as a whole, so it is never half-written, and resumed training goes on in it.
    """

    def __init__(self, path: Any) -> None:
        self.path = Path(path)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        history = trainer.history
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *history])
        for number, past in enumerate(history.rows, 1):
            writer.writerow([number, *(past.get(name, "") for name in history)])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        temporary.write_text(text.getvalue())
        os.replace(temporary, self.path)


class TensorBoard(Callback):
    """Write each epoch's numbers for TensorBoard: a chart for each, with training and validation in it.

    ModuleNotFoundError, saying what to install, without the package tensorboardX.
    """

    def __init__(self, folder: Any) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"TensorBoard writes with tensorboardX ({error}): pip install 'netcl[tensorboard]'"
            ) from error
        self._make = SummaryWriter
        self._writer: Any = None
        self.folder = str(folder)

    def on_fit_begin(self, trainer: Trainer) -> None:
        # What an interrupted run wrote beyond its checkpoint is left out by the viewer.
        self._writer = self._make(self.folder, purge_step=trainer.epoch + 1 if trainer.epoch else None)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        for name, value in row.items():
            kind = "validation" if name.startswith(HELD_OUT) else "training"
            self._writer.add_scalar(f"{name.removeprefix(HELD_OUT)}/{kind}", value, trainer.epoch)
        self._writer.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class Progress(Callback):
    """A line for each epoch, and on a terminal a bar with the time that is left.

    batches: how many an epoch has, or None for data that doesn't say: the first epoch tells.

    The bar shows the loss so far, which is read at most once a second; elsewhere nothing is read between epochs.
    """

    def __init__(self, epochs: int, batches: int | None) -> None:
        self.epochs, self.batches = epochs, batches
        self.batch = 0  # of the present epoch
        self.bar: Any = None
        self.task: Any = None
        self.seen = 0.0

    def on_fit_begin(self, trainer: Trainer) -> None:
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        # Refreshed by the loop itself: a thread would take turns with it.
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Bar(
            *columns, TextColumn("{task.fields[loss]}"), console=Console(stderr=True), auto_refresh=False,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self.bar.start()
        total = None if self.batches is None else self.epochs * self.batches
        self.task = self.bar.add_task("", total=total, loss="", completed=self._done(trainer))

    def _done(self, trainer: Trainer) -> int:
        return trainer.epoch * (self.batches or 0) + trainer.batch

    def on_step_end(self, trainer: Trainer) -> None:
        self.batch = trainer.batch
        now = time.monotonic()
        if self.bar is None or now - self.seen < 1:
            return
        loss = trainer.running()["loss"]
        self.seen = time.monotonic()
        about = f"epoch {trainer.epoch + 1}/{self.epochs}"
        self.bar.update(self.task, completed=self._done(trainer), description=about, loss=f"loss {loss:.4g}")
        self.bar.refresh()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        width = len(str(self.epochs))
        line = f"epoch {trainer.epoch:{width}}/{self.epochs}  {trainer.history.written(row)}"
        if self.bar is not None:
            self.batches = self.batches or self.batch
            self.bar.update(self.task, completed=self._done(trainer), total=self.epochs * self.batches)
            self.bar.refresh()
        if self.bar is not None and sys.stdout.isatty():
            self.bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, flush=True)

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
