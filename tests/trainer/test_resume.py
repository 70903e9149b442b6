"""Training that was killed, interrupted or stopped by an error comes to the same bits as one that never was."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import training_script

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.data import DataLoader, Dataset, TensorDataset
from netcl.trainer import Callback, EarlyStopping


def start(folder: Path, kind: str, pause: float = 0.0) -> subprocess.Popen:
    command = [sys.executable, training_script.__file__, str(folder), kind, str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def stopped_at(folder: Path, kind: str, step: int, number: int) -> tuple[int, str]:
    """Run the script until it tells of a step, send it a signal; (exit status, what it printed after it)."""
    process = start(folder, kind, pause=0.1)
    assert process.stdout is not None
    for line in process.stdout:
        if line == f"step {step}\n":
            process.send_signal(number)
            break
    rest = process.stdout.read()
    process.stdout.close()
    return process.wait(60), rest


@pytest.mark.parametrize("kind", ["plain", "everything", "half"])
def test_after_kill_9_in_mid_epoch_the_final_weights_are_the_same_bytes(tmp_path: Path, kind: str) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    history = training_script.main(whole, kind)
    assert (history.interrupted, history.epochs) == (False, 3)
    status, rest = stopped_at(killed, kind, step=7 if kind == "everything" else 10, number=signal.SIGKILL)
    assert status == -signal.SIGKILL and "done" not in rest
    assert not (killed / "final.safetensors").exists()
    (killed / ".last.safetensors.0.tmp").write_bytes(b"what was being written")
    saved = nc.load(killed / "last.safetensors")
    assert saved["epoch"] == 1 and saved["batch"] > 0, "it was not killed in the middle of an epoch"
    resumed = training_script.main(killed, kind)
    assert (killed / "final.safetensors").read_bytes() == (whole / "final.safetensors").read_bytes()
    assert {path.name for path in killed.iterdir()} == {"last.safetensors", "final.safetensors"}
    for name in set(history) - {"seconds"}:
        assert history[name] == resumed[name]


def test_ctrl_c_saves_and_stops_cleanly_and_what_is_resumed_is_the_same(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    training_script.main(whole, "everything")
    status, rest = stopped_at(stopped, "everything", step=5, number=signal.SIGINT)
    assert status == 0
    assert "interrupted in epoch 2 after" in rest and "saved as" in rest and "done" not in rest
    assert nc.load(stopped / "last.safetensors")["steps"] in (5, 6)
    training_script.main(stopped, "everything")
    assert (stopped / "final.safetensors").read_bytes() == (whole / "final.safetensors").read_bytes()


# ---- in this process


class Breaking(Callback):
    """Raises after some steps, once."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: nc.Trainer) -> None:
        if trainer.steps == self.step:
            raise ZeroDivisionError


class Impatient(Callback):
    """Presses Ctrl-C twice."""

    def on_step_end(self, trainer: nc.Trainer) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_interrupts_at_once_and_leaves_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "c"
    trainer, loader = small()
    trainer.fit(loader, epochs=1, checkpoint=path, progress=False)
    saved = path.read_bytes()
    impatient, loader = small(callbacks=(Impatient(),))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        impatient.fit(loader, epochs=2, checkpoint=path, progress=False)
    assert impatient.steps == 1
    assert signal.getsignal(signal.SIGINT) is before
    assert path.read_bytes() == saved and list(tmp_path.iterdir()) == [path]


def test_ctrl_c_before_the_first_step_saves_too(tmp_path: Path) -> None:
    class AtOnce(Callback):
        def on_fit_begin(self, trainer: nc.Trainer) -> None:
            if not (tmp_path / "c").exists():
                signal.raise_signal(signal.SIGINT)

    whole, loader = small(callbacks=(AtOnce(),))
    (tmp_path / "c").touch()
    whole.fit(loader, epochs=2, progress=False)
    (tmp_path / "c").unlink()
    for interrupted in (True, False):
        trainer, loader = small(callbacks=(AtOnce(),))
        history = trainer.fit(loader, epochs=2, checkpoint=tmp_path / "c", resume=True, progress=False)
        assert history.interrupted == interrupted
    assert weights(trainer) == weights(whole)


def test_ctrl_c_while_validating_ends_it_and_the_epoch_is_validated_when_resumed(tmp_path: Path) -> None:
    class Interrupted:
        def __iter__(self) -> Any:
            for number, batch in enumerate(loader):
                read.append(number)
                if number == 0:
                    signal.raise_signal(signal.SIGINT)
                yield batch

    read: list[int] = []
    whole, loader = small()
    whole.fit(loader, loader, epochs=2, progress=False)
    trainer, loader = small()
    history = trainer.fit(loader, Interrupted(), epochs=2, checkpoint=tmp_path / "c", progress=False)
    assert (history.interrupted, history.epochs, read) == (True, 0, [0])
    resumed, loader = small()
    history = resumed.fit(loader, loader, epochs=2, checkpoint=tmp_path / "c", resume=True, progress=False)
    assert weights(resumed) == weights(whole)
    assert history["val_loss"] == whole.history["val_loss"]


SCHEDULES: dict[str, Any] = {
    "lambda": lambda optimizer, s: s.LambdaLR(optimizer, lambda epoch: 0.5**epoch),
    "cosine": lambda optimizer, s: s.CosineAnnealingLR(optimizer, 4),
    "sequential": lambda opt, s: s.SequentialLR(opt, [s.ConstantLR(opt), s.StepLR(opt, 1)], [1]),
    "cyclic": lambda optimizer, s: s.CyclicLR(optimizer, 0.01, 0.1, 3),
    "plateau": lambda optimizer, s: s.ReduceLROnPlateau(optimizer, patience=0),
    "restarts": lambda optimizer, s: s.CosineAnnealingWarmRestarts(optimizer, 2),
    "polynomial": lambda optimizer, s: s.PolynomialLR(optimizer, 4),
}


def small(schedule: str | None = None, callbacks: tuple = (), workers: int = 0) -> tuple[nc.Trainer, DataLoader]:
    nc.manual_seed(1)
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = nc.optim.RMSprop(model.parameters(), lr=0.01, momentum=0.5)
    scheduler = SCHEDULES[schedule](optimizer, nc.optim.lr_scheduler) if schedule else None
    trainer = nc.Trainer(model, optimizer, F.mse_loss, scheduler=scheduler, callbacks=callbacks)
    return trainer, DataLoader(TensorDataset(x, x.sum(1, keepdims=True)), 8, shuffle=True, num_workers=workers)


def weights(trainer: nc.Trainer) -> bytes:
    return b"".join(value.numpy().tobytes() for value in trainer.model.state_dict().values())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_after_an_error_training_goes_on_from_the_checkpoint(tmp_path: Path, schedule: str) -> None:
    path = tmp_path / "c.safetensors"
    trainer, loader = small(schedule)
    trainer.fit(loader, epochs=4, progress=False)
    broken, loader = small(schedule, (Breaking(8),))
    with pytest.raises(ZeroDivisionError):
        broken.fit(loader, epochs=4, checkpoint=path, checkpoint_every=3, progress=False)
    resumed, loader = small(schedule, (Breaking(-1),))
    history = resumed.fit(loader, epochs=4, checkpoint=path, resume=True, progress=False)
    assert weights(resumed) == weights(trainer)
    assert history["lr"] == trainer.history["lr"]
    assert history["loss"] == trainer.history["loss"]


def test_data_read_by_workers_is_resumed_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    trainer, loader = small(workers=1)
    trainer.fit(loader, epochs=2, progress=False)
    broken, loader = small(callbacks=(Breaking(8),), workers=1)
    with pytest.raises(ZeroDivisionError):
        broken.fit(loader, epochs=2, checkpoint=path, checkpoint_every=1, progress=False)
    resumed, loader = small(callbacks=(Breaking(-1),), workers=1)
    resumed.fit(loader, epochs=2, checkpoint=path, resume=True, progress=False)
    assert weights(resumed) == weights(trainer)


class Noisy(Dataset):
    """Samples that draw from Python's and NumPy's numbers."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        x = np.float32([index / 40, random.random(), np.random.rand()])  # noqa: NPY002
        return x, x[:1]


class Drawing(Breaking):
    """Draws from them itself, between the steps."""

    def on_step_end(self, trainer: nc.Trainer) -> None:
        super().on_step_end(trainer)
        with nc.no_grad():
            trainer.model[0].bias += random.random() + np.random.rand()  # noqa: NPY002


@pytest.mark.parametrize("prefetched", [False, True])
@pytest.mark.parametrize("draws", ["samples", "callback"])
def test_what_samples_or_callbacks_draw_is_resumed(tmp_path: Path, prefetched: bool, draws: str) -> None:
    def one(step: int) -> tuple[nc.Trainer, DataLoader]:
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        trainer, loader = small(callbacks=(Drawing(step) if draws == "callback" else Breaking(step),))
        dataset = loader.dataset if draws == "callback" else Noisy()
        return trainer, DataLoader(dataset, 4, shuffle=True, pin_memory=prefetched)

    trainer, loader = one(-1)
    trainer.fit(loader, epochs=2, progress=False)
    broken, loader = one(14)
    with pytest.raises(ZeroDivisionError):
        broken.fit(loader, epochs=2, checkpoint=tmp_path / "c", checkpoint_every=3, progress=False)
    resumed, loader = one(-1)
    resumed.fit(loader, epochs=2, checkpoint=tmp_path / "c", resume=True, progress=False)
    assert weights(resumed) == weights(trainer)


def test_a_finished_training_resumes_to_itself_and_more_epochs_go_on(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "c.safetensors"
    trainer, loader = small()
    trainer.fit(loader, epochs=2, checkpoint=path, progress=False)
    before = weights(trainer)
    again, loader = small()
    assert again.fit(loader, epochs=2, checkpoint=path, resume=True, progress=False).epochs == 2
    assert weights(again) == before
    longer, loader = small()
    assert longer.fit(loader, epochs=3, checkpoint=path, resume=True, progress=False).epochs == 3
    trainer, loader = small()
    trainer.fit(loader, epochs=3, progress=False)
    assert weights(longer) == weights(trainer)


def test_callbacks_are_resumed(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    trainer, loader = small(callbacks=(EarlyStopping(patience=2, min_delta=100.0),))
    assert trainer.fit(loader, epochs=2, checkpoint=path, progress=False).epochs == 2  # has waited for one of them
    resumed, loader = small(callbacks=(EarlyStopping(patience=2, min_delta=100.0),))
    assert resumed.fit(loader, epochs=9, checkpoint=path, resume=True, progress=False).epochs == 3
    once_more, loader = small(callbacks=(EarlyStopping(patience=2, min_delta=100.0),))
    assert once_more.fit(loader, epochs=9, checkpoint=path, resume=True, progress=False).epochs == 3


def test_what_cannot_be_resumed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    trainer, loader = small()
    with pytest.raises(ValueError, match="checkpoint=path"):
        trainer.fit(loader, resume=True)
    with pytest.raises(ValueError, match="checkpoint=path"):
        trainer.fit(loader, checkpoint_every=3)
    with pytest.raises(ValueError, match="iterator"):
        trainer.fit(iter(loader), epochs=2)
    persistent = DataLoader(loader.dataset, 8, num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match="persistent_workers=False"):
        trainer.fit(persistent, checkpoint=path)
    path.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ValueError, match="pickle"):
        trainer.fit(loader, checkpoint=path, resume=True, progress=False)
    nc.save(trainer.model.state_dict(), path)
    with pytest.raises(ValueError, match="no checkpoint"):
        trainer.fit(loader, checkpoint=path, resume=True, progress=False)
    trainer.fit(loader, checkpoint=path, progress=False)
    other, loader = small("cosine")
    with pytest.raises(ValueError, match="scheduler none.* CosineAnnealingLR"):
        other.fit(loader, epochs=2, checkpoint=path, resume=True, progress=False)
    other, loader = small(callbacks=(EarlyStopping(),))
    with pytest.raises(ValueError, match="EarlyStopping"):
        other.fit(loader, epochs=2, checkpoint=path, resume=True, progress=False)
    other, loader = small()
    other = nc.Trainer(other.model, nc.optim.SGD(other.parameters), F.mse_loss)
    with pytest.raises(ValueError, match="RMSprop.*SGD"):
        other.fit(loader, epochs=2, checkpoint=path, resume=True, progress=False)
    other, loader = small()
    other = nc.Trainer(other.model, other.optimizer, F.mse_loss, metrics="mse")
    with pytest.raises(ValueError, match="mse"):
        other.fit(loader, epochs=2, checkpoint=path, resume=True, progress=False)


def test_a_checkpoint_of_other_data_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    broken, loader = small(callbacks=(Breaking(4),))
    with pytest.raises(ZeroDivisionError):
        broken.fit(loader, checkpoint=path, checkpoint_every=3, progress=False)
    resumed, loader = small(callbacks=(Breaking(-1),))
    fewer = DataLoader(loader.dataset, 20, shuffle=True)
    with pytest.raises(ValueError, match="only 2"):
        resumed.fit(fewer, checkpoint=path, resume=True, progress=False)
