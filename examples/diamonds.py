"""Diamonds: the price of 53,940 diamonds from their size, cut, colour and clarity. Run it by `netcl train diamonds`."""

import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import netcl as nc
import netcl.nn.functional as F
from netcl import nn
from netcl.data import DataLoader, TensorDataset, random_split

NUMBERS, GRADES = ("carat", "depth", "table", "x", "y", "z"), ("cut", "color", "clarity")


def load_diamonds():
    """Features (53940, 26), standardised numbers and one-hot grades, and the logarithm of the price (53940, 1)."""
    package = find_spec("plotnine")  # the table comes with plotnine; finding it imports nothing
    if package is None:
        raise ModuleNotFoundError("the diamonds come with the package plotnine")
    with open(Path(package.origin).parent / "data" / "diamonds.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = np.array([[float(row[name]) for name in NUMBERS] for row in rows])
    columns = [(numbers - numbers.mean(0)) / numbers.std(0)]
    for name in GRADES:
        levels = sorted({row[name] for row in rows})
        columns.append(np.array([[row[name] == level for level in levels] for row in rows]))
    price = np.array([[float(row["price"])] for row in rows])
    return np.hstack(columns).astype(np.float32), np.log(price).astype(np.float32)


def make_model(features):
    hidden = nn.Sequential(nn.Linear(features, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU())
    return nn.Sequential(hidden, nn.Linear(64, 1))


def main(epochs=10, batch_size=256, lr=3e-3, seed=0, device=None, out="runs/diamonds"):
    with nc.device(device) as chosen:
        nc.manual_seed(seed)
        data = TensorDataset(*map(nc.tensor, load_diamonds()))
        training, held_out = random_split(data, [0.9, 0.1])
        train_loader, test_loader = DataLoader(training, batch_size, shuffle=True), DataLoader(held_out, 1024)
        model = make_model(data.tensors[0].shape[1])
        optimizer = nc.optim.AdamW(model.parameters(), lr=lr)
        schedule = nc.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 - epoch / epochs)
        print(f"diamonds: {len(training)} for training, {len(held_out)} held out, on {chosen.name}")
        trainer = nc.Trainer(model, optimizer, F.mse_loss, scheduler=schedule)
        trainer.fit(train_loader, test_loader, epochs)
        found = trainer.evaluate(test_loader)
        print(f"held out: mse {found['loss']:.4f}, MAE {found['mae']:.4f}, R2 {found['r2']:.4f}")
        labels = {"loss": "mse of log(price)"}
        return found | trainer.save_results(out, "diamonds", names=["loss", "r2"], log=["loss"], labels=labels)


if __name__ == "__main__":
    main()
