"""History, callbacks that decide, CSV and TensorBoard logging, the progress bar."""

from __future__ import annotations

import csv
import io
import itertools
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import History, nn
from netcl.trainer import BestModel, Callback, CSVLogger, EarlyStopping, TensorBoard

ROWS = [{"loss": 2.0, "val_loss": 3.0, "lr": 0.1}, {"loss": 1.0, "val_loss": float("nan"), "lr": 0.1}]


class Given(Callback):
    """Replaces what was measured, so that the others have something to decide; the weight is set to the epoch."""

    def __init__(self, name: str, values: list[float]) -> None:
        self.name, self.values = name, values

    def on_epoch_end(self, trainer: nc.Trainer, row: dict[str, float]) -> None:
        row[self.name] = self.values[trainer.epoch - 1]
        with nc.no_grad():
            trainer.model.weight.fill_(float(trainer.epoch))


def fitted(epochs: int, *callbacks: Callback, **options: Any) -> nc.Trainer:
    model = nn.Linear(2, 1, bias=False)
    optimizer = nc.optim.SGD(model.parameters(), lr=0.0)
    trainer = nc.Trainer(model, optimizer, F.mse_loss, callbacks=callbacks, **options)
    batch = (np.ones((3, 2), np.float32), np.zeros((3, 1), np.float32))
    trainer.fit([batch], [batch], epochs=epochs, progress=False)
    return trainer


def test_history_is_a_mapping_and_a_table() -> None:
    history = History(ROWS)
    assert dict(history) == {name: history[name] for name in ("loss", "val_loss", "lr")}
    assert history["loss"] == [2.0, 1.0] and history.last["loss"] == 1.0 and len(history) == 3
    assert history.best("loss") == 2 and history.best("loss", highest=True) == 1 and history.best("val_loss") == 1
    lines = ["epoch  loss  val_loss   lr", "    1     2         3  0.1", "    2     1       nan  0.1"]
    assert str(history).splitlines() == lines
    assert "2 epochs" in repr(history)
    assert history.written() == "loss 1  val_loss nan"
    with pytest.raises(KeyError, match="loss"):
        history["accuracy"]
    with pytest.raises(ValueError, match="no epoch"):
        History([ROWS[1]]).best("val_loss")


def test_history_draws_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = pytest.importorskip("matplotlib.figure")
    path = tmp_path / "new" / "curves.png"
    history = History([{**ROWS[0], "r2": 0.5}, {**ROWS[0], "r2": 0.6, "seconds": 3.0}])
    figure = history.plot(path, log=["loss"], labels={"loss": "error"})
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    first, second = figure.axes
    assert (first.get_ylabel(), first.get_yscale(), second.get_ylabel()) == ("error", "log", "r2")
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["training", "held out"]
    own = figures.Figure()
    assert history.plot(names=["r2"], figure=own) is own
    assert len(own.axes) == 1
    with pytest.raises(ValueError, match="no epochs"):
        History().plot()
    with pytest.raises(KeyError, match=r"accuracy.*loss, val_loss"):
        history.plot(names=["loss", "accuracy"])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"netcl\[examples\]"):
        history.plot(path)


def test_early_stopping_waits_for_an_improvement() -> None:
    values = [3.0, 2.0, 2.5, 1.95, 2.0, float("nan"), 0.0, 0.0]
    assert fitted(8, Given("val_loss", values), EarlyStopping(patience=2)).epoch == 6
    assert fitted(8, Given("val_loss", values), EarlyStopping(patience=2, min_delta=0.1)).epoch == 4
    assert fitted(8, Given("x", values), EarlyStopping(patience=2, monitor="x", mode="max")).epoch == 3
    assert fitted(8, Given("val_r2", values), EarlyStopping(patience=2, monitor="val_r2")).epoch == 3


def test_the_best_model_is_kept_in_memory_or_in_a_file(tmp_path: Path) -> None:
    values = [3.0, 1.0, 2.0]
    best = BestModel()
    trainer = fitted(3, Given("val_loss", values), best)
    assert (best.best, best.epoch) == (1.0, 2)
    assert trainer.model.weight.tolist() == [[2.0, 2.0]]
    path = tmp_path / "new" / "best.safetensors"
    trainer = fitted(3, Given("val_r2", values), BestModel(path, monitor="val_r2"))
    assert nc.load(path)["weight"].tolist() == [[1.0, 1.0]]
    assert trainer.model.weight.tolist() == [[3.0, 3.0]]
    trainer = fitted(3, Given("val_loss", values), BestModel(path, restore=True), ema=0.0)
    assert nc.load(path)["weight"].tolist() == trainer.measured_model.weight.tolist()


def test_what_cannot_be_watched_is_told() -> None:
    with pytest.raises(KeyError, match="val_loss"):
        fitted(1, EarlyStopping(monitor="val_f1"))
    with pytest.raises(ValueError, match="mode"):
        fitted(1, Given("val_thing", [1.0]), EarlyStopping(monitor="val_thing"))
    with pytest.raises(ValueError, match="mode"):
        BestModel(mode="best")
    with pytest.raises(ValueError, match="patience"):
        EarlyStopping(patience=0)


def test_csv_has_every_epoch_once_in_full(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.csv"
    trainer = fitted(3, Given("val_loss", [1 / 3, 0.2, 0.1]), CSVLogger(path))
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[0]["val_loss"]) == 1 / 3
    assert set(rows[0]) == {"epoch", *trainer.history}
    assert [p.name for p in path.parent.iterdir()] == ["log.csv"]


def test_tensorboard_gets_each_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int | None) -> None:
            written.append((folder, purge_step))

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            written.append((tag, value, step))

        def flush(self) -> None: ...

        def close(self) -> None:
            written.append(("closed",))

    module = types.ModuleType("tensorboardX")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    trainer = fitted(2, Given("val_loss", [0.5, 0.25]), TensorBoard(tmp_path))
    assert written[0] == (str(tmp_path), None) and written[-1] == ("closed",)
    assert ("loss/validation", 0.25, 2) in written
    assert {tag for tag, *_ in written[1:-1]} >= {"loss/training", "r2/validation", "lr/training"}
    trainer.callbacks[-1].on_fit_begin(trainer)
    assert written[-1] == (str(tmp_path), 3)  # what was written beyond the checkpoint is dropped


def test_tensorboard_writes_a_file_that_tensorboard_reads(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    fitted(1, TensorBoard(tmp_path))
    (file,) = tmp_path.iterdir()
    assert b"loss/training" in file.read_bytes()


def test_without_tensorboardx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ModuleNotFoundError, match=r"netcl\[tensorboard\]"):
        TensorBoard(tmp_path)


@pytest.mark.parametrize("with_length", [True, False])
def test_on_a_terminal_there_is_a_bar_with_the_loss_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys, with_length: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    model = nn.Linear(2, 1)
    trainer = nc.Trainer(model, nc.optim.SGD(model.parameters(), lr=0.1), F.mse_loss)
    batch = (np.ones((3, 2), np.float32), np.zeros((3, 1), np.float32))
    data: Any = [batch] * 4
    if not with_length:  # known after the first epoch

        class Unsized:
            def __iter__(self) -> Any:
                return iter([batch] * 4)

        data = Unsized()
    clock = itertools.count(100, 0.25)  # the loss is read at most once a second
    monkeypatch.setattr("netcl.trainer.loggers.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    reads: list[float] = []
    running = trainer.running
    monkeypatch.setattr(trainer, "running", lambda: reads.append(0) or running())
    trainer.fit(data, epochs=2)
    assert 2 < len(reads) < 8  # one of them at the end of each epoch
    shown = terminal.getvalue()
    assert "8/8" in shown and "loss" in shown and "0:00:0" in shown
    assert capsys.readouterr().out.count("epoch") == 2
