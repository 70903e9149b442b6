"""A training that the tests kill, interrupt and resume: python training_script.py FOLDER KIND [PAUSE].

It prints each step, pauses that long after it, and writes the final weights.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.data import DataLoader, TensorDataset

EPOCHS = 3


class Telling(nc.trainer.Callback):
    def __init__(self, pause: float) -> None:
        self.pause = pause

    def on_step_end(self, trainer: nc.Trainer) -> None:
        print(f"step {trainer.steps}", flush=True)
        time.sleep(self.pause)


def main(folder: Path, kind: str, pause: float = 0.0) -> nc.History:
    nc.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 6)).astype(np.float32)
    y = (x[:, 0] > x[:, 1]).astype(np.int64)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
    if kind in ("plain", "half"):
        optimizer = nc.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        options: dict = {"amp": nc.float16} if kind == "half" else {}
        options |= {"scheduler": nc.optim.lr_scheduler.StepLR(optimizer, 1, 0.5), "clip": 0.5}
        loader = DataLoader(TensorDataset(x, y), 16, shuffle=True, generator=nc.Generator().manual_seed(5))
    else:
        optimizer = nc.optim.AdamW(model.parameters(), lr=0.01)
        schedule = nc.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=4 * EPOCHS)
        options = {"scheduler": schedule, "scheduler_every": "step", "ema": 0.9, "accumulate": 2}
        loader = DataLoader(TensorDataset(x, y), 16, shuffle=True, pin_memory=True)
    callbacks = [Telling(pause), nc.trainer.BestModel(monitor="loss", restore=False)]
    trainer = nc.Trainer(model, optimizer, F.cross_entropy, callbacks=callbacks, **options)
    history = trainer.fit(
        loader, loader, EPOCHS, checkpoint=folder / "last.safetensors", checkpoint_every=2, resume=True
    )
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    state |= {f"measured.{name}": value for name, value in trainer.measured_model.state_dict().items()}
    if not history.interrupted:
        nc.save(state, folder / "final.safetensors")
        print("done", flush=True)
    return history


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(float, sys.argv[3:]))
